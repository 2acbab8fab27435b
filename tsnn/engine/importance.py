"""Importance pruning of hidden neurons (arXiv 2102.01732, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.engine.activations import activate
from tsnn.engine.evolution import merge_connections
from tsnn.engine.network import Float32, Layer, Network


def importance(layer: Layer) -> NDArray[np.float64]:
    """Return the importance of each neuron at a layer's end, float64[n_out].

    The sum of ``|w|`` over its incoming connections (arXiv 2102.01732, section 3.3).
    """
    return kernels.column_strength(layer.topology.indices, layer.weights, layer.topology.n_out)


def pruning_thresholds(living: Sequence[NDArray[np.float64]], percentile: float, scope: str) -> list[float]:
    """Return the importance at or below which neurons of each hidden layer are pruned.

    Parameters
    ----------
    living : sequence of float64[k]
        Importance of the living neurons of each hidden layer.
    percentile, scope
        See :func:`prune_neurons`.
    """
    if scope == "network":
        return [float(np.percentile(np.concatenate(living), percentile))] * len(living)
    return [float(np.percentile(scores, percentile)) for scores in living]


def prune_neurons(network: Network, percentile: float, scope: str = "layer") -> list[int]:
    """Prune the unimportant neurons of the hidden layers, in place (section 3.3).

    A pruned neuron loses its incoming and outgoing connections permanently; the number of connections falls. The
    constant that it would still emit, ``f(bias)``, is folded into the next layer's biases.

    Parameters
    ----------
    network : Network
        Changed: layers replaced, ``living`` updated.
    percentile : float
        Living neurons whose importance is at or below this percentile are pruned. The most important neuron of a layer
        always stays, so no layer is ever emptied.
    scope : {"layer", "network"}
        Whether the percentile is that of each layer by itself, or of all hidden layers together.

    Returns
    -------
    pruned : list of int
        Number of neurons pruned in each hidden layer.
    """
    network.prepare_for_kernels()
    scores = [importance(layer) for layer in network.layers[:-1]]
    alive = [score[living] for score, living in zip(scores, network.living, strict=False)]
    pruned = []
    for l, (score, threshold) in enumerate(zip(scores, pruning_thresholds(alive, percentile, scope), strict=True)):
        living = network.living[l]
        to_prune = living & (score <= threshold)
        if to_prune.sum() == living.sum():
            to_prune[np.flatnonzero(living)[score[living].argmax()]] = False
        network.living[l] = living & ~to_prune
        pruned.append(int(to_prune.sum()))
        if pruned[-1]:
            emitted = activate(network.layers[l].bias, network.slopes[l], network.curve)
            _fold_constants(network.layers[l], network.layers[l + 1], to_prune, emitted)
            network.layers[l] = _without(network.layers[l], to_prune[network.layers[l].topology.indices])
            network.layers[l + 1] = _without(
                network.layers[l + 1], np.repeat(to_prune, network.layers[l + 1].topology.out_degree)
            )
    return pruned


def _fold_constants(layer: Layer, following: Layer, to_prune: NDArray[np.bool_], emitted: Float32) -> None:
    emitted = np.where(to_prune, emitted, np.float32(0))
    t = following.topology
    following.bias += kernels.column_sums(t.indptr, t.indices, following.weights, emitted, t.n_out).astype(np.float32)
    layer.bias[to_prune] = 0
    for values in (layer.bias_velocity, *layer.bias_state.values()):
        values[to_prune] = 0


def _without(layer: Layer, dropped: NDArray[np.bool_]) -> Layer:
    nothing = np.zeros_like(layer.topology.indptr), np.empty(0, np.int32), np.empty(0, np.float32)
    return merge_connections(layer, ~dropped, *nothing)
