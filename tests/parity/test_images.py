"""Pixels of augmented images against the naive twin: widths, maps that leave the image, precisions, threads.

Coordinates of images wider than a limit take 64 bits.
"""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tests.support import naive
from tsnn import kernels

SHAPE = 2, 5, 7


@pytest.mark.parametrize("chunks", [1, 3])
@pytest.mark.parametrize(("count", "widest"), [(1, 4096), (8, 4096), (16, 4096), (32, 4096), (8, 6)])
def test_move_pixels__equals_its_naive_twin(monkeypatch, rng, count, widest, chunks):
    monkeypatch.setattr("numba.get_num_threads", lambda: chunks)
    monkeypatch.setattr("tsnn.kernels.images.WIDEST", widest)
    images, maps = rng.random((70, count), np.float32), rng.normal(size=(2, 3, count)) * [[[1], [1], [4]]]
    expected, out = naive.move_pixels(images, maps, SHAPE), np.full((70, count + 40), 9, np.float32)
    kernels.move_pixels(images, maps, SHAPE, out, 32)
    assert_array_equal(out[:, 32 : 32 + count], expected)
    assert (out[:, :32] == 9).all()
    assert (out[:, 32 + count :] == 9).all()
    assert (expected != images).any()


def test_move_pixels__in_16_bits_moves_the_same_ones(rng):
    images, maps = rng.random((70, 32), np.float32), rng.normal(size=(2, 3, 32)) * [[[1], [1], [4]]]
    out = np.zeros((70, 64), np.uint16)
    kernels.move_pixels(kernels.narrow(images), maps, SHAPE, out, 32)
    assert_array_equal(
        kernels.widen(out)[:, 32:], kernels.widen(kernels.narrow(naive.move_pixels(images, maps, SHAPE)))
    )
