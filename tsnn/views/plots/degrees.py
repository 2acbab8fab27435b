"""Degrees of neurons and ages of connections in one snapshot, beside the laws that chance alone would give."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, NumeralTickFormatter, Range1d
from numpy.typing import NDArray

from tsnn.snapshot import Snapshot
from tsnn.views.history import History
from tsnn.views.plots import palette
from tsnn.views.plots.figures import ROUND, add_legend, base_figure, decimate, set_range, set_title

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]

#: A tail is worth a straight line if so many neurons are in it, over such a ratio of degrees.
MIN_TAIL, MIN_RATIO = 50, 2.0


def survival(degrees: NDArray[Any]) -> Curve:
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


def random_degrees(places: int, space: int, connections: int) -> Curve:
    """Return the law of a neuron's degree in a random topology with a given number of connections: its survival.

    The topology is uniform among all with so many connections (:func:`tsnn.erdos_renyi`), so the degree is
    exactly hypergeometric; for sparse layers that is nearly Poisson.

    Parameters
    ----------
    places : int
        Positions at which the neuron can have a connection: neurons on the other side.
    space : int
        Positions in the whole layer, ``n_in * n_out``.
    connections : int
        Connections of the layer.

    Returns
    -------
    k, share : float64[n]
        Degrees, ascending from 1, and the probability of at least so many; 12 standard deviations around the mean.
    """
    mean = places * connections / space
    deviation = math.sqrt(mean * (1 - connections / space) * (space - places) / max(1, space - 1))
    low = max(0, places + connections - space, math.floor(mean - 12 * deviation))
    high = min(places, connections, math.ceil(mean + 12 * deviation + 12))
    k = np.arange(low, high, dtype=np.float64)
    ratio = (places - k) * (connections - k) / ((k + 1) * (space - places - connections + k + 1))
    logs = np.append(0.0, np.cumsum(np.log(ratio)))
    p = np.exp(logs - logs.max())
    share = p[::-1].cumsum()[::-1] / p.sum()
    k = np.append(k, float(high))
    return k[k >= 1], np.minimum(1.0, share[k >= 1])


def power_law_tail(degrees: NDArray[Any]) -> tuple[float, int, float] | None:
    """Fit a power law to the tail of a degree distribution, after Clauset, Shalizi and Newman (arXiv 0706.1062).

    Parameters
    ----------
    degrees : int array [n, 2]
        (degree, number of neurons), ascending.

    Returns
    -------
    exponent, start, share : float, int, float
        ``p(k) ~ k ** -exponent`` for ``k >= start``, where ``share`` of the neurons are: maximum likelihood with
        the correction for whole numbers, start chosen by the smallest Kolmogorov-Smirnov distance. None if no tail
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
    """Degree distributions of a layer, beside those of its random start.

    Parameters
    ----------
    layer : int
        The layer, from 0.
    start : sequence of int, optional
        Connections of each layer at the start; else the random law is that of as many connections as there are.

    Attributes
    ----------
    note : str
        The largest degrees, and the tails, in words.
    """

    _DIRECTIONS = (
        ("in_degree", "incoming", palette.BLUE, "circle"),
        ("out_degree", "outgoing", palette.ORANGE, "square"),
    )

    def __init__(self, layer: int = 0, start: Any = None):
        self.layer = layer
        self.start = start
        self.note = ""
        names = [name for name, *_ in self._DIRECTIONS]
        self.sources = {name: ColumnDataSource({"k": [], "share": []}) for name in names}
        self.random = {name: ColumnDataSource({"k": [], "random": []}) for name in names}
        self.tails = {name: ColumnDataSource({"k": [], "tail": []}) for name in names}
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
            law: dict[str, Any] = {"source": self.random[name], "color": color, "line_dash": "dashed"}
            self.figure.line("k", "random", line_alpha=0.8, legend_label=f"{label}, Erdős–Rényi", **law)
            tail: dict[str, Any] = {"source": self.tails[name], "color": palette.GREY, "line_dash": "dotted"}
            self.figure.line("k", "tail", line_width=2.5, legend_label="power law", **tail)
            style: dict[str, Any] = {"source": self.sources[name], "color": color, "legend_label": label}
            self.figure.line("k", "share", line_width=1.5, **style)
            points = self.figure.scatter("k", "share", marker=marker, size=4, **style)
            tips = [(f"{label} ≥", "@k{0,0}"), ("neurons", "@share{0.[00]%}")]
            self.figure.add_tools(HoverTool(renderers=[points], tooltips=tips, visible=False))
        for axis, form in ((self.figure.xaxis, "0,0"), (self.figure.yaxis, "0.[0000]%")):
            axis.formatter = NumeralTickFormatter(format=form)
            axis.ticker = FixedTicker(ticks=ROUND)
        add_legend(self.figure, columns=3)

    def update(self, snapshot: Snapshot) -> None:
        """Show another snapshot."""
        layer = snapshot.layers[self.layer]
        if layer.in_degree is None or layer.out_degree is None:
            return
        set_title(self.figure, f"Layer {self.layer + 1}: neurons with k or more connections (%)")
        n_in, n_out = snapshot.sizes[self.layer : self.layer + 2].tolist()
        connections = int(self.start[self.layer]) if self.start else int(layer.out_degree.prod(axis=1).sum())
        fewest, most, least, notes = math.inf, 2.0, 0.1, []
        for (name, label, *_), places, neurons in zip(self._DIRECTIONS, (n_in, n_out), (n_out, n_in), strict=True):
            degrees = getattr(layer, name)
            k, share = survival(degrees)
            rows = decimate([share])
            self.sources[name].data = {"k": k[rows].tolist(), "share": share[rows].tolist()}
            law_k, law = random_degrees(places, n_in * n_out, connections)
            expected = (neurons * law >= 0.5) & (law < 0.9999)  # outside, not one neuron is to be expected
            law_k, law = law_k[expected], law[expected]
            rows = decimate([law])
            self.random[name].data = {"k": law_k[rows].tolist(), "random": law[rows].tolist()}
            notes.append(self._describe(name, label, degrees, float(law_k[-1]) if len(law_k) else 0.0))
            for ks, shares in ((k, share), (law_k, law)):
                if len(ks):
                    fewest, most, least = min(fewest, ks[0]), max(most, ks[-1]), min(least, shares[-1])
        self.note = " ".join(notes)
        set_range(self.figure.x_range, min(fewest, most) / 1.3, most * 1.3)
        set_range(self.figure.y_range, least / 1.5, 1.3)

    def _describe(self, name: str, label: str, degrees: NDArray[Any], random_most: float) -> str:
        """Draw the tail of one direction if it is heavy, and return what there is to say."""
        most = int(degrees[-1, 0]) if len(degrees) else 0
        words = f"{label.capitalize()}: up to {most:,}, at random {random_most:,.0f}."
        tail = power_law_tail(degrees) if most > 1.5 * random_most else None
        if tail is None:
            self.tails[name].data = {"k": [], "tail": []}
            return words
        exponent, start, share = tail
        k = np.geomspace(start, most, 20)
        law = share * ((k - 0.5) / (start - 0.5)) ** (1 - exponent)
        self.tails[name].data = {"k": k.tolist(), "tail": law.tolist()}
        return f"{words[:-1]}; from {start:,} on a power law with exponent {exponent:.1f}."


