"""Time tsnn's training step beside that of the published proof-of-concept, in alternating pairs.

`PublishedNetwork` is a rewrite, from its description (arXiv 2102.01732), of the sequential training step
that the papers' authors published: activations are batch-major [batch, n]; weights are SciPy CSR matrices
of float64; z and the activations of all layers are kept, the derivative is found from z; gradients of the
stored connections come from a Numba loop that takes strided columns of both activations; momentum is a
second sparse matrix, and each update makes new matrices by SciPy's arithmetic. It does the least that
this design needs. Both sides train the same topology, on one thread or on all.

Run ``python -m tests.benchmarks.published [--threads N] [--rounds N] [configuration ...]``.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numba
import numpy as np
from scipy import sparse

from tsnn import kernels
from tsnn.config import NetworkConfig, TrainingConfig
from tsnn.network import Workspace, init_network, train_batch

CLASSES, BATCH = 10, 128
CONFIGURATIONS = {  # features, hidden layers, alpha, batches per round
    "FashionMNIST": (784, (1000, 1000, 1000), 0.6, 20),
    "CIFAR-10": (3072, (4000, 1000, 4000), 0.75, 6),
}
DROPOUT, RATE, MOMENTUM, DECAY = 0.3, 0.01, 0.9, 2e-4


@numba.njit(parallel=True, fastmath=True, cache=True)
def connection_gradients(activation, delta, rows, columns, out):
    """Mean over the batch of activation * delta, for each stored connection."""
    samples = activation.shape[0]
    for k in numba.prange(out.shape[0]):
        total = 0.0
        for s in range(samples):
            total += activation[s, rows[k]] * delta[s, columns[k]]
        out[k] = total / samples


@numba.njit(fastmath=True, cache=True)
def dropped(values, p):
    """Inverted dropout: the values and the mask."""
    keep = np.random.uniform(0.0, 1.0, values.shape) >= p  # noqa: NPY002 (as published)
    return values * np.float32(1 / (1 - p)) * keep, keep


class PublishedNetwork:
    """The weights and one training step of the published design."""

    def __init__(self, network):
        self.weights, self.slopes = [], network.slopes
        for layer in network.layers:
            t = layer.topology
            arrays = (layer.weights.astype(float), t.indices.copy(), t.indptr.astype(np.int32))
            self.weights.append(sparse.csr_array(arrays, shape=(t.n_in, t.n_out)))
        self.biases = [np.zeros(layer.topology.n_out, np.float32) for layer in network.layers]
        self.velocities, self.bias_velocities = {}, {}

    def step(self, x, onehot):
        """Train on float32[batch, features] and float32[batch, classes]."""
        sums, activations, keeps = [], [x], []
        for l, (weights, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            z = activations[l] @ weights + bias
            sums.append(z)
            if l == len(self.weights) - 1:
                e = np.exp(z - z.max(axis=1, keepdims=True))
                activations.append(e / e.sum(axis=1, keepdims=True))
            else:
                a, keep = dropped(np.where(z < 0, self.slopes[l] * z, z), DROPOUT)
                activations.append(a)
                keeps.append(keep)
        delta = activations[-1] - onehot
        gradients = []
        for l in reversed(range(len(self.weights))):
            pattern = self.weights[l].tocoo()
            values = np.empty(pattern.nnz, np.float32)
            connection_gradients(activations[l], delta, pattern.row, pattern.col, values)
            gradient = sparse.coo_array((values, (pattern.row, pattern.col)), shape=pattern.shape).tocsr()
            gradients.append((l, gradient, delta.mean(axis=0)))
            if l:
                slope = np.where(sums[l - 1] < 0, self.slopes[l - 1], 1)
                delta = (delta @ self.weights[l].T) * slope * keeps[l - 1] / np.float32(1 - DROPOUT)
        for l, gradient, bias_gradient in gradients:
            self.update(l, gradient, bias_gradient)

    def update(self, l, gradient, bias_gradient):
        """Momentum SGD; every sum of sparse matrices makes a new one."""
        if l in self.velocities:
            self.velocities[l] = MOMENTUM * self.velocities[l] - RATE * gradient
            self.bias_velocities[l] = MOMENTUM * self.bias_velocities[l] - RATE * bias_gradient
        else:
            self.velocities[l], self.bias_velocities[l] = -RATE * gradient, -RATE * bias_gradient
        self.weights[l] += self.velocities[l] - DECAY * self.weights[l]
        self.biases[l] += self.bias_velocities[l] - DECAY * self.biases[l]


def measure(name, rounds):
    """CPU and wall-clock seconds per step of both sides, medians over the rounds, and the median ratio."""
    features, hidden, alpha, batches = CONFIGURATIONS[name]
    rng = np.random.default_rng(0)
    network = init_network(features, CLASSES, NetworkConfig(hidden=hidden, alpha=alpha), rng=rng)
    published = PublishedNetwork(network)
    workspace = Workspace(network.sizes, BATCH)
    config = TrainingConfig(learning_rate=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    x = rng.random((batches * BATCH, features), dtype=np.float32)
    y = rng.integers(0, CLASSES, len(x))
    onehot = np.eye(CLASSES, dtype=np.float32)[y]

    def run_published():
        order = rng.permutation(len(x))
        shuffled, targets = x[order], onehot[order]
        for start in range(0, len(x), BATCH):
            published.step(shuffled[start : start + BATCH], targets[start : start + BATCH])

    def run_tsnn():
        for number, chosen in enumerate(rng.permutation(len(x)).reshape(-1, BATCH)):
            train_batch(
                network, workspace, x, y, chosen, task="classification", config=config, dropout=DROPOUT, key=8 * number
            )

    samples = []
    for _ in range(rounds + 1):  # the first compiles
        row = []
        for run in (run_published, run_tsnn):
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            row += [(time.perf_counter() - wall) / batches, (time.process_time() - cpu) / batches]
        samples.append([*row, row[0] / row[2], row[1] / row[3]])
    return network.connections, [statistics.median(column) for column in zip(*samples[1:], strict=True)]


def main():
    """Print one line per configuration."""
    parser = argparse.ArgumentParser(description="Time tsnn beside the published training step.")
    parser.add_argument("configuration", nargs="*", default=list(CONFIGURATIONS), help=", ".join(CONFIGURATIONS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    kernels.set_threads(options.threads)
    print("milliseconds per step (wall / CPU), medians of alternating rounds")
    for name in options.configuration:
        connections, (wall, cpu, our_wall, our_cpu, ratio, cpu_ratio) = measure(name, options.rounds)
        print(
            f"{name}, {connections} connections, {options.threads} threads: "
            f"published {1e3 * wall:.1f} / {1e3 * cpu:.1f}, tsnn {1e3 * our_wall:.2f} / {1e3 * our_cpu:.2f}, "
            f"ratio {ratio:.1f} / {cpu_ratio:.1f}"
        )


if __name__ == "__main__":
    main()
