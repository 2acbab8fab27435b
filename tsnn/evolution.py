"""The evolution of the topology: SET's prune and regrow, and the pruning of unimportant neurons.

Sources: SET, Nature Communications 2018 (s41467-018-04316-3), Methods; importance pruning,
arXiv 2102.01732, section 3.3. Everything is O(connections).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.network import Float32, Layer, Network, draw_weights
from tsnn.topology import Int64, Topology, draw_free_keys, epsilon_to_connections

CANDIDATES_PER_CONNECTION = 10  # of gradient regrowth: how many free positions are tried for each one that is filled


@dataclass(frozen=True)
class Evolved:
    """A layer after evolution, and how many connections it lost and gained."""

    layer: Layer
    pruned: int
    grown: int


def prune_smallest(weights: Float32, zeta: float, rule: str) -> NDArray[np.bool_]:
    """Choose the connections that survive pruning, bool[connections].

    Parameters
    ----------
    weights : float32[connections]
        Weights of the layer.
    zeta : float
        Share to prune, in [0, 1); the number is rounded down.
    rule : {"signed", "magnitude"}
        ``signed`` prunes the share zeta of the positive weights closest to zero and of the negative ones
        (SET; a weight of exactly zero counts as positive); ``magnitude`` the share zeta with the smallest ``|w|``.
    """
    survives = np.ones(len(weights), dtype=bool)
    groups = [np.flatnonzero(weights >= 0), np.flatnonzero(weights < 0)]
    if rule == "magnitude":
        groups = [np.arange(len(weights))]
    for group in groups:
        survives[_smallest(group, weights, int(zeta * len(group)))] = False
    return survives


def evolve(
    layer: Layer, connections: int, *, zeta: float, rule: str, initializer: str, rng: np.random.Generator,
    living_in: NDArray[np.bool_] | None = None, living_out: NDArray[np.bool_] | None = None,
    batch: tuple[Float32, Float32] | None = None,
) -> Evolved:  # fmt: skip
    """Prune a layer's weakest connections and regrow others at random places (SET).

    Parameters
    ----------
    layer : Layer
        Not changed.
    connections : int
        Number of connections afterwards. The same as before keeps the parameter count, as SET does;
        another number grows more, or prunes more by magnitude.
    zeta, rule
        See :func:`prune_smallest`.
    initializer : str
        Distribution of the new weights (:func:`tsnn.network.draw_weights`); their velocity is 0.
    rng : numpy.random.Generator
        Source of randomness.
    living_in, living_out : bool[n_in], bool[n_out], optional
        Neurons that may get new connections; all if left out.
    batch : (float32[n_in, width], float32[n_out, width]), optional
        Activations and deltas of one batch. If given, regrowth takes, of ten random candidates for each new
        connection, those with the largest gradient magnitude (RigL, arXiv 1911.11134, on a sampled candidate set).

    Returns
    -------
    evolved : Evolved
        Survivors keep weight and velocity. New positions are free ones, distinct, uniformly drawn;
        one that was just pruned may return.
    """
    t = layer.topology
    survives = prune_smallest(layer.weights, zeta, rule)
    surplus = int(survives.sum()) - connections
    if surplus > 0:
        survives[_smallest(np.flatnonzero(survives), layer.weights, surplus)] = False
    kept = t.keys()[survives]
    new = _regrow(kept, connections - len(kept), t, living_in, living_out, batch, rng)
    new_weights = draw_weights(initializer, t.n_in, t.n_out, len(new), rng=rng)

    indptr, indices, weights, velocity = kernels.merge_connections(
        t.indptr, t.indices, layer.weights, layer.velocity, survives, new, new_weights, t.n_out
    )
    topology = Topology.from_sorted(indptr, indices, t.n_out)
    evolved = Layer(topology, weights, velocity, layer.bias, layer.bias_velocity)
    return Evolved(evolved, t.connections - len(kept), len(new))


def target_connections(network: Network, layer: int, epsilon: float) -> int:
    """Return how many connections epsilon grants a layer, counted over its living neurons."""
    n_in, n_out = int(network.living_inputs(layer).sum()), int(network.living[layer].sum())
    return epsilon_to_connections(epsilon, n_in, n_out)


def importance(layer: Layer) -> NDArray[np.float64]:
    """Return the importance of each neuron at a layer's end, float64[n_out].

    The sum of ``|w|`` over its incoming connections (arXiv 2102.01732, section 3.3).
    """
    t = layer.topology
    return np.bincount(t.indices, weights=np.abs(layer.weights), minlength=t.n_out).astype(np.float64, copy=False)


def prune_neurons(network: Network, percentile: float) -> list[int]:
    """Prune the unimportant neurons of every hidden layer, in place (section 3.3).

    A pruned neuron loses its incoming and outgoing connections for good; they leave the budget. The constant
    that it would still emit, ``f(bias)``, is folded into the next layer's biases.

    Parameters
    ----------
    network : Network
        Changed: layers replaced, ``living`` updated.
    percentile : float
        Living neurons whose importance is at or below this percentile of their layer are pruned.
        The most important neuron of a layer always stays, so no layer is ever emptied.

    Returns
    -------
    pruned : list of int
        Number of neurons pruned in each hidden layer.
    """
    scores = [importance(layer) for layer in network.layers[:-1]]
    pruned = []
    for l, score in enumerate(scores):
        living = network.living[l]
        doomed = living & (score <= np.percentile(score[living], percentile))
        if doomed.sum() == living.sum():
            doomed[np.flatnonzero(living)[score[living].argmax()]] = False
        network.living[l] = living & ~doomed
        pruned.append(int(doomed.sum()))
        if pruned[-1]:
            _fold_constants(network.layers[l], network.layers[l + 1], doomed, network.slopes[l])
            network.layers[l] = _without(network.layers[l], doomed[network.layers[l].topology.indices])
            network.layers[l + 1] = _without(network.layers[l + 1], doomed[network.layers[l + 1].topology.rows()])
    return pruned


def _smallest(group: Int64, weights: Float32, count: int) -> Int64:
    """Return the positions of the group's ``count`` weights of smallest magnitude."""
    if count == 0:
        return group[:0]
    return group[np.argpartition(np.abs(weights[group]), count - 1)[:count]]


