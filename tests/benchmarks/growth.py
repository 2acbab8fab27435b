"""Time per connection on networks of growing size, and time until the first batch."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.peers import OURS
from tests.benchmarks.side_by_side import Child, Spread
from tests.benchmarks.workloads import FASHION, square
from tsnn.machine import cache_sizes

NEURONS = (1235, 3704, 12346, 37037, 123457)  # 1e5 to 1e7 connections


def measure(rounds, neurons=NEURONS):
    """Per size: workload, cache level of a layer's activations, seconds per connection and sample (CPU, one thread)."""
    results = []
    for n in neurons:
        workload = square(n)
        with Child(OURS, workload, 1) as ours:
            factor = 1 / workload.connections / workload.batch
            times = Spread(factor * ours.time("step", 0.3)[1] for _ in range(rounds))
        results.append((workload, cache_level(workload), times))
    return results


def cache_level(workload):
    """Name of the smallest cache that holds the activations of one layer of a batch, or memory."""
    size = 4 * workload.batch * workload.sizes[1]
    return next((f"L{level}" for level, capacity in sorted(cache_sizes().items()) if size <= capacity), "memory")


def largest_change(results):
    """Largest relative change of time per connection among sizes that fit the same cache level."""
    worst = 0.0
    for level in {level for _, level, _ in results}:
        times = [spread.median for _, other, spread in results if other == level]
        worst = max(worst, max(times) / min(times) - 1)
    return worst


def starts():
    """Seconds from the start of Python to the end of the first batch: nothing compiled, all compiled (median of 3)."""
    seconds = []
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"NUMBA_CACHE_DIR": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for _ in range(4):
            command = [sys.executable, "-m", "tests.benchmarks.growth"]
            start = time.perf_counter()
            subprocess.run(command, check=True, env=environment, cwd=Path(__file__).parents[2])
            seconds.append(time.perf_counter() - start)
    return seconds[0], statistics.median(seconds[1:])


def first_batch():
    """Train one step on FashionMNIST's sizes; timed by `starts`."""
    import numpy as np

    from tests.benchmarks.peers import Tsnn

    x, y = FASHION.data()
    Tsnn(FASHION, x, y).step(np.arange(FASHION.batch))


if __name__ == "__main__":
    first_batch()
