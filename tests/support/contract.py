"""Contract of every channel: each rank runs its part, over threads or over MPI.

``mpiexec -n 3 python -m mpi4py -m tests.support.contract CAPACITY`` is the part over MPI.
"""

from __future__ import annotations

import socket
import sys
import time
from typing import Any

import numpy as np

from tsnn.kernels.wire import AnswerHead, GradientHead
from tsnn.parallel.channel import Channel, Message, MessageKind, Service

N = 5000
MESSAGES = 30  # by default 10 datagrams fit into a socket
VERSION = 7
TOPOLOGY = [np.arange(7, dtype=dtype) for dtype in (np.float32, np.float64, np.int32, np.int64, np.uint8)]
GRADIENT = GradientHead(VERSION, *range(len(GradientHead._fields) - 1))


def run_rank(channel: Channel, capacity: int) -> None:
    """Run all parts of the contract on one rank."""
    channel.share_memory(capacity if channel.rank == 0 else 0)
    server = channel.rank == 0
    (receive_queued_messages if server else send_many_messages)(channel)
    (receive_from_all if server else send_array_or_repeat)(channel)
    (leave_incomplete_update if server else send_one_gradient)(channel)
    (answer_turns if server else take_turns)(channel)


def receive(channel: Channel) -> Message:
    """Receive the next message, without a time limit."""
    message = channel.receive()
    assert message is not None
    return message


def send_many_messages(channel: Channel) -> None:
    """More messages than a socket queues, after one of a foreign process."""
    send_foreign_datagram(channel)
    for number in range(MESSAGES):
        channel.send(0, MessageKind.PROGRESS, [number])
    assert receive(channel).kind == MessageKind.CONTINUE


def send_foreign_datagram(channel: Channel) -> None:
    """Send a datagram to rank 0 from a socket that belongs to no rank."""
    wakeup: Any = getattr(channel, "_wakeup", None)
    if wakeup is not None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as foreign:
            foreign.sendto(np.zeros(3).tobytes(), wakeup._names[0])


def receive_queued_messages(channel: Channel) -> None:
    time.sleep(0.5)  # no condition is visible from here: the sockets fill up meanwhile
    received: dict[int, list[float]] = {rank: [] for rank in range(1, channel.workers + 1)}
    for _ in range(MESSAGES * channel.workers):
        message = receive(channel)
        assert message.kind == MessageKind.PROGRESS
        received[message.source] += message.numbers
    for rank, numbers in received.items():
        assert sorted(numbers) == list(range(MESSAGES))
        channel.send(rank, MessageKind.CONTINUE)


def send_array_or_repeat(channel: Channel) -> None:
    """The last worker sends one message with arrays, the others small ones without a pause."""
    if channel.rank == channel.workers:
        channel.send(0, MessageKind.EPOCH, arrays=TOPOLOGY)
    else:
        time.sleep(0.1)  # no condition is visible from here: the message with arrays is sent meanwhile
        while True:
            channel.send(0, MessageKind.PROGRESS)
            if receive(channel).kind == MessageKind.STOP:
                break
    assert receive(channel).kind == MessageKind.CONTINUE


def receive_from_all(channel: Channel) -> None:
    """Workers that send without a pause do not keep the server from other workers' messages."""
    time.sleep(0.2)  # no condition is visible from here: messages of all workers arrive meanwhile
    deadline, arrived = time.monotonic() + 10, False
    repeating = channel.workers > 1
    while repeating or not arrived:
        message = receive(channel)
        arrived |= message.kind == MessageKind.EPOCH
        if message.kind == MessageKind.PROGRESS:
            channel.send(message.source, MessageKind.STOP if arrived else MessageKind.CONTINUE)
            repeating = not arrived
        assert time.monotonic() < deadline
    for rank in range(1, channel.workers + 1):
        channel.send(rank, MessageKind.CONTINUE)


def send_one_gradient(channel: Channel) -> None:
    channel.outbox(0, N)[:] = channel.rank
    channel.send(0, MessageKind.GRADIENT, GRADIENT, values=N)
    assert receive(channel).kind == MessageKind.CONTINUE


def leave_incomplete_update(channel: Channel) -> None:
    """Gradients of an incomplete update are left for receive."""
    time.sleep(0.2)  # no condition is visible from here: the gradients arrive meanwhile
    weights, velocity = np.zeros((2, N), np.float32)
    answer = AnswerHead(VERSION, 0, 0, 0)
    service = Service(
        VERSION, channel.workers + 1, np.ones((3, 2)), 0.0, weights, velocity, answer, np.zeros(channel.workers)
    )
    assert channel.answer_gradients(service, 0.1) == []
    assert not weights.any()
    messages = [receive(channel) for _ in range(channel.workers)]
    assert {message.source for message in messages} == set(range(1, channel.workers + 1))
    for message in messages:
        assert message.kind == MessageKind.GRADIENT
        assert message.gradient == GRADIENT
        assert (message.values == message.source).all()
        channel.send(message.source, MessageKind.CONTINUE)


def answer_turns(channel: Channel) -> None:
    """Receive vectors and answer with vectors and arrays, until every worker has taken 40 turns."""
    turns = dict.fromkeys(range(1, channel.workers + 1), 0)
    addresses: dict[tuple[int, int], int] = {}
    while min(turns.values()) < 40:
        message = receive(channel)
        turn = turns[message.source]
        turns[message.source] += 1
        assert message.kind == (MessageKind.GRADIENT if turn else MessageKind.READY)
        n = values_in_turn(turn)
        if turn:
            assert list(message.numbers) == [turn, 0.1 * message.source]
            assert (message.values == message.source + turn).all()
            assert len(message.values) == n
        box = channel.outbox(message.source, n)
        box[:] = 1000 * message.source + turn
        address = box.ctypes.data
        assert addresses.setdefault((message.source, n), address) == address or turn == 12
        addresses[message.source, n] = address
        kind, arrays = (MessageKind.WEIGHTS, []) if turn % 5 else (MessageKind.MODEL, TOPOLOGY)
        channel.send(message.source, kind, [turn], arrays=arrays, values=n)
    assert channel.receive(0.05) is None


def take_turns(channel: Channel) -> None:
    numbers: list[float] = []
    for turn in range(40):
        n = values_in_turn(turn)
        if turn:
            channel.outbox(0, n)[:] = channel.rank + turn
            numbers = [turn, 0.1 * channel.rank]
        kind = MessageKind.GRADIENT if turn else MessageKind.READY
        channel.send(0, kind, numbers, values=n if turn else 0)
        answer = receive(channel)
        assert answer.source == 0
        assert list(answer.numbers) == [turn]
        assert (answer.values == 1000 * channel.rank + turn).all()
        assert len(answer.values) == n
        assert answer.kind == (MessageKind.WEIGHTS if turn % 5 else MessageKind.MODEL)
        if turn % 5 == 0:
            for array, sent in zip(answer.arrays, TOPOLOGY, strict=True):
                assert array.dtype == sent.dtype
                assert (array == sent).all()
            answer.arrays[2][:] = -1  # arrays belong to the receiver


def values_in_turn(turn: int) -> int:
    """Length of the vectors of a turn: in two turns more than the channel was prepared for."""
    return 2 * N if turn in (10, 11) else N


if __name__ == "__main__":
    from tsnn.parallel.mpi import MpiChannel

    channel = MpiChannel()
    run_rank(channel, int(sys.argv[1]))
    assert int(sys.argv[1]) == 0 or len(channel._shared) == 2 * channel.workers or channel.rank
    channel.close()
