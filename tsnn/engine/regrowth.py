"""Regrowth rules: the choice of positions for new connections.

A rule with ``candidates`` is a score of random free positions, ``rule(free, rows, columns)`` -> float[k]: connections
grow where it is largest. Without, it is a function ``rule(free, count, rng)`` that chooses ``count`` of the free
positions of a layer (:class:`FreePositions`) and returns them as a sorted CSR pattern, int64[n_in + 1], int32[count].
To add one, decorate it with :func:`tsnn.regrowth`; ``training.regrow`` then offers it.
"""

from __future__ import annotations

import numpy as np

from tsnn import kernels
from tsnn.engine.free_positions import Float32, FreePositions, Positions, keep_largest, pairs
from tsnn.engine.topology import Int32, Int64, Topology
from tsnn.registry import REGROWTH

__all__ = ["REGROWTH", "FreePositions", "Positions", "keep_largest", "pairs", "path_scores"]

_PIECE = 1 << 16  # candidates whose gradient is computed at a time
_WALKS = 10  # candidates of CHT for each new connection


@REGROWTH.register("random", help="uniformly at random (SET)")
def grow_random(free: FreePositions, count: int, rng: np.random.Generator) -> Positions:
    """Draw positions uniformly (SET, Nature Communications 2018, Methods)."""
    return free.draw(count, rng)


@REGROWTH.register(
    "gradient",
    help="where the gradient is largest, among 10 random candidates for each new connection (after RigL, arXiv "
    "1911.11134, without a dense gradient)",
    needs="gradient", candidates=10,
)  # fmt: skip
def score_gradient(free: FreePositions, rows: Int32, columns: Int32) -> Float32:
    """Score ``|gradient|`` (RigL, arXiv 1911.11134)."""
    return np.abs(free.gradient_at(rows, columns))


@REGROWTH.register(
    "gse",
    help="where the gradient is largest, among candidates drawn by the activity of their neurons, one for each "
    "connection (GSE, arXiv 2401.06898)",
    needs="activations", bytes_per_connection=48,
)  # fmt: skip
def grow_by_activity(free: FreePositions, count: int, rng: np.random.Generator) -> Positions:
    """Draw candidates ``(a, b)`` with probability ``f_a h_b``; those of the largest ``|gradient|`` win.

    GSE, arXiv 2401.06898, algorithm 1: ``f_a = sum |activation_a| / sum over a``, ``h_b = sum |delta_b| / sum over b``,
    over samples of a batch.
    """
    f, h = (np.abs(values).sum(axis=1) for values in (free.activations[0], free.deltas))
    n = free.topology.connections
    rows, columns = (_draw(values, n, rng) for values in (f, h))
    candidates = free.filled(*free.pattern(rows, columns), count)
    below, deltas = free.activations[0], free.deltas
    return keep_largest(candidates, _products(*pairs(*candidates), below, deltas), count)


def _draw(weights: Float32, count: int, rng: np.random.Generator) -> Int32:
    """Draw neurons with probability proportional to their weights, int32[count]; uniformly if all are 0."""
    if not weights.any():
        return rng.integers(len(weights), size=count, dtype=np.int32)
    bounds = np.cumsum(weights, dtype=np.float64)
    numbers = rng.random(count, np.float32) * np.float32(bounds[-1])
    return np.minimum(np.searchsorted(bounds, numbers, side="right"), len(weights) - 1).astype(np.int32)


def _products(rows: Int32, columns: Int32, below: Float32, deltas: Float32) -> Float32:
    """Return ``|sum over samples of activation x delta|``, the gradient, at positions, float32[k]."""
    out = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _PIECE):
        part = slice(start, start + _PIECE)
        np.einsum("ks,ks->k", below[rows[part]], deltas[columns[part]], out=out[part])
    return np.abs(out, out=out)


@REGROWTH.register(
    "cht", bytes_per_connection=72,
    help="where short paths between the two neurons stay among few others (CHT with CH3, arXiv 2501.19107), among 10 "
    "candidates at the ends of such paths for each new connection",
)  # fmt: skip
def grow_by_paths(free: FreePositions, count: int, rng: np.random.Generator) -> Positions:
    """Choose the candidates with the largest CH3 score (:func:`path_scores`)."""
    candidates, scores = _scored_ends(free, count, rng, common=0)
    return keep_largest(candidates, scores, count)


