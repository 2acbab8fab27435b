"""Carries out a run: configuration -> data -> network -> records -> run directory.

The only place where the engine and the run directory meet.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any

from tsnn._version import __version__
from tsnn.config import Config
from tsnn.datasets import Dataset
from tsnn.engine.memory import check_memory, disk_warning, memory_estimate
from tsnn.engine.network import init_network
from tsnn.engine.serialization import pack, save_network, unpack
from tsnn.engine.snapshots import Ages, snapshot_epochs, take_snapshot
from tsnn.engine.state import TrainingState
from tsnn.engine.training import steps
from tsnn.errors import DataError, TsnnError
from tsnn.execution.provenance import generators, load_data, provenance
from tsnn.parallel.channel import Channel
from tsnn.parallel.server import serve
from tsnn.records import EpochRecord, EventKind, Progress
from tsnn.runs import Run
from tsnn.runs.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from tsnn.runs.control import Command, ControlReader, changed_config
from tsnn.runs.liveness import supervision
from tsnn.runs.writer import RunWriter

POLL_SECONDS = 0.1
SHARE_OF_SAVING = 0.05  # of the time that checkpoints may take, at most

log = logging.getLogger(__name__)


def execute(run: Run, channel: Channel | None = None) -> Iterator[Progress | EpochRecord]:
    """Train what a run directory's configuration asks for, from where it stands, and record it there.

    A run that was interrupted goes on from its newest checkpoint as if nothing had happened: same weights, same
    records, every epoch recorded once. What was recorded after the checkpoint is dropped and comes again.

    Yields what :func:`tsnn.engine.training.steps` yields, for a progress display. While the run is paused the last
    progress is yielded about ten times per second. Close the generator to stop the run.

    Parameters
    ----------
    run : Run
        Directory of the run.
    channel : Channel, optional
        The server's end of the channel to the workers of a parallel run; without it one process trains.

    Raises
    ------
    TsnnError
        If the data cannot be had or are not those that the run began with, or training diverges; the run is then
        marked as failed, with the message. If all its epochs are done; nothing is touched then.
    """
    with RunWriter(run) as writer, _log_file(run):
        log.info("tsnn %s, run %s", __version__, run.id)
        engine = _Engine(run, writer, channel)
        try:
            yield from engine.train()
        except GeneratorExit:
            engine.end("stopped", "Interrupted")
            raise
        except KeyboardInterrupt:
            engine.between_batches = False  # perhaps in the middle of a batch
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

    def __init__(self, run: Run, writer: RunWriter, channel: Channel | None):
        self.run, self.writer, self.channel = run, writer, channel
        self.kind = "parallel" if channel else "sequential"
        self.control = ControlReader(run)
        self.pending_commands: list[str] = []
        self.state: TrainingState
        self.between_batches = False  # whether there is a state, and no batch half done
        self.paused = self.stopping = self.stepping = False
        self.polled = 0.0
        self.saved_at, self.saving_took, self.disk_full = time.monotonic(), 0.0, False

    def train(self) -> Iterator[Progress | EpochRecord]:
        writer, config = self.writer, self.run.config()
        data_rng, init_rng, rng = generators(config)
        data = load_data(config, data_rng)
        begun = self.run.meta()
        self._check_digest(begun, data)
        saved = read_checkpoint(self.run, self.kind)
        if saved is not None:
            state = unpack(saved.values["state"], saved.arrays)
            config = _continued(state.config, config)
            state.pending = _continued(state.pending, config)
            state.config = config
        samples = len(data.x_train) + len(data.x_test)
        shape, ranks = (data.n_features, data.n_outputs, samples), 1 + (self.channel.neighbours if self.channel else 0)
        estimate = memory_estimate(config, *shape, data_bytes=data.nbytes, processes=ranks)
        log.info("Memory: %s", estimate)
        if not begun:
            writer.meta(provenance(config, data, estimate))
        check_memory(config, *shape, data_bytes=data.nbytes, processes=ranks)
        if saved is None:
            config = config.replace({"run.micro_batch": estimate.micro_batch})
            network = init_network(data.n_features, data.n_outputs, config, rng=init_rng)
            state = TrainingState.begin(network, config, rng=rng)
        self.ages = Ages(state.displayed, state.epoch, saved.arrays if saved else {})
        self._begin(state, saved, data, bool(begun))
        if warning := disk_warning(estimate, self.run.path):
            self._event(EventKind.DISK, warning)
        writer.update(
            state="compiling", epoch=state.epoch, epochs=config.training.epochs, samples=state.done,
            samples_total=len(data.x_train), message="Compiling the kernels (once)",
        )  # fmt: skip
        keep = snapshot_epochs(config.training.epochs, config.run.snapshots)
        training = serve(self.channel, state, data) if self.channel else steps(state, data)
        for item in self._drive(training):
            if isinstance(item, EpochRecord):
                self._record(item)
                if state.resumable:
                    self.ages.update(state.displayed, item.epoch)
                if item.epoch in keep and state.resumable:
                    percentile = state.config.importance.percentile
                    writer.snapshot(item.epoch, take_snapshot(state.displayed, percentile, self.ages))
            else:
                now = "paused" if self.paused else "training"
                writer.update(state=now, message="", samples=item.samples, train_loss=item.loss)
            if not self.paused and self._checkpoint_is_due(item):
                self.save()
            yield item
        if self.stopping:
            self.end("stopped", "Stopped on request")
        else:
            self.end("finished", "All epochs done")

    def _check_digest(self, begun: Mapping[str, Any], data: Dataset) -> None:
        before = begun.get("data", {}).get("digest", data.digest)
        if before != data.digest:
            raise DataError(
                f"The data of run {self.run.id} have changed since it began: {data.name} from {data.source} now has "
                f"the content hash {data.digest}, not {before}. Put the old data back, or start a new run."
            )

    def _begin(self, state: TrainingState, saved: Checkpoint | None, data: Dataset, again: bool) -> None:
        """Bring the records to where the state is, and tell how it came about."""
        writer, self.state, self.between_batches, self.scaling = self.writer, state, True, data.scaling
        if saved is not None:
            again = True
            dropped = writer.rewind(saved.values["metrics"], state.epoch)
            self.control.offset, self.pending_commands = (
                saved.values["commands_read"],
                list(saved.values["pending_commands"]),
            )
        else:
            dropped = writer.rewind({"lines": 0, "bytes": 0}, -1)
            writer.line("event", epoch=0, kind=EventKind.DATA, message=f"{data.name}: {data.source}")
            writer.snapshot(0, take_snapshot(state.network, state.config.importance.percentile, self.ages))
        if not again:
            return
        for command in self.control.poll():  # settings are still wished for; what was to happen at once, has
            if command.action == "set":
                self._set(command, state.epoch)
        for damage in saved.damaged if saved else ():
            self._event(EventKind.CHECKPOINT, f"{damage}; the one before is used")
        where = f"epoch {state.epoch}" if saved else "the start, there being no checkpoint"
        where += f" and {state.done} samples" if state.done else ""
        repeated = f"; epochs {dropped[0]} to {dropped[-1]} are trained again" if dropped else ""
        why = (supervision(self.run.path) or {}).get("note", "")
        self._event(EventKind.RESUMED, f"Resumed from {where}{repeated}{f' ({why})' if why else ''}")

    def _event(self, kind: EventKind, message: str) -> None:
        log.info("%s", message)
        self.writer.line("event", epoch=self.state.epoch, kind=kind, message=message)

    def _checkpoint_is_due(self, item: Progress | EpochRecord) -> bool:
        settings = self.state.config.run
        if self.channel:  # a parallel run goes on from the end of an epoch
            return (
                isinstance(item, EpochRecord)
                and self.state.resumable
                and settings.checkpoint_minutes > 0
                and time.monotonic() - self.saved_at > self.saving_took / SHARE_OF_SAVING
            )
        every = settings.checkpoint_epochs
        if every and isinstance(item, EpochRecord) and item.epoch % every == 0:
            return True
        wait = max(60 * settings.checkpoint_minutes, self.saving_took / SHARE_OF_SAVING)
        return settings.checkpoint_minutes > 0 and time.monotonic() - self.saved_at > wait

    def save(self) -> None:
        """Write a checkpoint; if that fails, say so and keep those there are."""
        state = self.state
        started = time.monotonic()
        values, arrays = pack(state)
        own = {
            "state": values, "metrics": self.writer.position(), "commands_read": self.control.offset,
            "pending_commands": self.pending_commands,
        }  # fmt: skip
        try:
            write_checkpoint(self.run, state.epoch, state.done, self.kind, own, arrays | self.ages.arrays())
            self.disk_full = False
        except OSError as error:
            log.warning("No checkpoint could be written: %s", error)
            if not self.disk_full:
                self.disk_full = True
                with contextlib.suppress(OSError):
                    at = self.run.resumes_from()
                    self._event(
                        EventKind.CHECKPOINT, f"No checkpoint could be written ({error}); that of epoch {at} stays"
                    )
        self.saved_at = time.monotonic()
        self.saving_took = self.saved_at - started

    def end(self, state: str, message: str) -> None:
        """Keep the weights as they are and mark the run as ended."""
        if self.between_batches:
            if self.state.resumable:
                self.save()
            network = dataclasses.replace(self.state.network, scaling=self.scaling)
            save_network(network, self.run.path / "weights.npz")
        log.info("%s: %s", state, message)
        self.writer.end(state, message)

    def _drive(self, training: Iterator[Progress | EpochRecord]) -> Iterator[Progress | EpochRecord]:
        """Advance the training; between two batches, take up commands and wait while paused."""
        for item in training:
            yield item
            self._read_commands(item)
            if self.stepping and isinstance(item, EpochRecord):
                self.stepping, self.paused = False, True
            while self.paused and not self.stopping:
                yield item if isinstance(item, Progress) else Progress(item.epoch + 1, 0, 1, item.train_loss)
                time.sleep(POLL_SECONDS)
                self._read_commands(item)
            if self.stopping:
                return

    def _read_commands(self, item: Progress | EpochRecord) -> None:
        if time.monotonic() - self.polled < POLL_SECONDS:
            return
        self.polled = time.monotonic()
        for command in self.control.poll():
            if command.action == "set":
                self._set(command, item.epoch)
                continue
            self.paused = command.action == "pause"
            self.stepping = command.action == "step"
            self.stopping |= command.action == "stop"
            self._ack(command.id, item.epoch, True, "")

    def _set(self, command: Command, epoch: int) -> None:
        try:
            self.state.pending = changed_config(self.state.pending, command.settings)
        except TsnnError as error:
            self._ack(command.id, epoch, False, str(error))
        else:
            self.pending_commands.append(command.id)

    def _ack(self, command: str, epoch: int, accepted: bool, message: str) -> None:
        self.writer.line("ack", command=command, epoch=epoch, accepted=accepted, message=message)

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
        for command in self.pending_commands:  # settings come into force between epochs, so all that were sent are now
            self._ack(command, record.epoch, True, "")
        self.pending_commands = []
        self.writer.update(
            epoch=record.epoch, samples=0, test_loss=record.test_loss, test_accuracy=record.test_accuracy,
            connections=record.connections,
        )  # fmt: skip


def _continued(saved: Config, now: Config) -> Config:
    """Return the settings of a checkpoint, with what may differ when the run goes on: its length, its conduct."""
    run = dataclasses.replace(now.run, micro_batch=saved.run.micro_batch)
    return dataclasses.replace(saved.replace({"training.epochs": now.training.epochs}), run=run)
