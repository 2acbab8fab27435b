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
from tsnn.kernels.wire import (
    ANSWER_IDLE_SECONDS,
    ANSWER_UPDATE,
    GRADIENT_LOSS,
    GRADIENT_SAMPLES,
    ROW_WORDS,
    ROW_WORKER,
    AnswerHead,
    GradientHead,
    MessageHead,
)
from tsnn.parallel.wakeup import WakeupSocket

FLOATS = ("gradient", "weights", "velocity")


@pytest.mark.parametrize("update", [True, False])
def test_momentum_step__equals_the_naive_twin(rng, update):
    gradient, weights, velocity = (rng.normal(size=50).astype(np.float32) for _ in FLOATS)
    expected = naive.momentum_step(gradient, 0.9, 0.1, 0.01, update, weights, velocity)
    kernels.momentum_step(gradient, 0.9, 0.1, 0.01, update, weights, velocity)
    np.testing.assert_allclose(weights, expected[0], rtol=1e-5)
    np.testing.assert_allclose(velocity, expected[1], rtol=1e-5)


def test_momentum_step__of_several_gradients_is_that_of_their_sum(rng):
    gradients = rng.normal(size=(3, 40)).astype(np.float32)
    weights, velocity = rng.normal(size=(2, 40)).astype(np.float32)
    expected = naive.momentum_step(gradients.mean(axis=0), 0.9, 0.3, 0.01, True, weights, velocity)
    for i, gradient in enumerate(gradients):
        kernels.momentum_step(gradient, 0.9 if i == 0 else 1.0, 0.1, 0.01, i == 2, weights, velocity)
    np.testing.assert_allclose(weights, expected[0], rtol=1e-4)
    np.testing.assert_allclose(velocity, expected[1], rtol=1e-4)


def test_retain__equals_the_naive_twin(rng):
    gradient, sources = rng.normal(size=9).astype(np.float32), np.array([3, -1, 8, 0, -1], np.int32)
    out = np.empty(5, np.float32)
    kernels.retain(gradient, sources, out)
    assert out.tolist() == [np.float32(x) for x in naive.retain(gradient, sources)]


@pytest.mark.parametrize("counts", [(0, 7), (7, 0), (20, 20), (70, 65), (70, 70)])
def test_find_connections_and_add_layers__equal_the_naive_twins(rng, counts):
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


N, SLOT, VERSION, UPDATE = 20, 32, 7, 40
EXPECTED = [*MessageHead(1, N, len(GradientHead._fields)), VERSION]
RATES = [(0.9, 0.1), (0.8, 0.2), (0.7, 0.3), (0.9, 0.1), (0.9, 0.1)]


def gradient_words(loss=0.5, version=VERSION, samples=16):
    """Return the words of a gradient."""
    return np.array([*EXPECTED[:3], *GradientHead(version, 3, samples, loss, 0, 1, 2, 3, 4)], np.float64)


def answer_words(update, idle_seconds):
    """Return the words of an answer."""
    return (8, N, len(AnswerHead._fields), *AnswerHead(VERSION, update, idle_seconds, 2))


