"""The channel over MPI: the only module that imports mpi4py. Importing it initialises MPI.

Messages and values travel as buffers, never pickled. Values between ranks of one machine do not travel at all: sender
and receiver look at the same memory, an MPI-3 shared window with two boxes per worker. Waiting ranks sleep: MPI itself
can only spin, so ranks of one machine also ring a bell, and small messages come with that; others are looked for now
and then.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.errors import LaunchError
from tsnn.parallel.channel import KINDS, Arrays, Float32, Message, Service
from tsnn.parallel.wakeup import MAX_TEXT, NO_ADDRESSES, Addresses, WakeupSocket, longest_queue

HEAD, VALUES, ARRAY = 1, 2, 3  # tags
DTYPES = tuple(np.dtype(name) for name in ("float32", "float64", "int32", "int64", "uint8"))
SHORTEST_SLEEP, LONGEST_SLEEP = 2e-5, 5e-4  # seconds between two looks for a message without bell
LOOKS = 4  # for a message, before a rank sleeps: MPICH's Iprobe may first only make progress
LONGEST_REST = 0.05  # seconds between two looks for a message that rings
CLOSE_SECONDS = 2.5
MEETING_SLEEP = 2e-3


class MpiChannel:
    """One rank's end; see :class:`tsnn.parallel.channel.Channel`. Every process makes one.

    Raises
    ------
    LaunchError
        If this process is alone.
    """

    def __init__(self) -> None:
        self._comm = MPI.COMM_WORLD
        self.rank, self.workers = self._comm.rank, self._comm.size - 1
        self._meet()
        _unlink_segments()
        if self.workers == 0:
            raise LaunchError(_alone())
        self._shared: dict[tuple[int, int], Float32] = {}
        self._private: dict[tuple[int, int], Float32] = {}
        self._node: Any = self._comm.Split_type(MPI.COMM_TYPE_SHARED)
        self._ranks = np.empty(self._node.size, np.int64)  # on this machine
        self._node.Allgather(np.array([self.rank]), self._ranks)
        self.neighbours = int(np.count_nonzero(self._ranks)) if 0 in self._ranks else 0
        self._prepared = False
        self._alone = False  # all ranks are on this machine, and have bells
        self._crowded = True  # so many that a bell might not be heard
        self._wakeup: WakeupSocket | None = None
        self._announced = 0  # that announced messages which have not come yet
        self._received: list[tuple[int, bytes]] = []  # by answer_gradients, and not for it
        self._window: MPI.Win | None = None
        self._memory: Float32 = np.empty(0, np.float32)  # two boxes per worker
        self._slot = 0  # values from one to the next
        self._sending: list[tuple[list[MPI.Request], Any]] = []
        self._coming: list[tuple[list[MPI.Request], Message]] = []
        self._status = MPI.Status()

    def share_memory(self, capacity: int = 0) -> None:
        """See :meth:`tsnn.parallel.channel.Channel.share_memory`.

        Ranks on the server's machine get a place that both sides see. If that machine has too little room for it,
        or the vectors have grown beyond it, values travel as they do between machines.
        """
        if self.rank == 0 and kernels.COMPILED:  # what is to be compiled first, the others need not wait for later
            none = np.empty(0, np.float32)
            self._serve(NO_ADDRESSES, Service(0, 0, 1, np.empty((0, 2)), 0.0, none, none, (), np.empty(0)), 0.0)
        self._meet()
        node, ranks = self._node, self._ranks
        wanted = np.array([capacity])
        if self.rank == 0 and 2 * (node.size - 1) * 4 * capacity > _shared_room():
            wanted[0] = 0
        self._comm.Bcast(wanted)
        capacity = int(wanted[0])
        name = np.frombuffer(secrets.token_bytes(8), np.uint8).copy()
        self._comm.Bcast(name)
        self._wakeup = WakeupSocket.open(bytes(name).hex(), self.rank, ranks.tolist())
        self._alone = self._wakeup is not None and len(ranks) == self._comm.size
        self._crowded = self._comm.size > longest_queue()
        if 0 in ranks and node.size > 1 and capacity:
            self._slot = slot = -(-capacity // 16) * 16
            nbytes = 2 * (node.size - 1) * slot * 4
            self._window = MPI.Win.Allocate_shared(nbytes if self.rank == 0 else 0, 4, comm=node)
            self._window.Lock_all()
            raw: Any = self._window.Shared_query(int(np.flatnonzero(ranks == 0)[0]))[0]
            self._memory = np.frombuffer(raw, np.float32)
            boxes = [pair for rank in ranks.tolist() if rank for pair in ((0, rank), (rank, 0))]
            self._shared = {pair: self._memory[i * slot : i * slot + capacity] for i, pair in enumerate(boxes)}
        self._comm.Barrier()
        _unlink_segments()
        self._prepared = True

    def _meet(self, seconds: float = float("inf")) -> bool:
        """Sleep until all ranks are at this point; tells whether they were within so many seconds."""
        barrier, deadline = self._comm.Ibarrier(), time.monotonic() + seconds
        while not barrier.Test():
            if time.monotonic() > deadline:
                return False
            time.sleep(MEETING_SLEEP)
        return True

    def _box(self, sender: int, receiver: int, n: int) -> tuple[Float32, bool]:
        """Return the memory for values under way, and whether both sides see it."""
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

    def send(self, to: int, kind: str, numbers: Sequence[float] = (), *, arrays: Arrays = (), values: int = 0) -> None:
        """See :meth:`tsnn.parallel.channel.Channel.send`."""
        arrays = [np.ascontiguousarray(array) for array in arrays]
        about = [number for array in arrays for number in (DTYPES.index(array.dtype), len(array))]
        words = KINDS.index(kind), values, len(numbers), *numbers, *about
        head = struct.pack(f"{len(words)}d", *words)
        box, shared = self._box(self.rank, to, values)
        if self._window is not None:
            self._window.Sync()
        whole = not arrays and (shared or not values) and len(head) <= MAX_TEXT
        if whole and self._wakeup is not None and self._wakeup.notify(to, head):
            return
        requests = [self._comm.Isend([head, MPI.DOUBLE], to, HEAD)]
        if values and not shared:
            requests.append(self._comm.Isend(box, to, VALUES))
        requests += [self._comm.Isend(array, to, ARRAY) for array in arrays]
        if self._wakeup is not None:
            self._wakeup.notify(to)
        self._sending.append((requests, (head, box, arrays)))

    def receive(self, seconds: float | None = None) -> Message | None:
        """See :meth:`tsnn.parallel.channel.Channel.receive`."""
        if self._received:
            return self._complete(self._opened(*self._received.pop(0))[0])
        deadline = None if seconds is None else time.monotonic() + seconds
        pause = SHORTEST_SLEEP
        self._forget_what_is_sent()
        look = self._crowded or bool(self._sending)  # for what does not come with the bell; so MPI sends on, too
        while True:
            if look or self._announced or self._coming or not self._alone:
                message = next((found for _ in range(LOOKS) if (found := self._arrived())), None)
                if message is not None:
                    return message
            sleepy = self._alone and not self._coming
            rest = (LONGEST_REST if seconds is None else min(seconds, LONGEST_REST)) if sleepy else 0.0
            heard = self._wakeup.wait(rest) if self._wakeup is not None else None
            if heard is not None and heard[1]:
                return self._complete(self._opened(*heard)[0])
            self._announced += heard is not None
            if deadline is not None and time.monotonic() > deadline:
                return None
            look = heard is None or self._crowded
            if heard is None and not sleepy:
                time.sleep(pause)
                pause = min(1.2 * pause, LONGEST_SLEEP)

    def can_answer(self, values: int) -> bool:
        """See :meth:`tsnn.parallel.channel.Channel.can_answer`: where all ranks have bells and share memory."""
        self._forget_what_is_sent()
        busy = self._received or self._announced or self._coming or self._sending or self._crowded
        return self._alone and not busy and values <= self._slot and kernels.COMPILED

    def answer_gradients(self, service: Service, seconds: float) -> NDArray[np.float64]:
        """See :meth:`tsnn.parallel.channel.Channel.answer_gradients`: in compiled code."""
        if self._wakeup is None or not self.can_answer(len(service.weights)):
            return np.empty((0, 1 + service.numbers))
        self._wakeup.set_timeout(LONGEST_REST)
        return self._serve(self._wakeup.addresses, service, seconds)

    def _serve(self, addresses: Addresses, service: Service, seconds: float) -> NDArray[np.float64]:
        """Hand a service over to compiled code; see :func:`tsnn.kernels.answer_gradients`."""
        n = len(service.weights)
        expected = np.array([KINDS.index("gradient"), n, service.numbers, service.version], np.float64)
        answer = np.array([KINDS.index("values"), n, len(service.answer), *service.answer], np.float64)
        heard, unsent = np.empty(MAX_TEXT // 8), np.zeros(self.workers, np.bool_)
        came = np.empty((len(service.rates) * service.together, 4 + service.numbers))
        updates, gradients, worker, length = kernels.answer_gradients(
            *addresses, self._memory, self._slot, service.together, service.rates, service.weight_decay, seconds,
            expected, service.weights, service.velocity, service.idle, answer, heard, came, unsent,
        )  # fmt: skip
        applied = updates * service.together
        self._received += [(int(row[0]) + 1, row[1:].tobytes()) for row in came[applied:gradients]]
        if length:
            self._received.append((worker + 1, heard.tobytes()[:length]))
        self._announced += worker >= 0 and not length
        for k in np.flatnonzero(unsent).tolist():
            answer[5], service.idle[k] = service.idle[k], 0.0
            self.send(k + 1, "values", answer[3:].tolist(), values=n)
        came[:applied, 3] = came[:applied, 0] + 1
        return came[:applied, 3:]

    def _forget_what_is_sent(self) -> None:
        self._sending = [entry for entry in self._sending if not MPI.Request.Testall(entry[0])]

    def _complete(self, message: Message) -> Message:
        """Return a message that is there, and see to it that its values are."""
        if self._window is not None:
            self._window.Sync()
        return message

    def _opened(self, source: int, head: bytes) -> tuple[Message, bool]:
        """Make the message that a head announces, with room for its arrays; tells whether its values are there."""
        kind, n_values, n_numbers, *rest = struct.unpack(f"{len(head) // 8}d", head)
        numbers, about = rest[: int(n_numbers)], [int(number) for number in rest[int(n_numbers) :]]
        arrays = [np.empty(n, DTYPES[code]) for code, n in zip(about[::2], about[1::2], strict=True)]
        values, shared = self._box(source, self.rank, int(n_values))
        return Message(source, KINDS[int(kind)], tuple(numbers), arrays, values), shared or not n_values

    def _arrived(self) -> Message | None:
        """Return a message that is there completely; nothing here waits for a sender that has stalled halfway."""
        if self._comm.Iprobe(MPI.ANY_SOURCE, HEAD, self._status):
            source = self._status.source
            head = bytearray(8 * self._status.Get_count(MPI.DOUBLE))
            self._comm.Recv([head, MPI.DOUBLE], source, HEAD)
            self._announced = max(0, self._announced - 1)
            message, there = self._opened(source, bytes(head))
            requests = [] if there else [self._comm.Irecv(message.values, source, VALUES)]
            requests += [self._comm.Irecv(array, source, ARRAY) for array in message.arrays]
            self._coming.append((requests, message))
        for i, (requests, message) in enumerate(self._coming):
            if not requests or MPI.Request.Testall(requests):
                del self._coming[i]
                return self._complete(message)
        return None

    def close(self, *, abort: bool = False) -> None:
        """End the connection, and what was in the outboxes with it.

        Workers wait for the server here. It ends by force those that do not come within a few seconds.
        """
        abort |= not self._prepared  # the others wait for that
        if not abort:
            abort = not self._meet(CLOSE_SECONDS if self.rank == 0 else float("inf"))
        if abort:
            self._comm.Abort(1)
        for requests, _ in self._sending:
            MPI.Request.Waitall(requests)
        self._shared = {}
        if self._window is not None:
            self._window.Unlock_all()
            self._window.Free()


def _alone() -> str:
    """Say why there is only one process, as far as that can be known."""
    started = next((os.environ[name] for name in _LAUNCHERS if os.environ.get(name, "1") != "1"), None)
    library = MPI.Get_library_version().splitlines()[0]
    if started is not None:
        return (
            f"This is one of {started} processes, but they do not see each other: the launcher belongs to another MPI "
            f"than mpi4py does ({library}). Start with the mpiexec of that MPI ({_mpiexec_beside()}), under Slurm with "
            "srun --mpi=pmi2, or build mpi4py against the launcher's MPI: "
            "pip install --force-reinstall --no-binary mpi4py mpi4py"
        )
    return (
        "A parallel run needs one server and at least one worker, but this process is alone. Start it with "
        "tsnn train ... --workers K, or with mpiexec -n 1+K python -m mpi4py -m tsnn.execution RUN_DIR"
    )


#: Where launchers say how many processes they started.
_LAUNCHERS = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "PMIX_SIZE", "SLURM_NTASKS")


def _mpiexec_beside() -> str:
    return str(Path(sys.executable).with_name("mpiexec"))


def _shared_room() -> int:
    """Return the bytes that may be taken from shared memory: half of what is free, where that is a file system."""
    with contextlib.suppress(OSError, AttributeError):
        disk = os.statvfs("/dev/shm")
        return disk.f_bavail * disk.f_frsize // 2
    return 2**62


def _unlink_segments() -> None:
    """Remove the names of MPI's shared memory, so that nothing is left should the ranks be killed."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/self/maps").read_text().splitlines()
        names = {line.split(maxsplit=5)[5] for line in lines if "/dev/shm/mpich" in line}
        for name in names:
            with contextlib.suppress(OSError):
                Path(name).unlink()
