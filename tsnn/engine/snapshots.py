"""Summaries of a network for viewers (:class:`tsnn.snapshot.Snapshot`), and the ages of its connections."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.engine.importance import importance, pruning_thresholds
from tsnn.engine.network import Network
from tsnn.engine.sketch import sketch
from tsnn.engine.topology import Topology
from tsnn.snapshot import LayerSnapshot, Snapshot

MAP_CELLS = 200
HISTOGRAM_BINS = 60
MAX_INPUTS = 100_000
MAX_AGED = 1_000_000  # connections of a layer whose ages are recorded, approximately
EXTREME = 8  # neurons recorded with their connections: the 8 least and the 8 most important
STRONGEST_INPUTS, STRONGEST = 512, 64  # connections recorded of each of them: with inputs, with other neurons


def snapshot_epochs(epochs: int, count: int) -> set[int]:
    """Return the epochs to keep a snapshot of: all if there are at most ``count``, else geometrically spaced ones.

    Parameters
    ----------
    epochs : int
        Epochs of the run; epoch 0 is the start.
    count : int
        Most snapshots to keep, not counting that of epoch 0.
    """
    if epochs <= count:
        return set(range(epochs + 1))
    spaced = np.geomspace(1, epochs, count).round().astype(int)
    return {0, *spaced.tolist()}


class Ages:
    """Epochs of birth of a network's connections, updated at the ends of epochs.

    Where a layer has more than a million connections, only those of evenly spread rows are recorded, so the memory
    stays below 10 MB per layer at any size. A position that is pruned and regrown in one evolution counts as kept.

    Parameters
    ----------
    network : Network
        The network as it is at ``epoch``.
    epoch : int
        When the recording begins; connections that exist then count as born then.
    known : mapping of str to array, optional
        What :meth:`arrays` returned for the same network in an earlier process.
    """

    def __init__(self, network: Network, epoch: int = 0, known: Mapping[str, NDArray[Any]] | None = None):
        self.since = self.epoch = epoch
        self._layers = [_AgedRows(layer.topology, epoch) for layer in network.layers]
        if known and all(len(known.get(f"births_{l}", "")) == len(rows.births) for l, rows in enumerate(self._layers)):
            self.since = int(known["births_since"])
            for l, rows in enumerate(self._layers):
                rows.births = known[f"births_{l}"]

    def update(self, network: Network, epoch: int) -> None:
        """Update the births to the connections at the end of an epoch; an unchanged topology costs nothing."""
        self.epoch = epoch
        for rows, layer in zip(self._layers, network.layers, strict=True):
            rows.update(layer.topology, epoch)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the births as arrays for a checkpoint: at most 4 MB per layer."""
        births = {f"births_{l}": rows.births for l, rows in enumerate(self._layers)}
        return {"births_since": np.array(self.since), **births}

    def counts(self, layer: int) -> NDArray[np.int64]:
        """Return int64[k, 2]: age in epochs, ascending, and number of recorded connections of that age."""
        return _counts(self.epoch - self._layers[layer].births)

    def births(self, layer: int, rows: NDArray[Any], positions: NDArray[Any]) -> NDArray[np.int32]:
        """Return the epochs of birth of connections, by input neurons and positions in CSR order; -1 if unrecorded."""
        return self._layers[layer].births_at(rows, positions)


