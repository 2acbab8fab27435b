"""Arrays that stay in a file: rows are read when they are asked for.

They are read, not memory-mapped: what a process takes is then its own memory only, limits of its address space hold,
and a disk that fails gives a message instead of ending the process. The system keeps what it can in its file cache.
"""

from __future__ import annotations

import os
import weakref
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from tsnn.datasets.raw import Array, check_choice, reading
from tsnn.errors import DataError
from tsnn.machine import available_memory

Rows = npt.NDArray[np.int64]

_SHARE = 0.75  # of the memory available, what features may take


class StoredArray:
    """An array [n, ...] in a file, row after row, uncompressed.

    Indexed by a slice or an array of rows, it returns a new array of them.

    Parameters
    ----------
    path : Path
        The file.
    offset : int
        Where the first row begins.
    shape : tuple of int
        Rows, and the values of one.
    dtype : dtype
        Their type.
    stride : int, optional
        Bytes from one row to the next; default: rows follow each other directly.
    selected : int64[n], optional
        The rows of the file that are the rows of the array; default: all, and ``shape[0]`` is their number.
    medians : float64[n_features], optional
        Values in place of NaN, for an array [n, n_features].
    """

    def __init__(
        self, path: Path, offset: int, shape: tuple[int, ...], dtype: npt.DTypeLike, *, stride: int = 0,
        selected: Rows | None = None, medians: npt.NDArray[np.float64] | None = None,
    ):  # fmt: skip
        self.path, self.offset, self.dtype = path.absolute(), offset, np.dtype(dtype)
        self.shape = shape if selected is None else (len(selected), *shape[1:])
        self.stride = stride or prod(shape[1:]) * self.dtype.itemsize
        self.selected, self.medians = selected, medians
        with reading(path, "an array"):
            self._file = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            weakref.finalize(self, os.close, self._file)
            stored = os.fstat(self._file).st_size
        if selected is None and shape[0] and stored < offset + (shape[0] - 1) * self.stride + self._row:
            raise DataError(f"{path} is truncated: its header promises {shape[0]:,} rows of {self._row:,} bytes.")

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return self.size * self.dtype.itemsize

    @property
    def _row(self) -> int:
        """Bytes of one row."""
        return prod(self.shape[1:]) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def flat(self) -> StoredArray:
        """Return the same rows with one dimension: [n, n_features]."""
        return self._changed((len(self), prod(self.shape[1:])), self.selected, self.medians)

    def take(self, rows: Rows) -> StoredArray:
        """Return some of the rows; they stay in the file."""
        return self._changed(self.shape, rows if self.selected is None else self.selected[rows], self.medians)

    def filled(self, medians: npt.NDArray[np.float64]) -> StoredArray:
        """Return the array with the medians in place of NaN."""
        return self._changed(self.shape, self.selected, medians)

    def _changed(self, shape: tuple[int, ...], selected: Rows | None, medians: Any) -> StoredArray:
        return StoredArray(
            self.path, self.offset, shape, self.dtype, stride=self.stride, selected=selected, medians=medians
        )

    def __getitem__(self, index: slice | Rows) -> Array:
        """Return rows as an array."""
        if not isinstance(index, slice):
            rows = np.asarray(index)
        elif self.selected is None:
            start, stop, step = index.indices(len(self))
            rows = np.arange(start, stop, step)
        else:
            rows = np.arange(len(self))[index]
        return self._read(rows if self.selected is None else self.selected[rows])

    def _read(self, rows: Rows) -> Array:
        """Return rows of the file; those that follow each other are read at once."""
        result = np.empty((len(rows), *self.shape[1:]), self.dtype)
        if not result.size:
            return result
        row, stride = self._row, self.stride
        first = np.flatnonzero(np.append(True, (np.diff(rows) != 1) | (stride != row)))
        counts = np.diff(np.append(first, len(rows)))
        places = (self.offset + stride * rows[first]).tolist()
        sizes = (row * counts).tolist()
        if len(places) > 1 and hasattr(os, "posix_fadvise"):  # the disk may fetch them in any order
            for place, size in zip(places, sizes, strict=True):
                os.posix_fadvise(self._file, place, size, os.POSIX_FADV_WILLNEED)
        memory, done = memoryview(cast(Any, result.reshape(-1).view(np.uint8))), 0
        with reading(self.path, "an array"):
            for place, size in zip(places, sizes, strict=True):
                self._read_bytes(memory[done : done + size], place)
                done += size
        if self.medians is not None and self.dtype.kind == "f" and (missing := np.isnan(result)).any():
            return np.where(missing, self.medians.astype(self.dtype), result)
        return result

    def _read_bytes(self, memory: memoryview, place: int) -> None:
        while memory:
            if hasattr(os, "preadv"):
                count = os.preadv(self._file, [memory], place)
            else:
                with open(self.path, "rb", buffering=0) as file:
                    file.seek(place)
                    count = file.readinto(memory)
            if not count:
                raise EOFError(f"it ends at byte {place:,}")
            memory, place = memory[count:], place + count


def is_stored(x: object) -> bool:
    """Return whether an array stays in a file; code that handles arrays in blocks of rows takes both kinds."""
    return isinstance(x, StoredArray)


def memory_budget(stream: str, processes: int = 1) -> float:
    """Return the bytes that features may take in each of some processes: beyond them, they stay on the disk.

    Parameters
    ----------
    stream : {"auto", "always", "never"}
        "auto": most of the memory that is available now; "always": 0; "never": without a bound.
    processes : int
        Processes on this machine that read the same data.
    """
    check_choice("stream", stream, ("auto", "always", "never"))
    if stream == "auto":
        return _SHARE * available_memory() / processes
    return 0.0 if stream == "always" else float("inf")


def leave_in_file(array: Any) -> Any:
    """Return a memory-mapped array of samples as one that is read from its file, if a float32 copy would not fit.

    Other arrays are returned as they are.
    """
    mapped = array
    while isinstance(mapped, np.ndarray) and isinstance(mapped.base, np.ndarray):
        mapped = mapped.base
    path = getattr(mapped, "filename", None)
    if not isinstance(mapped, np.memmap) or path is None or mapped.mode == "c" or array.ndim < 2 or not len(array):
        return array
    by_row = array[0].flags.c_contiguous and array.strides[0] >= array[0].nbytes
    if not by_row or 4 * array.size <= memory_budget("auto"):
        return array
    start = array.__array_interface__["data"][0] - mapped.__array_interface__["data"][0]
    return StoredArray(Path(path), mapped.offset + start, array.shape, array.dtype, stride=array.strides[0])
