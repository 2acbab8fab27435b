"""Compiled activations that are not two straight lines: tanh and GELU, with their derivatives, value by value."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

from tsnn.kernels.compiling import compiled

#: Coefficients of tanh(x) = x p(x^2) / q(x^2) in float32, the highest power first; within two units in the last place.
NUMERATOR = (
    -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08, 1.48572235717979e-05,
    6.37261928875436e-04, 4.89352455891786e-03,
)  # fmt: skip
DENOMINATOR = (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
SATURATED = np.float32(7.90531110763549805)  # tanh is 1 from here on
INNER, CUBIC = np.float32(0.7978845608028654), np.float32(0.044715)  # of GELU
GELU_ENDS = np.float32(10.0)  # beyond it GELU is z or 0
HALF, ONE, THREE = np.float32(0.5), np.float32(1), np.float32(3)


@compiled(inline=True)
def clamp(x: Any, limit: Any) -> Any:
    """Return a value between two limits, or NaN."""
    return limit if x > limit else (-limit if x < -limit else x)


@compiled(inline=True)
def tanh(x: Any) -> Any:
    """Return tanh(x) without a call of the C library: a loop of it is vectorised."""
    within = clamp(x, SATURATED)
    square = within * within
    p, q = np.float32(NUMERATOR[0]), np.float32(DENOMINATOR[0])
    for c in NUMERATOR[1:]:
        p = p * square + np.float32(c)
    for c in DENOMINATOR[1:]:
        q = q * square + np.float32(c)
    return ONE if x >= SATURATED else (-ONE if x <= -SATURATED else within * p / q)


@compiled(parallel=True)
def tanh_loop(chunks: int, keep: Any, values: Any, derivative: Any) -> None:
    """Run `apply_curve` for tanh on all threads."""
    for chunk in prange(chunks):
        n = values.shape[0]
        for k in range(n * chunk // chunks, n * (chunk + 1) // chunks):
            t = tanh(values[k] * keep)
            values[k] = t / keep
            derivative[k] = ONE - t * t


@compiled(parallel=True)
def gelu_loop(chunks: int, keep: Any, values: Any, derivative: Any) -> None:
    """Run `apply_curve` for GELU on all threads."""
    for chunk in prange(chunks):
        n = values.shape[0]
        for k in range(n * chunk // chunks, n * (chunk + 1) // chunks):
            z = clamp(values[k] * keep, GELU_ENDS)
            square = z * z
            t = tanh(INNER * z * (ONE + CUBIC * square))
            values[k] *= HALF * (ONE + t)
            slope = INNER * (ONE + THREE * CUBIC * square)
            derivative[k] = HALF * (ONE + t) + HALF * z * (ONE - t * t) * slope


@compiled(parallel=True)
def multiply_loop(chunks: int, factors: Any, values: Any) -> None:
    """Run `multiply` on all threads."""
    for chunk in prange(chunks):
        n = values.shape[0]
        for k in range(n * chunk // chunks, n * (chunk + 1) // chunks):
            values[k] *= factors[k]


CURVES = {"gelu": gelu_loop, "tanh": tanh_loop}


def apply_curve(name: str, keep: float, values: NDArray[np.float32], derivative: NDArray[np.float32]) -> None:
    """Turn the weighted sums of a layer into its activation, in place, and write the derivative.

    Parameters
    ----------
    name : {"gelu", "tanh"}
        f; GELU in the form with tanh (arXiv 1606.08415, section 2). f(0) = 0.
    keep : float
        Probability of being kept by dropout: `forward` with slope 1 leaves z / keep, or 0.
    values : float32[n, B]
        Replaced by f(keep * value) / keep.
    derivative : float32[n, B]
        Written: f'(keep * value).
    """
    CURVES[name](numba.get_num_threads(), np.float32(keep), values.reshape(-1), derivative.reshape(-1))


def multiply(factors: NDArray[np.float32], values: NDArray[np.float32]) -> None:
    """Multiply values by factors of the same shape, in place."""
    multiply_loop(numba.get_num_threads(), factors.reshape(-1), values.reshape(-1))
