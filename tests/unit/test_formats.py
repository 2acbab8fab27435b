"""Networks go to SciPy and ONNX and back, and answer the same there."""

import numpy as np
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator
from scipy import sparse
from scipy.special import expit, softmax

from tsnn.config import Config
from tsnn.engine.metrics import decision_values
from tsnn.engine.network import init_network
from tsnn.engine.workspace import Workspace
from tsnn.errors import TopologyError, TsnnError
from tsnn.estimator import SparseMLPClassifier, SparseMLPRegressor
from tsnn.formats import from_scipy, from_torch, onnx, to_onnx, to_scipy, to_torch


@pytest.fixture
def network(rng):
    config = Config().replace({"network.hidden": [40, 30], "network.epsilon": 3})
    network = init_network(50, 4, config, rng=rng)
    for layer in network.layers:
        layer.bias[:] = rng.normal(size=layer.topology.n_out)
    return network


def answers(network, x):
    return decision_values(network, x, Workspace(network.sizes, 16))


def run_everywhere(model, x):
    """Answers of the reference implementation of ONNX and of a runtime."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for runner in (ReferenceEvaluator(model), session):
        yield runner.run(None, {"features": x.astype(np.float32)})[0]


def test_to_scipy__shares_memory_with_the_connections(network, rng):
    x = rng.normal(size=(9, 50)).astype(np.float32)
    z = x
    for l, matrix in enumerate(to_scipy(network)):
        assert np.shares_memory(matrix.data, network.layers[l].weights)
        z = z @ matrix + network.layers[l].bias
        z = np.where(z > 0, z, np.float32(network.slopes[l]) * z)
    np.testing.assert_allclose(z, answers(network, x), rtol=1e-4, atol=1e-5)


def test_from_scipy__and_back(rng):
    shapes = ((20, 15), (15, 10), (10, 3))
    matrices = [sparse.csr_array(rng.normal(size=shape) * (rng.random(shape) < 0.2)) for shape in shapes]
    biases = [rng.normal(size=n) for n in (15, 10, 3)]
    network = from_scipy(matrices, biases, activation="all_relu", alpha=0.5)
    assert network.slopes == (-0.5, 0.5, 1)
    for ours, theirs in zip(to_scipy(network), matrices, strict=True):
        np.testing.assert_allclose(ours.toarray(), theirs.toarray(), rtol=1e-6)
    x = rng.normal(size=(5, 20)).astype(np.float32)
    z = x @ matrices[0].toarray() + biases[0]
    np.testing.assert_allclose(answers(from_scipy(matrices[:1], biases[:1]), x), z, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shapes", "biases", "message"),
    [
        ([(20, 15), (10, 3)], None, "Layer 2 goes from 10 to 3 .* ends in 15"),
        ([(20, 15)], [np.zeros(14)], "biases of shape \\(14,\\)"),
        ([(20, 15)], [], "1 matrices and 0 biases"),
        ([(20, 15)], [np.full(15, np.nan)], "not finite"),
        ([], None, "at least one"),
    ],
)
def test_from_scipy__inconsistent_matrices_are_refused(shapes, biases, message):
    with pytest.raises(TopologyError, match=message):
        from_scipy([sparse.csr_array(shape) for shape in shapes], biases)


@pytest.mark.parametrize(
    ("task", "expected"),
    [("classification", lambda z: softmax(z, axis=1)), ("multilabel", expit), ("regression", lambda z: z)],
)
def test_to_onnx__predicts_like_the_network(network, rng, task, expected):
    x = rng.normal(size=(33, 50))
    network.scaling = rng.normal(size=50), rng.random(50)
    z = answers(network, ((x - network.scaling[0]) * network.scaling[1]).astype(np.float32))
    names = [f"gene {i}" for i in range(50)]
    model = to_onnx(network, task=task, class_names=["a", "b", "c", "d"], feature_names=names)
    assert {p.key: p.value for p in model.metadata_props} == {"classes": "a\nb\nc\nd", "features": "\n".join(names)}
    for given in run_everywhere(model, x):
        np.testing.assert_allclose(given, expected(z), rtol=1e-5, atol=1e-5)
    one = next(run_everywhere(model, x[:1]))
    np.testing.assert_allclose(one, expected(z[:1]), rtol=1e-5, atol=1e-5)


def test_to_onnx__stays_sparse(network):
    kinds = {node.op_type for node in to_onnx(network).graph.node}
    assert {"ScatterND", "Gather"} <= kinds
    wide = from_scipy([sparse.csr_array(([1.0], ([5], [7])), shape=(3000, 2000))])
    assert len(to_onnx(wide).SerializeToString()) < 20_000
    dense = from_scipy([sparse.csr_array(np.ones((30, 20)))])
    assert "ScatterND" not in {node.op_type for node in to_onnx(dense).graph.node}


def test_to_onnx__model_beyond_the_size_limit_is_refused(network, monkeypatch):
    monkeypatch.setattr(onnx, "LIMIT", 1000)
    with pytest.raises(TsnnError, match="ONNX allows 1,000"):
        to_onnx(network)


def test_formats__missing_package_has_a_message(network, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    monkeypatch.delitem(__import__("sys").modules, "tsnn.formats.pytorch", raising=False)
    for act in (lambda: to_torch(network), lambda: from_torch(None)):
        with pytest.raises(TsnnError, match=r"PyTorch's format needs the package torch.*pip install 'tsnn\[torch\]'"):
            act()


@pytest.mark.parametrize("preprocessing", ["standard", "none"])
def test_to_onnx__estimators_include_their_scaling(rng, preprocessing):
    x = rng.normal(size=(60, 8)) * np.arange(1, 9) + np.arange(8)
    small = {"hidden": (20, 10), "epsilon": 4, "epochs": 3, "random_state": 0, "preprocessing": preprocessing}
    for y in (np.array(["no", "yes", "maybe"])[np.arange(60) % 3], (x[:, :3] > 2).astype(int)):
        model = SparseMLPClassifier(**small, learning_rate=1e-3).fit(x, y)
        for given in run_everywhere(model.to_onnx(), x):
            np.testing.assert_allclose(given, model.predict_proba(x), rtol=1e-5, atol=1e-5)
    for y in (500 + 10 * x[:, 0], x[:, :2] * [1, 1000]):
        regressor = SparseMLPRegressor(**{**small, "learning_rate": 1e-4}).fit(x, y)
        expected = regressor.predict(x).reshape(60, -1)
        for given in run_everywhere(regressor.to_onnx(), x):
            np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
