"""Time of an evolution with each rule: ``python -m tests.benchmarks.rules [--connections N ...] [--rule NAME]``.

One square layer with 40 connections of each neuron, zeta 0.3, below an output layer of 10 neurons; batch 128 where a
rule needs one. CPU time of one thread for the layer's evolution, kernels compiled before; best of the repetitions. In
addition to the built-in rules: one of CONTRIBUTING.md, in plain NumPy.
"""

import argparse
import time

import numpy as np

import tsnn
from tsnn import kernels
from tsnn.config import Config
from tsnn.datasets import make_dataset
from tsnn.engine.batches import Batch
from tsnn.engine.epochs import needs_probe
from tsnn.engine.evolution import evolve_all
from tsnn.engine.network import Layer, Network
from tsnn.engine.probe import Probe
from tsnn.engine.topology import erdos_renyi
from tsnn.engine.workspace import Workspace
from tsnn.machine import processor_name
from tsnn.registry import PRUNING, REGROWTH

DEGREE = 40


def define():
    """Register the rule of the documentation."""

    @tsnn.regrowth("cosine", needs="activations", candidates=10)
    def cosine(free, rows, columns):
        """Between neurons that are active for the same samples (cosine similarity)."""
        a, b = (x / (np.linalg.norm(x, axis=1, keepdims=True) + 1e-9) for x in free.activations)
        return abs(np.einsum("ks,ks->k", a[rows], b[columns]))


def a_network(connections, rng):
    n = max(DEGREE, connections // DEGREE)
    layers = []
    for n_in, n_out, count in ((n, n, connections), (n, 10, 10 * n)):
        weights = rng.standard_normal(count, dtype=np.float32)
        layers.append(Layer.new(erdos_renyi(n_in, n_out, count, rng=rng), weights))
    return Network(layers, (0.0, 1.0), "he_uniform")


def seconds(connections, prune, regrow, repeat):
    """Best time of the evolution of a layer."""
    rng = np.random.default_rng(0)
    network = a_network(connections, rng)
    config = Config().replace({"training.prune": prune, "training.regrow": regrow, "run.rule_seconds": 0})
    probe = None
    if needs_probe(config):
        x = rng.standard_normal((160, network.sizes[0]), dtype=np.float32)
        data = make_dataset(x, np.arange(160) % 10, rng=rng, test_fraction=0.2, preprocessing="none")
        probe = Probe(network, Workspace(network.sizes, 128), Batch.of(data, np.arange(128)))
    times = []
    for _ in range(repeat):
        started = time.process_time()
        evolve_all(network, config, None, probe, rng)
        times.append(time.process_time() - started)
    return min(times)


def main():
    """Print a row for each rule."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=float, nargs="+", default=[1e5, 1e6, 1e7])
    parser.add_argument("--rule", action="append", help="only this; may be repeated")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    define()
    kernels.set_threads(1)
    pairs = [(prune, "random") for prune in PRUNING] + [("signed", regrow) for regrow in REGROWTH if regrow != "random"]
    if options.rule:
        pairs = [pair for pair in pairs if set(pair) & set(options.rule)]
    print(f"{processor_name()}; CPU seconds of an evolution, one thread, best of {options.repeat}\n")
    print("| pruning | regrowth | " + " | ".join(f"{int(n):,}" for n in options.connections) + " |")
    print("|---|---|" + "---|" * len(options.connections))
    for prune, regrow in pairs:
        seconds(1000, prune, regrow, 1)  # compiles
        cells = " | ".join(f"{seconds(int(n), prune, regrow, options.repeat):.3f}" for n in options.connections)
        print(f"| {prune} | {regrow} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
