"""Sparse features: kept as CSR, and made dense one batch at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tsnn.datasets.features import SelectedRows


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
        """Take a SciPy CSR array [n, n_features] without duplicate entries; only its values are copied."""
        indptr, indices = matrix.indptr.astype(np.int64, copy=False), matrix.indices.astype(np.int32, copy=False)
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


def fit_sparse_scaling(
    matrix: Any, preprocessing: str, weights: npt.NDArray[np.float64] | None = None
) -> npt.NDArray[np.float64]:
    """Return the factor by which each feature of a CSR array is scaled, float64[n_features].

    ``standard`` gives unit variance and ``minmax`` a largest magnitude of 1, both without moving zero, which would
    make the data dense; ``none`` gives ones. Features that are constant become 0.
    """
    n, width = matrix.shape
    if preprocessing == "none":
        return np.ones(width)
    values = matrix.data.astype(np.float64)
    if preprocessing == "minmax":
        spread = np.zeros(width)
        np.maximum.at(spread, matrix.indices, np.abs(values))
    else:
        w = np.ones(n) if weights is None else weights
        fraction = np.repeat(w / w.sum(), np.diff(matrix.indptr))
        mean = np.bincount(matrix.indices, fraction * values, minlength=width)
        nonzero = np.bincount(matrix.indices, fraction, minlength=width)
        squares = np.bincount(matrix.indices, fraction * (values - mean[matrix.indices]) ** 2, minlength=width)
        spread = np.sqrt(squares + (1 - nonzero).clip(0) * mean**2)
    return np.divide(1, spread, out=np.zeros(width), where=spread > 1e-12)
