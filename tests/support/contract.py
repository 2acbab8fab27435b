"""Contract of all channels: each rank runs its part, over threads or over MPI.

``mpiexec -n 3 python -m mpi4py -m tests.support.contract CAPACITY`` runs it over MPI.
"""

from __future__ import annotations

import socket
import sys
import time
from typing import Any

import numpy as np

from tsnn.parallel.channel import Channel, Message, Service

N = 5000
FLOOD = 30  # messages; a socket's queue holds 10 by default
TOPOLOGY = [np.arange(7, dtype=dtype) for dtype in (np.float32, np.float64, np.int32, np.int64, np.uint8)]


def converse(channel: Channel, capacity: int) -> None:
    """Run this rank's part of the contract.

    A message from outside, a flood of messages, fairness between workers, gradients too few for an update, arrays of
    all types, vectors that grow and shrink, silence.
    """
    channel.share_memory(capacity if channel.rank == 0 else 0)
    (collect if channel.rank == 0 else flood)(channel)
    (receive_fairly if channel.rank == 0 else contend)(channel)
    (receive_gradients if channel.rank == 0 else contribute)(channel)
    (serve if channel.rank == 0 else work)(channel)


def receive(channel: Channel) -> Message:
    """Receive the next message, without a time limit."""
    message = channel.receive()
    assert message is not None
    return message


def flood(channel: Channel) -> None:
    """Send more messages than a socket's queue holds."""
    intrude(channel)
    for number in range(FLOOD):
        channel.send(0, "progress", [number])
    assert receive(channel).kind == "go"


def intrude(channel: Channel) -> None:
    """Send rank 0 a datagram that could be a message from a socket that is no rank's."""
    wakeup: Any = getattr(channel, "_wakeup", None)
    if wakeup is not None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(np.zeros(3).tobytes(), wakeup._names[0])


def collect(channel: Channel) -> None:
    """Receive all messages of the flood, each once."""
    time.sleep(0.5)  # no condition is visible from here: the queues fill up meanwhile
    came: dict[int, list[float]] = {rank: [] for rank in range(1, channel.workers + 1)}
    for _ in range(FLOOD * channel.workers):
        message = receive(channel)
        assert message.kind == "progress"
        came[message.source] += message.numbers
    for rank, numbers in came.items():
        assert sorted(numbers) == list(range(FLOOD))
        channel.send(rank, "go")


def contend(channel: Channel) -> None:
    """Send one message with arrays (the last worker) or small messages without a pause (the others)."""
    if channel.rank == channel.workers:
        channel.send(0, "epoch", arrays=TOPOLOGY)
    else:
        time.sleep(0.1)  # no condition is visible from here: the message with arrays is sent meanwhile
        while True:
            channel.send(0, "progress")
            if receive(channel).kind == "stop":
                break
    assert receive(channel).kind == "go"


def receive_fairly(channel: Channel) -> None:
    """Receive the message with arrays while another worker sends without a pause."""
    time.sleep(0.2)  # no condition is visible from here: messages of all workers arrive meanwhile
    deadline, came = time.monotonic() + 10, False
    sending = channel.workers > 1
    while sending or not came:
        message = receive(channel)
        came |= message.kind == "epoch"
        if message.kind == "progress":
            channel.send(message.source, "stop" if came else "values")
            sending = not came
        assert time.monotonic() < deadline
    for rank in range(1, channel.workers + 1):
        channel.send(rank, "go")


def contribute(channel: Channel) -> None:
    """Send one gradient."""
    channel.outbox(0, N)[:] = channel.rank
    channel.send(0, "gradient", [7, *range(8)], values=N)
    assert receive(channel).kind == "go"


def receive_gradients(channel: Channel) -> None:
    """Receive gradients that are too few for an update, which the fast path leaves alone."""
    time.sleep(0.2)  # no condition is visible from here: the gradients arrive meanwhile
    weights, velocity = np.zeros((2, N), np.float32)
    service = Service(
        7, 9, channel.workers + 1, np.ones((3, 2)), 0.0, weights, velocity, [0.0] * 9, np.zeros(channel.workers)
    )
    assert channel.answer_gradients(service, 0.1).shape == (0, 10)
    assert not weights.any()
    messages = [receive(channel) for _ in range(channel.workers)]
    assert {message.source for message in messages} == set(range(1, channel.workers + 1))
    for message in messages:
        assert message.kind == "gradient"
        assert message.numbers == (7, *range(8))
        assert (message.values == message.source).all()
        channel.send(message.source, "go")


def serve(channel: Channel) -> None:
    """Answer 40 messages of each worker with vectors, sometimes with arrays; then time out."""
    turns = dict.fromkeys(range(1, channel.workers + 1), 0)
    addresses: dict[tuple[int, int], int] = {}
    while min(turns.values()) < 40:
        message = receive(channel)
        turn = turns[message.source]
        turns[message.source] += 1
        kind = "gradient" if turn else "ready"
        assert message.kind == kind
        n = size(turn)
        if turn:
            assert list(message.numbers) == [turn, 0.1 * message.source]
            assert (message.values == message.source + turn).all()
            assert len(message.values) == n
        box = channel.outbox(message.source, n)
        box[:] = 1000 * message.source + turn
        address = box.ctypes.data
        assert addresses.setdefault((message.source, n), address) == address or turn == 12
        addresses[message.source, n] = address
        arrays = TOPOLOGY if turn % 5 == 0 else []
        channel.send(message.source, "model" if arrays else "values", [turn], arrays=arrays, values=n)
    assert channel.receive(0.05) is None


def work(channel: Channel) -> None:
    """Send 40 messages with vectors and check the replies."""
    numbers: list[float] = []
    for turn in range(40):
        n = size(turn)
        if turn:
            channel.outbox(0, n)[:] = channel.rank + turn
            numbers = [turn, 0.1 * channel.rank]
        kind = "gradient" if turn else "ready"
        channel.send(0, kind, numbers, values=n if turn else 0)
        reply = receive(channel)
        assert reply.source == 0
        assert list(reply.numbers) == [turn]
        assert (reply.values == 1000 * channel.rank + turn).all()
        assert len(reply.values) == n
        kind = "values" if turn % 5 else "model"
        assert reply.kind == kind
        if turn % 5 == 0:
            for array, sent in zip(reply.arrays, TOPOLOGY, strict=True):
                assert array.dtype == sent.dtype
                assert (array == sent).all()
            reply.arrays[2][:] = -1  # the receiver's own


def size(turn: int) -> int:
    """Length of the vectors of a turn: twice the shared capacity in two turns."""
    return 2 * N if turn in (10, 11) else N


if __name__ == "__main__":
    from tsnn.parallel.mpi import MpiChannel

    channel = MpiChannel()
    converse(channel, int(sys.argv[1]))
    assert int(sys.argv[1]) == 0 or len(channel._shared) == 2 * channel.workers or channel.rank
    channel.close()
