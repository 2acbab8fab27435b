"""Execution of a run: configuration -> data -> network -> records -> run directory."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import logging
from collections.abc import Generator, Iterator, Mapping
from typing import Any

from tsnn._version import __version__
from tsnn.config import LiveValue
from tsnn.datasets import Dataset
from tsnn.engine.memory import disk_warning
from tsnn.engine.mistakes import Examiner
from tsnn.engine.network import Network, prediction_network
from tsnn.engine.serialization import save_network
from tsnn.engine.snapshots import Ages, snapshot_epochs, take_snapshot
from tsnn.engine.training import steps
from tsnn.errors import DivergenceError, RunError, TsnnError
from tsnn.execution.checkpointing import Checkpointer
from tsnn.execution.commands import CommandHandler
from tsnn.execution.preparation import Preparation, compilation_helper, prepare
from tsnn.files import os_error_message
from tsnn.parallel.channel import Channel
from tsnn.parallel.server import serve
from tsnn.records import Compilation, EpochRecord, Event, EventKind, Progress, RunState, accuracy_name
from tsnn.runs import Run
from tsnn.runs.acks import recorded_acks, recorded_before
from tsnn.runs.cells import format_value
from tsnn.runs.liveness import supervision
from tsnn.runs.writer import RunWriter
from tsnn.snapshot import Snapshot

log = logging.getLogger(__name__)


def execute(run: Run, channel: Channel | None = None) -> Iterator[Compilation | Progress | EpochRecord]:
    """Execute a run: train from its newest checkpoint, or from the start, and record it in its directory.

    An interrupted run continues bit for bit: same weights, same records, each epoch recorded once. Records after the
    checkpoint are dropped, and the epochs repeated.

    Yields the stages of compilation, then the items of :func:`tsnn.engine.training.steps`, for a progress display;
    while the run is paused, the last progress about ten times per second. Closing the generator stops the run.

    Parameters
    ----------
    run : Run
        Directory of the run.
    channel : Channel, optional
        The server's end of the channel to the workers of a parallel run; without it one process trains.

    Raises
    ------
    RunError
        If all epochs are done, another process writes the run, or it has another format. Nothing is written then.
    TsnnError
        If the data cannot be loaded or have changed, training diverges, or the disk is full. The run is then marked as
        failed, with the message; one that cannot be resumed is as before.
    """
    with RunWriter(run) as writer, _log_file(run), compilation_helper(run.wanted_config()):
        log.info("tsnn %s, run %s", __version__, run.id)
        engine = _Engine(run, writer, channel)
        try:
            try:
                yield from engine.train()
            except GeneratorExit:
                engine.end(RunState.STOPPED, "Interrupted")
                raise
            except KeyboardInterrupt:
                engine.between_batches = False  # the batch may be half done
                engine.end(RunState.STOPPED, "Interrupted")
                raise
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            message = f"{'Disk full: ' if full else ''}{os_error_message(error)}"
            log.error("%s", message)
            writer.end(RunState.FAILED, message)
            raise RunError(f"Run {run.id} has failed. {message}") from error
        except Exception as error:
            expected = isinstance(error, TsnnError)
            log.error("%s", error, exc_info=not expected)
            if isinstance(error, DivergenceError):
                engine.record_divergence()
            writer.end(RunState.FAILED, str(error) if expected else f"{type(error).__name__}: {error}")
            raise


class _LogFile(logging.FileHandler):
    """Log file of a run; lines that do not fit on the disk are left out."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Ignore an error."""


@contextlib.contextmanager
def _log_file(run: Run) -> Iterator[None]:
    """Copy the log messages of tsnn to the run's log."""
    handler = _LogFile(run.path / "log.txt", encoding="utf-8")
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
        with contextlib.suppress(OSError):
            handler.close()


def _baseline(data: Dataset) -> str:
    """Return the accuracy of always answering the most frequent class, as text; empty for regression."""
    name = "most frequent values of the labels" if data.task == "multilabel" else "majority class"
    return "" if data.baseline_accuracy is None else f"; {name}: {100 * data.baseline_accuracy:.1f} %"


def _fork_message(fork: Mapping[str, Any]) -> str:
    """Return the message of a fork: from which run and epoch, with which settings."""
    changed = ", ".join(f"{name} {format_value(value)}" for name, value in fork.get("settings", {}).items())
    return f"Forked from {fork.get('parent')} after epoch {fork['epoch']}" + (f" with {changed}" if changed else "")


