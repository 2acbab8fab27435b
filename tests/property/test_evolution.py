"""Evolution and importance pruning: properties that hold for every rule and any layer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import naive
from tsnn.config import Config
from tsnn.engine.evolution import LayerContext, evolve
from tsnn.engine.free_positions import Activations
from tsnn.engine.importance import importance, prune_neurons
from tsnn.engine.network import Layer, init_network
from tsnn.engine.propagation import forward
from tsnn.engine.pruning import Connections, choose_survivors, surviving
from tsnn.engine.topology import erdos_renyi
from tsnn.engine.workspace import Workspace
from tsnn.registry import PRUNING, REGROWTH


@st.composite
def layers(draw):
    n_in, n_out = draw(st.integers(1, 25)), draw(st.integers(1, 25))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    topology = erdos_renyi(n_in, n_out, draw(st.integers(0, n_in * n_out)), rng=rng)
    layer = Layer.new(topology, rng.normal(size=topology.connections).astype(np.float32))
    layer.velocity[:] = rng.normal(size=topology.connections)
    return layer


zetas = st.floats(0, 0.99)


def evolved(layer, zeta, prune="signed", regrow="random", connections=None, seed=0, **context):
    count = layer.topology.connections if connections is None else connections
    rng = np.random.default_rng(seed)
    context.setdefault("gradient", flat_gradient)
    context.setdefault("activations", lambda: flat_activations(layer.topology))
    return evolve(
        layer, count, zeta=zeta, prune=prune, regrow=regrow, initializer="he_uniform", rng=rng,
        context=LayerContext(**context),
    )  # fmt: skip


def flat_gradient(indptr, indices):
    return np.ones(len(indices), np.float32)


def flat_activations(t):
    sides = np.ones((t.n_in, 4), np.float32), np.ones((t.n_out, 4), np.float32)
    return Activations(*sides, np.linspace(0, 1, 4 * t.n_out, dtype=np.float32).reshape(-1, 4))


def survivors_of(layer, zeta, prune, seed=0):
    connections = Connections(layer.weights, layer.topology, 1.0, np.random.default_rng(seed), flat_gradient)
    return surviving([connections], zeta, PRUNING[prune])[0]


def by_key(keys, weights, velocity):
    return dict(zip(keys.tolist(), zip(weights, velocity, strict=True), strict=True))


@pytest.mark.parametrize("prune", ["signed", "magnitude"])
@given(layers(), zetas)
def test_pruning__is_that_of_its_naive_twin(prune, layer, zeta):
    survives = choose_survivors(layer.weights, zeta, prune)
    assert survives.tolist() == naive.choose_survivors(layer.weights, zeta, prune)


@pytest.mark.parametrize("prune", list(PRUNING))
@given(layers(), zetas)
def test_pruning__removes_at_most_the_fraction_zeta(prune, layer, zeta):
    survives = survivors_of(layer, zeta, prune)
    assert survives.dtype == bool
    assert survives.shape == layer.weights.shape
    assert np.count_nonzero(~survives) <= zeta * len(survives)


@pytest.mark.parametrize(
    ("prune", "regrow"), [*((prune, "random") for prune in PRUNING), *(("signed", regrow) for regrow in REGROWTH)]
)
@given(layers(), zetas, st.integers(0, 2**32))
def test_evolution__keeps_count_survivors_and_order(prune, regrow, layer, zeta, seed):
    result = evolved(layer, zeta, prune, regrow, seed=seed)
    old, new = layer.topology.keys(), result.layer.topology.keys()
    assert len(new) == len(old)
    assert (np.diff(new) > 0).all()
    survives = survivors_of(layer, zeta, prune, seed)
    assert result.pruned == result.grown == (~survives).sum()
    before = by_key(old[survives], layer.weights[survives], layer.velocity[survives])
    after = by_key(new, result.layer.weights, result.layer.velocity)
    for key, values in before.items():
        assert after[key] == values
    limit = np.sqrt(6 / layer.topology.n_in) + 1e-6
    for key in after.keys() - before.keys():
        weight, velocity = after[key]
        assert velocity == 0
        assert abs(weight) <= limit


@pytest.mark.parametrize("regrow", list(REGROWTH))
@given(layers(), zetas, st.integers(0, 625))
def test_evolution__reaches_another_number_of_connections_at_once(regrow, layer, zeta, wanted):
    t = layer.topology
    result = evolved(layer, zeta, regrow=regrow, connections=min(wanted, t.n_in * t.n_out))
    assert result.layer.topology.connections == min(wanted, t.n_in * t.n_out)
    assert result.layer.topology.connections == t.connections - result.pruned + result.grown


def test_evolution__reaches_fewer_connections_by_magnitude():
    layer = Layer.new(erdos_renyi(1, 6, 6, rng=np.random.default_rng(0)), np.array([3, -1, 2, 6, -5, 4], np.float32))
    assert sorted(evolved(layer, 0.0, connections=3).layer.weights.tolist()) == [-5, 4, 6]


@pytest.mark.parametrize("regrow", list(REGROWTH))
@given(layers(), st.integers(0, 2**32))
def test_evolution__gives_dead_neurons_no_connection(regrow, layer, seed):
    t, rng = layer.topology, np.random.default_rng(seed)
    living_in, living_out = rng.random(t.n_in) < 0.6, rng.random(t.n_out) < 0.6
    living_in[0] = living_out[0] = True
    keep = living_in[t.rows()] & living_out[t.indices]
    alive = Layer.new(type(t).from_keys(t.keys()[keep], t.n_in, t.n_out), layer.weights[keep])
    result = evolved(alive, 0.5, regrow=regrow, living_in=living_in, living_out=living_out, seed=seed).layer.topology
    assert result.connections == alive.topology.connections
    assert living_in[result.rows()].all()
    assert living_out[result.indices].all()


@pytest.mark.compiled
def test_random_regrowth__is_uniform_over_the_free_positions():
    layer = Layer.new(erdos_renyi(6, 6, 9, rng=np.random.default_rng(0)), np.arange(1, 10, dtype=np.float32))
    survivors = set(layer.topology.keys()[3:].tolist())
    hits = np.zeros(36)
    for seed in range(3000):
        hits[evolved(layer, 0.34, seed=seed).layer.topology.keys()] += 1
    free = [hits[k] for k in range(36) if k not in survivors]
    assert len(free) == 30
    assert abs(np.array(free) - 300).max() < 5 * np.sqrt(300)


def gradient_of(activation, delta):
    size = activation @ delta.T
    return lambda indptr, indices: size[np.repeat(np.arange(len(size)), np.diff(indptr)), indices]


def test_gradient_regrowth__takes_the_largest_gradients(rng):
    layer = Layer.new(erdos_renyi(6, 6, 16, rng=rng), rng.normal(size=16).astype(np.float32))
    activation, delta = rng.normal(size=(2, 6, 16)).astype(np.float32)
    survivors = layer.topology.keys()[choose_survivors(layer.weights, 0.25, "magnitude")]
    result = evolved(
        layer, 0.25, "magnitude", "gradient", gradient=gradient_of(activation, delta)
    ).layer.topology.keys()
    size = abs(activation @ delta.T).ravel()
    free = sorted(set(range(36)) - set(survivors.tolist()), key=lambda key: -size[key])
    assert len(free) == 24  # at most ten candidates for each of four: every free position is tried
    assert set(result.tolist()) - set(survivors.tolist()) == set(free[:4])


def test_gradient_regrowth__prefers_large_gradients_among_its_candidates(rng):
    layer = Layer.new(erdos_renyi(60, 60, 100, rng=rng), rng.normal(size=100).astype(np.float32))
    activation, delta = rng.normal(size=(2, 60, 16)).astype(np.float32)
    size = abs(activation @ delta.T).ravel()
    survivors = layer.topology.keys()[choose_survivors(layer.weights, 0.3, "magnitude")]
    grown = np.setdiff1d(
        evolved(layer, 0.3, "magnitude", "gradient", gradient=gradient_of(activation, delta)).layer.topology.keys(),
        survivors,
    )
    assert len(grown) == 30
    assert np.median(size[grown]) > np.quantile(size, 0.9)


def hidden_network(rng, hidden=(12, 9), epsilon=3):
    config = Config().replace(hidden=hidden, epsilon=epsilon)
    network = init_network(8, 4, config, rng=rng)
    for layer in network.layers:
        layer.bias[:] = rng.normal(size=layer.topology.n_out)
    return network


def test_importance__is_the_sum_of_incoming_magnitudes(rng):
    layer = hidden_network(rng).layers[0]
    matrix = naive.dense(layer.topology.indptr, layer.topology.indices, layer.weights, 12)
    np.testing.assert_allclose(importance(layer), abs(matrix).sum(axis=0), rtol=1e-6)


@given(st.floats(0, 100), st.sampled_from(["layer", "network"]), st.integers(0, 1000))
def test_importance_pruning__removes_all_connections_and_stay_dead(percentile, scope, seed):
    network = hidden_network(np.random.default_rng(seed))
    scores = [importance(layer) for layer in network.layers[:-1]]
    pruned = prune_neurons(network, percentile, scope)
    for l, score in enumerate(scores):
        dead = ~network.living[l]
        assert dead.sum() == pruned[l] < len(dead)  # never down to none
        compared = np.concatenate(scores) if scope == "network" else score
        below = score <= np.percentile(compared, percentile)
        assert (dead == below).all() or (below.all() and dead.sum() == len(dead) - 1 and not dead[score.argmax()])
        assert not dead[network.layers[l].topology.indices].any()
        assert not dead[network.layers[l + 1].topology.rows()].any()
    assert network.living[-1].all()


def test_importance_pruning__of_neurons_without_inputs_keeps_the_output(rng):
    network = hidden_network(rng)
    for l in (0, 1):  # cut the inputs of some neurons: they emit the constant f(bias)
        layer, t = network.layers[l], network.layers[l].topology
        layer.weights[np.isin(t.indices, [1, 4, 5])] = 0
    workspace = Workspace(network.sizes, 16)
    workspace.activations[0][:] = rng.normal(size=(8, 16))
    before = forward(network, workspace).copy()
    pruned = prune_neurons(network, 25)
    assert pruned[0] == 3
    assert pruned[1] >= 2
    np.testing.assert_allclose(forward(network, workspace), before, rtol=1e-4, atol=1e-5)


def test_importance_pruning__takes_the_percentile_of_the_living(rng):
    network = hidden_network(rng, hidden=(100, 100), epsilon=10)
    assert prune_neurons(network, 20) == [20, 20]
    assert prune_neurons(network, 50) == [40, 40]


def test_importance_pruning__of_all_layers_together_takes_the_weakest_layer_first(rng):
    network = hidden_network(rng, hidden=(100, 100), epsilon=10)
    network.layers[0].weights *= 100
    assert prune_neurons(network, 40, "network") == [0, 80]
    assert prune_neurons(network, 50, "network") == [40, 19], "one neuron of a layer stays"


def test_importance_pruning__of_equal_neurons_never_empties_a_layer(rng):
    network = hidden_network(rng)
    for layer in network.layers:
        layer.weights[:] = 0
    assert prune_neurons(network, 20) == [11, 8]


@pytest.mark.parametrize("zeta", [0.0, 0.3])
def test_evolution__of_a_layer_without_connections_changes_nothing(zeta):
    layer = Layer.new(erdos_renyi(3, 3, 0, rng=np.random.default_rng(0)), np.empty(0, np.float32))
    assert evolved(layer, zeta).layer.topology.connections == 0
