"""Threaded loops over a layer's connections: forward, backward with update, gather.

`forward` walks the output neurons, `backward` the input neurons; each holds a tile of samples of its
neuron in registers (:mod:`tsnn.kernels.vectors`) while the stripes of the neighbours stream by.

A kernel is compiled for a number of samples per tile at its first call, then kept on disk. Other
layer sizes, depths, slopes and dropout rates compile nothing.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

from tsnn.kernels.bfloat16 import GROUP, put
from tsnn.kernels.compiling import compiled
from tsnn.kernels.rows import (
    TILE,
    backward_rows,
    forward_rows,
    gather_rows,
    scatter_rows,
    segment_rows,
    tiles,
)
from tsnn.tiling import LANES


def dropout_threshold(p: float) -> int:
    """Turn a dropout probability 0 <= p < 1 into the integer that `forward` and `backward` take."""
    return round(p * 2.0**32)


def split_columns(width: int) -> list[tuple[int, int, int]]:
    """Split the columns into full tiles and a rest: (samples per tile, first column, last column)."""
    rest = width % TILE
    return [part for part in ((TILE, 0, width - rest), (rest, width - rest, width)) if part[1] < part[2]]


# One loop per kernel: a loop that takes its kernel as a closure variable is never found in Numba's cache, whose key
# includes closures, and a kernel has another key in every process. A single thread skips the parallel region: 10 us.
@functools.cache
def segment_loop(size: int) -> Any:
    """Make the threaded loop over `segment_rows` for tiles of `size` samples."""

    @compiled(parallel=True)
    def loop(chunks, *args):  # type: ignore[no-untyped-def]
        if chunks == 1:
            segment_rows(tiles.zeros(size), size, 0, 1, *args)
        else:
            for chunk in prange(chunks):
                segment_rows(tiles.zeros(size), size, np.int64(chunk), chunks, *args)

    return loop


@functools.cache
def forward_loop(size: int) -> Any:
    """Make the threaded loop over `forward_rows` for tiles of `size` samples."""

    @compiled(parallel=True)
    def loop(chunks, *args):  # type: ignore[no-untyped-def]
        if chunks == 1:
            forward_rows(tiles.zeros(size), size, 0, 1, *args)
        else:
            for chunk in prange(chunks):
                forward_rows(tiles.zeros(size), size, np.int64(chunk), chunks, *args)

    return loop


@functools.cache
def scatter_loop(size: int) -> Any:
    """Make the threaded loop over `scatter_rows` for tiles of `size` samples."""

    @compiled(parallel=True)
    def loop(chunks, *args):  # type: ignore[no-untyped-def]
        if chunks == 1:
            scatter_rows(tiles.zeros(size), size, 0, 1, *args)
        else:
            for chunk in prange(chunks):
                scatter_rows(tiles.zeros(size), size, np.int64(chunk), chunks, *args)

    return loop


@functools.cache
def backward_loop(size: int) -> Any:
    """Make the threaded loop over `backward_rows` for tiles of `size` samples."""

    @compiled(parallel=True)
    def loop(chunks, *args):  # type: ignore[no-untyped-def]
        if chunks == 1:
            backward_rows(tiles.zeros(size), size, 0, 1, *args)
        else:
            for chunk in prange(chunks):
                backward_rows(tiles.zeros(size), size, np.int64(chunk), chunks, *args)

    return loop


def forward(
    t_indptr: NDArray[np.int64],
    t_indices: NDArray[np.int32],
    t_perm: NDArray[np.int32],
    weights: NDArray[np.float32],
    bias: NDArray[np.float32],
    activation: NDArray[np.float32],
    slope: float,
    threshold: int,
    key: int,
    sample_offset: int,
    segments: NDArray[np.int64],
    partial: NDArray[np.float32],
    out: NDArray[np.float32],
    masks: NDArray[np.uint16],
) -> None:
    """Compute one layer: out = dropout(f(W^T activation + bias)).

    Traffic per connection and 16 samples: 64 bytes of activations, mostly from L2, which is the limit;
    12 bytes of weight, index and permutation per tile.

    Parameters
    ----------
    t_indptr, t_indices, t_perm : int64[n_out + 1], int32[m], int32[m]
        Transposed view of the pattern: the inputs of each output neuron.
    weights, bias : float32[m], float32[n_out]
        In CSR order of the pattern itself.
    activation : float32[n_in, B]
        The layer's input.
    slope : float
        f(z) = z for z > 0, else slope * z.
    threshold : int
        ``dropout_threshold(p)``; 0 is no dropout.
    key : int
        In [0, 2**63); unique for each step and layer.
    sample_offset : int
        Number within the batch of the first sample: a micro-batch gets the dropout of the whole.
    segments, partial : int64[k, 2], float32[k, B]
        ``long_row_segments(t_indptr)``, and scratch.
    out : float32[n_out, B]
        Written.
    masks : uint16[n_out, 2, words]
        Written; bit b of word v belongs to sample 16 v + b. ``[:, 0]``: z > 0; ``[:, 1]``: kept by
        dropout, untouched if threshold is 0.
    """
    chunks = numba.get_num_threads()
    view = (t_indptr, t_indices, t_perm, weights, activation)
    for size, start, stop in split_columns(out.shape[1]):
        if len(segments):
            segment_loop(size)(chunks, start, stop, *view, segments, partial)
        forward_loop(size)(
            chunks, start, stop, *view, bias, np.float32(slope), threshold, key, sample_offset, segments,
            partial, out, masks,
        )  # fmt: skip


def scatter_is_faster(connections: int, activation: NDArray[Any]) -> bool:
    """Return whether `scatter` computes the same bits faster than `forward`.

    One thread does, 1.3 to 2.3 times for 8 to 32 samples, once the weights have left the L2 cache: `forward` reads
    them in another order than they are stored. A single sample does always: each of its sums waits for the last
    addition in `forward`.
    """
    if activation.shape[1] == 1:
        return True
    few = activation.shape[1] <= 2 * LANES and activation.dtype == np.float32
    return few and 4 * connections > 1 << 20 and numba.get_num_threads() == 1


def scatter(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    weights: NDArray[np.float32],
    bias: NDArray[np.float32],
    activation: NDArray[np.float32],
    slope: float,
    threshold: int,
    key: int,
    sample_offset: int,
    out: NDArray[np.float32],
    masks: NDArray[np.uint16],
) -> None:
    """Compute one layer as `forward` does, but from the pattern itself: 12 instead of 20 bytes per connection.

    Each thread owns a range of output neurons and passes through all connections, adding those that end in its range.
    Traffic per connection and 16 samples: 64 bytes read and 64 written, at random places of `out`.

    Parameters
    ----------
    indptr, indices : int64[n_in + 1], int32[m]
        The pattern: the outputs of each input neuron.
    weights, bias, activation, slope, threshold, key, sample_offset, out, masks
        See `forward`. Sums of very many terms (see SEGMENT) are more exact there.
    """
    chunks = numba.get_num_threads()
    for size, start, stop in split_columns(out.shape[1]):
        scatter_loop(size)(
            chunks, start, stop, indptr, indices, weights, activation, bias, np.float32(slope), threshold, key,
            sample_offset, out, masks,
        )  # fmt: skip


def backward(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    weights: NDArray[np.float32],
    velocity: NDArray[np.float32],
    bias: NDArray[np.float32],
    bias_velocity: NDArray[np.float32],
    activation: NDArray[np.float32],
    delta: NDArray[np.float32],
    momentum: float,
    learning_rate: float,
    weight_decay: float,
    update: bool,
    masks: NDArray[np.uint16],
    slope: float,
    threshold: int,
    pass_down: bool,
) -> None:
    """Backpropagate through one layer and train it, in one pass over its connections.

    With g the gradient of a connection, v <- momentum v - learning_rate g; then, if `update`,
    w <- w + v - weight_decay w. The delta that is passed down uses the old w. Biases the same.

    - A batch in micro-batches: `momentum` with the first, 1.0 with the others, `update` with the last.
      (The tiles of a wide batch are micro-batches, too.)
    - The gradient alone: zeroed velocities, momentum 1.0, learning_rate -1.0, update False. It is
      found, or added to what was there, in the velocities.

    Traffic per connection and 16 samples: 64 bytes of deltas, mostly from L2, which is the limit, for
    three multiply-adds a byte more than `forward`; 20 bytes of weight, velocity and index per tile.

    Parameters
    ----------
    indptr, indices : int64[n_in + 1], int32[m]
        The pattern: the outputs of each input neuron.
    weights, velocity, bias, bias_velocity : float32[m], float32[m], float32[n_out], float32[n_out]
        Changed in place.
    activation : float32[n_in, B]
        The layer's input. Replaced by dLoss/dz of the layer below if `pass_down`.
    delta : float32[n_out, B]
        dLoss/dz of the layer's output, which contains the 1 / batch.
    momentum, learning_rate, weight_decay : float
        The update rule.
    update : bool
        Whether the weights change, or the velocities only.
    masks, slope, threshold : uint16[n_in, 2, words], float, int
        Of the layer below, as in its `forward`; read if `pass_down`.
    pass_down : bool
        Whether there is a layer below.
    """
    chunks, width = numba.get_num_threads(), delta.shape[1]
    layer = (indptr, indices, weights, velocity, bias, bias_velocity, activation, delta)
    rates = (np.float32(learning_rate), np.float32(weight_decay))
    below = (masks, np.float32(slope), threshold, pass_down)
    for size, start, stop in split_columns(width):
        last = update and stop == width
        backward_loop(size)(chunks, start, stop, *layer, np.float32(momentum), *rates, last, *below)
        momentum = 1.0


@functools.cache
def gather_loop(size: int) -> Any:
    """Make the threaded loop over `gather_rows` for blocks of `size` samples."""

    @compiled(parallel=True)
    def loop(chunks, *args):  # type: ignore[no-untyped-def]
        if chunks == 1:
            gather_rows(tiles.zeros(size), size, 0, 1, *args)
        else:
            for chunk in prange(chunks):
                gather_rows(tiles.zeros(size), size, np.int64(chunk), chunks, *args)

    return loop


def gather(x: NDArray[np.float32], order: NDArray[np.int64], out: NDArray[np.float32]) -> None:
    """Write out[:, s] = x[order[s]]: float32[samples, n], int64[b], 1 <= b <= B -> float32[n, B].

    Padded columns become 0. Blocks of 16 x 16 are transposed in registers; memory is the limit.
    """
    size = 2 * LANES if out.dtype == np.uint16 else min(out.shape[1], LANES) or LANES
    gather_loop(size)(numba.get_num_threads(), x, order, out)


@compiled(parallel=True)
def gather_sparse_loop(
    chunks: int, indptr: Any, indices: Any, values: Any, scale: Any, order: Any, out: Any
) -> None:  # fmt: skip
    """Write the features of a chunk of the samples per thread, whole groups of them."""
    groups = -(-out.shape[1] // GROUP)
    for chunk in prange(chunks):
        start, stop = GROUP * (groups * chunk // chunks), GROUP * (groups * (chunk + 1) // chunks)
        out[:, start:stop] = 0
        for s in range(start, min(stop, order.shape[0])):
            for k in range(indptr[order[s]], indptr[order[s] + 1]):
                put(out, np.int64(indices[k]) * out.shape[1] + s, values[k] * scale[indices[k]])


def gather_sparse(
    indptr: NDArray[np.int64], indices: NDArray[np.int32], values: NDArray[np.float32], scale: NDArray[np.float32],
    order: NDArray[np.int64], out: NDArray[np.float32],
) -> None:  # fmt: skip
    """Write out[:, s] = scale * x[order[s]] for x in CSR: int64[samples + 1], int32[k], float32[k], float32[n].

    int64[b], 1 <= b <= B -> float32[n, B]; padded columns become 0.
    """
    gather_sparse_loop(numba.get_num_threads(), indptr, indices, values, scale, order, out)
