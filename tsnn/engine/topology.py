"""Topologies: patterns of connections, and their random generation.

A set of connections is a :class:`Topology`, CSR with its transposed view; sorted *keys* ``i * n_out + j`` (int64)
are the same pattern in one array. No array of size ``n_in * n_out`` ever exists, unless the
layer itself is that dense, and drawing one takes no temporary of 8 bytes per connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.arrays import fits_kernels, kernel_array
from tsnn.errors import TopologyError

Int64 = NDArray[np.int64]
Int32 = NDArray[np.int32]
Bools = NDArray[np.bool_]

PIECE = 1 << 20  # random numbers that are drawn at a time


@dataclass(frozen=True, eq=False)
class Topology:
    """The connections of one layer, without their weights. Immutable.

    The transposed view, 8 bytes per connection, is made when it is first used.

    Attributes
    ----------
    n_in, n_out : int
        Neurons at the start and at the end.
    indptr : int64[n_in + 1], indices : int32[connections]
        CSR by input neuron: input ``i`` reaches outputs ``indices[indptr[i]:indptr[i + 1]]``, ascending.
        Weights, velocity and gradient of a layer are aligned to ``indices``.
    t_indptr : int64[n_out + 1], t_indices : int32[connections], t_perm : int32[connections]
        The transposed view that the forward pass walks: output ``j`` is reached from inputs
        ``t_indices[t_indptr[j]:t_indptr[j + 1]]`` by the weights at positions ``t_perm[...]``.
    """

    n_in: int
    n_out: int
    indptr: Int64
    indices: Int32

    @classmethod
    def from_csr(cls, indptr: Int64, indices: Int32, n_out: int) -> Topology:
        """Build a topology from CSR arrays, after checking them.

        Raises
        ------
        TopologyError
            If the arrays are no CSR pattern with sorted, distinct columns below ``n_out``.
        """
        indptr = np.ascontiguousarray(indptr, dtype=np.int64)
        indices = np.asarray(indices)
        _check_size(len(indptr) - 1, n_out, len(indices))
        if indptr[0] != 0 or indptr[-1] != len(indices) or (np.diff(indptr) < 0).any():
            raise TopologyError("Row pointers must rise from 0 to the number of connections.")
        if len(indices) and (indices.min() < 0 or indices.max() >= n_out):
            raise TopologyError(f"Column indices must lie in 0 to {n_out - 1}, got up to {indices.max()}.")
        starts_row = np.zeros(len(indices) + 1, dtype=bool)
        starts_row[indptr] = True
        if (~starts_row[1:-1] & (indices[1:] <= indices[:-1])).any():
            raise TopologyError("Column indices must rise within each row, without repeats.")
        return cls.from_sorted(indptr, np.ascontiguousarray(indices, dtype=np.int32), n_out)

    @classmethod
    def from_keys(cls, keys: Int64, n_in: int, n_out: int) -> Topology:
        """Build a topology from sorted, distinct keys ``i * n_out + j``; O(connections)."""
        _check_size(n_in, n_out, len(keys))
        rows = keys // n_out
        indices = (keys - rows * n_out).astype(np.int32)
        indptr = np.zeros(n_in + 1, dtype=np.int64)
        np.cumsum(np.bincount(rows, minlength=n_in), out=indptr[1:])
        return cls.from_sorted(indptr, indices, n_out)

    @classmethod
    def from_sorted(cls, indptr: Int64, indices: Int32, n_out: int) -> Topology:
        """Build a topology from CSR arrays that are sorted and distinct, unchecked; O(connections)."""
        return cls(len(indptr) - 1, n_out, indptr, indices)

    @cached_property
    def transposed(self) -> tuple[Int64, Int32, Int32]:
        """The transposed view: ``t_indptr``, ``t_indices``, ``t_perm``."""
        return kernels.transpose_pattern(self.indptr, self.indices, self.n_out)

    @property
    def t_indptr(self) -> Int64:
        """Row pointers of the transposed view, int64[n_out + 1]."""
        return self.transposed[0]

    @property
    def t_indices(self) -> Int32:
        """Input neurons of the transposed view, int32[connections]."""
        return self.transposed[1]

    @property
    def t_perm(self) -> Int32:
        """Positions of the transposed view's connections in CSR order, int32[connections]."""
        return self.transposed[2]

    def for_kernels(self) -> Topology:
        """Return a topology whose arrays kernels can take (:mod:`tsnn.arrays`): this one, if it is such."""
        if all(map(fits_kernels, (self.indptr, self.indices, *self.__dict__.get("transposed", ())))):
            return self
        indptr, indices = kernel_array(self.indptr, np.int64), kernel_array(self.indices, np.int32)
        return Topology(self.n_in, self.n_out, indptr, indices)

    def release(self) -> None:
        """Free the memory of the transposed view; it is made again when it is needed."""
        self.__dict__.pop("transposed", None)

    @property
    def connections(self) -> int:
        """Number of connections."""
        return len(self.indices)

    @property
    def density(self) -> float:
        """Fraction of all possible connections that exist."""
        return self.connections / (self.n_in * self.n_out)

    @property
    def out_degree(self) -> Int64:
        """Outgoing connections of each input neuron, int64[n_in]."""
        return np.diff(self.indptr)

    @property
    def in_degree(self) -> Int64:
        """Incoming connections of each output neuron, int64[n_out]."""
        if "transposed" in self.__dict__:
            return np.diff(self.t_indptr)
        degrees = np.zeros(self.n_out, np.int64)
        kernels.count(self.indices, degrees)
        return degrees

    def rows(self) -> Int64:
        """Return the input neuron of each connection, int64[connections]."""
        return np.repeat(np.arange(self.n_in), self.out_degree)

    def keys(self) -> Int64:
        """Return the sorted keys ``i * n_out + j``, int64[connections]."""
        keys = self.rows()
        keys *= self.n_out
        keys += self.indices
        return keys

    @cached_property
    def segments(self) -> Int64:
        """The pieces in which the forward pass sums neurons with very many inputs, int64[k, 2]."""
        return kernels.long_row_segments(self.t_indptr)


