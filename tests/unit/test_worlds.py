"""The same data with the same settings: command line, form, ``tsnn.train`` and estimators prepare and train the same.

What differs: a run draws the split, the start and the training from three generators (``run.seed``); an estimator has
one generator (``random_state``), and trains on all samples that ``fit`` gets, where a run keeps a test part.
"""

import numpy as np
import pytest

import tsnn
from tsnn import cli
from tsnn.config import Config
from tsnn.datasets.preview import preview
from tsnn.estimator.planning import make_plan
from tsnn.execution.engine import execute
from tsnn.execution.provenance import generators, load_data
from tsnn.runs import RunStore

SETTINGS = {"hidden": [12], "epsilon": 4, "epochs": 2, "batch_size": 16, "dropout": 0.2}


def write_tables(folder):
    """Write one table per case; returns the settings of each."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3)).round(3)
    lines = [f"{a},{b},{c},{'uvw'[i % 3]},{'AB'[int(a + b > 0)]}" for i, (a, b, c) in enumerate(x)]
    (folder / "categories.csv").write_text("a,b,c,d,y\n" + "\n".join(lines))
    lines[5] = lines[5].replace(lines[5].split(",")[1], "?", 1)
    (folder / "missing.csv").write_text("a,b,c,d,y\n" + "\n".join(lines))
    (folder / "numbers.csv").write_text("a,b,c,y\n" + "\n".join(f"{a},{b},{c},{200 + 50 * a * b:.3f}" for a, b, c in x))
    return {"categories": {}, "missing": {"missing": "fill"}, "numbers": {}}


@pytest.mark.parametrize("case", ["categories", "missing", "numbers"])
def test_worlds__prepare_files_the_same(case, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TSNN_RUNS", str(tmp_path / "runs"))
    settings = write_tables(tmp_path)[case]
    path = str(tmp_path / f"{case}.csv")
    words = [word for name, value in (settings | SETTINGS).items() for word in ("--set", f"{name}={value}")]
    assert cli.main(["train", path, "--prepare", *words]) == 0
    command_line = RunStore().list()[0].config()
    capsys.readouterr()
    chosen = Config().replace({"data.name": path} | settings).data
    found = preview(chosen)  # as the form does
    form = Config.preset(path, found.task).replace(found.settings).replace(settings | SETTINGS)
    assert command_line == form

    by_run = load_data(form, generators(form)[0])
    settings = settings | {"preprocessing": form.data.preprocessing}
    by_name = tsnn.load_dataset(path, rng=generators(form)[0], **settings)
    assert by_run.digest == by_name.digest
    for part in ("x_train", "x_test"):
        assert np.array_equal(*(np.asarray(getattr(data, part)) for data in (by_run, by_name)))
    assert np.array_equal(by_run.y_train, by_name.y_train)
    assert np.array_equal(by_run.scaling, by_name.scaling)


@pytest.fixture(params=["classification", "regression"])
def arrays(request, tmp_path):
    """Path of an archive with an official split, and the estimator for it."""
    rng = np.random.default_rng(1)
    x = rng.normal(3, 2, size=(80, 5)).astype(np.float32)
    y = (x[:, 0] > 3).astype(int) if request.param == "classification" else 100 + 20.0 * x[:, 0]
    path = tmp_path / "arrays.npz"
    np.savez(path, X_train=x[:60], y_train=y[:60], X_test=x[60:], y_test=y[60:])
    made = tsnn.SparseMLPClassifier if request.param == "classification" else tsnn.SparseMLPRegressor
    return path, made(hidden=(12,), epsilon=4, epochs=2, batch_size=16, dropout=0.2, random_state=0)


@pytest.mark.compiled
def test_worlds__train_the_same(arrays):
    path, estimator = arrays
    task = "classification" if isinstance(estimator, tsnn.SparseMLPClassifier) else "regression"
    plan = make_plan(estimator.get_params(), task, 60, 5, present=None, one_pass=False)
    config = plan.config.replace({"data.name": str(path), "run.threads": 1})
    run = RunStore().create(config)
    list(execute(run))

    def trained(start, rng):
        data = load_data(config, generators(config)[0])
        network = tsnn.init_network(data.n_features, data.n_outputs, config, rng=start)
        return network, list(tsnn.train(network, data, config, rng=rng))

    _, start, rng = generators(config)
    records = trained(start, rng)[1]
    for name in ("train_loss", "test_loss", "connections"):
        assert [getattr(record, name) for record in run.records()] == [getattr(record, name) for record in records]

    with np.load(path) as stored:
        estimator.fit(stored["X_train"], stored["y_train"])
    rng = np.random.default_rng(np.random.RandomState(0).randint(2**31 - 1))
    network = trained(rng.spawn(1)[0], rng)[0]
    for l, (layer, other) in enumerate(zip(network.layers, estimator.network_.layers, strict=True)):
        assert np.array_equal(layer.topology.indices, other.topology.indices)
        if l or task == "regression":
            assert np.array_equal(layer.weights, other.weights)
        else:  # an estimator moves the relevance of its features into their weights
            factors = other.weights / layer.weights
            for own in np.split(factors, layer.topology.indptr[1:-1]):
                np.testing.assert_allclose(own, own[0], rtol=1e-5)
        assert np.array_equal(layer.bias, other.bias)
