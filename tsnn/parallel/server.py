"""The server: owns the model, applies the workers' gradients, evolves the topology, yields records.

Sections refer to arXiv 2102.01732 (section 3.4: WASAP-SGD and WASSP-SGD).
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator

from tsnn import kernels
from tsnn.datasets import Dataset
from tsnn.engine.epochs import begin_epoch, check_finite, end_epoch
from tsnn.engine.schedules import Rates, rates_at
from tsnn.engine.state import TrainingState
from tsnn.engine.training import make_workspace
from tsnn.engine.warmup import compile_evolution, warm_up
from tsnn.errors import WorkerError
from tsnn.kernels.wire import GradientHead
from tsnn.parallel.answers import Answers
from tsnn.parallel.averaging import average
from tsnn.parallel.channel import Channel, Message, MessageKind, Service
from tsnn.parallel.phase2 import follow_phase2
from tsnn.parallel.schedule import Phase1Schedule
from tsnn.parallel.shared_model import SharedModel
from tsnn.parallel.worker_stats import WorkerStatistics, oversubscription_events
from tsnn.records import EpochRecord, Progress

POLL_SECONDS = 0.2  # the longest wait for a message before the generator yields
EXCHANGE_SECONDS, EXCHANGE_UPDATES = 0.1, 256  # limits of one call of Channel.answer_gradients
STOP_SECONDS = 2.0  # how long the server waits for workers that have not been stopped

log = logging.getLogger(__name__)


def serve(channel: Channel, state: TrainingState, data: Dataset) -> Iterator[Progress | EpochRecord]:
    """Train a network with the workers of a channel; the parallel :func:`tsnn.engine.training.steps`.

    The workers wait while the generator is not advanced, and stop when it ends or is closed.

    Parameters
    ----------
    channel : Channel
        The server's end.
    state : TrainingState
        Initial state, advanced in place. In phase 2 it is resumable only occasionally, with copies of the workers'
        models in it.
    data : Dataset
        The whole data set: in phase 1 the server evaluates the test part.

    Yields
    ------
    item : Progress or EpochRecord
        A progress per update, with the worker and the staleness of its gradient: their order determines the weights.
        A record per epoch, with a :class:`~tsnn.records.WorkerRecord` per worker.

    Raises
    ------
    ConfigError
        If the workers are too many for the data, or phase 1 is too short for two-phase training.
    WorkerError
        If a worker failed; the message is the worker's.
    DivergenceError
        If the loss is no longer finite.
    """
    server = _Server(channel, state, data)  # compiles kernels; the workers wait in share_memory
    channel.share_memory((2 if server.schedule.mode == "local" else 1) * len(server.model.weights))
    state.events += oversubscription_events(channel.workers_on_server_host, state.epoch, state.config)
    try:
        yield from server.train_phase1()
        if state.epoch < state.config.training.epochs:
            yield from follow_phase2(
                state, data, server.workspace, server.shard_sizes, server.receive_phase2, server.answer_phase2
            )
    finally:
        server.stop_workers()


class _Server:
    """The server's model, and the progress of the current epoch."""

    def __init__(self, channel: Channel, state: TrainingState, data: Dataset):
        self.channel, self.state, self.data = channel, state, data
        self.n_samples = len(data.x_train)
        self.shard_sizes = {
            rank: len(range(rank - 1, self.n_samples, channel.workers)) for rank in range(1, channel.workers + 1)
        }
        self.schedule = Phase1Schedule.plan(self.shard_sizes.values(), state.config)
        kernels.set_threads(state.config.run.threads)
        state.network.prepare_for_kernels()
        self.workspace = make_workspace(state, data)
        warm_up(data, state.config, self.workspace.width)
        compile_evolution(state.config)
        if state.copies and state.epoch < self.schedule.last_epoch:  # a run in phase 2 got more epochs
            state.network, state.copies = average(state.copies), []
        self.epoch_begun, self.epoch_updates, self.epoch_samples = False, 0, 0
        self.model = SharedModel(state.network, self.schedule.last_rate_factor(state.epoch))
        self.answers = Answers(channel, state, self.model, self.schedule.last_epoch)
        self.round: dict[int, Message] = {}  # gradients of the next update, by rank
        self.arrival: dict[int, float] = {}  # their times
        self.statistics = {rank: WorkerStatistics(rank) for rank in self.shard_sizes}

    def train_phase1(self) -> Iterator[Progress | EpochRecord]:
        """Train one model with the workers' gradients (in ``local`` mode with their models)."""
        state, answers, resumed = self.state, self.answers, time.perf_counter()
        while state.epoch < self.schedule.last_epoch:
            if not self.epoch_begun:
                self.epoch_begun, state.resumable = True, False
                begin_epoch(state, self.data, self.workspace)
            progress = self.exchange()
            ranks: list[int] = []
            if not progress:
                progress, ranks = self.receive_update()
            last = self.epoch_updates == self.schedule.updates_per_epoch
            now = time.perf_counter()
            state.seconds += now - resumed
            answers.answer(() if last else ranks)
            yield from progress
            if last:
                record = self.end_epoch()
                answers.idle_seconds += time.perf_counter() - now
                now = time.perf_counter()
                answers.answer(ranks)
                yield record
            resumed = time.perf_counter()
            if last or resumed - now > POLL_SECONDS:
                answers.idle_seconds += resumed - now

    def exchange(self) -> list[Progress]:
        """Apply and answer gradients in the channel's faster way, if it has one; return the progress of each update.

        Its results equal those of :meth:`receive_update` and :meth:`Answers.answer`. The last update of an epoch is
        left to them, because its answer follows the evolution.
        """
        local = self.schedule.mode == "local"
        if local or self.round or not self.channel.can_answer(len(self.model.weights)):
            return []
        model, rates, per_update = self.model, self.rates(), self.schedule.gradients_per_update
        n_updates = min(self.schedule.updates_per_epoch - 1 - self.epoch_updates, EXCHANGE_UPDATES)
        factors = [self.rate_factor(ahead) for ahead in range(n_updates)]
        service = Service(
            model.version, per_update, model.rates(factors, rates), rates.weight_decay,
            model.weights, model.velocity, self.answers.phase1_numbers(), self.answers.idle_seconds,
        )  # fmt: skip
        applied = self.channel.answer_gradients(service, EXCHANGE_SECONDS)
        progress: list[Progress] = []
        for start in range(0, len(applied), per_update):
            update = applied[start : start + per_update]
            for rank, gradient in sorted(update):
                self.add_statistics(rank, gradient, 1.0)
            rank, gradient = update[-1]
            model.rate_factor = factors[len(progress)]
            progress.append(self.count_update(rank if per_update == 1 else 0, gradient.update))
        return progress

    def receive_update(self) -> tuple[list[Progress], list[int]]:
        """Receive a message; return the progress, and the workers to answer if it completed an update."""
        message = self.receive()
        ranks = self.add_gradient(message) if message else []
        if message is None or not ranks:
            return [self.progress()], []
        return [self.count_update(ranks[0] if len(ranks) == 1 else 0, message.gradient.update)], ranks

    def add_gradient(self, message: Message) -> list[int]:
        """Keep a gradient until its update is complete, then apply that; return the workers to answer.

        Losses are summed in the order of the ranks: in synchronous modes they are the same bits in each run.
        """
        self.round[message.source], self.arrival[message.source] = message, time.perf_counter()
        if len(self.round) < self.schedule.gradients_per_update:
            return []
        now, messages = time.perf_counter(), [self.round[rank] for rank in sorted(self.round)]
        self.round = {}
        for each in messages:
            self.answers.idle_seconds[each.source - 1] += now - self.arrival[each.source]
            self.add_statistics(each.source, each.gradient, self.model.retained_fraction(int(each.gradient.version)))
        if self.schedule.mode == "local":
            self.model.average(messages, self.rate_factor(ahead=1))
        else:
            self.model.step(messages, self.rates(), self.rate_factor())
        return [each.source for each in messages]

    def add_statistics(self, rank: int, gradient: GradientHead, retained_fraction: float) -> None:
        """Add a gradient's numbers to those of the epoch and of its worker."""
        check_finite(gradient.loss, f"epoch {self.state.epoch + 1}, worker {rank}", self.state.config)
        self.statistics[rank].add(gradient, self.model.updates - int(gradient.update), retained_fraction)
        self.epoch_samples += int(gradient.samples)
        self.state.loss += gradient.loss
        self.state.n_correct += gradient.n_correct

    def count_update(self, worker: int, base: float) -> Progress:
        """Count an update, by a worker's gradient on the weights of update `base`; worker 0: by several workers."""
        staleness = self.model.updates - int(base) if worker else 0
        self.model.updates += 1
        self.epoch_updates += 1
        return self.progress(worker, staleness)

    def progress(self, worker: int = 0, staleness: int = 0) -> Progress:
        """Return the progress of the epoch."""
        loss = self.state.loss / max(self.epoch_samples, 1)
        samples = min(self.epoch_samples, self.n_samples)
        return Progress(self.state.epoch + 1, samples, self.n_samples, loss, worker, staleness)

    def rates(self) -> Rates:
        """Return the rates of the epoch: those at its middle."""
        return rates_at(self.state.config, self.state.epoch + 0.5)

    def rate_factor(self, ahead: int = 0) -> float:
        """Return the factor of the learning rate, now or some updates ahead."""
        return self.schedule.rate_factor(self.state.epoch, self.epoch_updates + ahead)

    def end_epoch(self) -> EpochRecord:
        """Evaluate and evolve the model; return the record of the epoch."""
        state, network = self.state, self.state.network
        state.loss *= self.n_samples / self.epoch_samples
        state.n_correct *= self.n_samples / self.epoch_samples
        before = [layer.topology for layer in network.layers]
        record = end_epoch(state, self.data, self.workspace)
        state.resumable = True
        self.model.change_topology(network, before, self.answers.topology_version_of.values())
        self.epoch_begun, self.epoch_updates, self.epoch_samples = False, 0, 0
        workers = tuple(statistics.record() for statistics in self.statistics.values())
        self.statistics = {rank: WorkerStatistics(rank) for rank in self.shard_sizes}
        return dataclasses.replace(record, workers=workers)

    def receive(self) -> Message | None:
        """Return the next message that needs more than an immediate answer; None if there is none for a while."""
        message = self.channel.receive(POLL_SECONDS)
        if message is None:
            return None
        self.answers.unanswered.add(message.source)
        if message.kind == MessageKind.ERROR:
            text, details = (bytes(array).decode() for array in message.arrays)
            if details:
                log.error("Worker %d failed.\n%s", message.source, details)
            raise WorkerError(f"Worker {message.source}: {text}")
        if message.kind == MessageKind.READY:
            self.answers.answer([message.source])
            return None
        return message

    def receive_phase2(self) -> Message | None:
        """Return the next message of phase 2; gradients that are too late for phase 1 are not used."""
        message = self.receive()
        if message is not None and message.kind == MessageKind.GRADIENT:
            self.answers.answer([message.source])
            return None
        return message

    def answer_phase2(self, message: Message, copy_epoch: int) -> None:
        """Continue a worker, or stop it after its final model; ``copy_epoch``: when it sends a copy of its model."""
        self.answers.copy_epoch = copy_epoch
        if message.kind == MessageKind.FINAL:
            self.answers.stop(message.source)
        else:
            self.answers.continue_phase2(message.source)

    def stop_workers(self) -> None:
        """Answer every worker's next message with stop, and give up those that stay silent."""
        deadline = time.monotonic() + STOP_SECONDS
        while True:
            for rank in list(self.answers.unanswered):
                self.answers.stop(rank)
            if len(self.answers.stopped) == len(self.shard_sizes) or time.monotonic() > deadline:
                return
            message = self.channel.receive(POLL_SECONDS)
            if message is not None:
                self.answers.unanswered.add(message.source)
