"""Regression from file to exported network: scaled targets, losses in their units, R2; warnings about the data."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from onnx.reference import ReferenceEvaluator
from sklearn.datasets import load_diabetes
from sklearn.metrics import mean_squared_error, r2_score

from tests.support.ranks import Threads
from tsnn.cli import main
from tsnn.config import Config, DataConfig
from tsnn.config.presets import preset_for_shape
from tsnn.datasets import guess_task, make_dataset
from tsnn.engine.batches import Batch, batch_gradient
from tsnn.engine.metrics import decision_values, evaluate_part
from tsnn.engine.network import init_network, prediction_network
from tsnn.engine.serialization import load_network
from tsnn.engine.training import train
from tsnn.engine.workspace import Workspace
from tsnn.estimator import SparseMLPRegressor
from tsnn.execution.provenance import generators, load_data
from tsnn.records import EpochRecord, EventKind
from tsnn.runs import RunStore

SMALL = ["--set", "network.hidden=[50, 50]", "--set", "training.epochs=50"]
TARGETS = {"prices": (2e5, 5e4), "temperatures": (300.0, 5.0), "spread of 9": (0.0, 9.0), "tiny": (1.0, 1e-4)}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TSNN_RUNS", str(tmp_path / "runs"))
    return tmp_path


def write_table(path, x, y):
    header = ",".join([*(f"x{i}" for i in range(x.shape[1])), "y"])
    np.savetxt(path, np.column_stack([x, y]), delimiter=",", header=header, comments="", fmt="%.9g")
    return str(path)


def samples(rng, n=400, offset=0.0, spread=1.0):
    """Features, and a target that depends on them, but for some noise."""
    x = rng.normal(size=(n, 5))
    y = x[:, 0] + 0.5 * x[:, 1] - x[:, 2] + 0.2 * rng.normal(size=n)
    return x, offset + spread * (y - y.mean()) / y.std()


def trained(*arguments):
    """Train from the command line; return the run."""
    before = {run.id for run in RunStore().list()}
    assert main(["train", *arguments]) == 0
    return next(run for run in RunStore().list() if run.id not in before)


def answers(network, x):
    offset, scale = network.scaling
    return decision_values(network, np.float32((x - offset) * scale), Workspace(network.sizes, 16))


# --- training ----------------------------------------------------------------------------------------


@pytest.mark.compiled
@pytest.mark.parametrize("name", TARGETS)
def test_train__regression_learns_with_the_default_settings(folder, rng, name):
    run = trained(write_table(folder / "t.csv", *samples(rng, 400, *TARGETS[name])), *SMALL)
    last = run.records()[-1]
    assert run.meta()["data"]["task"] == "regression"
    assert last.test_r2 > 0.7
    assert last.test_loss < 0.4 * TARGETS[name][1] ** 2, "in the target's units"


@pytest.mark.compiled
@pytest.mark.parametrize("mode", ["wassp", "local"])
def test_serve__regression_by_workers_reports_units_and_r2(rng, mode):
    x, y = samples(rng, 300, 1000, 50)
    y = np.column_stack([y, -y / 1e3])
    data = make_dataset(x, y, task="regression", validation_fraction=0.2, rng=rng)
    config = Config.preset("t.csv", "regression").replace(
        {"network.hidden": [20], "training.epochs": 6, "parallel.workers": 2, "parallel.mode": mode,
         "parallel.phase1_fraction": 0.5}
    )  # fmt: skip
    threads = Threads(data, config)
    records = [item for item in threads if isinstance(item, EpochRecord)]
    assert all(None not in (r.train_r2, r.test_r2, r.validation_r2) for r in records)
    assert [r.epoch for r in records] == list(range(1, 7))
    assert all(min(r.train_loss, r.test_loss, r.validation_loss) > 100 for r in records), "in the targets' units"
    network = threads.state.network
    expected = evaluate_part(network, data, "test", Workspace(network.sizes, 16))
    assert (records[-1].test_loss, records[-1].test_r2) == pytest.approx((expected.loss, expected.r2), rel=1e-4)


@pytest.mark.compiled
def test_train__diabetes_learns_with_the_default_settings(folder):
    path = write_table(folder / "diabetes.csv", *load_diabetes(return_X_y=True))
    for settings in (SMALL, ["--set", "training.epochs=50"]):
        run = trained(path, *settings, "--set", "data.task=regression")
        assert run.records()[-1].test_r2 > 0.25


def test_losses__are_in_the_units_of_the_targets(rng, tiny):
    x, y = samples(rng)
    y = np.column_stack([1000 + 50 * y, y**2, np.full(len(y), 3.0)])
    data = make_dataset(x[:300], y[:300], x[300:], y[300:], task="regression")
    network = init_network(data.n_features, 3, tiny, rng=rng)
    record = list(train(network, data, tiny.replace({"training.zeta": 0}), rng=rng))[-1]
    units = prediction_network(network, data)
    predicted = answers(units, x[300:])
    assert record.test_loss == pytest.approx(mean_squared_error(y[300:], predicted), rel=1e-4)
    assert record.test_r2 == pytest.approx(r2_score(y[300:, :2], predicted[:, :2]), rel=1e-4)
    assert (record.test_accuracy, record.validation_r2) == (None, None)
    batch = Batch.of(data, np.arange(300))
    loss, explained = batch_gradient(network, Workspace(network.sizes, 16), batch, dropout=0, key=0)
    assert loss / 300 == pytest.approx(mean_squared_error(y[:300], answers(units, x[:300])), rel=1e-4)
    scaled = mean_squared_error(data.y_train, (answers(units, x[:300]) - data.target_offset) * data.target_scale)
    assert explained / 300 == pytest.approx(1 - scaled, rel=1e-4)


def test_r2__of_one_target_is_that_of_scikit_learn(rng, tiny):
    x, y = samples(rng, 300, 40, 3)
    data = make_dataset(x, y, validation_fraction=0.2, rng=rng)
    network = init_network(data.n_features, 1, tiny, rng=rng)
    record = list(train(network, data, tiny.replace({"training.zeta": 0}), rng=rng))[-1]
    for part in ("test", "validation"):
        z = decision_values(network, getattr(data, f"x_{part}"), Workspace(network.sizes, 16))
        expected = r2_score(getattr(data, f"y_{part}"), z)
        assert getattr(record, f"{part}_r2") == pytest.approx(expected, rel=1e-4, abs=1e-5)
    variance = np.var(data.in_units(data.y_train))
    assert record.train_r2 == pytest.approx(1 - record.train_loss / variance, rel=1e-4, abs=1e-5)


def test_r2__counts_weights_and_is_none_where_nothing_varies(rng, tiny):
    x, y = samples(rng, 60)
    data = make_dataset(x[:40], y[:40], x[40:], y[40:], task="regression")
    network = init_network(data.n_features, 1, tiny, rng=rng)
    weights = rng.random(20).astype(np.float32)
    workspace = Workspace(network.sizes, 16)
    weighted = evaluate_part(network, dataclasses.replace(data, weights_test=weights), "test", workspace)
    z = decision_values(network, data.x_test, workspace)
    assert weighted.r2 == pytest.approx(r2_score(data.y_test, z, sample_weight=weights), rel=1e-5)
    constant = dataclasses.replace(data, y_test=np.zeros_like(data.y_test))
    assert evaluate_part(network, constant, "test", workspace).r2 is None


def test_train__estimator_and_command_line_agree(folder, rng):
    x, y = samples(rng, 300, 7, 4)
    np.savez(folder / "t.npz", X_train=x[:200], y_train=y[:200], X_test=x[200:], y_test=y[200:])
    model = SparseMLPRegressor(hidden=(20, 10), epochs=4, random_state=5).fit(x[:200], y[:200])
    config = model._state.config.replace({"data.name": str(folder / "t.npz"), "data.task": "regression"})
    data = load_data(config, generators(config)[0])
    np.testing.assert_array_equal(data.x_train, model._scaled(x[:200]))
    np.testing.assert_array_equal(data.y_train, model._targets(y[:200, None]))
    same = np.random.default_rng(np.random.RandomState(5).randint(2**31 - 1))  # the estimator's generator
    network = init_network(data.n_features, 1, config, rng=same.spawn(1)[0])
    records = list(train(network, data, config, rng=same))
    assert [r.train_loss for r in records] == pytest.approx(
        [r.train_loss / data.target_scale[0] ** 2 for r in model.history_], rel=1e-6
    )
    predicted = answers(prediction_network(network, data), x[200:])[:, 0]
    np.testing.assert_allclose(predicted, model.predict(x[200:]), rtol=1e-4)


# --- exported networks -------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0.0, 2e5])
def test_export__regression_network_predicts_in_units(folder, rng, offset):
    x, y = samples(rng, 120, offset, 5e4)
    y = np.column_stack([y, -y / 1e6])
    np.savez(folder / "two.npz", X_train=x[:80], y_train=y[:80], X_test=x[80:], y_test=y[80:])
    run = trained(str(folder / "two.npz"), "--set", "network.hidden=[12]", "--set", "training.epochs=2")
    for form in ("onnx", "npz"):
        assert main(["export", run.id, "--format", form, "-o", str(folder / f"model.{form}")]) == 0
    predicted = answers(load_network(folder / "model.npz"), x)
    found = ReferenceEvaluator(str(folder / "model.onnx")).run(None, {"features": x.astype(np.float32)})[0]
    np.testing.assert_allclose(found, predicted, rtol=1e-3, atol=1e-3)
    last = run.records()[-1]
    assert last.test_loss == pytest.approx(mean_squared_error(y[80:], predicted[80:]), rel=1e-3)
    assert last.test_r2 == pytest.approx(r2_score(y[80:], predicted[80:]), abs=1e-3)


def test_train__resumed_regression_answers_in_units(folder, rng):
    path = write_table(folder / "t.csv", *samples(rng, 120, 300, 5))
    settings = (
        "--set",
        "network.hidden=[12]",
        "--set",
        "data.task=regression",
        "--set",
        "learning_rate_schedule=constant",
    )
    run = trained(path, *settings, "--set", "training.epochs=2")
    assert main(["resume", run.id, "--epochs", "4"]) == 0
    other = trained(path, *settings, "--set", "training.epochs=4")
    one, two = (load_network(r.path / "weights.npz") for r in (run, other))
    for a, b in zip(one.layers, two.layers, strict=True):
        np.testing.assert_array_equal(a.weights, b.weights)
        np.testing.assert_array_equal(a.bias, b.bias)


# --- what is displayed -------------------------------------------------------------------------------


def test_train__displays_r2(folder, rng, capsys):
    path = write_table(folder / "t.csv", *samples(rng, 60, 300, 5))
    run = trained(path, "--set", "network.hidden=[12]", "--set", "training.epochs=2", "--set", "data.task=regression")
    output, errors = capsys.readouterr()
    last = run.records()[-1]
    assert f"test R² {last.test_r2:.4f}" in errors
    assert " ".join(output.split()).startswith(f"epoch 2 test R² {last.test_r2:.4f} train R² {last.train_r2:.4f}")
    assert run.status()["test_r2"] == last.test_r2
    assert main(["runs"]) == 0
    assert f"R² {last.test_r2:.3f}" in capsys.readouterr().out
    assert main(["compare", run.id]) == 0
    head, row, _ = capsys.readouterr().out.splitlines()
    assert "test R²" in head
    assert "accuracy" not in head
    assert f"{last.test_r2:.4f}" in row


def test_train__calls_the_accuracy_of_several_labels_by_its_name(folder, rng, capsys):
    x = rng.normal(size=(60, 4))
    np.savez(folder / "labels.npz", X=x, y=(x[:, :3] > 0).astype(int))
    run = trained(str(folder / "labels.npz"), "--set", "network.hidden=[12]", "--set", "training.epochs=2")
    output, errors = capsys.readouterr()
    assert "test labels correct" in output
    assert "test labels correct" in errors
    assert "test accuracy" not in output + errors
    assert main(["compare", run.id]) == 0
    assert "test labels correct" in capsys.readouterr().out.splitlines()[0]


# --- warnings ----------------------------------------------------------------------------------------


def test_train__warns_of_numbers_taken_as_classes(folder, rng, capsys):
    x, y = samples(rng, 300, 150, 60)
    path = write_table(folder / "t.csv", x, np.rint(y))
    run = trained(path, "--set", "network.hidden=[5]", "--set", "training.epochs=1", "--set", "data.preprocessing=none")
    lines = [line for line in run.lines()[0] if line.get("kind") == EventKind.DATA_WARNING]
    assert len(lines) == 1
    text = lines[0]["message"]
    assert "different whole numbers are taken as" in text
    assert "--set data.task=regression" in text
    assert f"Warning: {text}" in capsys.readouterr().err
    assert f"Warning: {text}" in run.log()


def test_train__warns_of_unscaled_features(folder, rng):
    x, y = samples(rng, 60)
    path = write_table(folder / "t.csv", 1000 * x, y)
    run = trained(path, "--set", "network.hidden=[5]", "--set", "training.epochs=1", "--set", "data.preprocessing=none",
                  "--set", "training.learning_rate=1e-8")  # fmt: skip
    assert any("unscaled" in line["message"] for line in run.lines()[0] if line.get("kind") == "data_warning")


def test_train__names_the_majority_class(folder, capsys):
    rows = [f"{i % 7},{'no' if i % 3 else 'yes'}" for i in range(90)]
    (folder / "t.csv").write_text("a,answer\n" + "\n".join(rows))
    run = trained(str(folder / "t.csv"), "--set", "network.hidden=[5]", "--set", "training.epochs=1")
    assert "majority class: 66.7 %" in capsys.readouterr().err
    assert run.meta()["data"]["baseline_accuracy"] == pytest.approx(2 / 3)
    json.dumps(run.meta())


# --- defaults by task --------------------------------------------------------------------------------


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("form", ["csv", "npz", "parquet"])
def test_guess_task__of_files(folder, rng, form, large, monkeypatch):
    if large:
        monkeypatch.setattr("tsnn.datasets.guess._SMALL_BYTES", 0)
    x, y = samples(rng, 400)
    for name, targets in (("numbers", y), ("classes", np.arange(400) % 3)):
        path = folder / f"{name}.{form}"
        frame = pd.DataFrame(x, columns=list("abcde")).assign(y=targets)
        if form == "csv":
            frame.to_csv(path, index=False)
        elif form == "parquet":
            frame.to_parquet(path)
        else:
            np.savez(path, X=x, y=targets)
    numbers, classes = (DataConfig(str(folder / f"{name}.{form}")) for name in ("numbers", "classes"))
    assert (guess_task(numbers), guess_task(classes)) == ("regression", "classification")
    assert guess_task(dataclasses.replace(numbers, task="multilabel")) == "multilabel", "given"
    if form != "npz":
        assert guess_task(dataclasses.replace(classes, target="a")) == "regression"


def test_guess_task__is_left_to_the_run_where_it_cannot_be_told(folder, monkeypatch):
    (folder / "bad.csv").write_text("a,b\n1\n")
    assert guess_task(DataConfig(str(folder / "bad.csv"))) == "auto"
    assert guess_task(DataConfig("no_such_data")) == "auto"
    np.savez(folder / "named.npz", X=np.zeros((4, 2)), y=[0.5, 1.5, 2.5, 3.5])
    monkeypatch.setenv("TSNN_DATA", str(folder))
    assert guess_task(DataConfig("named")) == "regression"


def test_train__settings_for_regression_are_recorded_and_may_be_changed(folder, rng, capsys):
    path = write_table(folder / "t.csv", *samples(rng, 60))
    (folder / "t.toml").write_text(f'[data]\nname = "{path}"\n[training]\nepochs = 2\n')
    expected = Config.preset(path, "regression")
    assert (expected.network.activation, expected.training.learning_rate) == ("relu", 0.001)
    shape = preset_for_shape(40, 5, task="regression")
    given = {"training.learning_rate": 0.01, "training.batch_size": 128}
    for arguments, changes in (
        ([path], shape),
        ([path, "--set", "learning_rate=0.01", "--set", "batch_size=128"], shape | given),
        ([str(folder / "t.toml")], {"epochs": 2}),
    ):
        assert trained(*arguments, "--prepare").config() == expected.replace(changes)
    assert main(["train", path, "--set", "data.task=classification"]) == 1
    capsys.readouterr()
    assert Config.from_dict({"data": {"name": path, "task": "regression"}}) == expected.replace(task="regression")
    assert Config.preset("madelon", "regression") == Config.preset("madelon"), "the papers' settings"


def test_inspect__regression_in_units_with_settings_that_train(folder, rng, capsys):
    path = write_table(folder / "t.csv", *samples(rng, 60, 1000, 5))
    assert main(["inspect", path]) == 0
    output = capsys.readouterr().out
    assert "mean 1000" in output or "mean 999." in output or "mean 1001" in output
    assert "hidden=256-256" in output
    assert "dropout=0.1" in output, "as suits regression"


def test_predict__regression_from_the_command_line_in_units(folder, rng, capsys):
    x, y = samples(rng, 60, 1000, 5)
    run = trained(write_table(folder / "t.csv", x, y), "--set", "network.hidden=[12]", "--set", "training.epochs=2")
    capsys.readouterr()
    assert main(["predict", run.id, write_table(folder / "new.csv", x, y), "-o", str(folder / "out.csv")]) == 0
    found = pd.read_csv(folder / "out.csv")["prediction"]
    np.testing.assert_allclose(found, answers(load_network(run.path / "weights.npz"), x)[:, 0], rtol=1e-4)
    assert abs(found.mean() - 1000) < 10
