"""Inner loops: one thread's chunk of the neurons of a layer, for tiles of samples.

A tile of samples of one neuron stays in registers while the stripes of its neighbours stream by: this makes
the kernels fast. `tiles` is :mod:`tsnn.kernels.vectors`, or :mod:`tsnn.kernels.plain` on processors without suitable
vectors.

``zero`` is a tile whose type holds the number of samples per tile, ``step``; ``chunk`` of ``chunks`` is the thread's
part, columns ``start`` to ``stop`` are the samples. Indices are unsigned where possible,
which saves the check for negative ones.

Numba counts references to an array whose last use is behind a branch. Once per neuron this costs a tenth of the
forward pass, because it orders all loads and stores: functions inlined here have no branches.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsnn.kernels import plain, vectors
from tsnn.kernels.bfloat16 import put
from tsnn.kernels.compiling import compiled, has_fast_vectors
from tsnn.machine import cache_sizes
from tsnn.tiling import LANES, SEGMENT

TILE = 8 * LANES  # samples of a full tile
tiles: Any = vectors if has_fast_vectors() else plain

FAR = cache_sizes()[2] // 2  # bytes: of a larger array, the stripes of the next IN_FLIGHT bytes are being prefetched
IN_FLIGHT = 6 << 10
MASK32 = 0xFFFFFFFF
ZERO, ONE = np.float32(0), np.float32(1)


@compiled(inline=True)
def lead(array: Any, step: int) -> Any:
    """Return how many connections ahead stripes of an array are prefetched: uint64."""
    return np.uint64(min(IN_FLIGHT // (step * array.itemsize), 64))


@compiled()
def chunk_start(indptr: NDArray[np.int64], chunk: int, chunks: int) -> int:
    """Return the first row of a chunk; a row's work is its connections + 2."""
    n = indptr.shape[0] - 1
    target = (indptr[n] + 2 * n) * chunk // chunks
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        if indptr[middle] + 2 * middle < target:
            low = middle + 1
        else:
            high = middle
    return low


@compiled(inline=True)
def first_from(values: Any, first: int, last: int, value: int) -> int:
    """Return the first position in values[first:last], ascending, that holds the value or a larger one; else last."""
    while first < last:
        middle = (first + last) // 2
        if values[middle] < value:
            first = middle + 1
        else:
            last = middle
    return first


@compiled(inline=True)
def mix(x: int) -> int:
    """Scramble 32 bits (the finaliser of MurmurHash3)."""
    x ^= x >> 16
    x = (x * 0x85EBCA6B) & MASK32
    x ^= x >> 13
    x = (x * 0xC2B2AE35) & MASK32
    return x ^ (x >> 16)


@compiled(inline=True)
def drop(tile: Any, masks: Any, offset: int, threshold: int) -> Any:
    """Zero the samples whose keep bit is 0 and divide the others by the probability of being kept."""
    scale = np.float32(1.0 / (1.0 - threshold / 4294967296.0))
    kept = tiles.multiply_add(scale, tile, tiles.filled(tile, ZERO))
    return tiles.choose(masks, offset, kept, tiles.filled(tile, ZERO))


@compiled(inline=True)
def activate(tile: Any, slope: Any, masks: Any, bits: int) -> Any:
    """Turn the sums of an output neuron into its activation, and write which of them are positive."""
    tiles.store_positive(tile, masks, bits)
    return tiles.choose(masks, bits, tile, tiles.multiply_add(slope, tile, tiles.filled(tile, ZERO)))


@compiled(inline=True)
def draw_dropout(tile: Any, j: int, key: int, sample: int, threshold: int, masks: Any, bits: int) -> Any:
    """Draw and write which samples of output neuron j are kept, and drop the others."""
    low = mix((mix(key & MASK32) + j) & MASK32)
    high = mix(low ^ mix(key >> 32))
    tiles.store_keeps(tile, masks, bits, low, high, sample, threshold)
    return drop(tile, masks, bits, threshold)


