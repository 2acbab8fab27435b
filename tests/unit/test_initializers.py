"""Initial and regrown weights: their distribution by the neurons of a layer, or by the connections of each neuron."""

import numpy as np
import pytest

from tsnn.config import Config
from tsnn.engine.evolution import evolve
from tsnn.engine.network import draw_weights, init_network
from tsnn.errors import ConfigError


def limits(initializer, t):
    """The naive twin: the largest weight of each connection."""
    rows = t.rows()
    ends = [(t.indices == j).sum() for j in t.indices]
    starts = [(rows == i).sum() for i in rows]
    fans = {
        "he_uniform": [t.n_in for _ in rows],
        "xavier_uniform": [t.n_in + t.n_out for _ in rows],
        "he_uniform_sparse": ends,
        "xavier_uniform_sparse": [end + start for end, start in zip(ends, starts, strict=True)],
    }
    return np.sqrt(6 / np.array(fans[initializer]))


UNIFORM = ["he_uniform", "xavier_uniform", "he_uniform_sparse", "xavier_uniform_sparse"]


@pytest.mark.parametrize("initializer", UNIFORM)
def test_initial_weights__are_uniform_within_the_limits_of_each_neuron(initializer):
    config = Config().replace(hidden=(60, 50), epsilon=6, initializer=initializer)
    network = init_network(70, 5, config, rng=np.random.default_rng(0))
    ratios = [layer.weights / limits(initializer, layer.topology) for layer in network.layers]
    assert all(abs(ratio).max() <= 1 + 1e-6 for ratio in ratios)
    assert np.sort(np.concatenate(ratios)) == pytest.approx(np.linspace(-1, 1, network.connections), abs=0.06)


@pytest.mark.parametrize("initializer", UNIFORM)
def test_regrown_weights__are_those_of_a_dense_layer(initializer):
    """Larger ones would disturb the others."""
    config = Config().replace(hidden=(80, 5), epsilon=5, initializer=initializer)
    rng = np.random.default_rng(1)
    layer = init_network(90, 3, config, rng=rng).layers[0]
    layer.weights[:] = np.where(rng.random(len(layer.weights)) < 0.5, 9, -9)  # survivors are known by it
    evolved = evolve(layer, layer.topology.connections, zeta=0.5, initializer=initializer, rng=rng)
    new = abs(evolved.layer.weights) != 9
    assert np.count_nonzero(new) == evolved.grown > 300
    ratios = evolved.layer.weights[new] / limits(initializer.removesuffix("_sparse"), evolved.layer.topology)[new]
    assert np.sort(ratios) == pytest.approx(np.linspace(-1, 1, evolved.grown), abs=0.12)


def test_sparse_initializer__gives_sums_of_the_variance_of_a_dense_layer():
    """He et al. (1502.01852): with inputs of variance 1 the sums of neurons have variance 2."""
    variances = {}
    for initializer in ("he_uniform", "he_uniform_sparse"):
        config = Config().replace(hidden=(1000,), epsilon=1, initializer=initializer)
        layer = init_network(784, 10, config, rng=np.random.default_rng(0)).layers[0]
        x = np.random.default_rng(1).normal(size=(784, 200))
        sums = np.zeros((1000, 200))
        np.add.at(sums, layer.topology.indices, layer.weights[:, None] * x[layer.topology.rows()])
        connected = layer.topology.in_degree > 0
        variances[initializer] = sums[connected].var()
    assert variances["he_uniform_sparse"] == pytest.approx(2, rel=0.1)
    assert variances["he_uniform"] < 0.02


def test_draw_weights__takes_the_same_numbers_for_a_fan_of_all_neurons(rng):
    twin = np.random.default_rng(5)
    dense = draw_weights("he_uniform", 40, 30, 100, rng=np.random.default_rng(5))
    own = draw_weights("he_uniform_sparse", 40, 30, 100, rng=twin, fan=np.full(100, 40, np.float32))
    assert own == pytest.approx(dense, abs=1e-6)


def test_initializer__of_another_name_is_refused():
    with pytest.raises(ConfigError, match="'he_uniform', 'he_uniform_sparse', 'xavier_uniform'"):
        Config().replace(initializer="he")
