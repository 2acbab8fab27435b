"""Optimizers: their equations, state that follows each connection, runs that continue with the same bits."""

import numpy as np
import pytest

import tsnn
from tests.support import naive
from tsnn import kernels
from tsnn.config import Config, describe
from tsnn.datasets import make_dataset
from tsnn.engine.batches import Batch, train_batch
from tsnn.engine.evolution import evolve
from tsnn.engine.importance import prune_neurons
from tsnn.engine.memory import memory_estimate
from tsnn.engine.network import init_network
from tsnn.engine.optimizers import adamw, nesterov, prepare_state, sgd
from tsnn.engine.schedules import Rates
from tsnn.engine.serialization import pack, unpack
from tsnn.engine.state import TrainingState
from tsnn.engine.training import steps, train
from tsnn.engine.workspace import Workspace
from tsnn.errors import ConfigError, DivergenceError, RuleError
from tsnn.execution.engine import execute
from tsnn.records import EpochRecord, Progress
from tsnn.registry import OPTIMIZERS

RATES = Rates(momentum=0.8, learning_rate=0.05, weight_decay=0.01, dropout=0.0)


def arrays(rng, count, n=300):
    return [rng.normal(size=n).astype(np.float32) for _ in range(count)]


@pytest.mark.parametrize("n", [1, 300, 40_000])  # the last is divided among threads
def test_kernels__equal_the_naive_twins(rng, n):
    gradient, weights, velocity, mean, square = arrays(rng, 5, n)
    expected = naive.nesterov_step(gradient, 0.8, 0.05, 0.01, weights, velocity)
    found = weights.copy(), velocity.copy()
    kernels.nesterov_step(gradient, 0.8, 0.05, 0.01, *found)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    steps_done = rng.integers(0, 9, n).astype(np.float32)
    table, epsilons = rng.random(7).astype(np.float32), np.full(7, 1e-3, np.float32)  # six steps, then the last
    state = weights, mean, square**2, steps_done
    expected = naive.adamw_step(gradient, (0.8, 0.99), 0.01, table, epsilons, *state)
    found = [array.copy() for array in state]
    kernels.adamw_step(gradient, (0.8, 0.99), 0.01, table, epsilons, *found)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_sgd__is_what_the_backward_pass_computes(blobs, tiny, rng):
    network = init_network(12, 3, tiny, rng=rng)
    for layer in network.layers:
        layer.velocity[:] = rng.normal(size=len(layer.velocity)) * 0.1
    fused, twin = network.copy(), network.copy()
    batch, workspace = Batch.of(blobs, np.arange(32)), Workspace(network.sizes, 32)
    train_batch(fused, workspace, batch, rates=RATES, key=7)
    OPTIMIZERS.register("plain_sgd", help="momentum SGD, not fused", state=("velocity",))(sgd)
    try:
        prepare_state(twin, "plain_sgd")
        for layer in twin.layers:
            layer.state["velocity"][:] = layer.velocity
        train_batch(twin, workspace, batch, rates=RATES, key=7, optimizer="plain_sgd")
    finally:
        OPTIMIZERS.unregister("plain_sgd")
    for a, b in zip(fused.layers, twin.layers, strict=True):
        np.testing.assert_allclose(a.weights, b.weights, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(a.bias, b.bias, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(a.velocity, b.state["velocity"], rtol=1e-5, atol=1e-6)
        assert not b.velocity.any()


def test_nesterov__is_momentum_at_the_weights_ahead(rng):
    """Sutskever et al. (2013), equations 3 and 4; the weights that are stored are those ahead."""
    gradients, weights, velocity = arrays(rng, 6), np.zeros(300), np.zeros(300)
    ahead = weights + 0.8 * velocity
    state = np.zeros(300, np.float32), np.zeros(300, np.float32)
    for g in gradients:
        velocity = 0.8 * velocity - 0.05 * g
        weights = weights + velocity
        ahead = weights + 0.8 * velocity
        nesterov(state[0], g, state[1], RATES._replace(weight_decay=0.0))
    np.testing.assert_allclose(state[0], ahead, rtol=1e-4, atol=1e-5)


def test_adamw__is_the_algorithm_of_the_paper(rng):
    """arXiv 1711.05101, algorithm 2, in float64, for more steps than any correction lasts of beta1."""
    w, m, v = arrays(rng, 1)[0].astype(float), np.zeros(300), np.zeros(300)
    state = w.astype(np.float32), *(np.zeros(300, np.float32) for _ in range(3))
    for t in range(1, 60):
        g = rng.normal(size=300).astype(np.float32)
        m, v = 0.8 * m + 0.2 * g, 0.999 * v + 0.001 * g.astype(float) ** 2
        w = w - 0.05 * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8) - 0.01 * w
        adamw(state[0], g, *state[1:], RATES)
    np.testing.assert_allclose(state[0], w, rtol=1e-3, atol=1e-4)


def test_adamw__steps_of_a_new_connection_are_as_large_as_those_of_any_at_the_start(rng):
    """With one count for all, the first step of a new connection would be a tenth of the rate."""
    old, new = (np.zeros(1, np.float32) for _ in range(2))
    states = [[np.zeros(1, np.float32) for _ in range(3)] for _ in range(2)]
    gradient = np.ones(1, np.float32)
    for _ in range(5000):
        adamw(old, gradient, *states[0], RATES)
    before = new.copy()
    adamw(new, gradient, *states[1], RATES._replace(weight_decay=0.0))
    assert before - new == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize("optimizer", ["nesterov", "adamw"])
def test_state__follows_connections_through_evolution_and_is_zero_for_new_ones(optimizer, rng):
    config = Config().replace(hidden=(40, 20), epsilon=6)
    layer = init_network(30, 3, config, rng=rng).layers[0]
    network = init_network(30, 3, config, rng=rng)
    network.layers[0] = layer
    prepare_state(network, optimizer)
    for name, values in layer.state.items():
        values[:] = 1 + rng.random(len(values)) + len(name)
    before = {key: k for k, key in enumerate(layer.topology.keys().tolist())}
    layer.weights[:] = rng.permutation(len(layer.weights)) + 1  # no two are equal
    evolved = evolve(layer, layer.topology.connections, zeta=0.4, prune="magnitude", initializer="normal", rng=rng)
    after = evolved.layer
    for k, key in enumerate(after.topology.keys().tolist()):
        old = before.get(key)
        survives = old is not None and layer.weights[old] == after.weights[k]
        for name, values in after.state.items():
            assert values[k] == (layer.state[name][old] if survives else 0)
    assert set(after.state) == set(OPTIMIZERS[optimizer].state)
    assert after.bias_state is layer.bias_state


def test_carry_values__equals_the_naive_twin(rng):
    for _ in range(20):
        layer = init_network(9, 3, Config().replace(hidden=(7,), epsilon=2), rng=rng).layers[0]
        t, survives = layer.topology, rng.random(layer.topology.connections) < 0.6
        merged = evolve(layer, t.connections, zeta=0.5, initializer="normal", rng=rng).layer.topology
        values = rng.random(t.connections).astype(np.float32)
        out = np.full(merged.connections, -1, np.float32)
        arguments = t.indptr, t.indices, values, survives, merged.indptr, merged.indices, out
        expected = naive.carry_values(*arguments)
        kernels.carry_values(*arguments)
        np.testing.assert_array_equal(out, np.array(expected, np.float32))


def test_state__of_pruned_neurons_is_gone(blobs, tiny, rng):
    config = tiny.replace(optimizer="adamw", learning_rate=0.01)
    network = init_network(12, 3, config, rng=rng)
    list(train(network, blobs, config, rng=rng))
    prune_neurons(network, 40)
    for layer, living in zip(network.layers, network.living, strict=True):
        assert {len(values) for values in layer.state.values()} == {layer.topology.connections}
        assert all(not values[~living].any() for values in layer.bias_state.values())
    assert sum(int((~living).sum()) for living in network.living) > 5


@pytest.mark.parametrize(("optimizer", "rate"), [("nesterov", 0.05), ("adamw", 0.005)])
def test_training__continues_with_the_same_bits(blobs, tiny, optimizer, rate):
    settings = {"training.optimizer": optimizer, "training.learning_rate": rate, "training.epochs": 8}
    config = tiny.replace(
        {**settings, "importance.percentile": 10, "importance.start": 5, "training.evolve_every": 0.7}
    )
    rng = np.random.default_rng(0)
    state = TrainingState.begin(init_network(12, 3, config, rng=rng), config, rng=rng)
    stepping = steps(state, blobs)
    for item in stepping:
        if isinstance(item, Progress) and (item.epoch, item.samples) == (3, 64):
            break
    values, saved = pack(state)
    other = unpack(values, {name: np.array(array) for name, array in saved.items()})
    results = [[r.test_loss for r in s if isinstance(r, EpochRecord)] for s in (stepping, steps(other, blobs))]
    assert results[0] == results[1]
    assert len(results[0]) == 6
    for a, b in zip(state.network.layers, other.network.layers, strict=True):
        assert all((a.state[name] == b.state[name]).all() for name in OPTIMIZERS[optimizer].state)
        assert (a.weights == b.weights).all()


@pytest.mark.parametrize(("optimizer", "rate"), [("nesterov", 0.05), ("adamw", 0.02)])
def test_training__learns(blobs, tiny, optimizer, rate):
    config = tiny.replace(optimizer=optimizer, learning_rate=rate, epochs=20, dropout=0, weight_decay=0, method="fixed")
    rng = np.random.default_rng(0)
    records = list(train(init_network(12, 3, config, rng=rng), blobs, config, rng=rng))
    assert records[-1].train_loss < 0.4 * records[0].train_loss
    assert records[-1].test_accuracy > 0.8


def test_training__has_the_same_bits_for_any_number_of_threads(rng):
    x, y = rng.normal(size=(64, 200)).astype(np.float32), rng.integers(3, size=64)
    data, weights = make_dataset(x, y, rng=np.random.default_rng(0)), []
    for threads in (1, 2):
        config = Config().replace(hidden=(300, 200), epsilon=60, optimizer="adamw", epochs=2, threads=threads)
        network = init_network(data.n_features, data.n_outputs, config, rng=np.random.default_rng(0))
        assert max(layer.topology.connections for layer in network.layers) > 1 << 14
        list(train(network, data, config, rng=np.random.default_rng(1)))
        weights.append(network.layers[0].weights)
    assert (weights[0] == weights[1]).all()


def test_optimizer__changed_in_a_fork_starts_without_velocities(blobs, tiny, rng):
    config = tiny.replace(optimizer="adamw", learning_rate=0.01, epochs=2)
    network = init_network(12, 3, config, rng=rng)
    list(train(network, blobs, config, rng=rng))
    assert not any(layer.velocity.any() for layer in network.layers)
    assert all(layer.state for layer in network.layers)
    list(train(network, blobs, config.replace(optimizer="sgd"), rng=rng))
    assert all(not layer.state and layer.velocity.any() for layer in network.layers)


def test_optimizer__needs_one_process():
    with pytest.raises(ConfigError, match=r"training\.optimizer='adamw' trains in one process"):
        Config().replace(optimizer="adamw", workers=2)
    assert Config().replace(workers=2).parallel.workers == 2


def test_memory__counts_the_state():
    estimates = {name: memory_estimate(Config().replace(optimizer=name), 784, 10, 1000) for name in OPTIMIZERS}
    count = estimates["sgd"].count
    for name, extra in (("sgd", 0), ("nesterov", 4), ("adamw", 12)):
        difference = estimates[name].items["connections"] - estimates["sgd"].items["connections"]
        assert difference == extra * count
        assert estimates[name].checkpoint - estimates["sgd"].checkpoint == extra * (count + 3010)
        assert (estimates[name].items["evolution"] > estimates["sgd"].items["evolution"]) == bool(extra)


@pytest.fixture
def own():
    """Register an optimizer for one test; its function is given by the test."""

    def register(function, **facts):
        tsnn.optimizer("own", help="one of the user's", **facts)(function)

    yield register
    OPTIMIZERS.unregister("own")


def test_own_optimizer__in_numpy_trains(own, blobs, tiny, rng):
    def adagrad(weights, gradient, sums, rates):
        sums = sums + gradient**2
        return weights - rates.learning_rate * gradient / (np.sqrt(sums) + 1e-8), sums

    own(adagrad, state=("sums",))
    config = tiny.replace(optimizer="own", epochs=20, dropout=0, weight_decay=0, method="fixed")
    assert "'own': one of the user's" in describe("optimizer").help
    network = init_network(12, 3, config, rng=rng)
    records = list(train(network, blobs, config, rng=rng))
    assert records[-1].train_loss < 0.4 * records[0].train_loss
    assert all((layer.state["sums"] >= 0).all() and layer.state["sums"].dtype == np.float32 for layer in network.layers)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (
            lambda w: w,
            r"The optimizer 'own' returned float32\[\d+\]; expected the tuple \(weights, m,\) \(.*, line \d+\)",
        ),
        (lambda w: (w,), "returned a tuple of 1; expected the tuple"),
        (lambda w: (w[:-1], w), r"returned float32\[\d+\] as weights; expected float32\[\d+\]"),
        (lambda w: (w, w + 1j), r"returned complex64\[\d+\] as m; expected float32"),
        (lambda w: (w, 0), "returned a int as m"),
        (lambda w: (w, w * np.float32("nan")), r"returned NaN for (\d+) of \1 m; expected numbers \(.*, line \d+\)"),
        (lambda w: w / None, r"'own' failed in line \d+ of .*test_optimizers.py \(.*\): TypeError"),
    ],
)
def test_own_optimizer__that_returns_something_else_is_named(own, blobs, tiny, rng, returned, message):
    own(lambda weights, gradient, m, rates: returned(weights), state=("m",))
    config = tiny.replace(optimizer="own")
    with pytest.raises(RuleError, match=message):
        list(train(init_network(12, 3, config, rng=rng), blobs, config, rng=rng))


