"""Activations that are curves, GELU and tanh: kernels, dropout, importance pruning, files, exports, memory."""

import numpy as np
import pytest

import tsnn
from tests.support import naive
from tsnn import kernels
from tsnn.config import Config
from tsnn.engine.activations import CURVES, activate
from tsnn.engine.importance import prune_neurons
from tsnn.engine.memory import memory_estimate
from tsnn.engine.metrics import decision_values
from tsnn.engine.network import init_network
from tsnn.engine.propagation import forward
from tsnn.engine.serialization import network_arrays, network_of
from tsnn.engine.training import train
from tsnn.engine.workspace import Workspace


def curved(activation, rng, hidden=(30, 20), **settings):
    config = Config().replace(hidden=hidden, epsilon=5, activation=activation, **settings)
    network = init_network(12, 3, config, rng=rng)
    for layer in network.layers:
        layer.bias[:] = rng.normal(size=len(layer.bias)) * 0.3
    return network


def outputs(network, x):
    """The naive twin of a network: dense NumPy."""
    a = x.astype(float)
    for l, layer in enumerate(network.layers):
        t = layer.topology
        a = a @ naive.dense(t.indptr, t.indices, layer.weights, t.n_out) + layer.bias
        if l + 1 < len(network.layers):
            a = naive.apply_curve(network.curve, 1.0, a)[0]
    return a


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("keep", [1.0, 0.7])
def test_apply_curve__equals_the_naive_twin(name, keep, rng):
    values = np.concatenate([rng.normal(size=2000) * 3, np.linspace(-30, 30, 2000), [0, 1e-20, -1e-20, 1e30, -1e30]])
    values = values.astype(np.float32)[:, None].repeat(16, axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        expected, slopes = naive.apply_curve(name, keep, values[:-2])
    derivative = np.empty_like(values)
    kernels.apply_curve(name, keep, values, derivative)
    np.testing.assert_allclose(values[:-2], expected, rtol=4e-6, atol=4e-6)
    np.testing.assert_allclose(derivative[:-2], slopes, rtol=1e-5, atol=1e-5)
    assert np.isfinite(derivative).all()
    assert derivative[-1, 0] == 0


@pytest.mark.parametrize("name", CURVES)
def test_apply_curve__keeps_nan(name):
    values, derivative = np.full((1, 16), np.nan, np.float32), np.zeros((1, 16), np.float32)
    kernels.apply_curve(name, 1.0, values, derivative)
    assert np.isnan(values).all()
    assert np.isnan(derivative).all()


def test_multiply__equals_the_naive_twin(rng):
    factors, values = rng.normal(size=(2, 70, 16)).astype(np.float32)
    expected = naive.multiply(factors, values)
    kernels.multiply(factors, values)
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("activation", CURVES)
@pytest.mark.parametrize("compact", [False, True])
def test_forward__equals_dense_numpy(activation, compact, rng):
    network, x = curved(activation, rng), rng.normal(size=(20, 12)).astype(np.float32)
    found = decision_values(network, x, Workspace(network.sizes, 32, compact=compact))
    np.testing.assert_allclose(found, outputs(network, x), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(activate(x, 1, activation), naive.apply_curve(activation, 1, x)[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("activation", CURVES)
def test_dropout__drops_or_scales_the_activation(activation, rng):
    network, x = curved(activation, rng, hidden=(40,)), rng.normal(size=(16, 12)).astype(np.float32)
    workspace = Workspace(network.sizes, 16)
    activations = []
    for dropout in (0.0, 0.4):
        workspace.activations[0][:] = x.T
        forward(network, workspace, dropout=dropout, key=3)
        activations.append(workspace.activations[1].copy())
    kept = activations[1] != 0
    assert 0.4 < kept.mean() < 0.8
    np.testing.assert_allclose(activations[1][kept], activations[0][kept] / 0.6, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("activation", CURVES)
def test_training__learns(blobs, tiny, activation):
    config = tiny.replace({"activation": activation, "dropout": 0, "weight_decay": 0, "epochs": 25, "epsilon": 6})
    rng = np.random.default_rng(0)
    records = list(train(init_network(12, 3, config, rng=rng), blobs, config, rng=rng))
    assert records[-1].train_loss < 0.5 * records[0].train_loss
    assert records[-1].test_accuracy > 0.8


@pytest.mark.parametrize("activation", CURVES)
def test_importance_pruning__folds_the_constant_of_neurons_without_inputs(activation, rng):
    network = curved(activation, rng, hidden=(30,))
    first = network.layers[0]
    first.weights[np.isin(first.topology.indices, [0, 1, 2])] = 0  # they emit f(bias) only
    x, workspace = rng.normal(size=(20, 12)).astype(np.float32), Workspace(network.sizes, 32)
    before = decision_values(network, x, workspace)
    assert prune_neurons(network, 1) == [3]
    np.testing.assert_allclose(decision_values(network, x, workspace), before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", CURVES)
def test_network__is_the_same_after_a_file_and_a_copy(activation, rng, tmp_path):
    network, x = curved(activation, rng), rng.normal(size=(20, 12)).astype(np.float32)
    tsnn.save_network(network, tmp_path / "weights.npz")
    workspace = Workspace(network.sizes, 32)
    expected = decision_values(network, x, workspace)
    for twin in (tsnn.load_network(tmp_path / "weights.npz"), network.copy()):
        assert twin.curve == activation
        np.testing.assert_array_equal(decision_values(twin, x, workspace), expected)
    arrays = {name: np.array(array) for name, array in network_arrays(network).items()} | {"curve": np.array("sine")}
    with pytest.raises(ValueError, match="activation 'sine' is unknown"):
        network_of(arrays)


@pytest.mark.parametrize("activation", CURVES)
def test_scipy__takes_and_gives_curves(activation, rng):
    network, x = curved(activation, rng), rng.normal(size=(20, 12)).astype(np.float32)
    twin = tsnn.from_scipy(tsnn.to_scipy(network), [layer.bias for layer in network.layers], activation=activation)
    workspace = Workspace(network.sizes, 32)
    np.testing.assert_array_equal(decision_values(twin, x, workspace), decision_values(network, x, workspace))


@pytest.mark.parametrize("activation", CURVES)
def test_onnx__has_the_same_outputs(activation, rng):
    pytest.importorskip("onnx")
    reference = pytest.importorskip("onnx.reference")
    network, x = curved(activation, rng), rng.normal(size=(20, 12)).astype(np.float32)
    model = tsnn.to_onnx(network, task="regression")
    found = reference.ReferenceEvaluator(model).run(None, {"features": x})[0]
    np.testing.assert_allclose(found, outputs(network, x), rtol=1e-4, atol=1e-5)


def test_memory__counts_the_derivatives():
    plain, curve = (memory_estimate(Config().replace(activation=name), 784, 10, 1000) for name in ("relu", "gelu"))
    assert curve.items["activations"] - plain.items["activations"] == 4 * 3000 * 128
