"""Selection of input features while a network trains: strength, attribution, products, EntryPrune.

A :class:`Ranking` trains by :func:`tsnn.engine.training.steps`, and looks at the network, or changes its input layer,
after batches and epochs. It takes memory for the connections of the input layer only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tsnn.datasets import Dataset
from tsnn.engine.attribution import attribution, input_strength, response
from tsnn.engine.network import Layer, Network
from tsnn.engine.state import TrainingState
from tsnn.engine.topology import Topology
from tsnn.engine.training import make_workspace, steps
from tsnn.records import EpochRecord, Progress

SAMPLES = 512  #: of the training part, whose attribution is computed after each epoch


class Ranking:
    """Scores of the features, gathered while a network trains: those of the present connections' strength.

    Parameters
    ----------
    n_selected : int
        Number of features that will be selected.
    rng : numpy.random.Generator
        Source of randomness of the ranking itself.

    Attributes
    ----------
    scores : float64[n_features]
        After each epoch, those of a training that ends there; the larger the better.
    """

    #: Settings of the engine, by their short names, that belong to the method.
    settings: ClassVar[dict[str, Any]] = {}
    #: Whether input weights begin at a tenth if there are more features than samples: a few batches would add less to
    #: them than they are at the start, and noise would rank the features.
    small_start: ClassVar[bool] = False

    def __init__(self, n_selected: int, rng: np.random.Generator):
        self.n_selected, self.rng = n_selected, rng

    def train(self, state: TrainingState, data: Dataset) -> Iterator[Progress | EpochRecord]:
        """Train as :func:`tsnn.engine.training.steps` does, and yield the same items."""
        state.network.prepare_for_kernels()
        self.data = self.prepare(state, data)
        for item in steps(state, self.data):
            if isinstance(item, Progress):
                self.after_batch(state, item)
            else:
                self.after_epoch(state)
            yield item

    def prepare(self, state: TrainingState, data: Dataset) -> Dataset:
        """Return the data set to train on."""
        if self.small_start and data.n_features > len(data.x_train):
            state.network.layers[0].weights *= np.float32(0.1)
        self.state, self.scores = state, np.zeros(data.n_features)
        self.workspace = make_workspace(state, data)
        return data

    def after_batch(self, state: TrainingState, progress: Progress) -> None:
        """Look at the network after a batch; that of the last batch has not evolved yet."""
        if progress.samples == progress.samples_total:
            self.after_pass(state)

    def after_pass(self, state: TrainingState) -> None:
        """Look at the network after the last batch of an epoch."""

    def after_epoch(self, state: TrainingState) -> None:
        """Look at the network between two epochs, or change it."""

    def rows(self, count: int) -> NDArray[np.int64]:
        """Return random training samples, ascending, int64[count or all]."""
        n = len(self.data.x_train)
        return np.sort(self.rng.permutation(n)[:count]) if count < n else np.arange(n)


class SummedStrength(Ranking):
    """Strength of each input, ``sum |w|``, summed over the epochs (ECAI 2024: better than that of the last epoch)."""

    small_start: ClassVar[bool] = True

    def after_pass(self, state: TrainingState) -> None:
        """Add the strength of an epoch."""
        self.scores += input_strength(state.network)


class SummedAttribution(Ranking):
    """Attribution of each input on some samples, summed over the epochs (ECAI 2024, section 3)."""

    small_start: ClassVar[bool] = True

    def after_pass(self, state: TrainingState) -> None:
        """Add the attribution of an epoch."""
        self.scores += attribution(state.network, self.data.x_train, self.rows(SAMPLES), self.workspace)


class Products(SummedAttribution):
    """Attribution times response of a network of folded activations: of features whose products matter.

    A network needs few of the features that say the same, so the attribution of the others is small; but its neurons
    respond to them. The score is the geometric mean of the attribution, summed over the epochs, and the response.
    """

    def after_epoch(self, state: TrainingState) -> None:
        """Multiply by the response after the last epoch."""
        if state.epoch == state.config.training.epochs:
            found = response(state.network, self.data.x_train, self.rows(SAMPLES), self.workspace)
            self.scores = np.sqrt(self.scores * found)


class EntryPrune(Ranking):
    """Exchange of the features of the input layer by the gradient of their first batches (EntryPrune, 2410.02344).

    The input layer holds K + c (n - K) features, each connected to every neuron of the first hidden layer. Every
    :attr:`BATCHES` batches those that entered last are scored by ``sum_h |sum over these batches of dL/dW_jh|``,
    normalised to mean 0 and variance 1. A feature keeps its best score; the best K stay, all others are exchanged for
    random ones, whose weights begin at 0. So every feature is judged over equally many batches.

    Notes
    -----
    The gradients are not stored. With momentum mu, rate eta and no weight decay, the weights changed by D and the
    velocities from u to v: the sum of the gradients is ``((mu - 1) D - mu (v - u)) / eta``.
    """

    settings: ClassVar[dict[str, Any]] = {"method": "fixed", "weight_decay": 0.0, "learning_rate_schedule": "constant"}
    BATCHES, CANDIDATES = 8, 0.2

    def prepare(self, state: TrainingState, data: Dataset) -> Dataset:
        """Begin with random features."""
        n, network = data.n_features, state.network
        size = min(n, self.n_selected + int(np.ceil(self.CANDIDATES * max(n - self.n_selected, 0))))
        present = np.sort(self.rng.permutation(n)[:size])
        limit = np.sqrt(6 / (size + network.layers[0].topology.n_out))
        weights = self.rng.uniform(-limit, limit, (size, network.layers[0].topology.n_out))
        network.layers[0] = layer_of_inputs(network.layers[0], present, weights, np.zeros_like(weights))
        self.best, self.entered, self.batches = np.full(n, -np.inf), np.ones(size, bool), 0
        data = super().prepare(state, data)
        self._begin_round(network, present)
        return data

    def _begin_round(self, network: Network, present: NDArray[np.int64]) -> None:
        layer = network.layers[0]
        self.present, self.batches = present, 0
        self.before = layer.weights.copy(), layer.velocity.copy()

    def after_batch(self, state: TrainingState, progress: Progress) -> None:
        """Score the features that entered last, and exchange them."""
        self.batches += 1
        if self.batches < self.BATCHES:
            return
        layer, training = state.network.layers[0], state.config.training
        shape = len(self.present), layer.topology.n_out
        change, swing = layer.weights - self.before[0], layer.velocity - self.before[1]
        mu = training.momentum
        gradient = ((mu - 1) * change - mu * swing) / training.learning_rate
        scores = np.abs(gradient.reshape(shape)).sum(axis=1, dtype=np.float64)
        scores = (scores - scores.mean()) / max(scores.std(), np.finfo(float).tiny)
        entered = self.present[self.entered]
        self.best[entered] = np.maximum(self.best[entered], scores[self.entered])
        stay = np.zeros(len(self.present), bool)
        stay[np.argsort(-self.best[self.present], kind="stable")[: self.n_selected]] = True
        self.scores = np.where(np.isfinite(self.best), self.best, np.min(self.best[entered]) - 1)
        self._exchange(state.network, stay)

    def _exchange(self, network: Network, stay: NDArray[np.bool_]) -> None:
        """Keep some of the present features, and let random others enter."""
        layer = network.layers[0]
        kept = self.present[stay]
        others = np.setdiff1d(np.arange(layer.topology.n_in), kept, assume_unique=True)
        drawn = self.rng.permutation(others)[: len(self.present) - len(kept)]
        present = np.sort(np.concatenate([kept, drawn]))
        self.entered = ~np.isin(present, kept)
        weights, velocity = np.zeros((2, len(present), layer.topology.n_out), np.float32)
        weights[~self.entered] = layer.weights.reshape(len(stay), -1)[stay]
        velocity[~self.entered] = layer.velocity.reshape(len(stay), -1)[stay]
        network.layers[0] = layer_of_inputs(layer, present, weights, velocity)
        self._begin_round(network, present)


def layer_of_inputs(layer: Layer, inputs: NDArray[np.int64], weights: NDArray[Any], velocity: NDArray[Any]) -> Layer:
    """Return a layer in which only some inputs, int64[k] ascending, have connections: to every output neuron.

    Weights and velocity are float[k, n_out]; the biases are the layer's own arrays.
    """
    n_in, n_out = layer.topology.n_in, layer.topology.n_out
    counts = np.zeros(n_in, np.int64)
    counts[inputs] = n_out
    indices = np.tile(np.arange(n_out, dtype=np.int32), len(inputs))
    topology = Topology.from_sorted(np.append(0, np.cumsum(counts)), indices, n_out)
    w, v = (np.ascontiguousarray(a.reshape(-1), np.float32) for a in (weights, velocity))
    return Layer(topology, w, v, layer.bias, layer.bias_velocity)
