"""Networks in files: one .npz without pickle, checked when it is read."""

from __future__ import annotations

import itertools
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from tsnn.errors import RunError, TopologyError
from tsnn.files import replacing, write_npz
from tsnn.network import Layer, Network
from tsnn.topology import Topology

FORMAT = 1


def save_network(network: Network, path: str | Path) -> None:
    """Write a network to a file, replacing it atomically.

    The file is an .npz of plain arrays: ``format``, ``slopes`` float64[L], ``initializer``, and for each layer
    ``l``: ``indptr_l`` int64, ``indices_l`` int32, ``weights_l``, ``bias_l`` float32, ``living_l`` bool,
    ``n_out_l``. SciPy reads a layer as ``csr_array((weights, indices, indptr), shape=(n_in, n_out))``.
    """
    arrays: dict[str, Any] = {"format": FORMAT, "slopes": network.slopes, "initializer": network.initializer}
    for l, layer in enumerate(network.layers):
        t = layer.topology
        arrays |= {
            f"indptr_{l}": t.indptr,
            f"indices_{l}": t.indices,
            f"n_out_{l}": t.n_out,
            f"weights_{l}": layer.weights,
            f"bias_{l}": layer.bias,
            f"living_{l}": network.living[l],
        }
    with replacing(Path(path)) as file:
        write_npz(file, arrays)


def load_network(path: str | Path) -> Network:
    """Read a network written by :func:`save_network`; velocities are 0.

    Raises
    ------
    RunError
        If the file is missing, damaged, of another version, or its arrays do not fit together.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if int(arrays["format"]) != FORMAT:
                raise RunError(f"{path} has format {arrays['format']}; this tsnn reads {FORMAT}.")
            slopes = tuple(arrays["slopes"].tolist())
            layers = [_read_layer(arrays, l) for l in range(len(slopes))]
            network = Network(
                layers, slopes, str(arrays["initializer"]), [arrays[f"living_{l}"] for l in range(len(slopes))]
            )
    except (OSError, KeyError, ValueError, IndexError, zipfile.BadZipFile) as error:
        raise RunError(f"{path} is not a readable tsnn network: {error}.") from error
    for below, above in itertools.pairwise(network.layers):
        if above.topology.n_in != below.topology.n_out:
            raise RunError(f"{path} is damaged: {below.topology.n_out} neurons meet {above.topology.n_in}.")
    return network


def _read_layer(arrays: Any, l: int) -> Layer:
    topology = Topology.from_csr(arrays[f"indptr_{l}"], arrays[f"indices_{l}"], int(arrays[f"n_out_{l}"]))
    layer = Layer.new(topology, arrays[f"weights_{l}"].astype(np.float32))
    layer.bias[:] = arrays[f"bias_{l}"]
    if len(layer.weights) != topology.connections or len(arrays[f"living_{l}"]) != topology.n_out:
        raise TopologyError(f"layer {l} has {topology.connections} connections but {len(layer.weights)} weights")
    return layer
