"""tsnn: truly sparse neural networks that anyone can train, watch and understand on a CPU.

Names are loaded when they are first used, so ``import tsnn`` loads neither Numba nor a GUI. So are the packages
``tsnn.config``, ``tsnn.datasets``, ``tsnn.parallel``, ``tsnn.runs`` and ``tsnn.views``; public are the names in
``__all__``, here and there.

Examples
--------
>>> rng = np.random.default_rng(0)
>>> data = tsnn.load_dataset("fashion_mnist", size="small", rng=rng)
>>> config = tsnn.Config.preset("fashion_mnist").replace(epochs=3)
>>> network = tsnn.init_network(data.n_features, data.n_outputs, config, rng=rng)
>>> for record in tsnn.train(network, data, config, rng=rng):
...     print(record.epoch, record.test_accuracy)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tsnn import lazy
from tsnn._version import __version__

if TYPE_CHECKING:
    from tsnn import config, datasets, parallel, runs, views  # noqa: F401 - public, but not in __all__
    from tsnn.config import Config
    from tsnn.datasets import Dataset, load_dataset, make_dataset
    from tsnn.decorators import activation, optimizer, pruning, regrowth, schedule
    from tsnn.engine.activations import hidden_slope
    from tsnn.engine.evolution import evolve
    from tsnn.engine.importance import importance, prune_neurons
    from tsnn.engine.memory import memory_estimate
    from tsnn.engine.metrics import decision_values, evaluate, gradients
    from tsnn.engine.network import Layer, Network, init_network
    from tsnn.engine.pruning import choose_survivors
    from tsnn.engine.serialization import load_network, save_network
    from tsnn.engine.snapshots import take_snapshot
    from tsnn.engine.topology import Topology, erdos_renyi
    from tsnn.engine.training import train
    from tsnn.engine.workspace import Workspace
    from tsnn.estimator import SparseMLPClassifier, SparseMLPRegressor, SparseSelector, load_model
    from tsnn.execution.measuring import distance, measure
    from tsnn.execution.sweeps import sweep
    from tsnn.formats import from_scipy, from_torch, to_onnx, to_scipy, to_torch
    from tsnn.jobs.launch import fork, resume, start, stop
    from tsnn.runs import Run, RunStore
    from tsnn.runs.control import request
    from tsnn.views.report import report

__all__ = [
    "Config",
    "Dataset",
    "Layer",
    "Network",
    "Run",
    "RunStore",
    "SparseMLPClassifier",
    "SparseMLPRegressor",
    "SparseSelector",
    "Topology",
    "Workspace",
    "__version__",
    "activation",
    "choose_survivors",
    "decision_values",
    "distance",
    "erdos_renyi",
    "evaluate",
    "evolve",
    "fork",
    "from_scipy",
    "from_torch",
    "gradients",
    "hidden_slope",
    "importance",
    "init_network",
    "load_dataset",
    "load_model",
    "load_network",
    "make_dataset",
    "measure",
    "memory_estimate",
    "optimizer",
    "prune_neurons",
    "pruning",
    "regrowth",
    "report",
    "request",
    "resume",
    "save_network",
    "schedule",
    "start",
    "stop",
    "sweep",
    "take_snapshot",
    "to_onnx",
    "to_scipy",
    "to_torch",
    "train",
]  # fmt: skip

__getattr__, __dir__ = lazy.attach(
    __name__,
    {
        "": "config datasets parallel runs views",
        "config": "Config",
        "datasets": "Dataset load_dataset make_dataset",
        "engine.activations": "hidden_slope",
        "engine.evolution": "evolve",
        "engine.importance": "importance prune_neurons",
        "engine.memory": "memory_estimate",
        "engine.metrics": "decision_values evaluate gradients",
        "engine.network": "Layer Network init_network",
        "engine.pruning": "choose_survivors",
        "engine.serialization": "load_network save_network",
        "engine.snapshots": "take_snapshot",
        "engine.topology": "Topology erdos_renyi",
        "engine.training": "train",
        "engine.workspace": "Workspace",
        "estimator": "SparseMLPClassifier SparseMLPRegressor SparseSelector load_model",
        "execution.measuring": "distance measure",
        "execution.sweeps": "sweep",
        "formats": "from_scipy from_torch to_onnx to_scipy to_torch",
        "jobs.launch": "fork resume start stop",
        "decorators": "activation optimizer pruning regrowth schedule",
        "runs": "Run RunStore",
        "runs.control": "request",
        "views.report": "report",
    },
)
