"""Side-by-side timing: implementations in child processes, measured in alternation.

One process each, because thread pools of several libraries disturb one another, because peak memory is counted per
process, and because the number of threads must be known before NumPy, PyTorch or Numba are loaded.
"""

import contextlib
import importlib
import multiprocessing
import os
import platform
import statistics
import time
import traceback

from tests.benchmarks.peers import IMPLEMENTATIONS

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE"}  # spinning threads collapse on a machine that others use, too


class MissingPeer(Exception):  # noqa: N818 (not an error)
    """A peer's library is not installed; the message is the library's name."""


class Child:
    """A child process that runs one implementation on one workload.

    Raises MissingPeer if its library is not installed.
    """

    def __init__(self, name, workload, threads):
        self.name, self.workload, self.threads = name, workload, threads
        context = multiprocessing.get_context("spawn")
        self.pipe, remote = context.Pipe()
        self.process = context.Process(target=run_child, args=(remote, name, workload), daemon=True)
        with environment(dict.fromkeys(THREAD_VARIABLES, str(threads)) | PASSIVE):
            self.process.start()
        remote.close()
        try:
            self.abilities = self.receive()
        except MissingPeer:
            self.close()
            raise

    def receive(self):
        kind, answer = self.pipe.recv()
        if kind == "missing":
            raise MissingPeer(answer)
        if kind == "failed":
            raise RuntimeError(f"{self.name}: {answer}")
        return answer

    def time(self, operation, seconds=0.15):
        """Repeat an operation for about this long; return wall-clock and CPU seconds per repetition."""
        self.pipe.send((operation, seconds))
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


def run_child(pipe, name, workload):
    """Run in the child process: build the implementation, then time requested operations until the pipe closes."""
    try:
        module, _, kind = IMPLEMENTATIONS[name].partition(":")
        x, y = workload.data()
        implementation = getattr(importlib.import_module(f"tests.benchmarks.{module}"), kind)(workload, x, y)
        operations = Operations(implementation, workload, x)
        operations.step()  # compiles
        pipe.send(("ready", [name for name in ("evolve", "evaluate", "predict") if hasattr(implementation, name)]))
        durations = {}
        while True:
            name, seconds = pipe.recv()
            if name == "peak":
                pipe.send(("done", peak_memory()))
                continue
            operation = getattr(operations, name)
            if name not in durations:
                operation()
                durations[name] = max(measure(operation, 1)[0], 1e-6)
            pipe.send(("done", measure(operation, max(1, round(seconds / durations[name])))))
    except ImportError as error:
        pipe.send(("missing", error.name or str(error)))
    except EOFError:
        pass
    except Exception:
        pipe.send(("failed", traceback.format_exc()))


class Operations:
    """Operations that can be timed, without arguments."""

    def __init__(self, implementation, workload, x):
        import numpy as np

        self.implementation, self.x, self.batch = implementation, x, workload.batch
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
        self.implementation.step(chosen)

    def evolve(self):
        self.implementation.evolve()

    def evaluate(self):
        self.implementation.evaluate()

    def predict(self):
        self.implementation.predict(self.x[:1])


def measure(operation, times):
    """Wall-clock and CPU seconds per repetition."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(times):
        operation()
    return (time.perf_counter() - wall) / times, (time.process_time() - cpu) / times


def peak_memory():
    import resource

    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Spread:
    """Median and half the interquartile range of some samples."""

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


def alternate(ours, theirs, rounds, operation="step"):
    """Time two children in turn; per round: our wall-clock and CPU seconds, their wall-clock and CPU seconds."""
    return [(*ours.time(operation), *theirs.time(operation)) for _ in range(rounds)]
