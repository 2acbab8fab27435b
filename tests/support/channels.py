"""A channel between threads of one process, for parallel runs without MPI."""

from __future__ import annotations

import queue
from collections.abc import Sequence

import numpy as np

from tsnn.kernels.wire import GradientHead
from tsnn.parallel.channel import Arrays, Float32, Message, MessageKind, Service


class ThreadChannel:
    """Channel between threads of one process; see :class:`tsnn.parallel.channel.Channel`.

    Parameters
    ----------
    rank, workers : int
        Rank of this end, and the number of workers.
    queues : list of Queue
        Messages to each rank, common to all ends.
    boxes : dict
        Outboxes by (from, to), common to all ends.
    """

    def __init__(
        self, rank: int, workers: int, queues: list[queue.Queue[Message]], boxes: dict[tuple[int, int], Float32]
    ):
        self.rank, self.workers, self.workers_on_server_host = rank, workers, workers
        self._queues, self._boxes = queues, boxes

    @classmethod
    def connect(cls, workers: int) -> list[ThreadChannel]:
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

    def send(
        self, to: int, kind: MessageKind, numbers: Sequence[float] = (), *, arrays: Arrays = (), values: int = 0
    ) -> None:
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
        """See :meth:`Channel.can_answer`: there is no faster way between threads."""
        return False

    def answer_gradients(self, service: Service, seconds: float) -> list[tuple[int, GradientHead]]:
        """See :meth:`Channel.answer_gradients`."""
        return []

    def close(self, *, abort: bool = False) -> None:
        """Do nothing: the server stops threads that wait for an answer."""
