"""Fake engine: writes a plausible run into a run directory without training, for tests of the views.

``python -m tests.support.fake_engine RUN_DIR [seconds per epoch [epochs done before]]`` obeys commands like the engine.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tsnn.config import LIVE_SETTINGS, Config
from tsnn.errors import ConfigError
from tsnn.records import EpochRecord, Event, LayerRecord, WorkerRecord
from tsnn.runs import Run, RunStore
from tsnn.runs.control import Command, ControlReader, changed_config
from tsnn.runs.writer import RunWriter

INPUTS = {"fashion_mnist": ((28, 28), 784, 10), "cifar10": ((3, 32, 32), 3072, 10), "madelon": (None, 500, 2)}


def sizes_of(config: Config) -> list[int]:
    """Return the layer sizes that a configuration leads to."""
    _, n_in, n_out = INPUTS.get(config.data.name, (None, 100, 3))
    return [n_in, *config.network.hidden, n_out]


def layer_records(config: Config) -> tuple[LayerRecord, ...]:
    """Return one record per layer, as Erdős–Rényi would make it."""
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
    worse = {"set": 0.0, "fixed": 0.03, "dense": 0.01}[config.training.method] + 0.02 * t.zeta
    good = 0.88 - worse - 0.5 * math.exp(-epoch / 12) + wave
    layers = layer_records(config)
    return EpochRecord(
        epoch=epoch, samples=10_000 * epoch,
        train_loss=2 * math.exp(-epoch / 20) + 0.2 + wave, test_loss=1.6 * math.exp(-epoch / 15) + 0.4 + worse,
        train_accuracy=good - 0.03, test_accuracy=good,
        seconds_train=1.5 + wave, seconds_evolve=0.08, seconds_evaluate=0.2,
        settings={short: config.flat()[name] for short, name in LIVE_SETTINGS.items()},
        connections=sum(l.connections for l in layers), memory_bytes=300_000_000, layers=layers, events=events,
    )  # fmt: skip


def worker(number: int, **changes: Any) -> dict[str, Any]:
    """Return the statistics of a worker as they are recorded."""
    record = WorkerRecord(number, 1, 100, 12_800, 0.8, 0.1, 0.1, (50, 30, 20), 0.99, 300_000_000)
    return dataclasses.asdict(dataclasses.replace(record, **changes))


def snapshot(epoch: int, config: Config) -> dict[str, Any]:
    """Return a snapshot whose input connectivity gathers in the middle as epochs pass."""
    sizes = sizes_of(config)
    rng = np.random.default_rng(epoch)
    n = sizes[0]
    side = math.isqrt(n)
    y, x = np.divmod(np.arange(n), side)
    focus = np.exp(-(((x - side / 2) ** 2 + (y - side / 2) ** 2) / (2 * (side / 4) ** 2)))
    degree = rng.poisson(40 * (1 + (focus - 0.5) * min(1, epoch / 20))).astype(np.float32)
    arrays: dict[str, Any] = {"sizes": np.array(sizes), "input_degree": degree}
    percentile = config.importance.percentile
    arrays |= {"epoch": np.int64(epoch), "ages_since": np.int64(0), "percentile": np.float32(percentile)}
    arrays["input_strength"] = degree * np.float32(0.05)
    for l, (n_in, n_out) in enumerate(pairwise(sizes)):
        shape = min(n_in, 200), min(n_out, 200)
        arrays[f"density_{l}"] = rng.poisson(40, shape).clip(0, 255).astype(np.uint8)
        arrays[f"density_max_{l}"] = np.float32(6)
        ages = np.arange(epoch + 1)
        arrays[f"age_{l}"] = np.stack([ages, 1 + (100_000 * 0.8**ages).astype(int)], axis=1)
        for name, count in (("in_degree", n_out), ("out_degree", n_in)):
            values = np.bincount(rng.poisson(30, count) + rng.geometric(0.02 + 0.5 / (1 + epoch), count))
            present = np.flatnonzero(values)
            arrays[f"{name}_{l}"] = np.stack([present, values[present]], axis=1)
        importance = np.sort(rng.gamma(5, 1, n_out))
        counts, edges = np.histogram(importance, bins=60)
        arrays[f"importance_{l}"], arrays[f"importance_edges_{l}"] = counts, edges.astype(np.float32)
        threshold = np.percentile(importance, percentile) if percentile else np.nan
        arrays[f"importance_threshold_{l}"] = np.float32(threshold)
        shown = min(16, n_out)
        arrays[f"neurons_{l}"] = np.sort(rng.permutation(n_out)[:shown])
        degree = np.full(shown, 30.0)
        arrays[f"neuron_values_{l}"] = np.stack([importance[-shown:], degree, degree], axis=1).astype(np.float32)
        ends = {"incoming": n_in, "outgoing": sizes[l + 2] if l + 2 < len(sizes) else 0}
        for name, others in ends.items():
            few = min(30, others)
            arrays[f"{name}_indptr_{l}"] = few * np.arange(shown + 1)
            arrays[f"{name}_indices_{l}"] = np.concatenate(
                [np.sort(rng.permutation(others)[:few]).astype(np.int32) for _ in range(shown)]
            )
            arrays[f"{name}_weights_{l}"] = rng.normal(size=shown * few).astype(np.float16)
    return arrays


def meta(config: Config) -> dict[str, Any]:
    """Return what the engine knows of its data and network."""
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
    }


def finished_run(store: RunStore, settings: Mapping[str, Any], epochs: int, state: str = "finished") -> Run:
    """Write a whole run at once."""
    config = Config.preset(str(settings.get("data.name", "fashion_mnist"))).replace(settings)
    run = store.create(config)
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
        writer.end(state, "All epochs done." if state == "finished" else "The loss is no longer finite.")
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
        self.paused = self.stopped = False

    def play(self, done: int) -> None:
        """Write all epochs."""
        writer = self.writer
        writer.update(state="compiling", epochs=self.config.training.epochs, message="compiling kernels (once)")
        time.sleep(min(self.seconds, 1.0))
        writer.meta(meta(self.config))
        writer.update(state="training", samples_total=10_000, message="")
        writer.snapshot(0, snapshot(0, self.config))
        for epoch in range(1, done + 1):
            writer.line("epoch", **epoch_record(epoch, self.config).to_dict())
        epoch = done
        while epoch < self.config.training.epochs and self.spend_epoch(epoch):
            epoch += 1
            self.write_epoch(epoch)
        writer.end("stopped" if self.stopped else "finished", f"After {epoch} epochs.")

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

    def obey(self, command: Command, epoch: int) -> None:
        """Apply a command and acknowledge it."""
        accepted, message, kind = True, command.action, "setting"
        try:
            self.config = changed_config(self.config, command.settings)
            if command.settings:
                message = ", ".join(f"{name} = {value:g}" for name, value in command.settings.items())
        except ConfigError as error:
            accepted, message = False, str(error)
        if command.action in ("pause", "resume"):
            self.paused, kind = command.action == "pause", f"{command.action}d"
            self.writer.update(state="paused" if self.paused else "training")
        self.writer.line("ack", command=command.id, epoch=epoch, accepted=accepted, message=message)
        if accepted and command.action != "stop":
            self.writer.line("event", epoch=epoch, kind=kind, message=message)
        self.stopped |= command.action == "stop"


if __name__ == "__main__":
    path, *numbers = sys.argv[1:]
    play(Run(Path(path)), float(numbers[0]) if numbers else 0.5, int(numbers[1]) if numbers[1:] else 0)
