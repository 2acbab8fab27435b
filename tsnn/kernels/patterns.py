"""Compiled loops over connectivity patterns: the transposed view, sums and counts, merging old and new connections."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tsnn.kernels.compiling import compiled
from tsnn.tiling import SEGMENT


@compiled()
def transpose_pattern(
    indptr: NDArray[np.int64], indices: NDArray[np.int32], n_out: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Sort the connections by output neuron: counting sort, O(connections).

    Returns t_indptr int64[n_out + 1], t_indices int32[m] (input neurons, ascending in each row) and
    t_perm int32[m], the position of each connection in the CSR arrays.
    """
    t_indptr = np.zeros(n_out + 1, np.int64)
    t_indices = np.empty(indices.shape[0], np.int32)
    t_perm = np.empty(indices.shape[0], np.int32)
    for k in range(indices.shape[0]):
        t_indptr[indices[k] + 1] += 1
    for j in range(n_out):
        t_indptr[j + 1] += t_indptr[j]
    position = t_indptr[:-1].copy()
    for i in range(indptr.shape[0] - 1):
        for k in range(indptr[i], indptr[i + 1]):
            j = indices[k]
            t_indices[position[j]] = i
            t_perm[position[j]] = k
            position[j] += 1
    return t_indptr, t_indices, t_perm


def long_row_segments(t_indptr: NDArray[np.int64]) -> NDArray[np.int64]:
    """List the segments of the output neurons with more than SEGMENT connections.

    Returns int64[k, 2]: output neuron, first connection; in order. Usually k = 0.
    """
    pieces = [
        (j, start)
        for j in np.flatnonzero(np.diff(t_indptr) > SEGMENT)
        for start in range(t_indptr[j], t_indptr[j + 1], SEGMENT)
    ]
    return np.array(pieces, np.int64).reshape(-1, 2)


@compiled()
def merge_connections(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    weights: NDArray[np.float32],
    velocity: NDArray[np.float32],
    survives: NDArray[np.bool_],
    new_indptr: NDArray[np.int64],
    new_indices: NDArray[np.int32],
    new_weights: NDArray[np.float32],
    n_out: int,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """Merge surviving and new connections, row by row: O(connections).

    Parameters
    ----------
    indptr, indices, weights, velocity : int64[n_in + 1], int32[m], float32[m], float32[m]
        The layer before.
    survives : bool[m]
        Which of its connections stay.
    new_indptr, new_indices, new_weights : int64[n_in + 1], int32[g], float32[g]
        The new connections, none of them among the survivors.
    n_out : int
        Output neurons.

    Returns
    -------
    indptr, indices, weights, velocity
        The merged layer, sorted; the velocity of new connections is 0.
    """
    n_in, total = indptr.shape[0] - 1, new_indices.shape[0]
    for k in range(survives.shape[0]):
        total += survives[k]
    merged_indptr = np.zeros(n_in + 1, np.int64)
    merged_indices = np.empty(total, np.int32)
    merged_weights = np.empty(total, np.float32)
    merged_velocity = np.empty(total, np.float32)
    at, new = 0, 0
    for i in range(n_in):
        k = indptr[i]
        while True:
            while k < indptr[i + 1] and not survives[k]:
                k += 1
            old_column = np.int64(indices[k]) if k < indptr[i + 1] else n_out
            new_column = np.int64(new_indices[new]) if new < new_indptr[i + 1] else n_out
            if old_column == n_out and new_column == n_out:
                break
            if old_column < new_column:
                merged_indices[at] = old_column
                merged_weights[at] = weights[k]
                merged_velocity[at] = velocity[k]
                k += 1
            else:
                merged_indices[at] = new_column
                merged_weights[at] = new_weights[new]
                merged_velocity[at] = 0
                new += 1
            at += 1
        merged_indptr[i + 1] = at
    return merged_indptr, merged_indices, merged_weights, merged_velocity


@compiled()
def carry_values(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float32],
    survives: NDArray[np.bool_],
    merged_indptr: NDArray[np.int64],
    merged_indices: NDArray[np.int32],
    out: NDArray[np.float32],
) -> None:
    """Write the values, float32[m], of surviving connections to their places in the merged layer; others stay.

    Parameters are those of `merge_connections`, and its results.
    """
    for i in range(indptr.shape[0] - 1):
        k = indptr[i]
        for at in range(merged_indptr[i], merged_indptr[i + 1]):
            while k < indptr[i + 1] and (not survives[k] or indices[k] < merged_indices[at]):
                k += 1
            if k < indptr[i + 1] and indices[k] == merged_indices[at]:
                out[at] = values[k]


