"""Fake engine: writes invented epochs and snapshots into a run directory, to test views without training.

``python -m tests.support.fake_engine RUN_DIR [seconds per epoch [epochs written at once]]`` obeys commands like the
engine.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsnn.config import LIVE_SETTINGS, Config
from tsnn.errors import ConfigError
from tsnn.records import EpochRecord, Event, EventKind, LayerRecord, RunState, WorkerRecord
from tsnn.runs import Run, RunStore
from tsnn.runs.control import Command, ControlReader, changed_config, check_effect
from tsnn.runs.writer import RunWriter
from tsnn.snapshot import LayerSnapshot, Snapshot

INPUTS = {"fashion_mnist": ((28, 28), 784, 10), "cifar10": ((3, 32, 32), 3072, 10), "madelon": (None, 500, 2)}


DRAWN, EDGES, REPLACED = 30, 150, 10  # neurons and connections of a layer that are drawn, and replaced at each epoch


def sizes_of(config: Config) -> list[int]:
    """Return the layer sizes that a configuration leads to."""
    _, n_in, n_out = INPUTS.get(config.data.name, (None, 100, 3))
    return [n_in, *config.network.hidden, n_out]


def layer_records(config: Config) -> tuple[LayerRecord, ...]:
    """Return one record per layer, with the connections of an Erdős–Rényi start."""
    sizes = sizes_of(config)
    records = []
    for n_in, n_out in pairwise(sizes):
        dense = config.training.method == "dense"
        n = n_in * n_out if dense else min(n_in * n_out, round(config.network.epsilon * (n_in + n_out)))
        moved = round(config.training.zeta * n)
        records.append(
            LayerRecord(n_in, n_out, n, n / n_in / n_out, moved, moved, n_out, (0.0, 1, 2, 3, 9.0), (1, 9), (1, 9))
        )
    return tuple(records)


def epoch_record(epoch: int, config: Config, events: tuple[Event, ...] = ()) -> EpochRecord:
    """Return a plausible record of an epoch."""
    t = config.training
    wave = 0.01 * math.sin(epoch + config.run.seed)
    worse = {"set": 0.0, "fixed": 0.03, "dense": 0.01, "two_phase": 0.02}[config.training.method] + 0.02 * t.zeta
    good = 0.88 - worse - 0.5 * math.exp(-epoch / 12) + wave
    layers = layer_records(config)
    validation: dict[str, Any] = {"validation_loss": 2.0 - good, "validation_accuracy": good + wave}
    return EpochRecord(
        epoch=epoch, samples=10_000 * epoch,
        train_loss=2 * math.exp(-epoch / 20) + 0.2 + wave, test_loss=1.6 * math.exp(-epoch / 15) + 0.4 + worse,
        train_accuracy=good - 0.03, test_accuracy=good,
        seconds_train=1.5 + wave, seconds_evolve=0.08, seconds_evaluate=0.2,
        settings={short: config.flat()[name] for short, name in LIVE_SETTINGS.items()},
        connections=sum(l.connections for l in layers), memory_bytes=300_000_000, layers=layers, events=events,
        workers=tuple(WorkerRecord(**worker(number)) for number in range(1, config.parallel.workers + 1)),
        **(validation if config.data.validation_fraction else {}),
    )  # fmt: skip


def worker(number: int, **changes: Any) -> dict[str, Any]:
    """Return the statistics of a worker as they are recorded."""
    record = WorkerRecord(number, 1, 100, 12_800, 0.8, 0.1, 0.1, (50, 30, 20), 0.99, 300_000_000)
    return dataclasses.asdict(dataclasses.replace(record, **changes))


def snapshot(epoch: int, config: Config) -> Snapshot:
    """Return a snapshot whose input connectivity concentrates in the middle with the epochs."""
    sizes = sizes_of(config)
    rng = np.random.default_rng(epoch)
    n = sizes[0]
    side = math.isqrt(n)
    y, x = np.divmod(np.arange(n), side)
    focus = np.exp(-(((x - side / 2) ** 2 + (y - side / 2) ** 2) / (2 * (side / 4) ** 2)))
    degree = rng.poisson(40 * (1 + (focus - 0.5) * min(1, epoch / 20))).astype(np.float32)
    return Snapshot(
        sizes=np.array(sizes),
        layers=tuple(
            replace(
                layer_snapshot(rng, epoch, config.importance.percentile, (n_in, n_out, n_next)),
                **sketch(l, epoch, n_in if l == 0 else min(n_in, DRAWN), n_out),
            )
            for l, (n_in, n_out, n_next) in enumerate(zip(sizes, sizes[1:], [*sizes[2:], 0], strict=False))
        ),
        percentile=np.float32(config.importance.percentile),
        input_degree=degree,
        input_strength=degree * np.float32(0.05),
        epoch=np.int64(epoch),
        ages_since=np.int64(0),
    )


def sketch(layer: int, epoch: int, n_in: int, n_out: int) -> dict[str, Any]:
    """Return the drawn part of a layer: :data:`EDGES` connections, of which each epoch replaces :data:`REPLACED`."""
    n_in, n_out = min(n_in, 784), min(n_out, DRAWN)
    present = min(EDGES, n_in * n_out // 2)
    order = np.random.default_rng(layer).permutation(n_in * n_out)
    at = (REPLACED * epoch + np.arange(present)) % len(order)
    births = np.maximum(0, -(-(REPLACED * epoch + np.arange(present) - present + 1) // REPLACED))
    chosen = np.argsort(order[at])
    keys = order[at][chosen]
    return {
        "drawn": np.arange(n_out, dtype=np.int32),
        "drawn_degree": np.full((n_out, 2), 5, np.int32),
        "edges": np.stack(np.divmod(keys, n_out), axis=1).astype(np.int32),
        "edge_weights": np.cos(keys + 0.1 * epoch).astype(np.float16),
        "edge_births": births[chosen].astype(np.int32),
    }


def layer_snapshot(
    rng: np.random.Generator, epoch: int, percentile: float, sizes: tuple[int, int, int]
) -> LayerSnapshot:
    """Return a snapshot of a layer; ``sizes`` are those of its two sides, and of the next layer or 0."""
    n_in, n_out, n_next = sizes
    ages = np.arange(epoch + 1)
    importance = np.sort(rng.gamma(5, 1, n_out))
    counts, edges = np.histogram(importance, bins=60)
    threshold = np.percentile(importance, percentile) if percentile and n_next else np.nan
    listed = min(16, n_out)
    degrees = np.full(listed, 30.0)
    return LayerSnapshot(
        density=rng.poisson(40, (min(n_in, 200), min(n_out, 200))).clip(0, 255).astype(np.uint8),
        density_max=np.float32(6),
        in_degree=_degrees(rng, epoch, n_out),
        out_degree=_degrees(rng, epoch, n_in),
        importance=counts,
        importance_edges=edges.astype(np.float32),
        importance_threshold=np.float32(threshold),
        to_prune=np.int64(np.count_nonzero(importance <= threshold)),
        neurons=np.sort(rng.permutation(n_out)[:listed]),
        neuron_values=np.stack([importance[-listed:], degrees, degrees], axis=1).astype(np.float32),
        age=np.stack([ages, 1 + (100_000 * 0.8**ages).astype(int)], axis=1),
        **_connections(rng, "incoming", listed, n_in),
        **_connections(rng, "outgoing", listed, n_next),
    )


def _degrees(rng: np.random.Generator, epoch: int, neurons: int) -> NDArray[np.int64]:
    counts = np.bincount(rng.poisson(30, neurons) + rng.geometric(0.02 + 0.5 / (1 + epoch), neurons))
    present = np.flatnonzero(counts)
    return np.stack([present, counts[present]], axis=1)


def _connections(rng: np.random.Generator, name: str, neurons: int, others: int) -> dict[str, Any]:
    n = min(30, others)
    chosen = [np.sort(rng.permutation(others)[:n]).astype(np.int32) for _ in range(neurons)]
    return {
        f"{name}_indptr": n * np.arange(neurons + 1),
        f"{name}_indices": np.concatenate(chosen),
        f"{name}_weights": rng.normal(size=neurons * n).astype(np.float16),
    }


def meta(config: Config) -> dict[str, Any]:
    """Return the content of ``meta.json``."""
    shape, n_in, n_out = INPUTS.get(config.data.name, (None, 100, 3))
    data = {
        "name": config.data.name, "source": "invented", "task": "classification", "n_train": 10_000, "n_test": 2_000,
        "n_features": n_in, "n_outputs": n_out, "image_shape": shape, "class_names": [],
    }  # fmt: skip
    network = {"sizes": sizes_of(config), "connections": [l.connections for l in layer_records(config)]}
    return {
        "versions": {},
        "machine": {},
        "seed": config.run.seed,
        "config": config.to_dict(),
        "data": data,
        "network": network,
        "memory": {"expected": 200 * 2**20},
    }


def finished_run(
    store: RunStore, settings: Mapping[str, Any], epochs: int, state: str = RunState.FINISHED, name: str = ""
) -> Run:
    """Write a complete run at once, into a directory of this name."""
    config = Config.preset(str(settings.get("data.name", "fashion_mnist"))).replace(settings)
    run = store.create(config, name=name)
    with RunWriter(run) as writer:
        writer.meta(meta(config))
        writer.snapshot(0, snapshot(0, config))
        record = epoch_record(0, config)
        for epoch in range(1, epochs + 1):
            record = epoch_record(epoch, config)
            writer.line("epoch", **record.to_dict())
            if epoch <= 20 or epoch % 10 == 0:
                writer.snapshot(epoch, snapshot(epoch, config))
        writer.update(epoch=epochs, epochs=config.training.epochs, test_accuracy=record.test_accuracy,
                      test_loss=record.test_loss, connections=record.connections)  # fmt: skip
        writer.end(state, "All epochs done." if state == RunState.FINISHED else "The loss is no longer finite.")
    return run


def play(run: Run, seconds: float = 0.5, done: int = 0) -> None:
    """Write a live run until its epochs are over or it is stopped; its first ``done`` epochs take no time."""
    with RunWriter(run) as writer:
        Player(run, writer, seconds).play(done)


class Player:
    """A live run that obeys commands.

    Parameters
    ----------
    run, writer
        Where the run is written.
    seconds
        Duration of an epoch.
    """

    def __init__(self, run: Run, writer: RunWriter, seconds: float):
        self.writer, self.seconds = writer, seconds
        self.config = run.config()
        self.commands = ControlReader(run)
        self.paused = self.stepping = self.stopped = False

    def play(self, done: int) -> None:
        """Write all epochs."""
        writer = self.writer
        writer.update(state=RunState.COMPILING, epochs=self.config.training.epochs, message="compiling kernels (once)")
        time.sleep(min(self.seconds, 1.0))
        writer.meta(meta(self.config))
        writer.update(state=RunState.TRAINING, samples_total=10_000, message="")
        writer.snapshot(0, snapshot(0, self.config))
        for epoch in range(1, done + 1):
            writer.line("epoch", **epoch_record(epoch, self.config).to_dict())
        epoch = done
        while epoch < self.config.training.epochs and self.spend_epoch(epoch):
            epoch += 1
            self.write_epoch(epoch)
            if self.stepping:
                self.set_paused(True)
        writer.end(RunState.STOPPED if self.stopped else RunState.FINISHED, f"After {epoch} epochs.")

    def spend_epoch(self, epoch: int) -> bool:
        """Let the time of an epoch pass, obeying commands; False if one of them stops the run."""
        begun = time.monotonic()
        while self.paused or time.monotonic() - begun < self.seconds:
            for command in self.commands.poll():
                self.obey(command, epoch)
            if self.stopped:
                return False
            self.writer.update(samples=int(10_000 * min(1.0, (time.monotonic() - begun) / self.seconds)))
            time.sleep(0.02)
        return True

    def write_epoch(self, epoch: int) -> None:
        """Write the record, the snapshot and the status of an epoch."""
        record = epoch_record(epoch, self.config)
        self.writer.line("epoch", **record.to_dict())
        self.writer.snapshot(epoch, snapshot(epoch, self.config))
        self.writer.update(epoch=epoch, samples=0, test_accuracy=record.test_accuracy, test_loss=record.test_loss,
                           connections=record.connections)  # fmt: skip

    def set_paused(self, paused: bool, stepping: bool = False) -> None:
        """Pause, resume, or train one epoch, and say so in the status."""
        self.paused, self.stepping = paused, stepping
        self.writer.update(state=RunState.PAUSED if paused else RunState.TRAINING)

    def obey(self, command: Command, epoch: int) -> None:
        """Apply a command and acknowledge it."""
        accepted, message = True, ""
        try:
            check_effect(self.config, command.settings)
            self.config = changed_config(self.config, command.settings)
        except ConfigError as error:
            accepted, message = False, str(error)
        if command.action != "set":
            self.set_paused(command.action == "pause", stepping=command.action == "step")
        self.writer.line("ack", command=command.id, epoch=epoch, accepted=accepted, message=message)
        if accepted and command.settings:
            changes = ", ".join(f"{name} = {value}" for name, value in command.settings.items())
            self.writer.line("event", epoch=epoch, kind=EventKind.SETTING, message=changes)
        self.stopped |= command.action == "stop"


if __name__ == "__main__":
    path, *numbers = sys.argv[1:]
    play(Run(Path(path)), float(numbers[0]) if numbers else 0.5, int(numbers[1]) if numbers[1:] else 0)
