"""Compiled loops of parallel training: the server's step, late gradients, models merged by their connections."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tsnn.kernels.compiling import compiled


@compiled()
def momentum_step(
    gradient: NDArray[np.float32], momentum: float, learning_rate: float, weight_decay: float, update: bool,
    weights: NDArray[np.float32], velocity: NDArray[np.float32],
) -> None:  # fmt: skip
    """Apply a gradient, float32[n]: v <- momentum v - learning_rate g; then, if `update`, w <- w + v - weight_decay w.

    Several gradients as one: `momentum` with the first, 1.0 with the others, `update` with the last. Memory is the
    limit: 20 bytes per value, read or written once.
    """
    mu, eta, decay = np.float32(momentum), np.float32(learning_rate), np.float32(weight_decay)
    for k in range(gradient.shape[0]):
        v = mu * velocity[k] - eta * gradient[k]
        velocity[k] = v
        if update:
            weights[k] += v - decay * weights[k]


@compiled()
def retain(gradient: NDArray[np.float32], sources: NDArray[np.int32], out: NDArray[np.float32]) -> None:
    """Write out[k] = gradient[sources[k]], or 0 where sources[k] is -1."""
    for k in range(sources.shape[0]):
        out[k] = gradient[sources[k]] if sources[k] >= 0 else np.float32(0)


@compiled()
def find_connections(
    indptr: NDArray[np.int64], indices: NDArray[np.int32], old_indptr: NDArray[np.int64],
    old_indices: NDArray[np.int32], offset: int, sources: NDArray[np.int32],
) -> None:  # fmt: skip
    """Write for each connection of a pattern, sources[k], the place that it had in an older one.

    Patterns are CSR, int64[n_in + 1] and int32[m], sorted. ``sources[k]`` is ``offset`` + the position in
    ``old_indices``, or -1 for a connection that did not exist. O(connections).
    """
    for i in range(indptr.shape[0] - 1):
        old, end = old_indptr[i], old_indptr[i + 1]
        for k in range(indptr[i], indptr[i + 1]):
            while old < end and old_indices[old] < indices[k]:
                old += 1
            sources[k] = offset + old if old < end and old_indices[old] == indices[k] else -1


@compiled()
def add_layers(
    indptr: NDArray[np.int64], indices: NDArray[np.int32], weights: NDArray[np.float32],
    other_indptr: NDArray[np.int64], other_indices: NDArray[np.int32], other_weights: NDArray[np.float32], share: float,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:  # fmt: skip
    """Return the CSR layer ``this + share * other`` over the union of the connections; missing weights are 0."""
    n_in = indptr.shape[0] - 1
    out_indptr = np.zeros(n_in + 1, np.int64)
    out_indices = np.empty(indices.shape[0] + other_indices.shape[0], np.int32)
    out_weights = np.empty(out_indices.shape[0], np.float32)
    part = np.float32(share)
    at = 0
    for i in range(n_in):
        k, other = indptr[i], other_indptr[i]
        while k < indptr[i + 1] or other < other_indptr[i + 1]:
            here = k < indptr[i + 1] and (other == other_indptr[i + 1] or indices[k] <= other_indices[other])
            there = other < other_indptr[i + 1] and (k == indptr[i + 1] or other_indices[other] <= indices[k])
            out_indices[at] = indices[k] if here else other_indices[other]
            out_weights[at] = (weights[k] if here else np.float32(0)) + (
                part * other_weights[other] if there else np.float32(0)
            )
            k += here
            other += there
            at += 1
        out_indptr[i + 1] = at
    return out_indptr, out_indices[:at].copy(), out_weights[:at].copy()
