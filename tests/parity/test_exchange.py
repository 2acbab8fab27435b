"""The kernels of parallel training against their naive twins."""

import socket
import struct
import threading
import uuid

import numpy as np
import pytest

from tests.support import naive
from tsnn import kernels
from tsnn.engine.topology import erdos_renyi
from tsnn.parallel.wakeup import WakeupSocket

FLOATS = ("gradient", "weights", "velocity")


@pytest.mark.parametrize("update", [True, False])
def test_momentum_step(rng, update):
    gradient, weights, velocity = (rng.normal(size=50).astype(np.float32) for _ in FLOATS)
    expected = naive.momentum_step(gradient, 0.9, 0.1, 0.01, update, weights, velocity)
    kernels.momentum_step(gradient, 0.9, 0.1, 0.01, update, weights, velocity)
    np.testing.assert_allclose(weights, expected[0], rtol=1e-5)
    np.testing.assert_allclose(velocity, expected[1], rtol=1e-5)


def test_several_gradients_as_one(rng):
    gradients = rng.normal(size=(3, 40)).astype(np.float32)
    weights, velocity = rng.normal(size=(2, 40)).astype(np.float32)
    expected = naive.momentum_step(gradients.mean(axis=0), 0.9, 0.3, 0.01, True, weights, velocity)
    for i, gradient in enumerate(gradients):
        kernels.momentum_step(gradient, 0.9 if i == 0 else 1.0, 0.1, 0.01, i == 2, weights, velocity)
    np.testing.assert_allclose(weights, expected[0], rtol=1e-4)
    np.testing.assert_allclose(velocity, expected[1], rtol=1e-4)


def test_retain(rng):
    gradient, sources = rng.normal(size=9).astype(np.float32), np.array([3, -1, 8, 0, -1], np.int32)
    out = np.empty(5, np.float32)
    kernels.retain(gradient, sources, out)
    assert out.tolist() == [np.float32(x) for x in naive.retain(gradient, sources)]


@pytest.mark.parametrize("counts", [(0, 7), (7, 0), (20, 20), (70, 65), (70, 70)])
def test_find_connections_and_add_layers(rng, counts):
    old, new = (erdos_renyi(7, 10, count, rng=rng) for count in counts)
    sources = np.empty(new.connections, np.int32)
    kernels.find_connections(new.indptr, new.indices, old.indptr, old.indices, 100, sources)
    assert sources.tolist() == naive.find_connections(new.indptr, new.indices, old.indptr, old.indices, 100)

    weights = [rng.normal(size=count).astype(np.float32) for count in counts]
    layers = old.indptr, old.indices, weights[0], new.indptr, new.indices, weights[1], 0.25
    indptr, indices, sums = kernels.add_layers(*layers)
    rows = np.repeat(np.arange(7), np.diff(indptr))
    expected = naive.add_layers(*layers)
    assert list(zip(rows.tolist(), indices.tolist(), strict=True)) == [(i, j) for i, j, _ in expected]
    np.testing.assert_allclose(sums, [w for *_, w in expected], rtol=1e-5)


N, SLOT, NUMBERS = 20, 32, 9
EXPECTED = [1, N, NUMBERS, 7]  # kind, values, numbers, version
RATES = [(0.9, 0.1), (0.8, 0.2), (0.7, 0.3), (0.9, 0.1), (0.9, 0.1)]


def words(loss=0.5, version=7, samples=16):
    """The words of a gradient."""
    return np.array([*EXPECTED[:3], version, 3, samples, loss, *range(NUMBERS - 4)], np.float64)


