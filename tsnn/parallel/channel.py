"""Channels between a server and its workers: small messages, and one vector of values in each direction.

Rank 0 is the server, ranks 1 to K are the workers. A worker sends a message and waits for the answer; the server
answers each message once. So a vector in an outbox stays unchanged until the other side has used it.

The numbers of gradients and answers, and their positions in a message, are defined in :mod:`tsnn.kernels.wire`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tsnn.kernels.wire import AnswerHead, GradientHead

Float32 = NDArray[np.float32]
Arrays = Sequence[NDArray[Any]]


class MessageKind(StrEnum):
    """Kind of a :class:`Message`; its position here is its code on the wire."""

    # from a worker
    READY = "ready"  #: the worker asks for its first model
    GRADIENT = "gradient"  #: a gradient, or a trained model if ``parallel.mode`` is ``local``; numbers: GradientHead
    PROGRESS = "progress"  #: phase 2; numbers: epoch, samples, mean loss
    EPOCH = "epoch"  #: phase 2; arrays: the record as JSON, and those of FINAL if a copy of the model comes with it
    FINAL = "final"  #: end of phase 2; arrays: the applied epsilon, the topology; values: the model
    ERROR = "error"  #: arrays: message, traceback
    # from the server; numbers: AnswerHead and the live settings
    MODEL = "model"  #: arrays: a new topology; values: its weights
    WEIGHTS = "weights"  #: values: current weights, same topology
    PHASE2 = "phase2"  #: start of phase 2; arrays: the applied epsilon, the topology; values: the model
    CONTINUE = "continue"  #: phase 2: continue training
    STOP = "stop"  #: the worker ends; no numbers


KINDS = tuple(MessageKind)


@dataclass(frozen=True, eq=False)
class Message:
    """A received message.

    Attributes
    ----------
    source : int
        Rank of the sender.
    kind : MessageKind
        Determines the meaning of the numbers.
    numbers : tuple of float
        A few numbers; see :mod:`tsnn.kernels.wire`.
    arrays : sequence of one-dimensional arrays
        Rare contents: topologies, texts.
    values : float32[n]
        The sender's outbox; belongs to the channel, valid until the message is answered.
    """

    source: int
    kind: MessageKind
    numbers: tuple[float, ...]
    arrays: Arrays
    values: Float32

    @property
    def gradient(self) -> GradientHead:
        """Numbers of a gradient."""
        return GradientHead(*self.numbers)

    @property
    def answer(self) -> tuple[AnswerHead, list[float]]:
        """Numbers of an answer, and the live settings after them."""
        n = len(AnswerHead._fields)
        return AnswerHead(*self.numbers[:n]), list(self.numbers[n:])


class Service(NamedTuple):
    """Inputs of :meth:`Channel.answer_gradients`: momentum SGD, and the answers.

    Attributes
    ----------
    version : int
        Topology version that the gradients must have.
    gradients_per_update : int
        1, or the number of workers: an update applies the mean, weighted by samples.
    rates : float64[u, 2]
        Momentum and learning rate of the next updates, at most u.
    weight_decay : float
        See :func:`tsnn.kernels.momentum_step`.
    weights, velocity : float32[n]
        The model, updated in place.
    answer : sequence of float
        Numbers of the last answer: an :class:`AnswerHead` and the live settings.
    idle_seconds : float64[K]
        Idle time that the next answer to each worker reports, without waiting for other workers; updated in place.
    """

    version: int
    gradients_per_update: int
    rates: NDArray[np.float64]
    weight_decay: float
    weights: Float32
    velocity: Float32
    answer: Sequence[float]
    idle_seconds: NDArray[np.float64]


class Channel(Protocol):
    """One rank's end of the connection between a server and its workers."""

    rank: int
    workers: int
    workers_on_server_host: int

    def share_memory(self, capacity: int = 0) -> None:
        """Prepare for vectors of ``capacity`` values, given by the server; all ranks call this before they send."""

    def outbox(self, to: int, n: int) -> Float32:
        """Return float32[n], whose values the next messages to this rank may carry.

        The same memory every time, unless ``n`` has grown beyond its previous maximum.
        """

    def send(
        self, to: int, kind: MessageKind, numbers: Sequence[float] = (), *, arrays: Arrays = (), values: int = 0
    ) -> None:
        """Send a message, and with it the first ``values`` values of the outbox; does not wait for the receiver."""

    def receive(self, seconds: float | None = None) -> Message | None:
        """Return the next message from any rank; None if there is none within this time."""

    def can_answer(self, values: int) -> bool:
        """Return whether :meth:`answer_gradients` can currently serve vectors of this length."""

    def answer_gradients(self, service: Service, seconds: float) -> list[tuple[int, GradientHead]]:
        """Apply and answer gradients for some time, as the server would, if the channel has a faster way.

        Other messages are left for :meth:`receive`, and so are gradients of an incomplete update.

        Returns
        -------
        applied : list of (int, GradientHead)
            Worker and numbers of the applied gradients, in order; empty if there is no faster way.
        """

    def close(self, *, abort: bool = False) -> None:
        """End the connection; ``abort`` ends all ranks at once."""
