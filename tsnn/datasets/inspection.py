"""Inspection of a data set before training: split, classes, baseline, missing values, columns, warnings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tsnn.datasets.dataset import Dataset
from tsnn.datasets.raw import Array, ColumnInfo, size_text


@dataclass(frozen=True)
class Inspection:
    """A data set as it was understood, for the command line and the page.

    Attributes
    ----------
    facts : tuple of (str, str)
        Label and text, in the order in which they are displayed.
    classes : tuple of (str, int, int)
        Name of each class, its samples in the training and in the test part; empty if not classification.
    baseline : float or None
        Test accuracy of always choosing the class that is most frequent in training; None if not classification.
    columns : tuple of ColumnInfo
        Columns of a table; else empty.
    warnings : tuple of str
        As in :class:`Dataset`.
    """

    facts: tuple[tuple[str, str], ...]
    classes: tuple[tuple[str, int, int], ...]
    baseline: float | None
    columns: tuple[ColumnInfo, ...]
    warnings: tuple[str, ...]


def inspect(data: Dataset) -> Inspection:
    """Describe a data set: the facts that a person checks before training."""
    classes: tuple[tuple[str, int, int], ...] = ()
    baseline = None
    facts = [("data", data.source), ("task", f"{data.task}, {_outputs(data)}"), ("samples", _samples(data))]
    facts.append(("features", f"{data.n_features:,}{_shape(data)}"))
    if data.stored_bytes:
        size = f"{size_text(data.stored_bytes)} stay on the disk, {size_text(data.nbytes)} are in memory"
        facts.append(("streamed", f"{size}; the results are the same"))
    if data.task == "classification":
        train, test = (np.bincount(y, minlength=data.n_outputs) for y in (data.y_train, data.y_test))
        classes = tuple(zip(data.class_names, train.tolist(), test.tolist(), strict=True))
        baseline = float(test[train.argmax()] / test.sum())
        name = data.class_names[int(train.argmax())]
        facts.append(("to beat", f"test accuracy {baseline:.2%} of always answering {name!r}, the most frequent class"))
    elif data.task == "regression":
        facts += [
            ("target", _range(data.in_units(data.y_train))),
            ("to beat", "R² 0, that of always answering the training mean"),
        ]
    else:
        rate = max(float(data.y_test.mean()), 1 - float(data.y_test.mean()))
        facts.append(("to beat", f"{rate:.2%} of the labels right, by always giving the more frequent answer"))
    if data.columns:
        facts += _column_facts(data.columns)
    return Inspection(tuple(facts), classes, baseline, data.columns, data.warnings)


def _outputs(data: Dataset) -> str:
    noun = {"classification": "class", "regression": "target", "multilabel": "label"}[data.task]
    plural = "es" if noun == "class" else "s"
    return f"{data.n_outputs:,} {noun}{'' if data.n_outputs == 1 else plural}"


def _samples(data: Dataset) -> str:
    parts = [f"{len(data.x_train):,} training", f"{len(data.x_test):,} test"]
    if data.x_validation is not None:
        parts.append(f"{len(data.x_validation):,} validation")
    return ", ".join(parts)


def _shape(data: Dataset) -> str:
    return f", images of {' x '.join(map(str, data.image_shape))}" if data.image_shape else ""


def _range(y: Array) -> str:
    return f"{y.min():g} to {y.max():g}, mean {y.mean():g}, standard deviation {y.std():g}"


def _column_facts(columns: tuple[ColumnInfo, ...]) -> list[tuple[str, str]]:
    missing = sum(column.missing for column in columns)
    kinds = [column.kind for column in columns]
    counts = [f"{kinds.count(kind):,} {label}" for kind, label in _KINDS.items() if kind in kinds]
    return [("columns", ", ".join(counts)), ("missing", f"{missing:,} values")]


_KINDS = {"number": "of numbers", "category": "of categories", "dropped": "dropped", "target": "to predict"}