def test_own_optimizer__that_diverges_is_not_named_as_faulty(own, blobs, tiny, rng):
    own(lambda weights, gradient, rates: (weights - rates.learning_rate * gradient,))
    config = tiny.replace(optimizer="own", learning_rate=1e30)
    with pytest.raises(DivergenceError, match="epoch 1"):
        list(train(init_network(12, 3, config, rng=rng), blobs, config, rng=rng))


def test_own_optimizer__that_does_not_end_is_interrupted(own, blobs, tiny, rng):
    def endless(weights, gradient, rates):
        while len(weights):
            weights[0] += 0

    own(endless)
    config = tiny.replace({"training.optimizer": "own", "run.rule_seconds": 0.2})
    with pytest.raises(RuleError, match=r"'own' did not end within 0.2 s .run.rule_seconds.*in line \d+ of "):
        list(train(init_network(12, 3, config, rng=rng), blobs, config, rng=rng))


def test_own_optimizer__is_not_called_before_there_is_a_gradient(own, blobs, tiny, rng):
    """By the norm of a gradient of zeros it would divide by 0."""
    norms = []

    def normalized(weights, gradient, rates):
        norms.append(float(np.linalg.norm(gradient)))
        return (weights - rates.learning_rate * gradient / (norms[-1] + 1e-9),)

    own(normalized)
    config = tiny.replace(optimizer="own", epochs=1)
    list(train(init_network(12, 3, config, rng=rng), blobs, config, rng=rng))
    assert len(norms) == 3 * 2 * 4, "batches, weights and biases, layers"
    assert norms[0] > 0


