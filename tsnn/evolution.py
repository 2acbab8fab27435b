"""The evolution of the topology: SET's prune and regrow, and the pruning of unimportant neurons.

Sources: SET, Nature Communications 2018 (s41467-018-04316-3), Methods; importance pruning,
arXiv 2102.01732, section 3.3. Everything is O(connections).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.config import Config
from tsnn.network import Float32, Layer, Network, draw_weights
from tsnn.shapes import epsilon_to_connections
from tsnn.topology import Int32, Int64, Topology, draw_free

Gradient = Callable[[Int64, Int32], Float32]

POSITIVE, NEGATIVE, ANY = 0, 1, 2  # which weights are meant; zero counts as positive
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
    if rule == "magnitude":
        drop_smallest(weights, ANY, int(zeta * len(weights)), survives)
    else:
        positive = int(np.count_nonzero(weights >= 0))
        drop_smallest(weights, POSITIVE, int(zeta * positive), survives)
        drop_smallest(weights, NEGATIVE, int(zeta * (len(weights) - positive)), survives)
    return survives


def evolve(
    layer: Layer, connections: int, *, zeta: float, rule: str, initializer: str, rng: np.random.Generator,
    living_in: NDArray[np.bool_] | None = None, living_out: NDArray[np.bool_] | None = None,
    gradient: Gradient | None = None,
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
    gradient : callable, optional
        Returns the gradient at the positions of a CSR pattern: int64[n_in + 1], int32[k] -> float32[k]. If given,
        regrowth takes, of ten random candidates for each new connection, those with the largest gradient
        magnitude (RigL, arXiv 1911.11134, on a sampled candidate set).

    Returns
    -------
    evolved : Evolved
        Survivors keep weight and velocity. New positions are free ones, distinct, uniformly drawn;
        one that was just pruned may return.
    """
    t = layer.topology
    survives = prune_smallest(layer.weights, zeta, rule)
    kept = int(np.count_nonzero(survives))
    if kept > connections:
        drop_smallest(layer.weights, ANY, kept - connections, survives)
        kept = connections
    indptr, indices = _regrow(t, survives, connections - kept, living_in, living_out, gradient, rng)
    grown = len(indices)
    weights = draw_weights(initializer, t.n_in, t.n_out, grown, rng=rng)
    return Evolved(_merged(layer, survives, indptr, indices, weights), t.connections - kept, grown)


def target_connections(network: Network, layer: int, epsilon: float) -> int:
    """Return how many connections epsilon grants a layer, counted over its living neurons."""
    n_in, n_out = int(network.living_inputs(layer).sum()), int(network.living[layer].sum())
    return epsilon_to_connections(epsilon, n_in, n_out)


def evolve_all(
    network: Network, config: Config, new_epsilon: bool, probe: Callable[..., Any] | None, rng: np.random.Generator
) -> list[int]:
    """Evolve every layer but the output layer, one after the other (:func:`evolve`).

    Only one layer exists twice at a time, and then without transposed view.

    Parameters
    ----------
    network : Network
        Its layers are replaced.
    config : Config
        zeta, which connections are pruned, epsilon.
    new_epsilon : bool
        Whether the layers shall get the connections that epsilon grants, or keep their number.
    probe : callable or None
        For gradient regrowth: the gradient, with the number of the layer as its first argument; that of the network
        as it is by then, its lower layers evolved.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    grown : list of int
        New connections of each layer.
    """
    grown = [0] * len(network.layers)
    for l in range(len(network.layers) - 1):
        connections = network.layers[l].topology.connections
        if probe is None:
            network.layers[l].topology.release()
        evolved = evolve(
            network.layers[l],
            target_connections(network, l, config.network.epsilon) if new_epsilon else connections,
            zeta=config.training.zeta,
            rule=config.training.prune,
            initializer=network.initializer,
            rng=rng,
            living_in=network.living_inputs(l),
            living_out=network.living[l],
            gradient=None if probe is None else functools.partial(probe, l),
        )
        network.layers[l] = evolved.layer
        grown[l] = evolved.grown
        del evolved
    return grown


def importance(layer: Layer) -> NDArray[np.float64]:
    """Return the importance of each neuron at a layer's end, float64[n_out].

    The sum of ``|w|`` over its incoming connections (arXiv 2102.01732, section 3.3).
    """
    return kernels.column_strength(layer.topology.indices, layer.weights, layer.topology.n_out)


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
            network.layers[l + 1] = _without(
                network.layers[l + 1], np.repeat(doomed, network.layers[l + 1].topology.out_degree)
            )
    return pruned


def drop_smallest(weights: Float32, sign: int, count: int, survives: NDArray[np.bool_]) -> None:
    """Mark the ``count`` survivors of smallest magnitude and of this sign as dropped."""
    kernels.drop_smallest(weights.view(np.uint32), sign, count, survives)


def _regrow(
    t: Topology, survives: NDArray[np.bool_], count: int, living_in: NDArray[np.bool_] | None,
    living_out: NDArray[np.bool_] | None, gradient: Gradient | None, rng: np.random.Generator,
) -> tuple[Int64, Int32]:  # fmt: skip
    """Draw ``count`` free positions between living neurons, or as many as there are; CSR."""
    rows, columns = (
        None if living is None or living.all() else np.flatnonzero(living) for living in (living_in, living_out)
    )
    space = (t.n_in if rows is None else len(rows)) * (t.n_out if columns is None else len(columns))
    free = space - int(np.count_nonzero(survives))
    count = min(count, free)
    wanted = count if gradient is None else min(CANDIDATES_PER_CONNECTION * count, free)
    indptr, indices = draw_free(
        t.n_in, t.n_out, wanted, rng=rng, taken=(t.indptr, t.indices, survives), rows=rows, columns=columns
    )
    if gradient is None or count == wanted:
        return indptr, indices
    chosen = np.ones(wanted, dtype=bool)
    drop_smallest(gradient(indptr, indices), ANY, wanted - count, chosen)
    indptr = np.append(0, np.cumsum(chosen))[indptr]
    return indptr, indices[chosen]


def _merged(layer: Layer, survives: NDArray[np.bool_], indptr: Int64, indices: Int32, weights: Float32) -> Layer:
    """Return the layer with its surviving connections and new ones."""
    t = layer.topology
    indptr, indices, weights, velocity = kernels.merge_connections(
        t.indptr, t.indices, layer.weights, layer.velocity, survives, indptr, indices, weights, t.n_out
    )
    return Layer(Topology.from_sorted(indptr, indices, t.n_out), weights, velocity, layer.bias, layer.bias_velocity)


def _fold_constants(layer: Layer, following: Layer, doomed: NDArray[np.bool_], slope: float) -> None:
    emitted = np.where(doomed, np.where(layer.bias > 0, layer.bias, np.float32(slope) * layer.bias), np.float32(0))
    t = following.topology
    following.bias += kernels.column_sums(t.indptr, t.indices, following.weights, emitted, t.n_out).astype(np.float32)
    layer.bias[doomed] = 0
    layer.bias_velocity[doomed] = 0


def _without(layer: Layer, dropped: NDArray[np.bool_]) -> Layer:
    nothing = np.zeros_like(layer.topology.indptr), np.empty(0, np.int32), np.empty(0, np.float32)
    return _merged(layer, ~dropped, *nothing)
