"""Tab Sweep: a list of sweeps, the plots of one, a form that starts a new one; stop, continue, compare, export."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui

from pages.readonly import is_readonly
from pages.sweep_form import SweepForm
from pages.theme import CARD, html, plain
from tsnn.config import Config
from tsnn.datasets import DatasetInfo
from tsnn.errors import TsnnError
from tsnn.jobs.sweeps import start_sweep
from tsnn.jobs.trials import stop_sweep
from tsnn.runs import RunStore
from tsnn.runs.export import csv_bytes
from tsnn.runs.sweeps import Sweep, open_sweep, sweeps
from tsnn.views.live.sweep_follower import follow_sweep
from tsnn.views.tabs.sweep import SweepView

_LIST_SECONDS = 2.0
_EMPTY = (
    "<b>No sweep yet.</b> A sweep trains the same network with several values of some settings, each with several "
    "seeds, and draws a map of the results while they come."
)


class SweepTab:
    """Sweeps of a folder.

    Parameters
    ----------
    store : RunStore
        Where runs are kept.
    base : callable
        Returns the settings of the form of a run, and the shape of their data if it is known.
    open_run, compare : callable
        Called with the name of a run; with the names of runs to compare.
    on_choose : callable
        Called with the name of the chosen sweep.
    """

    def __init__(
        self, store: RunStore, base: Callable[[], tuple[Config, DatasetInfo | None]],
        open_run: Callable[[str], None], compare: Callable[[list[str]], None], on_choose: Callable[[str], None],
    ):  # fmt: skip
        self._store, self._open, self._compare, self._on_choose = store, open_run, compare, on_choose
        self._listed = -float("inf")
        self._chosen = ""
        self.view: SweepView | None = None
        self.form = SweepForm(store, base, self._started)
        style: dict[str, Any] = {"size": "small", "variant": "outlined", "margin": (4, 8)}
        self.choice = pmui.Select(label="Sweep", options={}, size="small", margin=(6, 8), width=360, visible=False)
        self.new = pmui.Button(label="New sweep", icon="add", **style)
        self.stop = pmui.Button(label="Stop", icon="stop", **style)
        self.continue_button = pmui.Button(label="Continue", icon="play_arrow", **style)
        self.compare = pmui.Button(label="Compare the best", icon="stacked_line_chart", **style)
        self.download = pmui.FileDownload(label="Trials as CSV", callback=self._csv, filename="sweep.csv", **style)
        self.problem = pmui.Alert(severity="error", visible=False, closeable=True, margin=(4, 8),
                                  sizing_mode="stretch_width")  # fmt: skip
        stretch: dict[str, Any] = {"sizing_mode": "stretch_width", "margin": 0}
        self._empty = pn.pane.HTML(html(_EMPTY, "font-size:15px;padding:24px"), styles=CARD, visible=False, **stretch)
        self._place = pn.Column(**stretch)
        self.form.layout.visible = False
        changing = [] if is_readonly() else [self.new, self.stop, self.continue_button]
        self.layout = pn.Column(
            pn.FlexBox(self.choice, *changing, self.compare, self.download, align_items="center", **stretch),
            self.problem, *([] if is_readonly() else [self.form.layout]), self._empty, self._place,
            styles={"gap": "12px"}, **stretch,
        )  # fmt: skip
        self.choice.param.watch(lambda event: self._on_choose(event.new or ""), "value")
        self.new.on_click(lambda _: self._show_form(not self.form.layout.visible))
        self.stop.on_click(lambda _: self._act(stop_sweep))
        self.continue_button.on_click(lambda _: self._act(start_sweep))
        self.compare.on_click(lambda _: self._compare(self.view.shown_runs() if self.view else []))

    @pn.io.hold()
    def show(self, name: str) -> None:
        """Show a sweep of the folder; the newest one for an empty name."""
        self._list()
        known = list(self.choice.options.values())
        name = name or next(iter(known), "")
        if name != self._chosen or self.view is None:
            self._chosen, self.view, self._place.objects = name, None, []
            self.problem.visible = False
            if name:
                self._open_sweep(name)
        if name in known and self.choice.value != name:
            self.choice.value = name
        empty = self.view is None
        self._empty.visible = empty and not name
        if empty:
            self._show_form(True)
        self._show_buttons()
        self.form.tick()

    def _show_form(self, visible: bool) -> None:
        self.form.layout.visible = visible
        self.new.label = "Hide the form" if visible else "New sweep"

    def _open_sweep(self, name: str) -> None:
        try:
            self.view = SweepView(follow_sweep(open_sweep(self._store, name)), self._open)
            self._place.objects = [self.view.layout]
        except TsnnError as error:
            self._warn(str(error))

    def update(self) -> bool:
        """Show new results; returns whether anything changed."""
        if time.monotonic() - self._listed > _LIST_SECONDS:
            self._list()
            if self._empty.visible and self.choice.options:
                self.show("")
        if self.form.layout.visible and not is_readonly():
            self.form.tick()
        changed = self.view.tick() if self.view is not None else False
        self._show_buttons()
        return changed

    def _list(self) -> None:
        self._listed = time.monotonic()
        found = sweeps(self._store)
        names = [sweep.name or sweep.id for sweep in found]
        options = {
            title if names.count(title) == 1 else f"{title} ({sweep.id})": sweep.id
            for title, sweep in zip(names, found, strict=True)
        }
        if options != self.choice.options:
            kept = self.choice.value if self.choice.value in options.values() else next(iter(options.values()), None)
            self.choice.param.update(options=options, value=kept, visible=bool(options))

    def _show_buttons(self) -> None:
        view = self.view
        live = view is not None and not view.follower.over
        states = {
            self.stop: live,
            self.continue_button: view is not None and not live and view.follower.unfinished,
            self.compare: view is not None and bool(view.table.trials["value"].notna().any()),
            self.download: view is not None,
        }
        for button, visible in states.items():
            if button.visible != visible:
                button.visible = visible
        label = "Compare the chosen" if view is not None and view.brush.cells else "Compare the best"
        if label != self.compare.label:
            self.compare.label = label

    def _act(self, change: Callable[[Sweep], Any]) -> None:
        self.problem.visible = False
        try:
            change(open_sweep(self._store, self._chosen))
        except (TsnnError, OSError) as error:
            self._warn(str(error))
        if self.view is not None:
            self.view.follower.poll_now()
            self.view.tick()
        self._show_buttons()

    def _started(self, name: str) -> None:
        self._show_form(False)
        self._list()
        self._on_choose(name)
        self.show(name)

    def _csv(self) -> io.BytesIO:
        table = self.view.table if self.view else None
        columns = {} if table is None else {str(name): list(table.trials[name]) for name in table.trials.columns}
        return io.BytesIO(csv_bytes(columns))

    def _warn(self, text: str) -> None:
        self.problem.param.update(object=plain(text), visible=True)
