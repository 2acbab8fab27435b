"""Connectivity tab: positions, degrees and ages of the connections in one snapshot."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

from typing import Any

import panel as pn
import panel_material_ui as pmui

from tsnn.views.live.follower import RunFollower
from tsnn.views.plots import curves
from tsnn.views.plots.degrees import AgePlot, DegreePlot
from tsnn.views.plots.topology import MEASURES, MatrixMap, input_plot
from tsnn.views.tabs.cards import CARD, Card, card, figure_pane, grid, with_caption
from tsnn.views.tabs.replay import Replay

_SMALL_BUTTONS = {"& .MuiButtonBase-root": {"fontSize": "11.5px", "padding": "4px 6px", "textTransform": "none"}}
#: Fields of a snapshot that the tab displays.
_PARTS = ("epoch", "ages_since", "age", "density", "density_max", "in_degree", "out_degree")
_INPUT_PARTS = tuple(field for field, _ in MEASURES.values())
_EMPTY_STYLE = "font-size:15px;opacity:.75;padding:40px 24px;text-align:center"


class InputCard:
    """Card of the input connectivity in one snapshot, as number or as strength of the connections."""

    def __init__(self, follower: RunFollower, replay: Replay):
        self._follower, self._replay = follower, replay
        self._drawn: tuple[Any, ...] = ()
        self.plot: Any = None
        self.measure = pmui.RadioButtonGroup(
            options={"Connections": "degree", "Strength": "strength"}, value="degree",
            size="small", width=None, align="center", margin=(0, 2, 4, 8), sx=_SMALL_BUTTONS,
        )  # fmt: skip
        self.measure.param.watch(lambda _: self.update(), "value")
        self._figure = pn.Row(sizing_mode="stretch_width", margin=0, styles={"justify-content": "center"})
        self.layout = Card(self._figure, "input", with_caption(self.measure, "measure"), visible=False)

    @pn.io.hold()
    def update(self) -> None:
        """Draw the snapshot of the timeline, if it or the measure has changed."""
        epoch, measure = self._replay.epoch, self.measure.value
        if epoch is None or (epoch, measure) == self._drawn:
            return
        snapshot = self._follower.snapshot(epoch, 0, _INPUT_PARTS)
        if snapshot is None:
            return
        self._drawn = epoch, measure
        if self.plot is None:
            self.plot = input_plot(self._follower.image_shape, measure)
            self._figure.objects = [figure_pane(self.plot.figure)]
            self.layout.visible = True
        self.plot.measure = measure
        self.plot.update(snapshot)


class ConnectivityTab:
    """Inputs, one layer's matrix, degrees, ages and turnover."""

    def __init__(self, follower: RunFollower, replay: Replay):
        self._follower, self._replay = follower, replay
        self._drawn: tuple[Any, ...] = ()
        self.input = InputCard(follower, replay)
        self.matrix = MatrixMap()
        self._empty = empty_pane()
        self.layout = pn.Column(self._empty, sizing_mode="stretch_width", margin=0)
        self._cards: dict[str, Any] = {}

    def update(self, *, figures_only: bool = False) -> None:
        """Draw new data; with ``figures_only`` the texts are left to the next update."""
        epoch, layer = self._replay.epoch, self._replay.layer.value
        snapshot = None if epoch is None else self._follower.snapshot(epoch, layer, _PARTS)
        if snapshot is None or snapshot.layers[layer].density is None:
            update_empty_pane(self._empty, self._follower)
            return
        if not self._cards:
            self._build()
        self.input.update()
        history, before = self._follower.history, self._drawn
        self._drawn = epoch, layer, history.last("epoch")
        if self._drawn[:2] != before[:2]:
            for plot in (self.matrix, self.degrees):
                plot.layer = layer
                plot.update(snapshot)
        if self._drawn != before:
            self.ages.layer = layer
            self.ages.update(snapshot, history, self._replay.before)
        if self._drawn[2:] != before[2:]:
            curves.fit_epochs(self.replaced.figure.x_range, history)
            self.replaced.update(history)
        self.replaced.show_cursor(self._replay.cursor)
        if not figures_only:
            self._cards["degrees"].set_note(self.degrees.note)
            self._cards["age"].set_note(self.ages.note)

    def _build(self) -> None:
        start = self._follower.meta.get("network", {}).get("connections")
        self.degrees, self.ages = DegreePlot(start=start), AgePlot()
        self.replaced = curves.replaced_plot(len(self._follower.sizes) - 1)
        figures: dict[str, Any] = {
            "matrix": self.matrix,
            "degrees": self.degrees,
            "age": self.ages,
            "replaced": self.replaced,
        }
        self._cards = {name: card(plot.figure, name) for name, plot in figures.items()}
        self.layout.objects = [grid(self.input.layout, *self._cards.values())]


def empty_pane() -> Any:
    """Return the frame for the message of a tab without data."""
    return pn.pane.HTML("", sizing_mode="stretch_width", styles=CARD | {"grid-column": "1 / -1"}, margin=0)


def update_empty_pane(pane: Any, follower: RunFollower, *, empty: bool = True) -> None:
    """Set the message of a tab without data; hide the frame if there are data."""
    if follower.live:
        text = "The first figure appears when the data have been read, the curves after the first epoch."
    else:
        text = "This run ended before its first epoch. Change the settings and start again."
    html = f"<div style='{_EMPTY_STYLE}'>{text}</div>" if empty else ""
    if html != pane.object or pane.visible != empty:
        pane.param.update(object=html, visible=empty)
