"""Compiled loops of parallel training: updates, answers to workers, stale gradients, averages of models."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from tsnn.kernels.compiling import compiled
from tsnn.kernels.wire import ANSWER_IDLE_SECONDS, ANSWER_UPDATE, GRADIENT_LOSS, GRADIENT_SAMPLES, ROW_WORDS, ROW_WORKER

ADDRESS_BYTES = 110  # of a local socket: struct sockaddr_un
DONT_WAIT, MONOTONIC = 0x40, 1  # Linux


def _libc(name: str, *arguments: Any) -> Any:
    """Return a function of the C library that compiled code can call; it returns a long, -1 on failure."""
    return types.ExternalFunction(name, types.intp(*arguments))


_POINTER = types.uintp
_recvfrom = _libc("recvfrom", types.int32, _POINTER, types.uintp, types.int32, _POINTER, _POINTER)
_sendto = _libc("sendto", types.int32, _POINTER, types.uintp, types.int32, _POINTER, types.uint32)
_clock_gettime = _libc("clock_gettime", types.int32, _POINTER)


@compiled()
def momentum_step(
    gradient: NDArray[np.float32], momentum: float, learning_rate: float, weight_decay: float, update: bool,
    weights: NDArray[np.float32], velocity: NDArray[np.float32],
) -> None:  # fmt: skip
    """Apply a gradient, float32[n]: v <- momentum v - learning_rate g; if `update`, w <- (1 - weight_decay) w + v.

    Several gradients as one: `momentum` with the first, 1.0 with the others, `update` with the last. Memory is the
    limit: 20 bytes per value, read or written once.
    """
    mu, eta, keep = np.float32(momentum), np.float32(learning_rate), np.float32(1 - weight_decay)
    for k in range(gradient.shape[0]):
        v = mu * velocity[k] - eta * gradient[k]
        velocity[k] = v
        if update:
            weights[k] = keep * weights[k] + v


@compiled()
def answer_gradients(
    socket: int, addresses: NDArray[np.uint8], address_lengths: NDArray[np.int64], boxes: NDArray[np.float32],
    slot: int, gradients_per_update: int, rates: NDArray[np.float64], weight_decay: float, seconds: float,
    expected: NDArray[np.float64], weights: NDArray[np.float32], velocity: NDArray[np.float32],
    idle_seconds: NDArray[np.float64], answer: NDArray[np.float64], message: NDArray[np.float64],
    received: NDArray[np.float64], undelivered: NDArray[np.bool_],
) -> tuple[int, int, int, int]:  # fmt: skip
    """Serve workers while they send gradients only: receive, update, answer, without Python.

    :mod:`tsnn.parallel.mpi` explains when this loop is used and why. :mod:`tsnn.kernels.wire` defines the words of
    messages.

    Parameters
    ----------
    socket : int
        A Linux datagram socket with a receive timeout.
    addresses, address_lengths : uint8[K, ADDRESS_BYTES], int64[K]
        The workers' addresses.
    boxes, slot : float32[2 K slot], int
        Two vectors of every worker: the weights for it, then its gradient.
    gradients_per_update : int
        1 or K. An update applies their mean, weighted by their samples.
    rates : float64[u, 2]
        Momentum and learning rate of the next updates, at most u.
    weight_decay : float
        See :func:`momentum_step`.
    seconds : float
        After this time the next update is the last.
    expected : float64[4]
        First words of a gradient for the current topology version.
    weights, velocity : float32[n]
        The model, updated in place.
    idle_seconds : float64[K]
        Seconds that the next answer reports in addition to those of waiting for other workers; 0 once it is sent.
    answer : float64[m]
        Words of an answer, updated in place.
    message : float64[h]
        Buffer for the last message.
    received : float64[u gradients_per_update, 1 + w]
        Written: worker, counted from 0, and the w words of each gradient.
    undelivered : bool[K]
        Written: whether the answer to a worker could not be sent.

    Returns
    -------
    updates : int
        Updates made.
    gradients : int
        Gradients received: more than were applied if an update lacks some.
    worker, length : int
        Sender of a message that is no such gradient, and its length in bytes in `message`; -1 and 0 without one.
    """
    words = received.shape[1] - ROW_WORDS
    address, size, clock = np.empty(ADDRESS_BYTES, np.uint8), np.empty(1, np.int32), np.empty(2, np.int64)
    arrival = np.zeros(addresses.shape[0])
    now = _seconds(clock)
    end = now + seconds
    updates = gradients = 0
    while updates < rates.shape[0] and (gradients > updates * gradients_per_update or now < end):
        size[0] = ADDRESS_BYTES
        length = _recvfrom(socket, message.ctypes.data, message.nbytes, 0, address.ctypes.data, size.ctypes.data)
        now = _seconds(clock)
        if length < 0:
            break
        worker = _find(addresses, address_lengths, address, size[0])
        if worker < 0:
            continue
        if length != 8 * words or not _starts(message, expected) or not np.isfinite(message[GRADIENT_LOSS]):
            return updates, gradients, worker, length
        received[gradients, ROW_WORKER] = worker
        for i in range(words):
            received[gradients, ROW_WORDS + i] = message[i]
        arrival[worker] = now
        gradients += 1
        if gradients < (updates + 1) * gradients_per_update:
            continue
        first, failed = updates * gradients_per_update, False
        _apply(received, first, gradients, rates, updates, weight_decay, boxes, slot, weights, velocity)
        updates += 1
        answer[ANSWER_UPDATE] += 1
        for k in range(first, gradients):
            worker = int(received[k, ROW_WORKER])
            answer[ANSWER_IDLE_SECONDS] = idle_seconds[worker] + now - arrival[worker]
            to, at = addresses.ctypes.data + worker * ADDRESS_BYTES, address_lengths[worker]
            undelivered[worker] = _sendto(socket, answer.ctypes.data, answer.nbytes, DONT_WAIT, to, at) < 0
            idle_seconds[worker] = answer[ANSWER_IDLE_SECONDS] if undelivered[worker] else 0.0
            failed |= undelivered[worker]
        if failed:
            break
    return updates, gradients, -1, 0


@compiled(inline=True)
def _find(
    addresses: NDArray[np.uint8], address_lengths: NDArray[np.int64], address: NDArray[np.uint8], length: int
) -> int:
    """Return the row of an address, or -1."""
    for k in range(addresses.shape[0]):
        same = address_lengths[k] == length
        for i in range(length if same else 0):
            same &= addresses[k, i] == address[i]
        if same:
            return k
    return -1


@compiled(inline=True)
def _starts(words: NDArray[np.float64], expected: NDArray[np.float64]) -> bool:
    """Return whether a message starts with the expected words."""
    same = True
    for i in range(expected.shape[0]):
        same &= words[i] == expected[i]
    return same


@compiled(inline=True)
def _seconds(clock: NDArray[np.int64]) -> float:
    """Return the monotonic time in seconds; `clock`, int64[2], is overwritten."""
    _clock_gettime(MONOTONIC, clock.ctypes.data)
    return float(clock[0] + 1e-9 * clock[1])


@compiled()
def _apply(
    received: NDArray[np.float64], start: int, stop: int, rates: NDArray[np.float64], update: int, weight_decay: float,
    boxes: NDArray[np.float32], slot: int, weights: NDArray[np.float32], velocity: NDArray[np.float32],
) -> None:  # fmt: skip
    """Apply gradients start to stop as one update, in the order of their workers, and write the weights for these."""
    n, momentum, samples, left, last = weights.shape[0], rates[update, 0], 0.0, stop - start, 0
    for k in range(start, stop):
        samples += received[k, ROW_WORDS + GRADIENT_SAMPLES]
    for worker in range(boxes.shape[0] // (2 * slot)):
        for k in range(start, stop):
            if received[k, ROW_WORKER] == worker:
                left, last = left - 1, worker
                box, gradient = 2 * worker * slot, boxes[(2 * worker + 1) * slot :]
                rate = rates[update, 1] * received[k, ROW_WORDS + GRADIENT_SAMPLES] / samples
                if left:
                    momentum_step(gradient[:n], momentum, rate, weight_decay, False, weights, velocity)
                else:
                    _step_into(gradient[:n], momentum, rate, weight_decay, weights, velocity, boxes[box : box + n])
                momentum = 1.0
    for k in range(start, stop):
        box = 2 * int(received[k, ROW_WORKER]) * slot
        if received[k, ROW_WORKER] != last:
            for i in range(n):
                boxes[box + i] = weights[i]


@compiled()
def _step_into(
    gradient: NDArray[np.float32], momentum: float, learning_rate: float, weight_decay: float,
    weights: NDArray[np.float32], velocity: NDArray[np.float32], out: NDArray[np.float32],
) -> None:  # fmt: skip
    """Apply a gradient as :func:`momentum_step` does, and write the new weights to `out` as well."""
    mu, eta, keep = np.float32(momentum), np.float32(learning_rate), np.float32(1 - weight_decay)
    for k in range(gradient.shape[0]):
        v = mu * velocity[k] - eta * gradient[k]
        w = keep * weights[k] + v
        velocity[k], weights[k], out[k] = v, w, w


@compiled()
def retain(gradient: NDArray[np.float32], sources: NDArray[np.int32], out: NDArray[np.float32]) -> None:
    """Write out[k] = gradient[sources[k]], or 0 where sources[k] is -1."""
    for k in range(sources.shape[0]):
        out[k] = gradient[sources[k]] if sources[k] >= 0 else np.float32(0)


@compiled()
def find_connections(
    indptr: NDArray[np.int64], indices: NDArray[np.int32], old_indptr: NDArray[np.int64],
    old_indices: NDArray[np.int32], offset: int, sources: NDArray[np.int32],
) -> None:  # fmt: skip
    """Write the position that each connection of a pattern had in an older pattern.

    Patterns are CSR, int64[n_in + 1] and int32[m], sorted. ``sources[k]`` is ``offset`` + the position in
    ``old_indices``, or -1 for a new connection. O(connections).
    """
    for i in range(indptr.shape[0] - 1):
        old, end = old_indptr[i], old_indptr[i + 1]
        for k in range(indptr[i], indptr[i + 1]):
            while old < end and old_indices[old] < indices[k]:
                old += 1
            sources[k] = offset + old if old < end and old_indices[old] == indices[k] else -1


@compiled()
def add_layers(
    indptr: NDArray[np.int64], indices: NDArray[np.int32], weights: NDArray[np.float32],
    other_indptr: NDArray[np.int64], other_indices: NDArray[np.int32], other_weights: NDArray[np.float32],
    fraction: float,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:  # fmt: skip
    """Return the CSR layer ``this + fraction * other`` over the union of the connections; missing weights are 0."""
    n_in = indptr.shape[0] - 1
    out_indptr = np.zeros(n_in + 1, np.int64)
    out_indices = np.empty(indices.shape[0] + other_indices.shape[0], np.int32)
    out_weights = np.empty(out_indices.shape[0], np.float32)
    part = np.float32(fraction)
    at = 0
    for i in range(n_in):
        k, other = indptr[i], other_indptr[i]
        while k < indptr[i + 1] or other < other_indptr[i + 1]:
            here = k < indptr[i + 1] and (other == other_indptr[i + 1] or indices[k] <= other_indices[other])
            there = other < other_indptr[i + 1] and (k == indptr[i + 1] or other_indices[other] <= indices[k])
            out_indices[at] = indices[k] if here else other_indices[other]
            out_weights[at] = (weights[k] if here else np.float32(0)) + (
                part * other_weights[other] if there else np.float32(0)
            )
            k += here
            other += there
            at += 1
        out_indptr[i + 1] = at
    return out_indptr, out_indices[:at].copy(), out_weights[:at].copy()
