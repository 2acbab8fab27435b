"""Plots of neurons: their importance, its history, and the connections of single neurons."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, FactorRange, HoverTool, LinearColorMapper, NumeralTickFormatter
from bokeh.models.annotations import Span
from numpy.typing import NDArray

from tsnn.snapshot import LayerSnapshot, Snapshot
from tsnn.views.plots import palette
from tsnn.views.plots.figures import base_figure, padded, set_range, set_title
from tsnn.views.plots.topology import add_color_bar, as_picture, draw_image, picture_figure, short_labels

BARS = 30
ROWS, COLUMNS = 100, 400  # of the importance map, at most


def _threshold(layer: LayerSnapshot) -> float:
    """Return the threshold of importance pruning; NaN without one."""
    return math.nan if layer.importance_threshold is None else float(layer.importance_threshold)


class ImportancePlot:
    """Histogram of the importance of a layer's neurons, with the pruning threshold."""

    def __init__(self, layer: int = 0):
        self.layer = layer
        self.note = ""
        self.source = ColumnDataSource({"left": [], "right": [], "top": []})
        self.figure = base_figure("Importance", "Importance: sum of incoming |weight|", "Neurons")
        bars = self.figure.quad(
            left="left", right="right", top="top", bottom=0, source=self.source, color=palette.GREEN, line_alpha=0.0
        )
        tips = [("importance", "@left{0.00} to @right{0.00}"), ("neurons", "@top{0,0}")]
        self.figure.add_tools(HoverTool(renderers=[bars], tooltips=tips, visible=False))
        self.threshold = Span(dimension="height", line_color=palette.VERMILION, line_width=2, line_dash="dashed")
        self.threshold.visible = False
        self.figure.add_layout(self.threshold)
        self.figure.yaxis.formatter = NumeralTickFormatter(format="0,0")

    def update(self, snapshot: Snapshot) -> None:
        """Draw a snapshot."""
        layer = snapshot.layers[self.layer]
        counts, edges, threshold = layer.importance, layer.importance_edges, _threshold(layer)
        if counts is None or edges is None:
            return
        known = math.isfinite(threshold)
        total = int(snapshot.sizes[self.layer + 1])
        set_title(self.figure, f"Layer {self.layer + 1}: importance of {counts.sum():,} of {total:,} neurons")
        self.note = "Importance pruning is off: no threshold."
        if known:
            self.note = f"Threshold {threshold:.3g}: percentile {float(snapshot.percentile or 0):g}."
            if layer.to_prune is not None:
                self.note = f"{self.note[:-1]}, {layer.to_prune:,} of {counts.sum():,} living neurons."
        elif snapshot.percentile:
            self.note = "Output neurons are not pruned: no threshold."
        self.source.data = {
            "left": edges[:-1].astype(float).tolist(),
            "right": edges[1:].astype(float).tolist(),
            "top": counts.tolist(),
        }
        self.threshold.update(location=threshold if known else None, visible=known)
        set_range(self.figure.x_range, *padded([edges]))
        set_range(self.figure.y_range, 0.0, 1.06 * float(counts.max()) or 1.0)


