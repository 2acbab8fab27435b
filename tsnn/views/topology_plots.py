"""Plots of one snapshot of the topology: input connectivity, matrix map, degrees, importance.

``snapshot`` is always the mapping that :meth:`tsnn.runs.Run.snapshot` returns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from bokeh.models import (
    ColumnDataSource,
    FactorRange,
    FixedTicker,
    HoverTool,
    LinearColorMapper,
    NumeralTickFormatter,
    Range1d,
)
from bokeh.models.annotations import ColorBar, Span
from bokeh.plotting import figure
from numpy.typing import NDArray

from tsnn.views import palette
from tsnn.views.figures import ROUND, add_legend, base_figure, padded, set_range

TOP_FEATURES = 30
MAP_SIDE = 184

#: What the input map can show: the snapshot's array, and its name with unit.
MEASURES = {
    "degree": ("input_degree", "connections of each input"),
    "strength": ("input_strength", "sum of |weight| of each input"),
}

Snapshot = Mapping[str, NDArray[Any]]


class SnapshotPlot(Protocol):
    """A figure that shows a snapshot."""

    figure: figure

    def update(self, snapshot: Snapshot) -> None:
        """Show another snapshot."""


def as_picture(values: NDArray[Any], shape: Sequence[int]) -> NDArray[np.float64] | None:
    """Arrange one value per input as a picture, colour planes summed; None if the shape does not fit.

    Parameters
    ----------
    values : array [n]
        One value per input feature.
    shape : sequence of int
        (height, width), (planes, height, width) or (height, width, planes).
    """
    if math.prod(shape) != len(values) or len(shape) not in (2, 3):
        return None
    picture = np.asarray(values, dtype=np.float64).reshape(shape)
    if picture.ndim == 3:
        picture = picture.sum(axis=_planes(shape))
    return picture


def _planes(shape: Sequence[int]) -> int:
    """Return the axis of the colour planes: the shortest."""
    return 2 if shape[2] < shape[0] else 0


class InputPicture:
    """Connectivity of the inputs, arranged as the picture they come from."""

    def __init__(self, shape: Sequence[int], measure: str = "degree"):
        self.shape = tuple(shape)
        self.measure = measure
        height, width = self.shape[:2] if len(self.shape) == 3 and _planes(self.shape) == 2 else self.shape[-2:]
        self.source = ColumnDataSource({"image": [], "dw": [], "dh": []})
        self.mapper = LinearColorMapper(palette=palette.IMAGE, low=0, high=1)
        self.figure = base_figure(
            "Input connectivity",
            "Pixel column",
            "Pixel row",
            x_range=Range1d(start=0, end=width),
            y_range=Range1d(start=height, end=0),
            height=MAP_SIDE + 86,
            width=round(MAP_SIDE * min(max(width / height, 0.4), 1.3)) + 108,
            sizing_mode="fixed",
            min_border_left=54,
            min_border_right=54,
        )
        image = _draw_image(self.figure, self.source, self.mapper)
        tips = [("pixel", "row $y{0}, column $x{0}"), ("value", "@image{0,0.[00]}")]
        self.figure.add_tools(HoverTool(renderers=[image], tooltips=tips, visible=False))
        _add_color_bar(self.figure, self.mapper)
        self.figure.grid.visible = False

    def update(self, snapshot: Snapshot) -> None:
        """Show another snapshot."""
        column, name = MEASURES[self.measure]
        picture = as_picture(snapshot[column], self.shape)
        if picture is None:
            return
        height, width = picture.shape
        _set_title(self.figure, name[0].upper() + name[1:])
        low, high = float(picture.min()), float(picture.max())
        self.mapper.update(low=low, high=high if high > low else low + 1.0)
        self.source.data = {"image": [picture.astype(np.float32)], "dw": [width], "dh": [height]}


class TopInputs:
    """The inputs with the most connections, where inputs are no picture."""

    def __init__(self, measure: str = "degree"):
        self.measure = measure
        self.source = ColumnDataSource({"feature": [], "value": []})
        self._factors = FactorRange()
        self.figure = base_figure("Input connectivity", "Input feature", "", x_range=self._factors)
        bars = self.figure.vbar("feature", top="value", width=0.8, source=self.source, color=palette.BLUE)
        tips = [("feature", "@feature"), ("value", "@value{0,0.[00]}")]
        self.figure.add_tools(HoverTool(renderers=[bars], tooltips=tips, visible=False))
        self.figure.xaxis.major_label_orientation = math.pi / 2
        self.figure.xgrid.visible = False

    def update(self, snapshot: Snapshot) -> None:
        """Show another snapshot."""
        column, name = MEASURES[self.measure]
        values = snapshot[column]
        top = np.argsort(-values, kind="stable")[:TOP_FEATURES]
        block = -(-int(snapshot["sizes"][0]) // len(values))
        names = [str(i) if block == 1 else f"{i * block}+" for i in top]
        _set_title(self.figure, f"Top {len(top)} inputs: {name}")
        self.figure.yaxis.axis_label = name[0].upper() + name[1:]
        self._factors.factors = names
        self.source.data = {"feature": names, "value": values[top].astype(float).tolist()}
        set_range(self.figure.y_range, 0.0, 1.05 * float(values.max()) or 1.0)  # type: ignore[arg-type]


def input_plot(image_shape: Sequence[int] | None, measure: str = "degree") -> InputPicture | TopInputs:
    """Return the plot of input connectivity that suits the data."""
    return InputPicture(image_shape, measure) if image_shape else TopInputs(measure)


class MatrixMap:
    """Where a layer's connections are: its matrix, counted in at most 200 x 200 cells."""

    def __init__(self, layer: int = 0):
        self.layer = layer
        self.source = ColumnDataSource({"image": [], "dw": [], "dh": []})
        self.mapper = LinearColorMapper(palette=palette.IMAGE, low=0, high=1)
        self.figure = base_figure("Connections of the layer", "Neuron at its end", "Neuron at its start")
        image = _draw_image(self.figure, self.source, self.mapper)
        tips = [("from neuron", "$y{0,0}"), ("to neuron", "$x{0,0}"), ("connections", "@image{0,0.[0]}")]
        self.figure.add_tools(HoverTool(renderers=[image], tooltips=tips, visible=False))
        for axis in self.figure.axis:
            axis.formatter = NumeralTickFormatter(format="0,0")
        _add_color_bar(self.figure, self.mapper)
        self.figure.grid.visible = False

    def update(self, snapshot: Snapshot) -> None:
        """Show another snapshot."""
        counts, sizes = snapshot[f"density_{self.layer}"], snapshot["sizes"]
        n_in, n_out = int(sizes[self.layer]), int(sizes[self.layer + 1])
        high = float(snapshot[f"density_max_{self.layer}"])
        cell = f"{math.ceil(n_in / counts.shape[0])} × {math.ceil(n_out / counts.shape[1])} neurons"
        _set_title(self.figure, f"Layer {self.layer + 1}: connections per {cell}")
        self.mapper.update(low=0.0, high=high)
        image = counts.astype(np.float32) * np.float32(high / 255)
        self.source.data = {"image": [image], "dw": [n_out], "dh": [n_in]}
        set_range(self.figure.x_range, 0, n_out)  # type: ignore[arg-type]
        set_range(self.figure.y_range, n_in, 0)  # type: ignore[arg-type]


