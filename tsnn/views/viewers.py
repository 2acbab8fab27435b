"""Live views of a run: what the dashboard and :func:`tsnn.views.watch` put on the page.

Figures are built once; :meth:`RunView.tick` looks at the follower's version and shows new data in the
views that are visible. Nothing changed means nothing done.
"""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel as pn
from bokeh.events import RangesUpdate, Reset
from bokeh.models import Range1d

from tsnn.views import plots
from tsnn.views.cards import card, grid
from tsnn.views.connectivity import ConnectivityTab, InputCard, empty_pane, say_empty
from tsnn.views.figures import EventMarks
from tsnn.views.follow import RunFollower
from tsnn.views.neurons import NeuronsTab
from tsnn.views.plots import show_epochs
from tsnn.views.replay import Replay
from tsnn.views.summary import summary_html
from tsnn.views.workers import WorkersTab

#: Events that say how a run began; they stand at epoch 0 and would only clutter the curves.
_NOT_MARKED = ("data", "dense_layer")


class RunView:
    """Everything that is shown of one run.

    Parameters
    ----------
    follower : RunFollower
        The run.

    Attributes
    ----------
    head : Panel object
        State, progress and the main numbers.
    replay : Replay
        The bar of time; its ``layout`` belongs on the page.
    tabs : dict
        The views by name: ``overview``, ``connectivity``, ``neurons``, ``workers``.
    """

    def __init__(self, follower: RunFollower):
        self.follower = follower
        self.replay = Replay(follower.config.training.epochs, self._ranges_released, self.show)
        self.head = pn.pane.HTML(summary_html(follower), sizing_mode="stretch_width", margin=0)
        self.tabs: dict[str, Any] = {
            "overview": Overview(follower, self.replay),
            "connectivity": ConnectivityTab(follower, self.replay),
            "neurons": NeuronsTab(follower, self.replay),
            "workers": WorkersTab(follower, self.replay),
        }
        self.tab = "overview"
        self.after_show: Callable[[], None] = lambda: None
        self._version = -1

    def _ranges_released(self) -> None:
        self._version = -1

    @pn.io.hold()  # Panel calls handlers of events without the document's lock: only what is held may then be changed
    def tick(self, tab: str = "") -> bool:
        """Bring the head and one tab up to date; returns whether the run had changed or is being replayed."""
        version = self.follower.poll()
        changed = version != self._version
        if changed:
            self._version = version
            html = summary_html(self.follower)
            if html != self.head.object:
                self.head.object = html
            self.replay.update(self.follower.snapshots)
            self.replay.name_layers(self.follower.sizes)
        playing = self.replay.playing
        self.replay.tick()
        self._choose(tab or self.tab)
        self.tabs[self.tab].update()
        return changed or playing

    def _choose(self, tab: str) -> None:
        self.tab = tab
        of_a_layer = tab in ("connectivity", "neurons")
        if self.replay.layer_choice.visible != of_a_layer:
            self.replay.layer_choice.visible = of_a_layer

    def show(self) -> None:
        """Draw what the bar of time says, at once; words and lists, which take longer, come with the next tick."""
        with pn.io.hold():
            self.tabs[self.tab].update(words=False)
        self.after_show()


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
            plots.accuracy_plot(validation=validation, **shared),
            plots.loss_plot(validation=validation, **shared),
            plots.connections_plot(layers, **shared),
            plots.density_plot(layers, **shared),
            plots.seconds_plot(**shared),
        ]
        for plot in self.plots:
            plot.figure.on_event(RangesUpdate, lambda _: replay.release())
            plot.figure.on_event(Reset, lambda _: replay.resume())
        names = ("accuracy", "loss", "connections", "density", "seconds")
        self._cards = [card(plot.figure, name) for plot, name in zip(self.plots, names, strict=True)]
        self.input = InputCard(follower, replay)
        self._empty = empty_pane()
        self.layout = grid()
        self.update()
        shown = [self._empty, self._cards[0], self.input.layout, *self._cards[1:]]
        self.layout.objects = shown

    def update(self, *, words: bool = True) -> None:
        """Show what is new."""
        self._update_curves()
        self.input.update()
        nothing = not len(self._follower.history) and self._replay.epoch is None
        say_empty(self._empty, self._follower, nothing=nothing)

    def _update_curves(self) -> None:
        history, events, following = self._follower.history, self._follower.events, self._replay.following
        state = (len(history), history.last("epoch"), len(events), following, self._replay.cursor)
        if state == self._drawn:
            return
        self._drawn = state
        self._marks.update([event for event in events if event.kind not in _NOT_MARKED])
        if following:
            show_epochs(self._x_range, history)
        for plot, shell in zip(self.plots, self._cards, strict=True):
            plot.update(history, follow=following)
            plot.show_cursor(self._replay.cursor)
            visible = len(history) > 0 and all(history.last(curve.column) is not None for curve in plot.curves)
            if shell.visible != visible:
                shell.visible = visible
