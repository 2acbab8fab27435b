"""Features: the samples of a data set, read one batch at a time.

A :class:`Features` object may hold its samples in memory (:class:`ArrayFeatures`), as sparse rows
(:mod:`tsnn.datasets.sparse`), in a file (:mod:`tsnn.datasets.streamed`) or not at all
(:mod:`tsnn.datasets.artificial`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from tsnn.arrays import fits_kernels
from tsnn.errors import DataError

Rows = npt.NDArray[np.int64]


class Features(Protocol):
    """Samples by features; they need not lie in memory."""

    @property
    def shape(self) -> tuple[int, int]:
        """Samples and features."""

    @property
    def nbytes(self) -> int:
        """Memory taken between batches."""

    def __len__(self) -> int:
        """Number of samples."""

    def gather(self, rows: Rows, out: npt.NDArray[np.float32]) -> None:
        """Write samples as columns: ``out[:, s]`` becomes sample ``rows[s]``, padded columns become 0.

        Parameters
        ----------
        rows : int64[b]
            The samples, in the order of the columns.
        out : float32[n_features, B]
            Overwritten; B is at least b.
        """

    def rows(self, rows: Rows) -> Features:
        """Return some of the samples."""


@dataclass(frozen=True, eq=False)
class ArrayFeatures:
    """Samples in memory, or in a memory-mapped file. NumPy takes it for the array that it holds.

    Attributes
    ----------
    values : float32[n, n_features]
        C-contiguous.
    """

    values: npt.NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, int]:
        """Samples and features."""
        return cast(tuple[int, int], self.values.shape)

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """Type of the values."""
        return self.values.dtype

    @property
    def nbytes(self) -> int:
        """Memory taken."""
        return self.values.nbytes

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> Any:
        """Return a part of the array, as NumPy does."""
        return self.values[index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Return the array, for NumPy."""
        return np.array(self.values, dtype=dtype, copy=copy)

    def gather(self, rows: Rows, out: npt.NDArray[np.float32]) -> None:
        """Write samples as columns, see :meth:`Features.gather`."""
        from tsnn import kernels  # data sets are listed without Numba

        if fits_kernels(self.values):
            kernels.gather(self.values, rows, out)
        else:  # read-only or memory-mapped: only the batch is copied
            kernels.gather(np.array(self.values[rows]), np.arange(len(rows)), out)

    def rows(self, rows: Rows) -> ArrayFeatures:
        """Return a copy of some of the samples."""
        return ArrayFeatures(self.values[rows])


@dataclass(frozen=True, eq=False)
class SelectedRows:
    """Some samples of features that need not lie in memory.

    Attributes
    ----------
    features : Features
        All samples.
    selected : int64[n]
        Rows of the samples.
    """

    features: Features
    selected: Rows

    @property
    def shape(self) -> tuple[int, int]:
        """Samples and features."""
        return len(self.selected), self.features.shape[1]

    @property
    def nbytes(self) -> int:
        """Memory taken between batches."""
        return self.features.nbytes

    def __len__(self) -> int:
        return len(self.selected)

    def gather(self, rows: Rows, out: npt.NDArray[np.float32]) -> None:
        """Write samples as columns, see :meth:`Features.gather`."""
        self.features.gather(self.selected[rows], out)

    def rows(self, rows: Rows) -> SelectedRows:
        """Return some of the samples."""
        return SelectedRows(self.features, self.selected[rows])


def as_features(x: Any) -> Features:
    """Return :class:`Features`: those given, or an array's; float32 and C-contiguous arrays are not copied.

    Raises
    ------
    DataError
        If an array is not two-dimensional.
    """
    if hasattr(x, "gather"):
        return cast(Features, x)
    values = np.asarray(x)
    if values.ndim != 2:
        raise DataError(f"Features have shape {values.shape}; expected (samples, features). Try x.reshape(-1, 1).")
    return ArrayFeatures(np.ascontiguousarray(values, dtype=np.float32))