@REGROWTH.register(
    "cht_ch2", bytes_per_connection=72,
    help="like cht, but common neighbours count as well (CHT with CH2)",
)  # fmt: skip
def grow_by_common_paths(free: FreePositions, count: int, rng: np.random.Generator) -> Positions:
    """Choose the candidates with the largest CH2 score (:func:`path_scores`)."""
    candidates, scores = _scored_ends(free, count, rng, common=1)
    return keep_largest(candidates, scores, count)


@REGROWTH.register(
    "chts", bytes_per_connection=72,
    help="like cht, but sampled with probability proportional to the score (CHTs, arXiv 2501.19107)",
)  # fmt: skip
def sample_by_paths(free: FreePositions, count: int, rng: np.random.Generator) -> Positions:
    """Sample candidates with probability proportional to the CH3 score, without replacement.

    Sampling takes the largest ``log p + Gumbel noise`` (Efraimidis and Spirakis 2006).
    """
    candidates, scores = _scored_ends(free, count, rng, common=0)
    with np.errstate(divide="ignore"):  # log 0: such a candidate is taken last
        noise = -np.log(-np.log(rng.random(len(scores), np.float32)))
        return keep_largest(candidates, np.maximum(np.log(scores) + noise, np.finfo(np.float32).min), count)


def _scored_ends(
    free: FreePositions, count: int, rng: np.random.Generator, *, common: int
) -> tuple[Positions, Float32]:  # fmt: skip
    """Return free positions at the ends of random paths of three surviving connections, and their scores."""
    t, survives = free.topology, free.survives
    indptr = np.append(0, np.cumsum(survives))[t.indptr]
    left = Topology.from_sorted(indptr, t.indices[survives], t.n_out)
    empty: Positions = np.zeros(t.n_in + 1, np.int64), np.empty(0, np.int32)
    ends = free.pattern(*_walks(left, _WALKS * count, rng)) if left.connections else empty
    candidates = free.filled(*ends, count)
    return candidates, path_scores(left, *candidates, common=common)


def _walks(t: Topology, count: int, rng: np.random.Generator) -> tuple[Int32, Int32]:
    """Return the ends of random paths of three connections: input, output, input, output neuron; int32[count] each."""
    first = rng.integers(t.connections, size=count, dtype=np.int32)
    rows = (np.searchsorted(t.indptr, first, side="right") - 1).astype(np.int32)
    outputs = t.indices[first]
    steps = (rng.random(count, np.float32) * np.diff(t.t_indptr)[outputs]).astype(np.int64)
    inputs = t.t_indices[np.minimum(t.t_indptr[outputs] + steps, t.t_indptr[outputs + 1] - 1)]
    steps = (rng.random(count, np.float32) * t.out_degree[inputs]).astype(np.int64)
    return rows, t.indices[np.minimum(t.indptr[inputs] + steps, t.indptr[inputs + 1] - 1)]


def path_scores(t: Topology, indptr: Int64, indices: Int32, *, common: int = 0) -> Float32:
    """Return the Cannistraci-Hebb scores of positions by paths of length three, float32[k].

    CHT, arXiv 2501.19107, on the bipartite pattern A of a layer: ``D = A A^T`` counts common neighbours, ``e_ik =
    deg_k - D_ik`` the other ones of k, and ``w_ik = 1 / max(e_ik, 1)`` where ``D_ik > 0`` (CH3), or ``(D_ik + 1) /
    max(e_ik, 1)`` (CH2). The score is ``w A``, plus the same from the side of the outputs. For k positions and neurons
    of degree d it takes O(m d + k d) time: no product of sparse matrices, which may be dense, is formed.

    Parameters
    ----------
    t : Topology
        The pattern.
    indptr, indices : int64[n_in + 1], int32[k]
        The positions as a CSR pattern.
    common : {0, 1}
        Whether common neighbours count (CH2).
    """
    scores = np.zeros(len(indices), np.float32)
    kernels.add_path_scores(t.indptr, t.indices, t.t_indptr, t.t_indices, indptr, indices, common, scores)
    back_indptr, back, permutation = kernels.transpose_pattern(indptr, indices, t.n_out)
    mirrored = np.zeros(len(indices), np.float32)
    kernels.add_path_scores(t.t_indptr, t.t_indices, t.indptr, t.indices, back_indptr, back, common, mirrored)
    scores[permutation] += mirrored
    return scores
