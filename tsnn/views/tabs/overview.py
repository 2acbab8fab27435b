"""Overview tab: curves over the epochs, and the connectivity of the inputs."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

from typing import Any

from bokeh.events import RangesUpdate, Reset
from bokeh.models import Range1d

from tsnn.records import EventKind
from tsnn.views.live.follower import RunFollower
from tsnn.views.plots import curves
from tsnn.views.plots.curves import describe_accuracy, fit_epochs
from tsnn.views.plots.figures import EventMarks
from tsnn.views.tabs.cards import card, empty_pane, grid, update_empty_pane
from tsnn.views.tabs.inputs import InputCard
from tsnn.views.tabs.replay import Replay

#: Kinds of events at the start of every run, which are not marked in the curves.
_START_EVENTS = (EventKind.DATA, EventKind.DATA_WARNING, EventKind.DENSE_LAYER)


class Overview:
    """Curves over the epochs, and the input connectivity of one snapshot."""

    def __init__(self, follower: RunFollower, replay: Replay):
        self._follower, self._replay = follower, replay
        self._drawn: tuple[Any, ...] = ()
        self._x_range = Range1d(start=0, end=2)
        self._marks = EventMarks()
        layers = len(follower.config.network.hidden) + 1
        shared: dict[str, Any] = {"x_range": self._x_range, "marks": self._marks}
        validation = follower.config.data.validation_fraction > 0
        self.plots = [
            curves.accuracy_plot(validation=validation, **shared),
            curves.r2_plot(validation=validation, **shared),
            curves.loss_plot(validation=validation, **shared),
            curves.connections_plot(layers, **shared),
            curves.density_plot(layers, **shared),
            curves.seconds_plot(**shared),
        ]
        for plot in self.plots:
            plot.figure.on_event(RangesUpdate, lambda _: replay.unfollow())
            plot.figure.on_event(Reset, lambda _: replay.follow_newest())
        names = ("accuracy", "r2", "loss", "connections", "density", "seconds")
        self._cards = [card(plot.figure, name) for plot, name in zip(self.plots, names, strict=True)]
        self.input = InputCard(follower, replay)
        self._empty = empty_pane()
        self.layout = grid()
        self.update()
        self.layout.objects = [self._empty, *self._cards[:2], self.input.layout, *self._cards[2:]]

    def update(self, *, figures_only: bool = False) -> None:
        """Draw new data."""
        self._update_curves()
        self.input.update()
        empty = not len(self._follower.history) and self._replay.epoch is None
        update_empty_pane(self._empty, self._follower, empty=empty)

    def _update_curves(self) -> None:
        history, events, following = self._follower.history, self._follower.events, self._replay.following
        state = (len(history), history.last("epoch"), len(events), following, self._replay.cursor)
        if state == self._drawn:
            return
        self._drawn = state
        self._marks.update([event for event in events if event.kind not in _START_EVENTS])
        describe_accuracy(self.plots[0], self._follower.meta.get("data", {}))
        if following:
            fit_epochs(self._x_range, history)
        for plot, frame in zip(self.plots, self._cards, strict=True):
            plot.update(history, follow=following)
            plot.show_cursor(self._replay.cursor)
            visible = len(history) > 0 and all(history.last(curve.column) is not None for curve in plot.curves)
            if frame.visible != visible:
                frame.visible = visible