def survival(degrees: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return degrees >= 1 and the share of neurons that have at least so many connections.

    Parameters
    ----------
    degrees : int array [k, 2]
        (degree, number of neurons), ascending.
    """
    total = max(1, int(degrees[:, 1].sum()))
    share = degrees[::-1, 1].cumsum()[::-1] / total
    present = degrees[:, 0] >= 1
    return degrees[present, 0].astype(np.float64), share[present]


class DegreePlot:
    """Degree distributions of a layer, as the share of neurons with at least k connections."""

    _DIRECTIONS = (
        ("in_degree", "incoming", palette.BLUE, "circle"),
        ("out_degree", "outgoing", palette.ORANGE, "square"),
    )

    def __init__(self, layer: int = 0):
        self.layer = layer
        self.sources = {name: ColumnDataSource({"k": [], "share": []}) for name, *_ in self._DIRECTIONS}
        self.figure = base_figure(
            "Degrees of the layer",
            "Connections of a neuron, k",
            "Share of neurons",
            x_axis_type="log",
            y_axis_type="log",
            x_range=Range1d(start=1, end=10),
            y_range=Range1d(start=1e-3, end=1.2),
        )
        for name, label, color, marker in self._DIRECTIONS:
            style: dict[str, Any] = {"source": self.sources[name], "color": color, "legend_label": label}
            self.figure.line("k", "share", line_width=1.5, **style)
            points = self.figure.scatter("k", "share", marker=marker, size=4, **style)
            tips = [(f"{label} ≥", "@k{0,0}"), ("neurons", "@share{0.[00]%}")]
            self.figure.add_tools(HoverTool(renderers=[points], tooltips=tips, visible=False))
        for axis, form in ((self.figure.xaxis, "0,0"), (self.figure.yaxis, "0.[0000]%")):
            axis.formatter = NumeralTickFormatter(format=form)
            axis.ticker = FixedTicker(ticks=ROUND)
        add_legend(self.figure)

    def update(self, snapshot: Snapshot) -> None:
        """Show another snapshot."""
        _set_title(self.figure, f"Layer {self.layer + 1}: neurons with k or more connections (%)")
        fewest, most, least = math.inf, 2.0, 0.1
        for name, source in self.sources.items():
            k, share = survival(snapshot[f"{name}_{self.layer}"])
            source.data = {"k": k.tolist(), "share": share.tolist()}
            if len(k):
                fewest, most, least = min(fewest, k[0]), max(most, k[-1]), min(least, share[-1])
        set_range(self.figure.x_range, min(fewest, most) / 1.3, most * 1.3)  # type: ignore[arg-type]
        set_range(self.figure.y_range, least / 1.5, 1.3)  # type: ignore[arg-type]


class ImportancePlot:
    """Histogram of the importance of a layer's neurons, with the pruning threshold."""

    def __init__(self, layer: int = 0):
        self.layer = layer
        self.source = ColumnDataSource({"left": [], "right": [], "top": []})
        self.figure = base_figure("Importance", "Importance: sum of |weight| of incoming connections", "Neurons")
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
        """Show another snapshot."""
        counts, edges = snapshot[f"importance_{self.layer}"], snapshot[f"importance_edges_{self.layer}"]
        threshold = float(snapshot[f"importance_threshold_{self.layer}"])
        known = math.isfinite(threshold)
        note = f" (pruned at ≤ {threshold:.3g})" if known else ""
        _set_title(self.figure, f"Layer {self.layer + 1}: importance of {counts.sum():,} living neurons{note}")
        self.source.data = {
            "left": edges[:-1].astype(float).tolist(),
            "right": edges[1:].astype(float).tolist(),
            "top": counts.tolist(),
        }
        self.threshold.update(location=threshold if known else None, visible=known)
        set_range(self.figure.x_range, *padded([edges]))  # type: ignore[arg-type]
        set_range(self.figure.y_range, 0.0, 1.06 * float(counts.max()) or 1.0)  # type: ignore[arg-type]


def draw(plot: SnapshotPlot, snapshot: Snapshot) -> figure:
    """Return a plot's figure with a snapshot on it: ``draw(DegreePlot(1), run.snapshot(20))``."""
    plot.update(snapshot)
    return plot.figure


def _draw_image(fig: figure, source: ColumnDataSource, mapper: LinearColorMapper) -> Any:
    options: dict[str, Any] = {"source": source, "color_mapper": mapper}
    return fig.image(image="image", x=0, y=0, dw="dw", dh="dh", **options)


def _add_color_bar(fig: figure, mapper: LinearColorMapper) -> None:
    bar = ColorBar(color_mapper=mapper, width=10, label_standoff=6, padding=4, background_fill_alpha=0.0)
    bar.formatter = NumeralTickFormatter(format="0,0.[00]")
    fig.add_layout(bar, "right")


def _set_title(fig: figure, text: str) -> None:
    if fig.title.text != text:  # type: ignore[union-attr]  # a Title, from base_figure
        fig.title.text = text  # type: ignore[union-attr]
