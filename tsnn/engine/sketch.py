"""Sketch of a network: the few neurons and connections of it that a snapshot holds for drawing.

A small network is drawn completely. Of a large one the strongest neurons are, with all connections between them, so
that the difference between two sketches is a true one. Its size does not depend on that of the network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.engine.importance import importance
from tsnn.engine.network import Network
from tsnn.snapshot import Snapshot

MAX_EDGES = 2000  # connections of a network that is drawn completely
ABRIDGED = 1000  # connections drawn of a larger one: more hide each other
MAX_DRAWN = 200  # neurons of a layer, if that few connections lie between them
#: A drawn neuron stays while its rank is below this multiple of their number: the picture does not jump.
LOYALTY = 2
_GROWTH = 1.3  # least ratio by which the number of drawn neurons grows, for the same reason
MAX_PIXELS = 4096  # of an image that may be drawn; a neuron's share of them is drawn with it
ALL_OUTPUTS = 40  # fewer outputs are all drawn
_UNRANKED = np.iinfo(np.int16).max

#: Epochs of birth of connections, by layer, input neurons and positions in CSR order.
Births = Callable[[int, NDArray[Any], NDArray[Any]], NDArray[np.int32]]


class Candidates(NamedTuple):
    """Neurons of one layer that may be drawn, the first ones first, and the rank of every neuron of the layer."""

    neurons: NDArray[np.int32]
    ranks: NDArray[np.int16]


def sketch(
    network: Network, image: bool = False, before: Snapshot | None = None, births: Births | None = None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the drawn part of a network.

    Parameters
    ----------
    network : Network
        The network.
    image : bool
        Whether its inputs form an image, of which more inputs are drawn than neurons of a layer.
    before : Snapshot, optional
        The one before: its neurons stay where they are if they are still among the strong ones.
    births : callable, optional
        Returns the epochs of birth of connections.

    Returns
    -------
    fields, layers : dict, list of dict
        The fields ``drawn_...`` and ``edge...`` of :class:`tsnn.snapshot.Snapshot`, and of each of its layers.
    """
    drawn = [None if before is None else before.drawn_inputs]
    drawn += [None] * len(network.layers) if before is None else [layer.drawn for layer in before.layers]
    living = [np.ones(network.sizes[0], bool), *network.living]
    candidates = [_candidates(*layer, MAX_DRAWN) for layer in zip(_strengths(network), living, drawn, strict=True)]
    if image:
        most = min(network.sizes[0], MAX_PIXELS)
        pixels = _candidates(_strengths(network)[0], living[0], drawn[0], most)
        share = pixels.ranks.astype(np.int32) * MAX_DRAWN // max(most, MAX_DRAWN)
        candidates[0] = Candidates(pixels.neurons, np.where(pixels.ranks < most, share, _UNRANKED).astype(np.int16))
    if network.sizes[-1] <= ALL_OUTPUTS:
        candidates[-1].ranks[candidates[-1].neurons] = 0
    edges, count = _edges(network, candidates)
    held = max([len(neurons) for neurons in drawn[1:-1] if neurons is not None], default=count)
    count = held if held <= count <= _GROWTH * held else count
    chosen = [c.neurons[c.ranks[c.neurons] < count] for c in candidates]
    inputs = _placed(chosen[0], drawn[0])
    fields = {"drawn_inputs": inputs, "drawn_input_degree": _out_degree(network, 0, inputs)}
    layers = []
    for l, (rows, columns, positions, needs) in enumerate(edges):
        kept = needs <= count
        rows, columns, positions = rows[kept], columns[kept], positions[kept]
        order = np.lexsort((columns, rows))
        rows, columns, positions = rows[order], columns[order], positions[order]
        neurons = _placed(chosen[l + 1], drawn[l + 1])
        largest = float(np.finfo(np.float16).max)
        layers.append({
            "drawn": neurons,
            "drawn_degree": np.stack([network.layers[l].topology.in_degree[neurons].astype(np.int32),
                                      _out_degree(network, l + 1, neurons)], axis=1),
            "edges": np.stack([rows, columns], axis=1),
            "edge_weights": np.clip(network.layers[l].weights[positions], -largest, largest).astype(np.float16),
            "edge_births": None if births is None else births(l, rows, positions),
        })  # fmt: skip
    return fields, layers


