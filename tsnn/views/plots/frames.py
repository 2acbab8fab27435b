"""Topology at some epochs of a run, or of several runs, as HoloMaps: network, inputs and degrees, with sliders."""

# mypy: disable-error-code="no-untyped-call"
# Constructors of HoloViews are not annotated.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import holoviews as hv
import numpy as np
from bokeh.models import NumeralTickFormatter

from tsnn.snapshot import Snapshot
from tsnn.views.plots import palette
from tsnn.views.plots.degrees import random_degrees, survival
from tsnn.views.plots.figures import COLOR_BAR, HEIGHT, dress
from tsnn.views.plots.network import CHANGED, STYLES, NetworkPlot
from tsnn.views.plots.tools import ROUND
from tsnn.views.plots.topology import TOP_FEATURES, as_picture, short_labels

#: Fields of a snapshot that are drawn.
PARTS = (
    "epoch", "ages_since", "input_degree", "drawn_inputs", "drawn_input_degree", "drawn", "drawn_degree", "edges",
    "edge_weights", "edge_births", "in_degree", "out_degree",
)  # fmt: skip
#: By epoch or by values of settings: a snapshot, and the one before, if it is known.
Snapshots = Mapping[Any, tuple[Snapshot, Snapshot | None]]
_LAYERS = 6  # whose degrees are drawn
_MOST_NAMED = 4  # layers of neurons, with more of which their labels are shorter
_ALONE = {"framewise": True, "axiswise": True}  # ranges of all frames take time in proportion to their square
_COLORS = {False: palette.CUT_OFF, True: palette.NEURON}  # of neurons with connections, and without


def choose_epochs(epochs: Sequence[int], frames: int) -> list[int]:
    """Return at most this many of a run's snapshots, evenly spread, with the first and the last."""
    if len(epochs) <= frames:
        return list(epochs)
    return [epochs[i] for i in np.unique(np.linspace(0, len(epochs) - 1, frames).round().astype(int))]


def topology_map(
    snapshots: Snapshots, data: Mapping[str, Any], names: Sequence[str] = (), kdims: Sequence[str] = ("Epoch",), *,
    network: bool = True,
) -> hv.Layout | None:  # fmt: skip
    """Return network, inputs and degrees over the epochs; None if the snapshots hold none of them.

    Parameters
    ----------
    snapshots : mapping of int or tuple to (Snapshot, Snapshot or None)
        By epoch, or by the values of ``kdims``: its snapshot, and the one before, to tell the connections that came and
        went.
    data : mapping
        Section ``data`` of the run's ``meta.json``.
    names : sequence of str
        Names of the input features.
    kdims : sequence of str
        Names of the sliders.
    network : bool
        Whether to draw the network.
    """
    hv.renderer("bokeh")  # loads the backend
    shape = data.get("image_shape") or None
    plot = NetworkPlot(shape, names, tuple(map(str, data.get("class_names") or ()))) if network else None
    parts = [
        _network(snapshots, plot) if plot is not None else {},
        _picture(snapshots, shape) if shape else _top_inputs(snapshots, names),
        _degrees({key: now for key, (now, _) in snapshots.items()}),
    ]
    sliders = [hv.Dimension(name) for name in kdims]
    maps = [hv.HoloMap(frames, kdims=sliders) for frames in parts if frames and len(frames) == len(snapshots)]
    return hv.Layout(maps).opts(shared_axes=False, toolbar=None, show_title=False).cols(2) if maps else None


def _dress(plot: Any, _element: Any) -> None:
    dress(plot.state)


def _style(title: str, **options: Any) -> dict[str, Any]:
    tools: dict[str, Any] = {"default_tools": [], "toolbar": None, "hooks": [_dress], **_ALONE}
    if "legend_position" in options:
        tools["legend_opts"] = {"border_line_color": None, "background_fill_alpha": 0.0}
    return {"title": title, "height": HEIGHT, "width": 480, "fontscale": 1.0, **tools, **options}


def _network(snapshots: Snapshots, plot: NetworkPlot) -> dict[Any, Any]:
    """Return the drawing of the network by epoch, with the places that :class:`NetworkPlot` computes."""
    frames = {}
    for epoch, (now, before) in snapshots.items():
        if now.layers[0].edges is None:
            continue
        plot.update(now, before)
        parts = [_segments(kind, plot.sources[kind].data) for kind in STYLES]
        parts += [_neurons(plot.neurons.data, living) for living in (False, True)]
        if len(plot.pixels.data["x"]):
            parts = [*(_pixels(plot.pixels.data, living) for living in (False, True)), *parts]
        frames[epoch] = hv.Overlay(parts).opts(**_network_style(plot))
    return frames


# Colours are constants of elements: HoloViews draws columns of equal values, or none, in another way than others.
def _segments(kind: str, data: Any) -> Any:
    color, dash = STYLES[kind]
    columns = {name: data[name] for name in ("x0", "y0", "x1", "y1", "width", "alpha")}
    lines = hv.Segments(columns, ["x0", "y0", "x1", "y1"], ["width", "alpha"], label=kind)
    look = {"line_width": "width", "alpha": "alpha"} if kind == "kept" else {"line_width": 1.5, "alpha": CHANGED}
    return lines.opts(color=color, line_dash=dash, **_ALONE, **look)


