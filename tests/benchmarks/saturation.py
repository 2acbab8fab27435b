"""Predicted speed-ups for 2 to 1024 workers: a discrete-event model with measured costs of an exchange.

A worker computes for ``t`` (plus or minus a tenth), its message takes half the latency ``l``, waits in the server's
queue, is served for ``s``, and the answer takes the other half. The costs are measured here: ``t`` a gradient of
FashionMNIST's network on one thread, ``s`` update and copy, ``l`` the rest of an exchange between two real ranks.
Between machines the values also pass the server's network card, 8 bytes per connection at 10 Gbit/s.

The model does not predict accuracy. The mean staleness of W asynchronous workers is W - 1.

Run ``python -m tests.benchmarks.saturation [--check]``; the latter compares the model with real ranks that sleep
instead of computing.
"""

import argparse
import heapq
import json
import statistics
import subprocess
import sys
import time

import numpy as np

from tests.benchmarks.exchange import GRADIENT, measure, serve
from tests.benchmarks.workloads import FASHION
from tsnn import kernels
from tsnn.config import Config
from tsnn.datasets import as_features
from tsnn.engine.batches import Batch, batch_gradient
from tsnn.engine.network import init_network
from tsnn.engine.workspace import Workspace
from tsnn.jobs.launch import mpiexec
from tsnn.parallel.averaging import flatten
from tsnn.parallel.channel import MessageKind

WORKERS = tuple(2**k for k in range(1, 11))
PERIODS = (16, 256)
BYTES_PER_SECOND = 1.25e9  # 10 Gbit/s
JITTER = 0.1


def asynchronous(workers, t, latency, service, updates=20_000, seed=0):
    """Updates per second and mean staleness of WASAP."""
    rng = np.random.default_rng(seed)
    jitter = iter(1 + JITTER * rng.uniform(-1, 1, updates + workers))
    arrivals = [(t * next(jitter) * rng.random() + latency / 2, worker) for worker in range(workers)]
    heapq.heapify(arrivals)
    base, free, staleness, stamps = [0] * workers, 0.0, 0, []
    for update in range(updates):
        arrived, worker = heapq.heappop(arrivals)
        free = max(free, arrived) + service
        staleness += update - base[worker] if update >= updates // 2 else 0
        base[worker] = update + 1
        stamps.append(free)
        heapq.heappush(arrivals, (free + latency + t * next(jitter), worker))
    half = updates // 2
    return half / (stamps[-1] - stamps[half - 1]), staleness / half


def synchronous(workers, t, latency, service, period, rounds=200, seed=0):
    """Batches per second if workers synchronise after ``period`` batches: WASSP (1), local SGD (more)."""
    rng = np.random.default_rng(seed)
    clock = 0.0
    for _ in range(rounds):
        ready = clock + t * (1 + JITTER * rng.uniform(-1, 1, (period, workers))).sum(axis=0) + latency / 2
        clock = ready.max() + workers * service + latency / 2
    return rounds * period * workers / clock


def costs():
    """Seconds: gradient, service (update and copy), service of an averaging (twice the values), latency."""
    config = Config.preset("paper/fashion_mnist")
    x, y = FASHION.data()
    kernels.set_threads(1)
    network = init_network(784, 10, config, rng=np.random.default_rng(0))
    weights, velocity = flatten(network)
    workspace = Workspace(network.sizes, FASHION.batch)
    batch = Batch(as_features(x), y, np.arange(FASHION.batch), None, "classification")
    box, twice, mean = np.empty_like(weights), np.zeros(2 * len(weights), np.float32), None
    mean = twice.copy()

    def gradient():
        batch_gradient(network, workspace, batch, dropout=0.3, key=1)

    def update():
        kernels.momentum_step(box, 0.9, 0.01, 0.0, True, weights, velocity)
        box[:] = weights

    def average():
        kernels.momentum_step(twice, 1.0, -0.5, 0.0, False, mean, mean)
        twice[:] = mean

    seconds = [median_seconds(call) for call in (gradient, update, average)]
    exchange = measure("shared", len(weights))
    return len(weights), *seconds, max(exchange - seconds[1], 0.0)


def median_seconds(call, rounds=200):
    """Median seconds of a call."""
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def table(title, t, latency, service, averaging):
    """Print one scenario: speed-ups compared with one process, which computes without exchange."""
    saturation = (t + latency + service) / service
    print(f"\n{title}: t {1e3 * t:.2f} ms, s {1e6 * service:.0f} us, l {1e6 * latency:.0f} us; ", end="")
    print(f"the server of WASAP saturates at {saturation:.0f} workers, speed-up {t / service:.0f}\n")
    print("| workers | WASAP | staleness | WASSP | " + " | ".join(f"local SGD, H = {h}" for h in PERIODS) + " |")
    print("|---" * (4 + len(PERIODS)) + "|")
    for workers in WORKERS:
        speed, staleness = asynchronous(workers, t, latency, service)
        others = [synchronous(workers, t, latency, service, 1)]
        others += [synchronous(workers, t, latency, averaging, period) for period in PERIODS]
        cells = " | ".join(f"{t * other:.1f}" for other in others)
        print(f"| {workers} | {t * speed:.1f} | {staleness:.1f} | {cells} |")


def sleeper(n, seconds, turns):
    """Run one rank of the check: workers sleep instead of computing; the server prints exchanges per second."""
    from tsnn.parallel.mpi import MpiChannel

    channel = MpiChannel()
    channel.share_memory(n)
    if channel.rank:
        for _ in range(turns):
            time.sleep(seconds)
            channel.send(0, MessageKind.GRADIENT, GRADIENT, values=n)
            channel.receive()
    else:
        stamps = serve(channel, np.zeros(n, np.float32), turns * channel.workers)
        quarter = len(stamps) // 4
        print(json.dumps(2 * quarter / (stamps[3 * quarter - 1] - stamps[quarter - 1])))
    channel.close()


def check(n, latency, service, seconds=0.02):
    """Compare the model with real ranks that sleep."""
    print("\n| sleeping workers | measured exchanges/s | model | model / measured |\n|---|---|---|---|")
    for workers in (1, 2, 4, 8):
        command = [mpiexec(), "-n", str(1 + workers), sys.executable, "-m", "mpi4py", "-m", __spec__.name]
        command += ["--sleeper", str(n), str(seconds), "100"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        measured, model = json.loads(done.stdout), asynchronous(workers, seconds, latency, service)[0]
        print(f"| {workers} | {measured:.1f} | {model:.1f} | {model / measured:.2f} |")


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare the model with real ranks")
    parser.add_argument("--sleeper", nargs=3, type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.sleeper:
        return sleeper(int(options.sleeper[0]), options.sleeper[1], int(options.sleeper[2]))
    n, t, service, averaging, latency = costs()
    wire = 8 * n / BYTES_PER_SECOND
    table("Speed-ups on one machine with that many cores", t, latency, service, averaging)
    table("Speed-ups over 10 Gbit/s", t, latency, service + wire, averaging + 2 * wire)
    if options.check:
        check(n, latency, service)
    return None


if __name__ == "__main__":
    main()
