"""The channel over MPI: the only module that imports mpi4py. Importing it initialises MPI.

Messages and values travel as buffers, never pickled. Between ranks of one machine values do not travel: sender and
receiver use the same memory, an MPI-3 shared window with two boxes per worker. Waiting ranks sleep, because MPI itself
can only spin: on Linux, ranks of one machine wake each other through a socket, whose datagrams carry small messages;
other messages are polled occasionally.

The compiled loop
-----------------
:meth:`MpiChannel.answer_gradients` hands the server's socket and the model to :func:`tsnn.kernels.answer_gradients`,
which receives gradients, updates the model and answers in compiled code.

- Purpose: the server runs for a fraction of a millisecond per gradient, on cores whose caches the workers have filled
  in between. The Python code of an exchange then takes longer than the update itself, and all workers wait for it.
- Used if :meth:`MpiChannel.can_answer` allows it: Linux, all ranks on one machine, vectors in the shared window, no
  more ranks than a socket queues datagrams, kernels compiled; and if the server expects gradients only: phase 1 of
  ``wasap`` and ``wassp``, until the last update of an epoch.
- Otherwise the server receives each gradient with :meth:`MpiChannel.receive` and applies it with
  :class:`~tsnn.parallel.shared_model.SharedModel`: on other systems, between machines, between threads, in ``local``
  mode, for stale topologies, non-finite losses and all messages that are not gradients. Both ways compute the same bits
  (``tests/support/replay.py``).
"""

from __future__ import annotations

import secrets
import struct
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from mpi4py import MPI

from tsnn import kernels
from tsnn.errors import LaunchError
from tsnn.kernels.wire import ANSWER_IDLE_SECONDS, FIRST_NUMBER, ROW_WORDS, ROW_WORKER, GradientHead, MessageHead
from tsnn.parallel.channel import KINDS, Arrays, Float32, Message, MessageKind, Service
from tsnn.parallel.launchers import single_process_message
from tsnn.parallel.shared_memory import available_shared_bytes, unlink_mpi_segments
from tsnn.parallel.wakeup import MAX_DATAGRAM_BYTES, NO_ADDRESSES, Addresses, WakeupSocket, socket_queue_length

HEAD, VALUES, ARRAY = 1, 2, 3  # tags
DTYPES = tuple(np.dtype(name) for name in ("float32", "float64", "int32", "int64", "uint8"))
SHORTEST_SLEEP, LONGEST_SLEEP = 2e-5, 5e-4  # seconds between two polls of MPI
PROBES = 4  # per poll: MPICH's Iprobe may first only make progress
SOCKET_SECONDS = 0.05  # between two polls of MPI if messages come through the socket
CLOSE_SECONDS = 2.5
BARRIER_SLEEP = 2e-3


