"""Compiled losses: loss and first delta from the sums of the output neurons.

Sums z are neuron-major, float32[C, B]; labels or targets, and weights float32[b], are given for the b <= B
real samples. A sample counts with its weight, in the loss as in the delta. The delta replaces z, which is not
needed any more. Loss sums are float64, added in the order of the samples; a non-finite loss stays non-finite.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tsnn.kernels.compiling import compiled


@compiled()
def softmax_cross_entropy(
    z: NDArray[np.float32], labels: NDArray[np.int64], weights: NDArray[np.float32], scale: float
) -> tuple[float, int]:
    """Cross-entropy of softmax(z) for float32[C, B] logits and int64[b] labels.

    Replaces z by scale weight (softmax(z) - onehot), 0 in padded columns; scale is usually 1 / batch.
    Returns the weighted sum of the b losses and the number of samples whose largest logit is the label's.
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
        total, label = 0.0, labels[s]
        top, own = z[best, s], np.float64(z[label, s])
        for c in range(classes):
            e = np.exp(z[c, s] - top)
            z[c, s] = e
            total += e
        loss += weights[s] * (np.log(total) - (own - top))
        correct += best == label
        scaled = scale * weights[s]
        factor = scaled / total
        for c in range(classes):
            z[c, s] *= np.float32(factor)
        z[label, s] -= np.float32(scaled)
    z[:, b:width] = 0
    return loss, correct


@compiled()
def mean_squared_error(
    z: NDArray[np.float32], targets: NDArray[np.float32], weights: NDArray[np.float32], scale: float
) -> float:
    """Mean over outputs of (z - target)^2; float32[C, B], float32[b, C]; weighted sum over samples.

    Replaces z by scale weight 2 (z - target) / C, 0 in padded columns.
    """
    outputs, width = z.shape
    b = targets.shape[0]
    loss = 0.0
    for s in range(b):
        weight = np.float64(weights[s]) / outputs
        for c in range(outputs):
            error = z[c, s] - targets[s, c]
            loss += weight * error * error
            z[c, s] = np.float32(2.0 * scale * weight) * error
    z[:, b:width] = 0
    return loss


@compiled()
def binary_cross_entropy(
    z: NDArray[np.float32], targets: NDArray[np.float32], weights: NDArray[np.float32], scale: float
) -> float:
    """Mean over outputs of BCE(sigmoid(z), target); float32[C, B], float32[b, C]; weighted sum.

    Replaces z by scale weight (sigmoid(z) - target) / C, 0 in padded columns.
    """
    outputs, width = z.shape
    b = targets.shape[0]
    loss = 0.0
    for s in range(b):
        weight = np.float64(weights[s]) / outputs
        for c in range(outputs):
            value = np.float64(z[c, s])
            e = np.exp(-abs(value))
            loss += weight * (max(value, 0.0) - value * targets[s, c] + np.log1p(e))
            sigmoid = 1.0 / (1.0 + e) if value >= 0 else e / (1.0 + e)
            z[c, s] = scale * weight * (sigmoid - targets[s, c])
    z[:, b:width] = 0
    return loss
