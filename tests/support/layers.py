"""Random layers for tests of the kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.support import naive
from tsnn import kernels
from tsnn.tiling import words

Array = NDArray[Any]
Store = Callable[[Array], Array]
EVERY = slice(None)
SLOPE = -0.6  # of the layer below


class Sample:
    """A random layer with empty rows and columns, one full row, and the arrays of a training step.

    Parameters
    ----------
    n_in, n_out
        Numbers of neurons.
    width
        Number of samples, 8 or a multiple of 16.
    density
        Expected fraction of connections.
    seed
        Of all random values.
    store
        Turns activations and deltas into what the kernels take: `kernels.narrow`, or nothing.
    """

    def __init__(
        self, n_in: int, n_out: int, width: int, density: float = 0.3, seed: int = 0, store: Store = np.asarray
    ):
        rng = np.random.default_rng(seed)
        self.store = store
        pattern = rng.random((n_in, n_out)) < density
        pattern[n_in // 2] = False
        pattern[:, n_out // 2] = False
        pattern[-1] = True
        rows, columns = np.nonzero(pattern)
        self.n_in, self.n_out, self.width = n_in, n_out, width
        self.indptr = np.concatenate([[0], np.cumsum(pattern.sum(axis=1))]).astype(np.int64)
        self.indices = columns.astype(np.int32)
        self.rows = rows
        m = len(rows)
        self.weights = rng.normal(size=m).astype(np.float32)
        self.velocity = rng.normal(size=m).astype(np.float32)
        self.bias = rng.normal(size=n_out).astype(np.float32)
        self.bias_velocity = rng.normal(size=n_out).astype(np.float32)
        self.activation = rng.normal(size=(n_in, width)).astype(np.float32)
        self.delta = rng.normal(size=(n_out, width)).astype(np.float32) / width
        self.masks = rng.integers(0, 2**16, (n_in, 2, words(width))).astype(np.uint16)
        self.view = kernels.transpose_pattern(self.indptr, self.indices, n_out)
        self.segments = kernels.long_row_segments(self.view[0])
        self.matrix = naive.dense(self.indptr, self.indices, self.weights, n_out)

    def forward(
        self, slope: float = 1.0, threshold: int = 0, key: int = 0, offset: int = 0, columns: slice = EVERY
    ) -> tuple[Array, Array]:
        """Activations and masks of some columns, through the transposed view."""
        activation = self.store(np.ascontiguousarray(self.activation[:, columns]))
        width = activation.shape[1]
        partial = np.full((len(self.segments), width), np.nan, np.float32)
        out = self.store(np.full((self.n_out, width), np.nan, np.float32))
        masks = np.zeros((self.n_out, 2, words(width)), np.uint16)
        kernels.forward(
            *self.view, self.weights, self.bias, activation, slope, threshold, key, offset,
            self.segments, partial, out, masks,
        )  # fmt: skip
        return out, masks

    def scatter(self, *rule: float) -> tuple[Array, Array]:
        """Activations and masks, through the pattern itself; ``rule``: slope, threshold, key, offset."""
        out = np.full((self.n_out, self.width), np.nan, np.float32)
        masks = np.zeros((self.n_out, 2, words(self.width)), np.uint16)
        pattern = self.indptr, self.indices, self.weights, self.bias
        scatter: Any = kernels.scatter
        scatter(*pattern, self.activation, *rule, out, masks)
        return out, masks

    def backward(
        self,
        momentum: float,
        learning_rate: float,
        decay: float,
        *,
        update: bool = True,
        pass_down: bool = True,
        threshold: int = 0,
        columns: slice = EVERY,
        state: list[Array] | None = None,
    ) -> tuple[list[Array], Array]:
        """Weights, velocity, bias, bias velocity after a step, and delta of the layer below if ``pass_down``."""
        state = state or [a.copy() for a in (self.weights, self.velocity, self.bias, self.bias_velocity)]
        activation, delta = (self.store(a[:, columns].copy(order="C")) for a in (self.activation, self.delta))
        mask_words = slice(columns.start and columns.start // 16, columns.stop and columns.stop // 16)
        masks = np.ascontiguousarray(self.masks[:, :, mask_words])
        before = activation.copy()
        backward: Any = kernels.backward
        backward(
            self.indptr, self.indices, *state, activation, delta, momentum, learning_rate, decay, update,
            masks, SLOPE, threshold, pass_down,
        )  # fmt: skip
        assert pass_down or (activation == before).all()
        return state, activation

    def expected_delta_in(self, slope: float, threshold: int) -> Array:
        """Delta of the layer below, by the reference implementation."""
        bits = np.unpackbits(self.masks.view(np.uint8), axis=2, bitorder="little")[:, :, : self.width]
        sign, keep = bits[:, 0], bits[:, 1]
        below: Array = naive.gradient(self.matrix, self.activation, self.delta)[2] * np.where(sign, 1, slope)
        return below * keep / (1 - threshold / 2**32) if threshold else below


def all_results(layer: Sample) -> list[Array]:
    """Return all arrays that a training step of a layer computes."""
    threshold = kernels.dropout_threshold(0.3)
    out, masks = layer.forward(-0.6, threshold, 5)
    scattered, _ = layer.scatter(-0.6, threshold, 5, 0)  # float32 only
    state, delta_in = layer.backward(0.9, 0.1, 0.01, threshold=threshold)
    gathered = layer.store(np.empty((layer.n_in, layer.width), np.float32))
    kernels.gather(np.ascontiguousarray(layer.activation.T), np.arange(layer.width), gathered)
    return [out, scattered, masks, *state, delta_in, gathered]
