"""Scaling of features, also by their relevance: how much each tells about the targets by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tsnn.datasets.moments import Moments
from tsnn.datasets.preparation import measure, row_blocks
from tsnn.datasets.raw import RELEVANCE
from tsnn.datasets.sparse import measure_sparse

Float64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

_LEAST = 1e-12  # explained part of a feature's variance: at 0 nothing could be learned about it later


def moments_of(x: Any, rows: Rows | None, weights: Float64 | None, preprocessing: str) -> Moments:
    """Return the moments of these rows of an array or a CSR array, as far as the preprocessing needs them."""
    if hasattr(x, "tocsr"):
        return measure_sparse(x if rows is None else x[rows], weights)
    return measure(x, rows, preprocessing, weights)


def fit_features(
    x: Any, rows: Rows | None, y: npt.NDArray[Any], task: str, preprocessing: str, weights: Float64 | None = None
) -> tuple[Moments, Float64, Float64]:
    """Return moments, offset and scale of the features, fitted on these rows; sparse features get no offset.

    Parameters: see :func:`relevance`, and :class:`tsnn.datasets.raw.Preparation`.
    """
    moments = moments_of(x, rows, weights, preprocessing)
    offset, scale = moments.scaling(preprocessing, centred=not hasattr(x, "tocsr"))
    if preprocessing in RELEVANCE:
        scale = scale * relevance(x, rows, y, task, moments, weights, power=RELEVANCE[preprocessing])
    return moments, offset, scale


def relevance(
    x: Any, rows: Rows | None, y: npt.NDArray[Any], task: str, moments: Moments,
    weights: Float64 | None = None, *, power: float = 1.0,
) -> Float64:  # fmt: skip
    """Return factors in proportion to a power of each feature's correlation with the targets, float64[n_features].

    Of classes it is the correlation ratio (the root of the part of the variance that lies between classes), of several
    labels or numbers the root of the sum of the squared correlations. The mean of the squares is 1.

    Parameters
    ----------
    x : [n, n_features]
        Finite numbers of any dtype, or a CSR array without duplicate entries.
    rows : int64[n_train] or None
        The training part; None: all.
    y : int64[n_train] or float[n_train] or float[n_train, outputs]
        Its classes for the task "classification", else its targets.
    task : str
        As in ``data.task``.
    moments : Moments
        Mean and variance of the features over these rows.
    weights : float64[n_train] or None
        Weight of each of these rows; None: all the same.
    power : float
        Of the correlation.

    Notes
    -----
    Nothing is multiplied by BLAS, whose sums depend on the number of threads.
    """
    w = np.full(len(y), 1 / len(y)) if weights is None else weights / weights.sum()
    targets = w[:, np.newaxis] * _unit_targets(y, task, w)
    if hasattr(x, "tocsr"):
        covariance = (x if rows is None else x[rows]).T @ targets - np.outer(moments.mean, targets.sum(axis=0))
    else:
        covariance = np.zeros((x.shape[1], targets.shape[1]))
        for part in row_blocks(len(y), x.shape[1]):
            block = (x[part] if rows is None else x[rows[part]]).astype(np.float64) - moments.mean
            for k, column in enumerate(targets[part].T):
                counts = np.flatnonzero(column)  # of a class its samples
                covariance[:, k] += np.einsum("i,ij->j", column[counts], block[counts])
    varies = (moments.high > moments.low) & (moments.variance > 0)
    squares = np.square(covariance).sum(axis=1)
    explained = np.divide(squares, moments.variance, out=np.zeros(x.shape[1]), where=varies)
    factors = np.maximum(explained, _LEAST) ** (power / 2)
    return np.asarray(factors / np.sqrt(np.mean(factors**2)))


def _unit_targets(y: npt.NDArray[Any], task: str, w: Float64) -> Float64:
    """Return columns whose covariances with a feature are, up to its deviation, their correlations."""
    if task == "classification":
        fractions = np.bincount(y, w)
        return np.asarray((y[:, np.newaxis] == np.arange(len(fractions))) / np.sqrt(np.maximum(fractions, 1e-300)))
    columns = y.reshape(len(y), -1).astype(np.float64)
    varies = columns.max(axis=0) > columns.min(axis=0)  # rounding can give a constant column a tiny deviation
    columns = columns - w @ columns
    deviation = np.sqrt(w @ np.square(columns))
    return np.asarray(np.divide(columns, deviation, out=np.zeros_like(columns), where=varies))
