"""Connectivity tab: positions, degrees and ages of the connections in one snapshot."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

from typing import Any

import panel as pn

from tsnn.views.live.follower import RunFollower
from tsnn.views.plots import curves
from tsnn.views.plots.degrees import AgePlot, DegreePlot
from tsnn.views.plots.topology import MatrixMap
from tsnn.views.tabs.cards import card, empty_pane, grid, update_empty_pane
from tsnn.views.tabs.features import FeatureCard
from tsnn.views.tabs.inputs import InputCard
from tsnn.views.tabs.measures import MeasureCards
from tsnn.views.tabs.replay import Replay
from tsnn.views.tabs.weights import WeightCard

#: Fields of a snapshot that the tab displays.
_PARTS = ("epoch", "ages_since", "age", "density", "density_max", "in_degree", "out_degree")


class ConnectivityTab:
    """Inputs, one layer's matrix, degrees, ages and turnover."""

    def __init__(self, follower: RunFollower, replay: Replay):
        self._follower, self._replay = follower, replay
        self._drawn: tuple[Any, ...] = ()
        self.input, self.features = InputCard(follower, replay), FeatureCard(follower, replay)
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
            self.features.update()
            self.measures.update()
            self.weights.update()

    def _build(self) -> None:
        self.degrees, self.ages = DegreePlot(), AgePlot()
        self.replaced = curves.replaced_plot(len(self._follower.sizes) - 1)
        figures: dict[str, Any] = {
            "matrix": self.matrix,
            "degrees": self.degrees,
            "age": self.ages,
            "replaced": self.replaced,
        }
        self._cards = {name: card(plot.figure, name) for name, plot in figures.items()}
        self.measures = MeasureCards(self._follower, self._replay)
        self.weights = WeightCard(self._follower, self._replay)
        cards = *self._cards.values(), self.weights.layout, *self.measures.cards
        self.layout.objects = [grid(self.input.layout, *cards, self.features.layout)]