class Office:
    """A server's socket and those of two workers, what is trained and what has been handed over."""

    def __init__(self, rng):
        names = [f"\0tsnn-test-{uuid.uuid4().hex}-{k}".encode() for k in range(3)]
        self.server, *self.workers = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in names)
        for each, name in zip((self.server, *self.workers), names, strict=True):
            each.bind(name)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", 0, 50_000))
        self.addresses = WakeupSocket(self.server, dict(enumerate(names))).addresses
        self.place = names[0]
        self.boxes, self.idle = rng.normal(size=4 * SLOT).astype(np.float32), np.array([0.25, 0.75])
        self.weights, self.velocity = rng.normal(size=(2, N)).astype(np.float32)
        self.heard, self.came = np.zeros(30), np.zeros((5, 1 + len(words())))
        self.unsent = np.zeros(2, np.bool_)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for each in (self.server, *self.workers):
            each.close()

    def send(self, worker, text):
        self.workers[worker].sendto(bytes(text), self.place)

    def serve(self, seconds=10.0, together=1):
        """Returns what the kernel does; the answers count from update 40 on."""
        rates = np.array(RATES[: 5 // together])
        return kernels.answer_gradients(
            *self.addresses, self.boxes, SLOT, together, rates, 0.01, seconds,
            np.array(EXPECTED, np.float64), self.weights, self.velocity, self.idle,
            np.array([8, N, 4, 7, 40, 0, 2], np.float64), self.heard, self.came, self.unsent,
        )  # fmt: skip

    def answer(self, worker):
        return struct.unpack("7d", self.workers[worker].recv(4096))


@pytest.mark.compiled
def test_gradients_are_applied_and_answered_in_their_order(rng):
    with Office(rng) as office:
        for worker in (1, 0, 1):
            office.send(worker, words(loss=worker))
        expected, untouched, given = (office.weights, office.velocity), office.boxes.copy(), []
        for worker in (1, 0, 1):
            gradient = office.boxes[(2 * worker + 1) * SLOT :][:N]
            expected = naive.momentum_step(gradient, *RATES[len(given)], 0.01, True, *expected)
            given.append(expected[0])
        assert office.serve() == (3, 3, -1, 0)
        np.testing.assert_allclose(office.weights, expected[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(office.velocity, expected[1], rtol=1e-5, atol=1e-6)
        for worker, weights in ((0, given[1]), (1, given[2])):
            box = slice(2 * worker * SLOT, 2 * worker * SLOT + N)
            np.testing.assert_allclose(office.boxes[box], weights, rtol=1e-5, atol=1e-6)
            untouched[box] = office.boxes[box]
        assert (office.boxes == untouched).all()
        assert office.came[:3, 0].tolist() == [1, 0, 1]
        assert office.came[:3, 1:].tolist() == [words(loss=worker).tolist() for worker in (1, 0, 1)]
        assert [office.answer(1) for _ in range(2)] == [(8, N, 4, 7, 41, 0.75, 2), (8, N, 4, 7, 43, 0, 2)]
        assert office.answer(0) == (8, N, 4, 7, 42, 0.25, 2)
        assert office.idle.tolist() == [0, 0]
        assert not office.unsent.any()


@pytest.mark.compiled
def test_the_mean_of_several_gradients_is_applied_when_all_have_come(rng):
    with Office(rng) as office:
        office.send(1, words(samples=10))
        later = threading.Timer(0.02, lambda: (office.send(0, words(samples=30)), office.send(1, words())))
        gradients = [office.boxes[(2 * worker + 1) * SLOT :][:N].astype(float) for worker in range(2)]
        mean = 0.75 * gradients[0] + 0.25 * gradients[1]
        expected = naive.momentum_step(mean, *RATES[0], 0.01, True, office.weights, office.velocity)
        later.start()
        assert office.serve(together=2) == (1, 3, -1, 0)  # the third waits in vain
        np.testing.assert_allclose(office.weights, expected[0], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(office.velocity, expected[1], rtol=1e-4, atol=1e-6)
        for worker in range(2):
            assert (office.boxes[2 * worker * SLOT :][:N] == office.weights).all()
        assert office.came[:3, 0].tolist() == [1, 0, 1]
        first, second = office.answer(0), office.answer(1)
        assert first == (8, N, 4, 7, 41, 0.25, 2)
        assert 0.755 <= second[5] < 10  # has waited for the other
        with pytest.raises(BlockingIOError):
            office.answer(1)


@pytest.mark.compiled
@pytest.mark.parametrize(
    "text",
    [b"", words(loss=np.nan), words(loss=np.inf), words(version=6), words()[:-1], np.full(13, 1.0)],
    ids=["a ring", "nan", "inf", "old version", "short", "long"],
)
def test_all_else_is_left_to_python(rng, text):
    with Office(rng) as office:
        before = office.weights.tobytes(), office.velocity.tobytes(), office.boxes.tobytes()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(bytes(words()), office.place)
        office.send(1, text)
        office.send(0, words())
        assert office.serve() == (0, 0, 1, len(bytes(text)))
        assert office.heard.tobytes()[: len(bytes(text))] == bytes(text)
        assert (office.weights.tobytes(), office.velocity.tobytes(), office.boxes.tobytes()) == before


@pytest.mark.compiled
def test_it_comes_back(rng):
    with Office(rng) as office:
        assert office.serve() == (0, 0, -1, 0)  # nobody speaks
        for _ in range(6):
            office.send(0, words())
        assert office.serve(0.0) == (0, 0, -1, 0)  # time is up
        assert office.serve() == (5, 5, -1, 0)  # there are no more rates
        office.send(1, words())
        office.workers[0].close()
        assert office.serve() == (1, 1, -1, 0)
        assert office.unsent.tolist() == [True, False]  # cannot be answered
        assert office.idle.tolist() == [0, 0.75]
        assert office.serve() == (1, 1, -1, 0)
        assert office.answer(1)[5] == 0.75
