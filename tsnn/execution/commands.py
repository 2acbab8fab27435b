"""Execution of a run's commands between two batches: change settings, pause, step, resume, stop."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tsnn.config import LIVE_SETTINGS, Config
from tsnn.engine.state import TrainingState
from tsnn.errors import TsnnError
from tsnn.records import EpochRecord, Progress, RunState
from tsnn.runs import Run
from tsnn.runs.acks import Ack, Place, settings_until
from tsnn.runs.control import Command, ControlReader, changed_config, check_effect
from tsnn.runs.writer import RunWriter

POLL_SECONDS = 0.1
END_SECONDS = 1.0  #: after the end of a run, in which its status is not known to all
_TOO_LATE = "The command came when the run had ended"


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
    check : callable
        Called with the configuration before and after a change; raises a :class:`tsnn.errors.TsnnError` if the run has
        no memory for it.
    parallel : bool
        Whether there are workers: they have begun the next epoch when one is recorded.

    Attributes
    ----------
    paused, stopping : bool
        Whether training is paused, or is to stop.
    stepping : bool
        Whether it is to pause after the present epoch.
    """

    def __init__(
        self, run: Run, writer: RunWriter, state: TrainingState, check: Callable[[Config, Config], None], *,
        parallel: bool,
    ):  # fmt: skip
        self.paused = self.stopping = False
        self.stepping = False
        self._writer, self._state, self._check, self._parallel = writer, state, check, parallel
        self._reader = ControlReader(run)
        self._pending: list[Ack] = []  # answers to be written when the settings have been applied
        self._repeated: list[Ack] = []  # settings of a resumed run that apply later, in the order of their places
        self._recorded = 0  # last epoch that was recorded before
        self._polled = 0.0

    def values(self) -> dict[str, Any]:
        """Return the values for a checkpoint."""
        pending = [dataclasses.asdict(ack) for ack in self._pending]
        return {"commands_read": self._reader.offset, "pending_commands": pending}

    def restore(self, values: Mapping[str, Any]) -> None:
        """Continue after the commands that a checkpoint's values cover."""
        self._reader.offset = values["commands_read"]
        self._pending = [Ack(**ack) for ack in values["pending_commands"] if isinstance(ack, dict)]

    def repeat(self, acks: Sequence[Ack], config: Config, recorded: int, previous: Mapping[str, Any]) -> list[Ack]:
        """Change the settings of a resumed run as before: each where it was acknowledged.

        Commands that were not acknowledged, and those that come while epochs are repeated, apply after the last
        recorded epoch: so that epochs that were recorded do not change. Those to pause or stop are obsolete, and so
        are all that came when the run had just finished or stopped.

        Parameters
        ----------
        acks : sequence of Ack
            The run's acks, in the order of their places.
        config : Config
            The settings that the run was started with.
        recorded : int
            The last epoch that was recorded.
        previous : mapping
            Status at the end. If training diverged, the settings that were applied last are left out.

        Returns
        -------
        acks : list of Ack
            Those to be recorded before training begins.
        """
        state, answered = self._state, {ack.command for ack in acks}
        last = max((ack.place for ack in acks if ack.accepted), default=None)
        last = last if previous.get("diverged") else None
        left_out = [_left_out(ack) for ack in acks if ack.accepted and ack.place == last]
        acks = [ack for ack in acks if not ack.accepted or ack.place != last] + left_out
        self._revert(acks, config)
        self._repeated = [ack for ack in acks if ack.accepted and ack.place > (state.epoch, state.done > 0)]
        self._pending = [ack for ack in self._pending if ack.command not in answered]
        self._recorded = recorded
        here: Place = (state.epoch + 1, False) if state.done else (state.epoch, True)
        new = [c for c in self._reader.poll() if c.action == "set" and c.id not in answered]
        late = [command for command in new if _came_at_end(command, previous)]
        refused = [Ack(command.id, recorded, {}, accepted=False, message=_TOO_LATE) for command in late]
        answers = [ack for command in new if command not in late and (ack := self._answer(command, here))]
        self._change_repeated(here)
        return left_out + refused + answers

    def _revert(self, acks: Sequence[Ack], config: Config) -> None:
        """Undo the settings that were left out, as far as the state has them."""
        state, flat = self._state, config.flat()
        names = {name for ack in acks if ack.left_out for name in ack.settings}
        values = {name: flat[LIVE_SETTINGS[name]] for name in names}
        values |= {n: v for n, v in settings_until(acks, (state.epoch, state.done > 0)).items() if n in names}
        state.config, state.pending = changed_config(state.config, values), changed_config(state.pending, values)

    def drive(self, training: Iterator[Progress | EpochRecord]) -> Iterator[Progress | EpochRecord]:
        """Yield the items of training until it ends or is to stop; while paused, repeat the last progress."""
        for item in training:
            yield item
            self._change_repeated((item.epoch, isinstance(item, EpochRecord)))
            self._poll(item)
            if self.stepping and isinstance(item, EpochRecord):
                self.stepping, self.paused = False, True
            while self.paused and not self.stopping:
                yield item if isinstance(item, Progress) else Progress(item.epoch + 1, 0, 1, item.train_loss)
                time.sleep(POLL_SECONDS)
                self._poll(item)
            if self.stopping:
                return

    def acknowledge(self, place: Place) -> None:
        """Acknowledge the settings that have been applied up to a place.

        Before the epoch is recorded: so each setting in a recorded epoch has an ack.
        """
        for ack in self._pending:
            if ack.place <= place:
                self._write(ack)
        self._pending = [ack for ack in self._pending if ack.place > place]

    def _poll(self, item: Progress | EpochRecord) -> None:
        if time.monotonic() - self._polled < POLL_SECONDS:
            return
        self._polled = time.monotonic()
        for command in self._reader.poll():
            if command.action == "set":
                if ack := self._answer(command, (item.epoch, isinstance(item, EpochRecord))):
                    self._write(ack)
                continue
            self.paused = command.action == "pause"
            self.stepping = command.action == "step"
            self.stopping |= command.action == "stop"
            self._writer.line("ack", command=command.id, epoch=item.epoch, accepted=True, message="")

    def _answer(self, command: Command, here: Place) -> Ack | None:
        """Change settings by a command; return its ack, or None if it has one when they have been applied."""
        epoch, at_start = max(here, (self._recorded, True))
        if at_start and self._parallel:
            epoch, at_start = epoch + 1, False
        ack = Ack(command.id, epoch, command.settings, at_start=at_start)
        try:
            config = changed_config(self._state.pending, command.settings)
            check_effect(config, command.settings)
            self._check(self._state.pending, config)
        except TsnnError as error:
            return dataclasses.replace(ack, settings={}, accepted=False, message=str(error))
        flat = config.flat()
        ack = dataclasses.replace(ack, settings={name: flat[LIVE_SETTINGS[name]] for name in command.settings})
        if ack.place > here:
            self._repeated = sorted([*self._repeated, ack], key=lambda ack: ack.place)
            return ack
        self._state.pending = config
        self._pending.append(ack)
        return None

    def _change_repeated(self, place: Place) -> None:
        """Put the settings of a resumed run that apply up to a place into the pending ones."""
        while self._repeated and self._repeated[0].place <= place:
            self._state.pending = changed_config(self._state.pending, self._repeated.pop(0).settings)

    def _write(self, ack: Ack) -> None:
        self._writer.line("ack", **dataclasses.asdict(ack))


def _came_at_end(command: Command, previous: Mapping[str, Any]) -> bool:
    """Return whether a command came when a run had just finished or stopped, not when it had been resumed."""
    ended = previous.get("state") in (RunState.FINISHED, RunState.STOPPED)
    return ended and command.time < previous.get("time", 0.0) + END_SECONDS


def _left_out(ack: Ack) -> Ack:
    message = f"The command to change {', '.join(ack.settings)} is left out: training diverged with it"
    return dataclasses.replace(ack, accepted=False, left_out=True, message=message)