def erdos_renyi(n_in: int, n_out: int, connections: int, *, rng: np.random.Generator) -> Topology:
    """Draw a topology uniformly among all with this number of connections.

    Parameters
    ----------
    n_in, n_out : int
        Neurons at the start and at the end, at least 1 each.
    connections : int
        Exact number of connections, 0 to ``n_in * n_out``.
    rng : numpy.random.Generator
        Source of randomness.

    Raises
    ------
    TopologyError
        If the numbers do not fit together or exceed what 32-bit indices can hold.

    Notes
    -----
    Time is O(connections), and no memory is used beyond the result: algorithms of SET on wide layers must
    never form the dense mask.
    """
    _check_size(n_in, n_out, connections)
    return Topology.from_sorted(*draw_free(n_in, n_out, connections, rng=rng), n_out)


def draw_free(
    n_in: int, n_out: int, count: int, *, rng: np.random.Generator,
    taken: tuple[Int64, Int32, Bools] | None = None, rows: Int64 | None = None, columns: Int64 | None = None,
) -> tuple[Int64, Int32]:  # fmt: skip
    """Draw distinct positions uniformly among the free ones.

    Parameters
    ----------
    n_in, n_out : int
        Neurons on both sides.
    count : int
        How many to draw.
    rng : numpy.random.Generator
        Source of randomness.
    taken : (int64[n_in + 1], int32[m], bool[m]), optional
        CSR pattern, and which of its connections may not be drawn; all within ``rows`` and ``columns``.
    rows, columns : int64[r], int64[c], optional
        The neurons among which to draw, ascending; all if left out.

    Returns
    -------
    indptr, indices : int64[n_in + 1], int32[count]
        CSR pattern, sorted.

    Raises
    ------
    TopologyError
        If fewer than ``count`` positions are free.

    Notes
    -----
    Positions are drawn with replacement and those already taken are drawn again, which leaves every set of free
    positions equally likely. Most are drawn at once, as the number in each row and then their columns, so that
    only rows need to be sorted. Once more than half of the space would be taken, the free positions are passed
    through and selected from instead; the work is O(len(taken) + count) in either case.
    """
    if taken is None:
        taken = np.zeros(n_in + 1, np.int64), np.empty(0, np.int32), np.empty(0, bool)
    space = (n_in if rows is None else len(rows)) * (n_out if columns is None else len(columns))
    occupied = int(np.count_nonzero(taken[2]))
    if not 0 <= count <= space - occupied:
        raise TopologyError(f"{count} new connections do not fit: {space - occupied} of {space} positions are free.")
    indptr, indices = np.zeros(n_in + 1, np.int64), np.empty(count, np.int32)
    if 2 * (occupied + count) > space:
        _select(indptr, indices, space - occupied, n_out, taken, rows, columns, rng)
        return indptr, indices
    for draw in _pieces(count):
        kernels.count(_draw(n_in, rows, len(draw), rng), indptr[1:])
    np.cumsum(indptr, out=indptr)
    for draw in _pieces(count):
        indices[draw.start : draw.stop] = _draw(n_out, columns, len(draw), rng)
    kernels.sort_rows(indptr, indices)
    drawn = kernels.keep_free(indptr, indices, *taken)
    while drawn < count:
        keys = _draw(n_in, rows, count - drawn, rng).astype(np.int64) * n_out
        keys += _draw(n_out, columns, count - drawn, rng)
        keys.sort()
        drawn = kernels.add_free(indptr, indices, keys[np.append(True, keys[1:] != keys[:-1])], n_out, *taken)
    return indptr, indices


