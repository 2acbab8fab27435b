"""tsnn: truly sparse neural networks that anyone can train, watch and understand on a CPU.

Names are loaded when they are first used, so ``import tsnn`` brings neither Numba nor a GUI.

Examples
--------
>>> rng = np.random.default_rng(0)
>>> data = tsnn.load_dataset("fashion_mnist", size="small", rng=rng)
>>> config = tsnn.Config.preset("fashion_mnist").replace({"training.epochs": 3})
>>> network = tsnn.init_network(data.n_features, data.n_outputs, config.network, rng=rng)
>>> for record in tsnn.train(network, data, config, rng=rng):
...     print(record.epoch, record.test_accuracy)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tsnn.checkpoint import load_network, save_network
    from tsnn.config import Config
    from tsnn.datasets import Dataset, load_dataset
    from tsnn.estimator import SparseMLPClassifier, SparseMLPRegressor
    from tsnn.evolution import evolve, importance, prune_neurons
    from tsnn.formats import from_scipy, from_torch, to_onnx, to_scipy, to_torch
    from tsnn.launch import resume, start, stop
    from tsnn.metrics import evaluate
    from tsnn.network import Layer, Network, init_network
    from tsnn.runs import Run, RunStore
    from tsnn.topology import Topology, erdos_renyi
    from tsnn.training import train
    from tsnn.workspace import Workspace

_HOMES = {
    "checkpoint": ("load_network", "save_network"),
    "config": ("Config",),
    "datasets": ("Dataset", "load_dataset"),
    "estimator": ("SparseMLPClassifier", "SparseMLPRegressor"),
    "formats": ("from_scipy", "from_torch", "to_onnx", "to_scipy", "to_torch"),
    "evolution": ("evolve", "importance", "prune_neurons"),
    "launch": ("resume", "start", "stop"),
    "metrics": ("evaluate",),
    "network": ("Layer", "Network", "init_network"),
    "runs": ("Run", "RunStore"),
    "topology": ("Topology", "erdos_renyi"),
    "training": ("train",),
    "workspace": ("Workspace",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Config", "Dataset", "Layer", "Network", "Run", "RunStore", "SparseMLPClassifier", "SparseMLPRegressor",
    "Topology", "Workspace", "erdos_renyi", "evaluate", "evolve", "from_scipy", "from_torch", "importance",
    "init_network", "load_dataset", "load_network", "prune_neurons", "resume", "save_network", "start", "stop",
    "to_onnx", "to_scipy", "to_torch", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'tsnn' has no attribute {name!r}")
    return getattr(importlib.import_module(f"tsnn.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
