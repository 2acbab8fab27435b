"""Size benchmark: training steps of networks of 1 to 200 million neurons on the papers' artificial data.

Each network is trained in a process of its own, so that its peak memory is its own. Some steps are timed, with one
evolution of the topology: after an epoch, or half-way if there are fewer steps than that. The time of an epoch of 7000
samples is extrapolated from the median step. Losses are means of a quarter of the steps: the first, the last before the
evolution, and the last after it. Networks that do not fit into the memory are skipped.

Run ``python -m tests.benchmarks.sizes [--top MILLIONS] [--from MILLIONS] [--steps N] [--batch N] [--compact]
[--precision bfloat16]``.
"""

import argparse
import itertools
import json
import resource
import statistics
import subprocess
import sys
import time

import numpy as np
import psutil

from tsnn import kernels
from tsnn.config import Config
from tsnn.datasets import as_features, load_dataset
from tsnn.engine.batches import Batch, train_batch
from tsnn.engine.evolution import evolve_all
from tsnn.engine.memory import fitting_estimate
from tsnn.engine.metrics import evaluate
from tsnn.engine.network import init_network
from tsnn.engine.schedules import rates_at
from tsnn.engine.workspace import Workspace

FEATURES, CLASSES, SAMPLES = 65_536, 2, 7000
OWN = "he_uniform_sparse"  # by the connections of each neuron: with others, ten layers of two learn little
NETWORKS = {  # millions of neurons: hidden layers, epsilon, batch, learning rate, initial weights
    1: ((500_000,) * 2, 10, 128, 4e-5, "normal"),
    5: ((2_500_000,) * 2, 10, 128, 2.5e-5, "normal"),
    10: ((5_000_000,) * 2, 5, 128, 2.5e-5, "normal"),
    20: ((5_000_000,) * 4, 2, 64, 1e-5, "normal"),
    50: ((5_000_000,) * 10, 1, 16, 1e-3, OWN),
    71: ((7_100_000,) * 10, 1, 16, 1e-3, OWN),
    200: ((20_000_000,) * 10, 1, 16, 1e-3, OWN),
}


def configuration(millions, options):
    """Return the settings of a network."""
    hidden, epsilon, batch, rate, initializer = NETWORKS[millions]
    config = Config.preset("artificial").replace({"network.hidden": hidden, "network.epsilon": epsilon})
    config = config.replace({"training.batch_size": options.batch or batch, "training.learning_rate": rate})
    config = config.replace({"network.dropout": 0, "training.weight_decay": 0, "run.compact": options.compact})
    return config.replace({"training.precision": options.precision, "network.initializer": initializer})


