"""Streamed features: they stay in a file, and are scaled one batch at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from tsnn.datasets.features import Features, as_features
from tsnn.datasets.preparation import apply_scaling
from tsnn.datasets.raw import Array
from tsnn.datasets.stored import Rows, StoredArray

_PER_SAMPLE = 16  # bytes of a target, and of a place in the order of an epoch

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class StreamedFeatures:
    """Samples in a file, as :class:`tsnn.datasets.Features`; their values are those of the same samples in memory.

    Attributes
    ----------
    stored : StoredArray
        All samples of the file, [n, n_features].
    selected : int64[n]
        Rows of the samples.
    offset, scale : float64[n_features]
        A value becomes ``(x - offset) * scale``.
    """

    stored: StoredArray
    selected: Rows
    offset: Float64
    scale: Float64

    @property
    def shape(self) -> tuple[int, int]:
        """Samples and features."""
        return len(self.selected), self.stored.shape[1]

    @property
    def nbytes(self) -> int:
        """Memory taken between batches, with that of targets and order of the samples, which exceed it."""
        return self.selected.nbytes + _PER_SAMPLE * len(self) + self.offset.nbytes + self.scale.nbytes

    @property
    def stored_bytes(self) -> int:
        """Bytes that the samples take in the file."""
        return len(self) * self.shape[1] * self.stored.dtype.itemsize

    def __len__(self) -> int:
        return len(self.selected)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Return all samples in memory, for NumPy."""
        return apply_scaling(cast(Array, self.stored), self.selected, self.offset, self.scale).astype(
            dtype or np.float32
        )

    def gather(self, rows: Rows, out: npt.NDArray[np.float32]) -> None:
        """Write samples as columns, see :meth:`tsnn.datasets.Features.gather`."""
        from tsnn import kernels  # data sets are listed without Numba

        values = apply_scaling(cast(Array, self.stored), self.selected[rows], self.offset, self.scale)
        kernels.gather(values, np.arange(len(rows)), out)

    def rows(self, rows: Rows) -> StreamedFeatures:
        """Return some of the samples."""
        return StreamedFeatures(self.stored, self.selected[rows], self.offset, self.scale)


def scaled(x: Any, rows: Rows | None, offset: Float64, scale: Float64) -> Features:
    """Return ``(x - offset) * scale`` of these rows (None: all): in memory, or streamed if ``x`` is in a file."""
    if isinstance(x, StoredArray):
        return StreamedFeatures(x, np.arange(len(x)) if rows is None else rows, offset, scale)
    return as_features(apply_scaling(x, rows, offset, scale))
