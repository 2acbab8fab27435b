"""Mistakes on the test part: how classes are confused, some samples of each confusion, and the inputs that decided.

They belong to the network that was tested, before its evolution, and use the outputs of that test: only the few samples
that are kept are propagated again, for the gradient. The results are fields of :class:`tsnn.snapshot.Snapshot`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tsnn.datasets import Dataset
from tsnn.engine.losses import squared_errors
from tsnn.engine.network import Layer, Network
from tsnn.engine.propagation import forward
from tsnn.engine.workspace import Workspace
from tsnn.snapshot import MAX_CONFUSED, MAX_COUNTED, MAX_PIXELS

POOL = 20_000  # test samples of which some are kept; all are counted
KEPT = 64  # samples of a snapshot
DECIDING = 40  # inputs of a sample whose contributions are kept
GREYS = 32  # levels of brightness of a kept picture: half as many bytes, compressed, and nothing less to be seen
SCATTERED = 2000  # pairs of an actual and a predicted value in regression
#: Correct answers come after this many mistakes of each kind.
_MISTAKES_FIRST = 4
_LARGEST = float(np.finfo(np.float16).max)
_PART_BYTES = 4 << 20  # of the gradients of all neurons, at a time; not part of the estimated memory

Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]


class Judgement(NamedTuple):
    """Facts about some samples: int64[m] and float32[m, 2].

    Attributes
    ----------
    actual, predicted : int64[m]
        Classes; of several labels one that is wrong, and -1 for its absence; of regression the target, twice.
    values : float32[m, 2]
        Their probabilities; of regression the values, in the target's units.
    towards, against : int64[m]
        The output neurons whose difference is explained; -1 for none.
    """

    actual: Int64
    predicted: Int64
    values: Float32
    towards: Int64
    against: Int64


class Answers(Protocol):
    """Answers of a network to all test samples, as far as they are kept."""

    def add(self, rows: slice, z: Float32) -> None:
        """Add the output neurons' sums float32[n_outputs, B] of consecutive samples."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the counts or values of all samples, as fields of a snapshot."""

    def choose(self, pool: Int64, most: int) -> Int64:
        """Return the rows of the samples to keep, at most ``most``."""

    def judge(self, rows: Int64, z: Float32) -> Judgement:
        """Return the facts about samples, by the output neurons' sums float32[n_outputs, m]."""


class _Classes:
    """One of several classes for each sample."""

    def __init__(self, data: Dataset):
        self._y, self._k = np.asarray(data.y_test), data.n_outputs
        self._predicted = np.zeros(len(self._y), np.int32)

    def add(self, rows: slice, z: Float32) -> None:
        self._predicted[rows] = z[:, : rows.stop - rows.start].argmax(axis=0)

    def arrays(self) -> dict[str, NDArray[Any]]:
        k, y, predicted = self._k, self._y, self._predicted
        if k > MAX_COUNTED:
            return {}
        counts = [np.bincount(classes, minlength=k) for classes in (y, predicted, y[y == predicted])]
        found = {"test_counts": np.stack(counts, axis=1)}
        if k <= MAX_CONFUSED:
            found["test_confusion"] = np.bincount(y * k + predicted, minlength=k * k).reshape(k, k)
        return found

    def choose(self, pool: Int64, most: int) -> Int64:
        actual, predicted = self._y[pool], self._predicted[pool].astype(np.int64)
        cell = actual * self._k + predicted
        order = np.argsort(cell, kind="stable")
        starts = np.flatnonzero(np.diff(cell[order], prepend=-1))
        turn = np.empty(len(pool), np.int64)  # the first of each cell, then the second of each, ...
        turn[order] = np.arange(len(pool)) - np.repeat(starts, np.diff(starts, append=len(pool)))
        turn[actual == predicted] += _MISTAKES_FIRST
        return pool[np.argsort(turn, kind="stable")[:most]]

    def judge(self, rows: Int64, z: Float32) -> Judgement:
        actual, predicted, at = self._y[rows], self._predicted[rows].astype(np.int64), np.arange(len(rows))
        p = np.exp(z - z.max(axis=0))
        p /= p.sum(axis=0)
        others = z.copy()
        others[predicted, at] = -np.inf
        against = np.where(actual == predicted, others.argmax(axis=0), actual)
        values = np.stack([p[actual, at], p[predicted, at]], axis=1)
        return Judgement(actual, predicted, values, predicted, against)


