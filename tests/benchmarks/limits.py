"""Limits of this machine: multiply-adds from registers, reading from L2 and from memory, dense sgemm."""

import multiprocessing
import os
import time

from tests.benchmarks.side_by_side import THREAD_VARIABLES, environment
from tsnn.machine import cache_sizes, processor_name


def measure_limits(threads):
    """GFLOP/s of multiply-adds and of NumPy's sgemm; GB/s read from L2 and from memory. In a child process."""
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    process = context.Process(target=child, args=(theirs, threads), daemon=True)
    with environment(dict.fromkeys(THREAD_VARIABLES, str(threads))):
        process.start()
    theirs.close()  # else a child that fails is waited for
    limits = pipe.recv()
    process.join()
    return limits


def child(pipe, threads):
    """Measure in a child process and send the limits."""
    import numpy as np
    from numba import prange

    from tsnn.kernels.compiling import compiled
    from tsnn.kernels.rows import TILE, tiles

    step = TILE

    @compiled(parallel=True)
    def multiply(chunks, times, out):
        for chunk in prange(chunks):
            a = tiles.filled(tiles.zeros(step), np.float32(1e-3))
            b, c = tiles.zeros(step), tiles.zeros(step)
            w = np.float32(0.5) + np.float32(chunk)
            for _ in range(times):
                b = tiles.multiply_add(w, b, a)
                c = tiles.multiply_add(w, c, a)
            tiles.store(b, out, step * chunk)
            tiles.store(tiles.multiply_add(w, c, b), out, step * chunk)

    @compiled(parallel=True)
    def read(chunks, times, array, out):
        for chunk in prange(chunks):
            part = array.size // chunks
            tile = tiles.zeros(step)
            for _ in range(times):
                for offset in range(chunk * part, (chunk + 1) * part, step):
                    tile = tiles.multiply_add(np.float32(1), tiles.load(tile, array, offset), tile)
            tiles.store(tile, out, step * chunk)

    def best(operation):
        operation()
        seconds = []
        for _ in range(7):
            start = time.perf_counter()
            operation()
            seconds.append(time.perf_counter() - start)
        return min(seconds)

    out = np.zeros(step * threads, np.float32)
    times = 1_000_000
    peak = 4 * step * times * threads / best(lambda: multiply(threads, times, out))
    near = np.ones(threads * cache_sizes()[2] // 8 // step * step, np.float32)  # half of each L2
    far = np.ones((1 << 26) // (step * threads) * step * threads, np.float32)
    l2 = 200 * near.nbytes / best(lambda: read(threads, 200, near, out))
    memory = far.nbytes / best(lambda: read(threads, 1, far, out))
    a, b = np.random.default_rng(0).random((2, 1024, 1024), dtype=np.float32)
    sgemm = 2 * 1024**3 / best(lambda: a @ b)
    names = ("multiply-add", "sgemm", "L2", "memory")
    pipe.send(dict(zip(names, (value / 1e9 for value in (peak, sgemm, l2, memory)), strict=True)))


def machine():
    """Return processor, cores and caches as one line."""
    caches = ", ".join(f"L{level} {size >> 10:,} KiB" for level, size in sorted(cache_sizes().items()))
    return f"{processor_name()}, {os.cpu_count()} cores, {caches}"
