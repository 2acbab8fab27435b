"""Compilation of the kernels that training needs, in the order of need, by running them on a network of a few neurons.

It happens once on a machine. ``python -m tsnn.engine.warmup SETTINGS`` compiles the kernels of topologies, snapshots
and evolution: a helper of a process that compiles those of forward and backward passes meanwhile.
"""

from __future__ import annotations

import functools
import itertools
import json
import sys
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.config import Config
from tsnn.datasets import Dataset
from tsnn.datasets.augmentation import training_features
from tsnn.engine.activations import curve_of
from tsnn.engine.batches import Batch
from tsnn.engine.epochs import needs_probe
from tsnn.engine.evolution import evolve_all, target_connections
from tsnn.engine.free_positions import Activations
from tsnn.engine.losses import output_loss
from tsnn.engine.network import Layer, Network, init_network, layer_slopes
from tsnn.engine.optimizers import apply_gradient, prepare_state
from tsnn.engine.probe import LayerProbe, Probe
from tsnn.engine.propagation import backward, forward
from tsnn.engine.schedules import rates_at
from tsnn.engine.shapes import layer_shapes
from tsnn.engine.snapshots import Ages, take_snapshot
from tsnn.engine.topology import Topology
from tsnn.engine.workspace import Workspace
from tsnn.registry import OPTIMIZERS, PRUNING, REGROWTH
from tsnn.tiling import LANES

#: Settings that decide which kernels evolution needs.
EVOLUTION_SETTINGS = (
    "training.prune",
    "training.regrow",
    "training.zeta",
    "network.initializer",
    "importance.percentile",
)

Stage = tuple[str, Callable[[], object]]


def training_stages(data: Dataset, config: Config, width: int) -> list[Stage]:
    """Return the stages of compilation that the first batch needs, by name; the functions run them in order.

    Parameters
    ----------
    data : Dataset
        The data to train on.
    config : Config
        Settings of the run.
    width : int
        Samples at a time.
    """
    sizes = [data.n_features, *(LANES for _ in config.network.hidden), data.n_outputs]
    network = Network([_few(*pair) for pair in itertools.pairwise(sizes)], layer_slopes(config.network), "normal")
    network.curve = curve_of(config.network.activation)
    workspace = Workspace(sizes, width, compact=config.run.compact, precision=config.training.precision)
    most = max(shape.connections for shape in layer_shapes(data.n_features, data.n_outputs, config))
    scattered = [Workspace(sizes, width, compact=True)] * kernels.scatter_is_faster(most, workspace.activations[0])
    seen = training_features(data, config.training)(0)
    x, y, rows, weights, task, squared_units = Batch.of(data, np.arange(min(len(data.x_train), width)), seen)
    weights = None if weights is None else weights[rows]
    rates = {"learning_rate": 0.0, "momentum": 1.0, "weight_decay": 0.0, "update": False}
    prepare_state(network, optimizer := config.training.optimizer)
    step = [("optimizer", lambda: apply_gradient(network, optimizer, rates_at(config, 0)))]
    return [
        ("samples", lambda: x.gather(rows, workspace.activations[0])),
        ("forward pass", lambda: [forward(network, buffers) for buffers in (*scattered, workspace)]),
        ("loss", lambda: output_loss(task, workspace.activations[-1], y[rows], 1.0, weights, squared_units)),
        ("backward pass", lambda: backward(network, workspace, dropout=0.0, **rates)),  # type: ignore[arg-type]
        *([] if OPTIMIZERS[optimizer].fused or OPTIMIZERS[optimizer].is_own else step),
    ]


def topology_stages(config: Config) -> list[Stage]:
    """Return the stages of compilation that drawing a network and its snapshots need."""
    network = functools.cache(lambda: _drawn(config))
    return [
        ("topology", lambda: network().layers[0].topology.segments),
        ("snapshots", lambda: take_snapshot(network(), config.importance.percentile, Ages(network()))),
    ]


def compile_evolution(config: Config) -> None:
    """Compile the kernels of evolution; rules that are not built in are not called."""
    few = _few_connections(_without_own_rules(config))
    network = init_network(LANES, LANES, few, rng=np.random.default_rng(0))
    prepare_state(network, config.training.optimizer)
    probe = _ZeroProbe() if needs_probe(few) else None
    evolve_all(network, few, target_connections(network, few), probe, np.random.default_rng(0))


def warm_up(data: Dataset, config: Config, width: int) -> None:
    """Compile the kernels of training, or load them; nothing else is changed.

    It is not counted as training time; of several processes that start together one can compile while the others wait,
    and then load the compiled code from the disk. Parameters are those of :func:`training_stages`.
    """
    for _, run in training_stages(data, config, width):
        run()


def _few(n_in: int, n_out: int) -> Layer:
    """Return a layer of one connection from each input neuron, made without kernels."""
    indices = (np.arange(n_in) % n_out).astype(np.int32)
    topology = Topology.from_sorted(np.arange(n_in + 1), indices, n_out)
    return Layer.new(topology, np.zeros(n_in, np.float32))


class _ZeroProbe(Probe):
    """Gradient and activations of zeros: like `Probe`, without the kernels of forward and backward passes."""

    def __init__(self) -> None:
        self._below, self._above = Workspace((LANES, LANES), LANES).activations

    def of_layer(self, layer: int) -> LayerProbe:
        """Return the functions for a layer of the few neurons."""
        return LayerProbe(self._gradient, lambda: Activations(self._below, self._above, self._above))

    def _gradient(self, indptr: NDArray[np.int64], indices: NDArray[np.int32]) -> NDArray[np.float32]:
        gradient = np.zeros(len(indices), np.float32)
        kernels.add_gradient(indptr, indices, self._below, self._above, gradient)
        return gradient


def _without_own_rules(config: Config) -> Config:
    """Return the settings with built-in rules: one that uses the gradient for those that need something."""
    regrow, prune = REGROWTH[config.training.regrow], PRUNING[config.training.prune]
    changes = {"training.regrow": "gradient" if regrow.needs else "random"} if regrow.is_own else {}
    changes |= {"training.prune": "mest" if prune.needs == "gradient" else "magnitude"} if prune.is_own else {}
    return config.replace(changes) if changes else config


def _few_connections(config: Config) -> Config:
    """Return the settings for a network of a few neurons, some of whose connections evolution replaces."""
    few = {"network.hidden": [LANES, LANES], "network.epsilon": 1, "network.density": ()}
    return config.replace({**few, "training.method": "set", "training.zeta": 0.3, "training.start_factor": 1.0})


def _drawn(config: Config) -> Network:
    """Return a network of a few neurons, after a dense one: their layers need all kernels of topologies."""
    few, rng = _few_connections(config), np.random.default_rng(0)
    init_network(2, 2, few.replace({"training.method": "dense"}), rng=rng)
    return init_network(LANES, LANES, few, rng=rng)


def main(arguments: Iterable[str]) -> None:
    """Compile the kernels of topologies, snapshots and evolution, for settings given as JSON.

    The transposed pattern comes first: the forward pass waits for it.
    """
    config = Config().replace(json.loads(next(iter(arguments))))
    _few(LANES, LANES).topology.transposed  # noqa: B018
    for _, run in topology_stages(config):
        run()
    compile_evolution(config)


if __name__ == "__main__":
    main(sys.argv[1:])
