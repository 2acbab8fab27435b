"""Live views of a run: what the dashboard and :func:`tsnn.views.watch` put on the page.

Figures are built once; :meth:`RunView.tick` looks at the follower's version and shows new data in the
views that are visible. Nothing changed means nothing done.
"""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import panel as pn
import panel_material_ui as pmui
from bokeh.events import RangesUpdate, Reset
from bokeh.models import Range1d

from tsnn.views import plots
from tsnn.views.figures import EventMarks
from tsnn.views.follow import RunFollower
from tsnn.views.plots import CurvePlot, show_epochs
from tsnn.views.replay import Replay
from tsnn.views.summary import summary_html
from tsnn.views.topology_plots import DegreePlot, ImportancePlot, MatrixMap, input_plot

CARD = {
    "border": "1px solid color-mix(in srgb, currentColor 16%, transparent)",
    "border-radius": "8px",
    "background": "var(--panel-surface-color, transparent)",
    "padding": "8px 4px 4px",
    "min-width": "0",
}
GRID = {
    "display": "grid",
    "grid-template-columns": "repeat(auto-fill, minmax(min(400px, 100%), 1fr))",
    "grid-auto-rows": "max-content",
    "flex-shrink": "0",
    "gap": "12px",
}
#: Events that say how a run began; they stand at epoch 0 and would only clutter the curves.
_NOT_MARKED = ("data", "dense_layer")
_SMALL_BUTTONS = {"& .MuiButtonBase-root": {"fontSize": "11.5px", "padding": "4px 6px", "textTransform": "none"}}
_EMPTY_STYLE = "font-size:15px;opacity:.75;padding:40px 24px;text-align:center"


class RunView:
    """Everything that is shown of one run.

    Parameters
    ----------
    follower : RunFollower
        The run.

    Attributes
    ----------
    head, replay, overview, topology : Panel objects
        The parts, to be laid out by the page.
    """

    def __init__(self, follower: RunFollower):
        self.follower = follower
        self.replay = Replay(follower.config.training.epochs, self._ranges_released)
        self.head = pn.pane.HTML(summary_html(follower), sizing_mode="stretch_width", margin=0)
        self.overview_tab = Overview(follower, self.replay)
        self.topology_tab = TopologyTab(follower, self.replay)
        self._version = -1

    def _ranges_released(self) -> None:
        self._version = -1

    def tick(self, tab: str = "overview") -> bool:
        """Bring the head and one tab up to date; returns whether the run had changed."""
        version = self.follower.poll()
        changed = version != self._version
        if changed:
            self._version = version
            html = summary_html(self.follower)
            if html != self.head.object:
                self.head.object = html
            self.replay.update(self.follower.snapshots)
        (self.overview_tab if tab == "overview" else self.topology_tab).update()
        return changed

    @property
    def overview(self) -> Any:
        """The curves and the input connectivity."""
        return self.overview_tab.layout

    @property
    def topology(self) -> Any:
        """The layers' connections, degrees and importance."""
        return self.topology_tab.layout


