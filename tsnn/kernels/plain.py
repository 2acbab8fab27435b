"""Operations of :mod:`tsnn.kernels.vectors` as plain loops: for processors without AVX2, and for NumPy.

A tile is here an array float32[samples]. `multiply_add` adds to its last argument in place.
With NUMBA_DISABLE_JIT=1 these loops run as Python, so that every kernel can be debugged as such.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tsnn.kernels.bfloat16 import as_stored, put, read
from tsnn.kernels.compiling import compiled
from tsnn.tiling import LANES

Floats = NDArray[np.float32]
Words = NDArray[np.uint16]

MASK32 = 0xFFFFFFFF


@compiled()
def zeros(samples: int) -> Floats:
    """Return a tile of zeros."""
    return np.zeros(samples, np.float32)


@compiled()
def filled(like: Floats, value: float) -> Floats:
    """Return a tile as wide as `like`, every lane holding the value."""
    return np.full(like.shape[0], value, np.float32)


@compiled()
def load(like: Floats, array: Floats, offset: int) -> Floats:
    """Return the tile at array.flat[offset], as wide as `like`; a view of float32."""
    values: Floats = read(array, offset, like.shape[0])
    return values


@compiled()
def store(tile: Floats, array: Floats, offset: int) -> None:
    """Write the tile to array.flat[offset]."""
    for s in range(tile.shape[0]):
        put(array, offset + s, tile[s])


@compiled()
def prefetch(like: Floats, array: Floats, offset: int) -> None:
    """Do nothing: the processor prefetches by itself."""


@compiled()
def prefetch_value(array: Floats, offset: int) -> None:
    """Do nothing, as `prefetch`."""


@compiled()
def multiply_add(scalar: float, tile: Floats, total: Floats) -> Floats:
    """Return scalar * tile + total, computed in total."""
    for s in range(total.shape[0]):
        total[s] += scalar * tile[s]
    return total


@compiled()
def add_weighted(tile: Floats, array: Floats, offsets: tuple[int, ...], weights: tuple[float, ...]) -> Floats:
    """Add the tiles at array.flat[offset], each times its weight, rounded to the array's precision."""
    for c in range(len(offsets)):
        values, weight = read(array, offsets[c], tile.shape[0]), as_stored(array, weights[c])
        for s in range(tile.shape[0]):
            tile[s] += weight * values[s]
    return tile


@compiled()
def in_order(tile: Floats, array: Floats) -> Floats:
    """Return the tile."""
    return tile


@compiled()
def add_samples(tile: Floats) -> np.float32:
    """Return the sum over all samples, float32."""
    total = np.float32(0)
    for s in range(tile.shape[0]):
        total += tile[s]
    return total


@compiled()
def group_size(tile: Floats) -> int:
    """Return how many connections `train` trains at once."""
    return 4


@compiled()
def train(
    count: int, a: Floats, below: Floats, delta: Floats, column: int, indices: NDArray[np.int32], k: int,
    weights: Floats, velocity: Floats, rule: tuple[np.float32, np.float32, np.float32, np.float32],
) -> Floats:  # fmt: skip
    """Train `count` connections of one input neuron, from number k on; returns below + their weights * deltas.

    With the tile `a` of the neuron, the gradient g of a connection to j is the sum over all samples of
    a * delta[j, column:]. By the rule (momentum, learning rate, step, decay), v <- momentum v - learning_rate g, then
    w <- w - decay w + step v; step and decay are 0 if the weights stay. `below` gets the contribution of the old w.
    """
    momentum, learning_rate, step, decay = rule
    for c in range(k, k + count):
        g, w, factor = np.float32(0), weights[c], as_stored(delta, weights[c])
        deltas = read(delta, np.int64(indices[c]) * delta.shape[1] + column, a.shape[0])
        for s in range(a.shape[0]):
            below[s] += factor * deltas[s]
            g += a[s] * deltas[s]
        velocity[c] = momentum * velocity[c] - learning_rate * g
        weights[c] = w - decay * w + step * velocity[c]
    return below


@compiled()
def store_positive(tile: Floats, masks: Words, offset: int) -> None:
    """Write one bit per sample, tile > 0, to the uint16 array at masks.flat[offset]."""
    lanes = min(LANES, tile.shape[0])
    for v in range(tile.shape[0] // lanes):
        word = 0
        for lane in range(lanes):
            word |= (tile[lanes * v + lane] > 0) << lane
        masks.reshape(-1)[offset + v] = word


@compiled()
def choose(masks: Words, offset: int, if_one: Floats, if_zero: Floats) -> Floats:
    """Take each sample from the first tile where its bit at masks.flat[offset] is 1, else from the second."""
    chosen = np.empty_like(if_one)
    for s in range(if_one.shape[0]):
        bit = (masks.reshape(-1)[offset + s // LANES] >> (s % LANES)) & 1
        chosen[s] = if_one[s] if bit else if_zero[s]
    return chosen


@compiled()
def store_keeps(like: Floats, masks: Words, offset: int, low: int, high: int, sample: int, threshold: int) -> None:
    """Write the dropout bits of consecutive samples to masks.flat[offset].

    A sample is kept if a hash of its number and of the two numbers of its neuron, uniform on 32 bits, is
    not below the threshold.
    """
    lanes = min(LANES, like.shape[0])
    for v in range(like.shape[0] // lanes):
        word = 0
        for lane in range(lanes):
            x = (low + sample + lanes * v + lane) & MASK32
            x ^= x >> 16
            x = (x * 0x85EBCA6B + high) & MASK32
            x ^= x >> 13
            word |= ((x * 0xC2B2AE35) & MASK32 >= threshold) << lane
        masks.reshape(-1)[offset + v] = word


@compiled()
def transpose_block(
    like: Floats, x: Floats, order: NDArray[np.int64], sample: int, feature: int, out: Floats | Words
) -> None:
    """Write out[feature + f, sample + s] = x[order[sample + s], feature + f]: 16 features; 0 beyond the order."""
    for s in range(sample, sample + like.shape[0]):
        for f in range(feature, feature + LANES):
            put(out, f * out.shape[1] + s, x[order[s], f] if s < order.shape[0] else np.float32(0))
