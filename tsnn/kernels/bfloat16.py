"""Activations in 16 bits: bfloat16, the upper half of a float32, kept as uint16.

A row of samples is stored in groups of 32. Samples l and l + 16 of a group share a word of 32 bits, l in its low half:
so 16 of them are widened to float32 by one shift, the other 16 by one mask. Sums are float32; a stored value is
rounded to the nearest bfloat16, half-way to the even one, by integer operations, and so is a weight where it
multiplies stored values.

Loops over samples use `read`, `put` and `as_stored`, NumPy `widen` and `narrow`, vectors :mod:`tsnn.kernels.stripes`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload, register_jitable
from numpy.typing import NDArray

from tsnn.tiling import LANES

GROUP = 2 * LANES  # samples
UPPER, NAN = 0xFFFF0000, 0x7FC00000


def is_narrow(array: Any) -> bool:
    """Return whether a Numba array type holds values of 16 bits."""
    return bool(array.dtype == types.uint16)


def widen(values: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return float32[n, B] of stored values uint16[n, B]."""
    n, width = values.shape
    groups = values.reshape(n, width // GROUP, LANES, 2).transpose(0, 1, 3, 2)
    return (groups.astype(np.uint32).reshape(n, width) << 16).view(np.float32)


def narrow(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return stored values uint16[n, B] of float32[n, B], B a multiple of 32."""
    n, width = values.shape
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = np.where(np.isnan(values), np.uint32(NAN), bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16
    groups = rounded.astype(np.uint16).reshape(n, width // GROUP, 2, LANES).transpose(0, 1, 3, 2)
    return np.ascontiguousarray(groups).reshape(n, width)


# --- one value at a time, for loops over samples


@register_jitable
def place(offset: int) -> int:
    """Return where sample number `offset` of an array is stored; rows are multiples of 32 samples."""
    return offset - offset % GROUP + 2 * (offset % LANES) + offset % GROUP // LANES


def read(array: Any, offset: int, count: int) -> Any:
    """Return `count` samples from array.flat[offset] on as float32; a view, if they are stored as such."""
    if array.dtype == np.float32:
        return array.reshape(-1)[offset : offset + count]
    places = [place(offset + s) for s in range(count)]
    return (array.reshape(-1)[places].astype(np.uint32) << 16).view(np.float32)


def put(array: Any, offset: int, value: Any) -> None:
    """Write a float32 into an array, rounded to the array's precision."""
    if array.dtype == np.float32:
        array.reshape(-1)[offset] = value
    else:
        array.reshape(-1)[place(offset)] = _bits(value) >> 16


def as_stored(array: Any, value: Any) -> Any:
    """Return a float32, rounded to an array's precision."""
    return value if array.dtype == np.float32 else np.uint32(_bits(value) & UPPER).view(np.float32)


def _bits(value: Any) -> int:
    """Return bits whose upper half is the nearest bfloat16."""
    bits = int(np.float32(value).view(np.uint32))
    return NAN if np.isnan(value) else bits + 0x7FFF + (bits >> 16 & 1)


@overload(read, inline="always", strict=False)
def _read(array: Any, offset: Any, count: Any) -> Any:
    if not is_narrow(array):
        return lambda array, offset, count: array.reshape(-1)[offset : offset + count]

    def values(array, offset, count):  # type: ignore[no-untyped-def]
        flat, words = array.reshape(-1), np.empty(count, np.uint32)
        for s in range(count):
            words[s] = np.uint32(flat[place(offset + s)]) << np.uint32(16)
        return words.view(np.float32)

    return values


@overload(put, inline="always", strict=False)
def _put(array: Any, offset: Any, value: Any) -> Any:
    if not is_narrow(array):

        def write(array, offset, value):  # type: ignore[no-untyped-def]
            array.reshape(-1)[offset] = value

        return write

    def round_and_write(array, offset, value):  # type: ignore[no-untyped-def]
        array.reshape(-1)[place(offset)] = np.uint16(_bits(value) >> 16)

    return round_and_write


@overload(as_stored, inline="always", strict=False)
def _as_stored(array: Any, value: Any) -> Any:
    if not is_narrow(array):
        return lambda array, value: value

    def rounded(array, value):  # type: ignore[no-untyped-def]
        word = np.empty(1, np.uint32)
        word[0] = _bits(value) & UPPER
        return word.view(np.float32)[0]

    return rounded


@overload(_bits, inline="always", strict=False)
def _bits_of(value: Any) -> Any:
    def rounded(value):  # type: ignore[no-untyped-def]
        single = np.empty(1, np.float32)
        single[0] = value
        bits, undefined = np.int64(single.view(np.uint32)[0]), np.int64(value != value)
        return undefined * NAN + (1 - undefined) * (bits + 0x7FFF + ((bits >> 16) & 1))

    return rounded
