"""Threaded loop that moves the pixels of augmented images."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

from tsnn.kernels.bfloat16 import place
from tsnn.kernels.compiling import compiled

BITS = 16  # of the fraction of a coordinate: integers, so the same pixels on every processor


@compiled(parallel=True)
def image_loop(chunks: int, images: Any, maps: Any, planes: int, height: int, width: int, out: Any, first: int) -> None:
    """Write a chunk of the image rows per thread."""
    columns, pixels = images.shape[1], height * width
    for chunk in prange(chunks):
        source = np.empty(columns, np.uint64)
        for i in range(height * chunk // chunks, height * (chunk + 1) // chunks):
            y = 2 * i - (height - 1)
            for j in range(width):
                x = 2 * j - (width - 1)
                for s in range(columns):
                    row = (maps[0, s] * y + maps[1, s] * x + maps[2, s]) >> (BITS + 1)
                    column = (maps[3, s] * y + maps[4, s] * x + maps[5, s]) >> (BITS + 1)
                    source[s] = np.uint64(min(max(row, 0), height - 1) * width + min(max(column, 0), width - 1))
                for plane in range(planes):
                    target = plane * pixels + i * width + j
                    for s in range(columns):
                        out[target, first + s] = images[np.uint64(plane * pixels) + source[s], np.uint64(s)]


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
    fixed = np.rint(maps * np.array([1, 1, 2]).reshape(1, 3, 1) * 2.0**BITS).astype(np.int64)
    fixed[:, 2] += 1 << BITS  # half a pixel: rounds to the nearest
    fixed = fixed.reshape(6, -1)
    if images.dtype == np.uint16:
        stored = np.empty_like(fixed)
        stored[:, [place(s) for s in range(fixed.shape[1])]] = fixed
        fixed = stored
    image_loop(numba.get_num_threads(), images, fixed, *shape, out, first)
