"""Answers of the server to its workers: weights, models, live settings, idle times."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tsnn.config import LIVE_SETTINGS, Config, LiveValue, describe
from tsnn.engine.state import TrainingState
from tsnn.kernels.wire import AnswerHead
from tsnn.parallel.averaging import describe_topology, flatten
from tsnn.parallel.channel import Arrays, Channel, MessageKind
from tsnn.parallel.shared_model import SharedModel


class Answers:
    """Sender of the server's answers.

    Parameters
    ----------
    channel : Channel
        The server's end.
    state : TrainingState
        The server's state.
    model : SharedModel
        The model of phase 1.
    last_phase1_epoch : int
        After this epoch workers start phase 2.

    Attributes
    ----------
    topology_version_of : dict of int to int
        Topology version that each worker has, by rank; -1 before its first model.
    idle_seconds : float64[K]
        Waiting time of each worker that is not part of an exchange; reported with its next answer, then 0.
    unanswered, stopped : set of int
        Workers that wait for an answer, and workers that were stopped.
    copy_epoch : int
        Phase 2: after this epoch a worker sends a copy of its model.
    """

    def __init__(self, channel: Channel, state: TrainingState, model: SharedModel, last_phase1_epoch: int):
        self.channel, self.state, self.model = channel, state, model
        self.last_phase1_epoch = last_phase1_epoch
        self.topology_version_of = dict.fromkeys(range(1, channel.workers + 1), -1)
        self.idle_seconds = np.zeros(channel.workers)
        self.unanswered: set[int] = set()
        self.stopped: set[int] = set()
        self.copy_epoch = max(state.epoch, last_phase1_epoch) + 1
        self._live = state.config, 1.0, live_values(state.config, 1.0)  # the last settings sent, and their rate factor

    def answer(self, ranks: Iterable[int]) -> None:
        """Answer workers according to the epoch: weights in phase 1, a model to start phase 2, or stop."""
        for rank in ranks:
            if self.state.epoch >= self.state.config.training.epochs:
                self.stop(rank)
            elif self.state.epoch >= self.last_phase1_epoch:
                self._start_phase2(rank)
            else:
                self._send_weights(rank)

    def continue_phase2(self, rank: int) -> None:
        """Let a worker of phase 2 continue."""
        self._send_phase2(rank, MessageKind.CONTINUE)

    def stop(self, rank: int) -> None:
        """End a worker."""
        self.channel.send(rank, MessageKind.STOP)
        self.unanswered.discard(rank)
        self.stopped.add(rank)

    def phase1_numbers(self, idle_seconds: float = 0.0) -> list[float]:
        """Return the numbers of an answer in phase 1, with the current settings."""
        factor = self.model.rate_factor if self.state.config.parallel.mode == "local" else 1.0
        head = AnswerHead(self.model.version, self.model.updates, idle_seconds, self.state.epoch)
        return [*head, *self._live_values(self.state.config, factor)]

    def _send_weights(self, rank: int) -> None:
        """Send the weights, with the topology if the worker has another version; with velocities in ``local`` mode."""
        model, n = self.model, len(self.model.weights)
        size = 2 * n if self.state.config.parallel.mode == "local" else n
        box = self.channel.outbox(rank, size)
        box[:n] = model.weights
        box[n:] = model.velocity[: size - n]
        new = self.topology_version_of[rank] != model.version
        kind, arrays = (MessageKind.MODEL, describe_topology(self.state.network)) if new else (MessageKind.WEIGHTS, [])
        self._send(rank, kind, self.phase1_numbers(self._take_idle_seconds(rank)), arrays, size)
        self.topology_version_of[rank] = model.version

    def _start_phase2(self, rank: int) -> None:
        """Send a worker its model of phase 2: the shared one, or the copy that it is resumed from."""
        state, model = self.state, self.model
        network, weights, velocity = state.network, model.weights, model.velocity
        if state.copies:
            network = state.copies[(rank - 1) % len(state.copies)]
            weights, velocity = flatten(network)
        n = len(weights)
        box = self.channel.outbox(rank, 2 * n)
        box[:n] = weights
        box[n:] = velocity
        if not state.copies:  # workers of phase 2 train with the rate of one process
            box[n:] /= np.float32(model.rate_factor)
        arrays = [np.array([state.applied_epsilon]), *describe_topology(network)]
        self._send_phase2(rank, MessageKind.PHASE2, arrays, 2 * n)
        self.topology_version_of[rank] = model.version

    def _send_phase2(self, rank: int, kind: MessageKind, arrays: Arrays = (), values: int = 0) -> None:
        """Answer in phase 2, with the pending settings: each worker applies them at the end of its own epoch."""
        head = AnswerHead(self.model.version, self.copy_epoch, self._take_idle_seconds(rank), self.state.epoch)
        self._send(rank, kind, [*head, *self._live_values(self.state.pending, 1.0)], arrays, values)

    def _send(self, rank: int, kind: MessageKind, numbers: list[float], arrays: Arrays, values: int) -> None:
        self.channel.send(rank, kind, numbers, arrays=arrays, values=values)
        self.unanswered.discard(rank)

    def _take_idle_seconds(self, rank: int) -> float:
        idle = float(self.idle_seconds[rank - 1])
        self.idle_seconds[rank - 1] = 0.0
        return idle

    def _live_values(self, config: Config, factor: float) -> list[float]:
        """Return :func:`live_values`, computed only when they change: once per gradient would be slow."""
        if config is not self._live[0] or factor != self._live[1]:
            self._live = config, factor, live_values(config, factor)
        return self._live[2]


def live_values(config: Config, factor: float) -> list[float]:
    """Return the live settings in the order of :data:`~tsnn.config.LIVE_SETTINGS`, the learning rate times a factor.

    A choice is its position among the choices.
    """
    flat = config.flat()
    flat["training.learning_rate"] *= factor
    return [_number(name, flat[name]) for name in LIVE_SETTINGS.values()]


def with_live_values(config: Config, values: Iterable[float]) -> Config:
    """Return the configuration with the values of :func:`live_values`."""
    named = zip(LIVE_SETTINGS.values(), values, strict=True)
    return config.replace({name: _value(name, value) for name, value in named})


def _number(name: str, value: LiveValue) -> float:
    return float(tuple(describe(name).choices).index(value) if isinstance(value, str) else value)


def _value(name: str, number: float) -> LiveValue:
    choices = tuple(describe(name).choices)
    return choices[int(number)] if choices else number