class Overview:
    """Curves over the epochs, and the input connectivity of one snapshot."""

    def __init__(self, follower: RunFollower, replay: Replay):
        self._follower, self._replay = follower, replay
        self._drawn: tuple[Any, ...] = ()
        self._drawn_input: tuple[Any, ...] = ()
        self._x_range = Range1d(start=0, end=2)
        self._marks = EventMarks()
        layers = len(follower.config.network.hidden) + 1
        makers: tuple[Callable[..., CurvePlot], ...] = (
            plots.accuracy_plot, plots.loss_plot, plots.connections_plot, plots.density_plot, plots.seconds_plot,
        )  # fmt: skip
        self.plots = [make(layers, x_range=self._x_range, marks=self._marks) for make in makers]
        for plot in self.plots:
            plot.figure.on_event(RangesUpdate, lambda _: replay.release())
            plot.figure.on_event(Reset, lambda _: replay.resume())
        self._cards = [card(plot.figure) for plot in self.plots]
        self.measure = pmui.RadioButtonGroup(
            options={"Connections": "degree", "Strength": "strength"}, value="degree", size="small", width=None,
            orientation="vertical", align="center", margin=(0, 2), sx=_SMALL_BUTTONS,
        )  # fmt: skip
        self.input: Any = None
        self._input_card = pn.Row(styles={**CARD, "justify-content": "center"}, sizing_mode="stretch_width", margin=0,
                                  visible=False)  # fmt: skip
        self._empty = pn.pane.HTML("", sizing_mode="stretch_width", styles={**CARD, "grid-column": "1 / -1"}, margin=0)
        self.layout = pn.Column(styles=GRID, sizing_mode="stretch_width", margin=0)
        self.update()
        shown = [self._empty, self._cards[0], self._input_card, *self._cards[1:]]
        self.layout.objects = shown

    def update(self) -> None:
        """Show what is new."""
        self._update_curves()
        self._update_input()
        nothing = not len(self._follower.history) and self._replay.epoch is None
        text = _empty_text(self._follower) if nothing else ""
        if text != self._empty.object or self._empty.visible != nothing:
            self._empty.param.update(object=text, visible=nothing)

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

    def _update_input(self) -> None:
        epoch, measure = self._replay.epoch, self.measure.value
        if epoch is None or (epoch, measure) == self._drawn_input:
            return
        snapshot = self._follower.snapshot(epoch)
        if snapshot is None:
            return
        self._drawn_input = (epoch, measure)
        if self.input is None:
            self.input = input_plot(self._follower.image_shape, measure)
            self._input_card.objects = [figure_pane(self.input.figure), self.measure]
        self.input.measure = measure
        self.input.update(snapshot)
        self._input_card.visible = True


class TopologyTab:
    """One layer of connections in one snapshot: matrix, degrees, importance."""

    def __init__(self, follower: RunFollower, replay: Replay):
        self._follower, self._replay = follower, replay
        self._drawn: tuple[Any, ...] = ()
        self._plots: tuple[Any, ...] = ()
        self.layer = pmui.Select(label="Layer of connections", options={}, size="small", width=260, margin=(4, 0))
        self._grid = pn.Column(styles=GRID, sizing_mode="stretch_width", margin=0)
        self._empty = pn.pane.HTML("", sizing_mode="stretch_width", styles=CARD, margin=0)
        self.layout = pn.Column(self._empty, sizing_mode="stretch_width", margin=0)

    def update(self) -> None:
        """Show what is new; the figures are made when this tab is first seen."""
        epoch = self._replay.epoch
        snapshot = None if epoch is None else self._follower.snapshot(epoch)
        if snapshot is None:
            text = _empty_text(self._follower)
            if text != self._empty.object:
                self._empty.object = text
            return
        if not self._plots:
            self._build(snapshot["sizes"])
        state = (epoch, self.layer.value)
        if state == self._drawn:
            return
        self._drawn = state
        for plot in self._plots:
            plot.layer = self.layer.value
            plot.update(snapshot)

    def _build(self, sizes: Any) -> None:
        names = {f"{l + 1}: {a:,} → {b:,} neurons": l for l, (a, b) in enumerate(pairwise(sizes))}
        self.layer.param.update(options=names, value=0)
        self._plots = MatrixMap(), DegreePlot(), ImportancePlot()
        self._grid.objects = [card(plot.figure) for plot in self._plots]
        self.layout.objects = [self.layer, self._grid]


def card(fig: Any) -> Any:
    """Return a figure in a frame."""
    return pn.Column(figure_pane(fig), styles=CARD, margin=0, sizing_mode="stretch_width")


def figure_pane(fig: Any) -> Any:
    """Return a pane with a figure, as wide as the figure wants to be."""
    return pn.pane.Bokeh(fig, sizing_mode=fig.sizing_mode, margin=0, styles={"font-size": "12.5px"})


def _empty_text(follower: RunFollower) -> str:
    if follower.live:
        words = "The first picture appears when the data have been read, the curves after the first epoch."
    else:
        words = "This run ended before its first epoch: there is nothing to draw. Change the settings and start again."
    return f"<div style='{_EMPTY_STYLE}'>{words}</div>"
