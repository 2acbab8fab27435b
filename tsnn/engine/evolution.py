"""Evolution of the topology: prune and regrow, layer by layer (SET, Nature Communications 2018, Methods).

The rules are in :mod:`tsnn.engine.pruning` and :mod:`tsnn.engine.regrowth`. Everything is O(connections).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.config import Config
from tsnn.engine.free_positions import Activations, FreePositions, Gradient, grow
from tsnn.engine.network import Float32, Layer, Network, draw_weights
from tsnn.engine.own_rules import SECONDS
from tsnn.engine.probe import Probe
from tsnn.engine.pruning import ANY, Connections, Mask, drop_smallest, surviving, take
from tsnn.engine.schedules import surplus_at
from tsnn.engine.shapes import granted_connections
from tsnn.engine.topology import Int32, Int64, Topology
from tsnn.registry import PRUNING, REGROWTH


@dataclass(frozen=True)
class Evolved:
    """A layer after evolution, and the number of connections pruned and grown."""

    layer: Layer
    pruned: int
    grown: int


class LayerContext(NamedTuple):
    """The network around a layer that evolves: living neurons, gradient, activations, and the time of rules.

    Attributes
    ----------
    living_in, living_out : bool[n_in], bool[n_out], or None
        Neurons that may get new connections; None: all.
    gradient, activations : callable or None
        See :class:`tsnn.engine.probe.LayerProbe`; required by rules that need them.
    progress : float
        Finished fraction of the epochs.
    seconds : float
        Time after which a rule that is not built in is interrupted; 0: never.
    """

    living_in: NDArray[np.bool_] | None = None
    living_out: NDArray[np.bool_] | None = None
    gradient: Gradient | None = None
    activations: Callable[[], Activations] | None = None
    progress: float = 1.0
    seconds: float = SECONDS


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
        Names of a pruning and a regrowth rule (:func:`tsnn.pruning`, :func:`tsnn.regrowth`).
    initializer : str
        Distribution of the new weights (:func:`tsnn.engine.network.draw_weights`), or "zero"; their velocity is 0.
    rng : numpy.random.Generator
        Source of randomness.
    context : LayerContext
        Living neurons, and the gradient and activations for rules that need them.

    Returns
    -------
    evolved : Evolved
        Survivors keep weight, velocity and the optimizer's state. New positions are free ones, distinct; one that was
        just pruned may return.

    Raises
    ------
    RuleError
        If a rule that is not built in fails, or returns something else than expected.
    """
    given = _connections(layer, context, rng)
    survives = surviving([given], zeta, PRUNING[prune], context.seconds)[0]
    return _regrow(layer, survives, connections, regrow, initializer, rng, context)


def _connections(layer: Layer, context: LayerContext, rng: np.random.Generator) -> Connections:
    return Connections(layer.weights, layer.topology, context.progress, rng, context.gradient)


def _regrow(
    layer: Layer, survives: Mask, connections: int, regrow: str, initializer: str, rng: np.random.Generator,
    context: LayerContext,
) -> Evolved:  # fmt: skip
    """Return a layer with its survivors and new connections, up to a number of them; it may prune more."""
    t, kept = layer.topology, int(np.count_nonzero(survives))
    if kept > connections:
        drop_smallest(layer.weights, ANY, kept - connections, survives)
        kept = connections
    free = FreePositions(
        t, survives, context.living_in, context.living_out, context.gradient, context.progress, rng, context.activations
    )
    indptr, indices = grow(REGROWTH[regrow], free, min(connections - kept, free.count), context.seconds)
    grown = len(indices)
    zero = initializer == "zero"
    weights = np.zeros(grown, np.float32) if zero else draw_weights(initializer, t.n_in, t.n_out, grown, rng=rng)
    return Evolved(merge_connections(layer, survives, indptr, indices, weights), t.connections - kept, grown)


def target_connections(network: Network, config: Config, surplus: float = 0.0) -> list[int]:
    """Return the number of connections that epsilon or density grants each layer between its living neurons.

    ``surplus`` is the fraction that is left of the additional ones of ``training.start_factor``.
    """
    sizes = [network.sizes[0], *(int(living.sum()) for living in network.living)]
    granted = granted_connections(sizes, config.network)
    if not surplus:
        return granted
    first = granted_connections(sizes, config.network, config.training.start_factor)
    return [few + round(surplus * (many - few)) for few, many in zip(granted, first, strict=True)]


def wanted_connections(
    network: Network, config: Config, epochs: float, new_epsilon: bool = False
) -> list[int] | None:  # fmt: skip
    """Return the connections of each layer after an evolution after a number of epochs; None: as many as before.

    ``training.start_factor`` lets them fall, those of the output layer too; a new epsilon grants all other layers more
    or fewer.
    """
    falls = config.training.start_factor > 1
    if not falls and not new_epsilon:
        return None
    before = [layer.topology.connections for layer in network.layers]
    target = target_connections(network, config, surplus_at(config, epochs) if falls else 0.0)
    fewer = [min(pair) for pair in zip(before, target, strict=True)]
    if PRUNING[config.training.prune].needs == "network":  # layers share one budget
        fewer = [*(target if sum(target[:-1]) < sum(before[:-1]) else before)[:-1], fewer[-1]]
    if new_epsilon:
        return [*target[:-1], fewer[-1] if falls else before[-1]]
    return fewer if fewer != before else None