class MpiChannel:
    """One rank's end; see :class:`tsnn.parallel.channel.Channel`. Every process makes one.

    Raises
    ------
    LaunchError
        If this process is the only one.
    """

    def __init__(self) -> None:
        self._comm = MPI.COMM_WORLD
        self.rank, self.workers = self._comm.rank, self._comm.size - 1
        self._barrier()
        unlink_mpi_segments()
        if self.workers == 0:
            raise LaunchError(single_process_message(MPI.Get_library_version()))
        self._shared: dict[tuple[int, int], Float32] = {}
        self._private: dict[tuple[int, int], Float32] = {}
        self._node: Any = self._comm.Split_type(MPI.COMM_TYPE_SHARED)
        self._ranks = np.empty(self._node.size, np.int64)  # on this machine
        self._node.Allgather(np.array([self.rank]), self._ranks)
        self.workers_on_server_host = int(np.count_nonzero(self._ranks)) if 0 in self._ranks else 0
        self._prepared = False
        self._single_host = False  # all ranks are on this machine and have sockets
        self._overflows = True  # more ranks than a socket queues datagrams; assumed until share_memory
        self._wakeup: WakeupSocket | None = None
        self._n_announced = 0  # messages announced by a datagram that MPI has not delivered yet
        self._deferred: list[tuple[int, bytes]] = []  # received by answer_gradients, not handled by it
        self._window: MPI.Win | None = None
        self._memory: Float32 = np.empty(0, np.float32)  # two boxes per worker
        self._slot = 0  # values from one box to the next
        self._outgoing: list[tuple[list[MPI.Request], Any]] = []
        self._incoming: list[tuple[list[MPI.Request], Message]] = []
        self._status = MPI.Status()

    def share_memory(self, capacity: int = 0) -> None:
        """See :meth:`tsnn.parallel.channel.Channel.share_memory`.

        Ranks on the server's machine get boxes in shared memory. If that machine has too little of it, or the vectors
        have grown beyond the boxes, values travel as they do between machines.
        """
        if self.rank == 0 and kernels.COMPILED:  # compile before the barrier, so that no worker waits for it later
            none = np.empty(0, np.float32)
            self._serve(NO_ADDRESSES, Service(0, 1, np.empty((0, 2)), 0.0, none, none, (0.0,) * 4, np.empty(0)), 0.0)
        self._barrier()
        node, ranks = self._node, self._ranks
        granted = np.array([capacity])
        if self.rank == 0 and 2 * (node.size - 1) * 4 * capacity > available_shared_bytes():
            granted[0] = 0
        self._comm.Bcast(granted)
        capacity = int(granted[0])
        name = np.frombuffer(secrets.token_bytes(8), np.uint8).copy()
        self._comm.Bcast(name)
        self._wakeup = WakeupSocket.open(bytes(name).hex(), self.rank, ranks.tolist())
        self._single_host = self._wakeup is not None and len(ranks) == self._comm.size
        self._overflows = self._comm.size > socket_queue_length()
        if 0 in ranks and node.size > 1 and capacity:
            self._allocate_boxes(capacity)
        self._comm.Barrier()
        unlink_mpi_segments()
        self._prepared = True

    def _allocate_boxes(self, capacity: int) -> None:
        """Allocate the shared window of this machine: an outbox of the server and one of the worker, per worker."""
        node, ranks = self._node, self._ranks
        self._slot = slot = -(-capacity // 16) * 16
        nbytes = 2 * (node.size - 1) * slot * 4
        self._window = MPI.Win.Allocate_shared(nbytes if self.rank == 0 else 0, 4, comm=node)
        self._window.Lock_all()
        raw: Any = self._window.Shared_query(int(np.flatnonzero(ranks == 0)[0]))[0]
        self._memory = np.frombuffer(raw, np.float32)
        boxes = [pair for rank in ranks.tolist() if rank for pair in ((0, rank), (rank, 0))]
        self._shared = {pair: self._memory[i * slot : i * slot + capacity] for i, pair in enumerate(boxes)}

    def _barrier(self, seconds: float = float("inf")) -> bool:
        """Sleep until all ranks reach this point; returns False if they do not within this time."""
        barrier, deadline = self._comm.Ibarrier(), time.monotonic() + seconds
        while not barrier.Test():
            if time.monotonic() > deadline:
                return False
            time.sleep(BARRIER_SLEEP)
        return True

    def _box(self, sender: int, receiver: int, n: int) -> tuple[Float32, bool]:
        """Return the outbox of a sender for a receiver, and whether it is shared memory."""
        shared = self._shared.get((sender, receiver))
        if shared is not None and n <= len(shared):
            return shared[:n], True
        box = self._private.get((sender, receiver))
        if box is None or len(box) < n:
            box = self._private[sender, receiver] = np.zeros(n, np.float32)
        return box[:n], False

    def outbox(self, to: int, n: int) -> Float32:
        """See :meth:`tsnn.parallel.channel.Channel.outbox`."""
        return self._box(self.rank, to, n)[0]

    def send(
        self, to: int, kind: MessageKind, numbers: Sequence[float] = (), *, arrays: Arrays = (), values: int = 0
    ) -> None:
        """See :meth:`tsnn.parallel.channel.Channel.send`."""
        arrays = [np.ascontiguousarray(array) for array in arrays]
        described = [number for array in arrays for number in (DTYPES.index(array.dtype), len(array))]
        words = *MessageHead(KINDS.index(kind), values, len(numbers)), *numbers, *described
        head = struct.pack(f"{len(words)}d", *words)
        box, shared = self._box(self.rank, to, values)
        if self._window is not None:
            self._window.Sync()
        fits_datagram = not arrays and (shared or not values) and len(head) <= MAX_DATAGRAM_BYTES
        if fits_datagram and self._wakeup is not None and self._wakeup.notify(to, head):
            return
        requests = [self._comm.Isend([head, MPI.DOUBLE], to, HEAD)]
        if values and not shared:
            requests.append(self._comm.Isend(box, to, VALUES))
        requests += [self._comm.Isend(array, to, ARRAY) for array in arrays]
        if self._wakeup is not None:
            self._wakeup.notify(to)
        self._outgoing.append((requests, (head, box, arrays)))

    def receive(self, seconds: float | None = None) -> Message | None:
        """See :meth:`tsnn.parallel.channel.Channel.receive`."""
        if self._deferred:
            return self._synchronise(self._parse(*self._deferred.pop(0))[0])
        deadline = None if seconds is None else time.monotonic() + seconds
        pause = SHORTEST_SLEEP
        self._forget_completed_sends()
        poll = self._overflows or bool(self._outgoing)  # MPI may hold a message, or need calls to make progress
        while True:
            if poll or self._n_announced or self._incoming or not self._single_host:
                message = next((found for _ in range(PROBES) if (found := self._probe())), None)
                if message is not None:
                    return message
            may_sleep = self._single_host and not self._incoming
            limit = (SOCKET_SECONDS if seconds is None else min(seconds, SOCKET_SECONDS)) if may_sleep else 0.0
            datagram = self._wakeup.wait(limit) if self._wakeup is not None else None
            if datagram is not None and datagram[1]:
                return self._synchronise(self._parse(*datagram)[0])
            self._n_announced += datagram is not None
            if deadline is not None and time.monotonic() > deadline:
                return None
            poll = datagram is None or self._overflows
            if datagram is None and not may_sleep:
                time.sleep(pause)
                pause = min(1.2 * pause, LONGEST_SLEEP)

    def can_answer(self, values: int) -> bool:
        """See :meth:`tsnn.parallel.channel.Channel.can_answer`, and the conditions in the module's docstring."""
        self._forget_completed_sends()
        busy = self._deferred or self._n_announced or self._incoming or self._outgoing or self._overflows
        return self._single_host and not busy and values <= self._slot and kernels.COMPILED

    def answer_gradients(self, service: Service, seconds: float) -> list[tuple[int, GradientHead]]:
        """See :meth:`tsnn.parallel.channel.Channel.answer_gradients`, and the module's docstring."""
        if self._wakeup is None or not self.can_answer(len(service.weights)):
            return []
        self._wakeup.set_timeout(SOCKET_SECONDS)
        return self._serve(self._wakeup.addresses, service, seconds)

    def _serve(self, addresses: Addresses, service: Service, seconds: float) -> list[tuple[int, GradientHead]]:
        """Run a service in compiled code: :func:`tsnn.kernels.answer_gradients`."""
        n, per_update, n_numbers = len(service.weights), service.gradients_per_update, len(GradientHead._fields)
        gradient = MessageHead(KINDS.index(MessageKind.GRADIENT), n, n_numbers)
        weights = MessageHead(KINDS.index(MessageKind.WEIGHTS), n, len(service.answer))
        expected = np.array([*gradient, service.version], np.float64)
        answer = np.array([*weights, *service.answer], np.float64)
        message, undelivered = np.empty(MAX_DATAGRAM_BYTES // 8), np.zeros(self.workers, np.bool_)
        received = np.empty((len(service.rates) * per_update, ROW_WORDS + FIRST_NUMBER + n_numbers))
        updates, gradients, worker, length = kernels.answer_gradients(
            *addresses, self._memory, self._slot, per_update, service.rates, service.weight_decay, seconds, expected,
            service.weights, service.velocity, service.idle_seconds, answer, message, received, undelivered,
        )  # fmt: skip
        applied = updates * per_update
        self._deferred += [(1 + int(row[ROW_WORKER]), row[ROW_WORDS:].tobytes()) for row in received[applied:gradients]]
        if length:
            self._deferred.append((1 + worker, message.tobytes()[:length]))
        self._n_announced += worker >= 0 and not length
        for k in np.flatnonzero(undelivered).tolist():
            answer[ANSWER_IDLE_SECONDS], service.idle_seconds[k] = service.idle_seconds[k], 0.0
            self.send(1 + k, MessageKind.WEIGHTS, answer[FIRST_NUMBER:].tolist(), values=n)
        workers, numbers = received[:applied, ROW_WORKER], received[:applied, ROW_WORDS + FIRST_NUMBER :]
        return [(1 + int(k), GradientHead(*row)) for k, row in zip(workers.tolist(), numbers.tolist(), strict=True)]

    def _forget_completed_sends(self) -> None:
        self._outgoing = [entry for entry in self._outgoing if not MPI.Request.Testall(entry[0])]

    def _synchronise(self, message: Message) -> Message:
        """Return a received message after making its values in shared memory visible."""
        if self._window is not None:
            self._window.Sync()
        return message

    def _parse(self, source: int, text: bytes) -> tuple[Message, bool]:
        """Return the message with these words, with room for its arrays, and whether its values are here."""
        words = struct.unpack(f"{len(text) // 8}d", text)
        kind, n_values, n_numbers = map(int, words[:FIRST_NUMBER])
        numbers = words[FIRST_NUMBER : FIRST_NUMBER + n_numbers]
        described = [int(number) for number in words[FIRST_NUMBER + n_numbers :]]
        arrays = [np.empty(n, DTYPES[code]) for code, n in zip(described[::2], described[1::2], strict=True)]
        values, shared = self._box(source, self.rank, n_values)
        return Message(source, KINDS[kind], numbers, arrays, values), shared or not n_values

    def _probe(self) -> Message | None:
        """Return a message that MPI has delivered completely; never waits for a sender that stalls halfway."""
        if self._comm.Iprobe(MPI.ANY_SOURCE, HEAD, self._status):
            source = self._status.source
            text = bytearray(8 * self._status.Get_count(MPI.DOUBLE))
            self._comm.Recv([text, MPI.DOUBLE], source, HEAD)
            self._n_announced = max(0, self._n_announced - 1)
            message, complete = self._parse(source, bytes(text))
            requests = [] if complete else [self._comm.Irecv(message.values, source, VALUES)]
            requests += [self._comm.Irecv(array, source, ARRAY) for array in message.arrays]
            self._incoming.append((requests, message))
        for i, (requests, message) in enumerate(self._incoming):
            if not requests or MPI.Request.Testall(requests):
                del self._incoming[i]
                return self._synchronise(message)
        return None

    def close(self, *, abort: bool = False) -> None:
        """End the connection and discard the outboxes.

        Workers wait for the server here. The server aborts all ranks if some do not come within a few seconds.
        """
        abort |= not self._prepared  # the other ranks wait in share_memory
        if not abort:
            abort = not self._barrier(CLOSE_SECONDS if self.rank == 0 else float("inf"))
        if abort:
            self._comm.Abort(1)
        for requests, _ in self._outgoing:
            MPI.Request.Waitall(requests)
        self._shared = {}
        if self._window is not None:
            self._window.Unlock_all()
            self._window.Free()
