"""Snapshots: what a viewer shows of a topology, summarised so that it stays small at any size of network."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.evolution import importance
from tsnn.network import Network
from tsnn.topology import Topology

MAP_CELLS = 200
HISTOGRAM_BINS = 60
MAX_INPUTS = 100_000


def snapshot_epochs(epochs: int, count: int) -> set[int]:
    """Return the epochs to keep a snapshot of: all if they are few, else geometrically spaced, with both ends.

    Parameters
    ----------
    epochs : int
        Epochs of the run; epoch 0 is the start.
    count : int
        How many snapshots to keep at most, beside that of epoch 0.
    """
    if epochs <= count:
        return set(range(epochs + 1))
    spaced = np.geomspace(1, epochs, count).round().astype(int)
    return {0, *spaced.tolist()}


def take_snapshot(network: Network, percentile: float = 0.0) -> dict[str, NDArray[Any]]:
    """Summarise a network's topology in O(connections).

    Parameters
    ----------
    network : Network
        The network.
    percentile : float
        Percentile of importance pruning, for the threshold; 0 if it is off.

    Returns
    -------
    arrays : dict
        ``sizes`` int64[L + 1], neurons of each layer; ``input_degree`` and ``input_strength`` float32[n], number
        and summed ``|weight|`` of each input feature's connections (means over blocks above 100,000 features).
        For each layer ``l`` from 0: ``density_l`` uint8[<= 200, <= 200], connections per cell of the matrix
        (rows: inputs, columns: outputs) with 255 standing for ``density_max_l``; ``in_degree_l`` and
        ``out_degree_l`` int64[k, 2], (degree, living neurons with it); ``importance_l`` int64[60], histogram of
        the living neurons' importance, with ``importance_edges_l`` float32[61] and ``importance_threshold_l``
        (NaN if importance pruning is off).
    """
    first = network.layers[0]
    arrays: dict[str, Any] = {
        "sizes": np.array(network.sizes),
        "input_degree": _block_means(first.topology.out_degree),
        "input_strength": _block_means(kernels.row_strength(first.topology.indptr, first.weights)),
    }
    for l, layer in enumerate(network.layers):
        t = layer.topology
        arrays[f"density_{l}"], arrays[f"density_max_{l}"] = density_map(t)
        arrays[f"in_degree_{l}"] = _counts(t.in_degree[network.living[l]])
        arrays[f"out_degree_{l}"] = _counts(t.out_degree[network.living_inputs(l)])
        score = importance(layer)[network.living[l]]
        counts, edges = np.histogram(score, bins=HISTOGRAM_BINS)
        arrays[f"importance_{l}"], arrays[f"importance_edges_{l}"] = counts, edges.astype(np.float32)
        arrays[f"importance_threshold_{l}"] = np.float32(np.percentile(score, percentile) if percentile else np.nan)
    return arrays


def density_map(topology: Topology) -> tuple[NDArray[np.uint8], np.float32]:
    """Count connections in at most 200 x 200 cells of the matrix; returns the map and what 255 stands for."""
    counts = np.zeros((min(topology.n_in, MAP_CELLS), min(topology.n_out, MAP_CELLS)), np.int64)
    kernels.count_cells(topology.indptr, topology.indices, topology.n_out, counts)
    largest = max(int(counts.max()), 1)
    return np.round(counts * (255 / largest)).astype(np.uint8), np.float32(largest)


def _counts(degrees: NDArray[np.int64]) -> NDArray[np.int64]:
    counts = np.bincount(degrees)
    present = np.flatnonzero(counts)
    return np.stack([present, counts[present]], axis=1)


def _block_means(values: NDArray[Any]) -> NDArray[np.float32]:
    blocks = -(-len(values) // MAX_INPUTS)
    if blocks > 1:
        starts = np.arange(0, len(values), blocks)
        values = np.add.reduceat(values, starts) / np.diff(starts, append=len(values))
    return values.astype(np.float32)
