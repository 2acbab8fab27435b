"""Accuracy with activations in 16 bits beside that with float32: means and standard deviations over seeds.

``python -m tests.benchmarks.precision [--data NAME ...] [--methods set] [--epochs 15] [--seeds 5] [--size small]``
prints a table.
"""

import argparse
from statistics import mean, stdev

import numpy as np

from tsnn.config import Config
from tsnn.datasets import load_dataset
from tsnn.engine.network import init_network
from tsnn.engine.training import train

DATA = ("fashion_mnist", "madelon", "leukemia", "cifar10")
METHODS = ("set", "dense")
PRECISIONS = ("float32", "bfloat16")
#: Leukemia's preset is for 54,675 features; this is for the smaller set of that name.
SETTINGS = {"leukemia": {"hidden": (500, 500), "epsilon": 10, "learning_rate": 0.005, "batch_size": 5}}

#: Part of the preset's learning rate at which dense networks train; at all of it they diverge.
DENSE_RATE = 0.1


def accuracy(name, method, precision, seed, epochs, size):
    """Test accuracy after the last epoch, per cent."""
    config = Config.preset(name).replace(epochs=epochs, method=method, precision=precision, **SETTINGS.get(name, {}))
    if method == "dense":
        config = config.replace(learning_rate=DENSE_RATE * config.training.learning_rate)
    rng = np.random.default_rng(seed)
    data = load_dataset(name, size=size, preprocessing=config.data.preprocessing, rng=rng)
    network = init_network(data.n_features, data.n_outputs, config, rng=rng)
    return 100 * list(train(network, data, config, rng=rng))[-1].test_accuracy


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", choices=DATA, default=DATA)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--size", default="auto", choices=("auto", "small", "full"))
    options = parser.parse_args()
    print("| accuracy, % | float32 | bfloat16 |\n|---|---|---|")
    for name in options.data:
        for method in options.methods:
            cells = []
            for precision in PRECISIONS:
                each = [
                    accuracy(name, method, precision, seed, options.epochs, options.size)
                    for seed in range(options.seeds)
                ]
                cells.append(f"{mean(each):.1f} ± {stdev(each):.1f}")
            print(f"| {name}, {method} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
