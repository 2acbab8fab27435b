"""Dialog to continue from an epoch of a run with other settings, as a new run."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

from pages.dialogs import fill
from pages.settings import setting_widget, widget_value
from pages.theme import html, plain
from tsnn.config import LIVE_SETTINGS, Config
from tsnn.errors import RunError, TsnnError
from tsnn.jobs import queue
from tsnn.runs import Run
from tsnn.runs.forks import config_at, nearest_fork_epoch
from tsnn.runs.notes import notes


class ForkDialog:
    """Epoch and settings of a fork.

    Parameters
    ----------
    open_run : callable
        Called with the id of the new run.
    place : Panel dialog, optional
        Where it is put.

    Attributes
    ----------
    layout : Panel object
        The dialog; belongs onto the page.
    """

    def __init__(self, open_run: Callable[[str], None], place: Any = None):
        self._open_run = open_run
        self._run: Run | None = None
        self._shown: dict[str, Any] = {}
        field: dict[str, Any] = {"size": "small", "sizing_mode": "stretch_width", "margin": 8}
        self._text = pn.pane.HTML("", margin=(0, 8), sizing_mode="stretch_width")
        self.epoch = pmui.Select(label="Continue from the end of epoch", options={}, **field)
        self.settings = {name: setting_widget(full, Config(), **field) for name, full in LIVE_SETTINGS.items()}
        self.epochs = pmui.IntInput(label="Total epochs", start=1, **field)
        self._error = pmui.Alert(severity="error", visible=False, margin=8, sizing_mode="stretch_width")
        start = pmui.Button(label="Start", icon="call_split", margin=8)
        cancel = pmui.Button(label="Cancel", variant="text", margin=8)
        fields = pn.GridBox(*self.settings.values(), self.epochs, ncols=2, sizing_mode="stretch_width", margin=0)
        buttons = pn.Row(pn.HSpacer(), cancel, start, margin=0, sizing_mode="stretch_width")
        parts = self._text, self.epoch, fields, self._error, buttons
        self.layout = fill(place, *parts, title="Continue from here", width_option="sm")
        self.epoch.param.watch(lambda _: self._show_settings(), "value")
        start.on_click(lambda _: self._start())
        cancel.on_click(self._close)

    def open(self, run: Run, epoch: int) -> None:
        """Open the dialog for a run, at the last epoch up to ``epoch`` that it can be forked from.

        Raises
        ------
        RunError
            If there is no such epoch.
        """
        nearest = nearest_fork_epoch(run, epoch)
        if nearest is None:
            raise RunError(
                f"Run {run.id} has no checkpoint to continue from yet. They are written at the ends of some epochs; "
                "set run.checkpoint_epochs to have one of each."
            )
        self._run = run
        self._error.visible = False
        name, known = escape(notes(run).title or run.id), run.fork_epochs()
        self._text.object = html(
            f"A new run continues {name} with other settings; {name} itself stays as it is. Checkpoints are kept of "
            f"{len(known):,} epochs, spaced geometrically.", "font-size:15px",
        )  # fmt: skip
        self.epoch.param.update(options={f"{e:,}": e for e in known}, value=nearest)
        self._show_settings()
        self.layout.open = True

    def _show_settings(self) -> None:
        """Show the settings that were current at the epoch."""
        if self._run is None or self.epoch.value is None:
            return
        try:
            flat = config_at(self._run, self.epoch.value).flat()
        except TsnnError as error:
            self._error.param.update(object=plain(str(error)), visible=True)
            return
        for name, field in self.settings.items():
            field.value = widget_value(flat[LIVE_SETTINGS[name]])
        planned = flat["training.epochs"]
        self.epochs.value = planned if planned > self.epoch.value else 2 * planned
        self._shown = {name: field.value for name, field in self.settings.items()}

    def _close(self, _event: Any) -> None:
        self.layout.open = False

    def _start(self) -> None:
        assert self._run is not None
        changed: dict[str, Any] = {
            name: field.value for name, field in self.settings.items() if field.value != self._shown[name]
        }
        try:
            run = queue.fork(self._run, self.epoch.value, {**changed, "epochs": self.epochs.value})
        except (TsnnError, OSError) as error:
            self._error.param.update(object=plain(str(error)), visible=True)
            return
        self.layout.open = False
        self._open_run(run.id)
