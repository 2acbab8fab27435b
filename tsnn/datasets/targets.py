"""Targets: the task, the encoding of labels of any kind as class indices or numbers, the scaling of numbers."""

from typing import Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from tsnn.datasets.preparation import apply_scaling, check_finite, fit_scaling
from tsnn.datasets.raw import Array
from tsnn.errors import DataError

Task = Literal["classification", "regression", "multilabel"]

_FEW_CLASSES = 100  # integral float labels with more different values are taken as numbers
_MANY_NUMBERS = 20  # whole numbers with at least this many different values may be quantities


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
        The task; the name of each class, or none; class indices int64[n], or outputs float32[n, outputs],
        for regression float64 (they are scaled before they are rounded). ``y_test`` stays None.
    """
    kind = decide_task(task, y)
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
    """Return a warning if whole numbers that are taken as classes look like quantities (ages, prices), else nothing.

    They do if there are at least 20 different ones (10 if that is more than half of the samples), and they are over
    100, or have fewer than 5 samples on average, or the most frequent has over twice the samples of the rarest: classes
    that are numbered, such as letters or objects, mostly have similar numbers of samples. A task that was given is not
    doubted.
    """
    if task != "auto" or y.ndim != 1 or y.dtype.kind not in "iuf" or decide_task(task, y) != "classification":
        return []
    counts = np.bincount(_encode(y, _sorted_distinct(y)))
    k, n = len(counts), len(y)
    many = k >= _MANY_NUMBERS or (2 * k >= _MANY_NUMBERS and 2 * k > n)
    if not many or (k <= _FEW_CLASSES and n >= 5 * k and counts.max() <= 2 * counts.min()):
        return []
    return [
        f"{k:,} different whole numbers are taken as {k:,} classes, {n / k:.3g} samples of each on average. If they "
        "are quantities, try task='regression' (--set data.task=regression)."
    ]


def decide_task(task: str, y: Array) -> Task:
    """Resolve "auto" and check that the targets, as returned by :func:`check_part`, suit the task."""
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


def _as_outputs(y: Array, task: Task) -> Array:
    """Return targets as float32[n, outputs], for regression float64."""
    decide_task(task, y)
    outputs = y.reshape(len(y), -1)
    check_finite(outputs, "y")
    return np.array(outputs, dtype=np.float64 if task == "regression" else np.float32, order="C")


class ScaledTargets(NamedTuple):
    """Targets of all parts as training uses them, and offset and scale of those of regression, float64[outputs]."""

    train: Array
    test: Array
    validation: Array | None
    offset: npt.NDArray[np.float64] | None
    scale: npt.NDArray[np.float64] | None


def scale_targets(task: str, train: Array, test: Array, validation: Array | None) -> ScaledTargets:
    """Scale regression targets to mean 0 and variance 1 in the training part; those of other tasks stay as they are."""
    if task != "regression":
        return ScaledTargets(train, test, validation, None, None)
    offset, scale = fit_target_scaling(train)
    validation = None if validation is None else apply_scaling(validation, None, offset, scale)
    return ScaledTargets(
        apply_scaling(train, None, offset, scale), apply_scaling(test, None, offset, scale), validation, offset, scale
    )


def fit_target_scaling(y: Array, weights: npt.NDArray[np.float64] | None = None) -> tuple[Array, Array]:
    """Return (offset, scale) of regression targets [n, outputs], float64[outputs] each.

    Scaled targets ``(y - offset) * scale`` have mean 0 and variance 1; a constant one has scale 1.
    """
    offset, scale = fit_scaling(y, None, "standard", weights)
    return offset, np.where(scale > 0, scale, 1.0)
