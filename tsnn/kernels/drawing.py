"""Compiled loops of topology drawing and pruning: O(connections) time, no temporary of 8 bytes per connection.

Patterns are CSR: ``indptr`` int64[n_in + 1], ``indices`` int32[m], ascending in each row. ``taken`` and ``counts``, a
pattern and bool[m], mark the connections that may not be drawn. Random numbers come in as arguments.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

from tsnn.kernels.compiling import compiled
from tsnn.kernels.rows import chunk_start, first_from

SHORT = 48  # rows and pieces of rows up to this length are sorted by insertion

Int64 = NDArray[np.int64]
Int32 = NDArray[np.int32]
Bools = NDArray[np.bool_]


@compiled()
def count(values: Int32, counts: Int64) -> None:
    """Add to counts[v] how often v occurs: int32[k] -> int64[n]."""
    for k in range(values.shape[0]):
        counts[values[k]] += 1


@compiled()
def sort_long(values: Int32, first: int, last: int) -> None:
    """Sort values[first:last] down to short unsorted pieces, each of which is not above the next (quicksort)."""
    starts, stops = np.empty(64, np.int64), np.empty(64, np.int64)
    starts[0], stops[0], waiting = first, last - 1, 1
    while waiting:
        waiting -= 1
        low, high = starts[waiting], stops[waiting]
        while high - low >= SHORT:
            middle = (low + high) >> 1
            a, b, c = values[low], values[middle], values[high]
            pivot = max(min(a, b), min(max(a, b), c))
            i, j = low, high
            while i <= j:
                while values[i] < pivot:
                    i += 1
                while values[j] > pivot:
                    j -= 1
                if i <= j:
                    values[i], values[j] = values[j], values[i]
                    i, j = i + 1, j - 1
            if j - low > high - i:  # the longer piece waits, so that few do
                starts[waiting], stops[waiting], low = low, j, i
            else:
                starts[waiting], stops[waiting], high = i, high, j
            waiting += 1


@compiled()
def sort_chunk(chunk: Any, chunks: int, indptr: Int64, indices: Int32) -> None:
    """Sort a chunk of the rows."""
    for i in range(chunk_start(indptr, chunk, chunks), chunk_start(indptr, chunk + 1, chunks)):
        first, last = indptr[i], indptr[i + 1]
        if last - first > SHORT:
            sort_long(indices, first, last)
        for k in range(first + 1, last):
            value, at = indices[k], k
            while at > first and indices[at - 1] > value:
                indices[at] = indices[at - 1]
                at -= 1
            indices[at] = value


@compiled(parallel=True)
def sort_loop(chunks: int, indptr: Int64, indices: Int32) -> None:
    """Run `sort_chunk` on all threads."""
    for chunk in prange(chunks):
        sort_chunk(np.int64(chunk), chunks, indptr, indices)


def sort_rows(indptr: Int64, indices: Int32) -> None:
    """Sort each row of int32[m] in place."""
    sort_loop(numba.get_num_threads(), indptr, indices)


@compiled()
def keep_free(indptr: Int64, indices: Int32, taken_indptr: Int64, taken: Int32, counts: Bools) -> int:
    """Drop repeated and taken positions from sorted rows, in place; returns the number left."""
    at, start = 0, indptr[0]
    for i in range(indptr.shape[0] - 1):
        stop, o, previous = indptr[i + 1], taken_indptr[i], -1
        for k in range(start, stop):
            j = indices[k]
            if j == previous:
                continue
            previous = j
            while o < taken_indptr[i + 1] and taken[o] < j:
                o += 1
            if o < taken_indptr[i + 1] and taken[o] == j and counts[o]:
                continue
            indices[at] = j
            at += 1
        start = stop
        indptr[i + 1] = at
    return at


@compiled(inline=True)
def find(values: Int32, first: int, last: int, value: int) -> int:
    """Return the position of a value in values[first:last], ascending; -1 if it is absent."""
    at = first_from(values, first, last, value)
    return at if at < last and values[at] == value else -1


@compiled()
def add_free(
    indptr: Int64, indices: Int32, keys: Int64, n_out: int, taken_indptr: Int64, taken: Int32, counts: Bools
) -> int:
    """Insert those of the keys that are free into a pattern, in place; returns its number of connections.

    `indices` has room after its indptr[-1] connections; keys ``i * n_out + j`` ascend and are overwritten.
    """
    accepted, n_in = 0, indptr.shape[0] - 1
    for key in keys:
        i = key // n_out
        j = key - i * n_out
        o = find(taken, taken_indptr[i], taken_indptr[i + 1], j)
        if find(indices, indptr[i], indptr[i + 1], j) < 0 and (o < 0 or not counts[o]):
            keys[accepted] = key
            accepted += 1
    old, new = indptr[n_in] - 1, accepted - 1
    for i in range(n_in - 1, -1, -1):
        indptr[i + 1] = old + new + 2
        while new >= 0 and keys[new] >= i * n_out:
            j = keys[new] - i * n_out
            if old >= indptr[i] and indices[old] > j:
                indices[old + new + 1] = indices[old]
                old -= 1
            else:
                indices[old + new + 1] = j
                new -= 1
        while new >= 0 and old >= indptr[i]:
            indices[old + new + 1] = indices[old]
            old -= 1
        if new < 0:
            break
    return int(indptr[n_in])


@compiled()
def select_free(
    rows: Int64, columns: Int64, need: int, left: int, uniform: NDArray[np.float64], taken_indptr: Int64,
    taken: Int32, counts: Bools, indptr: Int64, indices: Int32,
) -> tuple[int, int]:  # fmt: skip
    """Select free positions in some rows, each set equally likely (selection sampling, Knuth's algorithm S).

    Parameters
    ----------
    rows, columns : int64[r], int64[c]
        Candidate rows and columns, ascending.
    need, left : int
        Positions to select, and free positions, in these and the following rows.
    uniform : float64[r * c]
        Uniform on [0, 1).
    taken_indptr, taken, counts
        The positions that are not free.
    indptr, indices : int64[n_in + 1], int32[m]
        Written: the number of connections of row i at indptr[i + 1], their columns from position
        ``indices.shape[0] - need`` on, after the columns selected before.

    Returns
    -------
    need, left : int
        Remainders for the following rows.
    """
    draw, at = 0, indices.shape[0] - need
    for i in rows:
        o = taken_indptr[i]
        for j in columns:
            while o < taken_indptr[i + 1] and taken[o] < j:
                o += 1
            if o < taken_indptr[i + 1] and taken[o] == j and counts[o]:
                continue
            if uniform[draw] * left < need:
                indices[at] = j
                at += 1
                need -= 1
                indptr[i + 1] += 1
            left -= 1
            draw += 1
    return need, left


@compiled(inline=True)
def magnitude(bits: int, sign: int) -> int:
    """Return the bits of |w|, of which larger ones have larger numbers; more than 31 bits if w has another sign."""
    number = np.int64(bits) * (bits != 0x80000000)  # -0.0 is 0.0
    return int(number & 0x7FFFFFFF if sign == 2 else number ^ (sign << 31))


@compiled(inline=True)
def passed(histogram: Int64, number: int) -> tuple[int, int]:
    """Return the place in which a number of counted values is reached, and how many are needed there."""
    place = 0
    while histogram[place] < number:
        number -= histogram[place]
        place += 1
    return place, number


@compiled()
def drop_smallest(bits: NDArray[np.uint32], sign: int, number: int, survives: Bools) -> None:
    """Mark the `number` weights of smallest magnitude as dropped: survives[k] = False.

    Selection by a histogram over the highest bits of the magnitude, and by two more over the others of the weights in
    the place that it finds; ties are dropped in order.

    Parameters
    ----------
    bits : uint32[m]
        The bits of float32 weights.
    sign : int
        0 selects weights >= 0, 1 those < 0, 2 all.
    number : int
        How many of the selected weights that survive to drop.
    survives : bool[m]
        Changed in place.
    """
    if number == 0:
        return
    histogram = np.zeros(1 << 11, np.int64)
    for k in range(bits.shape[0]):
        size = magnitude(bits[k], sign)
        here = survives[k] and size >> 31 == 0
        histogram[(size >> 20) & 0x7FF] += here  # no branch: it would be unpredictable
    prefix, remaining = passed(histogram, number)
    near, count = np.empty(histogram[prefix] + 1, np.int64), 0
    for k in range(bits.shape[0]):
        place = magnitude(bits[k], sign) >> 20
        near[count] = k
        count += survives[k] and place == prefix
        survives[k] = survives[k] and place >= prefix
    near = near[:count]
    for shift in (10, 0):
        histogram = np.zeros(1 << 10, np.int64)
        for k in near:
            size = magnitude(bits[k], sign)
            histogram[(size >> shift) & 0x3FF] += size >> (shift + 10) == prefix
        place, remaining = passed(histogram, remaining)
        prefix = (prefix << 10) + place
    for k in near:
        size = magnitude(bits[k], sign)
        if size < prefix:
            survives[k] = False
        elif size == prefix and remaining:
            survives[k] = False
            remaining -= 1


@compiled()
def gradient_chunk(
    chunk: Any, chunks: int, indptr: Int64, indices: Int32, activation: Any, delta: Any, out: Any
) -> None:
    """Compute a chunk of the gradients."""
    for i in range(chunk_start(indptr, chunk, chunks), chunk_start(indptr, chunk + 1, chunks)):
        for k in range(indptr[i], indptr[i + 1]):
            total = np.float32(0)
            for s in range(delta.shape[1]):
                total += activation[i, s] * delta[indices[k], s]
            out[k] += total


@compiled(parallel=True)
def gradient_loop(chunks: int, indptr: Int64, indices: Int32, activation: Any, delta: Any, out: Any) -> None:
    """Run `gradient_chunk` on all threads."""
    for chunk in prange(chunks):
        gradient_chunk(np.int64(chunk), chunks, indptr, indices, activation, delta, out)


def add_gradient(
    indptr: Int64,
    indices: Int32,
    activation: NDArray[np.float32],
    delta: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Add the gradient at the positions of a pattern: float32[n_in, B], float32[n_out, B] -> float32[m]."""
    gradient_loop(numba.get_num_threads(), indptr, indices, activation, delta, out)
