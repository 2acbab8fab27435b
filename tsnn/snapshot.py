"""Snapshot: a summary of a network after an epoch, its topology and its mistakes, and its file.

A snapshot stays below about 150 kB at any size of network, so that a run keeps many and a viewer reads them quickly.
:func:`tsnn.take_snapshot` computes it, :meth:`tsnn.runs.Run.snapshot` reads one of a run. The file is an .npz archive
whose arrays have the names of the fields; those of a layer end with its number: ``density_0``.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsnn.archives import npz_bytes
from tsnn.files import open_regular, write_atomic

#: Largest file that is read, uncompressed, in bytes.
MAX_BYTES = 64 * 2**20
MAX_SIZES = 10_000  #: layers of neurons
MAX_CONFUSED = 50  #: classes of which a snapshot holds the confusion matrix
MAX_COUNTED = 10_000  #: classes of which it holds counts
MAX_PIXELS = 32_000  #: of all images in it; of a larger image, none

_DIMENSIONS = {
    "sizes": 1, "percentile": 0, "input_degree": 1, "input_strength": 1, "epoch": 0, "ages_since": 0,
    "density": 2, "density_max": 0, "in_degree": 2, "out_degree": 2, "importance": 1, "importance_edges": 1,
    "importance_threshold": 0, "to_prune": 0, "neurons": 1, "neuron_values": 2, "age": 2,
    "incoming_indptr": 1, "incoming_indices": 1, "incoming_weights": 1,
    "outgoing_indptr": 1, "outgoing_indices": 1, "outgoing_weights": 1,
    "drawn_inputs": 1, "drawn_input_degree": 1, "drawn": 1, "drawn_degree": 2,
    "edges": 2, "edge_weights": 1, "edge_births": 1,
    "test_counts": 2, "test_confusion": 2, "test_scatter": 3, "test_samples": 2, "test_sample_values": 2,
    "test_pixels": 2, "test_inputs": 2, "test_contributions": 2, "test_features": 2,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class LayerSnapshot:
    """Summary of one layer of connections. Fields that were not recorded, or not read, are None.

    Attributes
    ----------
    density : uint8[<= 200, <= 200]
        Connections per cell of the matrix (rows: inputs, columns: outputs); 255 stands for ``density_max``.
    density_max : float32
        Most connections in a cell.
    in_degree, out_degree : int64[k, 2]
        Degree, ascending, and number of living neurons that have it: at the layer's end and at its start.
    importance : int64[60]
        Histogram of the importance of the living neurons at the layer's end.
    importance_edges : float32[61]
        Edges of its bins.
    importance_threshold : float32
        Importance at or below which neurons are pruned; NaN if importance pruning is off, and of the output layer.
    to_prune : int64
        Number of living neurons at or below it.
    neurons : int64[n]
        The 8 least and the 8 most important living neurons at the layer's end, by ascending importance.
    neuron_values : float32[n, 3]
        Their importance and their numbers of incoming and outgoing connections.
    incoming_indptr, outgoing_indptr : int64[n + 1]
        Where the connections of each of these neurons start in the next arrays (CSR).
    incoming_indices, outgoing_indices : int32[m]
        Neurons at the other ends of their strongest connections (512 with inputs, else 64), ascending per neuron.
    incoming_weights, outgoing_weights : float16[m]
        Weights of these connections.
    age : int64[k, 2]
        Age in epochs, ascending, and number of connections of that age (of evenly spread rows in a large layer).
    drawn : int32[k]
        Neurons at the layer's end that are drawn: all of a small network, else the strongest, from top to bottom.
        They stay in their places from snapshot to snapshot as long as they are strong.
    drawn_degree : int32[k, 2]
        Numbers of all their incoming and outgoing connections.
    edges : int32[m, 2]
        The connections between drawn neurons, ascending: neuron at the start, neuron at the end. A snapshot has at most
        2000 of them, 1000 if the network has more.
    edge_weights : float16[m]
        Their weights.
    edge_births : int32[m]
        Epochs at whose end they were grown, where ages are recorded; -1 if unknown (large layers).
    """

    density: NDArray[np.uint8] | None = None
    density_max: np.float32 | None = None
    in_degree: NDArray[np.int64] | None = None
    out_degree: NDArray[np.int64] | None = None
    importance: NDArray[np.int64] | None = None
    importance_edges: NDArray[np.float32] | None = None
    importance_threshold: np.float32 | None = None
    to_prune: np.int64 | None = None
    neurons: NDArray[np.int64] | None = None
    neuron_values: NDArray[np.float32] | None = None
    incoming_indptr: NDArray[np.int64] | None = None
    incoming_indices: NDArray[np.int32] | None = None
    incoming_weights: NDArray[np.float16] | None = None
    outgoing_indptr: NDArray[np.int64] | None = None
    outgoing_indices: NDArray[np.int32] | None = None
    outgoing_weights: NDArray[np.float16] | None = None
    age: NDArray[np.int64] | None = None
    drawn: NDArray[np.int32] | None = None
    drawn_degree: NDArray[np.int32] | None = None
    edges: NDArray[np.int32] | None = None
    edge_weights: NDArray[np.float16] | None = None
    edge_births: NDArray[np.int32] | None = None

    def connections(self, neuron: int, direction: str) -> tuple[NDArray[np.int32], NDArray[np.float16]]:
        """Return the strongest connections of one of :attr:`neurons`.

        Parameters
        ----------
        neuron : int
            Number of the neuron in its layer.
        direction : {"incoming", "outgoing"}
            Which connections.

        Returns
        -------
        neurons, weights : int32[k], float16[k]
            The neurons at their other ends, and their weights.
        """
        at = int(np.flatnonzero(self.neurons == neuron)[0])
        indptr, indices, weights = (getattr(self, f"{direction}_{part}") for part in ("indptr", "indices", "weights"))
        chosen = slice(indptr[at], indptr[at + 1])
        return indices[chosen], weights[chosen]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Summary of a network's topology, and of its answers to the test part before the epoch's evolution.

    Fields that were not recorded, or not read, are None.

    Attributes
    ----------
    sizes : int64[L + 1]
        Neurons of each layer.
    layers : tuple of LayerSnapshot
        The L layers of connections.
    percentile : float32
        Percentile of importance pruning; 0 if it is off.
    input_degree, input_strength : float32[n]
        Number and summed ``|weight|`` of each input feature's connections; means over blocks of features where there
        are more than 100,000.
    epoch : int64
        Epoch after which it was taken, where ages are recorded.
    ages_since : int64
        Epoch at which the recording of ages began; connections that existed then count as born then.
    drawn_inputs : int32[k]
        Input features whose connections are drawn, as in :attr:`LayerSnapshot.drawn`.
    drawn_input_degree : int32[k]
        Numbers of their connections.
    test_counts : int64[n_outputs, 3]
        Of each class or label: samples that have it, samples for which it is predicted, and those of both. None for
        more than :data:`MAX_COUNTED` and in regression.
    test_confusion : int64[classes, classes]
        Samples by actual (row) and predicted class; None for more than :data:`MAX_CONFUSED`, or several labels.
    test_scatter : float32[k, 2, n_outputs]
        Actual and predicted values of regression for some samples, the same ones in every snapshot.
    test_samples : int64[m, 3]
        Some samples, at most 64: number in the test part, actual and predicted class. With several labels one that is
        wrong, -1 standing for its absence; in regression the target, twice, of the largest errors.
    test_sample_values : float32[m, 2]
        Probabilities of the two; in regression the actual and the predicted value.
    test_inputs : int32[m, k]
        For each sample the inputs that decided, at most 40, the most important first.
    test_contributions : float16[m, k]
        Gradient times input: how much each speaks for the prediction, and against the actual class (where that was
        predicted, the second most probable one).
    test_pixels : uint8[m, n_inputs]
        The samples, if they are images.
    test_features : float32[m, k]
        Values of the inputs that decided, as they were given, if the samples are no images.
    """

    sizes: NDArray[np.int64]
    layers: tuple[LayerSnapshot, ...]
    percentile: np.float32 | None = None
    input_degree: NDArray[np.float32] | None = None
    input_strength: NDArray[np.float32] | None = None
    epoch: np.int64 | None = None
    ages_since: np.int64 | None = None
    drawn_inputs: NDArray[np.int32] | None = None
    drawn_input_degree: NDArray[np.int32] | None = None
    test_counts: NDArray[np.int64] | None = None
    test_confusion: NDArray[np.int64] | None = None
    test_scatter: NDArray[np.float32] | None = None
    test_samples: NDArray[np.int64] | None = None
    test_sample_values: NDArray[np.float32] | None = None
    test_inputs: NDArray[np.int32] | None = None
    test_contributions: NDArray[np.float16] | None = None
    test_pixels: NDArray[np.uint8] | None = None
    test_features: NDArray[np.float32] | None = None

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the fields that are present as named arrays, those of layer ``l`` as ``<name>_<l>``."""
        values = {name: getattr(self, name) for name in _NETWORK_FIELDS}
        for l, layer in enumerate(self.layers):
            values |= {f"{name}_{l}": getattr(layer, name) for name in _LAYER_FIELDS}
        return {name: np.asarray(value) for name, value in values.items() if value is not None}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Snapshot:
        """Rebuild a snapshot from :meth:`arrays`; names that this version does not know are ignored.

        Raises
        ------
        ValueError
            If ``sizes`` is missing, or a field has another number of dimensions or holds no numbers, or fields about
            the test part do not fit together.
        """
        if "sizes" not in arrays or arrays["sizes"].ndim != 1 or len(arrays["sizes"]) > MAX_SIZES:
            raise ValueError("it has no array 'sizes'")
        for name, value in arrays.items():
            dimensions = _DIMENSIONS.get(re.sub(r"_[0-9]+$", "", name))
            if dimensions is not None and (value.ndim != dimensions or value.dtype.kind not in "iuf"):
                raise ValueError(f"its array {name!r} is malformed")
        if problem := _test_problem(arrays):
            raise ValueError(f"its array {problem!r} does not fit the others")
        values: dict[str, Any] = {name: value if value.ndim else value[()] for name, value in arrays.items()}
        layers = (
            LayerSnapshot(**{name: values.get(f"{name}_{l}") for name in _LAYER_FIELDS})
            for l in range(len(values["sizes"]) - 1)
        )
        network = {name: values[name] for name in _NETWORK_FIELDS if name in values}
        return cls(layers=tuple(layers), **network)

    def write(self, path: Path) -> None:
        """Replace a file atomically by this snapshot, compressed."""
        write_atomic(path, npz_bytes(self.arrays(), compress=True), durable=False)

    @classmethod
    def read(cls, path: Path, layer: int | None = None, parts: Collection[str] | None = None) -> Snapshot:
        """Read a snapshot, or only a part of it; other parts are not decompressed.

        Parameters
        ----------
        path : Path
            File that :meth:`write` made.
        layer : int, optional
            The only layer to read, besides the fields of the network; default is all.
        parts : collection of str, optional
            Names of the fields to read, besides ``sizes``; default is all.

        Raises
        ------
        OSError
            If there is no such file.
        ValueError
            If the file is damaged or larger than :data:`MAX_BYTES`.
        """
        arrays = {}
        try:
            with open_regular(path) as file, zipfile.ZipFile(file) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
                    raise ValueError(f"it has more than {MAX_BYTES // 2**20} MiB")
                for entry in archive.infolist():
                    name = entry.filename.removesuffix(".npy")
                    if _is_wanted(name, layer, parts):
                        with archive.open(entry) as member:
                            arrays[name] = np.lib.format.read_array(member, allow_pickle=False)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ValueError(str(error)) from error
        return cls.from_arrays(arrays)


def _test_problem(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return the name of an array about the test part that does not fit the sizes of the network; empty if all do."""
    if not any(name.startswith("test_") for name in arrays) or not len(arrays["sizes"]):
        return ""
    n_inputs, n_outputs = int(arrays["sizes"][0]), int(arrays["sizes"][-1])
    m = len(arrays.get("test_samples", ()))
    k = arrays["test_inputs"].shape[1] if "test_inputs" in arrays else -1
    shapes: dict[str, tuple[int, ...]] = {
        "test_counts": (n_outputs, 3), "test_confusion": (n_outputs, n_outputs), "test_samples": (m, 3),
        "test_sample_values": (m, 2), "test_inputs": (m, k), "test_contributions": (m, k), "test_features": (m, k),
        "test_pixels": (m, n_inputs), "test_scatter": (len(arrays.get("test_scatter", ())), 2, n_outputs),
    }  # fmt: skip
    ranges = {"test_samples": (-1, 2**53), "test_inputs": (0, n_inputs - 1)}
    for name, shape in shapes.items():
        values = arrays.get(name)
        if values is None:
            continue
        low, high = ranges.get(name, (-np.inf, np.inf))
        if values.shape != shape or (values.size and not low <= values.min() <= values.max() <= high):
            return name
    outputs = arrays["test_samples"][:, 1:] if "test_samples" in arrays else np.empty(0)
    return "test_samples" if outputs.size and outputs.max() >= n_outputs else ""


_LAYER_FIELDS = tuple(field.name for field in fields(LayerSnapshot))
_NETWORK_FIELDS = tuple(field.name for field in fields(Snapshot) if field.name != "layers")


def _is_wanted(name: str, layer: int | None, parts: Collection[str] | None) -> bool:
    field, number = re.fullmatch(r"(.*?)(?:_(\d+))?", name).groups()  # type: ignore[union-attr]
    of_layer = layer is None or number is None or int(number) == layer
    return name == "sizes" or (of_layer and (parts is None or field in parts))
