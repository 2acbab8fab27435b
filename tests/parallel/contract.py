"""What every channel must do, said once: each rank runs its part, over threads or over MPI.

``mpiexec -n 3 python -m mpi4py -m tests.parallel.contract CAPACITY`` is the part over MPI.
"""

import socket
import sys
import time

import numpy as np

from tsnn.parallel.channel import Service

N = 5000
FLOOD = 30  # by default 10 can wait in a socket
TOPOLOGY = [np.arange(7, dtype=dtype) for dtype in (np.float32, np.float64, np.int32, np.int64, np.uint8)]


def converse(channel, capacity):
    """A stranger's message, more than can wait, gradients too few for an update, arrays of every type, values that
    grow and shrink again, silence."""
    channel.share_memory(capacity if channel.rank == 0 else 0)
    (collect if channel.rank == 0 else flood)(channel)
    (listen if channel.rank == 0 else contend)(channel)
    (expect if channel.rank == 0 else contribute)(channel)
    (serve if channel.rank == 0 else work)(channel)


def flood(channel):
    intrude(channel)
    for number in range(FLOOD):
        channel.send(0, "progress", [number])
    assert channel.receive().kind == "go"


def intrude(channel):
    """Let someone who is no rank ring rank 0's bell with what could be a message."""
    bell = getattr(channel, "_wakeup", None)
    if bell is not None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(np.zeros(3).tobytes(), bell._names[0])


def collect(channel):
    time.sleep(0.5)  # now many wait
    came = {rank: [] for rank in range(1, channel.workers + 1)}
    for _ in range(FLOOD * channel.workers):
        message = channel.receive()
        assert message.kind == "progress"
        came[message.source] += message.numbers
    for rank, numbers in came.items():
        assert sorted(numbers) == list(range(FLOOD))
        channel.send(rank, "go")


def contend(channel):
    """Send one message with an array, or, if there is another worker that does, small ones without a pause."""
    if channel.rank == channel.workers:
        channel.send(0, "epoch", arrays=TOPOLOGY)
    else:
        time.sleep(0.1)
        while True:
            channel.send(0, "progress")
            if channel.receive().kind == "stop":
                break
    assert channel.receive().kind == "go"


def listen(channel):
    """Whoever talks without a pause does not keep others from being heard."""
    time.sleep(0.2)
    deadline, came = time.monotonic() + 10, False
    talking = channel.workers > 1
    while talking or not came:
        message = channel.receive()
        came |= message.kind == "epoch"
        if message.kind == "progress":
            channel.send(message.source, "stop" if came else "values")
            talking = not came
        assert time.monotonic() < deadline
    for rank in range(1, channel.workers + 1):
        channel.send(rank, "go")


def contribute(channel):
    channel.outbox(0, N)[:] = channel.rank
    channel.send(0, "gradient", [7, *range(8)], values=N)
    assert channel.receive().kind == "go"


def expect(channel):
    """Gradients that wait for one more are left to be received."""
    time.sleep(0.2)
    weights, velocity = np.zeros((2, N), np.float32)
    service = Service(
        7, 9, channel.workers + 1, np.ones((3, 2)), 0.0, weights, velocity, [0.0] * 9, np.zeros(channel.workers)
    )
    assert channel.answer_gradients(service, 0.1).shape == (0, 10)
    assert not weights.any()
    messages = [channel.receive() for _ in range(channel.workers)]
    assert {message.source for message in messages} == set(range(1, channel.workers + 1))
    for message in messages:
        assert message.kind == "gradient"
        assert message.numbers == (7, *range(8))
        assert (message.values == message.source).all()
        channel.send(message.source, "go")


def serve(channel):
    heard = dict.fromkeys(range(1, channel.workers + 1), 0)
    places = {}
    while min(heard.values()) < 40:
        message = channel.receive()
        turn = heard[message.source]
        heard[message.source] += 1
        assert message.kind == ("ready" if turn == 0 else "gradient")
        n = size(turn)
        if turn:
            assert message.numbers == (turn, 0.1 * message.source)
            assert (message.values == message.source + turn).all()
            assert len(message.values) == n
        box = channel.outbox(message.source, n)
        box[:] = 1000 * message.source + turn
        address = box.ctypes.data
        assert places.setdefault((message.source, n), address) == address or turn == 12
        places[message.source, n] = address
        arrays = TOPOLOGY if turn % 5 == 0 else []
        channel.send(message.source, "model" if arrays else "values", [turn], arrays=arrays, values=n)
    assert channel.receive(0.05) is None


def work(channel):
    numbers = []
    for turn in range(40):
        n = size(turn)
        if turn:
            channel.outbox(0, n)[:] = channel.rank + turn
            numbers = [turn, 0.1 * channel.rank]
        channel.send(0, "gradient" if turn else "ready", numbers, values=n if turn else 0)
        reply = channel.receive()
        assert reply.source == 0
        assert reply.numbers == (turn,)
        assert (reply.values == 1000 * channel.rank + turn).all()
        assert len(reply.values) == n
        assert reply.kind == ("values" if turn % 5 else "model")
        if turn % 5 == 0:
            for array, sent in zip(reply.arrays, TOPOLOGY, strict=True):
                assert array.dtype == sent.dtype
                assert (array == sent).all()
            reply.arrays[2][:] = -1  # the receiver's own


def size(turn):
    """How many values travel in a turn: for a while more than were foreseen."""
    return 2 * N if turn in (10, 11) else N


if __name__ == "__main__":
    from tsnn.parallel.mpi import MpiChannel

    channel = MpiChannel()
    converse(channel, int(sys.argv[1]))
    assert int(sys.argv[1]) == 0 or len(channel._shared) == 2 * channel.workers or channel.rank
    channel.close()
