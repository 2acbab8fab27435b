"""Workspace: the buffers of a network for one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.tiling import padded, words

Float32 = NDArray[np.float32]


class Workspace:
    """Buffers for one batch, allocated once and used for every batch of a run.

    Parameters
    ----------
    sizes : sequence of int
        Neurons of each layer.
    batch : int
        Largest number of samples at a time; rounded up to the SIMD width
        (:func:`tsnn.tiling.padded`). A larger batch is processed in parts.
    compact : bool
        Compute layers without transposed view where few connections share an output neuron: 12 instead of 20
        bytes per connection.
    precision : str
        "bfloat16" stores activations in 16 bits, those of the output neurons excepted; "float32" does not.

    Attributes
    ----------
    activations : list of float32[n, width] or uint16[n, width]
        Of each layer of neurons, the inputs first; neuron-major, 64-byte aligned. The backward pass replaces
        them by ``dLoss/dz``. uint16 are bfloat16 in an order of their own: see :meth:`values`.
    masks : list of uint16[n, 2, words(width)]
        Signs and dropout's choice, as bits, of each layer of neurons but the inputs.
    """

    def __init__(self, sizes: Sequence[int], batch: int, *, compact: bool = False, precision: str = "float32"):
        self.compact = compact
        self.width = padded(batch, precision)
        narrow = precision == "bfloat16"
        kinds = [np.uint16 if narrow and l < len(sizes) - 1 else np.float32 for l in range(len(sizes))]
        self.activations = [_aligned(n, self.width, kind) for n, kind in zip(sizes, kinds, strict=True)]
        self.masks = [np.zeros((n, 2, words(self.width)), np.uint16) for n in sizes[1:]]
        self._derivatives: dict[int, Float32] = {}
        self._partials: list[Float32] = [_aligned(0, self.width) for _ in sizes[1:]]

    def values(self, layer: int) -> Float32:
        """Return the activations of a layer of neurons as float32[n, width]; a copy, if they are stored in 16 bits."""
        stored = self.activations[layer]
        return stored if stored.dtype == np.float32 else kernels.widen(stored)

    def put(self, layer: int, values: Float32) -> None:
        """Write the activations of a layer of neurons, float32[n, width]; nothing to do for an array of `values`."""
        if values is not self.activations[layer]:
            self.activations[layer][:] = kernels.narrow(values)

    def slopes(self, layer: int, slope: float, curve: str, samples: slice) -> Float32:
        """Return the derivatives of a hidden layer's activation for some samples, float32[n, samples]."""
        if curve:
            return self.derivative(layer)[:, samples]
        signs = np.ascontiguousarray(self.masks[layer][:, 0]).view(np.uint8)
        positive = np.unpackbits(signs, axis=1, bitorder="little")[:, samples]
        return np.where(positive, np.float32(1), np.float32(slope))

    def derivative(self, layer: int) -> Float32:
        """Return the derivatives of a hidden layer's activation, if that is a curve: float32[n, width]."""
        if layer not in self._derivatives:
            self._derivatives[layer] = _aligned(*self.activations[layer + 1].shape)
        return self._derivatives[layer]

    def partial(self, layer: int, rows: int) -> Float32:
        """Return scratch for the partial sums of a layer's neurons with very many inputs."""
        if len(self._partials[layer]) != rows:
            self._partials[layer] = _aligned(rows, self.width)
        return self._partials[layer]


def _aligned(rows: int, columns: int, kind: Any = np.float32) -> NDArray[Any]:
    """Return zeros [rows, columns] whose first byte lies on a 64-byte boundary."""
    size = rows * columns * np.dtype(kind).itemsize
    raw = np.zeros(size + 64, dtype=np.uint8)
    start = -raw.ctypes.data % 64
    aligned: NDArray[Any] = raw[start : start + size].view(kind).reshape(rows, columns)
    return aligned
