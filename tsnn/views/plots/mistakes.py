"""Plots of one snapshot's mistakes: confusion of classes, results per class, predicted against actual values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from bokeh.events import Tap
from bokeh.models import (
    ColumnDataSource,
    FactorRange,
    FixedTicker,
    HoverTool,
    NumeralTickFormatter,
)
from bokeh.plotting import figure
from bokeh.transform import dodge
from numpy.typing import NDArray

from tsnn.errors import RunError
from tsnn.runs import Run
from tsnn.snapshot import Snapshot
from tsnn.views.plots import palette
from tsnn.views.plots.figures import add_legend, base_figure, padded, set_range, set_title, show_all_labels
from tsnn.views.plots.topology import draw, short_labels

NAMED = 20  # classes whose names and counts are written
LISTED = 30  # classes of a bar plot
#: Fraction of a class that is at least drawn in the strongest colour of mistakes.
_STRONG = 0.05
_DARK, _LIGHT = "#14181d", "#ffffff"  # text on the colours of cells


def output_name(names: Sequence[str], number: int) -> str:
    """Return the name of a class or label, else its number; of -1 that it is absent."""
    return "none" if number < 0 else names[number] if number < len(names) else str(number)


class ConfusionPlot:
    """Confusion matrix: test samples by actual class (rows) and predicted class (columns).

    Parameters
    ----------
    names : sequence of str
        Names of the classes.
    on_choose : callable, optional
        Called with actual and predicted class of a cell that is clicked.
    """

    def __init__(self, names: Sequence[str] = (), on_choose: Callable[[int, int], None] | None = None):
        self.names = tuple(names)
        self._k, self._on_choose = 0, on_choose
        self.source = ColumnDataSource(
            {name: [] for name in ("x", "y", "count", "color", "alpha", "text", "ink", "part", "is", "was")}
        )
        self.chosen = ColumnDataSource({"x": [], "y": []})
        self.figure = base_figure("Confusion matrix", "Predicted class", "Actual class")
        cells = self.figure.rect(
            "x",
            "y",
            width=0.96,
            height=0.96,
            source=self.source,
            fill_color="color",
            fill_alpha="alpha",
            line_color=None,
        )
        self.figure.text(
            "x", "y", "text", source=self.source, text_color="ink", text_align="center", text_baseline="middle",
            text_font_size="11px",
        )  # fmt: skip
        self.figure.rect(
            "x", "y", width=0.98, height=0.98, source=self.chosen, fill_color=None, line_width=3,
            line_color=palette.PURPLE,
        )  # fmt: skip
        tips = [("actual", "@was"), ("predicted", "@is"), ("samples", "@count{0,0}"), ("of the class", "@part{0.0%}")]
        self.figure.add_tools(HoverTool(renderers=[cells], tooltips=tips, visible=False))
        self.figure.grid.visible = False
        if on_choose is not None:
            self.figure.on_event(Tap, self._tapped)

    def update(self, snapshot: Snapshot) -> None:
        """Draw a snapshot."""
        counts = snapshot.test_confusion
        if counts is None:
            return
        k = len(counts)
        self._set_classes(k)
        part = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        wrong = part * (1 - np.eye(k))
        strength = np.where(np.eye(k, dtype=bool), -part, wrong / max(float(wrong.max(initial=0)), _STRONG))
        shade = np.rint(127.5 + 127.5 * strength).astype(int).ravel().tolist()
        y, x = np.divmod(np.arange(k * k), k)
        labels = [output_name(self.names, c) for c in range(k)]
        flat = counts.ravel().tolist()
        self.source.data = {
            "x": x + 0.5, "y": y + 0.5, "count": flat, "part": part.ravel(),
            "color": [palette.SIGNED[s] for s in shade], "alpha": [float(n > 0) for n in flat],
            "text": [f"{n:,}" if n and k <= NAMED else "" for n in flat],
            "ink": [_LIGHT if s < 70 else _DARK for s in shade],
            "was": [labels[c] for c in y], "is": [labels[c] for c in x],
        }  # fmt: skip
        right, total = int(np.trace(counts)), int(counts.sum())
        set_title(self.figure, f"{right:,} of {total:,} test samples are right")

    def choose(self, actual: int, predicted: int) -> None:
        """Mark a cell."""
        data: dict[str, Any] = {"x": [predicted + 0.5], "y": [actual + 0.5]}
        if data != dict(self.chosen.data):
            self.chosen.data = data

    def _set_classes(self, k: int) -> None:
        """Fit axes and height to the number of classes."""
        if k == self._k:
            return
        self._k = k
        set_range(self.figure.x_range, 0, k)
        set_range(self.figure.y_range, k, 0)
        names = short_labels(range(k), self.names)
        step = max(1, math.ceil(k / NAMED))
        shown = range(0, k, step)
        for axis in self.figure.axis:
            axis.ticker = FixedTicker(ticks=[c + 0.5 for c in shown])
            axis.major_label_overrides = {c + 0.5: names[c] for c in shown}
            show_all_labels(axis)
        self.figure.xaxis.major_label_orientation = 0 if max(map(len, names)) <= 2 else math.pi / 4
        self.figure.height = min(max(300, 30 * k + 130), 480)

    def _tapped(self, event: Any) -> None:
        if event.x is not None and 0 <= event.x < self._k and 0 <= event.y < self._k and self._on_choose:
            self._on_choose(int(event.y), int(event.x))


def per_class(counts: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return recall and precision of each class, float64[k] each; NaN where there is no sample.

    Parameters
    ----------
    counts : int[k, 3]
        :attr:`tsnn.snapshot.Snapshot.test_counts`.
    """
    actual, predicted, right = counts.T.astype(np.float64)
    with np.errstate(invalid="ignore"):
        return right / actual, right / predicted