def _select(
    indptr: Int64, indices: Int32, free: int, n_out: int, taken: tuple[Int64, Int32, Bools], rows: Int64 | None,
    columns: Int64 | None, rng: np.random.Generator,
) -> None:  # fmt: skip
    """Pass through the free positions in blocks of rows and select ``len(indices)`` of them."""
    rows = np.arange(len(indptr) - 1) if rows is None else rows
    columns = np.arange(n_out) if columns is None else columns
    step, need, left = max(1, PIECE // max(1, len(columns))), len(indices), free
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        uniform = rng.random(len(block) * len(columns))
        need, left = kernels.select_free(block, columns, need, left, uniform, *taken, indptr, indices)
    np.cumsum(indptr, out=indptr)


def _pieces(count: int) -> Iterator[range]:
    for start in range(0, count, PIECE):
        yield range(start, min(start + PIECE, count))


def _draw(n: int, chosen: Int64 | None, count: int, rng: np.random.Generator) -> Int32:
    """Draw neurons with replacement, int32[count]."""
    if chosen is None:
        return rng.integers(n, size=count, dtype=np.int32)
    drawn: Int32 = chosen[rng.integers(len(chosen), size=count, dtype=np.int32)].astype(np.int32)
    return drawn


def _check_size(n_in: int, n_out: int, connections: int) -> None:
    limit = np.iinfo(np.int32).max
    if n_in < 1 or n_out < 1:
        raise TopologyError(f"A layer needs at least one neuron on each side, got {n_in} and {n_out}.")
    if max(n_in, n_out, connections) > limit:
        raise TopologyError(
            f"A layer of {n_in} x {n_out} neurons with {connections} connections exceeds the 32-bit indices "
            f"(at most {limit} of each). Try a smaller epsilon or density, or narrower layers."
        )
    if connections > n_in * n_out:
        raise TopologyError(f"{connections} connections do not fit between {n_in} and {n_out} neurons.")