class _Labels:
    """Several labels for each sample."""

    def __init__(self, data: Dataset):
        self._y = np.asarray(data.y_test)
        self._wrong = np.zeros(len(self._y), np.int32)
        self._counts = np.zeros((data.n_outputs, 3), np.int64)

    def add(self, rows: slice, z: Float32) -> None:
        if rows.start == 0:
            self._counts[:] = 0
        actual, predicted = self._y[rows].T > 0.5, z[:, : rows.stop - rows.start] > 0
        self._wrong[rows] = (actual != predicted).sum(axis=0)
        for column, labels in enumerate((actual, predicted, actual & predicted)):
            self._counts[:, column] += labels.sum(axis=1)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {} if len(self._counts) > MAX_COUNTED else {"test_counts": self._counts.copy()}

    def choose(self, pool: Int64, most: int) -> Int64:
        return pool[self._wrong[pool] > 0][:most]

    def judge(self, rows: Int64, z: Float32) -> Judgement:
        at, labels = np.arange(len(rows)), self._y[rows].T > 0.5
        label = np.where(labels != (z > 0), abs(z), -1).argmax(axis=0)  # the one that is most clearly wrong
        there = labels[label, at]
        probability = 0.5 + 0.5 * np.tanh(0.5 * z[label, at])
        values = np.stack([there, probability], axis=1).astype(np.float32)
        missed, added = np.where(there, label, -1), np.where(there, -1, label)
        return Judgement(missed, added, values, added, missed)