class Sockets:
    """A server's socket and those of two workers, the model, and the outputs of the kernel."""

    def __init__(self, rng):
        names = [f"\0tsnn-test-{uuid.uuid4().hex}-{k}".encode() for k in range(3)]
        self.server, *self.workers = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in names)
        for each, name in zip((self.server, *self.workers), names, strict=True):
            each.bind(name)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", 0, 50_000))
        self.addresses = WakeupSocket(self.server, dict(enumerate(names))).addresses
        self.server_name = names[0]
        self.boxes, self.idle_seconds = rng.normal(size=4 * SLOT).astype(np.float32), np.array([0.25, 0.75])
        self.weights, self.velocity = rng.normal(size=(2, N)).astype(np.float32)
        self.message, self.received = np.zeros(30), np.zeros((5, ROW_WORDS + len(gradient_words())))
        self.undelivered = np.zeros(2, np.bool_)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for each in (self.server, *self.workers):
            each.close()

    def send(self, worker, text):
        self.workers[worker].sendto(bytes(text), self.server_name)

    def serve(self, seconds=10.0, per_update=1):
        """Return the kernel's results; answers count from UPDATE on."""
        return kernels.answer_gradients(
            *self.addresses, self.boxes, SLOT, per_update, np.array(RATES[: 5 // per_update]), 0.01, seconds,
            np.array(EXPECTED, np.float64), self.weights, self.velocity, self.idle_seconds,
            np.array(answer_words(UPDATE, 0), np.float64), self.message, self.received, self.undelivered,
        )  # fmt: skip

    def answer(self, worker):
        words = self.workers[worker].recv(4096)
        return struct.unpack(f"{len(words) // 8}d", words)

    def gradient(self, worker):
        return self.boxes[(2 * worker + 1) * SLOT :][:N]

    def weights_box(self, worker):
        return self.boxes[2 * worker * SLOT :][:N]


@pytest.mark.compiled
def test_answer_gradients__applies_and_answers_in_order(rng):
    with Sockets(rng) as sockets:
        for worker in (1, 0, 1):
            sockets.send(worker, gradient_words(loss=worker))
        expected, untouched, sent = (sockets.weights, sockets.velocity), sockets.boxes.copy(), []
        for worker in (1, 0, 1):
            expected = naive.momentum_step(sockets.gradient(worker), *RATES[len(sent)], 0.01, True, *expected)
            sent.append(expected[0])
        assert sockets.serve() == (3, 3, -1, 0)
        np.testing.assert_allclose(sockets.weights, expected[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(sockets.velocity, expected[1], rtol=1e-5, atol=1e-6)
        for worker, weights in ((0, sent[1]), (1, sent[2])):
            np.testing.assert_allclose(sockets.weights_box(worker), weights, rtol=1e-5, atol=1e-6)
            untouched[2 * worker * SLOT :][:N] = sockets.weights_box(worker)
        assert (sockets.boxes == untouched).all()
        assert sockets.received[:3, ROW_WORKER].tolist() == [1, 0, 1]
        words = [gradient_words(loss=worker).tolist() for worker in (1, 0, 1)]
        assert sockets.received[:3, ROW_WORDS:].tolist() == words
        assert [sockets.answer(1) for _ in range(2)] == [answer_words(41, 0.75), answer_words(43, 0)]
        assert sockets.answer(0) == answer_words(42, 0.25)
        assert sockets.idle_seconds.tolist() == [0, 0]
        assert not sockets.undelivered.any()


@pytest.mark.compiled
def test_answer_gradients__applies_the_mean_of_a_complete_round(rng):
    with Sockets(rng) as sockets:
        sockets.send(1, gradient_words(samples=10))
        later = threading.Timer(
            0.02, lambda: (sockets.send(0, gradient_words(samples=30)), sockets.send(1, gradient_words()))
        )
        mean = 0.75 * sockets.gradient(0).astype(float) + 0.25 * sockets.gradient(1).astype(float)
        expected = naive.momentum_step(mean, *RATES[0], 0.01, True, sockets.weights, sockets.velocity)
        later.start()
        assert sockets.serve(per_update=2) == (1, 3, -1, 0)  # the third gradient belongs to an incomplete round
        np.testing.assert_allclose(sockets.weights, expected[0], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(sockets.velocity, expected[1], rtol=1e-4, atol=1e-6)
        for worker in range(2):
            assert (sockets.weights_box(worker) == sockets.weights).all()
        assert sockets.received[:3, ROW_WORKER].tolist() == [1, 0, 1]
        first, second = sockets.answer(0), sockets.answer(1)
        assert first == answer_words(41, 0.25)
        assert 0.755 <= second[ANSWER_IDLE_SECONDS] < 10  # it waited for worker 0
        with pytest.raises(BlockingIOError):
            sockets.answer(1)


@pytest.mark.compiled
@pytest.mark.parametrize(
    "text",
    [
        b"", gradient_words(loss=np.nan), gradient_words(loss=np.inf), gradient_words(version=6),
        gradient_words()[:-1], np.full(13, 1.0),
    ],
    ids=["empty", "nan", "inf", "old version", "short", "long"],
)  # fmt: skip
def test_answer_gradients__returns_at_other_messages(rng, text):
    with Sockets(rng) as sockets:
        before = sockets.weights.tobytes(), sockets.velocity.tobytes(), sockets.boxes.tobytes()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as foreign:
            foreign.sendto(bytes(gradient_words()), sockets.server_name)
        sockets.send(1, text)
        sockets.send(0, gradient_words())
        assert sockets.serve() == (0, 0, 1, len(bytes(text)))
        assert sockets.message.tobytes()[: len(bytes(text))] == bytes(text)
        assert (sockets.weights.tobytes(), sockets.velocity.tobytes(), sockets.boxes.tobytes()) == before


@pytest.mark.compiled
def test_answer_gradients__returns_when_it_cannot_continue(rng):
    with Sockets(rng) as sockets:
        assert sockets.serve() == (0, 0, -1, 0)  # no message
        for _ in range(6):
            sockets.send(0, gradient_words())
        assert sockets.serve(0.0) == (0, 0, -1, 0)  # out of time
        assert sockets.serve() == (5, 5, -1, 0)  # out of rates
        sockets.send(1, gradient_words())
        sockets.workers[0].close()
        assert sockets.serve() == (1, 1, -1, 0)
        assert sockets.undelivered.tolist() == [True, False]  # the answer could not be sent
        assert sockets.idle_seconds.tolist() == [0, 0.75]
        assert sockets.serve() == (1, 1, -1, 0)
        assert sockets.answer(1)[ANSWER_IDLE_SECONDS] == 0.75


def test_wire__positions_are_those_of_the_tuples():
    head = MessageHead(1, 2, 3)
    gradient, answer = GradientHead(*range(9)), AnswerHead(*range(4))
    assert [*head, *gradient][GRADIENT_SAMPLES] == gradient.samples
    assert [*head, *gradient][GRADIENT_LOSS] == gradient.loss
    assert [*head, *answer][ANSWER_UPDATE] == answer.update
    assert [*head, *answer][ANSWER_IDLE_SECONDS] == answer.idle_seconds
