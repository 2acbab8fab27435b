"""Tiling: the units in which kernels work, and how a batch is cut into parts."""

from __future__ import annotations

LANES = 16  # samples are processed in multiples of these, or 8 of them: the floats of a vector register
WIDE = 1025  # neurons: 128 samples of such a layer leave half of an L2 cache of 1 MB
SEGMENT = 4096  # connections of one output neuron that are summed before a partial sum is stored


def fast_width(widest: int, batch: int, precision: str = "float32") -> int:
    """Return how many samples of a batch to process at a time, for speed alone; all parts are about equal.

    128 are a tile. Where a layer of float32 is `WIDE`, and until it leaves the L3 cache, 64 took 0.8 to 1.0 times as
    long, 1.1 times at 10 connections to a neuron; 64 values of 16 bits took 1.1 to 1.3 times as long.
    """
    most = 64 if precision == "float32" and WIDE <= widest < 1 << 18 else 128
    if batch <= most:
        return batch
    parts = -(-batch // most)
    return -(-batch // (parts * LANES)) * LANES


def padded(samples: int, precision: str) -> int:
    """Return the columns that a number of samples takes: whole vectors, or pairs of them for values of 16 bits.

    Up to 8 samples take half a vector of float32, a single one takes no more than itself.
    """
    if precision == "bfloat16":
        return -(-samples // (2 * LANES)) * 2 * LANES
    return next((width for width in (1, LANES // 2) if samples <= width), -(-samples // LANES) * LANES)


def words(columns: int) -> int:
    """Return how many words of 16 bits hold one bit for each column."""
    return -(-columns // LANES)


def can_scatter(n_out: int, connections: int) -> bool:
    """Tell whether a layer may do without its transposed view: not if its sums are so long that they are split."""
    return connections <= SEGMENT * n_out
