"""Compiled losses: from the sums of the output neurons to the loss and the first delta.

Sums z are neuron-major, float32[C, B]; labels or targets are given for the b <= B real samples. Loss sums
are float64, added in the order of the samples; a loss that is not finite comes out as one that is not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tsnn.kernels.vectors import compiled


@compiled()
def softmax_cross_entropy(
    z: NDArray[np.float32], labels: NDArray[np.int64], scale: float, delta: NDArray[np.float32]
) -> tuple[float, int]:
    """Cross-entropy of softmax(z) for float32[C, B] logits and int64[b] labels.

    Writes delta = scale (softmax(z) - onehot), 0 in padded columns; scale is usually 1 / batch.
    Returns the sum of the b losses and the number of samples whose largest logit is the label's.
    """
    classes, width = z.shape
    b = labels.shape[0]
    loss = 0.0
    correct = 0
    for s in range(b):
        best = 0
        for c in range(1, classes):
            if z[c, s] > z[best, s]:
                best = c
        total = 0.0
        for c in range(classes):
            e = np.exp(z[c, s] - z[best, s])
            delta[c, s] = e
            total += e
        label = labels[s]
        loss += np.log(total) - (np.float64(z[label, s]) - z[best, s])
        correct += best == label
        factor = scale / total
        for c in range(classes):
            delta[c, s] *= np.float32(factor)
        delta[label, s] -= np.float32(scale)
    delta[:, b:width] = 0
    return loss, correct


@compiled()
def mean_squared_error(
    z: NDArray[np.float32], targets: NDArray[np.float32], scale: float, delta: NDArray[np.float32]
) -> float:
    """Mean over outputs of (z - target)^2; float32[C, B], float32[b, C]; returns the sum over samples.

    Writes delta = scale * 2 (z - target) / C, 0 in padded columns.
    """
    outputs, width = z.shape
    b = targets.shape[0]
    loss = 0.0
    for s in range(b):
        for c in range(outputs):
            error = z[c, s] - targets[s, c]
            loss += np.float64(error) * error / outputs
            delta[c, s] = np.float32(2.0 * scale / outputs) * error
    delta[:, b:width] = 0
    return loss


@compiled()
def binary_cross_entropy(
    z: NDArray[np.float32], targets: NDArray[np.float32], scale: float, delta: NDArray[np.float32]
) -> float:
    """Mean over outputs of BCE(sigmoid(z), target); float32[C, B], float32[b, C]; sum over samples.

    Writes delta = scale (sigmoid(z) - target) / C, 0 in padded columns.
    """
    outputs, width = z.shape
    b = targets.shape[0]
    loss = 0.0
    for s in range(b):
        for c in range(outputs):
            value = np.float64(z[c, s])
            e = np.exp(-abs(value))
            loss += (max(value, 0.0) - value * targets[s, c] + np.log1p(e)) / outputs
            sigmoid = 1.0 / (1.0 + e) if value >= 0 else e / (1.0 + e)
            delta[c, s] = scale / outputs * (sigmoid - targets[s, c])
    delta[:, b:width] = 0
    return loss