def evolve_all(
    network: Network, config: Config, wanted: Sequence[int] | None, probe: Probe | None, rng: np.random.Generator,
    progress: float = 1.0,
) -> list[int]:  # fmt: skip
    """Evolve every layer but the output layer: prune all of them, then regrow one after the other (:func:`evolve`).

    The output layer is pruned only, by magnitude, if it is to have fewer connections.

    At any time only one layer exists twice, without transposed view.

    Parameters
    ----------
    network : Network
        Its layers are replaced.
    config : Config
        zeta, the rules.
    wanted : sequence of int, or None
        Connections of each layer afterwards; None: as many as before.
    probe : Probe or None
        For rules that need it: gradient and activations of the network at that moment, with its lower layers evolved.
    rng : numpy.random.Generator
        Source of randomness.
    progress : float
        Finished fraction of the epochs.

    Returns
    -------
    grown : list of int
        New connections of each layer.
    """
    training, n = config.training, len(network.layers) - 1
    contexts = [_context(network, l, config, probe, progress) for l in range(n)]
    if probe is None:
        for layer in network.layers[:n]:
            layer.topology.release()
    rule = PRUNING[training.prune]
    given = [_connections(network.layers[l], contexts[l], rng) for l in range(n)]
    before = [layer.topology.connections for layer in network.layers[:n]]
    counts = before if wanted is None else list(wanted[:n])
    zeta = training.zeta
    if shared := rule.needs == "network" and sum(counts) <= sum(before):
        zeta = max(zeta, 1 - sum(counts) / max(1, sum(before)))
    survives = surviving(given, zeta, rule, config.run.rule_seconds)
    if shared:
        counts = divided_budget(sum(counts), [int(np.count_nonzero(s)) for s in survives], _places(network)[:n])
    if training.chain_removal:
        remove_chains(network, survives)
    del given
    grown = [0] * len(network.layers)
    initializer = network.initializer if training.new_weights == "drawn" else "zero"
    for l in range(n):
        evolved = _regrow(network.layers[l], survives[l], counts[l], training.regrow, initializer, rng, contexts[l])
        network.layers[l] = evolved.layer
        grown[l] = evolved.grown
        del evolved
    if wanted is not None:
        thin(network, n, wanted[n], rng)
    return grown


def thin(network: Network, l: int, connections: int, rng: np.random.Generator) -> None:
    """Prune a layer by magnitude to a number of connections; the network's layer is replaced if it has more."""
    layer = network.layers[l]
    if connections < layer.topology.connections:
        layer.topology.release()
        network.layers[l] = evolve(
            layer, connections, zeta=0, prune="magnitude", initializer=network.initializer, rng=rng
        ).layer


def _context(network: Network, l: int, config: Config, probe: Probe | None, progress: float) -> LayerContext:
    functions = None if probe is None else probe.of_layer(l)
    return LayerContext(
        network.living_inputs(l),
        network.living[l],
        functions and functions.gradient,
        functions and functions.activations,
        progress,
        config.run.rule_seconds,
    )


def _places(network: Network) -> list[int]:
    """Return the number of places for connections between the living neurons of each layer."""
    living = [network.sizes[0], *(int(living.sum()) for living in network.living)]
    return [n_in * n_out for n_in, n_out in itertools.pairwise(living)]


def divided_budget(connections: int, kept: Sequence[int], places: Sequence[int]) -> list[int]:
    """Return the connections of each layer: new ones in proportion to its survivors, as far as it has places.

    DSR, arXiv 1902.05967, algorithm 1.

    Parameters
    ----------
    connections : int
        Number of all layers together.
    kept, places : sequence of int
        Survivors and places of each layer.
    """
    counts = list(kept)
    while (left := connections - sum(counts)) > 0:
        room = [l for l in range(len(kept)) if counts[l] < places[l]]
        if not room:
            break
        total = sum(kept[l] for l in room)
        shares = [left * kept[l] // total if total else left // len(room) for l in room]
        if not any(shares):  # fewer than layers are left: the largest first
            shares = [int(l in sorted(room, key=lambda r: -kept[r])[:left]) for l in room]
        for l, share in zip(room, shares, strict=True):
            counts[l] = min(places[l], counts[l] + share)
    return counts


def remove_chains(network: Network, survives: Sequence[Mask]) -> None:
    """Mark connections that lead nowhere as pruned: from neurons without inputs, and to neurons without outputs.

    CHT (arXiv 2501.19107) calls it chain removal: it follows chains over the layers. The output layer does not change.

    Parameters
    ----------
    network : Network
        Not changed.
    survives : sequence of bool[connections]
        Of each layer that evolves; changed in place.
    """
    topologies = [layer.topology for layer in network.layers]
    for l in range(1, len(survives)):
        t, below = topologies[l], topologies[l - 1]
        inputs = np.zeros(t.n_in, np.int64)
        kernels.count(below.indices[survives[l - 1]], inputs)
        survives[l] &= np.repeat(inputs > 0, t.out_degree)
    for l in reversed(range(len(survives))):
        above = topologies[l + 1]
        marks = survives[l + 1] if l + 1 < len(survives) else np.ones(above.connections, bool)
        before = np.zeros(len(marks) + 1, np.int32)
        np.cumsum(marks, out=before[1:])
        outputs = np.diff(before[above.indptr])
        survives[l] &= take(outputs > 0, topologies[l].indices)


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
