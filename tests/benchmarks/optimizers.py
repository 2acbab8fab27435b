"""Optimizers, initial weights and evolution within epochs: seconds of a step, and accuracy over seeds.

``python -m tests.benchmarks.optimizers [--epochs 20] [--seeds 3] [--rounds 15]`` prints both tables.
"""

import argparse
import time
from statistics import mean, median, stdev

import numpy as np

from tsnn import kernels
from tsnn.config import Config
from tsnn.datasets import load_dataset
from tsnn.engine.batches import Batch, train_batch
from tsnn.engine.network import init_network
from tsnn.engine.optimizers import prepare_state
from tsnn.engine.schedules import rates_at
from tsnn.engine.training import train, workspace_width
from tsnn.engine.workspace import Workspace
from tsnn.registry import OPTIMIZERS

#: Settings of each row, besides the papers' for Fashion-MNIST.
BETTER = {"learning_rate": 0.03, "dropout": 0.1, "weight_decay": 0.0}
ADAMW = {"optimizer": "adamw", "learning_rate": 0.001, "dropout": 0.1, "weight_decay": 0.0}
SPARSE = {"density": 0.005, "initializer": "he_uniform_sparse"}
ROWS = {
    "the papers' settings": {},
    "rate 0.03, dropout 0.1, no decay": BETTER,
    "the same, Nesterov": {**BETTER, "optimizer": "nesterov"},
    "AdamW, rate 0.001, dropout 0.1": ADAMW,
    "the same, 5 evolutions in each epoch": {**ADAMW, "evolve_every": 0.2},
    "density 0.5 %": {**BETTER, "density": 0.005},
    "the same, weights by each neuron's own inputs": {**BETTER, **SPARSE},
    "the same, uniform density": {**BETTER, **SPARSE, "allocation": "uniform"},
    "Erdős–Rényi again, AdamW": {**ADAMW, **SPARSE},
}


def step_seconds(rounds, steps=20):
    """CPU seconds of a step on one thread by optimizer: medians of alternating rounds, for two networks."""
    kernels.set_threads(1)
    for dataset in ("fashion_mnist", "madelon"):
        config, rng = Config.preset(dataset), np.random.default_rng(0)
        data = load_dataset(dataset, size="small", rng=rng)
        width = min(config.training.batch_size, len(data.x_train))
        batch = Batch.of(data, np.arange(width))
        cases = {}
        for name in OPTIMIZERS:
            network = init_network(data.n_features, data.n_outputs, config, rng=rng)
            prepare_state(network, name)
            cases[name] = network, Workspace(network.sizes, workspace_width(config, network.sizes, len(data.x_train)))
        rates, samples = rates_at(config, 0)._replace(learning_rate=1e-6), {name: [] for name in cases}
        for _ in range(rounds + 1):
            for name, case in cases.items():
                started = time.process_time()
                for key in range(steps):
                    train_batch(*case, batch, rates=rates, key=8 * key, optimizer=name)
                samples[name].append((time.process_time() - started) / steps)
        for name, seconds in samples.items():
            ratio = median(a / b for a, b in zip(seconds[1:], samples["sgd"][1:], strict=True))
            yield f"| {dataset} | {name} | {1e3 * median(seconds[1:]):.2f} | {ratio:.2f} |"


def accuracies(epochs, seeds):
    """Test accuracy after the last epoch, mean and standard deviation over seeds, of each row."""
    for name, settings in ROWS.items():
        config = Config.preset("paper/fashion_mnist").replace({**settings, "epochs": epochs, "threads": 1})
        found, connections = [], 0
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            data = load_dataset("fashion_mnist", size="small", rng=rng)
            network = init_network(data.n_features, data.n_outputs, config, rng=rng)
            found.append([100 * record.test_accuracy for record in train(network, data, config, rng=rng)])
            connections = network.connections
        marks = [sorted({0, epochs // 4 - 1, epochs - 1})[k] for k in range(3)]
        columns = [[run[epoch] for run in found] for epoch in marks]
        cells = " | ".join(f"{mean(column):.1f} ± {stdev(column):.1f}" for column in columns)
        yield f"| {name} | {connections:,} | {cells} |"


def main():
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    print("| network | optimizer | step, ms | times SGD |\n|---|---|---|---|", flush=True)
    for line in step_seconds(given.rounds):
        print(line, flush=True)
    early = max(1, given.epochs // 4)
    print(
        f"\n| settings | connections | after 1 | {early} | {given.epochs} epochs |\n|---|---|---|---|---|", flush=True
    )
    for line in accuracies(given.epochs, given.seeds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
