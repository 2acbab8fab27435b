"""Drawing of a network: its neurons and connections in one snapshot, and their changes since the one before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, CustomJS, FixedTicker, HoverTool, LinearAxis, LinearColorMapper, Range1d
from bokeh.models.annotations import Legend, LegendItem
from bokeh.plotting import figure
from numpy.typing import NDArray

from tsnn.snapshot import Snapshot
from tsnn.views.plots import palette
from tsnn.views.plots.figures import add_legend, base_figure, describe, set_title, show_all_labels
from tsnn.views.plots.layout import (
    BANDS,
    Drawn,
    Picture,
    ages,
    bands,
    column_places,
    column_positions,
    compare,
    drawn_connections,
    lookup,
    weights_after,
)  # fmt: skip
from tsnn.views.plots.motion import FAN, SLOW_MOTION

HEIGHT = 520
_WIDTHS = (300, 1000)  # of figures whose width is not known; of small drawings, and of others
_TEXTS = ((20, 60), (40, 110))  # pixels across and up that texts take; of small drawings, and of others
CHANGED = 0.85  # opacity of connections that came or went
_NAMED = 20  # outputs whose names are written beside them
#: Colour and dash of connections by their fate.
STYLES = {
    "kept": (palette.EDGE, "solid"),
    "pruned": (palette.VERMILION, "dotted"),
    "regrown": (palette.GREEN, "dashed"),
}
FAN_IN, FAN_OUT = palette.ORANGE, palette.PURPLE  # connections of the neuron under the pointer
_EDGES = ("x0", "y0", "x1", "y1", "start", "end", "width", "alpha", "then")
_Columns = dict[str, NDArray[np.float32]]


class NetworkPlot:
    """A network's neurons and connections: all of a small network, the strongest neurons of a large one.

    Size: connections of a neuron. Width: |weight| in its layer. Opacity: age. Neurons without connections are grey.

    Parameters
    ----------
    image_shape : sequence of int, optional
        Shape of the inputs, if they are an image.
    inputs, outputs : sequence of str
        Names of features and of classes.
    height : int
        Height of the figure, in pixels.
    label : str
        Name of the network where several are drawn side by side, with fewer words and without a legend.

    Attributes
    ----------
    label : str
        As given; another one appears in the text alternative of the next drawing.
    counts : dict of str to int
        Drawn connections by what happened to them: ``kept``, ``pruned``, ``regrown``.
    text : str
        What is to be seen, in a sentence or two.
    """

    figure: figure

    def __init__(
        self, image_shape: Sequence[int] | None = None, inputs: Sequence[str] = (), outputs: Sequence[str] = (),
        height: int = HEIGHT, label: str = "",
    ):  # fmt: skip
        self.label, self._thickness = label, np.float32(0.4 if label else 1)
        self._picture = Picture.of(image_shape) if image_shape else None
        self._height = height
        self._shown: tuple[Any, ...] = ()  # arguments of the last update
        self.fit(_WIDTHS[not label])
        self._names, self._outputs = tuple(inputs), tuple(outputs)
        self.counts = dict.fromkeys(STYLES, 0)
        self.text, self._drawn_pixels = "", 0
        self.figure = base_figure("Network", "", "", x_range=Range1d(start=0, end=1), y_range=Range1d(start=1, end=0),
                                  height=height, min_border_left=4, min_border_right=4)  # fmt: skip
        self.figure.grid.visible = self.figure.yaxis.visible = False
        self._classes = LinearAxis()
        self.figure.add_layout(self._classes, "right")
        for axis in (self.figure.xaxis[0], self._classes):  # not glyphs, because axes follow the page's theme
            axis.ticker = FixedTicker(ticks=[])
            axis.update(axis_line_alpha=0, major_tick_line_alpha=0)
            show_all_labels(axis)
        self.sources = {kind: ColumnDataSource({name: [] for name in _EDGES}) for kind in STYLES}
        self.pixels = ColumnDataSource({name: [] for name in ("x", "y", "width", "height", "living", "row", "column",
                                                              "fan_out")})  # fmt: skip
        self.neurons = ColumnDataSource({name: [] for name in ("x", "y", "size", "living", "name", "fan_in",
                                                               "fan_out")})  # fmt: skip
        self.haze = ColumnDataSource({name: [] for name in BANDS})
        #: Its ``text`` is the title of each phase of the slow motion; a new value starts it.
        self.cue = ColumnDataSource({"text": []})
        self._draw()

    def _draw(self) -> None:
        """Build the renderers and the code that runs in the browser."""
        fig, ends = self.figure, ("x0", "y0", "x1", "y1")
        fig.segment(*ends, source=self.haze, color=palette.GREY, line_alpha="alpha", line_width=34)
        edges = {
            kind: fig.segment(*ends, source=self.sources[kind], color=color, line_dash=dash, line_width="width",
                              line_alpha="alpha", muted_alpha=0.04)
            for kind, (color, dash) in STYLES.items()
        }  # fmt: skip
        fan = ColumnDataSource({name: [] for name in (*ends, "width", "color")})
        fig.segment(*ends, source=fan, color="color", line_width="width", line_alpha=0.95)
        living: Any = LinearColorMapper(palette=[palette.CUT_OFF, palette.NEURON], low=0, high=1)
        look: dict[str, Any] = {"fill_color": {"field": "living", "transform": living}, "line_color": None}
        pixels = fig.rect("x", "y", "width", "height", source=self.pixels, **look)
        neurons = fig.scatter("x", "y", size="size", source=self.neurons, **look)
        shared = {"edges": list(edges.values()), "fan": fan, "colors": [FAN_IN, FAN_OUT]}
        for renderer, other, tips in (
            (pixels, None, "pixel @row, @column: @fan_out{0,0} connections"),
            (neurons, self.pixels, "@name: fan-in @fan_in{0,0}, fan-out @fan_out{0,0}"),
        ):
            light = CustomJS(args={**shared, "before": other}, code=FAN)
            fig.add_tools(HoverTool(renderers=[renderer], tooltips=tips, visible=False, callback=light))
        play = CustomJS(args={"edges": edges, "fig": fig, "cue": self.cue}, code=SLOW_MOTION)
        self.cue.js_on_change("data", play)
        fig.tags = [self.cue]  # so that it goes to the page with the figure
        if self.label:
            return
        # A legend draws no glyph without data. Those of the connections would have the opacity of the first one.
        nowhere = [float("nan")]
        looks = {kind: fig.segment(nowhere, nowhere, nowhere, nowhere, color=color, line_dash=dash, line_width=2)
                 for kind, (color, dash) in STYLES.items()}  # fmt: skip
        both: Any = {kind: [looks[kind], edges[kind]] for kind in STYLES}
        items = [LegendItem(label=kind, renderers=renderers) for kind, renderers in both.items()]
        fig.add_layout(Legend(items=items))
        add_legend(fig)

    def fit(self, width: int) -> None:
        """Draw the picture of the inputs with square cells in a figure of this width, in pixels."""
        texts = _TEXTS[not self.label]
        aspect = max(0.5, (width - texts[0]) / (self._height - texts[1]))
        fitted = None if self._picture is None else self._picture.fitted(aspect)
        if fitted is not None and self._picture is not None and fitted.x != self._picture.x:
            self._picture = fitted
            if self._shown:
                self.update(*self._shown)

    def update(self, snapshot: Snapshot, before: Snapshot | None = None, after: Snapshot | None = None) -> None:
        """Draw a snapshot and the changes since ``before``; slow motion ends with the weights of ``after``."""
        if snapshot.layers[0].edges is None:
            return
        self._shown = snapshot, before, after
        places = self._update_neurons(snapshot)
        parts: dict[str, list[_Columns]] = {kind: [] for kind in STYLES}
        for l in range(len(snapshot.layers)):
            now, (new, gone) = drawn_connections(snapshot, l), compare(snapshot, before, l)
            scale = float(np.quantile(abs(now.weights), 0.95)) or 1.0 if len(now.weights) else 1.0
            then = now.weights if after is None else weights_after(now, after, l)
            ends = places[l], places[l + 1], int(snapshot.sizes[l + 1])
            age = ages(now, snapshot)
            for kind, chosen in (("kept", ~new), ("regrown", new)):
                part = Drawn(now.keys[chosen], now.weights[chosen], now.births[chosen])
                parts[kind].append(_columns(part, ends, scale, age[chosen], then[chosen]))
            parts["pruned"].append(_columns(gone, ends, scale, np.ones(len(gone.keys)), gone.weights))
        for kind, columns in parts.items():
            data: dict[str, Any] = {name: np.concatenate([part[name] for part in columns]) for name in _EDGES}
            if kind != "kept":
                data["width"] = np.maximum(data["width"], 1.1)
                data["alpha"] = np.full(len(data["width"]), CHANGED, np.float32)
            data["width"] = data["width"] * self._thickness
            self.counts[kind] = len(data["width"])
            self.sources[kind].data = data
        self.haze.data = bands(snapshot, self._picture)
        self._describe(snapshot, before)

    @property
    def labels(self) -> tuple[dict[Any, Any], dict[Any, Any]]:
        """Texts below the layers by their x, and beside few outputs by their y."""
        return dict(self.figure.xaxis[0].major_label_overrides), dict(self._classes.major_label_overrides)

    def play(self, phases: Sequence[str]) -> None:
        """Play the evolution that is drawn in slow motion; the phases are titled prune, regrow and train."""
        self.cue.data = {"text": list(phases)}

    def _update_neurons(self, snapshot: Snapshot) -> list[Any]:
        """Draw the neurons; returns of each layer a function from neurons' numbers to x, y and number in the figure."""
        sizes, layers = snapshot.sizes.tolist(), snapshot.layers
        at = column_positions(len(sizes), self._picture)
        places: list[Any] = []
        columns: list[dict[str, Any]] = []
        first = 0
        if self._picture is not None:
            self._drawn_pixels = sizes[0] if snapshot.drawn_inputs is None else len(snapshot.drawn_inputs)
            first = self._update_pixels(snapshot)
            x, y = self._picture.places()
            cells = self._picture.cells
            places.append(lambda n: (x[cells[n]], y[cells[n]], cells[n]))
        else:
            neurons = np.arange(sizes[0]) if snapshot.drawn_inputs is None else snapshot.drawn_inputs
            fan_out = np.zeros(len(neurons)) if snapshot.drawn_input_degree is None else snapshot.drawn_input_degree
            columns.append(self._column(neurons, (np.zeros(len(neurons)), fan_out), float(at[0]), 0, len(sizes)))
            places.append(lookup(neurons, columns[-1], first))
        for l, layer in enumerate(layers):
            if layer.drawn is None or layer.drawn_degree is None:
                continue
            x_at = float(at[l if self._picture is not None else l + 1])
            columns.append(self._column(layer.drawn, tuple(layer.drawn_degree.T), x_at, l + 1, len(sizes)))
            places.append(lookup(layer.drawn, columns[-1], first + sum(len(c["x"]) for c in columns[:-1])))
        joined = {name: np.concatenate([c[name] for c in columns]) for name in ("x", "y", "size", "living", "fan_in",
                                                                               "fan_out")}  # fmt: skip
        self.neurons.data = {**joined, "name": [name for c in columns for name in c["name"]]}
        self._update_labels(sizes, columns)
        return places

    def _update_pixels(self, snapshot: Snapshot) -> int:
        """Draw the picture of the inputs; returns the number of its cells."""
        assert self._picture is not None
        picture, inputs = self._picture, int(snapshot.sizes[0])
        degree = np.zeros(inputs) if snapshot.input_degree is None else snapshot.input_degree
        fan_out = picture.sums(degree, inputs)
        share = np.sqrt(fan_out / max(float(fan_out.max()), 1.0))
        x, y = picture.places()
        row, column = np.divmod(np.arange(len(x)), picture.width)
        size = np.where(fan_out > 0, 0.22 + 0.7 * share, 0.14)
        self.pixels.data = {
            "x": x.astype(np.float32), "y": y.astype(np.float32), "row": (row * picture.pixels).astype(np.int32),
            "column": (column * picture.pixels).astype(np.int32), "fan_out": fan_out.astype(np.float32),
            "living": (fan_out > 0).astype(np.uint8),
            "width": (size * (picture.x[1] - picture.x[0]) / picture.width).astype(np.float32),
            "height": (size * (picture.y[1] - picture.y[0]) / picture.height).astype(np.float32),
        }  # fmt: skip
        return len(x)

    def _column(
        self, neurons: NDArray[Any], fans: tuple[NDArray[Any], ...], x: float, layer: int, layers: int
    ) -> dict[str, Any]:
        """Return the columns of the source of neurons for one layer."""
        xs, ys = column_places(len(neurons), x)
        fan_in, fan_out = fans
        total = (fan_in + fan_out).astype(np.float64)
        largest = min(15.0, max(4.5, 1.3 * ((self.figure.height or HEIGHT) - 110) / max(len(neurons), 1)))
        living = (total > 0) & ((layer == 0) | (fan_in > 0)) & ((layer == layers - 1) | (fan_out > 0))
        size = np.where(living, 4 + (largest - 4) * np.sqrt(total / max(float(total.max(initial=0)), 1.0)), 4.0)
        names = self._outputs if layer == layers - 1 else self._names if layer == 0 else ()
        role = "Output" if layer == layers - 1 else "Input" if layer == 0 else f"Layer {layer}, neuron"
        texts = [names[n] if n < len(names) else f"{role} {n:,}" for n in neurons.tolist()]
        return {"x": xs.astype(np.float32), "y": ys.astype(np.float32), "size": size.astype(np.float32),
                "living": living.astype(np.uint8), "fan_in": fan_in, "fan_out": fan_out, "name": texts}  # fmt: skip

    def _update_labels(self, sizes: list[int], columns: list[dict[str, Any]]) -> None:
        """Write below each layer how many of its neurons are drawn, and the names of few outputs beside them."""
        drawn = [len(c["x"]) for c in columns]
        at = [float(c["x"][0]) if len(c["x"]) else 0.0 for c in columns]
        if self._picture is not None:
            drawn, at = [self._drawn_pixels, *drawn], [sum(self._picture.x) / 2, *at]
        roles = ["inputs", *["neurons"] * (len(sizes) - 2), "outputs"]
        texts = [f"{n:,}\n{role}" if n == size else f"{n:,}\nof {size:,}\n{role}"
                 for n, size, role in zip(drawn, sizes, roles, strict=True)]  # fmt: skip
        texts = [f"{n:,}" for n in sizes] if self.label else texts
        _set_labels(self.figure.xaxis[0], dict(zip(at, texts, strict=True)))
        last = columns[-1]
        if len(last["x"]) <= _NAMED:
            names = [text.removeprefix("Output ") for text in last["name"]]
            names = [name if len(name) <= 12 else f"{name[:11]}…" for name in names]
            _set_labels(self._classes, dict(zip(map(float, last["y"]), names, strict=True)))

    def _describe(self, snapshot: Snapshot, before: Snapshot | None) -> None:
        """Set the title and the text alternative."""
        number = "" if snapshot.epoch is None else f"{int(snapshot.epoch):,}"
        epoch = f" after epoch {number}" if number else ""
        kept, pruned, regrown = self.counts.values()
        start = None if before is None or before.epoch is None else int(before.epoch)
        since = "" if start is None else f" since epoch {start:,}"
        changes = f"{kept:,} kept, {pruned:,} pruned, {regrown:,} regrown" if since else f"{kept:,} connections"
        span = number if start is None else f"{start:,} → {number}"
        title = f"Epoch {span}: {changes}" if number else f"Network: {changes}"
        set_title(self.figure, f"Epoch {number}" if self.label and number else title)
        cut = sum(int((np.asarray(source.data["living"]) == 0).sum()) for source in (self.neurons, self.pixels))
        shape = "–".join(f"{n:,}" for n in snapshot.sizes.tolist())
        name = f"{self.label}, {shape}" if self.label else shape
        self.text = (
            f"Drawing of the network {name}{epoch}. Of the connections drawn, {changes}{since}. "
            f"{cut:,} of the neurons drawn are cut off and grey."
        )
        describe(self.figure, aria_label=self.text)


def _set_labels(axis: Any, labels: dict[float, str]) -> None:
    """Write texts at positions of an axis, if they differ."""
    if axis.major_label_overrides != labels:
        axis.update(ticker=FixedTicker(ticks=list(labels)), major_label_overrides=labels)


def _columns(drawn: Drawn, ends: tuple[Any, Any, int], scale: float, age: NDArray[Any], then: NDArray[Any]) -> _Columns:
    """Return the columns of the sources of connections."""
    start, end, n_out = ends
    rows, columns = np.divmod(drawn.keys, n_out)
    (x0, y0, start_at), (x1, y1, end_at) = start(rows), end(columns)
    width, later = (0.4 + 2.4 * np.minimum(1.0, abs(w) / scale) for w in (drawn.weights, then))
    values = (x0, y0, x1, y1, start_at, end_at, width, 0.22 + 0.6 * age, later)
    return {name: np.asarray(value, np.float32) for name, value in zip(_EDGES, values, strict=True)}
