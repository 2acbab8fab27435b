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
from tsnn.engine.network import Float32, Layer, Network, draw_weights
from tsnn.engine.pruning import ANY, drop_smallest, prune_smallest
from tsnn.engine.regrowth import Gradient, regrow
from tsnn.engine.shapes import epsilon_to_connections
from tsnn.engine.topology import Int32, Int64, Topology


@dataclass(frozen=True)
class Evolved:
    """A layer after evolution, and how many connections it lost and gained."""

    layer: Layer
    pruned: int
    grown: int


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
        Distribution of the new weights (:func:`tsnn.engine.network.draw_weights`); their velocity is 0.
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
    indptr, indices = regrow(t, survives, connections - kept, living_in, living_out, gradient, rng)
    grown = len(indices)
    weights = draw_weights(initializer, t.n_in, t.n_out, grown, rng=rng)
    return Evolved(merge_connections(layer, survives, indptr, indices, weights), t.connections - kept, grown)


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


def merge_connections(
    layer: Layer, survives: NDArray[np.bool_], indptr: Int64, indices: Int32, weights: Float32
) -> Layer:
    """Return the layer with its surviving connections and new ones."""
    t = layer.topology
    indptr, indices, weights, velocity = kernels.merge_connections(
        t.indptr, t.indices, layer.weights, layer.velocity, survives, indptr, indices, weights, t.n_out
    )
    return Layer(Topology.from_sorted(indptr, indices, t.n_out), weights, velocity, layer.bias, layer.bias_velocity)
