"""Curves over the epochs of a run.

``accuracy(source)``, ``loss(source)`` and the like return a Bokeh figure of a run, of records or of a
:class:`~tsnn.views.history.History`. Live views keep a :class:`CurvePlot` and call ``update`` with new data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bokeh.models import Range
from bokeh.plotting import figure

from tsnn.records import EpochRecord, accuracy_name
from tsnn.runs import Run
from tsnn.runs.forks import parent_of
from tsnn.views.history import History, read_events
from tsnn.views.plots import palette
from tsnn.views.plots.curve_plot import Curve, CurvePlot
from tsnn.views.plots.figures import EventMarks, set_range, set_title


def fork_epoch(meta: Mapping[str, Any]) -> int:
    """Return the epoch at which a run was forked from its parent, by its ``meta.json``; 0 if it was not."""
    return int(meta.get("fork", {}).get("epoch", 0))


def fit_epochs(x_range: Range, *histories: History) -> None:
    """Fit the shared range of epochs to histories."""
    last = max(history.last("epoch") or 1.0 for history in histories)
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
    plot = CurvePlot("Connections per layer", "Connections", curves, y_format="0,0", bounds=(0, None), **shared)
    plot.from_zero = True
    return plot


def density_plot(layers: int, **shared: Any) -> CurvePlot:
    """Return the plot of the density of each layer."""
    curves = _layer_curves("density", layers)
    title = "Density per layer (% of dense)"
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


def itop_plot(layers: int, **shared: Any) -> CurvePlot:
    """Return the plot of the fraction of each layer's places that have ever had a connection."""
    title, curves = "Places explored so far (ITOP rate, %)", _layer_curves("itop", layers)
    return CurvePlot(title, "Fraction", curves, y_format="0.[0]%", bounds=(0, 1.0), **shared)


def gradient_flow_plot(layers: int, **shared: Any) -> CurvePlot:
    """Return the plot of the squared norm of each layer's gradient."""
    title, curves = "Gradient flow per layer (‖g‖²)", _layer_curves("gradient_flow", layers)
    return CurvePlot(title, "Squared norm", curves, y_format="0.0e+0", log=True, **shared)


def living_plot(layers: int, **shared: Any) -> CurvePlot:
    """Return the plot of the neurons that importance pruning has left, in each hidden layer."""
    curves = _layer_curves("living", layers)[:-1]
    plot = CurvePlot("Active neurons per hidden layer", "Neurons", curves, y_format="0,0", bounds=(0, None), **shared)
    plot.from_zero = True
    return plot


def _layer_curves(column: str, layers: int) -> list[Curve]:
    styles = [palette.series_style(l) for l in range(layers)]
    return [Curve(f"{column}_{l}", f"layer {l + 1}", *styles[l]) for l in range(layers)]


def run_plots(layers: int, *, validation: bool, **shared: Any) -> dict[str, tuple[str, Callable[[], CurvePlot]]]:
    """Return how the plots of a run are made: by name, the column that each needs, and a function."""
    return {
        "accuracy": ("test_accuracy", lambda: accuracy_plot(validation=validation, **shared)),
        "r2": ("test_r2", lambda: r2_plot(validation=validation, **shared)),
        "loss": ("test_loss", lambda: loss_plot(validation=validation, **shared)),
        "connections": ("connections_0", lambda: connections_plot(layers, **shared)),
        "density": ("density_0", lambda: density_plot(layers, **shared)),
        "seconds": ("seconds_train", lambda: seconds_plot(**shared)),
    }


Source = History | Run | Iterable[EpochRecord]


def _drawn(make: Callable[..., CurvePlot], source: Source) -> figure:
    history = History.of(source)
    marks = EventMarks()
    plot = make(history, marks=marks)
    parent: History | None = None
    if isinstance(source, Run):
        marks.update(list(dict.fromkeys(read_events(source.lines()[0]))), history.last("epoch") or 0)
        parent_run = parent_of(source)
        parent = None if parent_run is None else History.of(parent_run)
        plot.show_trunk(fork_epoch(source.meta()), ghost=parent is not None)
    fit_epochs(plot.figure.x_range, history, *([] if parent is None else [parent]))
    plot.update(history, parent=parent)
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
