"""Networks and states of training in files: .npz of plain arrays, nothing pickled, checked when they are read.

``weights.npz`` holds a network to predict with. A *checkpoint* holds all that a run needs to continue with the same
bits, at the batch where it was written. It lies in the run's folder ``checkpoints`` and is named after its position,
``EPOCHS-SAMPLES.npz``: finished epochs, and samples done of the current one. The member ``header`` is JSON: ``format``,
``tsnn``, ``kind`` (of the process that can read it), ``values``, and in ``arrays`` the names of the others. Members are
stored uncompressed, each with a CRC-32. A new checkpoint is complete on the disk before the oldest of the two that are
kept is removed.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tsnn.archives import read_npz, write_npz
from tsnn.config import Config
from tsnn.engine.activations import CURVES
from tsnn.engine.exploration import Explored
from tsnn.engine.network import Layer, Network
from tsnn.engine.state import TrainingState
from tsnn.engine.topology import Topology
from tsnn.errors import RunError, TsnnError
from tsnn.files import replacing
from tsnn.records import FORMAT, Event

_MISFITS = (KeyError, ValueError, TypeError, IndexError, AttributeError, TsnnError)


def pack(state: TrainingState) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a state of training as values and arrays; nothing is copied."""
    arrays = {**network_arrays(state.network, training=True), "order": state.order}
    plain = (
        "key", "applied_epsilon", "epoch", "done", "loss", "n_correct", "seconds", "grown", "seconds_evolve",
        "evolution_due",
    )  # fmt: skip
    for k, network in enumerate(state.copies):
        arrays |= {f"copy_{k}_{name}": array for name, array in network_arrays(network, training=True).items()}
    if state.explored is not None:
        arrays |= state.explored.arrays()
    values = {
        "copies": len(state.copies),
        **{name: getattr(state, name) for name in plain},
        "config": state.config.to_dict(),
        "pending": state.pending.to_dict(),
        "shuffle": state.shuffle.bit_generator.state,
        "evolution": state.evolution.bit_generator.state,
        "events": [asdict(event) for event in state.events],
    }
    return values, arrays


def unpack(values: Mapping[str, Any], arrays: Mapping[str, Any]) -> TrainingState:
    """Return the state that :func:`pack` was given; its network keeps the arrays.

    Raises
    ------
    RunError
        If something is missing or does not fit together.
    """
    values = dict(values)
    try:
        network = network_of(arrays)
        special = {
            "network": network,
            "explored": Explored(network, arrays) if "explored_0" in arrays else None,
            "order": arrays["order"],
            "config": Config.from_record(values.pop("config")),
            "pending": Config.from_record(values.pop("pending")),
            "shuffle": _generator(values.pop("shuffle")),
            "evolution": _generator(values.pop("evolution")),
            "events": [Event.from_dict(event) for event in values.pop("events")],
            "copies": [network_of(_of_copy(arrays, k)) for k in range(values.pop("copies"))],
        }
        return TrainingState(**values, **special)
    except _MISFITS as error:
        raise RunError(f"The checkpoint holds no state of training: {error!r}.") from error


def _of_copy(arrays: Mapping[str, Any], k: int) -> dict[str, Any]:
    prefix = f"copy_{k}_"
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _generator(state: Any) -> np.random.Generator:
    source = np.random.PCG64()
    source.state = state
    return np.random.Generator(source)


def network_arrays(network: Network, *, training: bool = False) -> dict[str, Any]:
    """Return a network as plain arrays, not copied.

    ``slopes`` float64[L], ``initializer``, and for each layer ``l``: ``indptr_l`` int64, ``indices_l`` int32,
    ``weights_l``, ``bias_l`` float32, ``living_l`` bool, ``n_out_l``; with ``training`` also ``velocity_l`` and
    ``bias_velocity_l`` float32, and ``state_NAME_l`` and ``bias_state_NAME_l`` of the optimizer. Where features are
    scaled first, also ``offset`` and ``scale`` float64; where the activation is GELU or tanh, its name as ``curve``.
    """
    arrays: dict[str, Any] = {"slopes": network.slopes, "initializer": network.initializer}
    if network.curve:
        arrays["curve"] = network.curve
    if network.scaling is not None:
        arrays |= {"offset": network.scaling[0], "scale": network.scaling[1]}
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
        if training:
            arrays |= {f"velocity_{l}": layer.velocity, f"bias_velocity_{l}": layer.bias_velocity}
            arrays |= {f"state_{name}_{l}": array for name, array in layer.state.items()}
            arrays |= {f"bias_state_{name}_{l}": array for name, array in layer.bias_state.items()}
    return arrays


