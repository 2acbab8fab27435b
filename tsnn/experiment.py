"""Carries out a run: configuration -> data -> network -> records -> run directory.

The only place where the engine and the run directory meet. ``python -m tsnn.experiment RUN_DIR`` is the
engine's process as the dashboard and notebooks start it.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
import platform
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import psutil

import tsnn
from tsnn.checkpoint import save_network
from tsnn.config import Config
from tsnn.control import ControlReader, Wish, changed_config, request
from tsnn.datasets import Dataset, load_dataset
from tsnn.errors import TsnnError
from tsnn.memory import MemoryEstimate, check_memory, fitting_estimate
from tsnn.network import Network, init_network
from tsnn.records import EpochRecord, Progress
from tsnn.runs import Run, RunWriter
from tsnn.shapes import layer_shapes
from tsnn.snapshots import snapshot_epochs, take_snapshot
from tsnn.training import steps

POLL_SECONDS = 0.1

log = logging.getLogger("tsnn.experiment")  # also where this module is __main__


def _generators(config: Config) -> list[np.random.Generator]:
    return [np.random.default_rng(s) for s in np.random.SeedSequence(config.run.seed).spawn(3)]


def _load(config: Config, rng: np.random.Generator) -> Dataset:
    d = config.data
    return load_dataset(
        d.name, size=d.size, target=d.target, task=d.task, test_fraction=d.test_fraction,
        preprocessing=d.preprocessing, rng=rng,
    )  # fmt: skip


def execute(run: Run) -> Iterator[Progress | EpochRecord]:
    """Train what a run directory's configuration asks for, and record it there.

    Yields what :func:`tsnn.training.steps` yields, for a progress display. While the run is paused the last
    progress is yielded about ten times per second. Close the generator to stop the run.

    Raises
    ------
    TsnnError
        If the data cannot be had or training diverges; the run is then marked as failed, with the message.
    """
    with RunWriter(run) as writer, _log_file(run):
        log.info("tsnn %s, run %s", tsnn.__version__, run.id)
        engine = _Engine(run, writer)
        try:
            yield from engine.train()
        except (GeneratorExit, KeyboardInterrupt):
            engine.end("stopped", "Interrupted")
            raise
        except Exception as error:
            expected = isinstance(error, TsnnError)
            log.error("%s", error, exc_info=not expected)
            writer.end("failed", str(error) if expected else f"{type(error).__name__}: {error}")
            raise


@contextlib.contextmanager
def _log_file(run: Run) -> Iterator[None]:
    """Let the run's log say what the engine logs."""
    handler = logging.FileHandler(run.path / "log.txt", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("tsnn")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()


class _Engine:
    """One run under way: what is in force, what was asked for and not yet answered."""

    def __init__(self, run: Run, writer: RunWriter):
        self.run, self.writer = run, writer
        self.config = Config()
        self.control = ControlReader(run)
        self.open_wishes: list[Wish] = []
        self.network: Network | None = None
        self.paused = self.stopping = self.stepping = False
        self.polled = 0.0

    def train(self) -> Iterator[Progress | EpochRecord]:
        writer = self.writer
        config = self.config = self.run.config()
        data_rng, init_rng, rng = _generators(config)
        data = _load(config, data_rng)
        estimate = _memory(config, data)
        log.info("Memory: %s", estimate)
        writer.meta(_describe(config, data, estimate))
        check_memory(estimate, config)
        network = self.network = init_network(data.n_features, data.n_outputs, config.network, rng=init_rng)
        writer.line("event", epoch=0, kind="data", message=f"{data.name}: {data.source}")
        writer.snapshot(0, take_snapshot(network, config.importance.percentile))
        writer.update(
            state="compiling", epochs=config.training.epochs, samples=0, samples_total=len(data.x_train),
            message="Compiling the kernels (once)",
        )  # fmt: skip
        keep = snapshot_epochs(config.training.epochs, config.run.snapshots)
        planned = config.replace({"run.micro_batch": estimate.micro_batch})
        training = steps(network, data, planned, rng=rng)
        for item in self._drive(training):
            if isinstance(item, EpochRecord):
                self._record(item)
                if item.epoch in keep:
                    writer.snapshot(item.epoch, take_snapshot(network, self.config.importance.percentile))
            else:
                state = "paused" if self.paused else "training"
                writer.update(state=state, message="", samples=item.samples, train_loss=item.loss)
            yield item
        if self.stopping:
            self.end("stopped", "Stopped on request")
        else:
            self.end("finished", "All epochs done")

    def end(self, state: str, message: str) -> None:
        """Keep the weights as they are and mark the run as ended."""
        if self.network is not None:
            save_network(self.network, self.run.path / "weights.npz")
        log.info("%s: %s", state, message)
        self.writer.end(state, message)

    def _drive(self, training: Any) -> Iterator[Progress | EpochRecord]:
        """Advance the training; between two batches, take up wishes and wait while paused."""
        item = next(training)
        while True:
            yield item
            self._take_wishes(item)
            if self.stepping and isinstance(item, EpochRecord):
                self.stepping, self.paused = False, True
            while self.paused and not self.stopping:
                yield item if isinstance(item, Progress) else Progress(item.epoch + 1, 0, 1, item.train_loss)
                time.sleep(POLL_SECONDS)
                self._take_wishes(item)
            if self.stopping:
                return
            try:
                item = training.send(self.config)
            except StopIteration:
                return

    def _take_wishes(self, item: Progress | EpochRecord) -> None:
        if time.monotonic() - self.polled < POLL_SECONDS:
            return
        self.polled = time.monotonic()
        for wish in self.control.poll():
            if wish.action == "set":
                try:
                    self.config = changed_config(self.config, wish.settings)
                except TsnnError as error:
                    self._ack(wish, item.epoch, False, str(error))
                else:
                    self.open_wishes.append(wish)
                continue
            self.paused = wish.action == "pause"
            self.stepping = wish.action == "step"
            self.stopping |= wish.action == "stop"
            self._ack(wish, item.epoch, True, "")

    def _ack(self, wish: Wish, epoch: int, accepted: bool, message: str) -> None:
        self.writer.line("ack", wish=wish.id, epoch=epoch, accepted=accepted, message=message)

    def _record(self, record: EpochRecord) -> None:
        values = record.to_dict()
        events = values.pop("events")
        self.writer.line("epoch", **values)
        log.info(
            "epoch %d: train loss %.4f, test loss %.4f, test accuracy %s",
            record.epoch, record.train_loss, record.test_loss, record.test_accuracy,
        )  # fmt: skip
        for event in events:
            self.writer.line("event", **event)
        for wish in self.open_wishes:  # settings come into force between epochs, so all that were sent are now
            self._ack(wish, record.epoch, True, "")
        self.open_wishes = []
        self.writer.update(
            epoch=record.epoch, samples=0, test_loss=record.test_loss, test_accuracy=record.test_accuracy,
            connections=record.connections,
        )  # fmt: skip


def _memory(config: Config, data: Dataset) -> MemoryEstimate:
    samples, nbytes = len(data.x_train) + len(data.x_test), data.x_train.nbytes + data.x_test.nbytes
    return fitting_estimate(config, data.n_features, data.n_outputs, samples, data_bytes=nbytes)


def _describe(config: Config, data: Dataset, estimate: MemoryEstimate) -> dict[str, Any]:
    shapes = layer_shapes(data.n_features, data.n_outputs, config.network)
    packages = ("numpy", "scipy", "numba", "llvmlite")
    versions = {"tsnn": tsnn.__version__, "python": platform.python_version()}
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seed": config.run.seed,
        "config": config.to_dict(),
        "versions": {**versions, **{p: importlib.metadata.version(p) for p in packages}},
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "memory_bytes": psutil.virtual_memory().total,
        },
        "data": {
            "name": data.name,
            "source": data.source,
            "digest": data.digest,
            "task": data.task,
            "n_train": len(data.x_train),
            "n_test": len(data.x_test),
            "n_features": data.n_features,
            "n_outputs": data.n_outputs,
            "image_shape": data.image_shape,
            "class_names": data.class_names,
        },
        "network": {
            "sizes": (data.n_features, *(shape.n_out for shape in shapes)),
            "connections": [shape.connections for shape in shapes],
        },
        "memory": {"expected": estimate.total, "items": dict(estimate.items), "micro_batch": estimate.micro_batch},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


@contextlib.contextmanager
def stopping_on_signals(run: Run) -> Iterator[list[int]]:
    """Turn the first SIGINT or SIGTERM into a wish to stop, taken up after the batch; the second one interrupts.

    Raising in the middle of compiled code is not safe, so this is what a process that carries out a run uses.
    Yields the list of signals received. Before the run trains, the first signal interrupts.
    """
    received: list[int] = []

    def stop(signum: int, frame: FrameType | None) -> None:
        received.append(signum)
        if len(received) > 1 or run.status()["state"] not in ("training", "paused"):
            raise KeyboardInterrupt
        request(run, "stop")

    previous = {signum: signal.signal(signum, stop) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)


def main() -> int:
    """Carry out the run whose directory is the only argument; the engine process's entry."""
    run = Run(Path(sys.argv[1]))
    try:
        with stopping_on_signals(run) as received:
            for _ in execute(run):
                pass
    except KeyboardInterrupt:
        return 130
    except TsnnError:
        return 1  # the log and the status say why
    return 130 if received else 0


if __name__ == "__main__":
    sys.exit(main())
