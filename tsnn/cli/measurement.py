"""Measurement of this machine for ``tsnn doctor``: bits and speed of a training of about ten seconds.

The expected speed is measured too: dense products of float32 matrices by NumPy's BLAS, between the epochs of training,
on as many threads and under the same load by other programs. Training reaches a certain share of it as long as kernels,
threads and cores work as they should.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from tsnn.config import Config
from tsnn.datasets import load_dataset, make_dataset
from tsnn.engine.network import init_network
from tsnn.engine.training import train
from tsnn.kernels.compiling import vector_path
from tsnn.kernels.threads import threads_in_use

SECONDS = 10.0
#: Least share of the rate of dense products that training should reach, by the kind of kernels. A quiet processor with
#: AVX-512 reaches 0.7. Other processors have units for dense products that differ too much for a comparison.
LEAST_SHARE = {"AVX-512": 0.2, "AVX2": 0.2}
#: Hash of the weights after a small training, by the kind of kernels. That of portable ones, which the compiler
#: vectorizes, depends on the processor.
EXPECTED_BITS = dict.fromkeys(("AVX-512", "AVX2"), "66702ee672b2")


def bits(threads: int) -> str:
    """Return a hash of the weights after a small training whose result depends on no other library.

    Features and targets are small whole numbers, the loss is the squared error, nothing is scaled: there is no
    logarithm, and no sum outside of tsnn's kernels.
    """
    rng = np.random.default_rng(1)
    x = rng.integers(-8, 8, size=(600, 100)).astype(np.float32) / 8
    y = (x[:, :20].sum(axis=1) + x[:, 20]) / 4
    data = make_dataset(x[:500], y[:500], x[500:], y[500:], task="regression", preprocessing="none")
    settings: dict[str, Any] = {"network.hidden": [80, 60], "network.epsilon": 8, "network.dropout": 0.2}
    settings |= {"training.epochs": 6, "training.batch_size": 64, "training.learning_rate": 0.01}
    settings["run.threads"] = threads
    config = Config().replace(settings)
    rng = np.random.default_rng(2)
    network = init_network(data.n_features, data.n_outputs, config, rng=rng)
    for _ in train(network, data, config, rng=rng):
        pass
    content = hashlib.sha256()
    for layer in network.layers:
        content.update(layer.topology.indices.tobytes() + layer.weights.tobytes())
    return content.hexdigest()[:12]


def rates(seconds: float) -> tuple[float, float, float]:
    """Return the rates of training and of dense products in FLOP/s, and of training in samples/s; medians."""
    rng = np.random.default_rng(0)
    data = load_dataset("fashion_mnist", size="small", rng=rng)
    config = Config.preset("paper/fashion_mnist").replace({"training.epochs": 1_000_000})
    network = init_network(data.n_features, data.n_outputs, config, rng=rng)
    flops = 6.0 * network.connections * len(data.x_train)
    dense: list[float] = []
    epochs: list[float] = []
    products = _products(rng)
    training = train(network, data, config, rng=rng)
    next(training)  # compiles
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(epochs) < 3:
        dense.append(next(products))
        epochs.append(next(training).seconds_train)
    spent = float(np.median(epochs))
    return flops / spent, float(np.median(dense)), len(data.x_train) / spent


def _products(rng: np.random.Generator) -> Iterator[float]:
    """Yield the rate of products of the shape of a dense layer, in FLOP/s."""
    a, b = rng.random((1024, 1024), np.float32), rng.random((1024, 128), np.float32)
    repeats = 40
    out = a @ b
    while True:
        started = time.perf_counter()
        for _ in range(repeats):
            np.matmul(a, b, out=out)
        yield 2.0 * a.size * b.shape[1] * repeats / (time.perf_counter() - started)


def main() -> None:
    """Print everything that was measured, as JSON."""
    path = vector_path()
    one, several = bits(1), bits(0)
    training, dense, samples = rates(SECONDS)
    threads, layer = threads_in_use()
    measured = {
        "threads": threads,
        "threading_layer": layer,
        "bits": several,
        "bits_one_thread": one,
        "bits_expected": EXPECTED_BITS.get(path),
        "gflops": training / 1e9,
        "samples_per_second": samples,
        "share_of_dense": training / dense,
        "share_expected": LEAST_SHARE.get(path),
    }
    sys.stdout.write(json.dumps(measured) + "\n")


if __name__ == "__main__":
    main()
