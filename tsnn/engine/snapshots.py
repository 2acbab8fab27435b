"""Snapshots: summaries of a topology for display, small at any size of network."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.engine.importance import importance
from tsnn.engine.network import Network
from tsnn.engine.topology import Topology

MAP_CELLS = 200
HISTOGRAM_BINS = 60
MAX_INPUTS = 100_000
FOLLOWED = 1_000_000  # connections of a layer whose age is followed, about
EXTREME = 8  # neurons displayed one by one on each side: the least and the most important
PICTURED, STRONGEST = 512, 64  # connections kept of each of them: with inputs, with other neurons


def snapshot_epochs(epochs: int, count: int) -> set[int]:
    """Return the epochs to keep a snapshot of: all if they are few, else geometrically spaced, with both ends.

    Parameters
    ----------
    epochs : int
        Epochs of the run; epoch 0 is the start.
    count : int
        Largest number of snapshots, in addition to that of epoch 0.
    """
    if epochs <= count:
        return set(range(epochs + 1))
    spaced = np.geomspace(1, epochs, count).round().astype(int)
    return {0, *spaced.tolist()}


class Ages:
    """Ages of connections, counted in epochs.

    Where a layer has more than a million connections, those of evenly spread rows are followed, so the memory stays
    below 10 MB per layer at any size. A position that is pruned and regrown in one evolution counts as kept.

    Parameters
    ----------
    network : Network
        The network as it is at ``epoch``.
    epoch : int
        First epoch that is followed; connections that exist then count as born then.
    known : mapping of str to array, optional
        Result of :meth:`arrays` for this network, in an earlier process.
    """

    def __init__(self, network: Network, epoch: int = 0, known: Mapping[str, NDArray[Any]] | None = None):
        self.since = self.epoch = epoch
        self._layers = [_FollowedRows(layer.topology, epoch) for layer in network.layers]
        if known and all(len(known.get(f"births_{l}", "")) == len(f.births) for l, f in enumerate(self._layers)):
            self.since = int(known["births_since"])
            for l, followed in enumerate(self._layers):
                followed.births = known[f"births_{l}"]

    def update(self, network: Network, epoch: int) -> None:
        """Update the ages at the end of an epoch; a topology that did not change costs nothing."""
        self.epoch = epoch
        for followed, layer in zip(self._layers, network.layers, strict=True):
            followed.update(layer.topology, epoch)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the ages as arrays, for a checkpoint: at most 4 MB per layer."""
        births = {f"births_{l}": followed.births for l, followed in enumerate(self._layers)}
        return {"births_since": np.array(self.since), **births}

    def counts(self, layer: int) -> NDArray[np.int64]:
        """Return int64[k, 2]: age in epochs, ascending, and the number of followed connections of that age."""
        return _counts(self.epoch - self._layers[layer].births)


