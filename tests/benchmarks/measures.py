"""Cost of the measures of a topology: seconds for layers of 1e5, 1e6 and 1e7 connections, by measure.

``python -m tests.benchmarks.measures [--connections 1e5 1e6 1e7]`` prints a table. Layers are random, square, with 40
connections for each neuron; a network of three of them counts for the columns of ``run.measures``.
"""

import argparse
import time

import numpy as np

from tsnn.config import Config
from tsnn.datasets import make_dataset
from tsnn.engine import measures
from tsnn.engine.exploration import Explored, gradient_flow
from tsnn.engine.network import Layer, Network
from tsnn.engine.topology import erdos_renyi
from tsnn.engine.training import train
from tsnn.engine.workspace import Workspace

DEGREE = 40


def seconds(function):
    """CPU seconds of a call."""
    started = time.process_time()
    function()
    return time.process_time() - started


def afterwards(connections):
    """Seconds of each measure of one layer, and of the distance without matching."""
    rng, n = np.random.default_rng(0), connections // DEGREE
    t = erdos_renyi(n, n, connections, rng=rng)
    t.transposed  # noqa: B018 - made once for all
    names = ("random_twin", "clustering", "modularity", "path_length")
    costs = {name: seconds(lambda name=name: getattr(measures, name)(t, rng=rng)) for name in names}
    other = erdos_renyi(n, n, connections, rng=rng)
    costs["distance"] = seconds(lambda: measures.distances([t], [other], match=False))
    costs["all"] = costs["random_twin"] + 2 * sum(costs[name] for name in names[1:]) + costs["distance"]
    return costs


def while_training(connections):
    """Seconds of an epoch's end: bits of the places of a layer that has changed, gradient flow; and of a batch."""
    rng, n = np.random.default_rng(0), connections // DEGREE
    layers = [
        Layer.new(erdos_renyi(n, n, connections, rng=rng), rng.normal(size=connections).astype(np.float32) / DEGREE)
        for _ in range(2)
    ]
    network = Network(layers, (1.0, 1.0), "normal")
    data = make_dataset(rng.normal(size=(160, n)).astype(np.float32), rng.normal(size=(160, n)), rng=rng)
    config = Config().replace({"training.batch_size": 100, "training.epochs": 1, "training.learning_rate": 1e-9})
    list(train(network, data, config, rng=rng))  # compiles, with the next line
    explored, workspace = Explored(network), Workspace(network.sizes, 96)
    gradient_flow(network, data, workspace, 100, 0)
    changed = erdos_renyi(n, n, connections, rng=rng)
    costs = {"flow": seconds(lambda: gradient_flow(network, data, workspace, 100, 0)) / 2}
    network.layers[0].topology = changed
    return {"itop": seconds(lambda: explored.update(network)), **costs}


def matching(n):
    """Seconds of the distance of two layers whose n neurons are matched."""
    rng = np.random.default_rng(0)
    pair = [[erdos_renyi(n, n, DEGREE * n, rng=rng), erdos_renyi(n, 10, 10 * n, rng=rng)] for _ in range(2)]
    return seconds(lambda: measures.distances(*pair, match=True))


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=float, nargs="+", default=[1e5, 1e6, 1e7])
    rows = [int(count) for count in parser.parse_args().connections]
    print("CPU seconds for each layer of this number of connections; 'all' with those of the twin\n")
    head = ("twin", "clustering", "modularity", "path length", "distance", "all", "ITOP bits", "gradient flow")
    print(f"| connections | {' | '.join(head)} |\n|---|{'---|' * len(head)}")
    for count in rows:
        costs = [*afterwards(count).values(), *while_training(count).values()]
        print(f"| {count:,} | {' | '.join(f'{cost:.2g}' for cost in costs)} |", flush=True)
    print("\nNNSTD, neurons of a layer matched\n\n| neurons | CPU seconds |\n|---|---|")
    for n in (1000, 2000, measures.MATCHED):
        print(f"| {n:,} | {matching(n):.2g} |", flush=True)


if __name__ == "__main__":
    main()
