"""What one exchange costs: gradient to the server, update applied, weights back; by three ways of doing it.

``pickled`` is the way of the papers' authors: whole SciPy matrices, pickled, both ways, updated by SciPy arithmetic.
``messages`` is tsnn between machines, ``shared`` tsnn on one machine. Medians at the worker, with one worker.

Run ``python -m tests.benchmarks.exchange [--connections 1e5 1e6 1e7]``.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

import numpy as np
from scipy import sparse

from tsnn import kernels
from tsnn.engine.topology import erdos_renyi
from tsnn.jobs.launch import mpiexec
from tsnn.parallel.channel import Service
from tsnn.parallel.server import GRADIENT_NUMBERS

NEURONS = 10_000
WAYS = ("pickled", "messages", "shared")
TARGET = 20  # times faster than pickled, at 1e6 connections


def measure(way, connections):
    """Seconds per exchange, and per update on the server."""
    command = [mpiexec(), "-n", "2", sys.executable, "-m", "mpi4py", "-m", __spec__.name, "--rank", way]
    done = subprocess.run([*command, str(connections)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def rank(way, connections):
    """One rank's part; the worker prints the medians."""
    from tsnn.parallel.mpi import MPI, MpiChannel

    turns = max(10, min(300, int(3e8 / connections / (30 if way == "pickled" else 1))))
    if way == "pickled":
        seconds = pickled(MPI.COMM_WORLD, connections, turns)
    else:
        channel = MpiChannel()
        channel.share_memory(connections if way == "shared" else 0)
        seconds = buffered(channel, connections, turns)
        channel.close()
    if seconds:
        print(json.dumps(statistics.median(seconds[turns // 10 :])))


def buffered(channel, connections, turns):
    """Exchange over a channel as server and worker do."""
    values = np.zeros(connections, np.float32)
    if channel.rank == 0:
        serve(channel, values, turns)
        return []
    seconds = []
    gradient = channel.outbox(0, connections)
    for _ in range(turns):
        gradient += 1  # as if computed
        started = time.perf_counter()
        channel.send(0, "gradient", [0.0] * GRADIENT_NUMBERS, values=connections)
        channel.receive()
        seconds.append(time.perf_counter() - started)
    return seconds


def serve(channel, weights, turns):
    """Apply and answer so many gradients, as the server of WASAP does; returns after how many seconds each of them."""
    velocity, idle, stamps, started = np.zeros_like(weights), np.zeros(channel.workers), [], time.perf_counter()
    answer, (momentum, rate) = [0.0] * GRADIENT_NUMBERS, (0.9, 0.01)
    while len(stamps) < turns:
        rates = np.full((turns - len(stamps), 2), (momentum, rate))
        service = Service(0, GRADIENT_NUMBERS, 1, rates, 0.0, weights, velocity, answer, idle)
        made = len(channel.answer_gradients(service, 0.1))
        message = channel.receive(0.1) if not made else None
        if message is not None:
            kernels.momentum_step(message.values, momentum, rate, 0.0, True, weights, velocity)
            channel.outbox(message.source, len(weights))[:] = weights
            channel.send(message.source, "values", answer, values=len(weights))
        stamps += [time.perf_counter() - started] * (made + (message is not None))
    return stamps


def pickled(comm, connections, turns):
    """Exchange as the published code does."""
    t = erdos_renyi(NEURONS, NEURONS, connections, rng=np.random.default_rng(0))
    weights = sparse.csr_matrix((np.ones(connections, np.float32), t.indices, t.indptr), shape=(NEURONS, NEURONS))
    velocity = weights * np.float32(0)
    seconds = []
    for _ in range(turns):
        if comm.rank == 0:
            gradient = comm.recv()
            velocity = np.float32(0.9) * velocity - np.float32(0.01) * gradient
            weights = weights + velocity
            comm.send(weights, 1)
        else:
            started = time.perf_counter()
            comm.send(weights, 0)
            comm.recv()
            seconds.append(time.perf_counter() - started)
    return seconds


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", nargs="+", type=float, default=[1e5, 1e6, 1e7])
    parser.add_argument("--rank", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rank:
        return rank(options.rank[0], int(options.rank[1]))
    print("| connections | " + " | ".join(f"{way}, ms" for way in WAYS) + " | shared is faster by |")
    print("|---" * (len(WAYS) + 2) + "|")
    for connections in map(int, options.connections):
        seconds = {way: measure(way, connections) for way in WAYS}
        factor = seconds["pickled"] / seconds["shared"]
        verdict = "" if connections != 1_000_000 else f" (target {TARGET}: {'met' if factor >= TARGET else 'MISSED'})"
        cells = " | ".join(f"{1e3 * seconds[way]:.3g}" for way in WAYS)
        print(f"| {connections:.0e} | {cells} | {factor:.0f} x{verdict} |", flush=True)
    return None


if __name__ == "__main__":
    main()