class _Engine:
    """Engine of one run: trains, records, writes checkpoints and snapshots, executes commands.

    Attributes
    ----------
    between_batches : bool
        Whether there is a state, and no batch is half done.
    """

    def __init__(self, run: Run, writer: RunWriter, channel: Channel | None):
        self.run, self.writer, self.channel = run, writer, channel
        self.kind = "parallel" if channel else "sequential"
        self.checkpoints = Checkpointer(run, writer, self.kind)
        self.between_batches = False
        self.snapshots_fail = False  # a failure is reported once
        self.snapshot_at = -1  # epoch of the last snapshot
        self.settings: Mapping[str, LiveValue] = {}  # those of the last epoch
        self.last_snapshot: Snapshot | None = None

    def train(self) -> Iterator[Compilation | Progress | EpochRecord]:
        """Prepare and train the run; yields its progress and records."""
        processes = 1 + (self.channel.workers_on_server_host if self.channel else 0)
        start = yield from self._reported(prepare(self.run, self.writer, self.kind, processes))
        state = start.state
        self._begin(start)
        if warning := disk_warning(start.estimate, self.run.path):
            self._event(EventKind.DISK, warning)
        self.writer.update(
            state=RunState.COMPILING, epoch=state.epoch, epochs=state.config.training.epochs, samples=state.done,
            samples_total=len(start.data.x_train), message="",
        )  # fmt: skip
        training = serve(self.channel, state, start.data) if self.channel else steps(state, start.data)
        for item in self.commands.drive(training):
            if isinstance(item, EpochRecord):
                self._record(item)
                self._snapshot(item)
            else:
                if state.grown:  # the topology has evolved within the epoch
                    self.ages.update(state.displayed, item.epoch)
                if self.commands.paused and self.snapshot_at < state.epoch:
                    self._snapshot_paused()
                now = RunState.PAUSED if self.commands.paused else RunState.TRAINING
                self.writer.update(state=now, message="", samples=item.samples, train_loss=item.loss)
            if not self.commands.paused and self.checkpoints.due(state, item):
                self._write_checkpoint()
            yield item
        if self.commands.stopping:
            self.end(RunState.STOPPED, "Stopped on request")
        else:
            self.end(RunState.FINISHED, "All epochs done")

    def _reported(
        self, preparation: Generator[Compilation, None, Preparation]
    ) -> Generator[Compilation, None, Preparation]:
        """Copy the stages of compilation to the status."""
        try:
            while True:
                item = next(preparation)
                self.writer.update(state=RunState.COMPILING, message=f"{str(item).capitalize()}.")
                yield item
        except StopIteration as end:
            result: Preparation = end.value
            return result

    def _begin(self, start: Preparation) -> None:
        """Bring records, snapshots and commands to the state that training starts from."""
        self.state, self.data, saved = start.state, start.data, start.checkpoint
        parallel = self.channel is not None
        self.commands = CommandHandler(self.run, self.writer, self.state, start.check_change, parallel=parallel)
        self.ages = Ages(self.state.displayed, self.state.epoch, saved.arrays if saved else {})
        self.snapshot_epochs = snapshot_epochs(self.state.config.training.epochs, self.state.config.run.snapshots)
        self.state.examiner = Examiner(self.data, self.state.config.run.seed, self._examined)
        self.between_batches = True
        position = saved.values["metrics"] if saved else {"lines": 0, "bytes": 0}
        dropped, acks, recorded = self.writer.epochs_after(position), [], 0
        if saved is not None:
            self.commands.restore(saved.values)
        if saved is not None or start.resumed:
            known, recorded = recorded_acks(self.run), max([*dropped, recorded_before(self.run)])
            acks = self.commands.repeat(known, self.run.config(), recorded, start.previous)
        self.writer.rewind(position, self.state.epoch if saved else -1, map(dataclasses.asdict, acks), recorded)
        if saved is not None:
            self.last_snapshot = self._newest_snapshot()
            self.snapshot_at = max(self.run.snapshot_epochs(), default=-1)
        else:
            source = f"{self.data.name}: {self.data.source}{_baseline(self.data)}"
            self.writer.event(Event(0, EventKind.DATA, source))
            for warning in start.warnings:
                self.writer.event(Event(0, EventKind.DATA_WARNING, warning))
            self._write_snapshot(0, self.state.network)
        if saved is not None or start.resumed:
            for ack in acks:
                if ack.left_out:
                    self._event(EventKind.RESUMED, ack.message)
            for damage in saved.damaged if saved else ():
                self._event(EventKind.CHECKPOINT, f"{damage}; the one before is used")
            fork = self.run.meta().get("fork", {})
            if fork and fork.get("epoch") == self.state.epoch and not self.state.done:
                self._event(EventKind.FORKED, _fork_message(fork))
            else:
                self._event(EventKind.RESUMED, self._resumption(saved is not None, dropped))

    def _resumption(self, saved: bool, dropped: list[int]) -> str:
        """Return the message of a resumed run: from where, which epochs are repeated, why it was restarted."""
        where = f"epoch {self.state.epoch}" if saved else "the start: there is no checkpoint"
        where += f" and {self.state.done} samples" if self.state.done else ""
        repeated = f"; epochs {dropped[0]} to {dropped[-1]} are repeated" if dropped else ""
        note = (supervision(self.run.path) or {}).get("note", "")
        return f"Resumed from {where}{repeated}{f' ({note})' if note else ''}"

    def _event(self, kind: EventKind, message: str) -> None:
        self.writer.event(Event(self.state.epoch, kind, message))

    def _record(self, record: EpochRecord) -> None:
        self.commands.acknowledge((record.epoch, False))
        values = record.to_dict()
        del values["events"]
        self.writer.line("epoch", **values)
        name, score = accuracy_name(self.data.task), record.test_accuracy
        if record.test_r2 is not None:
            name, score = "R2", record.test_r2
        log.info(
            "epoch %d: train loss %.4f, test loss %.4f, test %s %s",
            record.epoch, record.train_loss, record.test_loss, name, score,
        )  # fmt: skip
        for event in record.events:
            self.writer.event(event)
        self.writer.update(
            epoch=record.epoch, samples=0, test_loss=record.test_loss, test_accuracy=record.test_accuracy,
            test_r2=record.test_r2, connections=record.connections, settings=record.settings,
        )  # fmt: skip

    def _snapshot(self, record: EpochRecord) -> None:
        """Write a snapshot after an epoch that is to have one, or the first with changed settings."""
        state = self.state
        changed, self.settings = record.settings != (self.settings or record.settings), record.settings
        if state.resumable:
            self.ages.update(state.displayed, record.epoch)
            if changed or record.epoch in self.snapshot_epochs:
                self._write_snapshot(record.epoch, state.displayed)

    def _examined(self, epoch: int) -> bool:
        """Return whether samples of an epoch's test are kept for its snapshot."""
        return epoch in self.snapshot_epochs or self.commands.stepping

    def _snapshot_paused(self) -> None:
        """Write a snapshot of the last finished epoch: a pause is for looking at the network."""
        self.snapshot_at = self.state.epoch
        if self.state.resumable:
            self._write_snapshot(self.state.epoch, self.state.displayed)

    def _newest_snapshot(self) -> Snapshot | None:
        """Return the drawn neurons in the newest snapshot of the run; None without a readable one."""
        newest = self.run.snapshot_epochs()[-1:]
        with contextlib.suppress(RunError):
            return self.run.snapshot(newest[0], parts=("drawn", "drawn_inputs")) if newest else None
        return None

    def _write_snapshot(self, epoch: int, network: Network) -> None:
        """Write a snapshot; a failure is reported as an event, and training continues."""
        self.snapshot_at = epoch
        try:
            pruning, image = self.state.config.importance, self.data.image_shape is not None
            snapshot = take_snapshot(network, pruning.percentile, self.ages, image, self.last_snapshot, pruning.scope)
            mistakes: dict[str, Any] = self.state.examiner.arrays(epoch) if self.state.examiner else {}
            self.last_snapshot = dataclasses.replace(snapshot, **mistakes)
            self.writer.snapshot(epoch, self.last_snapshot)
            self.snapshots_fail = False
        except OSError as error:
            reason = os_error_message(error)
            log.warning("No snapshot of epoch %d could be written: %s", epoch, reason)
            if not self.snapshots_fail:
                self.snapshots_fail = True
                with contextlib.suppress(OSError):
                    self._event(EventKind.DISK, f"No snapshot of epoch {epoch} could be written ({reason})")

    def record_divergence(self) -> None:
        """Record the settings with which training diverged, and that it did."""
        with contextlib.suppress(OSError):
            self.commands.acknowledge((self.state.epoch, True))
        self.writer.update(diverged=True)

    def _write_checkpoint(self) -> None:
        self.checkpoints.write(self.state, self.ages, self.commands.values())

    def end(self, state: RunState, message: str) -> None:
        """Write the weights and a checkpoint, and mark the run as ended."""
        if self.between_batches:
            if self.state.resumable:
                self._write_checkpoint()
            save_network(prediction_network(self.state.network, self.data), self.run.path / "weights.npz")
        log.info("%s: %s", state, message)
        self.writer.end(state, message)