@compiled()
def row_strength(indptr: NDArray[np.int64], weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """Sum the magnitudes of each input neuron's weights, float64[n_in]."""
    sums = np.zeros(indptr.shape[0] - 1)
    for i in range(indptr.shape[0] - 1):
        for k in range(indptr[i], indptr[i + 1]):
            sums[i] += abs(weights[k])
    return sums


@compiled()
def column_strength(indices: NDArray[np.int32], weights: NDArray[np.float32], n_out: int) -> NDArray[np.float64]:
    """Sum the magnitudes of each output neuron's weights, float64[n_out]."""
    sums = np.zeros(n_out)
    for k in range(indices.shape[0]):
        sums[indices[k]] += abs(weights[k])
    return sums


@compiled()
def column_sums(
    indptr: NDArray[np.int64], indices: NDArray[np.int32], weights: NDArray[np.float32],
    emitted: NDArray[np.float32], n_out: int,
) -> NDArray[np.float64]:  # fmt: skip
    """Sum the inputs of each output neuron if the input neurons emit float32[n_in]; float64[n_out]."""
    sums = np.zeros(n_out)
    for i in range(indptr.shape[0] - 1):
        if emitted[i] != 0:
            for k in range(indptr[i], indptr[i + 1]):
                sums[indices[k]] += np.float64(emitted[i]) * weights[k]
    return sums


@compiled()
def count_cells(indptr: NDArray[np.int64], indices: NDArray[np.int32], n_out: int, cells: NDArray[np.int64]) -> None:
    """Add the number of connections in each cell of a coarse matrix, int64[rows, columns]."""
    n_in, rows, columns = indptr.shape[0] - 1, cells.shape[0], cells.shape[1]
    for i in range(n_in):
        row = i * rows // n_in
        for k in range(indptr[i], indptr[i + 1]):
            cells[row, np.int64(indices[k]) * columns // n_out] += 1


@compiled()
def mark_places(
    indptr: NDArray[np.int64], indices: NDArray[np.int32], n_out: int, stride: int, bits: NDArray[np.uint8]
) -> int:
    """Set the bits of the connections of every stride-th row, and return how many were not set.

    The bit of connection (r * stride, j) is number r * n_out + j of uint8[b], the lowest bit of a byte first.
    """
    fresh = 0
    for i in range(0, indptr.shape[0] - 1, stride):
        first = i // stride * n_out
        for k in range(indptr[i], indptr[i + 1]):
            place = first + indices[k]
            byte, bit = place >> 3, np.uint8(1 << (place & 7))
            if not bits[byte] & bit:
                bits[byte] |= bit
                fresh += 1
    return fresh


@compiled()
def carry_births(
    rows: NDArray[np.int64],
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    old_indptr: NDArray[np.int64],
    old_indices: NDArray[np.int32],
    old_births: NDArray[np.int32],
    epoch: int,
    new_indptr: NDArray[np.int64],
    new_indices: NDArray[np.int32],
    new_births: NDArray[np.int32],
) -> None:
    """Update the epochs since which the connections of some rows exist: ``epoch`` for new connections.

    Parameters
    ----------
    rows : int64[r]
        Rows to track.
    indptr, indices : int64[n_in + 1], int32[m]
        The layer as it is now.
    old_indptr, old_indices, old_births : int64[r + 1], int32[k], int32[k]
        The tracked rows before, and the epoch since which each connection existed.
    epoch : int
        Epoch of the new connections.
    new_indptr : int64[r + 1]
        Start of each row in the output.
    new_indices, new_births : int32[new_indptr[r]]
        Written: the tracked rows now.
    """
    for r in range(rows.shape[0]):
        old, at = old_indptr[r], new_indptr[r]
        for k in range(indptr[rows[r]], indptr[rows[r] + 1]):
            while old < old_indptr[r + 1] and old_indices[old] < indices[k]:
                old += 1
            found = old < old_indptr[r + 1] and old_indices[old] == indices[k]
            new_indices[at] = indices[k]
            new_births[at] = old_births[old] if found else epoch
            at += 1


@compiled()
def add_path_scores(
    indptr: NDArray[np.int64], indices: NDArray[np.int32], t_indptr: NDArray[np.int64], t_indices: NDArray[np.int32],
    at: NDArray[np.int64], ends: NDArray[np.int32], common: int, scores: NDArray[np.float32],
) -> None:  # fmt: skip
    """Add Cannistraci-Hebb scores of paths of three connections, seen from their first neurons.

    Parameters
    ----------
    indptr, indices, t_indptr, t_indices
        The pattern, and the transposed one.
    at, ends : int64[n_in + 1], int32[k]
        Positions as a CSR pattern.
    common : int
        0: the weight of a neighbour's neighbour is 1 / max(e, 1), e its neighbours that are not common (CH3); 1:
        (c + 1) / max(e, 1), c those that are (CH2).
    scores : float32[k]
        For each position the sum of the weights over the neurons connected to its end is added.
    """
    shared = np.zeros(indptr.shape[0] - 1, np.int32)
    for i in range(indptr.shape[0] - 1):
        if at[i] == at[i + 1]:
            continue
        for k in range(indptr[i], indptr[i + 1]):
            for p in range(t_indptr[indices[k]], t_indptr[indices[k] + 1]):
                shared[t_indices[p]] += 1
        for c in range(at[i], at[i + 1]):
            total = np.float32(0)
            for p in range(t_indptr[ends[c]], t_indptr[ends[c] + 1]):
                a = t_indices[p]
                if shared[a]:
                    others = indptr[a + 1] - indptr[a] - shared[a]
                    total += np.float32(1 + common * shared[a]) / np.float32(max(others, 1))
            scores[c] += total
        for k in range(indptr[i], indptr[i + 1]):
            for p in range(t_indptr[indices[k]], t_indptr[indices[k] + 1]):
                shared[t_indices[p]] = 0
