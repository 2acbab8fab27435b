"""The server's part of phase 2: every worker trains its own copy of the model, and the copies are averaged at the end.

Section 3.4 of arXiv 2102.01732. The workers report their progress, and occasionally send a copy of their model, from
which the run can be resumed.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tsnn.datasets import Dataset
from tsnn.engine.epochs import evaluate_on_test_part, examine, validate
from tsnn.engine.metrics import layer_record
from tsnn.engine.network import Network
from tsnn.engine.state import TrainingState
from tsnn.engine.workspace import Workspace
from tsnn.parallel.averaging import average, rebuild
from tsnn.parallel.channel import Arrays, Message, MessageKind
from tsnn.records import EpochRecord, Event, EventKind, Progress

COPY_SECONDS = 2.0  # between two copies of the workers' models


class Model(NamedTuple):
    """Model of a worker, and the epsilon of its last evolution."""

    network: Network
    applied_epsilon: float


class Position(NamedTuple):
    """Position of a worker in its training: epoch, counted from 1, its samples so far, and their mean loss."""

    epoch: int
    samples: int
    loss: float


def follow_phase2(
    state: TrainingState,
    data: Dataset,
    workspace: Workspace,
    shard_sizes: Mapping[int, int],
    receive: Callable[[], Message | None],
    answer: Callable[[Message, int], None],
) -> Iterator[Progress | EpochRecord]:
    """Follow the workers through phase 2, and replace the network by the average of their models.

    Parameters
    ----------
    state : TrainingState
        At the end of phase 1; advanced.
    data : Dataset
        The average is evaluated on the test and validation parts.
    workspace : Workspace
        Buffers; overwritten.
    shard_sizes : mapping of int to int
        Training samples of each worker, by rank.
    receive : callable
        Returns the next message, or None if there is none for a while.
    answer : callable
        Answers a worker; the number is the epoch after which it sends a copy of its model.

    Yields
    ------
    item : Progress or EpochRecord
        The records are means over the workers; the last one is of the averaged model.
    """
    last = state.config.training.epochs
    state.resumable = False
    copies = _Copies(len(shard_sizes), state.epoch + 1)
    positions = dict.fromkeys(shard_sizes, Position(state.epoch + 1, 0, 0.0))
    records: dict[int, list[EpochRecord]] = {rank: [] for rank in shard_sizes}
    models: dict[int, Model] = {}
    while len(models) < len(shard_sizes):
        message = receive()
        if message is not None:
            rank = message.source
            if message.kind == MessageKind.PROGRESS:
                epoch, samples, loss = message.numbers
                positions[rank] = Position(int(epoch), int(samples), loss)
            elif message.kind == MessageKind.EPOCH:
                record = EpochRecord.from_dict(json.loads(bytes(message.arrays[0])))
                records[rank].append(record)
                positions[rank] = Position(record.epoch + 1, 0, record.train_loss)
                if len(message.arrays) > 1:
                    copies.add(rank, _model(message.arrays[1:], message, state))
            elif message.kind == MessageKind.FINAL:
                models[rank] = _model(message.arrays, message, state)
            answer(message, copies.next_epoch(max(position.epoch for position in positions.values())))
        yield _progress(positions, shard_sizes, last)
        while all(pending and pending[0].epoch < last for pending in records.values()):
            record = _merge_records([pending.pop(0) for pending in records.values()], shard_sizes, state)
            state.resumable = copies.complete and record.epoch == copies.epoch
            if state.resumable:
                state.copies = _load(copies.models, state)
            yield record
    state.network = average(_load(models, state))
    state.copies, state.resumable = [], True
    record = _merge_records([pending.pop(0) for pending in records.values()], shard_sizes, state)
    yield _evaluate_average(record, len(models), state, data, workspace)


class _Copies:
    """Copies of the workers' models after one epoch, from which phase 2 can be resumed."""

    def __init__(self, count: int, epoch: int):
        self.count, self.epoch = count, epoch
        self.models: dict[int, Model] = {}
        self._last_added = time.monotonic()

    @property
    def complete(self) -> bool:
        """Whether every worker has sent its copy."""
        return len(self.models) == self.count

    def add(self, rank: int, model: Model) -> None:
        """Add the copy of a worker."""
        self.models[rank] = model
        self._last_added = time.monotonic()

    def next_epoch(self, furthest: int) -> int:
        """Return the epoch after which workers send copies; ``furthest`` is the latest epoch that one has started."""
        if self.complete and furthest > self.epoch + 1 and time.monotonic() - self._last_added > COPY_SECONDS:
            self.epoch, self.models = furthest + 1, {}
        return self.epoch


