"""Measures of a topology: hubs, cut-off inputs, clustering, modularity, path length, small-world index; distances.

A layer is a bipartite graph: its neurons at the start and at the end, and its connections between them. Everything is
O(connections), or samples paths and sources. Random values are means or estimates that ``rng`` decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order
from scipy.stats import binom

from tsnn import kernels
from tsnn.engine.topology import Topology
from tsnn.errors import TopologyError

Numbers = NDArray[Any]

PATHS = 100_000  #: of three connections, that clustering samples
SOURCES = 16  #: neurons that path lengths are measured from
SWEEPS = 30  #: of label propagation, at most
SWAPS = 5  #: rounds of swaps that make a random twin; each proposes one swap for each connection
MATCHED = 4_000  #: neurons of a layer that are matched for a distance, at most


def measure(
    topologies: Sequence[Topology], twins: Sequence[Topology], *, rng: np.random.Generator
) -> list[dict[str, float | None]]:
    """Return the measures of each layer of a network, and those of its random twin as ``random_...``.

    Parameters
    ----------
    topologies, twins : sequence of Topology
        The layers, from the inputs on, and their random twins (:func:`random_twin`).
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    measures : list of dict of str to float
        ``hubs_in`` and ``hubs_out`` (neurons at its end and at its start), ``cut_off``, ``clustering``, ``modularity``,
        ``path_length``, ``small_world``; None where it is not defined, as the clustering of a layer without paths.
    """
    reaching = reaching_outputs(topologies)
    return [_measure(*layer, rng) for layer in zip(topologies, twins, reaching, strict=True)]


def _measure(
    topology: Topology, twin: Topology, reaching: NDArray[np.bool_], rng: np.random.Generator
) -> dict[str, float | None]:  # fmt: skip
    values: dict[str, float | None] = {
        "hubs_in": float(hubs(topology.in_degree, topology.n_in)),
        "hubs_out": float(hubs(topology.out_degree, topology.n_out)),
        "cut_off": float(1 - reaching.mean()),
    }
    for prefix, t in (("", topology), ("random_", twin)):
        values[f"{prefix}clustering"] = clustering(t, rng=rng)
        values[f"{prefix}modularity"] = modularity(t, rng=rng)
        values[f"{prefix}path_length"] = path_length(t, rng=rng)
    values["small_world"] = small_world(
        *(values[f"{prefix}{name}"] for name in ("clustering", "path_length") for prefix in ("", "random_"))
    )
    return values


def hubs(degrees: Numbers, places: int) -> int:
    """Return the number of neurons with more connections than a random layer's best connected one.

    Parameters
    ----------
    degrees : int64[n]
        Connections of each neuron on one side.
    places : int
        Neurons on the other side.

    Returns
    -------
    count : int
        Neurons with more connections than any neuron of an Erdős–Rényi layer of the same density has with a
        probability of 99 %: there the degree is binomial, B(places, density), and a neuron is above the threshold
        with a probability of 0.01 / n.
    """
    if not len(degrees):
        return 0
    threshold = binom.isf(0.01 / len(degrees), places, degrees.mean() / places)
    return int((degrees > threshold).sum())


def reaching_outputs(topologies: Sequence[Topology]) -> list[NDArray[np.bool_]]:
    """Return, for each layer, the neurons at its start that have a path to an output, bool[n_in].

    An input without one is cut off: it has no connection, or each of them ends at a neuron without outputs.
    """
    reaching = np.ones(topologies[-1].n_out, bool)
    found = []
    for t in reversed(topologies):
        reaching = kernels.row_strength(t.indptr, reaching[t.indices].astype(np.float32)) > 0
        found.append(reaching)
    return found[::-1]


def clustering(topology: Topology, *, paths: int = PATHS, rng: np.random.Generator) -> float | None:
    """Return the bipartite clustering coefficient: the fraction of the paths of three connections that are closed.

    C = 4 (cycles of four) / (paths of three): Robins and Alexander, Comput. Math. Organ. Theory 10 (2004). A bipartite
    graph has no triangles; each cycle of four contains four such paths. Estimated from paths that are drawn uniformly:
    the standard error is sqrt(C (1 - C) / paths), at most 0.0016. None if there is no path.
    """
    t, rows = topology, topology.rows()
    total = np.cumsum((t.out_degree[rows] - 1.0) * (t.in_degree[t.indices] - 1.0))  # paths around each connection
    if not t.connections or total[-1] == 0:
        return None
    middle = np.searchsorted(total, rng.random(paths) * total[-1], side="right")
    i, j = rows[middle], t.indices[middle]
    before = _other_neighbour(t.t_indptr, t.t_indices, j, i, rng)
    after = _other_neighbour(t.indptr, t.indices, i, j, rng)
    return float(_matrix(t)[before, after].mean())


def _other_neighbour(indptr: Numbers, indices: Numbers, of: Numbers, other: Numbers, rng: np.random.Generator) -> Any:
    """Return a random neighbour of each neuron that is not the other one; each has at least two."""
    found = other.copy()
    while len(same := np.flatnonzero(found == other)):
        first, last = indptr[of[same]], indptr[of[same] + 1]
        found[same] = indices[rng.integers(first, last)]
    return found


def modularity(topology: Topology, *, sweeps: int = SWEEPS, rng: np.random.Generator) -> float | None:
    """Return the modularity of a layer's communities, found by label propagation.

    Q = 1/m sum_ij (A_ij - d_i d_j / m) [label i = label j]: Barber, Phys. Rev. E 76 (2007). The neurons of one
    side, then of the other, get the label that adds most to it: Barber and Clark, Phys. Rev. E 80 (2009). A local
    maximum, and a random layer has communities by chance: compare with the random twin. None without connections.
    """
    if not topology.connections:
        return None
    forward = _matrix(topology)
    backward = forward.T.tocsr()
    labels, best = rng.permutation(topology.n_out), -1.0
    for _ in range(sweeps):
        starts, _ = _best_labels(forward, labels, topology.out_degree, topology.in_degree)
        labels, q = _best_labels(backward, starts, topology.in_degree, topology.out_degree)
        if q - best < 1e-4:
            break
        best = q
    return max(best, q)


def _best_labels(matrix: Any, labels: Numbers, own: Numbers, other: Numbers) -> tuple[Numbers, float]:
    """Return the label of each neuron of a side that adds most to the modularity, by those of the other side; and Q."""
    m = matrix.nnz
    share = np.bincount(labels, weights=other) / m  # of the connections that end at neurons of each label
    n = len(labels)
    marks = csr_array((np.ones(n, np.float32), labels.astype(np.int32), np.arange(n + 1)), shape=(n, len(share)))
    counts = matrix @ marks
    lengths = np.diff(counts.indptr)
    gain = counts.data - np.repeat(own, lengths) * share[counts.indices]
    best = np.maximum.reduceat(gain, counts.indptr[:-1][lengths > 0])
    at = np.flatnonzero(gain == np.repeat(best, lengths[lengths > 0]))
    row = np.searchsorted(counts.indptr, at, side="right") - 1
    chosen = np.zeros(matrix.shape[0], np.int64)  # neurons without connections have any label
    chosen[row[::-1]] = counts.indices[at[::-1]]  # the first of equal ones
    return chosen, float(best.sum() / m)


def path_length(topology: Topology, *, sources: int = SOURCES, rng: np.random.Generator) -> float | None:
    """Return the mean distance between two neurons of a layer, in connections walked in both directions.

    Over the neurons that can be reached from some of those with connections, drawn at random, by breadth-first search;
    exact where there are not more. None if there are no connections.
    """
    t, n = topology, topology.n_in + topology.n_out
    connected = np.flatnonzero(np.concatenate([t.out_degree, t.in_degree]))
    if not len(connected):
        return None
    indptr = np.concatenate([t.indptr, t.t_indptr[1:] + t.connections])
    indices = np.concatenate([t.indices + np.int32(t.n_in), t.t_indices])
    graph = csr_array((np.ones(len(indices)), indices, indptr), shape=(n, n))
    total = count = 0
    for source in rng.choice(connected, min(sources, len(connected)), replace=False):
        order, parents = breadth_first_order(graph, source)
        place = np.empty(n, np.int64)
        place[order] = np.arange(len(order))
        parent = place[parents[order[1:]]]  # ascending: neurons of a distance are next to each other
        end, distance = 1, 0
        while end < len(order):
            first, end, distance = end, 1 + int(np.searchsorted(parent, end)), distance + 1
            total += distance * (end - first)
        count += len(order) - 1
    return total / count


def small_world(
    clustering: float | None, random_clustering: float | None, length: float | None, random_length: float | None
) -> float | None:
    """Return sigma = (C / C_random) / (L / L_random): Humphries and Gurney, PLoS ONE 3 (2008), with a random twin.

    About 1: as the random twin; far above 1: a small world. None where one of them is not defined, or no path of the
    twin is closed.
    """
    if None in (clustering, length, random_length) or not random_clustering:
        return None
    return (clustering / random_clustering) / (length / random_length)  # type: ignore[operator]


def random_twin(topology: Topology, *, rounds: int = SWAPS, rng: np.random.Generator) -> Topology:
    """Return a random layer in which each neuron has the same number of connections.

    Two random connections exchange their ends, unless one of the new ones exists already or is proposed twice: Maslov
    and Sneppen, Science 296 (2002). In each round all connections are paired at once.
    """
    n_out, keys = topology.n_out, topology.keys()
    half = len(keys) // 2
    for _ in range(rounds):
        rng.shuffle(keys)
        a, b = keys[:half], keys[half : 2 * half]
        exchange = b % n_out - a % n_out
        new_a, new_b = a + exchange, b - exchange
        known = np.concatenate([keys, new_a, new_b])
        known.sort()
        taken = known[1:][known[1:] == known[:-1]]
        free = np.flatnonzero(~(_is_in(taken, new_a) | _is_in(taken, new_b)))
        a[free], b[free] = new_a[free], new_b[free]
    keys.sort()
    return Topology.from_keys(keys, topology.n_in, n_out)


def _is_in(ascending: Numbers, values: Numbers) -> NDArray[np.bool_]:
    """Return which values are in an ascending array."""
    if not len(ascending):
        return np.zeros(len(values), bool)
    found: NDArray[np.bool_] = ascending[np.searchsorted(ascending[:-1], values)] == values
    return found


def distances(first: Sequence[Topology], second: Sequence[Topology], *, match: bool) -> list[float]:
    """Return the distance of each layer between two networks of the same sizes: 0 the same, 1 nothing in common.

    Parameters
    ----------
    first, second : sequence of Topology
        The layers of the networks, from the inputs on.
    match : bool
        Whether neurons are matched: NNSTD, Liu et al., ECML-PKDD 2020, arXiv 2006.14085, section 3. The neurons of a
        layer are matched so that the sum of their distances is least (Hungarian method), then those of the next one.
        Inputs and outputs have a meaning and are not matched. Without it a neuron is compared with that of the same
        number: for two epochs of one run.

    Returns
    -------
    distances : list of float
        Mean over the neurons at a layer's end of 1 - |inputs in both| / |inputs in either|. Neurons without inputs in
        both networks do not count; that of a layer without connections is 0.

    Raises
    ------
    TopologyError
        If the sizes differ, or a layer has more than :data:`MATCHED` neurons to match: a matrix of their distances
        would not fit into memory.
    """
    sizes, others = ([(t.n_in, t.n_out) for t in topologies] for topologies in (first, second))
    if sizes != others:
        raise TopologyError(f"Networks of layers {sizes} and {others} (n_in, n_out) have no distance: sizes differ.")
    widest = max((n_out for _, n_out in sizes[:-1]), default=0)
    if match and widest > MATCHED:
        raise TopologyError(
            f"Layers of {widest} neurons cannot be matched, at most those of {MATCHED}. Compare epochs of one run: its "
            "neurons need no matching."
        )
    found, order = [], np.arange(sizes[0][0])
    for l, (t, u) in enumerate(zip(first, second, strict=True)):
        a, b = _matrix(t), _matrix(u)[order]
        order = np.arange(t.n_out)
        if match and l < len(first) - 1:
            both = (a.T @ b).toarray()
            either = t.in_degree.astype(np.float32)[:, None] + u.in_degree.astype(np.float32) - both
            _, order = linear_sum_assignment(both / np.maximum(either, 1), maximize=True)
            both, either = both[np.arange(t.n_out), order], either[np.arange(t.n_out), order]
        else:
            both = np.asarray(a.multiply(b).sum(axis=0))
            either = t.in_degree + u.in_degree - both
        counted = either > 0
        found.append(float((1 - both[counted] / either[counted]).mean()) if counted.any() else 0.0)
    return found


def _matrix(topology: Topology) -> Any:
    """Return the pattern as a sparse matrix of ones, float32."""
    t, ones = topology, np.ones(topology.connections, np.float32)
    return csr_array((ones, t.indices, t.indptr), shape=(t.n_in, t.n_out))
