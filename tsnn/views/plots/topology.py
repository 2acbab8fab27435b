"""Images of one snapshot: input connectivity, and the positions of a layer's connections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from bokeh.models import ColumnDataSource, FactorRange, HoverTool, LinearColorMapper, NumeralTickFormatter, Range1d
from bokeh.models.annotations import ColorBar
from bokeh.plotting import figure
from numpy.typing import NDArray

from tsnn.snapshot import Snapshot
from tsnn.views.plots import palette
from tsnn.views.plots.figures import COLOR_BAR, base_figure, set_range, set_title, show_all_labels

TOP_FEATURES = 30
LABEL = 24  # letters of a label
MAP_SIDE = 184

#: Measures of input connectivity: field of the snapshot, and its label with unit.
MEASURES = {
    "degree": ("input_degree", "connections of each input"),
    "strength": ("input_strength", "sum of |weight| of each input"),
}


class SnapshotPlot(Protocol):
    """Figure of a snapshot."""

    figure: figure

    def update(self, snapshot: Snapshot) -> None:
        """Draw a snapshot; one that lacks the plot's fields changes nothing."""


def as_picture(values: NDArray[Any], shape: Sequence[int]) -> NDArray[np.float64] | None:
    """Arrange one value per input as an image, colour planes summed; None if the shape does not fit.

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


def picture_figure(title: str, shape: Sequence[int]) -> figure:
    """Return an empty figure for an image of this shape (see :func:`as_picture`), row 0 on top."""
    height, width = shape[:2] if len(shape) == 3 and _planes(shape) == 2 else shape[-2:]
    fig = base_figure(
        title,
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
    fig.grid.visible = False
    return fig


class InputPicture:
    """Connectivity of the inputs, arranged as the image that they form. Colours start at 0 in every epoch."""

    def __init__(self, shape: Sequence[int], measure: str = "degree"):
        self.shape = tuple(shape)
        self.measure = measure
        self.source = ColumnDataSource({"image": [], "dw": [], "dh": []})
        self.mapper = LinearColorMapper(palette=palette.IMAGE, low=0, high=1)
        self.figure = picture_figure("Input connectivity", self.shape)
        image = draw_image(self.figure, self.source, self.mapper)
        tips = [("pixel", "row $y{0}, column $x{0}"), ("value", "@image{0,0.[00]}")]
        self.figure.add_tools(HoverTool(renderers=[image], tooltips=tips, visible=False))
        add_color_bar(self.figure, self.mapper)

    def update(self, snapshot: Snapshot) -> None:
        """Draw a snapshot."""
        values, label = _input_values(snapshot, self.measure)
        picture = None if values is None else as_picture(values, self.shape)
        if picture is None:
            return
        height, width = picture.shape
        set_title(self.figure, label[0].upper() + label[1:])
        self.mapper.high = float(picture.max()) or 1.0
        self.source.data = {"image": [picture.astype(np.float32)], "dw": [width], "dh": [height]}


def short_labels(neurons: Sequence[int], names: Sequence[str] = ()) -> list[str]:
    """Return labels for an axis: the names of neurons, cut to a length that can be read, else their numbers.

    Labels differ from each other: if two were cut to the same, all are followed by the neurons' numbers.
    """
    labels = [names[n] if n < len(names) else str(n) for n in neurons]
    labels = [label if len(label) <= LABEL else f"{label[: LABEL - 1]}…" for label in labels]
    if len(set(labels)) == len(labels):
        return labels
    return [f"{label} ({n})" for n, label in zip(neurons, labels, strict=True)]


class TopInputs:
    """Inputs with the most connections, for data that are not images; ``names`` are those of the features."""

    def __init__(self, measure: str = "degree", names: Sequence[str] = ()):
        self.measure = measure
        self.names = tuple(names)
        self.source = ColumnDataSource({"feature": [], "name": [], "value": []})
        self._factors = FactorRange()
        self.figure = base_figure("Input connectivity", "Input feature", "", x_range=self._factors)
        bars = self.figure.vbar("feature", top="value", width=0.8, source=self.source, color=palette.BLUE)
        tips = [("feature", "@name"), ("value", "@value{0,0.[00]}")]
        self.figure.add_tools(HoverTool(renderers=[bars], tooltips=tips, visible=False))
        self.figure.xaxis.major_label_orientation = math.pi / 2
        show_all_labels(self.figure.xaxis)
        self.figure.xgrid.visible = False

    def update(self, snapshot: Snapshot) -> None:
        """Draw a snapshot."""
        values, label = _input_values(snapshot, self.measure)
        if values is None:
            return
        top = np.argsort(-values, kind="stable")[:TOP_FEATURES]
        block = -(-int(snapshot.sizes[0]) // len(values))
        known = block == 1 and len(self.names) == len(values)
        names = [self.names[i] if known else str(i) if block == 1 else f"{i * block}+" for i in top]
        labels = short_labels(top.tolist(), self.names) if known else names
        set_title(self.figure, f"Top {len(top)} inputs: {label}")
        self.figure.yaxis.axis_label = label[0].upper() + label[1:]
        self._factors.factors = labels
        self.source.data = {"feature": labels, "name": names, "value": values[top].astype(float).tolist()}
        set_range(self.figure.y_range, 0.0, 1.05 * float(values.max()) or 1.0)


def _input_values(snapshot: Snapshot, measure: str) -> tuple[NDArray[np.float32] | None, str]:
    """Return the values of one of the :data:`MEASURES`, and its label."""
    field, label = MEASURES[measure]
    return getattr(snapshot, field), label


def input_plot(
    image_shape: Sequence[int] | None, measure: str = "degree", names: Sequence[str] = ()
) -> InputPicture | TopInputs:
    """Return the plot of input connectivity for images of a shape, or for other data with the features' names."""
    return InputPicture(image_shape, measure) if image_shape else TopInputs(measure, names)