def _model(arrays: Arrays, message: Message, state: TrainingState) -> Model:
    """Return the model of a message, from its arrays and a copy of its values."""
    applied_epsilon, *topology = arrays
    weights, velocity = np.split(message.values.copy(), 2)
    return Model(rebuild(topology, state.config, weights, velocity), float(applied_epsilon[0]))


def _load(models: Mapping[int, Model], state: TrainingState) -> list[Network]:
    """Return the networks in the order of the ranks; the state's applied epsilon is the wanted one if all have it."""
    wanted = state.pending.network.epsilon
    state.applied_epsilon = next((m.applied_epsilon for m in models.values() if m.applied_epsilon != wanted), wanted)
    return [models[rank].network for rank in sorted(models)]


def _progress(positions: Mapping[int, Position], shard_sizes: Mapping[int, int], last: int) -> Progress:
    """Return the progress of all workers in the epoch of the slowest one."""
    epoch = min(position.epoch for position in positions.values())
    done = sum(shard_sizes[rank] if at.epoch > epoch else at.samples for rank, at in positions.items())
    total = sum(shard_sizes.values())
    loss = float(np.mean([position.loss for position in positions.values()]))
    return Progress(min(epoch, last), total if epoch > last else done, total, loss)


def _merge_records(records: Sequence[EpochRecord], shard_sizes: Mapping[int, int], state: TrainingState) -> EpochRecord:
    """Merge the workers' records of an epoch: means over the samples, seconds of the slowest worker."""
    first, weights = records[0], list(shard_sizes.values())
    state.config, state.epoch = state.pending, first.epoch
    events, state.events = (*state.events, *first.events), []

    def mean(name: str) -> Any:
        values = [getattr(record, name) for record in records]
        return None if None in values else float(np.average(values, weights=weights))

    means = [f"{part}_{name}" for part in ("train", "test", "validation") for name in ("loss", "accuracy", "r2")]
    slowest = ("seconds_train", "seconds_evolve", "seconds_evaluate")
    return dataclasses.replace(
        first,
        **{name: mean(name) for name in means},
        **{name: max(getattr(record, name) for record in records) for name in slowest},
        samples=first.epoch * sum(weights),
        memory_bytes=sum(record.memory_bytes for record in records),
        events=events,
        workers=tuple(worker for record in records for worker in record.workers),
    )


def _evaluate_average(
    record: EpochRecord, models: int, state: TrainingState, data: Dataset, workspace: Workspace
) -> EpochRecord:
    """Return the last record with the results of the averaged model."""
    network = state.network
    test = evaluate_on_test_part(state, network, data, workspace, f"epoch {record.epoch}, averaging")
    seconds = examine(state, network, record.epoch, workspace)
    validation = validate(network, data, workspace)
    metric = "loss" if test.accuracy is None else "accuracy"
    before, after = getattr(record, f"test_{metric}"), getattr(test, metric)
    text = f"Averaged the models of {models} workers: test {metric} {before:.4g} before, {after:.4g} after"
    layers = range(len(network.layers))
    return dataclasses.replace(
        record,
        **{f"test_{name}": value for name, value in test._asdict().items()},
        **{f"validation_{name}": value for name, value in validation._asdict().items()},
        connections=network.connections,
        seconds_examine=seconds,
        layers=tuple(layer_record(network, l, network.layers[l].topology.connections, 0) for l in layers),
        events=(*record.events, Event(record.epoch, EventKind.AVERAGED, text)),
    )
