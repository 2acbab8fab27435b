"""Compiled steps of optimizers that take the gradient as an array, value by value.

Memory is the limit: each array is read once, and all but the gradient are written once.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

from tsnn.kernels.compiling import compiled


@compiled(parallel=True)
def nesterov_loop(
    chunks: int, gradient: Any, momentum: Any, learning_rate: Any, keep: Any, weights: Any, velocity: Any
) -> None:
    """Run `nesterov_step` on all threads."""
    for chunk in prange(chunks):
        n = gradient.shape[0]
        for k in range(n * chunk // chunks, n * (chunk + 1) // chunks):
            change = learning_rate * gradient[k]
            velocity[k] = momentum * velocity[k] - change
            weights[k] = keep * weights[k] + momentum * velocity[k] - change


def nesterov_step(
    gradient: NDArray[np.float32], momentum: float, learning_rate: float, weight_decay: float,
    weights: NDArray[np.float32], velocity: NDArray[np.float32],
) -> None:  # fmt: skip
    """Apply a gradient: v <- momentum v - learning_rate g; w <- (1 - weight_decay) w + momentum v - learning_rate g.

    All arrays float32[n]; weights and velocity are changed in place.
    """
    rates = np.float32(momentum), np.float32(learning_rate), np.float32(1 - weight_decay)
    nesterov_loop(_threads(len(weights)), gradient, *rates, weights, velocity)


@compiled(parallel=True)
def adamw_loop(
    chunks: int, gradient: Any, beta1: Any, beta2: Any, keep: Any, rates: Any, epsilons: Any, weights: Any,
    mean: Any, square: Any, steps: Any,
) -> None:  # fmt: skip
    """Run `adamw_step` on all threads."""
    last = np.int32(rates.shape[0] - 1)
    for chunk in prange(chunks):
        n = gradient.shape[0]
        for k in range(n * chunk // chunks, n * (chunk + 1) // chunks):
            g, t = gradient[k], min(np.int32(steps[k]) + np.int32(1), last)
            m = mean[k] + beta1 * (g - mean[k])
            v = square[k] + beta2 * (g * g - square[k])
            mean[k], square[k], steps[k] = m, v, np.float32(t)
            weights[k] = keep * weights[k] - rates[t] * m / (math.sqrt(v) + epsilons[t])


def adamw_step(
    gradient: NDArray[np.float32], betas: tuple[float, float], weight_decay: float, rates: NDArray[np.float32],
    epsilons: NDArray[np.float32], weights: NDArray[np.float32], mean: NDArray[np.float32],
    square: NDArray[np.float32], steps: NDArray[np.float32],
) -> None:  # fmt: skip
    """Apply a gradient by AdamW, where each weight has its own number of steps.

    m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2; t <- t + 1;
    w <- (1 - weight_decay) w - rates[t] m / (sqrt(v) + epsilons[t]). The tables contain the corrections by t.

    Parameters
    ----------
    gradient : float32[n]
        The gradient.
    betas, weight_decay : (float, float), float
        Decay of the moments and of the weights.
    rates, epsilons : float32[T + 1]
        Corrected learning rate and term of the denominator, by t; the last are used beyond.
    weights, mean, square, steps : float32[n]
        Changed in place: w, m, v, t.
    """
    constants = np.float32(1 - betas[0]), np.float32(1 - betas[1]), np.float32(1 - weight_decay)
    adamw_loop(_threads(len(weights)), gradient, *constants, rates, epsilons, weights, mean, square, steps)


def _threads(values: int) -> int:
    """Return the number of chunks: a few values are not worth a second thread."""
    return numba.get_num_threads() if values > 1 << 14 else 1
