"""Losses by task, with the number of correct answers and the output layer's gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.errors import ConfigError


def output_loss(
    task: str, z: NDArray[np.float32], y: NDArray[Any], scale: float, weights: NDArray[np.float32] | None = None
) -> tuple[float, float]:
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

    Returns
    -------
    loss : float
        Weighted sum over the batch's samples; not finite if any sample's is not.
    n_correct : float
        Samples classified correctly, not weighted; for ``multilabel`` each sample counts its fraction of correct
        labels; NaN for ``regression``.
    """
    weights = np.ones(len(y), np.float32) if weights is None else weights
    if task == "classification":
        return kernels.softmax_cross_entropy(z, y, weights, scale)
    if task == "regression":
        return kernels.mean_squared_error(z, y, weights, scale), np.nan
    if task == "multilabel":
        n_correct = float(((z[:, : len(y)] > 0) == (y.T > 0.5)).mean(axis=0).sum())
        return kernels.binary_cross_entropy(z, y, weights, scale), n_correct
    raise ConfigError(f"Unknown task {task!r}; known are classification, regression, multilabel.")
