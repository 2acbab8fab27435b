"""Sparse features: kept as CSR, and made dense one batch at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tsnn.arrays import kernel_array
from tsnn.datasets.features import SelectedRows
from tsnn.datasets.moments import Moments


@dataclass(frozen=True, eq=False)
class SparseFeatures:
    """Samples in CSR form, as :class:`tsnn.datasets.Features`.

    Attributes
    ----------
    indptr, indices, values : int64[n + 1], int32[k], float32[k]
        The entries that are not zero, sample by sample.
    scale : float32[n_features]
        Factor of each feature; nothing is subtracted, so zeros stay zeros.
    """

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]

    @classmethod
    def of(cls, matrix: Any, scale: npt.NDArray[Any]) -> SparseFeatures:
        """Take a SciPy CSR array [n, n_features] without duplicate entries; only its values are copied.

        Other arrays are copied if their type differs, or if they are read-only: kernels would be compiled again.
        """
        indptr, indices = kernel_array(matrix.indptr, np.int64), kernel_array(matrix.indices, np.int32)
        return cls(indptr, indices, matrix.data.astype(np.float32), scale.astype(np.float32))

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def shape(self) -> tuple[int, int]:
        """Samples and features."""
        return len(self), len(self.scale)

    @property
    def nbytes(self) -> int:
        """Memory taken between batches."""
        return self.indptr.nbytes + self.indices.nbytes + self.values.nbytes + self.scale.nbytes

    def gather(self, rows: npt.NDArray[np.int64], out: npt.NDArray[np.float32]) -> None:
        """Write samples as columns, see :meth:`tsnn.datasets.Features.gather`."""
        from tsnn import kernels  # data sets are listed without Numba

        kernels.gather_sparse(self.indptr, self.indices, self.values, self.scale, rows, out)

    def rows(self, rows: npt.NDArray[np.int64]) -> SelectedRows:
        """Return some of the samples."""
        return SelectedRows(self, rows)


def measure_sparse(matrix: Any, weights: npt.NDArray[np.float64] | None = None) -> Moments:
    """Return the moments of each feature of a CSR array without duplicate entries, zeros included.

    Parameters
    ----------
    matrix : CSR array [n, n_features]
        The samples.
    weights : float64[n] or None
        Weight of each sample in mean and variance; None: all the same.
    """
    n, width = matrix.shape
    values, indices = matrix.data.astype(np.float64), matrix.indices
    w = np.ones(n) if weights is None else weights
    fraction = np.repeat(w / w.sum(), np.diff(matrix.indptr))
    mean = np.bincount(indices, fraction * values, minlength=width).astype(np.float64, copy=False)
    nonzero = np.bincount(indices, fraction, minlength=width)
    squares = np.bincount(indices, fraction * (values - mean[indices]) ** 2, minlength=width)
    has_zeros = np.bincount(indices, minlength=width) < n
    low, high = np.full(width, np.inf), np.full(width, -np.inf)
    low[has_zeros] = high[has_zeros] = 0
    np.minimum.at(low, indices, values)
    np.maximum.at(high, indices, values)
    return Moments(np.full(width, w.sum()), mean, squares + (1 - nonzero).clip(0) * mean**2, low, high)
