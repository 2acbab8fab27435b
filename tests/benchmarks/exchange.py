"""Duration of one exchange: gradient to the server, update, weights back; in three implementations.

``pickled`` is the papers' implementation: complete SciPy matrices, pickled in both directions, SciPy arithmetic.
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
from tsnn.kernels.wire import AnswerHead, GradientHead
from tsnn.parallel.channel import MessageKind, Service

NEURONS = 10_000
METHODS = ("pickled", "messages", "shared")
TARGET = 20  # times faster than pickled, at 1e6 connections
GRADIENT = GradientHead(*[0.0] * len(GradientHead._fields))


def measure(method, connections):
    """Return the seconds per exchange."""
    command = [mpiexec(), "-n", "2", sys.executable, "-m", "mpi4py", "-m", __spec__.name, "--rank", method]
    done = subprocess.run([*command, str(connections)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def rank(method, connections):
    """Run one rank; the worker prints its median."""
    from tsnn.parallel.mpi import MPI, MpiChannel

    turns = max(10, min(300, int(3e8 / connections / (30 if method == "pickled" else 1))))
    if method == "pickled":
        seconds = pickled(MPI.COMM_WORLD, connections, turns)
    else:
        channel = MpiChannel()
        channel.share_memory(connections if method == "shared" else 0)
        seconds = buffered(channel, connections, turns)
        channel.close()
    if seconds:
        print(json.dumps(statistics.median(seconds[turns // 10 :])))


def buffered(channel, connections, turns):
    """Exchange over a channel; return the worker's seconds."""
    values = np.zeros(connections, np.float32)
    if channel.rank == 0:
        serve(channel, values, turns)
        return []
    seconds = []
    gradient = channel.outbox(0, connections)
    for _ in range(turns):
        gradient += 1  # stands for computing it
        started = time.perf_counter()
        channel.send(0, MessageKind.GRADIENT, GRADIENT, values=connections)
        channel.receive()
        seconds.append(time.perf_counter() - started)
    return seconds


def serve(channel, weights, turns):
    """Apply and answer this number of gradients, as the server of WASAP does; return the times, in seconds."""
    velocity, idle_seconds, stamps = np.zeros_like(weights), np.zeros(channel.workers), []
    answer, (momentum, rate), started = AnswerHead(0, 0, 0, 0), (0.9, 0.01), time.perf_counter()
    while len(stamps) < turns:
        rates = np.full((turns - len(stamps), 2), (momentum, rate))
        service = Service(0, 1, rates, 0.0, weights, velocity, answer, idle_seconds)
        applied = len(channel.answer_gradients(service, 0.1))
        message = channel.receive(0.1) if not applied else None
        if message is not None:
            kernels.momentum_step(message.values, momentum, rate, 0.0, True, weights, velocity)
            channel.outbox(message.source, len(weights))[:] = weights
            channel.send(message.source, MessageKind.WEIGHTS, answer, values=len(weights))
        stamps += [time.perf_counter() - started] * (applied + (message is not None))
    return stamps


def pickled(comm, connections, turns):
    """Exchange as in the published code; return the worker's seconds."""
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
    print("| connections | " + " | ".join(f"{method}, ms" for method in METHODS) + " | shared is faster by |")
    print("|---" * (len(METHODS) + 2) + "|")
    for connections in map(int, options.connections):
        seconds = {method: measure(method, connections) for method in METHODS}
        factor = seconds["pickled"] / seconds["shared"]
        verdict = "" if connections != 1_000_000 else f" (target {TARGET}: {'met' if factor >= TARGET else 'MISSED'})"
        cells = " | ".join(f"{1e3 * seconds[method]:.3g}" for method in METHODS)
        print(f"| {connections:.0e} | {cells} | {factor:.0f} x{verdict} |", flush=True)
    return None


if __name__ == "__main__":
    main()
