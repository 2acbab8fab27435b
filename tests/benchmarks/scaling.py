"""How time grows with connections, and how long the first batch takes."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.arena import Contestant, Spread
from tests.benchmarks.contestants import OURS
from tests.benchmarks.limits import cache_sizes
from tests.benchmarks.works import FASHION, ladder

NEURONS = (1235, 3704, 12346, 37037, 123457)  # 1e5 to 1e7 connections


def climb(rounds, neurons=NEURONS):
    """Per size: work, where the activations of a layer live, seconds per connection and sample (CPU, one thread)."""
    rungs = []
    for n in neurons:
        work = ladder(n)
        with Contestant(OURS, work, 1) as ours:
            factor = 1 / work.connections / work.batch
            rungs.append((work, home(work), Spread(factor * ours.time("step", 0.3)[1] for _ in range(rounds))))
    return rungs


def home(work):
    """Name of the smallest cache that holds the activations of one layer of a batch, or memory."""
    size = 4 * work.batch * work.sizes[1]
    return next((f"L{level}" for level, capacity in sorted(cache_sizes().items()) if size <= capacity), "memory")


def steadiness(rungs):
    """Largest change of time per connection from the smallest to the largest, among sizes at home in the same cache."""
    worst = 0.0
    for level in {level for _, level, _ in rungs}:
        times = [spread.median for _, where, spread in rungs if where == level]
        worst = max(worst, max(times) / min(times) - 1)
    return worst


def starts():
    """Seconds from the start of Python to the end of the first batch: nothing compiled, all compiled (median of 3)."""
    seconds = []
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"NUMBA_CACHE_DIR": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for _ in range(4):
            command = [sys.executable, "-m", "tests.benchmarks.scaling"]
            start = time.perf_counter()
            subprocess.run(command, check=True, env=environment, cwd=Path(__file__).parents[2])
            seconds.append(time.perf_counter() - start)
    return seconds[0], statistics.median(seconds[1:])


def first_batch():
    """Do what `starts` times: one step on FashionMNIST's sizes."""
    import numpy as np

    from tests.benchmarks.contestants import Tsnn

    x, y = FASHION.data()
    Tsnn(FASHION, x, y).step(np.arange(FASHION.batch))


if __name__ == "__main__":
    first_batch()
