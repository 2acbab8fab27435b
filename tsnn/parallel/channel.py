"""How server and workers talk: small messages, and one vector of values in each direction that need not travel.

Rank 0 is the server, ranks 1 to K are the workers. A worker sends a message and waits for the answer; the
server answers each message once. So a vector that was handed over is left alone until the other side is done.
"""

from __future__ import annotations

import queue
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Arrays = Sequence[NDArray[Any]]

#: What a message may be; see the senders in :mod:`tsnn.parallel.worker` and :mod:`tsnn.parallel.server`.
KINDS = ("ready", "gradient", "model", "progress", "epoch", "final", "error", "bye", "values", "phase2", "go", "stop")


@dataclass(frozen=True, eq=False)
class Message:
    """What a channel delivers.

    Attributes
    ----------
    source : int
        Rank of the sender.
    kind : str
        One of :data:`KINDS`.
    numbers : tuple of float
        A few numbers; what they mean depends on the kind.
    arrays : sequence of one-dimensional arrays
        What travels seldom: topologies, texts.
    values : float32[n]
        What the sender had put into its outbox; belongs to the channel, valid until the message is answered.
    """

    source: int
    kind: str
    numbers: tuple[float, ...]
    arrays: Arrays
    values: Float32


class Service(NamedTuple):
    """How a server serves workers that send gradients: momentum SGD, and the answers.

    Attributes
    ----------
    version : int
        Of the topology: the first number of a gradient for it.
    numbers : int
        How many numbers come with a gradient. The third are its samples, the fourth is the loss, which must be finite.
    together : int
        How many gradients make an update, which applies their mean, weighted by their samples: 1 or all workers'.
    rates : float64[u, 2]
        Momentum and learning rate of the coming updates, of which there may be so many.
    weight_decay : float
        See :func:`tsnn.kernels.momentum_step`.
    weights, velocity : float32[n]
        What is trained.
    answer : sequence of float
        The numbers of the last answer; the second counts updates and goes up by one, the third is a worker's idle time.
    idle : float64[K]
        Seconds that the next answer to each worker reports, beside those of waiting for others; 0 when it has gone.
    """

    version: int
    numbers: int
    together: int
    rates: NDArray[np.float64]
    weight_decay: float
    weights: Float32
    velocity: Float32
    answer: Sequence[float]
    idle: NDArray[np.float64]


class Channel(Protocol):
    """One rank's end of the connection between a server and its workers."""

    rank: int
    workers: int
    neighbours: int  # workers on the server's machine

    def share_memory(self, capacity: int = 0) -> None:
        """Prepare for vectors of so many values, as the server says; all ranks must call this before they talk."""

    def outbox(self, to: int, n: int) -> Float32:
        """Return float32[n], whose values the next messages to this rank may hand over.

        The same memory every time, unless ``n`` has grown beyond what it was before.
        """

    def send(self, to: int, kind: str, numbers: Sequence[float] = (), *, arrays: Arrays = (), values: int = 0) -> None:
        """Send a message, and with it the first ``values`` values of the outbox; does not wait for the receiver."""

    def receive(self, seconds: float | None = None) -> Message | None:
        """Wait for the next message from anyone; None if there was none for so long."""

    def can_answer(self, values: int) -> bool:
        """Tell whether :meth:`answer_gradients` could now do so for vectors of so many values."""

    def answer_gradients(self, service: Service, seconds: float) -> NDArray[np.float64]:
        """Apply and answer gradients for so long, as the server would, where the channel has a faster way.

        What else comes is left for :meth:`receive`, and so are gradients that lack others for an update.

        Returns
        -------
        came : float64[m, 1 + numbers]
            Rank and numbers of the gradients that were applied, in their order; none where there is no faster way.
        """

    def close(self, *, abort: bool = False) -> None:
        """End the connection; ``abort`` ends all ranks at once."""


class LocalChannel:
    """The ranks are threads of this process; see :class:`Channel`.

    Parameters
    ----------
    rank, workers : int
        This end's number, and how many workers there are.
    queues : list of Queue
        What each rank has been sent, shared by all ends.
    boxes : dict
        Values under way by (from, to), shared by all ends.
    """

    def __init__(
        self, rank: int, workers: int, queues: list[queue.Queue[Message]], boxes: dict[tuple[int, int], Float32]
    ):
        self.rank, self.workers, self.neighbours = rank, workers, workers
        self._queues, self._boxes = queues, boxes

    @classmethod
    def connect(cls, workers: int) -> list[LocalChannel]:
        """Return the ends of a new connection, that of the server first."""
        queues: list[queue.Queue[Message]] = [queue.Queue() for _ in range(1 + workers)]
        boxes: dict[tuple[int, int], Float32] = {}
        return [cls(rank, workers, queues, boxes) for rank in range(1 + workers)]

    def share_memory(self, capacity: int = 0) -> None:
        """Do nothing: threads share all memory."""

    def outbox(self, to: int, n: int) -> Float32:
        """See :meth:`Channel.outbox`."""
        box = self._boxes.get((self.rank, to))
        if box is None or len(box) < n:
            box = self._boxes[self.rank, to] = np.zeros(n, np.float32)
        return box[:n]

    def send(self, to: int, kind: str, numbers: Sequence[float] = (), *, arrays: Arrays = (), values: int = 0) -> None:
        """See :meth:`Channel.send`."""
        copies = [array.copy() for array in arrays]
        self._queues[to].put(Message(self.rank, kind, tuple(numbers), copies, self.outbox(to, values)))

    def receive(self, seconds: float | None = None) -> Message | None:
        """See :meth:`Channel.receive`."""
        try:
            return self._queues[self.rank].get(timeout=seconds)
        except queue.Empty:
            return None

    def can_answer(self, values: int) -> bool:
        """See :meth:`Channel.can_answer`; there is no faster way between threads."""
        return False

    def answer_gradients(self, service: Service, seconds: float) -> NDArray[np.float64]:
        """See :meth:`Channel.answer_gradients`."""
        return np.empty((0, 1 + service.numbers))

    def close(self, *, abort: bool = False) -> None:
        """Do nothing: threads that wait for an answer are told to stop by the server."""
