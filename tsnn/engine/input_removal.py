"""Selection of input features by the removal of inputs while a network trains: elimination, NeuroFS."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tsnn.datasets import Dataset
from tsnn.engine.attribution import attribution, input_strength
from tsnn.engine.batches import Batch, probe_gradient
from tsnn.engine.evolution import LayerContext, evolve, merge_connections
from tsnn.engine.network import Layer, Network
from tsnn.engine.probe import Probe
from tsnn.engine.selection import SAMPLES, Ranking
from tsnn.engine.state import TrainingState

_NEURONS = 64  # hidden neurons at which the gradient of a removed input is probed


class InputRemoval(Ranking):
    """A ranking that removes inputs during training; the layers evolve between its epochs, among the inputs left.

    The input layer keeps its number of connections, as far as the inputs left have places.
    """

    settings: ClassVar[dict[str, Any]] = {"method": "fixed"}
    ZETA: ClassVar[float] = 0.3

    def prepare(self, state: TrainingState, data: Dataset) -> Dataset:
        """Begin with all inputs."""
        self.active = np.ones(data.n_features, bool)
        self.budgets = [layer.topology.connections for layer in state.network.layers]
        return super().prepare(state, data)

    def remove(self, network: Network, inputs: NDArray[np.int64]) -> None:
        """Remove all connections of some inputs."""
        if len(inputs):
            self.active[inputs] = False
            network.layers[0] = without_inputs(network.layers[0], inputs)

    def evolve(
        self, network: Network, prune: str, regrow: str, probe: Probe | None = None, zeta_in: float = ZETA
    ) -> None:
        """Replace connections of all layers but the last; new ones begin at 0."""
        for l in range(len(network.layers) - 1):
            context = LayerContext(
                self.active if l == 0 else network.living_inputs(l), network.living[l],
                probe.of_layer(l).gradient if probe else None,
            )  # fmt: skip
            network.layers[l] = evolve(
                network.layers[l], self.budgets[l], zeta=self.ZETA if l else zeta_in, prune=prune, regrow=regrow,
                initializer="zero", rng=self.rng, context=context,
            ).layer  # fmt: skip


class Elimination(InputRemoval):
    """Removal of the weakest inputs during training, until as many are left as are selected.

    After recursive feature elimination (Guyon et al., Machine Learning 2002), in one training: from 0.4 to 0.8 of the
    epochs the number of inputs falls from n to K by the same factor in each. Those of the smallest attribution go: the
    mean of that of this epoch and of the mean before. The later removed rank higher. Of features that say the same, all
    have connections at first; as some go, the others take their part, so the last ones complement each other.
    """

    small_start: ClassVar[bool] = True
    SINCE, UNTIL = 0.4, 0.8
    attribution: NDArray[np.float64]

    def after_epoch(self, state: TrainingState) -> None:
        """Remove inputs, score all, and let the connections of the others evolve."""
        network, epoch, epochs = state.network, state.epoch, state.config.training.epochs
        found = attribution(network, self.data.x_train, self.rows(SAMPLES), self.workspace)
        self.attribution = found if epoch == 1 else (self.attribution + found) / 2
        left = np.flatnonzero(self.active)
        weakest = left[np.argsort(self.attribution[left], kind="stable")[: len(left) - self.left_after(epoch, epochs)]]
        self.remove(network, weakest)
        self.scores[left] = epoch + self.attribution[left] / max(self.attribution[left].max(), np.finfo(float).tiny)
        self.scores[self.active] += 1
        if epoch < epochs:
            self.evolve(network, "signed", "random")

    def left_after(self, epoch: int, epochs: int) -> int:
        """Return how many inputs are left after an epoch."""
        n, passed = len(self.active), (epoch / epochs - self.SINCE) / (self.UNTIL - self.SINCE)
        share: float = (self.n_selected / n) ** min(max(passed, 0.0), 1.0)
        return round(n * share)


class NeuroFS(InputRemoval):
    """Removal and regrowth of input neurons during training (NeuroFS, TMLR 2023).

    From the second epoch on, R = floor((1 - zeta_in) n - K) inputs are removed, linearly until 0.65 of the epochs; in
    addition ``zeta_in (1 - t / T)`` of the removed ones are exchanged: the weakest present ones, not younger than an
    epoch, for those of the largest single ``|gradient|``. The layer keeps its number of connections, as far as its
    inputs have places: new ones grow by gradient. Hidden layers replace the fraction zeta by gradient.

    The paper computes the gradient at all positions; here it is that of random ones: 10 candidates for each new
    connection, and 64 hidden neurons for each removed input.
    """

    ZETA_IN, UNTIL = 0.2, 0.65

    def prepare(self, state: TrainingState, data: Dataset) -> Dataset:
        """Begin with inputs that may be removed."""
        self.age = np.ones(data.n_features, np.int64)
        return super().prepare(state, data)

    def after_epoch(self, state: TrainingState) -> None:
        """Score by strength; before the last epoch, exchange inputs and connections."""
        network, epochs = state.network, state.config.training.epochs
        self.scores = input_strength(network)
        if state.epoch == epochs:
            return
        batch = Batch.of(self.data, self.rows(state.config.training.batch_size))
        if state.epoch >= 2:
            self._exchange_inputs(network, batch, state.epoch, epochs)
        self.evolve(network, "magnitude", "gradient", Probe(network, self.workspace, batch), zeta_in=0.0)

    def removed_after(self, epoch: int, epochs: int) -> int:
        """Return how many inputs are removed in all after an epoch, without those that are exchanged."""
        n = len(self.active)
        total = max(int((1 - self.ZETA_IN) * n - self.n_selected), 0)
        return int(total * min(1.0, (epoch - 1) / max(self.UNTIL * epochs - 1, 1.0)))

    def _exchange_inputs(self, network: Network, batch: Batch, epoch: int, epochs: int) -> None:
        """Remove the weakest inputs, and add removed ones with the largest gradient."""
        absent = np.flatnonzero(~self.active)
        added = int(self.ZETA_IN * (1 - epoch / epochs) * len(absent))
        removed = max(self.removed_after(epoch, epochs) - len(absent), 0) + added
        best = absent[np.argsort(-self._largest_gradient(network, batch, absent), kind="stable")[:added]]
        old = np.flatnonzero(self.active & (self.age >= 1))
        strength = input_strength(network)[old]
        worst = old[np.argsort(strength, kind="stable")[:removed]]
        self.remove(network, worst)
        self.age += 1
        self.active[best], self.age[best] = True, 0

    def _largest_gradient(self, network: Network, batch: Batch, inputs: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the largest ``|gradient|`` of each input at some hidden neurons, float32[inputs]."""
        t = network.layers[0].topology
        neurons = np.sort(self.rng.permutation(t.n_out)[:_NEURONS]).astype(np.int32)
        counts = np.zeros(t.n_in, np.int64)
        counts[inputs] = len(neurons)
        indptr = np.append(0, np.cumsum(counts))
        gradient = probe_gradient(network, self.workspace, batch, 0, indptr, np.tile(neurons, len(inputs)))
        largest: NDArray[np.float32] = np.abs(gradient).reshape(len(inputs), len(neurons)).max(axis=1, initial=0)
        return largest


def without_inputs(layer: Layer, inputs: NDArray[np.int64]) -> Layer:
    """Return a layer without the connections of some of its inputs, int64[k]."""
    t = layer.topology
    gone = np.zeros(t.n_in, bool)
    gone[inputs] = True
    nothing = np.zeros_like(t.indptr), np.empty(0, np.int32), np.empty(0, np.float32)
    return merge_connections(layer, ~np.repeat(gone, t.out_degree), *nothing)