class MatrixMap:
    """Matrix of a layer: its connections, counted in at most 200 x 200 cells."""

    def __init__(self, layer: int = 0):
        self.layer = layer
        self.source = ColumnDataSource({"image": [], "dw": [], "dh": []})
        self.mapper = LinearColorMapper(palette=palette.IMAGE, low=0, high=1)
        self.figure = base_figure("Connections of the layer", "Neuron at its end", "Neuron at its start")
        image = draw_image(self.figure, self.source, self.mapper)
        tips = [("from neuron", "$y{0,0}"), ("to neuron", "$x{0,0}"), ("connections", "@image{0,0.[0]}")]
        self.figure.add_tools(HoverTool(renderers=[image], tooltips=tips, visible=False))
        for axis in self.figure.axis:
            axis.formatter = NumeralTickFormatter(format="0,0")
        add_color_bar(self.figure, self.mapper)
        self.figure.grid.visible = False

    def update(self, snapshot: Snapshot) -> None:
        """Draw a snapshot."""
        density, density_max = snapshot.layers[self.layer].density, snapshot.layers[self.layer].density_max
        if density is None or density_max is None:
            return
        n_in, n_out = snapshot.sizes[self.layer : self.layer + 2].tolist()
        high = float(density_max)
        cell = f"{math.ceil(n_in / density.shape[0])} × {math.ceil(n_out / density.shape[1])} neurons"
        set_title(self.figure, f"Layer {self.layer + 1}: connections per {cell}")
        self.mapper.update(low=0.0, high=high)
        image = density.astype(np.float32) * np.float32(high / 255)
        if high <= 255:
            image = np.rint(image).astype(np.uint8)  # exact counts, in a quarter of the bytes
        self.source.data = {"image": [image], "dw": [n_out], "dh": [n_in]}
        set_range(self.figure.x_range, 0, n_out)
        set_range(self.figure.y_range, n_in, 0)


def draw(plot: SnapshotPlot, snapshot: Snapshot) -> figure:
    """Return a plot's figure with a snapshot on it: ``draw(DegreePlot(1), run.snapshot(20))``."""
    plot.update(snapshot)
    return plot.figure


def draw_image(fig: figure, source: ColumnDataSource, mapper: LinearColorMapper) -> Any:
    """Add the image that a source's columns ``image``, ``dw``, ``dh`` hold; returns its renderer."""
    options: dict[str, Any] = {"source": source, "color_mapper": mapper}
    return fig.image(image="image", x=0, y=0, dw="dw", dh="dh", **options)


def add_color_bar(fig: figure, mapper: LinearColorMapper) -> None:
    """Add the colour scale of an image on its right."""
    bar = ColorBar(color_mapper=mapper, width=10, label_standoff=6, padding=4, background_fill_alpha=0.0, **COLOR_BAR)
    bar.formatter = NumeralTickFormatter(format="0,0.[00]")
    fig.add_layout(bar, "right")