def _neurons(data: Any, living: bool) -> Any:
    chosen = np.flatnonzero(np.asarray(data["living"]) == living)
    columns = {name: [data[name][i] for i in chosen] for name in ("x", "y", "size", "name", "fan_in", "fan_out")}
    points = hv.Points(columns, ["x", "y"], ["size", "name", "fan_in", "fan_out"])
    tips = [("neuron", "@name"), ("fan-in", "@fan_in{0,0}"), ("fan-out", "@fan_out{0,0}")]
    return points.opts(
        size="size", color=_COLORS[living], line_color=None, tools=["hover"], hover_tooltips=tips, **_ALONE
    )


def _pixels(data: Any, living: bool) -> Any:
    chosen = np.asarray(data["living"]) == living
    x, y, w, h = (data[name][chosen] for name in ("x", "y", "width", "height"))
    cells = hv.Rectangles((x - w / 2, y - h / 2, x + w / 2, y + h / 2))
    return cells.opts(color=_COLORS[living], line_color=None, **_ALONE)


def _network_style(plot: NetworkPlot) -> dict[str, Any]:
    below, beside = plot.labels
    if len(below) > _MOST_NAMED:
        below = {x: text.removesuffix(" neurons") for x, text in below.items()}
    ticks = {"xticks": list(below.items()), "yticks": list(beside.items()), "yaxis": "right" if beside else None}
    axes = {"xlabel": "", "ylabel": "", "xlim": (0, 1), "ylim": (0, 1), "invert_yaxis": True, "show_grid": False}
    legend = {"legend_position": "top", "legend_cols": 3, "show_legend": True}
    return _style("Network", **ticks, **axes, **legend) | {"height": 460, "width": 700}


def _picture(snapshots: Snapshots, shape: Sequence[int]) -> dict[Any, Any]:
    """Return the picture of the inputs' connections by epoch; colours mean the same in all."""
    pictures = {
        epoch: picture
        for epoch, (now, _) in snapshots.items()
        if now.input_degree is not None and (picture := as_picture(now.input_degree, shape)) is not None
    }
    high = max((float(picture.max()) for picture in pictures.values()), default=0.0) or 1.0
    style = _style("Connections of each input", xlabel="Pixel column", ylabel="Pixel row", invert_yaxis=True)
    look = {
        "cmap": list(palette.IMAGE),
        "clim": (0, high),
        "colorbar": True,
        "colorbar_opts": {"title": "", **COLOR_BAR},
        "width": 380,
        "height": 340,
    }
    return {
        epoch: hv.Image(
            picture[::-1].astype(np.float32), bounds=(0, 0, *picture.shape[::-1]), vdims="connections"
        ).opts(**style | look)
        for epoch, picture in pictures.items()
    }


def _top_inputs(snapshots: Snapshots, names: Sequence[str]) -> dict[Any, Any]:
    """Return the inputs with the most connections by epoch."""
    frames = {}
    for epoch, (now, _) in snapshots.items():
        if now.input_degree is None:
            continue
        values = now.input_degree
        top = np.argsort(-values, kind="stable")[:TOP_FEATURES]
        labels = short_labels(top.tolist(), names if len(names) == len(values) else ())
        bars = hv.Bars((labels, values[top]), "Input feature", "Connections")
        frames[epoch] = bars.opts(**_style(f"Top {len(top)} inputs", xrotation=90, color=palette.BLUE, line_color=None))
    return frames


def _degrees(snapshots: Mapping[Any, Snapshot]) -> dict[Any, Any]:
    """Return the degree distribution of each layer by epoch; dashed that of a random topology."""
    frames = {}
    for epoch, snapshot in snapshots.items():
        curves: list[Any] = []
        for l, layer in enumerate(snapshot.layers[:_LAYERS]):
            if layer.in_degree is None or layer.out_degree is None or not len(layer.in_degree):
                continue
            n_in, n_out = snapshot.sizes[l : l + 2].tolist()
            connections = min(int(layer.out_degree.prod(axis=1).sum()), n_in * n_out)
            law = random_degrees(n_in, n_in * n_out, connections)
            color, points = palette.SERIES[l % len(palette.SERIES)], survival(layer.in_degree)
            expected = n_out * law[1] >= 0.5
            curves.append(hv.Curve((law[0][expected], law[1][expected]), "k", "fraction").opts(
                color=color, line_dash="dashed", line_width=1.5, alpha=0.7, **_ALONE))  # fmt: skip
            curves.append(
                hv.Curve(points, "k", "fraction", label=f"layer {l + 1}").opts(color=color, line_width=2, **_ALONE)
            )
        if curves:
            axes = {"xlabel": "Incoming connections of a neuron, k", "ylabel": "Fraction of neurons"}
            logs: dict[str, Any] = {"logx": True, "logy": True, "xticks": ROUND, "yticks": ROUND}
            logs |= {"xformatter": NumeralTickFormatter(format="0,0")}
            logs |= {"yformatter": NumeralTickFormatter(format="0.[0000]%")}
            for name, values in (("xlim", "k"), ("ylim", "fraction")):  # else a single value is no range of a log axis
                ends = [curve.range(values) for curve in curves]
                logs[name] = min(low for low, _ in ends) / 1.2, 1.2 * max(high for _, high in ends)
            style = _style("Neurons with k or more incoming connections", legend_position="right", **axes, **logs)
            frames[epoch] = hv.Overlay(curves).opts(**style | {"width": 600})
    return frames
