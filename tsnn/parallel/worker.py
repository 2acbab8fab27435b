"""A worker: computes gradients on its shard of the data until the server stops it.

Phase 1: it receives current weights and returns a gradient (in ``local`` mode a trained model). Phase 2: it trains its
own copy of the model and only reports its progress.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
import traceback
from collections.abc import Sequence
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.config import Config
from tsnn.datasets import Dataset, shard
from tsnn.datasets.augmentation import training_features
from tsnn.engine.batches import Batch, batch_gradient, train_batch
from tsnn.engine.network import Network
from tsnn.engine.schedules import rates_at
from tsnn.engine.state import KEYS, TrainingState, random_streams
from tsnn.engine.training import make_workspace, steps
from tsnn.errors import TsnnError
from tsnn.kernels.wire import AnswerHead, GradientHead
from tsnn.parallel.answers import with_live_values
from tsnn.parallel.averaging import describe_topology, flatten, rebuild
from tsnn.parallel.channel import Arrays, Channel, Message, MessageKind
from tsnn.records import EpochRecord, WorkerRecord, json_safe

REPORT_SECONDS = 0.5  # between two progress reports in phase 2
_FIRST_FREE_CHILD = 3  # spawn key of the seed: the children before it belong to other streams


class _StoppedError(Exception):
    """The server has stopped this worker."""


def work(channel: Channel, data: Dataset, config: Config, *, rng: np.random.Generator) -> None:
    """Train for the server of a channel until it stops this worker.

    An exception is reported to the server, which ends the run with its message.

    Parameters
    ----------
    channel : Channel
        The worker's end.
    data : Dataset
        The whole data set; the worker trains on its shard.
    config : Config
        Settings at the start of the run.
    rng : numpy.random.Generator
        The same for all ranks: each derives its own stream from it. Worker 1 draws the numbers of a single process.
    """
    channel.share_memory()
    with contextlib.suppress(_StoppedError):
        try:
            _Worker(channel, shard(data, channel.rank - 1, channel.workers), config, rng).run()
        except _StoppedError:
            raise
        except Exception as error:
            report(channel, error)


def report(channel: Channel, error: Exception) -> None:
    """Report an exception to the server, and wait until it is received."""
    expected = isinstance(error, TsnnError)
    texts = str(error) if expected else f"{type(error).__name__}: {error}", "" if expected else traceback.format_exc()
    channel.send(0, MessageKind.ERROR, arrays=[np.frombuffer(text.encode(), np.uint8) for text in texts])
    channel.receive()


class _Worker:
    def __init__(self, channel: Channel, data: Dataset, config: Config, rng: np.random.Generator):
        self.channel, self.data, self.rng = channel, data, rng
        self.features = training_features(data, config.training)
        self.config = config.replace({"run.threads": max(1, config.run.threads)})  # 0 would be all cores for each
        self.state: TrainingState | None = None
        self.local, self.synchronous = config.parallel.mode == "local", config.parallel.mode != "wasap"
        self.epoch = -1  # finished epochs when the random streams began
        self.head = AnswerHead(0, 0, 0, 0)  # of the last answer
        self.live: list[float] = []  # its live settings
        self.gathered_rows: NDArray[np.int64] | None = None  # the next batch, if it is in the workspace already
        self.seconds_communicate = self.seconds_idle = 0.0  # since the last report
        self.seconds_gather = 0.0  # for the next batch, gathered while the server worked
        self.memory_bytes = 0
        kernels.set_threads(self.config.run.threads)

    def run(self) -> None:
        """Train in phase 1, then in phase 2."""
        answer = self.request(MessageKind.READY)
        while answer.kind in (MessageKind.MODEL, MessageKind.WEIGHTS):
            if answer.kind == MessageKind.MODEL:
                self.load_model(answer)
            answer = self.train_phase1(answer)
        self.train_phase2(answer)

    def request(
        self, kind: MessageKind, numbers: Sequence[float] = (), *, arrays: Arrays = (), values: int = 0
    ) -> Message:
        """Send a message and return the answer, with changed settings applied; measures communication and idle time."""
        started = time.perf_counter()
        self.channel.send(0, kind, numbers, arrays=arrays, values=values)
        overlap = kind == MessageKind.GRADIENT and not self.local
        self.seconds_gather = self.gather_next_batch() if overlap else 0.0
        answer = self.channel.receive()
        waited = time.perf_counter() - started - self.seconds_gather
        assert answer is not None
        if answer.kind == MessageKind.STOP:
            raise _StoppedError
        self.head, live = answer.answer
        idle = min(waited, self.head.idle_seconds)
        self.seconds_communicate += waited - idle
        self.seconds_idle += idle
        if live != self.live:
            self.live = live
            self.config = with_live_values(self.config, live)
        return answer

    def gather_next_batch(self) -> float:
        """Gather the next batch of this pass, which needs no weights; return the seconds that it took."""
        started = time.perf_counter()
        assert self.state is not None
        if self.state.done < len(self.state.order):
            self.gathered_rows = self.next_rows()
            features = self.features(self.state.key)
            features.gather(self.gathered_rows[: self.workspace.width], self.workspace.activations[0])
        return time.perf_counter() - started

    def load_model(self, answer: Message) -> None:
        """Load a model with a new topology: its weights stay in the inbox, its gradient is formed in the outbox."""
        n = len(answer.values)
        outbox = self.channel.outbox(0, n)
        vectors = (outbox[: n // 2], outbox[n // 2 :]) if self.local else (answer.values, outbox)
        self.load_network(rebuild(answer.arrays, self.config, *vectors))

    def load_network(self, network: Network) -> TrainingState:
        """Return the worker's state with this network."""
        if self.state is None:
            self.state = TrainingState.begin(network, self.config, rng=np.random.default_rng(0))  # replaced at once
            self.begin_streams(int(self.head.epoch))
            self.workspace = make_workspace(self.state, self.data)
        self.state.network = network
        self.memory_bytes = psutil.Process().memory_info().rss
        return self.state

    def begin_streams(self, epoch: int) -> None:
        """Begin the worker's own random streams after an epoch, and a pass over its shard.

        Where epochs do not depend on the order of arrival, each has streams of its own: after a restart it is the same.
        """
        state = self.state
        assert state is not None
        if epoch != self.epoch:
            rng, self.epoch = worker_rng(self.rng, self.channel.rank, epoch), epoch
            state.shuffle, evolution, state.key = random_streams(rng)
            state.evolution = evolution.spawn(1)[0]  # the first worker's own is the server's
            state.order, state.done, self.gathered_rows = state.order[:0], 0, None

    def train_phase1(self, answer: Message) -> Message:
        """Compute a gradient on the received weights (in ``local`` mode train on them); send it, return the answer."""
        started = time.perf_counter()
        n = len(answer.values)
        if self.synchronous:
            self.begin_streams(int(self.head.epoch))
        if self.local:
            self.channel.outbox(0, n)[:] = answer.values
        results = [self.train_batch() for _ in range(self.batches_per_gradient())]
        samples, loss, n_correct = np.sum(results, axis=0)
        head = GradientHead(
            self.head.version, self.head.update, samples, loss, n_correct,
            time.perf_counter() - started + self.seconds_gather, self.seconds_communicate, self.seconds_idle,
            self.memory_bytes,
        )  # fmt: skip
        self.seconds_communicate = self.seconds_idle = 0.0
        return self.request(MessageKind.GRADIENT, head, values=n)

    def batches_per_gradient(self) -> int:
        """Return the batches until the next message: one, or in ``local`` mode a period or the rest of the pass."""
        if not self.local:
            return 1
        assert self.state is not None
        left = (len(self.state.order) - self.state.done) or len(self.data.x_train)
        return min(self.config.parallel.period, -(-left // self.config.training.batch_size))

    def next_rows(self) -> NDArray[np.int64]:
        """Return the rows of the next batch."""
        state = self.state
        assert state is not None
        if state.done >= len(state.order):
            state.order, state.done = state.shuffle.permutation(len(self.data.x_train)), 0
        rows = state.order[state.done : state.done + self.config.training.batch_size]
        state.done += len(rows)
        return rows

    def train_batch(self) -> tuple[int, float, float]:
        """Compute the gradient of the next batch (in ``local`` mode train on it); return samples, loss, n_correct."""
        state, gathered = self.state, self.gathered_rows is not None
        assert state is not None
        rows, self.gathered_rows = self.next_rows() if self.gathered_rows is None else self.gathered_rows, None
        key, state.key = state.key, (state.key + len(state.network.layers)) % KEYS
        batch = state.network, self.workspace, Batch.of(self.data, rows, self.features(key))
        rates = rates_at(self.config, self.head.epoch + 0.5)
        if self.local:
            loss, n_correct = train_batch(*batch, rates=rates, key=key)
        else:
            loss, n_correct = batch_gradient(*batch, dropout=rates.dropout, key=key, gathered=gathered)
        return len(rows), loss, n_correct

    def train_phase2(self, answer: Message) -> None:
        """Train an own copy of the model with its own evolution, then send it."""
        weights, velocity = (half.copy() for half in np.split(answer.values, 2))
        # neurons are pruned, and measures of the one model gathered, in phase 1
        self.config = self.config.replace({"importance.percentile": 0, "run.measures": False})
        applied_epsilon, *topology = answer.arrays
        state = self.load_network(rebuild(topology, self.config, weights, velocity))
        state.config = state.pending = self.config
        state.epoch, state.order, state.applied_epsilon = (
            int(self.head.epoch),
            state.order[:0],
            float(applied_epsilon[0]),
        )
        state.evolution_every, state.events = self.channel.workers, []
        self.begin_streams(state.epoch)
        self.seconds_communicate = self.seconds_idle = 0.0
        reported = time.perf_counter()
        for item in steps(state, self.data):
            if isinstance(item, EpochRecord):
                self.report_epoch(item)
                self.begin_streams(item.epoch)
            elif time.perf_counter() - reported > REPORT_SECONDS:
                self.request(MessageKind.PROGRESS, [item.epoch, item.samples, item.loss])
                reported = time.perf_counter()
            state.pending = self.config
        self.send_model(MessageKind.FINAL)

    def report_epoch(self, record: EpochRecord) -> None:
        """Send the record of an epoch of phase 2, and a copy of the model if the server expects one after it."""
        own = WorkerRecord(
            worker=self.channel.rank,
            phase=2,
            batches=-(-len(self.data.x_train) // self.config.training.batch_size),
            samples=len(self.data.x_train),
            seconds_compute=record.seconds_train + record.seconds_evolve + record.seconds_evaluate,
            seconds_communicate=self.seconds_communicate,
            seconds_idle=self.seconds_idle,
            staleness=(),
            retained=1.0,
            memory_bytes=record.memory_bytes,
        )
        self.seconds_communicate = self.seconds_idle = 0.0
        text = json.dumps(json_safe(dataclasses.replace(record, workers=(own,)).to_dict()))
        array = np.frombuffer(text.encode(), np.uint8)
        if record.epoch == self.head.update:  # in phase 2: the epoch of the next copy
            self.send_model(MessageKind.EPOCH, array)
        else:
            self.request(MessageKind.EPOCH, arrays=[array])

    def send_model(self, kind: MessageKind, *arrays: NDArray[Any]) -> None:
        """Send a message with a copy of the model, velocities included."""
        assert self.state is not None
        network, applied_epsilon = self.state.network, np.array([self.state.applied_epsilon])
        values = np.concatenate(flatten(network))
        self.channel.outbox(0, len(values))[:] = values
        self.request(kind, arrays=[*arrays, applied_epsilon, *describe_topology(network)], values=len(values))


def worker_rng(rng: np.random.Generator, rank: int, epoch: int) -> np.random.Generator:
    """Return a worker's random generator: for worker 1 at the start the given one, else one derived from it."""
    if rank == 1 and epoch == 0:
        return rng
    sequence: Any = rng.bit_generator.seed_seq
    key = (*sequence.spawn_key, _FIRST_FREE_CHILD, rank, epoch)
    return np.random.default_rng(np.random.SeedSequence(sequence.entropy, spawn_key=key))
