"""A worker: computes gradients on its share of the data for as long as the server asks for them.

Phase 1: the newest weights come in, a gradient goes out (``local``: a trained model). Phase 2: the worker is on
its own, and only tells how it goes.
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
from tsnn.config import LIVE_SETTINGS, Config
from tsnn.datasets import Dataset, shard
from tsnn.engine.batches import Batch, batch_gradient, train_batch
from tsnn.engine.network import Network
from tsnn.engine.state import KEYS, TrainingState
from tsnn.engine.training import make_workspace, steps
from tsnn.errors import TsnnError
from tsnn.parallel.averaging import describe_topology, flatten, rebuild
from tsnn.parallel.channel import Arrays, Channel, Message
from tsnn.records import EpochRecord, WorkerRecord, json_safe

REPORT_SECONDS = 0.5  # between two reports in phase 2
_OWN = 3  # the first of the seed's children that no one else draws from


class _DismissedError(Exception):
    """The server wants no more."""


def work(channel: Channel, data: Dataset, config: Config, *, rng: np.random.Generator) -> None:
    """Work for the server at the other end of a channel until it says stop.

    What goes wrong is told to the server, which ends the run with that message.

    Parameters
    ----------
    channel : Channel
        The worker's end.
    data : Dataset
        The whole data set; the worker trains on its share.
    config : Config
        Settings at the start of the run.
    rng : numpy.random.Generator
        The same for all ranks: each draws a stream of its own from it. Worker 1 draws what one process would.
    """
    channel.share_memory()
    with contextlib.suppress(_DismissedError):
        try:
            _Worker(channel, shard(data, channel.rank - 1, channel.workers), config, rng).run()
        except _DismissedError:
            raise
        except Exception as error:
            report(channel, error)


def report(channel: Channel, error: Exception) -> None:
    """Tell the server what went wrong, and wait until it has heard."""
    expected = isinstance(error, TsnnError)
    texts = str(error) if expected else f"{type(error).__name__}: {error}", "" if expected else traceback.format_exc()
    channel.send(0, "error", arrays=[np.frombuffer(text.encode(), np.uint8) for text in texts])
    channel.receive()


class _Worker:
    def __init__(self, channel: Channel, data: Dataset, config: Config, rng: np.random.Generator):
        self.channel, self.data, self.rng = channel, data, rng
        self.config = config.replace({"run.threads": max(1, config.run.threads)})  # 0 would be all cores for each
        self.state: TrainingState | None = None
        self.local = config.parallel.mode == "local"
        self.live: list[float] = []
        self.version = self.update = self.epoch = 0.0
        self.chosen: NDArray[np.int64] | None = None  # the next batch, if it has been gathered already
        self.spent = [0.0, 0.0]  # seconds since the last report: communicating, idle
        self.prepared = 0.0  # seconds in which the next batch was gathered while the server worked
        self.memory = 0
        kernels.set_threads(self.config.run.threads)

    def run(self) -> None:
        reply = self.ask("ready")
        while reply.kind in ("model", "values"):
            if reply.kind == "model":
                self.take_model(reply)
            reply = self.train(reply)
        self.train_phase2(reply)

    def ask(self, kind: str, numbers: Sequence[float] = (), *, arrays: Arrays = (), values: int = 0) -> Message:
        """Send a message, wait for the answer, take up changed settings; notes the time that this takes."""
        started = time.perf_counter()
        self.channel.send(0, kind, numbers, arrays=arrays, values=values)
        self.prepared = self.prepare() if kind == "gradient" and not self.local else 0.0
        reply = self.channel.receive()
        waited = time.perf_counter() - started - self.prepared
        assert reply is not None
        if reply.kind == "stop":
            raise _DismissedError
        self.version, self.update, idle, self.epoch, *live = reply.numbers
        idle = min(waited, idle)
        self.spent[0] += waited - idle
        self.spent[1] += idle
        if live != self.live:
            self.live = live
            self.config = self.config.replace(dict(zip(LIVE_SETTINGS.values(), live, strict=True)))
        return reply

    def prepare(self) -> float:
        """Take the next batch of this pass, which needs no weights; returns the seconds that it took."""
        started = time.perf_counter()
        assert self.state is not None
        if self.state.done < len(self.state.order):
            self.chosen = self.choose()
            self.data.x_train.gather(self.chosen[: self.workspace.width], self.workspace.activations[0])
        return time.perf_counter() - started

    def take_model(self, reply: Message) -> None:
        """Take up a topology. A gradient is formed in the outbox itself, the weights stay where they come in."""
        n = len(reply.values)
        own = self.channel.outbox(0, n)
        vectors = (own[: n // 2], own[n // 2 :]) if self.local else (reply.values, own)
        self.begin(rebuild(reply.arrays, self.config, *vectors))

    def begin(self, network: Network) -> TrainingState:
        """Return the worker's state. Its streams of random numbers are its own, and others after a restart."""
        if self.state is None:
            rng = _stream(self.rng, self.channel.rank, int(self.epoch))
            self.state = TrainingState.begin(network, self.config, rng=rng)
            self.state.evolution = self.state.evolution.spawn(1)[0]  # the first worker's own is the server's
            self.workspace = make_workspace(self.state, self.data)
        self.state.network = network
        self.memory = psutil.Process().memory_info().rss
        return self.state

    def train(self, reply: Message) -> Message:
        """Compute a gradient on the weights that came, or train on them for a while (``local``); hand over the result.

        The message says on which version and update of the model, on how many samples, with what loss and n_correct
        answers, and where the time went since the last one.
        """
        started = time.perf_counter()
        n = len(reply.values)
        if self.local:
            self.channel.outbox(0, n)[:] = reply.values
        results = np.sum([self.train_batch() for _ in range(self.batches_to_go())], axis=0)
        computing = time.perf_counter() - started + self.prepared
        numbers = [self.version, self.update, *results, computing, *self.spent, self.memory]
        self.spent = [0.0, 0.0]
        return self.ask("gradient", numbers, values=n)

    def batches_to_go(self) -> int:
        """Return after how many batches the result is wanted: one, or (``local``) a period, or what a pass has left."""
        if not self.local:
            return 1
        assert self.state is not None
        left = (len(self.state.order) - self.state.done) or len(self.data.x_train)
        return min(self.config.parallel.period, -(-left // self.config.training.batch_size))

    def choose(self) -> NDArray[np.int64]:
        """Return the rows of the next batch."""
        state = self.state
        assert state is not None
        if state.done >= len(state.order):
            state.order, state.done = state.shuffle.permutation(len(self.data.x_train)), 0
        chosen = state.order[state.done : state.done + self.config.training.batch_size]
        state.done += len(chosen)
        return chosen

    def train_batch(self) -> tuple[int, float, float]:
        """Train on the next batch (``local``), or compute its gradient; returns samples, loss and right answers."""
        state, training, gathered = self.state, self.config.training, self.chosen is not None
        assert state is not None
        chosen, self.chosen = self.choose() if self.chosen is None else self.chosen, None
        key, state.key = state.key, (state.key + len(state.network.layers)) % KEYS
        batch = state.network, self.workspace, Batch.of(self.data, chosen)
        dropout = self.config.network.dropout
        if self.local:
            loss, n_correct = train_batch(*batch, config=training, dropout=dropout, key=key)
        else:
            loss, n_correct = batch_gradient(*batch, dropout=dropout, key=key, gathered=gathered)
        return len(chosen), loss, n_correct

    def train_phase2(self, reply: Message) -> None:
        """Phase 2: train an own copy with its own evolution, then hand it over."""
        weights, velocity = (half.copy() for half in np.split(reply.values, 2))
        self.config = self.config.replace({"importance.percentile": 0})  # neurons are pruned in phase 1
        network = rebuild(reply.arrays, self.config, weights, velocity)
        state = self.begin(network)
        state.config = state.pending = self.config
        state.epoch, state.order, state.applied_epsilon = int(self.epoch), state.order[:0], self.config.network.epsilon
        state.evolution_every, state.events, self.spent = self.channel.workers, [], [0.0, 0.0]
        reported = time.perf_counter()
        for item in steps(state, self.data):
            if isinstance(item, EpochRecord):
                self.tell(item)
            elif time.perf_counter() - reported > REPORT_SECONDS:
                self.ask("progress", [item.epoch, item.samples, item.loss])
                reported = time.perf_counter()
            state.pending = self.config
        self.hand_in("final")

    def tell(self, record: EpochRecord) -> None:
        """Report an epoch of phase 2."""
        batches = -(-len(self.data.x_train) // self.config.training.batch_size)
        computing = record.seconds_train + record.seconds_evolve + record.seconds_evaluate
        own = WorkerRecord(
            worker=self.channel.rank, phase=2, batches=batches, samples=len(self.data.x_train),
            seconds_compute=computing, seconds_communicate=self.spent[0], seconds_idle=self.spent[1],
            staleness=(), retained=1.0, memory_bytes=record.memory_bytes,
        )  # fmt: skip
        self.spent = [0.0, 0.0]
        text = json.dumps(json_safe(dataclasses.replace(record, workers=(own,)).to_dict()))
        about = np.frombuffer(text.encode(), np.uint8)
        if record.epoch == self.update:  # in phase 2: after which epoch the server wants a copy
            self.hand_in("epoch", about)
        else:
            self.ask("epoch", arrays=[about])

    def hand_in(self, kind: str, *arrays: NDArray[Any]) -> None:
        """Send the server a message and a copy of the model, velocities too."""
        assert self.state is not None
        network = self.state.network
        values = np.concatenate(flatten(network))
        self.channel.outbox(0, len(values))[:] = values
        self.ask(kind, arrays=[*arrays, *describe_topology(network)], values=len(values))


def _stream(rng: np.random.Generator, rank: int, epoch: int) -> np.random.Generator:
    """Return a worker's source of randomness: for worker 1 at the start the given one, else one derived from it."""
    if rank == 1 and epoch == 0:
        return rng
    sequence: Any = rng.bit_generator.seed_seq
    key = (*sequence.spawn_key, _OWN, rank, epoch)
    return np.random.default_rng(np.random.SeedSequence(sequence.entropy, spawn_key=key))
