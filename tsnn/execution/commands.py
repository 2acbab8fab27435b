"""Execution of a run's commands between two batches: change settings, pause, step, resume, stop."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from tsnn.engine.state import TrainingState
from tsnn.errors import TsnnError
from tsnn.records import EpochRecord, Event, EventKind, Progress
from tsnn.runs import Run
from tsnn.runs.control import Command, ControlReader, changed_config
from tsnn.runs.writer import RunWriter

POLL_SECONDS = 0.1


class CommandHandler:
    """Reads, executes and acknowledges the commands of a run.

    Parameters
    ----------
    run : Run
        The run.
    writer : RunWriter
        Its writer, for acks.
    state : TrainingState
        Changed settings are put into its ``pending``.

    Attributes
    ----------
    paused, stopping : bool
        Whether training is paused, or is to stop.
    """

    def __init__(self, run: Run, writer: RunWriter, state: TrainingState):
        self.paused = self.stopping = False
        self._stepping = False  # one epoch, then pause
        self._writer, self._state = writer, state
        self._reader = ControlReader(run)
        self._pending: list[str] = []  # ids of commands whose settings apply after the epoch
        self._polled = 0.0

    def values(self) -> dict[str, Any]:
        """Return the values for a checkpoint."""
        return {"commands_read": self._reader.offset, "pending_commands": self._pending}

    def restore(self, values: Mapping[str, Any]) -> None:
        """Continue after the commands that a checkpoint's values cover."""
        self._reader.offset, self._pending = values["commands_read"], list(values["pending_commands"])

    def apply_missed(self, diverged_at: float | None = None) -> None:
        """Read the commands that came after the checkpoint: settings still apply, other commands are obsolete.

        Parameters
        ----------
        diverged_at : float, optional
            When training diverged after the checkpoint, in seconds since 1970. Settings from before are left out:
            with them it would diverge again.
        """
        for command in self._reader.poll():
            if command.action != "set":
                continue
            if diverged_at is not None and command.time <= diverged_at:
                names = ", ".join(command.settings)
                message = f"The command to change {names} is left out: training diverged with it"
                self._ack(command.id, self._state.epoch, False, message)
                self._writer.event(Event(self._state.epoch, EventKind.RESUMED, message))
            else:
                self._change_settings(command, self._state.epoch)

    def drive(self, training: Iterator[Progress | EpochRecord]) -> Iterator[Progress | EpochRecord]:
        """Yield the items of training until it ends or is to stop; while paused, repeat the last progress."""
        for item in training:
            yield item
            self._poll(item)
            if self._stepping and isinstance(item, EpochRecord):
                self._stepping, self.paused = False, True
            while self.paused and not self.stopping:
                yield item if isinstance(item, Progress) else Progress(item.epoch + 1, 0, 1, item.train_loss)
                time.sleep(POLL_SECONDS)
                self._poll(item)
            if self.stopping:
                return

    def acknowledge_settings(self, epoch: int) -> None:
        """Acknowledge the changed settings: they have been applied after this epoch."""
        for command in self._pending:
            self._ack(command, epoch, True, "")
        self._pending = []

    def _poll(self, item: Progress | EpochRecord) -> None:
        if time.monotonic() - self._polled < POLL_SECONDS:
            return
        self._polled = time.monotonic()
        for command in self._reader.poll():
            if command.action == "set":
                self._change_settings(command, item.epoch)
                continue
            self.paused = command.action == "pause"
            self._stepping = command.action == "step"
            self.stopping |= command.action == "stop"
            self._ack(command.id, item.epoch, True, "")

    def _change_settings(self, command: Command, epoch: int) -> None:
        try:
            self._state.pending = changed_config(self._state.pending, command.settings)
        except TsnnError as error:
            self._ack(command.id, epoch, False, str(error))
        else:
            self._pending.append(command.id)

    def _ack(self, command: str, epoch: int, accepted: bool, message: str) -> None:
        self._writer.line("ack", command=command, epoch=epoch, accepted=accepted, message=message)
