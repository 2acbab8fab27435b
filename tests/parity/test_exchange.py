"""The kernels of parallel training against their naive twins."""

import numpy as np
import pytest

from tests import naive
from tsnn import kernels
from tsnn.topology import erdos_renyi

FLOATS = ("gradient", "weights", "velocity")


@pytest.mark.parametrize("update", [True, False])
def test_momentum_step(rng, update):
    gradient, weights, velocity = (rng.normal(size=50).astype(np.float32) for _ in FLOATS)
    expected = naive.momentum_step(gradient, 0.9, 0.1, 0.01, update, weights, velocity)
    kernels.momentum_step(gradient, 0.9, 0.1, 0.01, update, weights, velocity)
    np.testing.assert_allclose(weights, expected[0], rtol=1e-5)
    np.testing.assert_allclose(velocity, expected[1], rtol=1e-5)


def test_several_gradients_as_one(rng):
    gradients = rng.normal(size=(3, 40)).astype(np.float32)
    weights, velocity = rng.normal(size=(2, 40)).astype(np.float32)
    expected = naive.momentum_step(gradients.mean(axis=0), 0.9, 0.3, 0.01, True, weights, velocity)
    for i, gradient in enumerate(gradients):
        kernels.momentum_step(gradient, 0.9 if i == 0 else 1.0, 0.1, 0.01, i == 2, weights, velocity)
    np.testing.assert_allclose(weights, expected[0], rtol=1e-4)
    np.testing.assert_allclose(velocity, expected[1], rtol=1e-4)


def test_retain(rng):
    gradient, sources = rng.normal(size=9).astype(np.float32), np.array([3, -1, 8, 0, -1], np.int32)
    out = np.empty(5, np.float32)
    kernels.retain(gradient, sources, out)
    assert out.tolist() == [np.float32(x) for x in naive.retain(gradient, sources)]


@pytest.mark.parametrize("counts", [(0, 7), (7, 0), (20, 20), (70, 65), (70, 70)])
def test_find_connections_and_add_layers(rng, counts):
    old, new = (erdos_renyi(7, 10, count, rng=rng) for count in counts)
    sources = np.empty(new.connections, np.int32)
    kernels.find_connections(new.indptr, new.indices, old.indptr, old.indices, 100, sources)
    assert sources.tolist() == naive.find_connections(new.indptr, new.indices, old.indptr, old.indices, 100)

    weights = [rng.normal(size=count).astype(np.float32) for count in counts]
    layers = old.indptr, old.indices, weights[0], new.indptr, new.indices, weights[1], 0.25
    indptr, indices, sums = kernels.add_layers(*layers)
    rows = np.repeat(np.arange(7), np.diff(indptr))
    expected = naive.add_layers(*layers)
    assert list(zip(rows.tolist(), indices.tolist(), strict=True)) == [(i, j) for i, j, _ in expected]
    np.testing.assert_allclose(sums, [w for *_, w in expected], rtol=1e-5)