class ClassPlot:
    """Recall and precision of each class or label, as bars; of many those of the lowest recall."""

    def __init__(self, names: Sequence[str] = ()):
        self.names = tuple(names)
        self.note = ""
        self.source = ColumnDataSource({name: [] for name in ("label", "name", "recall", "precision", "n", "answers")})
        self._factors = FactorRange()
        self.figure = base_figure("Accuracy per class", "", "Fraction", x_range=self._factors, height=320)
        bars: list[Any] = [
            self.figure.vbar(
                dodge("label", shift, range=self._factors), top=name, width=0.36, source=self.source, color=color,
                legend_label=name,
            )
            for name, shift, color in (("recall", -0.19, palette.BLUE), ("precision", 0.19, palette.ORANGE))
        ]  # fmt: skip
        tips = [("class", "@name"), ("recall", "@recall{0.0%}"), ("precision", "@precision{0.0%}"),
                ("test samples", "@n{0,0}"), ("predictions", "@answers{0,0}")]  # fmt: skip
        self.figure.add_tools(HoverTool(renderers=bars, tooltips=tips, visible=False))
        self.figure.yaxis.formatter = NumeralTickFormatter(format="0%")
        self.figure.xaxis.major_label_orientation = math.pi / 4
        show_all_labels(self.figure.xaxis)
        self.figure.xgrid.visible = False
        add_legend(self.figure)
        self.figure.legend[0].click_policy = "none"
        set_range(self.figure.y_range, 0.0, 1.02)

    def update(self, snapshot: Snapshot) -> None:
        """Draw a snapshot."""
        counts = snapshot.test_counts
        if counts is None:
            return
        recall, precision = per_class(counts)
        k = len(counts)
        chosen = np.arange(k)
        if k > LISTED:
            chosen = np.sort(np.argsort(np.where(counts[:, 0] > 0, recall, np.inf), kind="stable")[:LISTED])
        self.note = f"The {LISTED} of {k:,} classes with the lowest recall." if k > LISTED else ""
        names = [output_name(self.names, c) for c in chosen.tolist()]
        labels = short_labels(chosen.tolist(), self.names)
        if self._factors.factors != labels:
            self._factors.factors = labels
        self.source.data = {
            "label": labels, "name": names, "recall": recall[chosen], "precision": precision[chosen],
            "n": counts[chosen, 0], "answers": counts[chosen, 1],
        }  # fmt: skip


class ScatterPlot:
    """Predicted against actual values of regression for some test samples; ``target`` is the displayed target."""

    def __init__(self, names: Sequence[str] = (), target: int = 0):
        self.names, self.target = tuple(names), target
        self.source = ColumnDataSource({"actual": [], "predicted": [], "error": []})
        self.figure = base_figure("Predicted against actual values", "Actual value", "Predicted value", height=360)
        self.exact = ColumnDataSource({"x": [0, 1], "y": [0, 1]})
        self.figure.line("x", "y", source=self.exact, color=palette.GREY, line_dash="dashed")
        points = self.figure.scatter(
            "actual", "predicted", source=self.source, size=6, fill_color=palette.BLUE, fill_alpha=0.45, line_color=None
        )
        tips = [("actual", "@actual{0,0.[0000]}"), ("predicted", "@predicted{0,0.[0000]}"),
                ("error", "@error{0,0.[0000]}")]  # fmt: skip
        self.figure.add_tools(HoverTool(renderers=[points], tooltips=tips, visible=False))

    def update(self, snapshot: Snapshot) -> None:
        """Draw a snapshot."""
        if snapshot.test_scatter is None:
            return
        actual, predicted = snapshot.test_scatter[:, :, self.target].T.astype(np.float64)
        self.source.data = {"actual": actual, "predicted": predicted, "error": predicted - actual}
        low, high = padded([actual, predicted])
        self.exact.data = {"x": [low, high], "y": [low, high]}
        set_range(self.figure.x_range, *padded([actual]))
        set_range(self.figure.y_range, low, high)
        target = f" of {self.names[self.target]}" if self.target < len(self.names) else ""
        set_title(self.figure, f"{len(actual):,} predictions{target}")


def mistakes(run: Run, epoch: int | None = None) -> figure:
    """Return the mistakes on the test part: confusion matrix, results per class, or predicted against actual values.

    Parameters
    ----------
    run : Run
        The run.
    epoch : int, optional
        One of ``run.snapshot_epochs()``; default is the newest.

    Raises
    ------
    RunError
        If there is no such snapshot, or it holds no mistakes.
    """
    epochs = run.snapshot_epochs()
    epoch = max(epochs, default=0) if epoch is None else epoch
    snapshot, names = run.snapshot(epoch), output_names(run.meta().get("data", {}))
    plots = ((snapshot.test_confusion, ConfusionPlot), (snapshot.test_counts, ClassPlot),
             (snapshot.test_scatter, ScatterPlot))  # fmt: skip
    for field, plot in plots:
        if field is not None:
            return draw(plot(names), snapshot)
    raise RunError(f"The snapshot of epoch {epoch} of run {run.id} holds no mistakes. Take a later one.")


def output_names(data: Any) -> tuple[str, ...]:
    """Return the names of the output neurons by section ``data`` of ``meta.json``: classes, or the target; or none."""
    target = [data["target"]] if data.get("target") and data.get("n_outputs") == 1 else ()
    return tuple(map(str, data.get("class_names") or target))
