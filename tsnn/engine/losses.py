"""Losses by task, with the number of correct answers and the output layer's gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.errors import ConfigError


def output_loss(
    task: str, z: NDArray[np.float32], y: NDArray[Any], scale: float, weights: NDArray[np.float32] | None = None,
    squared_units: NDArray[np.float64] | None = None,
) -> tuple[float, float]:  # fmt: skip
    """Compute loss, number of correct answers and the output layer's delta for one batch.

    Parameters
    ----------
    task : {"classification", "regression", "multilabel"}
        Softmax with cross-entropy, identity with mean squared error, or sigmoid with binary
        cross-entropy (the latter two are means over the outputs).
    z : float32[n_outputs, B]
        Sums of the output neurons, neuron-major; B is the padded batch. Replaced by ``scale * weight * dLoss/dz``,
        which is 0 in padded columns.
    y : int64[b] or float32[b, n_outputs]
        Class indices, or targets.
    scale : float
        Weight of all samples in the gradient, usually ``1 / batch``.
    weights : float32[b], optional
        Weight of each sample in the loss; 1 if left out.
    squared_units : float64[n_outputs], optional
        For ``regression`` with scaled targets, squared errors of 1 in the units of each target; the returned loss is
        in these units, the delta is not.

    Returns
    -------
    loss : float
        Weighted sum over the batch's samples; not finite if any sample's is not.
    n_correct : float
        Samples classified correctly, not weighted; for ``multilabel`` each sample counts its fraction of correct
        labels; for ``regression`` its weight times 1 - its squared error in the units of ``z``: for targets of
        variance 1 the mean is R2.
    """
    weights = np.ones(len(y), np.float32) if weights is None else weights
    if task == "classification":
        return kernels.softmax_cross_entropy(z, y, weights, scale)
    if task == "regression":
        return _squared_error(z, y, scale, weights, squared_units)
    if task == "multilabel":
        n_correct = float(((z[:, : len(y)] > 0) == (y.T > 0.5)).mean(axis=0).sum())
        return kernels.binary_cross_entropy(z, y, weights, scale), n_correct
    raise ConfigError(f"Unknown task {task!r}; known are classification, regression, multilabel.")


def _squared_error(
    z: NDArray[np.float32], y: NDArray[np.float32], scale: float, weights: NDArray[np.float32],
    squared_units: NDArray[np.float64] | None,
) -> tuple[float, float]:  # fmt: skip
    """Return the mean squared error in the targets' units, and the sum of ``1 - squared error`` in those of z."""
    in_units = 0.0
    if squared_units is not None and len(z) > 1:  # before the kernel replaces z
        in_units = float(weights @ squared_errors(z, y) @ squared_units) / len(z)
    loss = kernels.mean_squared_error(z, y, weights, scale)
    n_correct = float(weights.sum()) - loss
    if squared_units is not None:
        loss = in_units if len(z) > 1 else loss * float(squared_units[0])
    return loss, n_correct


def squared_errors(z: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the squared error of each sample and output, float64[b, n_outputs]; z [n_outputs, B], y [b, n_outputs]."""
    return np.square(z[:, : len(y)].T.astype(np.float64) - y)
