"""Phase 2, as the server sees it: every worker trains its own copy, at the end they are averaged.

Section 3.4 of arXiv 2102.01732. The workers tell how it goes, and now and then hand in a copy of
their model, so that a run can be resumed.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tsnn.datasets import Dataset
from tsnn.engine.epochs import check_finite, layer_record, validate
from tsnn.engine.metrics import evaluate
from tsnn.engine.network import Network
from tsnn.engine.state import TrainingState
from tsnn.engine.workspace import Workspace
from tsnn.parallel.averaging import average, rebuild
from tsnn.parallel.channel import Arrays, Message
from tsnn.records import EpochRecord, Event, EventKind, Progress

COPY_SECONDS = 2.0  # between two copies of the workers' models in phase 2


def follow_phase2(
    state: TrainingState,
    data: Dataset,
    workspace: Workspace,
    shares: Mapping[int, int],
    receive: Callable[[], Message | None],
    answer: Callable[[Message, int], None],
) -> Iterator[Progress | EpochRecord]:
    """Follow the workers through phase 2, and put the average of their models into the state.

    Parameters
    ----------
    state : TrainingState
        At the end of phase 1; advanced.
    data : Dataset
        The test part judges the average.
    workspace : Workspace
        Buffers; overwritten.
    shares : mapping of int to int
        Training samples of each worker, by rank.
    receive : callable
        Returns the next message, or None if there was none for a while.
    answer : callable
        Answers a worker; the number is the epoch after which it shall hand in a copy of its model.

    Yields
    ------
    item : Progress or EpochRecord
        The records are means over the workers; the last one is that of the averaged model.
    """
    last = state.config.training.epochs
    state.resumable = False
    copies = _Copies(len(shares), state.epoch + 1)
    under_way = dict.fromkeys(shares, (state.epoch + 1, 0, 0.0))  # epoch, samples, mean loss
    records: dict[int, list[EpochRecord]] = {rank: [] for rank in shares}
    models: dict[int, Network] = {}
    while len(models) < len(shares):
        message = receive()
        if message is not None:
            rank = message.source
            if message.kind == "progress":
                epoch, samples, loss = message.numbers
                under_way[rank] = int(epoch), int(samples), loss
            elif message.kind == "epoch":
                record = EpochRecord.from_dict(json.loads(bytes(message.arrays[0])))
                records[rank].append(record)
                under_way[rank] = record.epoch + 1, 0, record.train_loss
                if len(message.arrays) > 1:
                    copies.take(rank, _model(message.arrays[1:], message, state))
            elif message.kind == "final":
                models[rank] = _model(message.arrays, message, state)
            answer(message, copies.wanted_after(max(at for at, _, _ in under_way.values())))
        yield _progress(under_way, shares, last)
        while all(waiting and waiting[0].epoch < last for waiting in records.values()):
            record = _merged([waiting.pop(0) for waiting in records.values()], shares, state)
            state.resumable = copies.complete and record.epoch == copies.epoch
            if state.resumable:
                state.copies = copies.models()
            yield record
    connections = [layer.topology.connections for layer in state.network.layers]
    state.network = average((models[rank] for rank in sorted(models)), len(models), connections)
    state.copies, state.resumable = [], True
    record = _merged([waiting.pop(0) for waiting in records.values()], shares, state)
    yield _judged(record, len(models), state, data, workspace)


class _Copies:
    """The workers' models of one epoch, from which phase 2 can go on should it be interrupted."""

    def __init__(self, count: int, epoch: int):
        self.count, self.epoch = count, epoch
        self._models: dict[int, Network] = {}
        self._completed = time.monotonic()

    @property
    def complete(self) -> bool:
        return len(self._models) == self.count

    def take(self, rank: int, model: Network) -> None:
        self._models[rank] = model
        self._completed = time.monotonic()

    def models(self) -> list[Network]:
        return [self._models[rank] for rank in sorted(self._models)]

    def wanted_after(self, under_way: int) -> int:
        """Return the epoch whose models are wanted; ``under_way`` is the furthest, which it is too late to ask for."""
        if self.complete and under_way > self.epoch + 1 and time.monotonic() - self._completed > COPY_SECONDS:
            self.epoch, self._models = under_way + 1, {}
        return self.epoch


def _model(arrays: Arrays, message: Message, state: TrainingState) -> Network:
    weights, velocity = np.split(message.values.copy(), 2)
    return rebuild(arrays, state.config, weights, velocity)


def _progress(under_way: Mapping[int, tuple[int, int, float]], shares: Mapping[int, int], last: int) -> Progress:
    """Return where the slowest worker's epoch stands, over all workers."""
    epoch = min(at for at, _, _ in under_way.values())
    done = sum(shares[rank] if at > epoch else samples for rank, (at, samples, _) in under_way.items())
    total = sum(shares.values())
    loss = float(np.mean([loss for _, _, loss in under_way.values()]))
    return Progress(min(epoch, last), total if epoch > last else done, total, loss)


def _merged(records: Sequence[EpochRecord], shares: Mapping[int, int], state: TrainingState) -> EpochRecord:
    """Make one record of the workers' records of an epoch: means over the samples, the slowest one's seconds."""
    first, weights = records[0], list(shares.values())
    state.config, state.epoch = state.pending, first.epoch
    events, state.events = (*state.events, *first.events), []

    def mean(name: str) -> Any:
        values = [getattr(record, name) for record in records]
        return None if None in values else float(np.average(values, weights=weights))

    means = ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "validation_loss", "validation_accuracy")
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


def _judged(record: EpochRecord, models: int, state: TrainingState, data: Dataset, workspace: Workspace) -> EpochRecord:
    """Return the last record as that of the averaged model."""
    network = state.network
    loss, accuracy = evaluate(network, data.x_test, data.y_test, data.task, workspace)
    check_finite(loss, f"epoch {record.epoch}, averaging", state.config)
    validation_loss, validation_accuracy = validate(network, data, workspace)
    before, after = (record.test_loss, loss) if accuracy is None else (record.test_accuracy, accuracy)
    what = "loss" if accuracy is None else "accuracy"
    text = f"The models of {models} workers were averaged: test {what} {before:.4g} before, {after:.4g} after"
    layers = range(len(network.layers))
    return dataclasses.replace(
        record,
        test_loss=loss,
        test_accuracy=accuracy,
        validation_loss=validation_loss,
        validation_accuracy=validation_accuracy,
        connections=network.connections,
        layers=tuple(layer_record(network, l, network.layers[l].topology.connections, 0) for l in layers),
        events=(*record.events, Event(record.epoch, EventKind.AVERAGED, text)),
    )
