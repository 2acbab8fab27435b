"""Models as vectors, stale gradients, and the average of models with different topologies.

Arrays and networks only, no channels. Sections refer to arXiv 2102.01732.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.config import Config
from tsnn.engine.activations import curve_of
from tsnn.engine.network import Float32, Layer, Network, layer_slopes
from tsnn.engine.pruning import ANY, NEGATIVE, POSITIVE, drop_smallest
from tsnn.engine.topology import Int32, Topology

ARRAYS_PER_LAYER = 3  # of :func:`describe_topology`


def bind(network: Network, weights: Float32, velocity: Float32) -> None:
    """Make a network's weights, biases and their velocities views of two vectors, float32[n].

    Layer after layer: weights, then biases. The network takes the vectors' values.
    """
    start = 0
    for layer in network.layers:
        middle, stop = start + layer.topology.connections, start + layer.topology.connections + layer.topology.n_out
        layer.weights, layer.bias = weights[start:middle], weights[middle:stop]
        layer.velocity, layer.bias_velocity = velocity[start:middle], velocity[middle:stop]
        start = stop


def flatten(network: Network) -> tuple[Float32, Float32]:
    """Move a network's weights and biases into one vector, float32[n], and their velocities into another."""
    layers = network.layers
    weights = np.concatenate([part for layer in layers for part in (layer.weights, layer.bias)])
    velocity = np.concatenate([part for layer in layers for part in (layer.velocity, layer.bias_velocity)])
    bind(network, weights, velocity)
    return weights, velocity


def describe_topology(network: Network) -> list[NDArray[Any]]:
    """Return the arrays of a network's topology, three per layer: indptr, indices, living neurons as uint8."""
    return [
        part
        for layer, living in zip(network.layers, network.living, strict=True)
        for part in (layer.topology.indptr, layer.topology.indices, living.view(np.uint8))
    ]


def rebuild(arrays: Sequence[NDArray[Any]], config: Config, weights: Float32, velocity: Float32) -> Network:
    """Build a network from :func:`describe_topology`'s arrays, with its values in two vectors (:func:`bind`)."""
    layers, living = [], []
    for l in range(0, len(arrays), ARRAYS_PER_LAYER):
        indptr, indices, lives = arrays[l : l + ARRAYS_PER_LAYER]
        topology = Topology.from_sorted(indptr, indices, len(lives))
        empty = np.empty(0, np.float32)
        layers.append(Layer(topology, empty, empty, empty, empty))
        living.append(lives.view(np.bool_))
    slopes, curve = layer_slopes(config.network), curve_of(config.network.activation)
    network = Network(layers, slopes, config.network.initializer, living, curve=curve)
    bind(network, weights, velocity)
    return network


def trace_connections(old: Sequence[Topology], new: Sequence[Topology]) -> Int32:
    """Return the position of each value of a new vector in the vector before an evolution, int32[n]; -1 if new.

    Biases stay, connections are identified by their neurons. O(connections), once per evolution.
    """
    sizes = [t.connections + t.n_out for t in new]
    sources = np.empty(sum(sizes), np.int32)
    start = offset = 0
    for before, after, size in zip(old, new, sizes, strict=True):
        middle = start + after.connections
        kernels.find_connections(
            after.indptr, after.indices, before.indptr, before.indices, offset, sources[start:middle]
        )
        sources[middle : start + size] = offset + before.connections + np.arange(before.n_out)
        start, offset = start + size, offset + before.connections + before.n_out
    return sources


def compose(older: Int32, newer: Int32) -> Int32:
    """Compose the traces of two successive evolutions."""
    return np.where(newer >= 0, older[newer], np.int32(-1))


def retain_valid(gradient: Float32, sources: Int32) -> Float32:
    """Map a stale gradient to the current topology: RetainValidUpdates (section 3.4).

    Parameters
    ----------
    gradient : float32[m]
        Computed on an older topology.
    sources : int32[n]
        Position of each current value in it (:func:`trace_connections`).

    Returns
    -------
    gradient : float32[n]
        Entries of pruned connections are dropped; new connections get 0.
    """
    mapped = np.empty(len(sources), np.float32)
    kernels.retain(gradient, sources, mapped)
    return mapped


def average(networks: Sequence[Network]) -> Network:
    """Average models with different topologies, and prune the average (section 3.4, end of phase 2).

    Weights are averaged over the union of the connections, where a missing one counts as 0; biases too. Then the
    smallest are pruned, by sign as in SET, until each layer has the mean number of connections of the models.
    Velocities are 0.

    Parameters
    ----------
    networks : sequence of Network
        The models; they have the same layers and living neurons.
    """
    fraction = 1 / len(networks)
    total: Network | None = None
    for network in networks:
        if total is None:
            layers = [_empty(layer) for layer in network.layers]
            total = Network(layers, network.slopes, network.initializer, list(network.living), curve=network.curve)
        for l, layer in enumerate(network.layers):
            sums, t, other = total.layers[l], total.layers[l].topology, layer.topology
            indptr, indices, weights = kernels.add_layers(
                t.indptr, t.indices, sums.weights, other.indptr, other.indices, layer.weights, fraction
            )
            total.layers[l] = Layer.new(Topology.from_sorted(indptr, indices, t.n_out), weights)
            total.layers[l].bias[:] = sums.bias + np.float32(fraction) * layer.bias
    assert total is not None
    for l, number in enumerate(_mean_connections(networks)):
        total.layers[l] = resparsify(total.layers[l], number)
    return total


def _mean_connections(networks: Sequence[Network]) -> list[int]:
    """Return the mean number of connections of each layer, rounded so that their sum is the mean of all layers."""
    count = len(networks)
    sums = [
        sum(layer.topology.connections for layer in layers)
        for layers in zip(*(n.layers for n in networks), strict=True)
    ]
    below = [(2 * each + count) // (2 * count) for each in itertools.accumulate(sums, initial=0)]
    return [after - before for before, after in itertools.pairwise(below)]


def resparsify(layer: Layer, connections: int) -> Layer:
    """Return a layer with its smallest weights pruned until it has this number of connections.

    The same fraction of the positive and of the negative weights is pruned, as in SET. A layer with no more connections
    is returned unchanged.
    """
    t, weights = layer.topology, layer.weights
    surplus = t.connections - connections
    if surplus <= 0:
        return layer
    survives = np.ones(len(weights), dtype=bool)
    positive = round(surplus * int(np.count_nonzero(weights >= 0)) / len(weights))
    drop_smallest(weights, POSITIVE, positive, survives)
    drop_smallest(weights, NEGATIVE, surplus - positive, survives)
    drop_smallest(weights, ANY, int(np.count_nonzero(survives)) - connections, survives)
    indptr = np.append(0, np.cumsum(survives))[t.indptr]
    pruned = Layer.new(Topology.from_sorted(indptr, t.indices[survives], t.n_out), weights[survives])
    pruned.bias[:] = layer.bias
    return pruned


def _empty(layer: Layer) -> Layer:
    """Return a layer of the same size without connections."""
    t = layer.topology
    pattern = Topology.from_sorted(np.zeros_like(t.indptr), np.empty(0, np.int32), t.n_out)
    return Layer.new(pattern, np.empty(0, np.float32))