class _Values:
    """Numbers for each sample: regression."""

    def __init__(self, data: Dataset, pool: Int64):
        self._data, self._y = data, np.asarray(data.y_test)
        self._error = np.zeros(len(self._y))
        self._rows = np.sort(pool[: max(1, SCATTERED // data.n_outputs)])
        self._z = np.zeros((len(self._rows), data.n_outputs), np.float32)

    def add(self, rows: slice, z: Float32) -> None:
        self._error[rows] = squared_errors(z, self._y[rows]).sum(axis=1)
        first, last = np.searchsorted(self._rows, (rows.start, rows.stop))
        self._z[first:last] = z[:, self._rows[first:last] - rows.start].T

    def arrays(self) -> dict[str, NDArray[Any]]:
        if self._z.shape[1] > SCATTERED:
            return {}
        pairs = [self._data.in_units(values) for values in (self._y[self._rows], self._z)]
        return {"test_scatter": np.stack(pairs, axis=1).astype(np.float32)}

    def choose(self, pool: Int64, most: int) -> Int64:
        return np.argsort(-self._error, kind="stable")[:most]

    def judge(self, rows: Int64, z: Float32) -> Judgement:
        target, at = abs(z.T - self._y[rows]).argmax(axis=1), np.arange(len(rows))
        pairs = [self._data.in_units(values)[at, target] for values in (self._y[rows], z.T)]
        none = np.full(len(rows), -1)
        return Judgement(target, target, np.stack(pairs, axis=1).astype(np.float32), target, none)


class Examiner:
    """Collects the answers of each test, and examines those of some epochs.

    Parameters
    ----------
    data : Dataset
        The test part; of its features, only samples that are kept are read.
    seed : int
        Chooses which test samples are preferred: the same ones in every epoch.
    due : callable
        Whether samples are kept of an epoch. Counts are known of every one.

    Attributes
    ----------
    epoch : int
        Epoch of the last test; -1 before the first.
    seconds : float
        Time that its examination took.
    """

    def __init__(self, data: Dataset, seed: int, due: Callable[[int], bool]):
        self.epoch, self.seconds = -1, 0.0
        self._data, self._due = data, due
        n = len(data.x_test)
        self._pool = np.random.default_rng(seed).choice(n, min(n, POOL), replace=False)
        kinds: dict[str, Callable[[], Answers]] = {
            "classification": lambda: _Classes(data), "multilabel": lambda: _Labels(data),
            "regression": lambda: _Values(data, self._pool),
        }  # fmt: skip
        self.answers = kinds[data.task]()
        pixels = data.n_features if data.image_shape is not None else 0
        self._with_pixels = 0 < pixels <= MAX_PIXELS
        self._most = min(KEPT, MAX_PIXELS // pixels) if self._with_pixels else KEPT
        self._samples: dict[str, NDArray[Any]] = {}

    def examine(self, network: Network, epoch: int, workspace: Workspace) -> float:
        """Keep samples of the test that has just been made, if they are due; return the seconds that it took.

        Parameters
        ----------
        network : Network
            The one that was tested.
        epoch : int
            Its epoch.
        workspace : Workspace
            Buffers; overwritten.
        """
        started = time.perf_counter()
        self.epoch, self._samples = epoch, {}
        rows = self.answers.choose(self._pool, self._most) if len(self._pool) and self._due(epoch) else self._pool[:0]
        parts = [
            self._examined(network, workspace, rows[start : start + workspace.width])
            for start in range(0, len(rows), workspace.width)
        ]
        if parts:
            self._samples = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        self.seconds = time.perf_counter() - started
        return self.seconds

    def arrays(self, epoch: int) -> dict[str, NDArray[Any]]:
        """Return the counts and samples of an epoch's test, as a snapshot's fields; empty if it is not the last."""
        if epoch != self.epoch or not len(self._pool):
            return {}
        return {**self.answers.arrays(), **self._samples}

    def _examined(self, network: Network, workspace: Workspace, rows: Int64) -> dict[str, NDArray[Any]]:
        """Return the fields about samples, no more than fit into the workspace."""
        self._data.x_test.gather(rows, workspace.activations[0])
        m, x = len(rows), workspace.values(0)
        z = forward(network, workspace)[:, :m].copy()
        found = self.answers.judge(rows, z)
        delta = np.zeros_like(z)
        for outputs, sign in ((found.towards, 1), (found.against, -1)):
            known = np.flatnonzero(outputs >= 0)
            delta[outputs[known], known] += sign
        inputs, contributions = _deciding(network, workspace, delta)
        fields: dict[str, NDArray[Any]] = {
            "test_samples": np.stack([rows, found.actual, found.predicted], axis=1),
            "test_sample_values": found.values.astype(np.float32),
            "test_inputs": inputs,
            "test_contributions": np.clip(contributions, -_LARGEST, _LARGEST).astype(np.float16),
        }
        if self._with_pixels:
            return {**fields, "test_pixels": _as_bytes(self._in_units(x[:, :m].T))}
        return {**fields, "test_features": self._in_units(x[inputs, np.arange(m)[:, None]], inputs).astype(np.float32)}

    def _in_units(self, values: Float32, inputs: NDArray[np.int32] | None = None) -> NDArray[Any]:
        """Return features as they were given; ``inputs`` are their numbers, by default all."""
        if self._data.scaling is None:
            return values
        offset, scale = (part if inputs is None else part[inputs] for part in self._data.scaling)
        return values / np.where(scale == 0, 1, scale) + offset


def _deciding(network: Network, workspace: Workspace, delta: Float32) -> tuple[NDArray[np.int32], Float32]:
    """Return the inputs that contribute most to a weighted sum of the output neurons, and their contributions.

    Parameters
    ----------
    network, workspace
        The samples have been propagated forward.
    delta : float32[n_outputs, m]
        Weights of the output neurons of each sample.

    Returns
    -------
    inputs, contributions : int32[m, k], float32[m, k]
        Of each sample, the largest ``|gradient * input|`` first.
    """
    m, x = delta.shape[1], workspace.values(0)
    k, widest = min(DECIDING, len(x)), max(map(len, workspace.activations))
    inputs, contributions = np.empty((m, k), np.int32), np.empty((m, k), np.float32)
    at_a_time = max(1, _PART_BYTES // (16 * widest))  # several arrays of float32
    for start in range(0, m, at_a_time):
        part = slice(start, min(start + at_a_time, m))
        each = (_gradient(network, workspace, delta, part) * x[:, part]).T
        top = np.argpartition(-abs(each), k - 1, axis=1)[:, :k]
        values = np.take_along_axis(each, top, axis=1)
        order = np.argsort(-abs(values), axis=1, kind="stable")
        inputs[part], contributions[part] = (np.take_along_axis(a, order, axis=1) for a in (top, values))
    return inputs, contributions


def _gradient(network: Network, workspace: Workspace, delta: Float32, part: slice) -> Float32:
    """Return the gradient of the weighted sums of some samples at their inputs, float32[n_in, samples]."""
    delta = delta[:, part]
    for l in reversed(range(1, len(network.layers))):
        delta = _matrix(network.layers[l]) @ delta
        delta *= workspace.slopes(l - 1, network.slopes[l - 1], network.curve, part)
    return np.asarray(_matrix(network.layers[0]) @ delta)


def _matrix(layer: Layer) -> csr_array:
    """Return the weights of a layer as a sparse matrix [n_in, n_out]; below 2^31 connections, only indptr is copied."""
    t = layer.topology
    indptr = t.indptr.astype(np.int32) if t.connections < 2**31 else t.indptr  # of one type with the indices
    return csr_array((layer.weights, t.indices, indptr), shape=(t.n_in, t.n_out))


def _as_bytes(images: NDArray[Any]) -> NDArray[np.uint8]:
    """Return images as bytes of ``GREYS`` levels, from their least to their largest value."""
    low, high = float(images.min()), float(images.max())
    levels = np.rint((images - low) * ((GREYS - 1) / ((high - low) or 1.0)))
    return np.rint(levels * (255 / (GREYS - 1))).astype(np.uint8)