@compiled(inline=True)
def add_inputs(
    tile: Any, step: int, column: int, first: int, last: int, t_indices: Any, t_perm: Any, weights: Any,
    activation: Any,
) -> Any:  # fmt: skip
    """Add the weighted stripes of connections first..last of one output neuron to its tile."""
    width = activation.shape[1]
    far = activation.size * activation.itemsize > FAR
    final, early = np.uint64(max(t_indices.shape[0] - 1, 0)), lead(activation, step)
    begin, end, one = np.uint64(first), np.uint64(last), np.uint64(1)
    single = end - (end - begin) % np.uint64(2)
    for k in range(begin, single, np.uint64(2)):
        if far:
            for ahead in range(k + early, k + early + np.uint64(2)):
                tiles.prefetch(tile, activation, np.int64(t_indices[min(ahead, final)]) * width + column)
                tiles.prefetch_value(weights, np.int64(t_perm[min(ahead, final)]))
        offsets = np.int64(t_indices[k]) * width + column, np.int64(t_indices[k + one]) * width + column
        pair = weights[np.uint32(t_perm[k])], weights[np.uint32(t_perm[k + one])]
        tile = tiles.add_weighted(tile, activation, offsets, pair)
    for k in range(single, end):
        if far:
            tiles.prefetch(tile, activation, np.int64(t_indices[min(k + early, final)]) * width + column)
            tiles.prefetch_value(weights, np.int64(t_perm[min(k + early, final)]))
        offset = np.int64(t_indices[k]) * width + column
        tile = tiles.add_weighted(tile, activation, (offset,), (weights[np.uint32(t_perm[k])],))
    return tiles.in_order(tile, activation)