class _AgedRows:
    """Rows of one layer and the epoch of birth of each of their connections."""

    def __init__(self, topology: Topology, epoch: int):
        self._stride = max(1, -(-topology.connections // MAX_AGED))
        self._rows = np.arange(0, topology.n_in, self._stride)
        self._indptr = np.zeros(len(self._rows) + 1, np.int64)
        self._indices = self.births = np.empty(0, np.int32)
        self._topology: Any = lambda: None
        self.update(topology, epoch)

    def update(self, topology: Topology, epoch: int) -> None:
        if self._topology() is topology:
            return
        self._topology = weakref.ref(topology)
        indptr = np.append(0, np.cumsum(topology.out_degree[self._rows]))
        indices, births = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.int32)
        kernels.carry_births(
            self._rows, topology.indptr, topology.indices, self._indptr, self._indices, self.births, epoch,
            indptr, indices, births,
        )  # fmt: skip
        self._indptr, self._indices, self.births = indptr, indices, births

    def births_at(self, rows: NDArray[Any], positions: NDArray[Any]) -> NDArray[np.int32]:
        """Return the births of connections of the present topology."""
        births = np.full(len(rows), -1, np.int32)
        known = rows % self._stride == 0
        rows, positions = rows[known], positions[known]
        births[known] = self.births[self._indptr[rows // self._stride] + positions - self._topology().indptr[rows]]
        return births


def take_snapshot(
    network: Network, percentile: float = 0.0, ages: Ages | None = None, image: bool = False,
    before: Snapshot | None = None, scope: str = "layer",
) -> Snapshot:  # fmt: skip
    """Summarise a network's topology in O(connections).

    Parameters
    ----------
    network : Network
        The network.
    percentile : float
        Percentile of importance pruning, for the thresholds; 0 if it is off.
    ages : Ages, optional
        Epochs of birth of the connections, up to date. Without them ``epoch``, ``ages_since`` and the layers' ``age``
        are None.
    image : bool
        Whether the inputs form an image, of which more are drawn than of other layers.
    before : Snapshot, optional
        The one before, for the choice of the neurons that are drawn.
    scope : {"layer", "network"}
        That of importance pruning, see :func:`tsnn.prune_neurons`.
    """
    first = network.layers[0]
    scores, thresholds = list(map(importance, network.layers)), [math.nan] * len(network.layers)
    if percentile:
        hidden = [score[living] for score, living in zip(scores, network.living, strict=True)][:-1]
        thresholds[:-1] = pruning_thresholds(hidden, percentile, scope)
    drawn, layers = sketch(network, image, before, None if ages is None else ages.births)
    return Snapshot(
        sizes=np.array(network.sizes),
        layers=tuple(
            LayerSnapshot(**_layer_fields(network, l, scores[l], thresholds[l], ages), **layer)
            for l, layer in enumerate(layers)
        ),
        percentile=np.float32(percentile),
        input_degree=_block_means(first.topology.out_degree),
        input_strength=_block_means(kernels.row_strength(first.topology.indptr, first.weights)),
        epoch=None if ages is None else np.int64(ages.epoch),
        ages_since=None if ages is None else np.int64(ages.since),
        **drawn,
    )


def _layer_fields(
    network: Network, l: int, scores: NDArray[np.float64], threshold: float, ages: Ages | None
) -> dict[str, Any]:
    topology = network.layers[l].topology
    living = scores[network.living[l]]
    density, density_max = density_map(topology)
    counts, edges = np.histogram(living, bins=HISTOGRAM_BINS)
    return {
        "density": density,
        "density_max": density_max,
        "in_degree": _counts(topology.in_degree[network.living[l]]),
        "out_degree": _counts(topology.out_degree[network.living_inputs(l)]),
        "importance": counts,
        "importance_edges": edges.astype(np.float32),
        "importance_threshold": np.float32(threshold),
        "to_prune": np.int64(np.count_nonzero(living <= threshold)),
        "age": None if ages is None else ages.counts(l),
        **_extreme_neurons(network, l, scores),
    }


def _extreme_neurons(network: Network, l: int, score: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """Return the fields about the least and the most important living neurons at a layer's end."""
    layer = network.layers[l]
    living = np.flatnonzero(network.living[l])
    chosen = np.arange(len(living))
    if len(living) > 2 * EXTREME:
        parted = np.argpartition(score[living], (EXTREME, len(living) - EXTREME))
        chosen = np.append(parted[:EXTREME], parted[-EXTREME:])
    chosen = chosen[np.argsort(score[living][chosen], kind="stable")]
    neurons = living[chosen]
    t = layer.topology
    columns = [slice(t.t_indptr[j], t.t_indptr[j + 1]) for j in neurons]
    incoming = [(t.t_indices[k], layer.weights[t.t_perm[k]]) for k in columns]
    degrees = [t.in_degree[neurons], np.zeros(len(neurons))]
    outgoing: list[Any] = [(np.empty(0, np.int32), np.empty(0, np.float32))] * len(neurons)
    if l + 1 < len(network.layers):
        following = network.layers[l + 1]
        rows = [slice(following.topology.indptr[j], following.topology.indptr[j + 1]) for j in neurons]
        outgoing = [(following.topology.indices[k], following.weights[k]) for k in rows]
        degrees[1] = following.topology.out_degree[neurons]
    return {
        "neurons": neurons,
        "neuron_values": np.stack([score[neurons], *degrees], axis=1).astype(np.float32),
        **_strongest("incoming", incoming, STRONGEST if l else STRONGEST_INPUTS),
        **_strongest("outgoing", outgoing, STRONGEST),
    }


def _strongest(
    name: str, connections: list[tuple[NDArray[np.int32], NDArray[np.float32]]], most: int
) -> dict[str, NDArray[Any]]:
    """Return the strongest connections of some neurons as CSR, each row ascending."""
    kept = []
    for indices, weights in connections:
        strongest = np.arange(len(weights))
        if len(weights) > most:
            strongest = np.sort(np.argpartition(-abs(weights), most)[:most])
        kept.append((indices[strongest], weights[strongest]))
    return {
        f"{name}_indptr": np.append(0, np.cumsum([len(indices) for indices, _ in kept])),
        f"{name}_indices": np.concatenate([indices for indices, _ in kept]),
        f"{name}_weights": np.concatenate([weights for _, weights in kept]).astype(np.float16),
    }


def density_map(topology: Topology) -> tuple[NDArray[np.uint8], np.float32]:
    """Count connections in at most 200 x 200 cells of the matrix.

    Returns
    -------
    density, density_max : uint8[<= 200, <= 200], float32
        Counts scaled to 255, and the count that 255 stands for.
    """
    counts = np.zeros((min(topology.n_in, MAP_CELLS), min(topology.n_out, MAP_CELLS)), np.int64)
    kernels.count_cells(topology.indptr, topology.indices, topology.n_out, counts)
    largest = max(int(counts.max()), 1)
    return np.round(counts * (255 / largest)).astype(np.uint8), np.float32(largest)


def _counts(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return int64[k, 2]: the values that occur, ascending, and their numbers."""
    counts = np.bincount(values)
    present = np.flatnonzero(counts)
    return np.stack([present, counts[present]], axis=1)


def _block_means(values: NDArray[Any]) -> NDArray[np.float32]:
    """Return the means over as few blocks of equal length as give at most :data:`MAX_INPUTS` values."""
    blocks = -(-len(values) // MAX_INPUTS)
    if blocks > 1:
        starts = np.arange(0, len(values), blocks)
        values = np.add.reduceat(values, starts) / np.diff(starts, append=len(values))
    return values.astype(np.float32)
