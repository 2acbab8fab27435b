"""tsnn and its peers behind one interface; each runs in a process of its own (see side_by_side.py).

``__init__(workload, x, y)`` builds the network, ``step(chosen)`` trains on some rows of x. Optional methods:
``evolve()`` of all layers but the output layer, ``evaluate()`` on the number of samples in the workload's test part,
``predict(sample)``. Each implementation gathers its batches; all train with momentum, weight decay and, except for
scikit-learn's, All-ReLU and dropout. Libraries are imported as late as possible, so that a missing one can be named.
"""

import numpy as np

from tests.benchmarks.workloads import DECAY, DROPOUT, MOMENTUM, RATE


class Tsnn:
    """tsnn itself."""

    precision = "float32"

    def __init__(self, workload, x, y):
        from tsnn.config import NetworkConfig
        from tsnn.engine.network import Layer, Network, draw_weights
        from tsnn.engine.schedules import Rates
        from tsnn.engine.topology import Topology
        from tsnn.engine.workspace import Workspace
        from tsnn.tiling import fast_width

        self.workload, self.x, self.y = workload, x, y
        self.rng = np.random.default_rng(0)
        layers = []
        for (n_in, n_out), keys in zip(workload.shapes, workload.patterns(), strict=True):
            weights = draw_weights("he_uniform", n_in, n_out, len(keys), rng=self.rng)
            layers.append(Layer.new(Topology.from_keys(keys, n_in, n_out), weights))
        self.network = Network(layers, (*workload.slopes, 1.0), NetworkConfig().initializer)
        width = fast_width(max(workload.sizes), workload.batch, self.precision)
        self.workspace = Workspace(workload.sizes, width, precision=self.precision)
        self.rates = Rates(MOMENTUM, RATE, DECAY, DROPOUT)
        self.single = Workspace(workload.sizes, 1)
        self.steps = 0

    def step(self, chosen):
        from tsnn.datasets import as_features
        from tsnn.engine.batches import Batch, train_batch

        self.steps += 1
        batch = Batch(as_features(self.x), self.y, chosen, None, "classification")
        train_batch(self.network, self.workspace, batch, rates=self.rates, key=8 * self.steps)

    def evolve(self):
        from tsnn.engine.evolution import evolve

        for l, layer in enumerate(self.network.layers[:-1]):
            same = layer.topology.connections
            self.network.layers[l] = evolve(
                layer, same, zeta=0.3, prune="signed", initializer="he_uniform", rng=self.rng
            ).layer

    def evaluate(self):
        from tsnn.engine.metrics import evaluate

        remaining = self.workload.test
        while remaining > 0:
            part = self.x[:remaining]
            evaluate(self.network, part, self.y[:remaining], "classification", self.workspace)
            remaining -= len(part)

    def predict(self, sample):
        from tsnn.engine.metrics import decision_values

        decision_values(self.network, sample, self.single)


class TsnnBfloat16(Tsnn):
    """tsnn with activations in 16 bits."""

    precision = "bfloat16"


class Published:
    """The published training step: see published.py."""

    def __init__(self, workload, x, y):
        from tests.benchmarks.published import PublishedNetwork

        self.x, self.onehot = x, np.eye(workload.sizes[-1], dtype=np.float32)[y]
        self.network = PublishedNetwork(Tsnn(workload, x, y).network)

    def step(self, chosen):
        self.network.step(self.x[chosen], self.onehot[chosen])


class ScikitLearn:
    """scikit-learn's MLPClassifier: dense, ReLU, no dropout."""

    def __init__(self, workload, x, y):
        from sklearn.neural_network import MLPClassifier

        self.model = MLPClassifier(
            workload.sizes[1:-1], solver="sgd", alpha=DECAY, learning_rate_init=RATE, momentum=MOMENTUM,
            nesterovs_momentum=False, batch_size=workload.batch,
        )  # fmt: skip
        self.x, self.y, self.classes = x, y, np.arange(workload.sizes[-1])

    def step(self, chosen):
        self.model.partial_fit(self.x[chosen], self.y[chosen], classes=self.classes)

    def predict(self, sample):
        self.model.predict(sample)


IMPLEMENTATIONS = {
    "tsnn": "peers:Tsnn",
    "tsnn, bfloat16": "peers:TsnnBfloat16",
    "published step": "peers:Published",
    "PyTorch dense": "pytorch:Dense",
    "PyTorch dense, AVX-512 unlocked": "pytorch:UnlockedDense",
    "PyTorch masked": "pytorch:Masked",
    "PyTorch CSR": "pytorch:Csr",
    "PyTorch CSR, by hand": "pytorch:CsrByHand",
    "sparselab": "pytorch:SparseLab",
    "scikit-learn": "peers:ScikitLearn",
}
OURS, *PEERS = IMPLEMENTATIONS
NARROW = PEERS[0]
