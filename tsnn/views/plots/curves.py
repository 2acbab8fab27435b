"""Curves over the epochs of a run.

``accuracy(source)``, ``loss(source)`` and the like return a Bokeh figure of a run, of records or of a
:class:`~tsnn.views.history.History`. Live views keep a :class:`CurvePlot` and call ``update`` with new data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, NumeralTickFormatter, Range, Range1d
from bokeh.models.annotations import Span
from bokeh.plotting import figure

from tsnn.records import EpochRecord, accuracy_name
from tsnn.runs import Run
from tsnn.views.history import History, read_events
from tsnn.views.plots import palette
from tsnn.views.plots.figures import (
    ROUND,
    EventMarks,
    add_legend,
    base_figure,
    decimate,
    log_padded,
    make_lean,
    padded,
    sent,
    set_range,
    set_title,
)


@dataclass(frozen=True)
class Curve:
    """One curve of a plot: a column of the history, its label and its style."""

    column: str
    label: str
    color: str
    dash: str = "solid"


class CurvePlot:
    """Figure with columns of a history over the epochs.

    Parameters
    ----------
    title, y_label : str
        Texts of the figure, with units.
    curves : sequence of Curve
        The curves.
    y_format : str
        Numeral.js format of the values.
    bounds : (float or None, float or None)
        Floor and ceiling that the vertical range never crosses.
    log : bool
        Draw the values on a logarithmic scale.
    x_range : Range1d, optional
        Range shared with other plots, moved by its owner (:func:`fit_epochs`).
    marks : EventMarks, optional
        Events to draw.
    """

    def __init__(
        self,
        title: str,
        y_label: str,
        curves: Sequence[Curve],
        *,
        y_format: str,
        bounds: tuple[float | None, float | None] = (None, None),
        log: bool = False,
        x_range: Range1d | None = None,
        marks: EventMarks | None = None,
    ):
        self.curves = tuple(curves)
        self._bounds = bounds
        self._log = log
        self.source = ColumnDataSource({"epoch": [], **{c.column: [] for c in curves}})
        self._head = ColumnDataSource({"epoch": [], "y": [], "color": []})
        self.figure = base_figure(title, "Epoch", y_label, x_range=x_range or Range1d(start=0, end=1),
                                  y_axis_type="log" if log else "linear")  # fmt: skip
        self.figure.yaxis.formatter = NumeralTickFormatter(format=y_format)
        self.figure.xaxis.formatter = NumeralTickFormatter(format="0,0.[0]")
        if log:
            self.figure.yaxis.ticker = FixedTicker(ticks=ROUND)
        self.cursor = Span(dimension="height", line_color=palette.GREY, line_width=1.5, visible=False)
        self.level = Span(dimension="width", line_color=palette.GREY, line_dash="dashed", visible=False)
        self.figure.add_layout(self.cursor)
        self.figure.add_layout(self.level)
        if marks is not None:
            marks.draw_on(self.figure)
        lines = [
            self.figure.line(
                "epoch",
                curve.column,
                source=self.source,
                color=curve.color,
                line_dash=curve.dash,
                line_width=2,
                legend_label=curve.label,
            )
            for curve in curves
        ]
        heads = self.figure.scatter("epoch", "y", source=self._head, color="color", size=6)
        heads.level = "overlay"
        rows = [("epoch", "@epoch")] + [(c.label, f"@{{{c.column}}}{{{y_format}}}") for c in curves]
        self.figure.add_tools(HoverTool(renderers=[lines[0]], tooltips=rows, mode="vline", visible=False))
        add_legend(self.figure)
        make_lean(self.figure)

    def update(self, history: History, *, follow: bool = True) -> None:
        """Draw a history; with ``follow`` the vertical range is fitted to it."""
        if not len(history) or any(c.column not in history for c in self.curves):
            return
        key = self.curves, self._log, self._bounds
        points, heads, limits = history.shared.get(key, history.version, lambda: self._drawing(history))
        self.source.data = points
        self._head.data = heads
        if follow:
            set_range(self.figure.y_range, *limits)

    def _drawing(self, history: History) -> tuple[dict[str, Any], dict[str, Any], tuple[float, float]]:
        """Return the points of the curves, those of their heads, and the vertical range."""
        columns = {c.column: history[c.column] for c in self.curves}
        epochs, values = history["epoch"], list(columns.values())
        rows = decimate(values)
        points = {"epoch": sent(epochs[rows])} | {name: sent(column[rows]) for name, column in columns.items()}
        heads = {
            "epoch": [epochs[-1]] * len(self.curves),
            "y": [columns[c.column][-1] for c in self.curves],
            "color": [c.color for c in self.curves],
        }
        fit = log_padded if self._log else padded
        return points, heads, fit(values, *self._bounds)

    def show_cursor(self, epoch: int | None) -> None:
        """Mark an epoch; None removes the mark."""
        self.cursor.update(location=epoch, visible=epoch is not None)

    def show_level(self, value: float | None) -> None:
        """Draw a dashed line at a value, to compare with; None removes it."""
        if self.level.location != value:
            self.level.update(location=value, visible=value is not None)


def fit_epochs(x_range: Range, history: History) -> None:
    """Fit the shared range of epochs to a history."""
    last = history.last("epoch") or 1.0
    set_range(x_range, 0.0, max(2.0, last * 1.02))


def accuracy_plot(*, validation: bool = False, **shared: Any) -> CurvePlot:
    """Return the plot of training and test accuracy, optionally with that of the validation split."""
    curves = [
        Curve("train_accuracy", "training, with dropout", palette.TRAIN, "dashed"),
        Curve("test_accuracy", "test", palette.TEST),
        *([Curve("validation_accuracy", "validation", palette.GREEN, "dotdash")] if validation else []),
    ]
    return CurvePlot("Accuracy (%)", "Accuracy", curves, y_format="0.[0]%", bounds=(0, 1.0), **shared)


def describe_accuracy(plot: CurvePlot, data: Mapping[str, Any]) -> None:
    """Set the title of an accuracy plot and the line of the most frequent class.

    Parameters
    ----------
    plot : CurvePlot
        From :func:`accuracy_plot`.
    data : mapping
        Section ``data`` of a run's ``meta.json``; empty until the data have been read.
    """
    set_title(plot.figure, f"{accuracy_name(str(data.get('task'))).capitalize()} (%)")
    baseline = data.get("baseline_accuracy")
    plot.show_level(baseline if isinstance(baseline, float) else None)


def r2_plot(*, validation: bool = False, **shared: Any) -> CurvePlot:
    """Return the plot of training and test R² of regression, optionally with that of the validation split."""
    curves = [
        Curve("train_r2", "training, with dropout", palette.TRAIN, "dashed"),
        Curve("test_r2", "test", palette.TEST),
        *([Curve("validation_r2", "validation", palette.GREEN, "dotdash")] if validation else []),
    ]
    return CurvePlot("R² (explained fraction of the variance)", "R²", curves, y_format="0.00", bounds=(-1, 1), **shared)


def loss_plot(*, validation: bool = False, **shared: Any) -> CurvePlot:
    """Return the plot of training and test loss, optionally with that of the validation split."""
    curves = [
        Curve("train_loss", "training, with dropout", palette.TRAIN, "dashed"),
        Curve("test_loss", "test", palette.TEST),
        *([Curve("validation_loss", "validation", palette.GREEN, "dotdash")] if validation else []),
    ]
    return CurvePlot("Loss (mean per sample)", "Loss", curves, y_format="0.00[00]", bounds=(0, None), **shared)


def connections_plot(layers: int, **shared: Any) -> CurvePlot:
    """Return the plot of the number of connections of each layer."""
    curves = _layer_curves("connections", layers)
    return CurvePlot("Connections per layer", "Connections", curves, y_format="0,0", bounds=(0, None), **shared)


def density_plot(layers: int, **shared: Any) -> CurvePlot:
    """Return the plot of the density of each layer."""
    curves = _layer_curves("density", layers)
    title = "Density per layer (% of all possible connections)"
    return CurvePlot(title, "Density", curves, y_format="0.[0000]%", log=True, bounds=(None, 1.2), **shared)


def seconds_plot(**shared: Any) -> CurvePlot:
    """Return the plot of the seconds that training, evolution and evaluation take."""
    curves = [
        Curve("seconds_train", "train", palette.BLUE),
        Curve("seconds_evolve", "evolve topology", palette.VERMILION, "dashed"),
        Curve("seconds_evaluate", "evaluate", palette.GREEN, "dotdash"),
    ]
    return CurvePlot("Time per epoch (seconds)", "Seconds", curves, y_format="0.0[00]", bounds=(0, None), **shared)


def replaced_plot(layers: int, **shared: Any) -> CurvePlot:
    """Return the plot of the fraction of each layer's connections that evolution replaced."""
    curves = _layer_curves("replaced", layers)
    return CurvePlot(
        "Connections replaced per epoch (%)", "Fraction", curves, y_format="0.[0]%", bounds=(0, None), **shared
    )


