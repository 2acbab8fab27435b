"""Arrays as kernels take them: of one type, so that nothing is compiled twice, and their own memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def fits_kernels(array: npt.NDArray[Any]) -> bool:
    """Return whether kernels can take an array: C-contiguous, aligned, writeable and not memory-mapped.

    Kernels do not see whether an array is read-only: writing to one ends the process.
    """
    return type(array) is np.ndarray and array.flags.carray


def kernel_array(array: npt.NDArray[Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an array that kernels can take: the one given if it is such an array of this dtype, else a copy."""
    if array.dtype == dtype and fits_kernels(array):
        return array
    return np.array(array, dtype, order="C")
