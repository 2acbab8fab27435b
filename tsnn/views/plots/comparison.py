"""Curves of several runs in one figure: over epochs, samples or time; smoothed; mean and spread over seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.core.properties import value
from bokeh.events import LegendItemClick
from bokeh.models import ColumnDataSource, CustomJS, HoverTool, NumeralTickFormatter
from bokeh.models.annotations import Legend, LegendItem, Span
from numpy.typing import NDArray

from tsnn.views.history import COMPARED_SECONDS, History
from tsnn.views.plots import palette
from tsnn.views.plots.figures import add_legend, base_figure, decimate, log_padded, padded, set_range, smoothed
from tsnn.views.plots.tools import add_crosshair, add_log_switch, crosshair

#: Labels of the horizontal axes by name.
AXES = {
    "epoch": "Epoch",
    "samples": "Training samples seen",
    "seconds": "Seconds of training, evolution and evaluation",
}
_MAX_POINTS = 400
_LEGEND_LINES = 3  # a longer legend is left to the table of results
_LEGEND_LETTERS = 60  # in a line above a plot


@dataclass(frozen=True)
class Row:
    """One curve: its label, its style, the histories that it is the mean of, and the epoch of its fork, or 0."""

    label: str
    color: str
    dash: str
    histories: tuple[History, ...]
    fork: int = 0


def horizontal(history: History, axis: str) -> NDArray[np.float64]:
    """Return the positions of a history's epochs on one of the :data:`AXES`, float64[epochs]."""
    if axis == "seconds":
        epochs = np.diff(history["epoch"], prepend=0.0)  # more than one where a long history lacks some
        return np.cumsum(epochs * sum(np.nan_to_num(history[name]) for name in COMPARED_SECONDS))
    return history[axis]


