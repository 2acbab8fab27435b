"""Late gradients and averages of models, on random layers, against dense matrices."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tsnn.config import Config
from tsnn.engine.evolution import evolve
from tsnn.engine.network import Layer, init_network
from tsnn.engine.topology import erdos_renyi
from tsnn.parallel.averaging import (
    average,
    bind,
    compose,
    describe_topology,
    flatten,
    rebuild,
    resparsify,
    retain_valid,
    trace_connections,
)  # fmt: skip

seeds = st.integers(0, 2**32)
CONFIG = Config().replace({"network.hidden": [9, 8], "network.epsilon": 2})


def count(network):
    """Return the number of weights and biases."""
    return network.connections + sum(network.sizes[1:])


def drawn(seed):
    rng = np.random.default_rng(seed)
    network = init_network(7, 3, CONFIG, rng=rng)
    for layer in network.layers:
        for name in ("weights", "bias", "velocity", "bias_velocity"):
            values = getattr(layer, name)
            values[:] = rng.normal(size=len(values))
    return network, rng


def evolved(network, rng):
    layers = [
        evolve(layer, layer.topology.connections, zeta=0.4, prune="signed", initializer="normal", rng=rng).layer
        for layer in network.layers
    ]
    return type(network)(layers, network.slopes, network.initializer, network.living)


def dense(layer, values):
    t = layer.topology
    matrix = np.zeros((t.n_in, t.n_out))
    matrix[t.rows(), t.indices] = values
    return matrix


@given(seeds)
def test_flatten__and_describe_hold_the_whole_network(seed):
    network, _ = drawn(seed)
    weights, velocity = flatten(network)
    assert len(weights) == count(network)
    again = rebuild([array.copy() for array in describe_topology(network)], CONFIG, weights.copy(), velocity.copy())
    assert again.slopes == network.slopes
    for one, other in zip(network.layers, again.layers, strict=True):
        assert (one.topology.indptr == other.topology.indptr).all()
        assert (one.topology.indices == other.topology.indices).all()
        for name in ("weights", "bias", "velocity", "bias_velocity"):
            assert (getattr(one, name) == getattr(other, name)).all()
    weights += 1  # the network's values are the vector's
    assert (network.layers[1].bias == again.layers[1].bias + 1).all()
    bind(network, again.layers[0].weights.base, velocity)
    assert (network.layers[2].weights == again.layers[2].weights).all()


@given(seeds)
def test_retain_valid__keeps_existing_connections_only(seed):
    network, rng = drawn(seed)
    versions = [
        network,
        *itertools.accumulate(range(2), lambda last, _: evolved(last, rng), initial=evolved(network, rng)),
    ]
    old, newer, newest = versions[:3]
    first, second = (
        trace_connections([l.topology for l in a.layers], [l.topology for l in b.layers])
        for a, b in itertools.pairwise((old, newer, newest))
    )
    gradient = rng.normal(size=count(old)).astype(np.float32)
    for trace, target in ((first, newer), (compose(first, second), newest)):
        fitted = retain_valid(gradient, trace)
        bind(old, gradient, gradient)
        bind(target, fitted, fitted)
        for before, between, after in zip(old.layers, newer.layers, target.layers, strict=True):
            there = dense(after, 1) * dense(between, 1)
            np.testing.assert_array_equal(dense(after, after.weights), dense(before, before.weights) * there)
            assert (after.bias == before.bias).all()


@given(seeds, st.integers(1, 4))
def test_average__is_that_of_the_matrices_except_the_smallest(seed, count):
    network, rng = drawn(seed)
    models = [network, *(evolved(network, rng) for _ in range(count - 1))]
    mean = average(models)
    for l, layer in enumerate(mean.layers):
        assert layer.topology.connections == network.layers[l].topology.connections
        matrices = np.mean([dense(m.layers[l], m.layers[l].weights) for m in models], axis=0)
        union = np.any([dense(m.layers[l], 1) for m in models], axis=0)
        kept = dense(layer, 1) > 0
        np.testing.assert_allclose(dense(layer, layer.weights), matrices * kept, rtol=1e-5, atol=1e-7)
        assert (union | ~kept).all()
        for sign in (matrices >= 0, matrices < 0):
            smallest_kept = np.abs(matrices[kept & sign]).min(initial=np.inf)
            assert np.abs(matrices[union & ~kept & sign]).max(initial=0) <= smallest_kept + 1e-6
        np.testing.assert_allclose(
            layer.bias, np.mean([m.layers[l].bias for m in models], axis=0), rtol=1e-5, atol=1e-6
        )


@given(seeds, st.integers(1, 5))
def test_average__has_the_mean_number_of_connections(seed, count):
    network, rng = drawn(seed)
    models = []
    for _ in range(count):  # as rules leave them that move connections between layers, or with another epsilon
        wanted = [int(rng.integers(0, 20)) for _ in network.layers]
        layers = [
            evolve(layer, n, zeta=0.4, initializer="normal", rng=rng).layer
            for layer, n in zip(network.layers, wanted, strict=True)
        ]
        models.append(type(network)(layers, network.slopes, network.initializer, network.living))
    found = np.array([layer.topology.connections for layer in average(models).layers])
    means = np.mean([[layer.topology.connections for layer in model.layers] for model in models], axis=0)
    assert found.sum() == int(means.sum() + 0.5)
    assert (abs(found - means) < 1).all()


@given(seeds, st.integers(0, 60), st.floats(0, 1))
def test_resparsify__leaves_the_exact_number(seed, wanted, positive):
    rng = np.random.default_rng(seed)
    t = erdos_renyi(8, 9, 50, rng=rng)
    layer = Layer.new(
        t, np.where(rng.random(50) < positive, 1, -1).astype(np.float32) * rng.integers(0, 3, 50).astype(np.float32)
    )
    assert resparsify(layer, wanted).topology.connections == min(wanted, 50)
