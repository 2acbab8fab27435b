"""Selection of input features without targets, by a sparse autoencoder: QuickSelection and WAST.

The network's outputs are its inputs, with the squared error. Targets are made dense one batch at a time.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tsnn.datasets import Dataset, Features
from tsnn.engine.attribution import input_strength
from tsnn.engine.evolution import evolve, merge_connections
from tsnn.engine.free_positions import FreePositions, keep_largest, pairs
from tsnn.engine.importance import importance
from tsnn.engine.network import Layer
from tsnn.engine.propagation import forward
from tsnn.engine.pruning import ANY, drop_smallest
from tsnn.engine.selection import Ranking
from tsnn.engine.state import TrainingState
from tsnn.records import Progress
from tsnn.tiling import padded


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Targets of an autoencoder: its features, as float32[b, n_features] for each batch of rows."""

    features: Features

    def __len__(self) -> int:
        return len(self.features)

    @property
    def shape(self) -> tuple[int, int]:
        """Samples and features."""
        return self.features.shape

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        out = np.zeros((self.shape[1], padded(len(rows), "float32")), np.float32)
        self.features.gather(rows, out)
        return np.ascontiguousarray(out[:, : len(rows)].T)


@dataclass(frozen=True, eq=False)
class NoisyFeatures:
    """Features with Gaussian noise, drawn again for each batch, as :class:`tsnn.datasets.Features`."""

    features: Features
    deviation: float
    rng: np.random.Generator

    def __len__(self) -> int:
        return len(self.features)

    @property
    def shape(self) -> tuple[int, int]:
        """Samples and features."""
        return self.features.shape

    @property
    def nbytes(self) -> int:
        """Memory taken between batches."""
        return self.features.nbytes

    def gather(self, rows: NDArray[np.int64], out: NDArray[np.float32]) -> None:
        """Write samples as columns, see :meth:`tsnn.datasets.Features.gather`."""
        self.features.gather(rows, out)
        out[:, : len(rows)] += np.float32(self.deviation) * self.rng.standard_normal((len(out), len(rows)), np.float32)

    def rows(self, rows: NDArray[np.int64]) -> NoisyFeatures:
        """Return some of the samples."""
        return NoisyFeatures(self.features.rows(rows), self.deviation, self.rng)


class QuickSelection(Ranking):
    """Strength of the inputs of a denoising autoencoder trained by SET (QuickSelection, arXiv 2012.00560).

    The inputs get noise of 0.2 N(0, 1), the loss is to the clean ones; both layers evolve after each epoch, also the
    output layer. The hidden neurons are tanh, which is the paper's sigmoid up to scale and offset.
    """

    settings: ClassVar[dict[str, Any]] = {"method": "fixed", "activation": "tanh"}
    NOISE = 0.2

    def prepare(self, state: TrainingState, data: Dataset) -> Dataset:
        """Add noise to the inputs."""
        data = super().prepare(state, data)
        return dataclasses.replace(data, x_train=NoisyFeatures(data.x_train, self.NOISE, self.rng))

    def after_pass(self, state: TrainingState) -> None:
        """Keep the strength of the last epoch."""
        self.scores = input_strength(state.network)

    def after_epoch(self, state: TrainingState) -> None:
        """Evolve both layers."""
        network, config = state.network, state.config
        if state.epoch == config.training.epochs:
            return
        for l, layer in enumerate(network.layers):
            network.layers[l] = evolve(
                layer, layer.topology.connections, zeta=config.training.zeta, initializer=network.initializer,
                rng=self.rng,
            ).layer  # fmt: skip


class WAST(Ranking):
    """Importance of the neurons of a sparse autoencoder that evolves after every batch (WAST, NeurIPS 2022).

    After each batch ``I_j += lambda |x_j - x_hat_j| + (1 - lambda) strength_j``, for input j and for output j, of which
    the strength is that of its own connections. Of each layer the fraction alpha of the connections with the smallest
    ``|w| I`` is exchanged for the positions of the largest ``I_in I_out``, among 10 random ones for each.
    The importance of a hidden neuron is the sum of its ``|w|``.
    """

    settings: ClassVar[dict[str, Any]] = {"method": "fixed", "activation": "tanh", "optimizer": "nesterov"}
    LAMBDA, ALPHA, CANDIDATES = 0.4, 0.3, 10

    def prepare(self, state: TrainingState, data: Dataset) -> Dataset:
        """Begin with no importance."""
        self.inputs, self.outputs = np.zeros(data.n_features), np.zeros(data.n_features)
        self.seen = 0
        return super().prepare(state, data)

    def after_batch(self, state: TrainingState, progress: Progress) -> None:
        """Add to the importance, and evolve both layers."""
        network = state.network
        rows = state.order[self.seen : progress.samples]
        self.seen = 0 if progress.samples == progress.samples_total else progress.samples
        error = self.LAMBDA * self._error(state, rows)
        first, last = network.layers
        self.inputs = self.inputs + error + (1 - self.LAMBDA) * input_strength(network)
        self.outputs = self.outputs + error + (1 - self.LAMBDA) * importance(last)
        self.scores = self.inputs
        network.layers[0] = self._evolved(first, self.inputs, importance(first), 0)
        network.layers[1] = self._evolved(last, importance(first), self.outputs, 1)

    def _error(self, state: TrainingState, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the mean of ``|x_j - x_hat_j|`` over samples, float64[n_features]."""
        x, workspace = self.data.x_train, self.workspace
        total = np.zeros(len(self.scores))
        for start in range(0, len(rows), workspace.width):
            part = rows[start : start + workspace.width]
            x.gather(part, workspace.activations[0])
            z = forward(state.network, workspace)
            total += np.abs(z - workspace.values(0))[:, : len(part)].sum(axis=1)
        return total / len(rows)

    def _evolved(
        self, layer: Layer, at_start: NDArray[np.float64], at_end: NDArray[np.float64], side: int
    ) -> Layer:  # fmt: skip
        """Return a layer after an evolution by the importance of the neurons on its two sides."""
        t = layer.topology
        own = np.repeat(at_start, t.out_degree) if side == 0 else at_end[t.indices]
        survives = np.ones(t.connections, bool)
        count = int(self.ALPHA * t.connections)
        drop_smallest((np.abs(layer.weights) * own).astype(np.float32), ANY, count, survives)
        free = FreePositions(t, survives, rng=self.rng)
        count = min(count, free.count)
        candidates = free.draw(min(self.CANDIDATES * count, free.count), self.rng)
        rows, columns = pairs(*candidates)
        chosen = keep_largest(candidates, (at_start[rows] * at_end[columns]).astype(np.float32), count)
        return merge_connections(layer, survives, *chosen, np.zeros(count, np.float32))