def mean_and_spread(histories: Sequence[History], column: str, axis: str) -> tuple[NDArray[np.float64], ...]:
    """Return position, mean and standard deviation of a column, by epoch, over the histories that reach it.

    Returns
    -------
    x, mean, deviation : ndarray of float64 [epochs]
        The deviation is 0 in epochs that a single history reaches.
    """
    epochs = np.unique(np.concatenate([np.empty(0), *(h["epoch"] for h in histories)]))
    positions, values = np.full((2, len(histories), len(epochs)), np.nan)
    for row, history in enumerate(histories):
        own = history["epoch"]
        if np.array_equal(own, epochs[: len(own)]):
            positions[row, : len(own)], values[row, : len(own)] = horizontal(history, axis), history[column]
        elif len(own):  # a long history lacks some epochs
            reached = (own[0] <= epochs) & (epochs <= own[-1])
            positions[row, reached] = np.interp(epochs[reached], own, horizontal(history, axis))
            values[row, reached] = np.interp(epochs[reached], own, history[column])
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0).sum(axis=0) / count
    square = np.where(known, (values - mean) ** 2, 0).sum(axis=0)
    there = np.isfinite(positions)
    x = np.where(there, positions, 0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    return x, np.where(known.any(axis=0), mean, np.nan), np.sqrt(square / np.maximum(count - 1, 1))


class ComparePlot:
    """A figure with one column of several runs. A click on a label in the legend hides its curve.

    Parameters
    ----------
    title : str
        Title of the figure, with units.
    column : str
        Column of the histories.
    y_format : str
        Numeral.js format of the values.
    log : bool
        Draw the values on a logarithmic scale.
    bounds : (float or None, float or None)
        Floor and ceiling that the vertical range never crosses.
    crosshair : Span, optional
        Line shared with other figures (:func:`tsnn.views.plots.tools.crosshair`).

    Attributes
    ----------
    hidden : set of str
        Labels of hidden curves; several figures may share one set.
    clicked : callable
        Called with the label that was clicked in the legend.
    """

    def __init__(
        self, title: str, column: str, y_format: str, *, log: bool = False,
        bounds: tuple[float | None, float | None] = (0, None), crosshair: Span | None = None,
    ):  # fmt: skip
        self.column = column
        self.hidden: set[str] = set()
        self.clicked: Callable[[str], None] = lambda label: None
        self._items: list[str] = []  # labels, and the labels as displayed
        self._shown: list[str] = []
        self._log, self._bounds = log, bounds
        self._drawn: dict[int, Any] = {}
        self.lines = ColumnDataSource({"xs": [], "ys": [], "color": [], "dash": [], "label": []})
        self._raw = ColumnDataSource({"xs": [], "ys": [], "color": []})
        self._bands = ColumnDataSource({"xs": [], "ys": [], "color": []})
        self.levels = ColumnDataSource({"y": []})
        self.figure = base_figure(title, AXES["epoch"], "", y_axis_type="log" if log else "linear")
        self.figure.yaxis.formatter = NumeralTickFormatter(format=y_format)
        self.figure.xaxis.formatter = NumeralTickFormatter(format="0,0.[0]")
        faint: dict[str, Any] = {"color": "color", "alpha": 0.25}
        self.figure.hspan("y", source=self.levels, line_color=palette.GREY, line_dash="dashed")
        self.figure.patches("xs", "ys", source=self._bands, fill_color="color", fill_alpha=0.18, line_color=None)
        self.figure.multi_line("xs", "ys", source=self._raw, line_width=1, **faint)
        self._renderer = drawn = self.figure.multi_line(
            "xs", "ys", source=self.lines, color="color", line_dash="dash", line_width=2
        )
        tips = [("", "@label"), (title, f"$snap_y{{{y_format}}}"), ("at", "$snap_x{0,0.[00]}")]
        hover = HoverTool(renderers=[drawn], tooltips=tips, line_policy="nearest", visible=False)
        self.figure.add_tools(hover)
        self.cursor = Span(dimension="height", line_color=palette.GREY, line_width=1.5, visible=False)
        self.figure.add_layout(self.cursor)
        legend = Legend(items=[])
        self.figure.add_layout(legend)
        add_legend(self.figure)
        legend.click_policy = "none"
        legend.js_on_event(LegendItemClick, CustomJS(code=""))  # makes it a button
        legend.on_event(LegendItemClick, lambda event: self.clicked(self._items[event.item.index]))
        if crosshair is not None:
            add_crosshair(self.figure, crosshair)
        switchable = not log and bounds[0] is not None and bounds[0] >= 0
        self._log_range = add_log_switch(self.figure, y_format) if switchable else None

    @property
    def visible(self) -> bool:
        """Whether any curve is drawn."""
        return bool(self._drawn)

    def show_cursor(self, at: float | None) -> None:
        """Mark a position of the horizontal axis; None marks none."""
        if (self.cursor.location if self.cursor.visible else None) != at:
            self.cursor.update(location=at, visible=at is not None)

    def update(self, rows: Sequence[Row], axis: str, smoothing: float) -> None:
        """Draw these curves, and fit the ranges to them."""
        curves = [self._curve(row, axis, smoothing) for row in rows]
        drawn = {i: curve for i, curve in enumerate(curves) if curve is not None}
        self._drawn = drawn
        kept = [rows[i] for i in drawn]
        for row, curve in zip(kept, drawn.values(), strict=True):
            if row.label in self.hidden:
                curve.update({name: ([], []) if name == "band" else [] for name in curve})
        style = {"color": [row.color for row in kept]}
        self.lines.data = {
            "xs": [c["x"] for c in drawn.values()], "ys": [c["y"] for c in drawn.values()],
            "dash": [row.dash for row in kept], "label": [row.label for row in kept], **style,
        }  # fmt: skip
        raw = [c.get("raw") for c in drawn.values()]
        self._raw.data = {
            "xs": [c["x"] for c in drawn.values() if "raw" in c], "ys": [r for r in raw if r is not None],
            "color": [color for color, r in zip(style["color"], raw, strict=True) if r is not None],
        }  # fmt: skip
        bands = [(row.color, c["band"]) for row, c in zip(kept, drawn.values(), strict=True) if "band" in c]
        self._bands.data = {
            "xs": [x for _, (x, _) in bands], "ys": [y for _, (_, y) in bands], "color": [color for color, _ in bands]
        }  # fmt: skip
        columns = _legend_columns([len(row.label) for row in kept])
        self._label([row.label for row in kept])
        self.figure.legend[0].update(visible=1 < len(kept) <= columns * _LEGEND_LINES, ncols=columns)
        self._fit([curve for curve in drawn.values() if curve["x"]], axis)

    def _label(self, labels: list[str]) -> None:
        """Set the labels of the legend, if they differ."""
        shown = [f"{label} (hidden)" if label in self.hidden else label for label in labels]
        if shown != self._shown:
            self._items, self._shown = labels, shown
            curves: dict[str, Any] = {"renderers": [self._renderer]}
            items = [LegendItem(label=value(text), index=i, **curves) for i, text in enumerate(shown)]
            self.figure.legend[0].items = items

    def show_levels(self, values: Iterable[float]) -> None:
        """Draw a dashed line at each of these values, to compare with."""
        levels = sorted(set(values))
        if levels != list(self.levels.data["y"]):
            self.levels.data = {"y": levels}

    def _curve(self, row: Row, axis: str, smoothing: float) -> dict[str, Any] | None:
        x, mean, deviation = mean_and_spread(row.histories, self.column, axis)
        if not np.isfinite(mean).any():
            return None
        line = smoothed(mean, smoothing)
        kept = decimate([line, mean], _MAX_POINTS)
        curve: dict[str, Any] = {"x": x[kept].tolist(), "y": line[kept].tolist()}
        if len(row.histories) > 1:
            low, high = (line - deviation)[kept], (line + deviation)[kept]
            curve["band"] = [*curve["x"], *curve["x"][::-1]], [*low.tolist(), *high[::-1].tolist()]
        elif smoothing:
            curve["raw"] = mean[kept].tolist()
        if row.fork:  # up to there it is the curve of its parent, drawn pale
            own = np.unique(row.histories[0]["epoch"])[kept] >= row.fork
            curve |= {"raw": curve.get("raw", curve["y"]), "y": np.where(own, line[kept], np.nan).tolist()}
        return curve

    def _fit(self, curves: Sequence[dict[str, Any]], axis: str) -> None:
        drawn = [np.asarray(c["band"][1] if "band" in c else c.get("raw", c["y"])) for c in curves]
        fit = log_padded if self._log else padded
        set_range(self.figure.y_range, *fit(drawn, *self._bounds))
        if self._log_range is not None:
            set_range(self._log_range, *log_padded(drawn, None, self._bounds[1]))
        last = max((c["x"][-1] for c in curves), default=1.0)
        set_range(self.figure.x_range, 0.0, last * 1.02)
        if self.figure.xaxis[0].axis_label != AXES[axis]:
            self.figure.xaxis.axis_label = AXES[axis]


def _legend_columns(lengths: Sequence[int]) -> int:
    """Return how many labels of these lengths fit in a line above a plot."""
    fitting = (n for n in (4, 3, 2) if sum(6 + max(lengths[i::n], default=0) for i in range(n)) <= _LEGEND_LETTERS)
    return next(fitting, 1)


def compare_plots() -> list[ComparePlot]:
    """Return the figures of a comparison, the most important first; they share a crosshair and the hidden curves."""
    shared: dict[str, Any] = {"crosshair": crosshair()}
    plots = [
        ComparePlot("Test accuracy (%)", "test_accuracy", "0.[0]%", bounds=(0, 1.0), **shared),
        ComparePlot("Test R² (explained fraction of the variance)", "test_r2", "0.00", bounds=(-1, 1.0), **shared),
        ComparePlot("Test loss (mean per sample)", "test_loss", "0.00[00]", **shared),
        ComparePlot("Training loss (with dropout)", "train_loss", "0.00[00]", **shared),
        ComparePlot("Connections", "connections", "0,0", log=True, bounds=(None, None), **shared),
    ]
    hidden: set[str] = set()
    for plot in plots:
        plot.hidden = hidden
    return plots


def styled(
    labels: Sequence[str], histories: Sequence[Sequence[History]], forks: Sequence[int] = ()
) -> list[Row]:  # fmt: skip
    """Return rows with distinct styles: distinct colours first, then dashes; ``forks`` are epochs of forks, or 0."""
    return [
        Row(label, *palette.series_style(i), tuple(group), forks[i] if forks and len(group) == 1 else 0)
        for i, (label, group) in enumerate(zip(labels, histories, strict=True))
    ]
