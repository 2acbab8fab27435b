"""Threaded loop that moves the pixels of augmented images."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

from tsnn.kernels.bfloat16 import GROUP, place
from tsnn.kernels.compiling import compiled

BITS = 16  # of the fraction of a coordinate: integers, so the same pixels on every processor
WIDEST = 4096  # pixels of an image whose coordinates fit into 32 bits
#: Samples in the order in which 16 bits are stored.
STORED = np.argsort([place(s) for s in range(GROUP)])


@compiled(parallel=True)
def image_loop(chunks: int, images: Any, maps: Any, planes: int, height: int, width: int, out: Any, first: int) -> None:
    """Write a chunk of the image rows per thread."""
    columns, pixels, last_row, last_column = images.shape[1], height * width, np.int32(height - 1), np.int32(width - 1)
    for chunk in prange(chunks):
        row_at, column_at = np.empty(columns, maps.dtype), np.empty(columns, maps.dtype)
        source = np.empty(columns, np.int32)
        for i in range(height * chunk // chunks, height * (chunk + 1) // chunks):
            y, x = 2 * i - (height - 1), 1 - width
            for s in range(columns):
                row_at[s] = maps[0, s] * y + maps[1, s] * x + maps[2, s]
                column_at[s] = maps[3, s] * y + maps[4, s] * x + maps[5, s]
            for j in range(width):
                for s in range(columns):
                    row = min(max(np.int32(row_at[s] >> (BITS + 1)), np.int32(0)), last_row)
                    column = min(max(np.int32(column_at[s] >> (BITS + 1)), np.int32(0)), last_column)
                    source[s] = row * width + column
                    row_at[s] += 2 * maps[1, s]
                    column_at[s] += 2 * maps[4, s]
                for plane in range(planes):
                    target = plane * pixels + i * width + j
                    for s in range(columns):
                        out[target, first + s] = images[np.uint64(plane * pixels + source[s]), np.uint64(s)]


def move_pixels(
    images: NDArray[Any], maps: NDArray[np.float64], shape: tuple[int, int, int], out: NDArray[Any], first: int
) -> None:
    """Write images whose pixels each take the nearest pixel of an affine map of their place, or of the border.

    Parameters
    ----------
    images : float32 or uint16[planes * height * width, b]
        Images as columns, as :func:`tsnn.kernels.gather` writes them; 32 of them if they have 16 bits.
    maps : float64[2, 3, b]
        (row, column) of the source of a pixel = map @ (y, x, 1), in pixels; (y, x) is from the centre of the image.
    shape : (int, int, int)
        Planes, height, width.
    out : float32 or uint16[planes * height * width, B]
        Columns ``first`` to ``first + b`` are overwritten.
    first : int
        A multiple of 32, if they have 16 bits.
    """
    kind = np.int32 if max(shape[1:]) <= WIDEST else np.int64
    fixed = np.rint(maps * np.array([1, 1, 2]).reshape(1, 3, 1) * 2.0**BITS).astype(kind)
    fixed[:, 2] += 1 << BITS  # half a pixel: rounds to the nearest
    fixed = fixed.reshape(6, -1)
    if images.dtype == np.uint16:
        fixed = fixed[:, STORED]
    image_loop(numba.get_num_threads(), images, fixed, *shape, out, first)
