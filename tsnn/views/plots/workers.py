"""Plots of the workers of a parallel run: speed, use of time, staleness of the gradients.

Figures take the worker records of one epoch, as dictionaries (:class:`tsnn.records.WorkerRecord`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool, NumeralTickFormatter, SingleIntervalTicker

from tsnn.views.plots import palette
from tsnn.views.plots.figures import MAX_POINTS, add_legend, base_figure, set_range

Workers = Sequence[Mapping[str, Any]]

#: Parts of a worker's time: label by name in the record.
TIMES = {"compute": "computing", "communicate": "communicating", "idle": "waiting"}
_COLORS = (palette.GREEN, palette.VERMILION, palette.GREY)
MAX_STALENESS = 32


def seconds_of(worker: Mapping[str, Any]) -> float:
    """Return the seconds of a worker's epoch: the sum of all parts."""
    return sum(float(worker[f"seconds_{part}"]) for part in TIMES)


def batches_per_second(worker: Mapping[str, Any]) -> float:
    """Return a worker's speed in an epoch; 0 without batches."""
    seconds = seconds_of(worker)
    return float(worker["batches"]) / seconds if seconds else 0.0


class SpeedPlot:
    """Batches per second of each worker."""

    def __init__(self) -> None:
        self.source = ColumnDataSource({"worker": [], "speed": [], "samples": []})
        self.figure = base_figure("Speed", "Worker", "Batches per second")
        bars = self.figure.vbar("worker", top="speed", width=0.7, color=palette.BLUE, source=self.source)
        rows = [("worker", "@worker"), ("batches per second", "@speed{0,0.0}"), ("samples", "@samples{0,0}")]
        self.figure.add_tools(HoverTool(renderers=[bars], tooltips=rows, visible=False))
        _count_workers(self.figure)

    def update(self, workers: Workers) -> None:
        """Draw an epoch."""
        speeds = [batches_per_second(worker) for worker in workers]
        numbers = [int(worker["worker"]) for worker in workers]
        self.source.data = {"worker": numbers, "speed": speeds, "samples": [int(w["samples"]) for w in workers]}
        _fit(self.figure, (0.4, len(workers) + 0.6), (0, 1.1 * max(speeds, default=0) or 1))


class TimePlot:
    """Parts of each worker's time: computing, communicating, waiting."""

    def __init__(self) -> None:
        self.source = ColumnDataSource({"worker": [], **{part: [] for part in TIMES}})
        self.figure = base_figure("Use of time", "Worker", "Fraction of the time")
        bars: list[Any] = self.figure.vbar_stack(
            list(TIMES), x="worker", width=0.7, color=_COLORS, legend_label=list(TIMES.values()), source=self.source
        )
        rows = [("worker", "@worker"), *((label, f"@{part}{{0.0%}}") for part, label in TIMES.items())]
        self.figure.add_tools(HoverTool(renderers=bars, tooltips=rows, visible=False))
        self.figure.yaxis.formatter = NumeralTickFormatter(format="0%")
        _count_workers(self.figure)
        add_legend(self.figure)

    def update(self, workers: Workers) -> None:
        """Draw an epoch."""
        fractions = {part: [float(w[f"seconds_{part}"]) / (seconds_of(w) or 1.0) for w in workers] for part in TIMES}
        self.source.data = {"worker": [int(w["worker"]) for w in workers], **fractions}
        _fit(self.figure, (0.4, len(workers) + 0.6), (0, 1.06))


class StalenessPlot:
    """Histogram of the staleness of gradients: updates of the weights since the worker received them."""

    def __init__(self) -> None:
        self.source = ColumnDataSource({"staleness": [], "fraction": [], "count": []})
        self.figure = base_figure("Staleness", "Updates since the weights were sent", "Fraction of the gradients")
        bars = self.figure.vbar("staleness", top="fraction", width=0.8, color=palette.PURPLE, source=self.source)
        rows = [("staleness", "@staleness"), ("gradients", "@count{0,0}"), ("fraction", "@fraction{0.0%}")]
        self.figure.add_tools(HoverTool(renderers=[bars], tooltips=rows, visible=False))
        self.figure.yaxis.formatter = NumeralTickFormatter(format="0%")

    def update(self, workers: Workers) -> None:
        """Draw an epoch; staleness above 32 counts as 32."""
        counts = np.zeros(MAX_STALENESS + 1)
        for worker in workers:
            for late, number in enumerate(worker["staleness"]):
                counts[min(late, MAX_STALENESS)] += number
        last = int(np.flatnonzero(counts).max(initial=0))
        fractions = counts / max(counts.sum(), 1)
        self.source.data = {
            "staleness": list(range(last + 1)), "fraction": fractions[: last + 1].tolist(),
            "count": counts[: last + 1].tolist(),
        }  # fmt: skip
        _fit(self.figure, (-0.6, max(last, 1) + 0.6), (0, 1.1 * float(fractions.max()) or 1))


class SpeedHistoryPlot:
    """Batches per second of each worker over the epochs."""

    def __init__(self) -> None:
        self.source = ColumnDataSource({"epochs": [], "speeds": [], "color": [], "worker": []})
        self.figure = base_figure("Speed over the epochs", "Epoch", "Batches per second")
        lines = self.figure.multi_line(
            "epochs", "speeds", source=self.source, color="color", line_width=2, legend_field="worker"
        )
        tips = [("", "@worker"), ("batches per second", "$snap_y{0,0.0}"), ("epoch", "$snap_x{0,0}")]
        self.figure.add_tools(HoverTool(renderers=[lines], tooltips=tips, line_policy="nearest", visible=False))
        add_legend(self.figure)
        self.figure.legend[0].click_policy = "none"

    def update(self, epochs: Sequence[float], workers: Sequence[Workers]) -> None:
        """Draw a history: epochs, and the records of the workers in each."""
        kept = np.unique(np.linspace(0, len(epochs) - 1, min(len(epochs), MAX_POINTS)).astype(int)).tolist()
        points: dict[int, tuple[list[float], list[float]]] = {}
        for row in kept:
            for worker in workers[row]:
                xs, ys = points.setdefault(int(worker["worker"]), ([], []))
                xs.append(float(epochs[row]))
                ys.append(batches_per_second(worker))
        self.source.data = {
            "epochs": [xs for xs, _ in points.values()], "speeds": [ys for _, ys in points.values()],
            "color": [palette.series_style(i)[0] for i in range(len(points))],
            "worker": [f"worker {number}" for number in points],
        }  # fmt: skip
        fastest = max((max(ys) for _, ys in points.values()), default=0.0)
        _fit(self.figure, (0, 1.02 * max(2.0, float(epochs[-1]))), (0, 1.1 * fastest or 1))


def _count_workers(fig: Any) -> None:
    fig.xaxis.ticker = SingleIntervalTicker(interval=1, num_minor_ticks=0, desired_num_ticks=8)


def _fit(fig: Any, x: tuple[float, float], y: tuple[float, float]) -> None:
    set_range(fig.x_range, *x)
    set_range(fig.y_range, *y)