def test_own_optimizer__names_its_state():
    with pytest.raises(ConfigError, match=r"state must be a tuple of names such as \('m', 'v'\), got 'mv'"):
        tsnn.optimizer("own", state="mv")


def test_own_optimizer__is_recorded_by_a_run_that_continues_with_the_same_bits(own, store, filed):
    own(sign_momentum, state=("mean",))
    config = filed.replace({"training.optimizer": "own", "training.learning_rate": 0.003, "training.epochs": 4})
    run = store.create(config)
    execution = execute(run)
    for item in execution:
        if isinstance(item, Progress) and (item.epoch, item.samples) == (2, 64):
            break
    execution.close()
    list(execute(run))
    whole = store.create(config)
    list(execute(whole))
    losses = [[record.test_loss for record in r.records()] for r in (run, whole)]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 4
    OPTIMIZERS.unregister("own")  # as in the process of a page, which reads the run only
    shape = 12, 3, 135
    assert memory_estimate(run.config(), *shape).state == 4
    own(sign_momentum, state=("mean",))
    assert "def sign_momentum" in next((run.path / "rules").glob("*own*")).read_text()


def sign_momentum(weights, gradient, mean, rates):
    """Step by the sign of the mean gradient (Lion without a second rate)."""
    mean = rates.momentum * mean + (1 - rates.momentum) * gradient
    return (1 - rates.weight_decay) * weights - rates.learning_rate * np.sign(mean), mean


def test_estimator__trains_with_another_optimizer_and_continues():
    x = np.random.default_rng(0).normal(size=(120, 10))
    y = (x[:, 0] > 0).astype(int)
    settings = {"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.0, "dropout": 0.0, "method": "fixed"}
    model = tsnn.SparseMLPClassifier(hidden=(20,), epochs=15, random_state=0, **settings).fit(x, y)
    assert model.score(x, y) > 0.9
    steps_done = model.network_.layers[0].state["steps"].max()
    assert steps_done == 15 * 4
    model.partial_fit(x, y)
    assert model.network_.layers[0].state["steps"].max() > steps_done
