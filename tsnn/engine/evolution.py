"""Evolution of the topology: prune and regrow, layer by layer (SET, Nature Communications 2018, Methods).

The rules are in :mod:`tsnn.engine.pruning` and :mod:`tsnn.engine.regrowth`. Everything is O(connections).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.config import Config
from tsnn.engine.network import Float32, Layer, Network, draw_weights
from tsnn.engine.pruning import ANY, choose_survivors, drop_smallest
from tsnn.engine.regrowth import FreePositions, Gradient
from tsnn.engine.shapes import granted_connections
from tsnn.engine.topology import Int32, Int64, Topology
from tsnn.registry import REGROWTH


@dataclass(frozen=True)
class Evolved:
    """A layer after evolution, and the number of connections pruned and grown."""

    layer: Layer
    pruned: int
    grown: int


class LayerContext(NamedTuple):
    """The network around a layer that evolves: living neurons and gradient.

    Attributes
    ----------
    living_in, living_out : bool[n_in], bool[n_out], or None
        Neurons that may get new connections; None: all.
    gradient : callable or None
        See :class:`tsnn.engine.regrowth.FreePositions`; required by rules that need it.
    """

    living_in: NDArray[np.bool_] | None = None
    living_out: NDArray[np.bool_] | None = None
    gradient: Gradient | None = None


ISOLATED = LayerContext()  # all neurons live, no gradient


def evolve(
    layer: Layer, connections: int, *, zeta: float, prune: str = "signed", regrow: str = "random", initializer: str,
    rng: np.random.Generator, context: LayerContext = ISOLATED,
) -> Evolved:  # fmt: skip
    """Prune a layer's weakest connections and regrow others at free places (SET).

    Parameters
    ----------
    layer : Layer
        Not changed.
    connections : int
        Number of connections afterwards. The same as before keeps the parameter count, as SET does;
        another number grows more, or prunes more by magnitude.
    zeta : float
        Fraction to prune, in [0, 1).
    prune, regrow : str
        Names of a pruning and a regrowth rule (:data:`tsnn.registry.PRUNING`, :data:`tsnn.registry.REGROWTH`).
    initializer : str
        Distribution of the new weights (:func:`tsnn.engine.network.draw_weights`); their velocity is 0.
    rng : numpy.random.Generator
        Source of randomness.
    context : LayerContext
        Living neurons, and the gradient for rules that need it.

    Returns
    -------
    evolved : Evolved
        Survivors keep weight, velocity and the optimizer's state. New positions are free ones, distinct; one that was
        just pruned may return.
    """
    t = layer.topology
    survives = choose_survivors(layer.weights, zeta, prune)
    kept = int(np.count_nonzero(survives))
    if kept > connections:
        drop_smallest(layer.weights, ANY, kept - connections, survives)
        kept = connections
    free = FreePositions(t, survives, *context)
    indptr, indices = REGROWTH[regrow](free, min(connections - kept, free.count), rng)
    grown = len(indices)
    weights = draw_weights(initializer, t.n_in, t.n_out, grown, rng=rng)
    return Evolved(merge_connections(layer, survives, indptr, indices, weights), t.connections - kept, grown)


def target_connections(network: Network, config: Config) -> list[int]:
    """Return the number of connections that epsilon or density grants each layer between its living neurons."""
    return granted_connections([network.sizes[0], *(int(living.sum()) for living in network.living)], config.network)


def evolve_all(
    network: Network, config: Config, new_epsilon: bool, probe: Callable[..., Any] | None, rng: np.random.Generator
) -> list[int]:
    """Evolve every layer but the output layer, one after the other (:func:`evolve`).

    At any time only one layer exists twice, without transposed view.

    Parameters
    ----------
    network : Network
        Its layers are replaced.
    config : Config
        zeta, epsilon, the rules.
    new_epsilon : bool
        Whether the layers get the number of connections that epsilon grants, or keep theirs.
    probe : callable or None
        For rules that need it: returns the gradient of a layer, by its number, and CSR pattern; of the network at that
        moment, with its lower layers evolved.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    grown : list of int
        New connections of each layer.
    """
    grown = [0] * len(network.layers)
    wanted = target_connections(network, config) if new_epsilon else [l.topology.connections for l in network.layers]
    for l in range(len(network.layers) - 1):
        if probe is None:
            network.layers[l].topology.release()
        evolved = evolve(
            network.layers[l],
            wanted[l],
            zeta=config.training.zeta,
            prune=config.training.prune,
            regrow=config.training.regrow,
            initializer=network.initializer,
            rng=rng,
            context=LayerContext(
                network.living_inputs(l), network.living[l], None if probe is None else functools.partial(probe, l)
            ),
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
    state = {name: np.zeros_like(weights) for name in layer.state}
    for name, values in layer.state.items():
        kernels.carry_values(t.indptr, t.indices, values, survives, indptr, indices, state[name])
    merged = Topology.from_sorted(indptr, indices, t.n_out)
    return Layer(merged, weights, velocity, layer.bias, layer.bias_velocity, state, layer.bias_state)