def living_plot(layers: int, **shared: Any) -> CurvePlot:
    """Return the plot of the neurons that importance pruning has left, in each hidden layer."""
    curves = _layer_curves("living", layers)[:-1]
    return CurvePlot("Living neurons per hidden layer", "Neurons", curves, y_format="0,0", bounds=(0, None), **shared)


def _layer_curves(column: str, layers: int) -> list[Curve]:
    styles = [palette.series_style(l) for l in range(layers)]
    return [Curve(f"{column}_{l}", f"layer {l + 1}", *styles[l]) for l in range(layers)]


Source = History | Run | Iterable[EpochRecord]


def _drawn(make: Callable[..., CurvePlot], source: Source) -> figure:
    history = History.of(source)
    marks = EventMarks()
    plot = make(history, marks=marks)
    if isinstance(source, Run):
        marks.update(list(dict.fromkeys(read_events(source.lines()[0]))))
    fit_epochs(plot.figure.x_range, history)
    plot.update(history)
    return plot.figure


def _validated(history: History) -> bool:
    return history.last("validation_loss") is not None


def accuracy(source: Source) -> figure:
    """Return training and test accuracy over the epochs of a run, of records, or of a history."""

    def make(history: History, **shared: Any) -> CurvePlot:
        plot = accuracy_plot(validation=_validated(history), **shared)
        describe_accuracy(plot, source.meta().get("data", {}) if isinstance(source, Run) else {})
        return plot

    return _drawn(make, source)


def r2(source: Source) -> figure:
    """Return training and test R² of regression over the epochs of a run, of records, or of a history."""
    return _drawn(lambda history, **shared: r2_plot(validation=_validated(history), **shared), source)


def loss(source: Source) -> figure:
    """Return training and test loss over the epochs."""
    return _drawn(lambda history, **shared: loss_plot(validation=_validated(history), **shared), source)


def connections(source: Source) -> figure:
    """Return the connections of each layer over the epochs."""
    return _drawn(lambda history, **shared: connections_plot(history.layers, **shared), source)


def density(source: Source) -> figure:
    """Return the density of each layer over the epochs."""
    return _drawn(lambda history, **shared: density_plot(history.layers, **shared), source)


def seconds(source: Source) -> figure:
    """Return the seconds that training, evolution and evaluation take in each epoch."""
    return _drawn(lambda _, **shared: seconds_plot(**shared), source)
