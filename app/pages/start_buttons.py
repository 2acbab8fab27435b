"""Buttons of the form: Start, Race with its contenders, and the error if a run cannot start."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import panel_material_ui as pmui

from pages.theme import plain
from tsnn.config import Config
from tsnn.errors import ConfigError, TsnnError
from tsnn.jobs.race import contenders, default_contenders, variants
from tsnn.views.live.browser import after


class StartButtons:
    """Start and Race.

    Parameters
    ----------
    config : callable
        Returns the settings in the form; raises an error if no run can start with them.
    start : callable
        Called with the settings of a run.
    race : callable
        Called with the settings of runs that are to race.

    Attributes
    ----------
    contenders : Panel widget
        What races.
    """

    def __init__(
        self, config: Callable[[], Config], start: Callable[[Config], None], race: Callable[[list[Config]], None]
    ):
        self._config, self._start_run, self._start_race = config, start, race
        self.start = pmui.Button(
            label="Start", icon="play_arrow", color="primary", variant="contained", sizing_mode="stretch_width",
            margin=0,
        )  # fmt: skip
        self.race = pmui.Button(
            label="Race", icon="sports_score", variant="outlined", margin=(0, 0, 0, 8)
        )  # fmt: skip
        self.contenders = pmui.MultiChoice(
            label="Contenders", options=list(contenders()), value=default_contenders(), visual_size="small",
            sizing_mode="stretch_width", margin=(6, 4),
            description="Race trains these settings with each of them, and compares them as they train. A learning "
            "rate for sparse networks can be too large for a dense one; with the form's first settings all learn.",
        )  # fmt: skip
        self.error = pmui.Alert(severity="error", visible=False, margin=(8, 4), sizing_mode="stretch_width")
        self.start.on_click(lambda _: self._begin(self.start, self._start_run))
        self.race.on_click(lambda _: self._begin(self.race, self._race))

    def show_error(self, text: str) -> None:
        """Show an error; an empty text hides it."""
        self.error.param.update(object=plain(text), visible=bool(text))

    def _begin(self, button: Any, act: Callable[[Config], None]) -> None:
        """Answer at once; act when the page has been told. Clicks in between start nothing else."""
        if self.start.disabled:
            return
        label, button.label = button.label, "Starting …"
        self.start.disabled = self.race.disabled = True
        after(functools.partial(self._act, button, label, act), 0.05)

    def _act(self, button: Any, label: str, act: Callable[[Config], None]) -> None:
        self.show_error("")
        try:
            act(self._config())
        except (TsnnError, OSError) as error:
            self.show_error(str(error))
        finally:  # clicks that arrived meanwhile are still to be handled
            after(functools.partial(self._finish, button, label), 1.0)

    def _finish(self, button: Any, label: str) -> None:
        button.label = label
        self.start.disabled = self.race.disabled = False

    def _race(self, config: Config) -> None:
        if len(configs := variants(config, self.contenders.value or [])) < 2:
            raise ConfigError("A race needs two contenders or more. Choose them under Advanced.")
        self._start_race(configs)
