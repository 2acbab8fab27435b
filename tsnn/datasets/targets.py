"""Targets: the task, and the encoding of labels of any kind as class indices or numbers."""

from typing import Literal, cast

import numpy as np
import numpy.typing as npt

from tsnn.datasets.preparation import check_finite
from tsnn.datasets.raw import Array
from tsnn.errors import DataError

Task = Literal["classification", "regression", "multilabel"]

_FEW_CLASSES = 100  # integral float labels with more different values are taken as numbers
_FEW_INTEGERS = 20  # more different integers are doubted to be classes
_FEW_SAMPLES = 5  # so few samples for each class, on average, likewise


def encode_targets(
    task: str, y: Array, y_test: Array | None, class_names: tuple[str, ...]
) -> tuple[Task, tuple[str, ...], Array, Array | None]:
    """Decide on the task and encode the targets for it.

    Parameters
    ----------
    task : str
        A :data:`Task`, or "auto".
    y, y_test : [n] or [n, outputs]
        As returned by :func:`check_part`; ``y_test`` may be None.
    class_names : tuple of str
        Names of the integer labels 0, 1, 2, ..., or empty.

    Returns
    -------
    task, class_names, y, y_test
        The task; the name of each class, or none; class indices int64[n], or outputs
        float32[n, outputs]. ``y_test`` stays None.
    """
    kind = _decide_task(task, y)
    if kind != "classification":
        return kind, (), _as_outputs(y, kind), None if y_test is None else _as_outputs(y_test, kind)
    classes = _sorted_distinct(y)
    names = _name_classes(classes, class_names)
    return kind, names, _encode(y, classes), None if y_test is None else _encode(y_test, classes)


def is_one_hot(task: str, y: Array, y_test: Array | None) -> bool:
    """Return whether targets are classes in one-hot form: a single 1 in each row, at least two columns."""
    parts = [y] if y_test is None else [y, y_test]
    return task in ("auto", "classification") and all(map(_rows_are_one_hot, parts))


def _rows_are_one_hot(y: Array) -> bool:
    if y.ndim != 2 or y.shape[1] < 2 or y.dtype.kind not in "biuf":
        return False
    return bool(((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all())


def doubts_about_targets(task: str, y: Array) -> list[str]:
    """Return a warning if numbers of which the task was not given are taken as classes, but look like quantities."""
    if task != "auto" or y.ndim != 1 or y.dtype.kind not in "iuf" or _decide_task(task, y) != "classification":
        return []
    n = len(_sorted_distinct(y))
    if n <= _FEW_INTEGERS and (n < _FEW_SAMPLES or n * _FEW_SAMPLES <= len(y)):
        return []
    return [
        f"{n:,} different integer labels are taken as classes; if they are quantities, set data.task=regression "
        "(task='regression')."
    ]


def _decide_task(task: str, y: Array) -> Task:
    """Resolve "auto" and check that the targets suit the task."""
    numeric = y.dtype.kind in "biuf"
    integral = y.dtype.kind != "f" or bool((y == np.rint(y)).all())
    binary = y.ndim == 2 and numeric and bool(((y == 0) | (y == 1)).all())
    if task == "auto":
        if y.ndim == 2:
            task = "multilabel" if binary else "regression"
        elif y.dtype.kind == "f":
            few = integral and len(_sorted_distinct(y)) <= _FEW_CLASSES
            task = "classification" if few else "regression"
        else:
            task = "classification"
    if task == "classification" and (y.ndim == 2 or not integral):
        given = f"shape {y.shape}" if y.ndim == 2 else f"values such as {y[y != np.rint(y)][0]}"
        other = "task='multilabel' or 'regression'" if y.ndim == 2 else "task='regression'"
        raise DataError(f"Classification needs one class label per sample, but y has {given}. Try {other}.")
    if task == "multilabel" and not binary:
        raise DataError(
            f"Multilabel needs y of shape (samples, labels) with 0 and 1 only, but y has shape {y.shape}, "
            f"dtype {y.dtype}{'' if y.ndim == 1 else ' and other values'}. Try task='classification' or "
            "'regression'."
        )
    if task == "regression" and not numeric:
        raise DataError(f"Regression needs numbers, but y has dtype {y.dtype}. Try task='classification'.")
    return cast(Task, task)


def _sorted_distinct(values: Array) -> Array:
    """Return the different values, sorted."""
    ordered: Array = np.sort(values)
    first = np.append(True, ordered[1:] != ordered[:-1])
    return cast(Array, ordered[first])


def _name_classes(classes: Array, given: tuple[str, ...]) -> tuple[str, ...]:
    """Return the name of every class; a single class is an error."""
    if len(classes) < 2:
        raise DataError(f"All training labels are {classes[0]}; classification needs at least two classes.")
    if not given:
        return tuple(str(int(c)) if classes.dtype.kind == "f" else str(c) for c in classes)
    if classes.dtype.kind not in "iu" or classes[0] < 0 or classes[-1] >= len(given):
        raise DataError(
            f"{len(given)} class_names were given, for labels 0 to {len(given) - 1}, but the labels go from "
            f"{classes[0]!s} to {classes[-1]!s}."
        )
    return tuple(given[int(c)] for c in classes)


def _encode(labels: Array, classes: Array) -> npt.NDArray[np.int64]:
    """Return the index of each label in ``classes``; a label that is not there is an error."""
    if (labels.dtype.kind == "U") != (classes.dtype.kind == "U") or labels.ndim != 1:
        raise DataError(f"Test labels ({labels.dtype}) are of another kind than training labels ({classes.dtype}).")
    codes = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
    if (unknown := classes[codes] != labels).any():
        raise DataError(
            f"{int(unknown.sum()):,} test samples carry labels that no training sample has, such as "
            f"{labels[unknown][0]!s}. Leave them out, or draw another split."
        )
    return codes.astype(np.int64)


def _as_outputs(y: Array, task: Task) -> npt.NDArray[np.float32]:
    """Return targets as float32[n, outputs]."""
    _decide_task(task, y)
    outputs = y.reshape(len(y), -1)
    check_finite(outputs, "y")
    return np.array(outputs, dtype=np.float32, order="C")