class _FollowedRows:
    """Rows of one layer, and the epoch in which each of their connections was born."""

    def __init__(self, topology: Topology, epoch: int):
        stride = max(1, -(-topology.connections // FOLLOWED))
        self._rows = np.arange(0, topology.n_in, stride)
        self._indptr = np.zeros(len(self._rows) + 1, np.int64)
        self._indices = self.births = np.empty(0, np.int32)
        self._seen: Any = lambda: None
        self.update(topology, epoch)

    def update(self, topology: Topology, epoch: int) -> None:
        if self._seen() is topology:
            return
        self._seen = weakref.ref(topology)
        indptr = np.append(0, np.cumsum(topology.out_degree[self._rows]))
        indices, births = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.int32)
        kernels.carry_births(
            self._rows, topology.indptr, topology.indices, self._indptr, self._indices, self.births, epoch,
            indptr, indices, births,
        )  # fmt: skip
        self._indptr, self._indices, self.births = indptr, indices, births


def take_snapshot(network: Network, percentile: float = 0.0, ages: Ages | None = None) -> dict[str, NDArray[Any]]:
    """Summarise a network's topology in O(connections).

    Parameters
    ----------
    network : Network
        The network.
    percentile : float
        Percentile of importance pruning, for the threshold; 0 if it is off.
    ages : Ages, optional
        Ages of the connections, up to date.

    Returns
    -------
    arrays : dict
        ``sizes`` int64[L + 1], neurons of each layer; ``percentile`` float32; ``input_degree`` and
        ``input_strength`` float32[n], number and summed ``|weight|`` of each input feature's connections (means over
        blocks above 100,000 features).
        For each layer ``l`` from 0: ``density_l`` uint8[<= 200, <= 200], connections per cell of the matrix
        (rows: inputs, columns: outputs) with 255 standing for ``density_max_l``; ``in_degree_l`` and
        ``out_degree_l`` int64[k, 2], (degree, living neurons with it); ``importance_l`` int64[60], histogram of
        the living neurons' importance, with ``importance_edges_l`` float32[61] and ``importance_threshold_l``
        (NaN if importance pruning is off).

        Of the 8 least and the 8 most important living neurons at the layer's end, ascending: ``neurons_l`` int64[k],
        ``neuron_values_l`` float32[k, 3], importance and number of incoming and outgoing connections, and their
        strongest connections (512 with inputs, else 64) in each direction as CSR: ``incoming_indptr_l``
        int64[k + 1], ``incoming_indices_l`` int32 and ``incoming_weights_l`` float16; ``outgoing_..._l`` the same.

        With ``ages``: ``epoch`` and ``ages_since`` int64, and ``age_l`` as :meth:`Ages.counts` returns it.
    """
    first = network.layers[0]
    arrays: dict[str, Any] = {
        "sizes": np.array(network.sizes),
        "percentile": np.float32(percentile),
        "input_degree": _block_means(first.topology.out_degree),
        "input_strength": _block_means(kernels.row_strength(first.topology.indptr, first.weights)),
    }
    for l, layer in enumerate(network.layers):
        t = layer.topology
        arrays[f"density_{l}"], arrays[f"density_max_{l}"] = density_map(t)
        arrays[f"in_degree_{l}"] = _counts(t.in_degree[network.living[l]])
        arrays[f"out_degree_{l}"] = _counts(t.out_degree[network.living_inputs(l)])
        scores = importance(layer)
        living_scores = scores[network.living[l]]
        counts, edges = np.histogram(living_scores, bins=HISTOGRAM_BINS)
        arrays[f"importance_{l}"], arrays[f"importance_edges_{l}"] = counts, edges.astype(np.float32)
        arrays[f"importance_threshold_{l}"] = np.float32(
            np.percentile(living_scores, percentile) if percentile else np.nan
        )
        arrays |= {f"{name}_{l}": values for name, values in _extreme_neurons(network, l, scores).items()}
        if ages is not None:
            arrays[f"age_{l}"] = ages.counts(l)
    if ages is not None:
        arrays["epoch"], arrays["ages_since"] = np.int64(ages.epoch), np.int64(ages.since)
    return arrays


def _extreme_neurons(network: Network, l: int, score: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """Return the least and the most important living neurons at a layer's end with their connections."""
    layer = network.layers[l]
    living = np.flatnonzero(network.living[l])
    chosen = np.arange(len(living))
    if len(living) > 2 * EXTREME:
        parted = np.argpartition(score[living], (EXTREME, len(living) - EXTREME))
        chosen = np.append(parted[:EXTREME], parted[-EXTREME:])
    chosen = chosen[np.argsort(score[living][chosen], kind="stable")]
    neurons = living[chosen]
    t = layer.topology
    incoming = [slice(t.t_indptr[j], t.t_indptr[j + 1]) for j in neurons]
    arrays = {"neurons": neurons}
    arrays |= _connections("incoming", [(t.t_indices[k], layer.weights[t.t_perm[k]]) for k in incoming],
                           STRONGEST if l else PICTURED)  # fmt: skip
    degrees = [t.in_degree[neurons], np.zeros(len(neurons))]
    outgoing: list[Any] = [(np.empty(0, np.int32), np.empty(0, np.float32))] * len(neurons)
    if l + 1 < len(network.layers):
        above = network.layers[l + 1]
        rows = [slice(above.topology.indptr[j], above.topology.indptr[j + 1]) for j in neurons]
        outgoing = [(above.topology.indices[k], above.weights[k]) for k in rows]
        degrees[1] = above.topology.out_degree[neurons]
    arrays |= _connections("outgoing", outgoing, STRONGEST)
    arrays["neuron_values"] = np.stack([score[neurons], *degrees], axis=1).astype(np.float32)
    return arrays


def _connections(
    name: str, found: list[tuple[NDArray[np.int32], NDArray[np.float32]]], most: int
) -> dict[str, NDArray[Any]]:
    """Return the strongest connections of some neurons as CSR, each row ascending."""
    kept = []
    for indices, weights in found:
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
    """Count connections in at most 200 x 200 cells of the matrix; returns the map and the count that 255 stands for."""
    counts = np.zeros((min(topology.n_in, MAP_CELLS), min(topology.n_out, MAP_CELLS)), np.int64)
    kernels.count_cells(topology.indptr, topology.indices, topology.n_out, counts)
    largest = max(int(counts.max()), 1)
    return np.round(counts * (255 / largest)).astype(np.uint8), np.float32(largest)


def _counts(degrees: NDArray[Any]) -> NDArray[np.int64]:
    counts = np.bincount(degrees)
    present = np.flatnonzero(counts)
    return np.stack([present, counts[present]], axis=1)


def _block_means(values: NDArray[Any]) -> NDArray[np.float32]:
    blocks = -(-len(values) // MAX_INPUTS)
    if blocks > 1:
        starts = np.arange(0, len(values), blocks)
        values = np.add.reduceat(values, starts) / np.diff(starts, append=len(values))
    return values.astype(np.float32)