def _regrow(
    kept: Int64, count: int, topology: Topology, living_in: NDArray[np.bool_] | None,
    living_out: NDArray[np.bool_] | None, batch: tuple[Float32, Float32] | None, rng: np.random.Generator,
) -> Int64:  # fmt: skip
    """Draw ``count`` free positions between living neurons; sorted keys."""
    rows = np.arange(topology.n_in) if living_in is None else np.flatnonzero(living_in)
    columns = np.arange(topology.n_out) if living_out is None else np.flatnonzero(living_out)
    everyone = len(rows) == topology.n_in and len(columns) == topology.n_out
    if not everyone:  # draw among the living, numbered without gaps; the order of keys stays the same
        row, column = np.divmod(kept, topology.n_out)
        kept = np.searchsorted(rows, row) * len(columns) + np.searchsorted(columns, column)
    space = len(rows) * len(columns)
    count = min(count, space - len(kept))
    wanted = count if batch is None else min(CANDIDATES_PER_CONNECTION * count, space - len(kept))
    keys = draw_free_keys(kept, space, wanted, rng=rng)
    if not everyone:
        row, column = np.divmod(keys, len(columns))
        keys = rows[row] * topology.n_out + columns[column]
    if batch is not None and count < wanted:
        gradient = _gradient_at(keys, topology.n_out, *batch)
        keys = np.sort(keys[np.argpartition(gradient, wanted - count)[wanted - count :]])
    return keys


def _gradient_at(keys: Int64, n_out: int, activation: Float32, delta: Float32) -> Float32:
    """Return the magnitude of the gradient at positions without a connection, float32[len(keys)]."""
    result = np.empty(len(keys), np.float32)
    for start in range(0, len(keys), 4096):
        i, j = np.divmod(keys[start : start + 4096], n_out)
        result[start : start + 4096] = np.abs(np.einsum("kb,kb->k", activation[i], delta[j]))
    return result


def _fold_constants(layer: Layer, following: Layer, doomed: NDArray[np.bool_], slope: float) -> None:
    emitted = np.where(doomed, np.where(layer.bias > 0, layer.bias, np.float32(slope) * layer.bias), 0)
    t = following.topology
    following.bias += np.bincount(t.indices, weights=following.weights * emitted[t.rows()], minlength=t.n_out).astype(
        np.float32
    )
    layer.bias[doomed] = 0
    layer.bias_velocity[doomed] = 0


def _without(layer: Layer, dropped: NDArray[np.bool_]) -> Layer:
    kept, t = ~dropped, layer.topology
    topology = Topology.from_keys(t.keys()[kept], t.n_in, t.n_out)
    return Layer(topology, layer.weights[kept], layer.velocity[kept], layer.bias, layer.bias_velocity)
