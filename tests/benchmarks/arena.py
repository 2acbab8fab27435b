"""Contestants in processes of their own, measured in alternation.

A process each, because thread pools of several libraries disturb one another, because peak memory is a process's,
and because the number of threads must be known before NumPy, PyTorch or Numba are loaded.
"""

import contextlib
import importlib
import multiprocessing
import os
import platform
import statistics
import time
import traceback

from tests.benchmarks.contestants import CONTESTANTS

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE"}  # spinning threads collapse on a machine that others use, too


class Missing(Exception):  # noqa: N818 (nothing is wrong)
    """A peer cannot take part; the message says what it lacks."""


class Contestant:
    """One side of a comparison, at work in a child process.

    Raises Missing if its library is not installed.
    """

    def __init__(self, name, work, threads):
        self.name, self.work, self.threads = name, work, threads
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, name, work), daemon=True)
        with environment(dict.fromkeys(THREAD_VARIABLES, str(threads)) | PASSIVE):
            self.process.start()
        theirs.close()
        try:
            self.abilities = self.receive()
        except Missing:
            self.close()
            raise

    def receive(self):
        kind, answer = self.pipe.recv()
        if kind == "missing":
            raise Missing(answer)
        if kind == "failed":
            raise RuntimeError(f"{self.name}: {answer}")
        return answer

    def time(self, what, seconds=0.15):
        """Do something for about this long; return wall-clock and CPU seconds of one time."""
        self.pipe.send((what, seconds))
        return self.receive()

    def peak(self):
        """Peak memory of the process so far, bytes."""
        self.pipe.send(("peak", 0))
        return self.receive()

    def close(self):
        self.pipe.close()
        self.process.join(5)
        self.process.kill()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


@contextlib.contextmanager
def environment(variables):
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def serve(pipe, name, work):
    """Be the child process: build the contestant, then do what the pipe says until it closes."""
    try:
        module, _, kind = CONTESTANTS[name].partition(":")
        x, y = work.data()
        contestant = getattr(importlib.import_module(f"tests.benchmarks.{module}"), kind)(work, x, y)
        doings = Doings(contestant, work, x)
        doings.step()  # compiles
        pipe.send(("ready", [what for what in ("evolve", "evaluate", "predict") if hasattr(contestant, what)]))
        known = {}
        while True:
            what, seconds = pipe.recv()
            if what == "peak":
                pipe.send(("done", peak_memory()))
                continue
            do = getattr(doings, what)
            if what not in known:
                do()
                known[what] = max(measure(do, 1)[0], 1e-6)
            pipe.send(("done", measure(do, max(1, round(seconds / known[what])))))
    except ImportError as error:
        pipe.send(("missing", error.name or str(error)))
    except EOFError:
        pass
    except Exception:
        pipe.send(("failed", traceback.format_exc()))


class Doings:
    """What can be timed, without arguments."""

    def __init__(self, contestant, work, x):
        import numpy as np

        self.contestant, self.x, self.batch = contestant, x, work.batch
        self.rng, self.order, self.permutation = (
            np.random.default_rng(3),
            iter(()),
            np.random.default_rng(3).permutation,
        )

    def step(self):
        chosen = next(self.order, None)
        if chosen is None:
            full = len(self.x) // self.batch * self.batch
            self.order = iter(self.permutation(len(self.x))[:full].reshape(-1, self.batch))
            chosen = next(self.order)
        self.contestant.step(chosen)

    def evolve(self):
        self.contestant.evolve()

    def evaluate(self):
        self.contestant.evaluate()

    def predict(self):
        self.contestant.predict(self.x[:1])


def measure(do, times):
    """Wall-clock and CPU seconds of one time."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(times):
        do()
    return (time.perf_counter() - wall) / times, (time.process_time() - cpu) / times


def peak_memory():
    import resource

    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Spread:
    """Median of some samples, and how far the middle half of them reaches from it."""

    def __init__(self, samples):
        self.samples = list(samples)
        self.median = statistics.median(self.samples)

    @property
    def half(self):
        if len(self.samples) < 3:
            return max(self.samples) - min(self.samples)
        low, _, high = statistics.quantiles(self.samples, n=4, method="inclusive")
        return (high - low) / 2

    def text(self, digits=1, factor=1):
        return f"{factor * self.median:.{digits}f} ± {factor * self.half:.{digits}f}"


def duel(ours, theirs, rounds, what="step", other=None):
    """Alternate: per round (our wall, our CPU, their wall, their CPU)."""
    return [(*ours.time(what), *theirs.time(other or what)) for _ in range(rounds)]