def _strengths(network: Network) -> list[NDArray[np.float64]]:
    """Return the sum of |weight| over the connections of each neuron, by layers of neurons."""
    leaving = [kernels.row_strength(layer.topology.indptr, layer.weights) for layer in network.layers]
    strengths = [leaving[0], *map(importance, network.layers)]
    for l in range(1, len(network.layers)):
        strengths[l] = strengths[l] + leaving[l]
    return strengths


def _candidates(
    strength: NDArray[np.float64], living: NDArray[np.bool_], drawn: NDArray[np.int32] | None, most: int
) -> Candidates:
    """Rank the neurons of a layer: those drawn before, as long as they are strong, then the strongest others."""
    strong: NDArray[Any] = np.flatnonzero(living)
    if len(strong) > LOYALTY * most:
        strong = strong[np.argpartition(-strength[strong], LOYALTY * most - 1)[: LOYALTY * most]]
    strong = strong[np.lexsort((strong, -strength[strong]))]
    if drawn is not None:
        loyal = np.isin(strong, drawn) & (np.arange(len(strong)) < LOYALTY * len(drawn))
        strong = strong[np.argsort(~loyal, kind="stable")]
    strong = strong[:most]
    ranks = np.full(len(strength), _UNRANKED, np.int16)
    ranks[strong] = np.arange(len(strong))
    return Candidates(strong.astype(np.int32), ranks)


def _edges(network: Network, candidates: list[Candidates]) -> tuple[list[tuple[NDArray[Any], ...]], int]:
    """Return the connections between candidates, and how many of each layer can be drawn.

    Returns
    -------
    edges : list of tuple of arrays [m]
        For each layer: neurons at both ends, positions in CSR order, and how many neurons must be drawn to draw it.
    count : int
        Most neurons of each layer with at most :data:`MAX_EDGES` connections between them; :data:`ABRIDGED`, if the
        network has more than that.
    """
    complete = sum(layer.topology.connections for layer in network.layers) <= MAX_EDGES
    limit, found = MAX_EDGES if complete else ABRIDGED, []
    for layer, start, end in zip(network.layers, candidates, candidates[1:], strict=False):
        t, parts = layer.topology, []
        certain = 0  # connections that are drawn whatever the count
        for j in end.neurons:
            rank = int(end.ranks[j])
            column = slice(t.t_indptr[j], t.t_indptr[j + 1])
            ranks = start.ranks[t.t_indices[column]]
            near = np.flatnonzero(ranks < MAX_DRAWN)
            rows, needs = t.t_indices[column][near], np.maximum(ranks[near], rank) + 1
            parts.append((rows, np.full(len(rows), j, np.int32), t.t_perm[column][near], needs))
            certain += int(np.count_nonzero(ranks[near] <= rank))
            if certain > limit:
                break
        empty = tuple(np.empty(0, np.int32) for _ in range(4))
        found.append(tuple(np.concatenate(arrays) for arrays in zip(empty, *parts, strict=True)))
    needs = np.sort(np.concatenate([needs for *_, needs in found]))
    return found, MAX_DRAWN if len(needs) <= limit else int(needs[limit]) - 1


def _placed(neurons: NDArray[np.int32], drawn: NDArray[np.int32] | None) -> NDArray[np.int32]:
    """Return the neurons from top to bottom: those drawn before in their places, new ones in the places left."""
    neurons = np.sort(neurons)
    if drawn is None:
        return neurons
    drawn = drawn[np.isin(drawn, neurons)] if len(drawn) > len(neurons) else drawn
    placed = np.full(len(neurons), -1, np.int32)
    placed[: len(drawn)] = np.where(np.isin(drawn, neurons), drawn, -1)
    placed[placed < 0] = neurons[~np.isin(neurons, drawn)]
    return placed


def _out_degree(network: Network, layer: int, neurons: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the numbers of outgoing connections of neurons; 0 for those of the output layer."""
    if layer == len(network.layers):
        return np.zeros(len(neurons), np.int32)
    return network.layers[layer].topology.out_degree[neurons].astype(np.int32)