def blind_survival(history: History, layer: int, epoch: int) -> Curve:
    """Return the ages of connections if pruning had been blind to weights: the share at least so old.

    Parameters
    ----------
    history : History
        Knows how many connections each epoch pruned and grew.
    layer : int
        The layer, from 0.
    epoch : int
        The epoch at whose end the ages are looked at.

    Returns
    -------
    age, share : float64[epoch + 1]
    """
    epochs = history["epoch"]
    past = epochs <= epoch
    pruned, grown, left = (history[f"{name}_{layer}"][past] for name in ("pruned", "grown", "connections"))
    before = np.maximum(left + pruned - grown, 1)
    kept = before[::-1] * np.cumprod((1 - pruned / before)[::-1]) / max(1.0, float(left[-1]) if len(left) else 1.0)
    # what is one epoch old at an epoch's end has been through that epoch's evolution
    return np.append(0.0, epoch - epochs[past][::-1] + 1), np.append(1.0, kept)


class AgePlot:
    """How old a layer's connections are, beside what blind pruning would leave.

    Attributes
    ----------
    note : str
        How many connections have been replaced, in words.
    """

    def __init__(self, layer: int = 0):
        self.layer = layer
        self.note = ""
        self.source = ColumnDataSource({"age": [], "older": []})
        self.blind = ColumnDataSource({"age": [], "blind": []})
        self.figure = base_figure("Age of connections", "Age (epochs)", "Share of connections", y_axis_type="log")
        style: dict[str, Any] = {"line_width": 2, "mode": "before"}
        line = self.figure.step(
            "age", "older", source=self.source, color=palette.BLUE, legend_label="at least so old", **style
        )
        dotted: dict[str, Any] = {"line_width": 2, "line_dash": "dotted", "color": palette.GREY}
        self.figure.line("age", "blind", source=self.blind, legend_label="if pruning were blind", **dotted)
        tips = [("age ≥", "@age{0,0} epochs"), ("connections", "@older{0.[00]%}")]
        self.figure.add_tools(HoverTool(renderers=[line], tooltips=tips, mode="vline", visible=False))
        self.figure.yaxis.formatter = NumeralTickFormatter(format="0.[0000]%")
        self.figure.yaxis.ticker = FixedTicker(ticks=ROUND)
        self.figure.xaxis.formatter = NumeralTickFormatter(format="0,0.[0]")
        add_legend(self.figure)

    def update(self, snapshot: Snapshot, history: History | None = None, before: int | None = None) -> None:
        """Show another snapshot, the blind law from a history, the share replaced since an earlier epoch."""
        ages, epoch, since = snapshot.layers[self.layer].age, int(snapshot.epoch or 0), int(snapshot.ages_since or 0)
        set_title(self.figure, f"Layer {self.layer + 1}: connections of an age or older (%)")
        if ages is None:
            self.note = "The ages of connections are not recorded in this run."
            return
        age, share = ages[:, 0].astype(np.float64), ages[::-1, 1].cumsum()[::-1] / max(1, ages[:, 1].sum())
        rows = decimate([share])
        self.source.data = {"age": age[rows].tolist(), "older": share[rows].tolist()}
        blind = np.empty(0), np.empty(0)
        lowest = float(share.min(initial=1.0))
        if history is not None and f"pruned_{self.layer}" in history:
            blind = blind_survival(history, self.layer, epoch)
            rows = decimate([blind[1]])
            blind = blind[0][rows], blind[1][rows]
            lowest = min(lowest, max(1e-4, float(blind[1].min(initial=1.0))))
        self.blind.data = {"age": blind[0].tolist(), "blind": blind[1].tolist()}
        self.note = f"Replaced since {f'epoch {since}' if since else 'the start'}: {_younger(ages, epoch - since)}"
        if before is not None and before > since:
            self.note += f"; since the snapshot before, of epoch {before}: {_younger(ages, epoch - before)}"
        self.note += "."
        set_range(self.figure.x_range, 0.0, max(2.0, 1.02 * float(age.max(initial=1.0))))
        set_range(self.figure.y_range, lowest / 1.5, 1.2)


def _younger(ages: NDArray[Any], age: int) -> str:
    """Return the share of connections younger than an age, in words."""
    return palette.percent(ages[ages[:, 0] < age, 1].sum() / max(1, ages[:, 1].sum()))
