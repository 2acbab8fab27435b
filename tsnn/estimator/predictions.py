"""Predictions of a run's network for the samples of a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsnn.datasets.raw import TableOptions
from tsnn.datasets.samples import read_samples
from tsnn.datasets.stored import is_stored, memory_budget
from tsnn.datasets.table_samples import Samples, Trained
from tsnn.errors import RunError
from tsnn.estimator.classifier import SparseMLPClassifier
from tsnn.estimator.from_run import Model, load_model
from tsnn.estimator.regressor import SparseMLPRegressor
from tsnn.extras import require
from tsnn.runs import Run
from tsnn.runs.features import feature_medians
from tsnn.tiling import LANES

_PART = 1 << 27  # bytes of samples that are predicted at a time if they are in a file


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predictions for the samples of a file.

    Attributes
    ----------
    columns : dict of list
        ``row`` (from 1), ``prediction`` (``prediction_1``, ``prediction_2``, ... where there are several outputs), and
        on request ``probability_CLASS`` for each class or label.
    score : str
        Result on the targets of the file as text; empty if it has none.
    notes : list of str
        Sentences about columns of the file.
    """

    columns: dict[str, list[Any]]
    score: str
    notes: list[str]


def predict_file(run: Run, name: str, *, probabilities: bool = False, header: str = "") -> Prediction:
    """Predict the samples of a file with the network that a run ended with, prepared as in its training.

    Parameters
    ----------
    run : Run
        A run that has ended.
    name : str
        A file that could be trained on (its target may be missing), or the name of a data set.
    probabilities : bool
        Also return the probability of each class or label.
    header : {"auto", "true", "false"}
        Whether the first line of a table holds names; default is the run's setting.

    Raises
    ------
    RunError
        As for :func:`load_model`; or if probabilities are asked of a regression.
    DataError
        If the file does not fit; see :func:`tsnn.datasets.samples.read_samples`.
    """
    model = load_model(run)
    if probabilities and isinstance(model, SparseMLPRegressor):
        raise RunError(f"Run {run.id} predicts numbers, which have no probabilities. Leave --probabilities out.")
    names = tuple(getattr(model, "feature_names_in_", ()))
    target = str(run.meta()["data"].get("target") or "")
    d = run.config().data
    options = TableOptions(
        header=header or d.header,
        missing=d.missing,
        missing_marks=d.missing_marks,
        transpose=d.transpose,
        separator=d.separator,
        budget=memory_budget(d.stream),
    )
    samples = read_samples(name, Trained(model.n_features_in_, names, target, feature_medians(run), options))
    answers = _in_parts(model.predict, samples.x, names)
    columns: dict[str, list[Any]] = {"row": list(range(1, len(answers) + 1))}
    if answers.ndim == 1:
        columns["prediction"] = answers.tolist()
    else:
        columns |= {f"prediction_{k + 1}": answers[:, k].tolist() for k in range(answers.shape[1])}
    if probabilities and isinstance(model, SparseMLPClassifier):
        values = _in_parts(model.predict_proba, samples.x, names)
        columns |= {f"probability_{label}": values[:, k].tolist() for k, label in enumerate(model.classes_.tolist())}
    return Prediction(columns, _score(model, answers, samples), samples.notes)


def _in_parts(function: Callable[[Any], Any], x: Any, names: Sequence[str]) -> NDArray[Any]:
    """Return a function of samples, computed at once, or in parts of some rows if the samples are in a file."""
    rows = max(1, _PART // (4 * x.shape[1] * LANES)) * LANES if is_stored(x) else len(x)
    parts = (x[start : start + rows] for start in range(0, len(x), rows))
    if names:
        pandas = require("pandas", "A prediction with names of columns")
        parts = (pandas.DataFrame(part, columns=list(names), copy=False) for part in parts)
    return np.concatenate([np.asarray(function(part)) for part in parts])


def _score(model: Model, answers: NDArray[Any], samples: Samples) -> str:
    """Return the score of predictions as text; empty without targets."""
    if samples.y is None:
        return ""
    y = np.asarray(samples.y)
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    present = [value is not None and value == value for value in y.ravel().tolist()]  # NaN is not equal to itself
    known = np.array(present, dtype=bool).reshape(len(y), -1)
    known = np.asarray(known.all(axis=1))
    if y.shape != answers.shape or not known.any():
        return ""
    y, answers = y[known], answers[known]
    counted = (
        f"{len(y):,} sample{'s'[: len(y) != 1]}"
        if known.all()
        else f"the {len(y):,} of {len(known):,} samples that have a target"
    )
    if isinstance(model, SparseMLPRegressor):
        return f"{_regression_score(y, answers)} on {counted}" if y.dtype.kind in "biuf" else ""
    if model._task == "multilabel":
        return f"Labels right: {np.mean(y == answers):.2%} on {counted}"
    labels = _labels(y, samples.class_names, model)
    right = np.mean(labels == _texts(answers))
    unknown = labels[~np.isin(labels, _texts(model.classes_))]
    note = f"; {len(unknown):,} have a label that was not trained, such as {unknown[0]!s}" if len(unknown) else ""
    return f"Accuracy: {right:.2%} on {counted}{note}"


def _regression_score(y: NDArray[Any], answers: NDArray[Any]) -> str:
    errors = np.asarray(y, np.float64) - answers
    variance = np.var(np.asarray(y, np.float64), axis=0).mean()
    r2 = f"R2: {1 - np.mean(errors**2) / variance:.4f}, r" if variance > 0 else "R"
    return f"{r2}oot mean squared error: {np.sqrt(np.mean(errors**2)):.4g}"


def _labels(y: NDArray[Any], class_names: Sequence[str], model: SparseMLPClassifier) -> NDArray[np.str_]:
    """Return labels as the names of classes; integers are looked up in names where the classes have names."""
    if y.dtype.kind == "f" and (y == np.rint(y)).all():
        y = y.astype(np.int64)
    texts = _texts(y)
    names = np.array(class_names or tuple(map(str, model.classes_.tolist())), dtype=str)
    numbered = y.dtype.kind in "iu" and model.classes_.dtype.kind == "U" and not np.isin(texts, model.classes_).any()
    if numbered and y.min() >= 0 and y.max() < len(names):
        return np.asarray(names[y])
    return texts


def _texts(values: NDArray[Any]) -> NDArray[np.str_]:
    return np.array([str(value) for value in values.tolist()], dtype=str)
