"""Workloads: network sizes, sparsity, and random data of the same shapes. Without tsnn, so that peers stay small."""

import itertools
from dataclasses import dataclass

import numpy as np

DROPOUT, RATE, MOMENTUM, DECAY = 0.3, 0.01, 0.9, 2e-4


@dataclass(frozen=True)
class Workload:
    """A network and the size of its data set."""

    name: str
    sizes: tuple[int, ...]
    layers: tuple[int, ...]  # connections of each
    train: int = 50_000
    test: int = 10_000
    alpha: float = 0.6
    batch: int = 128
    peers: tuple[str, ...] = ()  # peers to compare with; all if empty

    @property
    def connections(self):
        return sum(self.layers)

    @property
    def batches(self):
        """Steps of an epoch."""
        return -(-self.train // self.batch)

    @property
    def shapes(self):
        return list(itertools.pairwise(self.sizes))

    @property
    def slopes(self):
        """All-ReLU's negative slope after each hidden layer."""
        return [self.alpha * (-1) ** l for l in range(1, len(self.layers))]

    def patterns(self):
        """Yield the sorted keys i * n_out + j of each layer's connections, int64[m]."""
        rng = np.random.default_rng(1)
        for (n_in, n_out), count in zip(self.shapes, self.layers, strict=True):
            keys = np.arange(n_in * n_out if count == n_in * n_out else 0)
            while len(keys) < count:
                more = np.sort(np.concatenate([keys, rng.integers(n_in * n_out, size=count - len(keys))]))
                keys = more[np.diff(more, prepend=-1) > 0]
            yield keys

    def data(self):
        """Random samples, float32[n, features], and classes, int64[n]: about 16 MB, at least two batches."""
        rng = np.random.default_rng(2)
        count = int(np.clip(2**22 // self.sizes[0], 2 * self.batch, 4096))
        return rng.random((count, self.sizes[0]), dtype=np.float32), rng.integers(self.sizes[-1], size=count)


def by_epsilon(name, sizes, epsilon, **rest):
    """Return a workload whose layers have epsilon (n_in + n_out) connections."""
    layers = tuple(min(round(epsilon * (a + b)), a * b) for a, b in itertools.pairwise(sizes))
    return Workload(name, sizes, layers, **rest)


def by_density(density, sizes=(3072, 1024, 1024, 10)):
    """Return a workload with sparse hidden layers and a dense output layer."""
    *hidden, last = [a * b for a, b in itertools.pairwise(sizes)]
    return Workload(f"{density:.0%} of 3072-1024-1024-10", sizes, (*(round(density * full) for full in hidden), last))


FASHION = by_epsilon("FashionMNIST", (784, 1000, 1000, 1000, 10), 20, train=60_000)
CIFAR = by_epsilon("CIFAR-10", (3072, 4000, 1000, 4000, 10), 20, alpha=0.75)
MADELON = by_epsilon("Madelon", (500, 400, 100, 400, 2), 10, train=2000, test=600)
LEUKEMIA = by_epsilon(
    "Leukemia", (54_675, 27_500, 27_500, 18), 10, train=1397, test=699, alpha=0.75, batch=5,
    peers=("tsnn, bfloat16", "published step", "PyTorch CSR, by hand"),  # the others would form 9 GB of dense weights
)  # fmt: skip
LUNG = by_epsilon("Lung", (3312, 3000, 3000, 5), 10, train=135, test=68, alpha=0.0, batch=2)  # ReLU
DENSITIES = {density: by_density(density) for density in (0.01, 0.05, 0.10, 0.20)}
WORKLOADS = {workload.name: workload for workload in (FASHION, CIFAR, MADELON, LEUKEMIA, LUNG, *DENSITIES.values())}
TINY = by_epsilon("tiny", (20, 30, 20, 4), 3, train=256, test=128, batch=16)


def square(n):
    """Return a workload of two hidden layers of n neurons, 40 connections per neuron, 81 n in all."""
    return Workload(f"{n} neurons a layer", (n, n, n, 10), (min(40 * n, n * n), min(40 * n, n * n), n))
