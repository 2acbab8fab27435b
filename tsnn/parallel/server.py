"""The server: owns the model, applies what the workers send, evolves the topology, yields records.

Sections refer to arXiv 2102.01732 (section 3.4: WASAP-SGD and WASSP-SGD).
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from tsnn import kernels
from tsnn.config import Config
from tsnn.datasets import Dataset
from tsnn.engine.epochs import begin_epoch, check_finite, end_epoch
from tsnn.engine.state import TrainingState
from tsnn.engine.training import make_workspace, warm_up
from tsnn.errors import ConfigError, WorkerError
from tsnn.parallel.averaging import average, describe_topology, flatten
from tsnn.parallel.channel import Arrays, Channel, Message, Service
from tsnn.parallel.phase2 import follow_phase2
from tsnn.parallel.shared_model import SharedModel
from tsnn.parallel.worker_stats import WorkerStatistics, live_numbers, oversubscription_events
from tsnn.records import EpochRecord, Progress

POLL_SECONDS = 0.2  # how often a consumer gets a say while no worker does
EXCHANGE_SECONDS, MOST_UPDATES = 0.1, 256  # how often it does while the channel answers
GRADIENT_NUMBERS = 9  # see tsnn.parallel.worker
GOODBYE_SECONDS = 2.0

log = logging.getLogger(__name__)


def serve(channel: Channel, state: TrainingState, data: Dataset) -> Iterator[Progress | EpochRecord]:
    """Let the workers at the other end of a channel train a network; the parallel :func:`tsnn.engine.training.steps`.

    While the generator is not advanced, the workers wait. When it ends or is closed, they are told to stop.

    Parameters
    ----------
    channel : Channel
        The server's end.
    state : TrainingState
        Where to start. In phase 2 it is whole only now and then, with copies of the workers' models in it.
    data : Dataset
        The whole data set: the test part is evaluated here in phase 1.

    Yields
    ------
    item : Progress or EpochRecord
        A progress per update, with the worker and the staleness of its gradient: these say, in order, how the
        weights came about. A record per epoch, with a :class:`~tsnn.records.WorkerRecord` per worker.

    Raises
    ------
    WorkerError
        If a worker failed; the message is the worker's.
    DivergenceError
        If the loss is no longer finite.
    """
    server = _Server(channel, state, data)  # compiles what is not yet; the workers wait for that in the next line
    channel.share_memory((2 if server.mode == "local" else 1) * len(server.model.weights))
    state.events += oversubscription_events(channel.neighbours, state.epoch, state.config)
    try:
        yield from server.train_together()
        if state.epoch < state.config.training.epochs:
            yield from follow_phase2(
                state, data, server.workspace, server.shares, server.receive_phase2, server.answer_phase2
            )
    finally:
        server.dismiss()


class _Server:
    """The model and what is known of the workers; methods in the order in which they come to work."""

    def __init__(self, channel: Channel, state: TrainingState, data: Dataset):
        config = state.config
        self.channel, self.state, self.data = channel, state, data
        self.mode, self.n = config.parallel.mode, len(data.x_train)
        self.ranks = range(1, channel.workers + 1)
        self.shares = {rank: len(range(rank - 1, self.n, channel.workers)) for rank in self.ranks}
        if min(self.shares.values()) == 0:
            raise ConfigError(f"{channel.workers} workers cannot share {self.n} samples. Try fewer parallel.workers.")
        if config.training.method == "two_phase" and config.parallel.phase1_fraction < 0.5:
            raise ConfigError(
                "With training.method=two_phase the workers must train one model until it is pruned, after half of "
                f"the epochs, but parallel.phase1_fraction is {config.parallel.phase1_fraction}. Try 0.5 or more."
            )
        batches = [-(-samples // config.training.batch_size) for samples in self.shares.values()]
        self.per_epoch = sum(batches) if self.mode == "wasap" else max(batches)
        if self.mode == "local":
            self.per_epoch = -(-self.per_epoch // config.parallel.period)
        self.last_shared = round(config.parallel.phase1_fraction * config.training.epochs)
        kernels.set_threads(config.run.threads)
        self.workspace = make_workspace(state, data)
        warm_up(state, data, self.workspace)
        if state.copies and state.epoch < self.last_shared:  # the run is to have more epochs than it once was
            connections = [layer.topology.connections for layer in state.network.layers]
            state.network = average(iter(state.copies), len(state.copies), connections)
            state.copies = []
        self.told = config, 1.0, live_numbers(config, 1.0)  # settings as they are sent, with a factor for the rate
        self.wanted = max(state.epoch, self.last_shared) + 1  # after this epoch of phase 2 a worker hands in its model
        self.begun, self.count, self.samples = False, 0, 0  # the epoch, its updates and samples
        self.model, self.update = SharedModel(state.network, self.rate_factor()), 0
        self.held = dict.fromkeys(self.ranks, -1)  # version of the topology that each worker has
        self.round: dict[int, Message] = {}  # what waits for the other workers'
        self.arrived: dict[int, float] = {}
        self.waited: dict[int, float] = {}
        self.owed = np.zeros(channel.workers)  # seconds that each had to wait for something else than its exchange
        self.statistics = {rank: WorkerStatistics(rank) for rank in self.ranks}
        self.waiting: set[int] = set()  # for an answer
        self.stopped: set[int] = set()

    def train_together(self) -> Iterator[Progress | EpochRecord]:
        """Phase 1: one model, the workers' gradients."""
        state, resumed = self.state, time.perf_counter()
        while state.epoch < self.last_shared:
            if not self.begun:
                self.begun, state.resumable = True, False
                begin_epoch(state, self.data, self.workspace)
            made, answered = self.exchange(), []
            if not made:
                message = self.receive()
                answered = self.take(message) if message else []
                alone = answered[0] if len(answered) == 1 else 0
                made = [self.updated(alone, message.numbers[1]) if message and answered else self.progress()]
            last = self.count == self.per_epoch
            now = time.perf_counter()
            state.seconds += now - resumed
            self.answer(() if last else answered)
            yield from made
            if last:
                record = self.end_epoch()
                self.owed += time.perf_counter() - now
                now = time.perf_counter()
                self.answer(answered)
                yield record
            resumed = time.perf_counter()
            if last or resumed - now > POLL_SECONDS:
                self.owed += resumed - now

    def exchange(self) -> list[Progress]:
        """Let the channel take gradients and answer them, as :meth:`take` and :meth:`answer` do one by one."""
        if self.mode == "local" or self.round or not self.channel.can_answer(len(self.model.weights)):
            return []
        state, model, training = self.state, self.model, self.state.config.training
        together = 1 if self.mode == "wasap" else len(self.ranks)
        most = min(self.per_epoch - 1 - self.count, MOST_UPDATES)  # the epoch's last is answered after its end
        factors = [self.rate_factor(ahead) for ahead in range(most)]
        answer = [model.version, self.update, 0.0, state.epoch, *self.live_numbers(state.config, 1.0)]
        service = Service(
            model.version, GRADIENT_NUMBERS, together, model.rates(factors, training), training.weight_decay,
            model.weights, model.velocity, answer, self.owed,
        )  # fmt: skip
        made: list[Progress] = []
        for k, (rank, *numbers) in enumerate(self.channel.answer_gradients(service, EXCHANGE_SECONDS).tolist()):
            self.note(int(rank), numbers, 1.0)
            if (k + 1) % together == 0:
                model.factor = factors[len(made)]
                made.append(self.updated(int(rank) if together == 1 else 0, numbers[1]))
        return made

    def updated(self, worker: int, base: float) -> Progress:
        """Count an update by a worker, whose gradient was computed on the weights of update `base`; 0: by several."""
        staleness = self.update - int(base) if worker else 0
        self.update += 1
        self.count += 1
        return self.progress(worker, staleness)

    def progress(self, worker: int = 0, staleness: int = 0) -> Progress:
        """Return where the epoch stands."""
        loss = self.state.loss / max(self.samples, 1)
        return Progress(self.state.epoch + 1, min(self.samples, self.n), self.n, loss, worker, staleness)

    def receive(self) -> Message | None:
        """Return the next message that is not answered as a matter of course."""
        message = self.channel.receive(POLL_SECONDS)
        if message is None:
            return None
        self.waiting.add(message.source)
        if message.kind == "error":
            text, details = (bytes(array).decode() for array in message.arrays)
            if details:
                log.error("Worker %d failed.\n%s", message.source, details)
            raise WorkerError(f"Worker {message.source}: {text}")
        if message.kind == "ready":
            self.answer([message.source])
            return None
        return message

    def take(self, message: Message) -> list[int]:
        """Take what a worker sent, update the model with it, now or with the others'; returns who gets an answer."""
        rank = message.source
        self.note(rank, message.numbers, self.model.left(int(message.numbers[0])))
        self.round[rank], self.arrived[rank] = message, time.perf_counter()
        if self.mode != "wasap" and len(self.round) < len(self.ranks):
            return []
        now = time.perf_counter()
        self.waited = {rank: now - self.arrived[rank] for rank in self.round}
        together = [self.round[rank] for rank in sorted(self.round)]
        self.round = {}
        if self.mode == "local":
            self.model.average(together, self.rate_factor(ahead=1))
        else:
            self.model.step(together, self.state.config.training, self.rate_factor())
        return [message.source for message in together]

    def note(self, rank: int, numbers: Sequence[float], left: float) -> None:
        """Book what a worker has done, and the share of its gradient that still has a place."""
        _, base, samples, loss, n_correct, *seconds, memory = numbers
        check_finite(loss, f"epoch {self.state.epoch + 1}, worker {rank}", self.state.config)
        self.statistics[rank].add(int(samples), self.update - int(base), left, seconds, int(memory))
        self.samples += int(samples)
        self.state.loss += loss
        self.state.n_correct += n_correct

    def rate_factor(self, ahead: int = 0) -> float:
        """Return what the learning rate is multiplied by, now or some updates ahead: see ``parallel.warmup``.

        The mean of K gradients, or of what K workers learned, is one step where one process would have made K.
        """
        warmup = self.state.config.parallel.warmup
        if self.mode == "wasap":
            return 1.0
        epochs = self.state.epoch + (self.count + ahead) / self.per_epoch
        return 1 + (len(self.ranks) - 1) * (min(1.0, epochs / warmup) if warmup else 1.0)

    def end_epoch(self) -> EpochRecord:
        """Evaluate and evolve, and let late gradients find their places in the new topology."""
        state, network = self.state, self.state.network
        state.loss *= self.n / self.samples
        state.n_correct *= self.n / self.samples
        before = [layer.topology for layer in network.layers]
        record = end_epoch(state, self.data, self.workspace)
        state.resumable = True
        self.model.renew(network, before, self.held.values())
        self.begun, self.count, self.samples = False, 0, 0
        workers = tuple(statistics_of_worker.record() for statistics_of_worker in self.statistics.values())
        self.statistics = {rank: WorkerStatistics(rank) for rank in self.ranks}
        return dataclasses.replace(record, workers=workers)

    def answer(self, ranks: Iterable[int]) -> None:
        """Give workers what they need to go on: weights, a model, their own copy, or leave."""
        for rank in ranks:
            if self.state.epoch < self.state.config.training.epochs:
                self.provide(rank)
            else:
                self.stop(rank)

    def provide(self, rank: int) -> None:
        """Send a worker the weights, a model with a new topology, or in phase 2 its own copy."""
        state = self.state
        alone, fresh = state.epoch >= self.last_shared, self.held[rank] != self.model.version
        network, weights, velocity = state.network, self.model.weights, self.model.velocity
        if alone and state.copies:
            network = state.copies[(rank - 1) % len(state.copies)]
            weights, velocity = flatten(network)
        n = len(weights)
        size = 2 * n if alone or self.mode == "local" else n
        box = self.channel.outbox(rank, size)
        box[:n] = weights
        box[n:] = velocity[: size - n]
        if alone and not state.copies:
            box[n:] /= np.float32(self.model.factor)
        arrays = describe_topology(network) if alone or fresh else []
        self.send(rank, "phase2" if alone else "model" if fresh else "values", arrays=arrays, values=size)
        self.held[rank] = self.model.version

    def send(self, rank: int, kind: str, *, arrays: Arrays = (), values: int = 0) -> None:
        """Answer a worker, with the settings in force; in phase 2 with those to come, as it has epochs of its own."""
        together = kind in ("model", "values")
        config = self.state.config if together else self.state.pending
        factor = self.model.factor if together and self.mode == "local" else 1.0
        idle = self.waited.pop(rank, 0.0) + float(self.owed[rank - 1])
        self.owed[rank - 1] = 0.0
        update = self.update if together else self.wanted
        numbers = [self.model.version, update, idle, self.state.epoch, *self.live_numbers(config, factor)]
        self.channel.send(rank, kind, numbers, arrays=arrays, values=values)
        self.waiting.discard(rank)

    def live_numbers(self, config: Config, factor: float) -> list[float]:
        """Return the settings as the workers are told."""
        if config is not self.told[0] or factor != self.told[1]:
            self.told = config, factor, live_numbers(config, factor)
        return self.told[2]

    def receive_phase2(self) -> Message | None:
        """Return the next message of phase 2; gradients that came too late for phase 1 are not used."""
        message = self.receive()
        if message is not None and message.kind == "gradient":
            self.answer([message.source])
            return None
        return message

    def answer_phase2(self, message: Message, wanted: int) -> None:
        """Let a worker go on, or go; ``wanted`` is the epoch after which it shall hand in its model."""
        self.wanted = wanted
        if message.kind == "final":
            self.stop(message.source)
        else:
            self.send(message.source, "go")

    def stop(self, rank: int) -> None:
        """Send a worker home."""
        self.channel.send(rank, "stop")
        self.waiting.discard(rank)
        self.stopped.add(rank)

    def dismiss(self) -> None:
        """Tell every worker to stop when it reports; one that has gone silent is not waited for any longer."""
        deadline = time.monotonic() + GOODBYE_SECONDS
        while True:
            for rank in list(self.waiting):
                self.stop(rank)
            if len(self.stopped) == len(self.ranks) or time.monotonic() > deadline:
                return
            message = self.channel.receive(POLL_SECONDS)
            self.waiting |= {message.source} if message else set()
