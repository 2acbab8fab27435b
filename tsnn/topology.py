"""Topologies: which connections exist, and how they are drawn at random.

A set of connections is written in two ways. As a :class:`Topology`, CSR with its transposed view,
for computing; as sorted *keys* ``i * n_out + j`` (int64), for changing it. No array of size
``n_in * n_out`` ever exists, unless the layer itself is that dense.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.errors import TopologyError

Int64 = NDArray[np.int64]
Int32 = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Topology:
    """The connections of one layer, without their weights. Immutable.

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
    t_indptr: Int64
    t_indices: Int32
    t_perm: Int32

    @classmethod
    def from_csr(cls, indptr: Int64, indices: Int32, n_out: int) -> Topology:
        """Build a topology from CSR arrays that come from outside, after checking them.

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
        if (~starts_row[1:-1] & (np.diff(indices.astype(np.int64)) <= 0)).any():
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
        """Build a topology from CSR arrays that are known to be sorted and distinct; O(connections)."""
        return cls(len(indptr) - 1, n_out, indptr, indices, *kernels.transpose_pattern(indptr, indices, n_out))

    @property
    def connections(self) -> int:
        """Number of connections."""
        return len(self.indices)

    @property
    def density(self) -> float:
        """Share of all possible connections that exist."""
        return self.connections / (self.n_in * self.n_out)

    @property
    def out_degree(self) -> Int64:
        """Outgoing connections of each input neuron, int64[n_in]."""
        return np.diff(self.indptr)

    @property
    def in_degree(self) -> Int64:
        """Incoming connections of each output neuron, int64[n_out]."""
        return np.diff(self.t_indptr)

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


def epsilon_to_connections(epsilon: float, n_in: int, n_out: int) -> int:
    """Return the number of connections that epsilon stands for: ``epsilon (n_in + n_out)``, at most dense.

    The Erdős–Rényi probability of SET is ``p = epsilon (n_in + n_out) / (n_in n_out)``
    (Nature Communications 2018, Methods); the layer gets exactly ``round(p n_in n_out)`` connections, or all.
    """
    return min(round(epsilon * (n_in + n_out)), n_in * n_out)


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
    Time and memory are O(connections): algorithms of SET on wide layers must never form the dense mask.
    """
    _check_size(n_in, n_out, connections)
    return Topology.from_keys(draw_free_keys(_NO_KEYS, n_in * n_out, connections, rng=rng), n_in, n_out)


def draw_free_keys(occupied: Int64, space: int, count: int, *, rng: np.random.Generator) -> Int64:
    """Draw distinct keys uniformly among the free ones.

    Parameters
    ----------
    occupied : int64[n]
        Sorted, distinct keys that may not be drawn.
    space : int
        Keys run from 0 to ``space - 1``.
    count : int
        How many to draw.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    keys : int64[count]
        Sorted.

    Raises
    ------
    TopologyError
        If fewer than ``count`` keys are free.

    Notes
    -----
    Keys are drawn with replacement and those already taken are drawn again, which leaves every set of free
    keys equally likely. Once more than half of the space would be taken, the free keys are listed instead
    and chosen from, so the work is O(len(occupied) + count) in either case.
    """
    free = space - len(occupied)
    if not 0 <= count <= free:
        raise TopologyError(f"{count} new connections do not fit: {free} of {space} positions are free.")
    if 2 * (len(occupied) + count) > space:
        is_free = np.ones(space, dtype=bool)
        is_free[occupied] = False
        candidates = np.flatnonzero(is_free)
        if count < free:
            candidates = np.sort(rng.choice(candidates, size=count, replace=False, shuffle=False))
        return candidates
    drawn = _NO_KEYS
    while len(drawn) < count:
        more = np.sort(rng.integers(space, size=count - len(drawn)))
        more = more[~_found_in(occupied, more)]
        merged = np.sort(np.concatenate([drawn, more]), kind="stable")
        drawn = merged[np.append(True, merged[1:] != merged[:-1])] if len(merged) else merged
    return drawn


_NO_KEYS: Int64 = np.empty(0, dtype=np.int64)


def _found_in(sorted_keys: Int64, wanted: Int64) -> NDArray[np.bool_]:
    """Tell which of the wanted keys are among the sorted ones, bool[len(wanted)]."""
    if not len(sorted_keys):
        return np.zeros(len(wanted), dtype=bool)
    position = np.minimum(np.searchsorted(sorted_keys, wanted), len(sorted_keys) - 1)
    found: NDArray[np.bool_] = sorted_keys[position] == wanted
    return found


def _check_size(n_in: int, n_out: int, connections: int) -> None:
    limit = np.iinfo(np.int32).max
    if n_in < 1 or n_out < 1:
        raise TopologyError(f"A layer needs at least one neuron on each side, got {n_in} and {n_out}.")
    if max(n_in, n_out, connections) > limit:
        raise TopologyError(
            f"A layer of {n_in} x {n_out} neurons with {connections} connections exceeds the 32-bit indices "
            f"(at most {limit} of each). Try a smaller epsilon or narrower layers."
        )
    if connections > n_in * n_out:
        raise TopologyError(f"{connections} connections do not fit between {n_in} and {n_out} neurons.")