def network_of(arrays: Mapping[str, Any]) -> Network:
    """Return the network of :func:`network_arrays`; it keeps the arrays, and velocities that are missing are 0.

    Raises
    ------
    ValueError or KeyError
        If arrays are missing or no patterns, or do not fit together: kernels check no bounds.
    """
    slopes = tuple(arrays["slopes"].tolist())
    layers, living = [], []
    for l in range(len(slopes)):
        t = Topology.from_csr(arrays[f"indptr_{l}"], arrays[f"indices_{l}"], int(arrays[f"n_out_{l}"]))
        layer = Layer.new(t, _expect(arrays, f"weights_{l}", np.float32, t.connections))
        layer.bias = _expect(arrays, f"bias_{l}", np.float32, t.n_out)
        if f"velocity_{l}" in arrays:
            layer.velocity = _expect(arrays, f"velocity_{l}", np.float32, t.connections)
            layer.bias_velocity = _expect(arrays, f"bias_velocity_{l}", np.float32, t.n_out)
        for name in _state_names(arrays, l):
            layer.state[name] = _expect(arrays, f"state_{name}_{l}", np.float32, t.connections)
            layer.bias_state[name] = _expect(arrays, f"bias_state_{name}_{l}", np.float32, t.n_out)
        layers.append(layer)
        living.append(_expect(arrays, f"living_{l}", np.bool_, t.n_out))
    for below, above in itertools.pairwise(layers):
        if above.topology.n_in != below.topology.n_out:
            raise ValueError(f"{below.topology.n_out} neurons meet {above.topology.n_in}")
    scaling = None
    if "offset" in arrays:
        n_in = layers[0].topology.n_in
        scaling = _expect(arrays, "offset", np.float64, n_in), _expect(arrays, "scale", np.float64, n_in)
    curve = str(arrays.get("curve", ""))
    if curve not in ("", *CURVES):
        raise ValueError(f"the activation {curve[:40]!r} is unknown")
    return Network(layers, slopes, str(arrays["initializer"]), living, scaling, curve)


def _state_names(arrays: Mapping[str, Any], l: int) -> list[str]:
    """Return the names of the arrays that an optimizer has for a layer."""
    ends = (name.removeprefix("state_").rpartition("_") for name in arrays if name.startswith("state_"))
    return [name for name, _, layer in ends if layer == str(l)]


def _expect(arrays: Mapping[str, Any], name: str, dtype: type, length: int) -> Any:
    values = arrays[name]
    if values.shape != (length,) or values.dtype != dtype:
        raise ValueError(f"{name} is {values.dtype}{list(values.shape)}; expected {np.dtype(dtype)}[{length}]")
    return values


def save_network(network: Network, path: str | Path) -> None:
    """Write a network to a file, replacing it atomically.

    The file is an .npz of ``format`` and :func:`network_arrays`. SciPy reads a layer as
    ``csr_array((weights, indices, indptr), shape=(n_in, n_out))``.
    """
    with replacing(Path(path)) as file:
        write_npz(file, {"format": FORMAT, **network_arrays(network)})


def load_network(path: str | Path) -> Network:
    """Read a network written by :func:`save_network`; velocities are 0.

    Raises
    ------
    RunError
        If the file is missing, damaged, of another version, or its arrays do not fit together.
    """
    try:
        arrays = read_npz(Path(path))
        found = int(arrays["format"])
        network = network_of(arrays) if found == FORMAT else None
    except Exception as error:  # zipfile and numpy raise many kinds of errors for a damaged file
        raise RunError(f"{path} is not a readable tsnn network: {error}.") from error
    if network is None:
        raise RunError(f"{path} has format {found}; this tsnn reads {FORMAT}.")
    return network