def measure(millions, options, budget):
    """Train one network in this process and print its figures as JSON."""
    config, rng, steps = configuration(millions, options), np.random.default_rng(0), options.steps
    kernels.set_threads(config.run.threads)
    warm_up(config)
    batch = config.training.batch_size
    estimate = fitting_estimate(config, FEATURES, CLASSES, SAMPLES, data_bytes=0, budget=budget)
    figures = {"millions": millions, "connections": estimate.count, "expected": estimate.total}
    figures |= {"micro_batch": estimate.micro_batch, "batch": batch, "epsilon": config.network.epsilon}
    figures["compact"] = estimate.compact
    data = load_dataset("artificial", rng=rng)

    started = time.perf_counter()
    network = init_network(FEATURES, CLASSES, config, rng=rng)
    figures["initialisation"] = time.perf_counter() - started
    precision = config.training.precision
    workspace = Workspace(network.sizes, estimate.micro_batch, compact=estimate.compact, precision=precision)
    order = rng.permutation(SAMPLES)
    losses, seconds, epoch = [], [], -(-SAMPLES // batch)
    evolved = epoch if steps > epoch else steps // 2 + 1
    for step in range(steps):
        chosen = np.roll(order, -step * batch)[:batch]
        started = time.perf_counter()
        batch_of_step = Batch.of(data, chosen)
        loss, _ = train_batch(network, workspace, batch_of_step, rates=rates_at(config, 0), key=16 * step)
        seconds.append(time.perf_counter() - started)
        losses.append(loss / batch)
        if step == 0:
            figures["at_rest"] = at_rest(network)
        if step + 1 == evolved:
            started = time.perf_counter()
            evolve_all(network, config, None, None, rng)
            figures["evolution"] = time.perf_counter() - started
    quarter = max(1, steps // 4)
    figures["step"] = statistics.median(seconds)
    parts = losses[:quarter], losses[:evolved][-quarter:], losses[-quarter:]
    figures["losses"] = [statistics.fmean(part) for part in parts]

    started = time.perf_counter()
    width = workspace.width
    evaluate(network, subset(data.x_test, width), data.y_test[:width], data.task, workspace)
    figures["inference"] = (time.perf_counter() - started) / width
    figures["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(figures))


def at_rest(network):
    """Bytes of all arrays that are kept between steps."""
    return sum(
        array.nbytes
        for layer in network.layers
        for array in (
            layer.weights, layer.velocity, layer.bias, layer.bias_velocity, layer.topology.indptr,
            layer.topology.indices, *vars(layer.topology).get("transposed", ()),
        )
    )  # fmt: skip


def subset(features, count):
    """The first samples of artificial data."""
    return type(features)(features.keys[:count], features.centres[:count], features.shift)


def warm_up(config):
    """Compile the kernels on a network of a hundred neurons."""
    rng = np.random.default_rng(1)
    network = init_network(40, 2, config.replace({"network.hidden": [30, 30]}), rng=rng)
    precision = config.training.precision
    for width, compact in itertools.product((16, 32, 64, 128), (False, True)[: 1 + (precision == "float32")]):
        workspace = Workspace(network.sizes, width, compact=compact, precision=precision)
        x, y = rng.random((width, 40), dtype=np.float32), np.arange(width) % 2
        batch = Batch(as_features(x), y, np.arange(width), None, "classification")
        train_batch(network, workspace, batch, rates=rates_at(config, 0), key=0)
    evolve_all(network, config, None, None, rng)


def main():
    """Print one line per network."""
    parser = argparse.ArgumentParser(description="Train networks of growing size.")
    parser.add_argument(
        "--top", type=int, default=200, metavar="MILLIONS", help="largest network (default: %(default)s)"
    )
    parser.add_argument(
        "--from", type=int, default=1, metavar="MILLIONS", help="smallest network (default: %(default)s)", dest="first"
    )
    parser.add_argument("--steps", type=int, default=15, help="training steps of each network (default: %(default)s)")
    parser.add_argument("--memory", type=float, default=0, metavar="GIB", help="memory to use (default: 80 %% of free)")
    parser.add_argument("--batch", type=int, default=0, metavar="SAMPLES", help="default: the network's own")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--compact", action="store_true", help="12 bytes per connection also where 20 would fit")
    parser.add_argument("--network", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    budget = int(options.memory * 2**30 or 0.8 * psutil.virtual_memory().available)
    if options.network:
        measure(options.network, options, budget)
        return
    print("seconds on this machine; an epoch (7000 samples) is extrapolated from the median step")
    print(
        f"{'neurons':>8}{'connections':>13}{'eps':>5}{'batch':>9}{'init':>7}{'step':>8}{'epoch':>8}{'evolution':>10}"
        f"{'inference':>13}{'peak GiB':>10}{'expected':>9}{'bytes/conn.':>12}  loss"
    )
    for millions in NETWORKS:
        if not options.first <= millions <= options.top:
            continue
        config = configuration(millions, options)
        estimate = fitting_estimate(config, FEATURES, CLASSES, SAMPLES, data_bytes=0, budget=budget)
        if estimate.total > budget:
            print(f"{millions:>6} M  skipped: {estimate}")
            continue
        arguments = ["--network", str(millions), "--steps", str(options.steps), "--memory", str(budget / 2**30)]
        arguments += ["--batch", str(options.batch), "--precision", options.precision]
        arguments += ["--compact"] if options.compact else []
        result = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.sizes", *arguments], stdout=subprocess.PIPE, text=True, check=True
        )
        print(line(json.loads(result.stdout.splitlines()[-1])), flush=True)


def line(f):
    """Return the figures of one network as text."""
    steps = -(-SAMPLES // f["batch"])
    parts = f"{f['batch']}" + (f"/{f['micro_batch']}" if f["micro_batch"] < f["batch"] else "")
    return (
        f"{f['millions']:>6} M{f['connections']:>13,}{f['epsilon']:>5g}{parts:>9}{f['initialisation']:>7.1f}"
        f"{f['step']:>8.2f}{steps * f['step']:>8.0f}{f['evolution']:>10.1f}{1e3 * f['inference']:>8.1f} ms/s."
        f"{f['peak'] / 2**30:>10.2f}{f['expected'] / 2**30:>9.2f}{f['at_rest'] / f['connections']:>12.1f}"
        f"{' compact' if f['compact'] else ''}"
        f"  {f['losses'][0]:.3f} to {f['losses'][1]:.3f}, evolved, {f['losses'][2]:.3f}"
    )


if __name__ == "__main__":
    main()
