"""Neurons tab: importance and pruning of a layer's neurons, and the connections of single neurons."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui
from bokeh.models.widgets.tables import NumberFormatter

from tsnn.config import Config
from tsnn.snapshot import LayerSnapshot
from tsnn.views.live.follower import RunFollower
from tsnn.views.plots import curves
from tsnn.views.plots.mistakes import output_names
from tsnn.views.plots.neurons import ImportanceHistory, ImportancePlot, WeightBars, WeightPicture
from tsnn.views.tabs.cards import TABLE, Card, card, empty_pane, grid, update_empty_pane, with_caption
from tsnn.views.tabs.replay import Replay

_SELECTABLE = """
.tabulator-row {cursor: pointer}
:host .tabulator .tabulator-row.tabulator-selected {
    background: color-mix(in srgb, var(--panel-primary-color) 30%, transparent) !important; color: inherit !important}
"""
#: Fields of a snapshot that the tab displays.
_IMPORTANCE_PARTS = ("importance", "importance_edges", "importance_threshold")
_PARTS = (
    "percentile", *_IMPORTANCE_PARTS, "to_prune", "neurons", "neuron_values",
    "incoming_indptr", "incoming_indices", "incoming_weights",
    "outgoing_indptr", "outgoing_indices", "outgoing_weights",
)  # fmt: skip
_TITLES = {"neuron": "Neuron", "importance": "Importance", "incoming": "Incoming", "outgoing": "Outgoing"}


class NeuronsTab:
    """Importance, its history, living neurons, and single neurons of one layer in one snapshot."""

    def __init__(self, follower: RunFollower, replay: Replay):
        self._follower, self._replay = follower, replay
        self._drawn: tuple[Any, ...] = ()
        self._drawn_history: tuple[Any, ...] = ()
        self._listed: tuple[Any, ...] = ()
        self._neurons: list[int] = []
        self._listing = False
        self._empty = empty_pane()
        self._cards: dict[str, Any] = {}
        self.layout = pn.Column(self._empty, sizing_mode="stretch_width", margin=0)

    @pn.io.hold()
    def update(self, *, figures_only: bool = False) -> None:
        """Draw new data; with ``figures_only`` texts and lists are left to the next update."""
        epoch, layer = self._replay.epoch, self._replay.layer.value
        snapshot = None if epoch is None else self._follower.snapshot(epoch, layer, _PARTS)
        if snapshot is None or layer >= len(snapshot.layers) or snapshot.layers[layer].importance is None:
            update_empty_pane(self._empty, self._follower)
            return
        if not self._cards:
            self._build(len(snapshot.layers))
        self._update_history(layer)
        neurons = snapshot.layers[layer].neurons
        self._neurons = [] if neurons is None else neurons[::-1].tolist()
        neuron = self.neuron.value if self.neuron.value in self._neurons else next(iter(self._neurons), None)
        before, self._drawn = self._drawn, (epoch, layer, neuron)
        if self._drawn[:2] != before[:2]:
            self.importance.layer = layer
            self.importance.update(snapshot)
        if self._drawn != before and neuron is not None:
            self._draw_neuron(snapshot.layers, layer, neuron)
        if not figures_only:
            self._list_neurons(snapshot.layers, layer, neuron)
            note = f"{self.importance.note} {next_pruning(self._follower.config, epoch or 0)}"
            self._cards["importance"].set_note(note.strip())

    def _build(self, layers: int) -> None:
        self.importance, self.history = ImportancePlot(), ImportanceHistory()
        self.living = curves.living_plot(layers)
        self.neuron = pmui.Select(
            label="Neuron", options={}, size="small", sizing_mode="stretch_width", margin=(8, 8, 4, 8)
        )
        self.table = pn.widgets.Tabulator(
            pd.DataFrame(columns=list(_TITLES)), show_index=False, disabled=True, selectable=1, titles=_TITLES,
            sizing_mode="stretch_width", layout="fit_columns", height=300, margin=(0, 8), theme="simple", sortable=True,
            formatters={"importance": NumberFormatter(format="0.000")} | dict.fromkeys(
                ("incoming", "outgoing"), NumberFormatter(format="0,0", nan_format="–")),
            text_align=dict.fromkeys(("importance", "incoming", "outgoing"), "right"), stylesheets=[TABLE, _SELECTABLE],
        )  # fmt: skip
        self.table.on_click(self._clicked)
        self.neuron.param.watch(self._chosen, "value")
        shape, data = self._follower.image_shape, self._follower.meta.get("data", {})
        self._names = output_names(data)
        kind = "class" if data.get("class_names") else "target" if self._names else "output"
        self.picture = WeightPicture(shape) if shape else None
        self.inputs = WeightBars("From feature", self._follower.feature_names)
        self.incoming = WeightBars("From neuron")
        self.outgoing = WeightBars("To neuron")
        self.outcome = WeightBars(f"To {kind}", self._names)
        figures: dict[str, Any] = {"importance": self.importance, "importance_history": self.history,
                                   "living": self.living}  # fmt: skip
        self._cards = {name: card(plot.figure, name) for name, plot in figures.items()}
        self._cards["neurons"] = Card(with_caption(self.neuron, "neuron"), "neurons", self.table)
        captions = dict.fromkeys(("picture", "inputs", "incoming"), "incoming")
        captions |= dict.fromkeys(("outgoing", "outcome"), "outgoing")
        singles = {name: getattr(self, name) for name in captions}
        self._singles: dict[Any, str] = {plot: name for name, plot in singles.items() if plot is not None}
        self._cards |= {name: card(plot.figure, captions[name], visible=False) for plot, name in self._singles.items()}
        self.layout.objects = [grid(*self._cards.values())]

    def _update_history(self, layer: int) -> None:
        """Draw the importance histograms of the snapshots read so far, and the numbers of living neurons."""
        found, history = self._follower.collect(layer, _IMPORTANCE_PARTS), self._follower.history
        state = layer, len(found), max(self._follower.snapshots, default=0), history.last("epoch")
        before, self._drawn_history = self._drawn_history, state
        if state[:3] != before[:3]:
            self.history.layer = layer
            self.history.update(found, self._follower.snapshots)
        if state[3:] != before[3:]:
            curves.fit_epochs(self.living.figure.x_range, history)
            self.living.update(history)
        for plot in (self.history, self.living):
            plot.show_cursor(self._replay.cursor)

    def _list_neurons(self, layers: Sequence[LayerSnapshot], layer: int, neuron: int | None) -> None:
        """List the neurons that the snapshot has connections of, the most important first."""
        source = self._replay.epoch, layer
        if self._listed != source:
            self._listed = source
            values = layers[layer].neuron_values
            values = np.empty((0, 3), np.float32) if values is None else values[::-1]
            last = layer == len(layers) - 1
            names = [self._name(n, last) for n in self._neurons]
            table = {"neuron": names, "importance": values[:, 0].astype(float), "incoming": values[:, 1].astype(float),
                     "outgoing": np.full(len(names), np.nan) if last else values[:, 2].astype(float)}  # fmt: skip
            self.table.value = pd.DataFrame(table)
            self._listing = True
            self.neuron.param.update(options=dict(zip(names, self._neurons, strict=True)), value=neuron)
            self._listing = False
        selected = [] if neuron is None else [self._neurons.index(neuron)]
        if self.table.selection != selected:
            self.table.selection = selected
        for plot, name in self._singles.items():
            self._cards[name].set_note(plot.note)

    def _name(self, neuron: int, last: bool) -> str:
        return self._names[neuron] if last and neuron < len(self._names) else f"{neuron:,}"

    def _clicked(self, event: Any) -> None:
        self.neuron.value = self._neurons[event.row]

    def _chosen(self, _event: Any) -> None:
        if not self._listing:
            self.update()

    def _draw_neuron(self, layers: Sequence[LayerSnapshot], layer: int, neuron: int) -> None:
        """Draw the connections of the chosen neuron."""
        last = layer == len(layers) - 1
        incoming = self.incoming if layer else self.picture or self.inputs
        outgoing = None if last else self.outcome if layer == len(layers) - 2 else self.outgoing
        for plot, card_name in self._singles.items():
            visible = plot is incoming or plot is outgoing
            if self._cards[card_name].visible != visible:
                self._cards[card_name].visible = visible
        name = self._name(neuron, last)
        incoming.update(f"Neuron {name}: weights that come in", *layers[layer].connections(neuron, "incoming"))
        if outgoing is not None:
            outgoing.update(f"Neuron {name}: weights that go out", *layers[layer].connections(neuron, "outgoing"))


def next_pruning(config: Config, done: int) -> str:
    """Return a sentence about the next importance pruning; empty if there is none before the end, and it is off."""
    schedule, epochs = config.importance, config.training.epochs
    due = max(schedule.start, schedule.start + schedule.every * -(-(done + 1 - schedule.start) // schedule.every))
    if due >= epochs:
        return f"No pruning is due before the last epoch, {epochs:,}." if schedule.percentile else ""
    return f"The next pruning is due after epoch {due:,}, if a percentile is set then."