@compiled()
def segment_rows(
    zero: Any, step: int, chunk: Any, chunks: int, start: int, stop: int, t_indptr: Any, t_indices: Any,
    t_perm: Any, weights: Any, activation: Any, segments: Any, partial: Any,
) -> None:  # fmt: skip
    """Sum a chunk of the segments of long rows."""
    pieces = segments.shape[0]
    for column in range(start, stop, step):
        for piece in range(pieces * chunk // chunks, pieces * (chunk + 1) // chunks):
            first = segments[piece, 1]
            last = min(first + SEGMENT, t_indptr[segments[piece, 0] + 1])
            tile = tiles.filled(zero, ZERO)
            tile = add_inputs(tile, step, column, first, last, t_indices, t_perm, weights, activation)
            tiles.store(tile, partial, piece * partial.shape[1] + column)


@compiled()
def forward_rows(
    zero: Any, step: int, chunk: Any, chunks: int, start: int, stop: int, t_indptr: Any, t_indices: Any,
    t_perm: Any, weights: Any, activation: Any, bias: Any, slope: Any, threshold: int, key: int,
    sample_offset: int, segments: Any, partial: Any, out: Any, masks: Any,
) -> None:  # fmt: skip
    """Compute a chunk of the output neurons."""
    first_row = chunk_start(t_indptr, chunk, chunks)
    last_row = chunk_start(t_indptr, chunk + 1, chunks)
    width, words = out.shape[1], masks.shape[2]
    for column in range(start, stop, step):
        piece = 0
        while piece < segments.shape[0] and segments[piece, 0] < first_row:
            piece += 1
        for j in range(first_row, last_row):
            first, last = t_indptr[j], t_indptr[j + 1]
            tile = tiles.filled(zero, bias[j])
            if last - first <= SEGMENT:
                tile = add_inputs(tile, step, column, first, last, t_indices, t_perm, weights, activation)
            else:
                for _ in range(first, last, SEGMENT):
                    tile = tiles.multiply_add(ONE, tiles.load(zero, partial, piece * width + column), tile)
                    piece += 1
            bits = 2 * j * words + column // LANES
            tile = activate(tile, slope, masks, bits)
            if threshold:
                tile = draw_dropout(tile, j, key, sample_offset + column, threshold, masks, bits + words)
            tiles.store(tile, out, j * width + column)


@compiled()
def scatter_rows(
    zero: Any, step: int, chunk: Any, chunks: int, start: int, stop: int, indptr: Any, indices: Any, weights: Any,
    activation: Any, bias: Any, slope: Any, threshold: int, key: int, sample_offset: int, out: Any, masks: Any,
) -> None:  # fmt: skip
    """Compute a chunk of the output neurons without a transposed view: all inputs, the connections that end here.

    Every sum adds the same terms in the same order as in `forward_rows`.
    """
    n_out, width, words = out.shape[0], out.shape[1], masks.shape[2]
    far = out.size * out.itemsize > FAR
    low, high = n_out * chunk // chunks, n_out * (chunk + 1) // chunks
    final, early = np.uint64(max(indices.shape[0] - 1, 0)), lead(out, step)
    for column in range(start, stop, step):
        for j in range(low, high):
            tiles.store(tiles.filled(zero, bias[j]), out, j * width + column)
        for i in range(indptr.shape[0] - 1):
            a = tiles.load(zero, activation, i * width + column)
            first, last = indptr[i], indptr[i + 1]
            if low:
                first = first_from(indices, first, last, low)
            if high < n_out:
                last = first_from(indices, first, last, high)
            for k in range(np.uint64(first), np.uint64(last)):
                if far:
                    ahead = np.int64(indices[min(k + early, final)])
                    if low <= ahead < high:
                        tiles.prefetch(zero, out, ahead * width + column)
                place = np.int64(indices[k]) * width + column
                tiles.store(tiles.multiply_add(weights[k], a, tiles.load(zero, out, place)), out, place)
        for j in range(low, high):
            tile = tiles.load(zero, out, j * width + column)
            bits = 2 * j * words + column // LANES
            tile = activate(tile, slope, masks, bits)
            if threshold:
                tile = draw_dropout(tile, j, key, sample_offset + column, threshold, masks, bits + words)
            tiles.store(tile, out, j * width + column)


@compiled()
def backward_rows(
    zero: Any, step: int, chunk: Any, chunks: int, start: int, stop: int, indptr: Any, indices: Any,
    weights: Any, velocity: Any, bias: Any, bias_velocity: Any, activation: Any, delta: Any, momentum: Any,
    learning_rate: Any, weight_decay: Any, update: bool, masks: Any, slope: Any, threshold: int, pass_down: bool,
) -> None:  # fmt: skip
    """Train the connections of a chunk of the input neurons, and a chunk of the biases."""
    first_row = chunk_start(indptr, chunk, chunks)
    last_row = chunk_start(indptr, chunk + 1, chunks)
    n_out, width, words = delta.shape[0], delta.shape[1], masks.shape[2]
    far = delta.size * delta.itemsize > FAR
    final, group = np.uint64(max(indices.shape[0] - 1, 0)), tiles.group_size(zero)
    several, early = np.uint64(group), lead(delta, step)
    for column in range(start, stop, step):
        write = update and column + step == stop
        rule = (momentum, learning_rate, ONE if write else ZERO, weight_decay if write else ZERO)
        for i in range(first_row, last_row):
            a = tiles.load(zero, activation, i * width + column)
            below = tiles.filled(zero, ZERO)
            first, last = np.uint64(indptr[i]), np.uint64(indptr[i + 1])
            single = last - (last - first) % several
            for k in range(first, single, several):
                if far:
                    for ahead in range(k + early, k + early + several):
                        tiles.prefetch(zero, delta, np.int64(indices[min(ahead, final)]) * width + column)
                below = tiles.train(group, a, below, delta, column, indices, k, weights, velocity, rule)
            for k in range(single, last):
                if far:
                    tiles.prefetch(zero, delta, np.int64(indices[min(k + early, final)]) * width + column)
                below = tiles.train(1, a, below, delta, column, indices, k, weights, velocity, rule)
            if pass_down:
                below = tiles.in_order(below, delta)
                bits = 2 * i * words + column // LANES
                sloped = tiles.multiply_add(slope, below, tiles.filled(zero, ZERO))
                below = tiles.choose(masks, bits, below, sloped)
                if threshold:
                    below = drop(below, masks, bits + words, threshold)
                tiles.store(below, activation, i * width + column)
        for j in range(n_out * chunk // chunks, n_out * (chunk + 1) // chunks):
            g = tiles.add_samples(tiles.load(zero, delta, j * width + column))
            v = momentum * bias_velocity[j] - learning_rate * g
            bias_velocity[j] = v
            if write:
                bias[j] += v - weight_decay * bias[j]
        momentum = ONE


@compiled()
def gather_rows(zero: Any, step: int, chunk: Any, chunks: int, x: Any, order: Any, out: Any) -> None:
    """Gather a chunk of the features: blocks of 16, then the rest."""
    n, width = out.shape
    blocks = n // LANES
    for s in range(0, width, step):
        for block in range(blocks * chunk // chunks, blocks * (chunk + 1) // chunks):
            tiles.transpose_block(zero, x, order, s, LANES * block, out)
    if chunk == 0:
        for f in range(LANES * blocks, n):
            for s in range(width):
                put(out, f * width + s, x[order[s], f] if s < order.shape[0] else ZERO)
