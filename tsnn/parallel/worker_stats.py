"""The server's books: what each worker did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tsnn.config import LIVE_SETTINGS, Config
from tsnn.machine import available_cores
from tsnn.records import Event, EventKind, WorkerRecord


@dataclass
class WorkerStatistics:
    """What one worker did in an epoch of phase 1, so far."""

    rank: int
    batches: int = 0
    samples: int = 0
    retained: float = 0.0
    memory: int = 0
    seconds: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    staleness: Counter[int] = field(default_factory=Counter)

    def add(self, samples: int, staleness: int, retained: float, seconds: Sequence[float], memory: int) -> None:
        """Count a gradient, or what was sent instead."""
        self.batches += 1
        self.samples += samples
        self.retained += retained
        self.memory = memory
        self.seconds += seconds
        self.staleness[staleness] += 1

    def record(self) -> WorkerRecord:
        """Return the sums as a record."""
        computing, communicating, idle = self.seconds.tolist()
        return WorkerRecord(
            worker=self.rank, phase=1, batches=self.batches, samples=self.samples, seconds_compute=computing,
            seconds_communicate=communicating, seconds_idle=idle,
            staleness=tuple(self.staleness[late] for late in range(max(self.staleness, default=-1) + 1)),
            retained=self.retained / max(self.batches, 1), memory_bytes=self.memory,
        )  # fmt: skip


def oversubscription_events(workers: int, epoch: int, config: Config) -> list[Event]:
    """Return a warning if so many workers have more threads than this machine has cores.

    The server is not counted: it sleeps nearly all the time.
    """
    threads, cores = workers * max(1, config.run.threads), available_cores()
    if threads <= cores:
        return []
    text = (
        f"{workers} workers with {threads} threads in all share {cores} cores: no faster than {cores} threads, and each"
    )
    return [
        Event(
            epoch, EventKind.WORKERS, f"{text} works at {cores / threads:.0%} of its speed. Try fewer parallel.workers"
        )
    ]


def live_numbers(config: Config, factor: float) -> list[float]:
    """Return the settings that may change while a run trains, as they are sent to the workers: the rate multiplied."""
    flat = config.flat()
    flat["training.learning_rate"] *= factor
    return [float(flat[name]) for name in LIVE_SETTINGS.values()]
