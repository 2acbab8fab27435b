"""Compiled generator of artificial features: every value is a hash of its position, none is stored."""

from __future__ import annotations

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

from tsnn.kernels.bfloat16 import put
from tsnn.kernels.compiling import compiled
from tsnn.kernels.rows import MASK32, mix

MEAN, SPREAD = 1020.0, 209.0227259443  # of a sum of eight random bytes


@compiled(inline=True)
def byte_sum(x: int) -> int:
    """Add the four bytes of 32 bits."""
    x = (x & 0x00FF00FF) + ((x >> 8) & 0x00FF00FF)
    return (x + (x >> 16)) & 0xFFFF


@compiled(parallel=True)
def artificial_loop(
    chunks: int, keys: NDArray[np.int64], centres: NDArray[np.float32], shift: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:  # fmt: skip
    """Write the features, a chunk of them per thread."""
    n = out.shape[0]
    for chunk in prange(chunks):
        for f in range(n * chunk // chunks, n * (chunk + 1) // chunks):
            place = mix(f & MASK32)
            for s in range(keys.shape[0]):
                x = mix(keys[s] ^ place)
                total = byte_sum(x) + byte_sum(mix(x ^ 0x9E3779B9))
                put(out, f * out.shape[1] + s, np.float32((total - MEAN) / SPREAD) + shift[f] * centres[s])
            for s in range(keys.shape[0], out.shape[1]):
                put(out, f * out.shape[1] + s, np.float32(0))


def artificial(
    keys: NDArray[np.int64], centres: NDArray[np.float32], shift: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """Write features of samples: noise of mean 0 and variance 1, plus shift times centre.

    Parameters
    ----------
    keys, centres : int64[b], float32[b]
        Key of each sample's noise, in [0, 2**32), and the sign of its class.
    shift : float32[n]
        Distance of the classes in each feature.
    out : float32[n, B]
        Written; padded columns become 0. The noise is a sum of eight bytes: nearly normal, bounded by 4.9.
    """
    artificial_loop(numba.get_num_threads(), keys, centres, shift, out)