def importance_map(
    snapshots: Mapping[int, Snapshot], layer: int, known: Sequence[int] = ()
) -> tuple[NDArray[np.float32], float]:
    """Return the histograms of importance over the epochs as an image.

    Parameters
    ----------
    snapshots : mapping of int to Snapshot
        By epoch; at least one.
    layer : int
        The layer, from 0.
    known : sequence of int
        Epochs of all snapshots, also of those that have not been read yet.

    Returns
    -------
    image : float32[rows, columns]
        Rows: importance from 0 up. Columns: epochs from 0 to the last, each from the latest snapshot up to it; 0 where
        that has not been read.
        Values: neurons per bin, as a fraction of the fullest bin in the column.
    top : float
        Importance at the upper end of the image.
    """
    epochs = sorted({*snapshots, *known})
    layers = [snapshots[e].layers[layer] if e in snapshots else LayerSnapshot() for e in epochs]
    histograms = [(found.importance, found.importance_edges) for found in layers]
    top = max((float(edges[-1]) for _, edges in histograms if edges is not None), default=1.0)
    grid = np.linspace(0.0, top, ROWS + 1)
    columns = min(COLUMNS, epochs[-1] + 1)
    image = np.zeros((ROWS, columns), np.float32)
    displayed = np.searchsorted(epochs, np.arange(columns) * (epochs[-1] + 1) // columns, side="right") - 1
    for at in np.flatnonzero(np.diff(displayed, prepend=-2)):
        counts, edges = histograms[max(0, displayed[at])]
        if counts is not None and edges is not None:
            density = np.diff(np.interp(grid, edges, np.append(0, np.cumsum(counts))))
            image[:, displayed == displayed[at]] = (density / max(density.max(), 1e-9))[:, None]
    return image, top


class ImportanceHistory:
    """Importance of a layer's neurons over the epochs: one histogram per snapshot, as the columns of an image."""

    def __init__(self, layer: int = 0):
        self.layer = layer
        self.note = ""
        self.source = ColumnDataSource({"image": [], "dw": [], "dh": []})
        self.line = ColumnDataSource({"epoch": [], "threshold": []})
        self.mapper = LinearColorMapper(palette=palette.IMAGE, low=0, high=1)
        self.figure = base_figure("Importance over the epochs", "Epoch", "Importance")
        draw_image(self.figure, self.source, self.mapper)
        line = self.figure.step(
            "epoch", "threshold", source=self.line, color=palette.VERMILION, line_width=3,
            mode="after",
        )  # fmt: skip
        tips = [("epoch", "@epoch{0,0}"), ("threshold", "@threshold{0.00}")]
        self.figure.add_tools(HoverTool(renderers=[line], tooltips=tips, visible=False))
        self.cursor = Span(dimension="height", line_color=palette.SKY, line_width=2, visible=False)
        self.figure.add_layout(self.cursor)
        self.figure.xaxis.formatter = NumeralTickFormatter(format="0,0.[0]")
        self.figure.grid.visible = False

    def update(self, snapshots: Mapping[int, Snapshot], known: Sequence[int] = ()) -> None:
        """Draw the snapshots that have been read, of these that are known."""
        if not snapshots:
            return
        image, top = importance_map(snapshots, self.layer, known)
        width = max([*snapshots, *known]) + 1
        set_title(self.figure, f"Layer {self.layer + 1}: importance over the epochs")
        self.source.data = {"image": [(255 * image).astype(np.uint8)], "dw": [width], "dh": [top]}
        self.mapper.high = 255
        epochs = sorted(snapshots)
        thresholds = [_threshold(snapshots[e].layers[self.layer]) for e in epochs]
        self.line.data = {"epoch": epochs, "threshold": thresholds}
        set_range(self.figure.x_range, 0, width)
        set_range(self.figure.y_range, 0, top)

    def show_cursor(self, epoch: int | None) -> None:
        """Mark an epoch; None removes the mark."""
        location = None if epoch is None else epoch + 0.5
        if self.cursor.location != location:
            self.cursor.update(location=location, visible=epoch is not None)


class WeightPicture:
    """Incoming weights of one neuron of the first hidden layer, arranged as the image that they come from."""

    def __init__(self, shape: Sequence[int]):
        self.shape = tuple(shape)
        self.note = ""
        self.source = ColumnDataSource({"image": [], "dw": [], "dh": []})
        self.mapper = LinearColorMapper(palette=palette.SIGNED, low=-1, high=1, nan_color="rgba(0, 0, 0, 0)")
        self.figure = picture_figure("Incoming", self.shape)
        image = draw_image(self.figure, self.source, self.mapper)
        tips = [("pixel", "row $y{0}, column $x{0}"), ("weight", "@image{0.[000]}")]
        self.figure.add_tools(HoverTool(renderers=[image], tooltips=tips, visible=False))
        add_color_bar(self.figure, self.mapper)

    def update(self, title: str, neurons: NDArray[Any], weights: NDArray[Any]) -> None:
        """Draw the weights of connections that come from some inputs."""
        values = np.zeros(math.prod(self.shape))
        values[neurons] = weights
        mask = np.zeros_like(values)
        mask[neurons] = 1
        picture, connected = as_picture(values, self.shape), as_picture(mask, self.shape)
        assert picture is not None
        assert connected is not None
        most = float(abs(picture).max()) or 1.0
        set_title(self.figure, title)
        self.note = f"{len(neurons):,} connections drawn."
        self.mapper.update(low=-most, high=most)
        image = np.where(connected > 0, picture, np.nan).astype(np.float32)
        self.source.data = {"image": [image], "dw": [picture.shape[1]], "dh": [picture.shape[0]]}


class WeightBars:
    """Strongest connections of one neuron as bars."""

    def __init__(self, x_label: str, names: Sequence[str] = ()):
        self.names = tuple(names)
        self.note = ""
        self.source = ColumnDataSource({"neuron": [], "name": [], "weight": [], "color": []})
        self._factors = FactorRange()
        self.figure = base_figure("Connections", x_label, "Weight", x_range=self._factors)
        bars = self.figure.vbar("neuron", top="weight", width=0.8, source=self.source, color="color")
        tips = [(x_label.lower(), "@name"), ("weight", "@weight{0.[000]}")]
        self.figure.add_tools(HoverTool(renderers=[bars], tooltips=tips, visible=False))
        self.figure.xaxis.major_label_orientation = math.pi / 2
        self.figure.xgrid.visible = False

    def update(self, title: str, neurons: NDArray[Any], weights: NDArray[Any]) -> None:
        """Draw the weights of connections with some neurons, the largest first."""
        strongest = np.argsort(-abs(weights.astype(np.float32)), kind="stable")[:BARS]
        chosen = strongest[np.argsort(-weights[strongest], kind="stable")]
        labels = short_labels(neurons[chosen].tolist(), self.names)
        names = [self.names[n] if n < len(self.names) else str(n) for n in neurons[chosen].tolist()]
        values = weights[chosen].astype(float)
        set_title(self.figure, title)
        self.note = f"The {BARS} strongest of {len(neurons):,}." if len(neurons) > BARS else ""
        colors = [palette.ORANGE if w > 0 else palette.BLUE for w in values]
        self._factors.factors = labels
        self.source.data = {"neuron": labels, "name": names, "weight": values.tolist(), "color": colors}
        low, high = padded([np.append(values, 0.0)])
        set_range(self.figure.y_range, low, high)
