"""Moments of columns (mean, variance, range), which decide their scaling; merged as further samples come."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


class Moments(NamedTuple):
    """Weight, mean, variance and range of each column over some samples.

    Attributes
    ----------
    weight : float64[width]
        Sum of the samples' weights.
    mean, variance : float64[width]
        Weighted; 0 where only the range was asked for.
    low, high : float64[width]
        Smallest and largest value.
    """

    weight: Float64
    mean: Float64
    variance: Float64
    low: Float64
    high: Float64

    def merged(self, other: Moments) -> Moments:
        """Return the moments of both sets of samples together (Chan, Golub and LeVeque 1983)."""
        weight = self.weight + other.weight
        part, delta = other.weight / weight, other.mean - self.mean
        variance = self.variance + part * (other.variance - self.variance) + delta**2 * part * (1 - part)
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        return Moments(weight, self.mean + part * delta, variance, low, high)

    def scaling(self, preprocessing: str, *, centred: bool = True) -> tuple[Float64, Float64]:
        """Return (offset, scale), float64[width] each: a value becomes ``(x - offset) * scale``.

        ``standard`` gives mean 0 and variance 1, as do ``relevance`` and the like, whose factors come on top
        (:func:`tsnn.datasets.relevance.relevance`); ``minmax`` gives the range 0 to 1, ``none`` leaves values as they
        are.
        Without ``centred`` the offset is 0, and ``minmax`` gives a largest magnitude of 1. Columns that are constant
        become 0: nothing was learned about other values, so they must not reach weights that were never trained.
        """
        width = len(self.mean)
        if preprocessing == "none":
            return np.zeros(width), np.ones(width)
        if preprocessing == "minmax":
            offset, spread = self.low, self.high - self.low if centred else np.maximum(abs(self.low), abs(self.high))
            varies = spread > 0
        else:
            offset, spread = self.mean, np.sqrt(self.variance)
            varies = (self.high > self.low) & (spread > 0)  # rounding can give a constant column a tiny variance
        scale = np.divide(1, spread, out=np.zeros(width), where=varies)
        return offset if centred else np.zeros(width), scale
