"""Checkpoints during a run: when one is due, and how it is written."""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
import time
from collections.abc import Mapping
from typing import Any

from tsnn.engine.serialization import pack
from tsnn.engine.snapshots import Ages
from tsnn.engine.state import TrainingState
from tsnn.files import os_error_message
from tsnn.records import EpochRecord, Event, EventKind, Progress
from tsnn.runs import Run
from tsnn.runs.checkpoints import FORKS, write_checkpoint
from tsnn.runs.writer import RunWriter

MAX_FRACTION = 0.05  #: of the time that writing checkpoints by the clock may take
FORK_FRACTION = 0.02  #: and those that are kept for forks
DISK_SHARE = 0.1  #: of the free disk space that these may take

log = logging.getLogger(__name__)


class Checkpointer:
    """Decides when a checkpoint is due, and writes it.

    Parameters
    ----------
    run : Run
        The run.
    writer : RunWriter
        Its writer, for events.
    kind : {"sequential", "parallel"}
        Kind of engine. A parallel run can only be resumed from the end of an epoch.
    """

    def __init__(self, run: Run, writer: RunWriter, kind: str):
        self._run, self._writer, self._kind = run, writer, kind
        self._written_at = time.monotonic()
        self._write_seconds = 0.0  # taken by the last checkpoint
        self._failing = False  # a failure is reported once
        self._next_fork = 1  # first epoch whose end is worth a checkpoint to fork the run from

    def due(self, state: TrainingState, item: Progress | EpochRecord) -> bool:
        """Return whether a checkpoint is due after this item: see ``run.checkpoint_minutes``, ``_epochs``, ``_mb``."""
        settings, at_end = state.config.run, isinstance(item, EpochRecord)
        by_clock, elapsed = settings.checkpoint_minutes > 0, time.monotonic() - self._written_at
        least = self._write_seconds / MAX_FRACTION
        if self._kind == "parallel":
            return by_clock and at_end and state.resumable and elapsed > least
        if settings.checkpoint_epochs and at_end and item.epoch % settings.checkpoint_epochs == 0:
            return True
        if by_clock and at_end and settings.checkpoint_mb and item.epoch >= self._next_fork:
            return elapsed > self._write_seconds / FORK_FRACTION
        return by_clock and elapsed > max(60 * settings.checkpoint_minutes, least)

    def write(self, state: TrainingState, ages: Ages, commands: Mapping[str, Any]) -> None:
        """Write a checkpoint; a failure is reported as an event, and the earlier checkpoints stay."""
        started = time.monotonic()
        values, arrays = pack(state)
        content = {"state": values, "metrics": self._writer.position(), **commands}
        try:
            space = min(state.config.run.checkpoint_mb * 2**20, DISK_SHARE * shutil.disk_usage(self._run.path).free)
            write_checkpoint(
                self._run, state.epoch, state.done, self._kind, content, arrays | ages.arrays(), kept_bytes=space
            )  # fmt: skip
            self._failing = False
            if not state.done:
                ratio = state.config.training.epochs ** (1 / FORKS)
                self._next_fork = max(state.epoch + 1, math.ceil(state.epoch * ratio))
        except OSError as error:
            log.warning("No checkpoint could be written: %s", error)
            if not self._failing:
                self._failing = True
                epoch = self._run.resumes_from()
                message = f"No checkpoint could be written ({os_error_message(error)}); that of epoch {epoch} is kept"
                with contextlib.suppress(OSError):
                    self._writer.event(Event(state.epoch, EventKind.CHECKPOINT, message))
        self._written_at = time.monotonic()
        self._write_seconds = self._written_at - started
