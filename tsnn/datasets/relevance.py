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

_HARDLY_VARIES = 1e-9  # variance of a standardised feature's square: of two equally frequent values it is 0
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
        scale = scale * relevance(x, rows, y, task, moments, weights, kind=preprocessing)
    return moments, offset, scale


def relevance(
    x: Any, rows: Rows | None, y: npt.NDArray[Any], task: str, moments: Moments,
    weights: Float64 | None = None, *, kind: str = "relevance",
) -> Float64:  # fmt: skip
    """Return factors that grow with each feature's correlation with the targets, float64[n_features], mean square 1.

    With classes it is the correlation ratio (the root of the part of the variance that lies between classes), with
    several labels or numbers the root of the sum of the squared correlations.

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
    kind : {"relevance", "root_relevance"}
        The correlation; or the root of the larger one of the feature's correlation and that of its square around the
        mean, for a feature may also tell by being far from its mean. The latter needs hundreds of samples.

    Notes
    -----
    Nothing is multiplied by BLAS, whose sums depend on the number of threads.
    """
    w = np.full(len(y), 1 / len(y)) if weights is None else weights / weights.sum()
    targets = w[:, np.newaxis] * _unit_targets(y, task, w)
    offset, scale = moments.scaling("standard")
    covariances = _sparse_covariances if hasattr(x, "tocsr") else _covariances
    linear, squared, variance = covariances(x, rows, targets, w, offset, scale)
    explained = np.square(linear).sum(axis=1)
    if kind == "root_relevance":
        varies = variance > _HARDLY_VARIES
        of_squares = np.divide(np.square(squared).sum(axis=1), variance, out=np.zeros(len(scale)), where=varies)
        explained = np.sqrt(np.maximum(explained, of_squares))
    factors = np.sqrt(np.maximum(explained, _LEAST))
    return np.asarray(factors / np.sqrt(np.mean(factors**2)))


def _covariances(
    x: Any, rows: Rows | None, targets: Float64, w: Float64, offset: Float64, scale: Float64
) -> tuple[Float64, Float64, Float64]:
    """Return the covariances of standardised features, and of their squares, with targets, and the squares' variance.

    ``targets`` float64[n, k] are multiplied by the weights; results are float64[n_features, k] and [n_features].
    """
    linear, squared = np.zeros((2, len(scale), targets.shape[1]))
    variance = np.zeros(len(scale))
    for part in row_blocks(len(targets), len(scale)):
        block = ((x[part] if rows is None else x[rows[part]]).astype(np.float64) - offset) * scale
        squares = block**2 - (scale > 0)
        variance += np.einsum("i,ij,ij->j", w[part], squares, squares)
        for k, column in enumerate(targets[part].T):
            counts = np.flatnonzero(column)  # of a class its samples
            linear[:, k] += np.einsum("i,ij->j", column[counts], block[counts])
            squared[:, k] += np.einsum("i,ij->j", column[counts], squares[counts])
    return linear, squared, variance


def _sparse_covariances(
    x: Any, rows: Rows | None, targets: Float64, w: Float64, offset: Float64, scale: Float64
) -> tuple[Float64, Float64, Float64]:
    """Return the same covariances of a CSR array, from its entries and the values of its zeros."""
    x = x.copy() if rows is None else x[rows]
    values, zeros = (x.data.astype(np.float64) - offset[x.indices]) * scale[x.indices], -offset * scale

    def sums(values: Float64, zeros: Float64, factors: Float64) -> Float64:
        x.data = values - zeros[x.indices]
        return np.asarray(x.T @ factors + np.multiply.outer(zeros, factors.sum(axis=0)))

    squares, zero_squares = values**2 - (scale > 0)[x.indices], zeros**2 - (scale > 0)
    variance = sums(squares**2, zero_squares**2, w)
    return sums(values, zeros, targets), sums(squares, zero_squares, targets), variance


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
