"""Degrees of neurons and ages of connections in one snapshot, compared with those of random topologies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, NumeralTickFormatter, Range1d
from numpy.typing import NDArray

from tsnn.snapshot import Snapshot
from tsnn.views.history import History
from tsnn.views.plots import palette
from tsnn.views.plots.figures import add_legend, base_figure, decimate, set_range, set_title
from tsnn.views.plots.tools import ROUND

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]

#: Fewest neurons, and smallest ratio of degrees, of a tail that a power law is fitted to.
MIN_TAIL, MIN_RATIO = 50, 2.0


def survival(degrees: NDArray[Any]) -> Curve:
    """Return the degrees >= 1, and the fraction of neurons with at least that degree.

    Parameters
    ----------
    degrees : int array [k, 2]
        (degree, number of neurons), ascending.
    """
    total = max(1, int(degrees[:, 1].sum()))
    fraction = degrees[::-1, 1].cumsum()[::-1] / total
    present = degrees[:, 0] >= 1
    return degrees[present, 0].astype(np.float64), fraction[present]


def random_degrees(places: int, space: int, connections: int) -> Curve:
    """Return the survival function of a neuron's degree in a random topology with a given number of connections.

    All topologies with this number are equally likely (:func:`tsnn.erdos_renyi`), so the degree is exactly
    hypergeometric; for sparse layers that is nearly Poisson.

    Parameters
    ----------
    places : int
        Possible connections of the neuron: neurons on the other side.
    space : int
        Possible connections of the layer, ``n_in * n_out``.
    connections : int
        Connections of the layer.

    Returns
    -------
    k, fraction : float64[n]
        Degrees, ascending from 1, and the probability of at least that degree, within 12 standard deviations of the
        mean.
    """
    mean = places * connections / space
    deviation = math.sqrt(mean * (1 - connections / space) * (space - places) / max(1, space - 1))
    low = max(0, places + connections - space, math.floor(mean - 12 * deviation))
    high = min(places, connections, math.ceil(mean + 12 * deviation + 12))
    k = np.arange(low, high, dtype=np.float64)
    ratio = (places - k) * (connections - k) / ((k + 1) * (space - places - connections + k + 1))
    logs = np.append(0.0, np.cumsum(np.log(ratio)))
    p = np.exp(logs - logs.max())
    fraction = p[::-1].cumsum()[::-1] / p.sum()
    k = np.append(k, float(high))
    return k[k >= 1], np.minimum(1.0, fraction[k >= 1])


def power_law_tail(degrees: NDArray[Any]) -> tuple[float, int, float] | None:
    """Fit a power law to the tail of a degree distribution, after Clauset, Shalizi and Newman (arXiv 0706.1062).

    Parameters
    ----------
    degrees : int array [n, 2]
        (degree, number of neurons), ascending.

    Returns
    -------
    exponent, start, fraction : float, int, float
        ``p(k) ~ k ** -exponent`` for ``k >= start``, the degrees of this fraction of the neurons: maximum likelihood
        with the correction for integers, start chosen by the smallest Kolmogorov-Smirnov distance. None if no tail
        of 50 neurons spans a factor of two.
    """
    present = degrees[degrees[:, 0] >= 1].astype(np.float64)
    best: tuple[float, float, int, float] | None = None
    for at in range(len(present)):
        k, n = present[at:, 0], present[at:, 1]
        total = n.sum()
        if total < MIN_TAIL or k[-1] < MIN_RATIO * k[0]:
            break
        exponent = 1 + total / (n * np.log(k / (k[0] - 0.5))).sum()
        observed = n[::-1].cumsum()[::-1] / total
        distance = float(abs(observed - ((k - 0.5) / (k[0] - 0.5)) ** (1 - exponent)).max())
        if best is None or distance < best[0]:
            best = distance, float(exponent), int(k[0]), float(total / degrees[:, 1].sum())
    return best and best[1:]


class DegreePlot:
    """Degree distributions of a layer, compared with those of a random topology.

    Parameters
    ----------
    layer : int
        The layer, from 0.

    Attributes
    ----------
    note : str
        Text about the largest degrees and the tails.
    """

    _DIRECTIONS = (
        ("in_degree", "incoming", palette.BLUE, "circle"),
        ("out_degree", "outgoing", palette.ORANGE, "square"),
    )

    def __init__(self, layer: int = 0):
        self.layer = layer
        self.note = ""
        names = [name for name, *_ in self._DIRECTIONS]
        self.sources = {name: ColumnDataSource({"k": [], "fraction": []}) for name in names}
        self.random = {name: ColumnDataSource({"k": [], "random": []}) for name in names}
        self.tails = {name: ColumnDataSource({"k": [], "tail": []}) for name in names}
        self.figure = base_figure(
            "Degrees of the layer",
            "Connections of a neuron, k",
            "Fraction of neurons",
            x_axis_type="log",
            y_axis_type="log",
            x_range=Range1d(start=1, end=10),
            y_range=Range1d(start=1e-3, end=1.2),
        )
        for name, label, color, marker in self._DIRECTIONS:
            law: dict[str, Any] = {"source": self.random[name], "color": color, "line_dash": "dashed"}
            self.figure.line("k", "random", line_alpha=0.8, legend_label=f"{label}, Erdős–Rényi", **law)
            tail: dict[str, Any] = {"source": self.tails[name], "color": palette.GREY, "line_dash": "dotted"}
            self.figure.line("k", "tail", line_width=2.5, legend_label="power law", **tail)
            style: dict[str, Any] = {"source": self.sources[name], "color": color, "legend_label": label}
            self.figure.line("k", "fraction", line_width=1.5, **style)
            points = self.figure.scatter("k", "fraction", marker=marker, size=4, **style)
            tips = [(f"{label} ≥", "@k{0,0}"), ("neurons", "@fraction{0.[00]%}")]
            self.figure.add_tools(HoverTool(renderers=[points], tooltips=tips, visible=False))
        for axis, form in ((self.figure.xaxis, "0,0"), (self.figure.yaxis, "0.[0000]%")):
            axis.formatter = NumeralTickFormatter(format=form)
            axis.ticker = FixedTicker(ticks=ROUND)
        add_legend(self.figure, columns=3)
        items: list[Any] = list(self.figure.legend[0].items)
        self._tail_label = next(item for item in items if item.label.value == "power law")

    def update(self, snapshot: Snapshot) -> None:
        """Draw a snapshot."""
        layer = snapshot.layers[self.layer]
        if layer.in_degree is None or layer.out_degree is None:
            return
        set_title(self.figure, f"Layer {self.layer + 1}: neurons with at least k connections")
        n_in, n_out = snapshot.sizes[self.layer : self.layer + 2].tolist()
        connections = min(int(layer.out_degree.prod(axis=1).sum()), n_in * n_out)
        fewest, most, least, notes = math.inf, 2.0, 0.1, []
        for (name, label, *_), places, neurons in zip(self._DIRECTIONS, (n_in, n_out), (n_out, n_in), strict=True):
            degrees = getattr(layer, name)
            k, fraction = survival(degrees)
            rows = decimate([fraction])
            self.sources[name].data = {"k": k[rows].tolist(), "fraction": fraction[rows].tolist()}
            law_k, law = random_degrees(places, n_in * n_out, connections)
            expected = (neurons * law >= 0.5) & (law < 0.9999)  # elsewhere less than half a neuron is expected
            law_k, law = law_k[expected], law[expected]
            rows = decimate([law])
            self.random[name].data = {"k": law_k[rows].tolist(), "random": law[rows].tolist()}
            notes.append(self._describe(name, label, degrees, float(law_k[-1]) if len(law_k) else 0.0))
            for ks, fractions in ((k, fraction), (law_k, law)):
                if len(ks):
                    fewest, most, least = min(fewest, ks[0]), max(most, ks[-1]), min(least, fractions[-1])
        self.note = " ".join(notes)
        heavy = any(len(tail.data["k"]) for tail in self.tails.values())
        self._tail_label.visible = heavy
        set_range(self.figure.x_range, min(fewest, most) / 1.3, most * 1.3)
        set_range(self.figure.y_range, least / 1.5, 1.3)

    def _describe(self, name: str, label: str, degrees: NDArray[Any], random_most: float) -> str:
        """Draw the tail of one direction if it is heavy, and return a note about it."""
        most = int(degrees[-1, 0]) if len(degrees) else 0
        note = f"{label.capitalize()}: up to {most:,}, at random {random_most:,.0f}."
        tail = power_law_tail(degrees) if most > 1.5 * random_most else None
        if tail is None:
            self.tails[name].data = {"k": [], "tail": []}
            return note
        exponent, start, fraction = tail
        k = np.geomspace(start, most, 20)
        law = fraction * ((k - 0.5) / (start - 0.5)) ** (1 - exponent)
        self.tails[name].data = {"k": k.tolist(), "tail": law.tolist()}
        return f"{note[:-1]}; from {start:,} on a power law with exponent {exponent:.1f}."


def random_survival(history: History, layer: int, epoch: int) -> Curve:
    """Return ages, and the fraction of connections of at least that age if pruning had chosen at random.

    Parameters
    ----------
    history : History
        Numbers of connections that each epoch pruned and grew.
    layer : int
        The layer, from 0.
    epoch : int
        The epoch at whose end the ages are counted.

    Returns
    -------
    age, fraction : float64[epoch + 1]
    """
    epochs = history["epoch"]
    past = epochs <= epoch
    pruned, grown, left = (history[f"{name}_{layer}"][past] for name in ("pruned", "grown", "connections"))
    before = np.maximum(left + pruned - grown, 1)
    kept = before[::-1] * np.cumprod((1 - pruned / before)[::-1]) / max(1.0, float(left[-1]) if len(left) else 1.0)
    # a connection that is one epoch old at an epoch's end has survived the evolution of that epoch
    return np.append(0.0, epoch - epochs[past][::-1] + 1), np.append(1.0, kept)


class AgePlot:
    """Ages of a layer's connections, compared with those that random pruning would leave.

    Attributes
    ----------
    note : str
        Text about the fraction of connections that have been replaced.
    """

    def __init__(self, layer: int = 0):
        self.layer = layer
        self.note = ""
        self.source = ColumnDataSource({"age": [], "older": []})
        self.random = ColumnDataSource({"age": [], "random": []})
        self.figure = base_figure("Age of connections", "Age (epochs)", "Fraction of connections", y_axis_type="log")
        style: dict[str, Any] = {"line_width": 2, "mode": "before"}
        line = self.figure.step(
            "age", "older", source=self.source, color=palette.BLUE, legend_label="this age or older", **style
        )
        dotted: dict[str, Any] = {"line_width": 2, "line_dash": "dotted", "color": palette.GREY}
        self.figure.line("age", "random", source=self.random, legend_label="if pruning were random", **dotted)
        tips = [("age ≥", "@age{0,0} epochs"), ("connections", "@older{0.[00]%}")]
        self.figure.add_tools(HoverTool(renderers=[line], tooltips=tips, mode="vline", visible=False))
        self.figure.yaxis.formatter = NumeralTickFormatter(format="0.[0000]%")
        self.figure.yaxis.ticker = FixedTicker(ticks=ROUND)
        self.figure.xaxis.formatter = NumeralTickFormatter(format="0,0.[0]")
        add_legend(self.figure)

    def update(self, snapshot: Snapshot, history: History | None = None, before: int | None = None) -> None:
        """Draw a snapshot, the ages under random pruning from a history, and note the turnover since an epoch."""
        ages, epoch, since = snapshot.layers[self.layer].age, int(snapshot.epoch or 0), int(snapshot.ages_since or 0)
        set_title(self.figure, f"Layer {self.layer + 1}: connections of an age or older (%)")
        if ages is None:
            self.note = "The ages of connections are not recorded in this run."
            return
        age, fraction = ages[:, 0].astype(np.float64), ages[::-1, 1].cumsum()[::-1] / max(1, ages[:, 1].sum())
        rows = decimate([fraction])
        self.source.data = {"age": age[rows].tolist(), "older": fraction[rows].tolist()}
        random = np.empty(0), np.empty(0)
        lowest = float(fraction.min(initial=1.0))
        if history is not None and f"pruned_{self.layer}" in history:
            random = random_survival(history, self.layer, epoch)
            rows = decimate([random[1]])
            random = random[0][rows], random[1][rows]
            lowest = min(lowest, max(1e-4, float(random[1].min(initial=1.0))))
        self.random.data = {"age": random[0].tolist(), "random": random[1].tolist()}
        self.note = f"Replaced since {f'epoch {since}' if since else 'the start'}: {_younger(ages, epoch - since)}"
        if before is not None and before > since:
            self.note += f"; since the snapshot before, of epoch {before}: {_younger(ages, epoch - before)}"
        self.note += "."
        set_range(self.figure.x_range, 0.0, max(2.0, 1.02 * float(age.max(initial=1.0))))
        set_range(self.figure.y_range, lowest / 1.5, 1.2)


def _younger(ages: NDArray[Any], age: int) -> str:
    """Return the percentage of connections younger than an age."""
    return palette.percent(ages[ages[:, 0] < age, 1].sum() / max(1, ages[:, 1].sum()))
