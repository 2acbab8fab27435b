"""Per-worker statistics of an epoch of phase 1, and the oversubscription warning."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tsnn.config import Config
from tsnn.kernels.wire import GradientHead
from tsnn.machine import available_cores
from tsnn.records import Event, EventKind, WorkerRecord


@dataclass
class WorkerStatistics:
    """Statistics of one worker in the current epoch of phase 1.

    Attributes
    ----------
    rank : int
        Of the worker.
    batches, samples : int
        Gradients (in ``local`` mode models) and the training samples in them.
    retained : float
        Sum over the gradients of the fraction of entries that were applied.
    seconds_compute, seconds_communicate, seconds_idle : float
        The worker's time.
    memory_bytes : int
        Its resident memory, last value.
    staleness : Counter
        Number of gradients by staleness.
    """

    rank: int
    batches: int = 0
    samples: int = 0
    retained: float = 0.0
    seconds_compute: float = 0.0
    seconds_communicate: float = 0.0
    seconds_idle: float = 0.0
    memory_bytes: int = 0
    staleness: Counter[int] = field(default_factory=Counter)

    def add(self, gradient: GradientHead, staleness: int, retained_fraction: float) -> None:
        """Add a gradient."""
        self.batches += 1
        self.samples += int(gradient.samples)
        self.retained += retained_fraction
        self.seconds_compute += gradient.seconds_compute
        self.seconds_communicate += gradient.seconds_communicate
        self.seconds_idle += gradient.seconds_idle
        self.memory_bytes = int(gradient.memory_bytes)
        self.staleness[staleness] += 1

    def record(self) -> WorkerRecord:
        """Return the statistics as a record."""
        return WorkerRecord(
            worker=self.rank,
            phase=1,
            batches=self.batches,
            samples=self.samples,
            seconds_compute=self.seconds_compute,
            seconds_communicate=self.seconds_communicate,
            seconds_idle=self.seconds_idle,
            staleness=tuple(self.staleness[updates] for updates in range(max(self.staleness, default=-1) + 1)),
            retained=self.retained / max(self.batches, 1),
            memory_bytes=self.memory_bytes,
        )


def oversubscription_events(workers: int, epoch: int, config: Config) -> list[Event]:
    """Return a warning if the workers have more threads than this machine has cores.

    The server does not count: it sleeps nearly all the time.
    """
    threads, cores = workers * max(1, config.run.threads), available_cores()
    if threads <= cores:
        return []
    text = (
        f"{workers} workers use {threads} threads on {cores} cores: each works at {cores / threads:.0%} of its speed. "
        "Try fewer parallel.workers"
    )
    return [Event(epoch, EventKind.WORKERS, text)]
