"""Overview tab: curves over the epochs, and the connectivity of the inputs."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

from typing import Any

import numpy as np
import panel_material_ui as pmui
from bokeh.events import RangesUpdate, Reset
from bokeh.models import Range1d

from tsnn.runs.forks import parent_of
from tsnn.views.history import START_EVENTS
from tsnn.views.live.follower import RunFollower, follow
from tsnn.views.plots import curves, palette
from tsnn.views.plots.curve_plot import CurvePlot
from tsnn.views.plots.curves import describe_accuracy, fit_epochs, fork_epoch
from tsnn.views.plots.figures import EventMarks
from tsnn.views.tabs.captions import CAPTIONS
from tsnn.views.tabs.cards import card, empty_pane, grid, update_empty_pane
from tsnn.views.tabs.inputs import InputCard
from tsnn.views.tabs.replay import Replay


class Overview:
    """Curves over the epochs, and the input connectivity of one snapshot."""

    def __init__(self, follower: RunFollower, replay: Replay):
        self._follower, self._replay = follower, replay
        self._drawn: tuple[Any, ...] = ()
        self._x_range = Range1d(start=0, end=2)
        self._marks = EventMarks()
        parent = parent_of(follower.run)
        self._parent = None if parent is None else follow(parent)
        layers = len(follower.config.network.hidden) + 1
        validation = follower.config.data.validation_fraction > 0
        # Each is made when its column has values: a figure takes time and a megabyte in every page.
        self._makers = curves.run_plots(layers, validation=validation, x_range=self._x_range, marks=self._marks)
        self.plots: dict[str, CurvePlot] = {}
        self._cards: dict[str, Any] = {}
        self.input = InputCard(follower, replay)
        self._empty = empty_pane()
        self.smoothing = pmui.FloatSlider(
            label="Smoothing", start=0, end=0.98, step=0.02, value=0, width=220, margin=(0, 20), size="small",
            description=CAPTIONS["smoothing"], visible=False, styles={"grid-column": "1 / -1"},
        )  # fmt: skip
        self.smoothing.param.watch(lambda _: self.update(), "value_throttled")
        self.layout = grid(self._empty, self.smoothing, self.input.layout)
        self.update()

    def _has_more(self, fork: int) -> bool:
        """Return whether the parent has epochs after that of the fork, or will have some."""
        return self._parent is not None and (self._parent.live or self._parent.history.done > fork)

    def _make_plots(self) -> None:
        """Make the plots whose values have arrived."""
        history = self._follower.history
        missing = [name for name, (column, _) in self._makers.items()
                   if name not in self.plots and history.last(column) is not None]  # fmt: skip
        if not missing:
            return
        for name in missing:
            plot = self._makers[name][1]()
            plot.show_trunk(fork := fork_epoch(self._follower.meta), ghost=self._has_more(fork))
            plot.figure.on_event(RangesUpdate, lambda _: self._replay.unfollow())
            plot.figure.on_event(Reset, lambda _: self._replay.follow_newest())
            self.plots[name], self._cards[name] = plot, card(plot.figure, name)
        cards = [self._cards[name] for name in self._makers if name in self._cards]
        self.smoothing.visible = True
        self.layout.objects = [self._empty, self.smoothing, *cards[:2], self.input.layout, *cards[2:]]

    def update(self, *, figures_only: bool = False) -> None:
        """Draw new data."""
        self._update_curves()
        self.input.update()
        empty = not len(self._follower.history) and self._replay.epoch is None
        update_empty_pane(self._empty, self._follower, empty=empty)

    def _update_curves(self) -> None:
        history, events, following = self._follower.history, self._follower.events, self._replay.following
        smoothing = self.smoothing.value
        parent = None
        if self._parent is not None:  # it may train too
            self._parent.poll()
            parent = self._parent.history
        state = (len(history), history.last("epoch"), len(events), following, self._replay.cursor, smoothing,
                 None if parent is None else parent.version)  # fmt: skip
        if state == self._drawn:
            return
        self._drawn = state
        epoch = history.last("epoch") or 0
        self._marks.update([event for event in events if event.kind not in START_EVENTS], epoch)
        self._make_plots()
        if "accuracy" in self.plots:
            describe_accuracy(self.plots["accuracy"], self._follower.meta.get("data", {}))
        if following:
            fit_epochs(self._x_range, history, *([] if parent is None else [parent]))
        for name, plot in self.plots.items():
            plot.update(history, follow=following, smoothing=smoothing, parent=parent)
            plot.show_cursor(self._replay.cursor)
            visible = len(history) > 0 and all(history.last(curve.column) is not None for curve in plot.curves)
            if name == "density":  # as long as no connections are gained or lost, a sentence suffices
                visible = visible and not self._note_density(plot)
            if self._cards[name].visible != visible:
                self._cards[name].visible = visible

    def _note_density(self, plot: CurvePlot) -> bool:
        """Write densities that never changed below the plot of connections; returns whether it did."""
        history = self._follower.history
        columns = [history[curve.column] for curve in plot.curves if curve.column in history]
        constant = all(np.ptp(column) == 0 for column in columns)
        texts = ", ".join(palette.small_percent(column[-1]) for column in columns) if constant else ""
        self._cards["connections"].set_note(f"Of dense layers: {texts}." if texts else "")
        return bool(texts)
