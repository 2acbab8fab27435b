"""Models of recorded runs: estimators, predictions for files, ranked features."""

import csv
import io
import pickle

import numpy as np
import pandas as pd
import pytest

from tests.support import fake_engine
from tsnn import load_model
from tsnn.cli import main
from tsnn.config import Config
from tsnn.datasets import load_dataset
from tsnn.datasets.preparation import apply_scaling
from tsnn.datasets.samples import Trained, read_samples
from tsnn.engine.metrics import decision_values
from tsnn.engine.serialization import load_network, save_network
from tsnn.engine.workspace import Workspace
from tsnn.errors import DataError, DivergenceError, RunError
from tsnn.estimator import SparseMLPClassifier, SparseMLPRegressor
from tsnn.execution.engine import execute
from tsnn.execution.provenance import generators, load_data
from tsnn.runs import RunStore, features
from tsnn.runs.features import feature_names, rank_features

COLOURS = ("blue", "green", "red")
FEATURES = ("age", "colour=blue", "colour=green", "colour=red", "size")
QUICK = {"network.hidden": "20", "training.epochs": 3, "network.dropout": 0}


def table(n=120, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"age": rng.integers(20, 80, n), "colour": rng.choice(COLOURS, n), "size": rng.normal(size=n)})
    return frame.assign(answer=np.where((frame.colour == "red") | (frame.age > 70), "yes", "no"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("predict")


@pytest.fixture(autouse=True)
def store(folder, monkeypatch):
    monkeypatch.setenv("TSNN_RUNS", str(folder / "runs"))
    return RunStore(folder / "runs")


def trained(folder, data, **settings):
    run = RunStore(folder / "runs").create(Config().replace({**QUICK, "data.name": str(data), **settings}))
    for _ in execute(run):
        pass
    return run


@pytest.fixture(scope="module")
def run(folder):
    table().to_csv(folder / "table.csv", index=False)
    return trained(folder, folder / "table.csv", **{"training.epochs": 20, "training.learning_rate": 0.05})


@pytest.fixture(scope="module")
def plain_run(folder):
    """A run without names: arrays of integer labels."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(90, 6)) * [1, 10, 100, 1, 1, 1] + 3
    np.savez(
        folder / "plain.npz", X_train=x[:60], y_train=np.arange(60) % 3 - 1, X_test=x[60:], y_test=np.arange(30) % 3 - 1
    )
    return trained(folder, folder / "plain.npz")


def network_outputs(run, x):
    """Return the decision values of a run's saved network for features as they were given."""
    network = load_network(run.path / "weights.npz")
    return decision_values(network, apply_scaling(x, None, *network.scaling), Workspace(network.sizes, 128))


def encoded(frame):
    """Return the features that a run makes of the table."""
    levels = [(frame.colour == level).to_numpy(float) for level in COLOURS]
    return np.column_stack([frame.age, *levels, frame["size"]]).astype(float)


def predicted(capsys, *arguments):
    """Run ``tsnn predict``; returns its rows, and its messages."""
    assert main(["predict", *map(str, arguments)]) == 0
    output, messages = capsys.readouterr()
    return list(csv.DictReader(io.StringIO(output))), messages


# --- names -------------------------------------------------------------------------------------------


def test_meta__records_feature_names_and_target(run, plain_run):
    data = run.meta()["data"]
    assert tuple(data["feature_names"]) == FEATURES == feature_names(run)
    assert (data["target"], data["class_names"]) == ("answer", ["no", "yes"])
    assert feature_names(plain_run) == ()
    assert plain_run.meta()["data"]["target"] == ""


def test_feature_names__are_in_a_file_of_their_own_if_long(folder):
    wide = pd.DataFrame(
        np.random.default_rng(0).normal(size=(12, 4000)), columns=[f"gene {i:012d}" for i in range(4000)]
    )
    wide.assign(y=np.arange(12) % 2).to_parquet(folder / "wide.parquet")
    run = trained(folder, folder / "wide.parquet")
    assert (run.path / "meta.json").stat().st_size < 10_000
    assert feature_names(run) == tuple(wide.columns)
    assert load_model(run).feature_names_in_[-1] == "gene 000000003999"
    (run.path / "features.json").unlink()
    assert feature_names(run) == (), "indices, as without names"


@pytest.mark.parametrize(
    "data", [{}, {"feature_names": None}, {"feature_names": "abc", "n_features": 3}, {"feature_names": 5}, 7]
)
def test_feature_names__damaged_ones_are_none(folder, data, tmp_path):
    run = RunStore(tmp_path).create(Config())
    assert features.feature_names(run, {"data": data}) == ()


# --- estimators --------------------------------------------------------------------------------------


def test_load_model__answers_like_the_saved_network(run):
    frame = table(50, seed=1)
    x, model = encoded(frame), load_model(run)
    z = network_outputs(run, x)
    given = pd.DataFrame(x, columns=FEATURES)
    assert np.array_equal(model._decide(given), z)
    assert np.array_equal(model.predict(given), np.array(["no", "yes"])[z.argmax(axis=1)])
    assert model.score(given, frame.answer) > 0.8
    assert isinstance(model, SparseMLPClassifier)
    assert (model.n_features_in_, tuple(model.feature_names_in_), model.hidden) == (5, FEATURES, (20,))
    assert len(model.history_) == model.best_epoch_ == 20
    assert load_model(run.id).predict(given[:3]).tolist() == model.predict(given[:3]).tolist()


def test_load_model__is_pickled_saved_and_trained_further(run, tmp_path):
    frame = table(50, seed=1)
    given = pd.DataFrame(encoded(frame), columns=FEATURES)
    model = load_model(run)
    expected = model.predict_proba(given)
    model.save(tmp_path / "model.npz")
    for copy in (pickle.loads(pickle.dumps(model)), SparseMLPClassifier.load(tmp_path / "model.npz")):
        assert np.array_equal(copy.predict_proba(given), expected)
        copy.partial_fit(given, frame.answer)
        assert len(copy.history_) == 21
        assert copy.score(given, frame.answer) > 0.8


def test_load_model__has_the_classes_of_the_labels(plain_run, folder):
    x = np.load(folder / "plain.npz")["X_test"]
    model = load_model(plain_run)
    assert model.classes_.tolist() == [-1, 0, 1]
    assert model.classes_.dtype.kind == "i"
    assert not hasattr(model, "feature_names_in_")
    assert model.predict(x).tolist() == (network_outputs(plain_run, x).argmax(axis=1) - 1).tolist()
    assert model.score(x, np.arange(30) % 3 - 1) == plain_run.records()[-1].test_accuracy


def test_load_model__regression_and_multilabel(folder):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(90, 4))
    np.savez(folder / "prices.npz", X=x, y=x[:, 0] - x[:, 1] + 0.5)
    run = trained(folder, folder / "prices.npz", **{"training.learning_rate": 0.001})
    model = load_model(run)
    assert isinstance(model, SparseMLPRegressor)
    np.testing.assert_allclose(model.predict(x), network_outputs(run, x)[:, 0], rtol=1e-5, atol=1e-5)
    model.partial_fit(x, x[:, 0])
    np.savez(folder / "labels.npz", X=x, y=np.int64(x[:, :3] > 0))
    run = trained(folder, folder / "labels.npz")
    assert np.array_equal(load_model(run).predict(x), network_outputs(run, x) > 0)


def test_load_model__takes_scaled_targets_out_of_the_network(folder, monkeypatch):
    """A network that is saved to answer in the targets' units trains on scaled targets."""
    x = np.random.default_rng(2).normal(size=(90, 4))
    np.savez(folder / "scaled.npz", X=x, y=x[:, 0])
    run = trained(folder, folder / "scaled.npz", **{"training.learning_rate": 0.001})
    meta = run.meta()
    model = load_model(run)
    meta["data"] |= {"target_offset": [300.0], "target_scale": [0.25]}
    monkeypatch.setattr(type(run), "meta", lambda _: meta)
    scaled = load_model(run)
    np.testing.assert_allclose(scaled.predict(x), model.predict(x), rtol=1e-4, atol=1e-3)
    assert abs(scaled.network_.layers[-1].bias).max() > 10


def test_load_model__refuses_runs_without_weights(store, run, tmp_path):
    with pytest.raises(RunError, match="has no weights yet"):
        load_model(store.create(Config()))
    with pytest.raises(RunError, match="There is no run"):
        load_model("20200101-000000-none-0000")
    network = load_network(run.path / "weights.npz")
    network.layers[0].weights[0] = np.nan
    broken = store.create(run.config())
    save_network(network, broken.path / "weights.npz")
    with pytest.raises(DivergenceError, match="not finite"):
        load_model(broken)


# --- the same preparation everywhere -----------------------------------------------------------------


def test_preparation__is_the_same_from_command_line_form_and_estimator(folder, store):
    pytest.importorskip("panel")
    from pages.form import StartForm

    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(90, 6)) * [1, 10, 1e4, 1e-3, 1, 0] + 3, np.arange(90) % 3
    path = folder / "same.npz"
    np.savez(path, X_train=x[:60], y_train=y[:60], X_test=x[60:], y_test=y[60:])
    small = ["--set", "hidden=20", "--set", "epochs=2", "--set", "preprocessing=standard"]
    assert main(["train", str(path), *small, "--seed", "5"]) == 0
    (run,) = (run for run in store.list() if run.config().data.name == str(path))
    form = StartForm(store, lambda _: None)
    form.data.value = "a file"
    form.path.value = str(path)
    form.widgets["network.hidden"].value = "20"
    assert form.config().data.preprocessing == "root_relevance"
    form.widgets["data.preprocessing"].value = "standard"
    form.widgets["run.seed"].value = 5
    ours, theirs = (load_data(c, generators(c)[0]) for c in (run.config(), form.config()))
    model = SparseMLPClassifier((20,), epochs=2, random_state=5, preprocessing="standard").fit(x[:60], y[:60])
    prepared = model._scaled(x[:60])
    for data in (ours, theirs):
        assert data.digest == run.meta()["data"]["digest"]
        assert np.array_equal(np.asarray(data.x_train), np.asarray(prepared))
        assert np.array_equal(np.asarray(data.x_test), np.asarray(model._scaled(x[60:])))
        for given, fitted in zip(data.scaling, (model._offset, model._scale), strict=True):
            assert np.array_equal(given, fitted)
    for saved, fitted in zip(
        load_network(run.path / "weights.npz").scaling, (model._offset, model._scale), strict=True
    ):
        assert np.array_equal(saved, fitted)
    assert np.array_equal(load_model(run)._decide(x), network_outputs(run, x))


@pytest.mark.parametrize("preprocessing", ["standard", "minmax", "none"])
def test_read_samples__gives_the_bits_of_the_training(folder, run, preprocessing):
    """All rows of the training's file, prepared as new samples, are those that a run trains on."""
    data = load_dataset(folder / "table.csv", preprocessing=preprocessing, rng=np.random.default_rng(0))
    samples = read_samples(folder / "table.csv", Trained(data.n_features, data.feature_names, "answer"))
    scaling = data.scaling or (np.zeros(5), np.ones(5))
    rows = {row.tobytes() for row in apply_scaling(samples.x, None, *scaling)}
    for part in (data.x_train, data.x_test):
        assert {row.tobytes() for row in np.asarray(part)} <= rows
    assert samples.y.tolist() == table().answer.tolist()


# --- predictions for files ---------------------------------------------------------------------------


def test_predict__matches_columns_by_name(run, folder, capsys):
    frame = table(40, seed=1)
    z = network_outputs(run, encoded(frame))
    expected = np.array(["no", "yes"])[z.argmax(axis=1)].tolist()
    frame.to_csv(folder / "new.csv", index=False)
    rows, messages = predicted(capsys, run.id, folder / "new.csv")
    assert [row["prediction"] for row in rows] == expected
    assert [row["row"] for row in rows] == [str(i + 1) for i in range(40)]
    accuracy = np.mean(np.array(expected) == frame.answer)
    assert f"Accuracy: {accuracy:.2%} on 40 samples" in messages
    frame.assign(answer=["maybe", *frame.answer[1:]]).to_csv(folder / "new.csv", index=False)
    assert "; 1 have a label that was not trained, such as maybe" in predicted(capsys, run.id, folder / "new.csv")[1]
    shuffled = frame[["size", "colour", "age"]].assign(id=[f"n{i}" for i in range(40)], note="x")
    shuffled.to_parquet(folder / "new.parquet")
    rows, messages = predicted(capsys, run.id, folder / "new.parquet", "--probabilities")
    assert [row["prediction"] for row in rows] == expected
    p = np.array([[float(row["probability_no"]), float(row["probability_yes"])] for row in rows])
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert (p.argmax(axis=1) == z.argmax(axis=1)).all()
    assert "2 columns are not used: 'id', 'note'." in messages
    assert "Accuracy" not in messages


def test_predict__writes_a_file(run, folder, capsys):
    table(5).to_csv(folder / "five.csv", index=False)
    assert main(["predict", run.id, str(folder / "five.csv"), "-o", str(folder / "out.csv")]) == 0
    assert "Accuracy: " in capsys.readouterr().out
    assert len(pd.read_csv(folder / "out.csv")) == 5


def test_predict__one_row_with_one_level(run, folder, capsys):
    """Levels are those of the training, not those of the file."""
    frame = table(1, seed=4)
    frame.to_csv(folder / "one.csv", index=False)
    rows, _ = predicted(capsys, run.id, folder / "one.csv")
    assert rows[0]["prediction"] == ["no", "yes"][network_outputs(run, encoded(frame)).argmax()]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.drop(columns=["size"]),
            "lacks the columns of 1 of the 5 features .*: 'size'. It has 'age', 'colour'",
        ),
        (lambda t: t.rename(columns={"size": "Size"}), "Did you mean 'Size' by 'size'"),
        (lambda t: t.drop(columns=["colour"]), "lacks the columns of 3 .*: 'colour=blue', 'colour=green'"),
        (
            lambda t: t.assign(colour=["red"] * 6 + ["violet"] * 4),
            "row 7 .*of column 'colour' holds 'violet' .and 3 more",
        ),
        (lambda t: t.assign(age=["old" if i == 2 else str(i) for i in range(10)]), "column 'age' holds 'old'"),
        (lambda t: t.assign(size=t["size"].where(t.index != 4)), "row 5 .*column 'size' is missing. Fill"),
        (lambda t: t.assign(colour=t.colour.where(t.index != 8)), "row 9 .*column 'colour' is missing"),
        (lambda t: t.iloc[:0], "no rows"),
    ],
)
def test_predict__refuses_other_columns(run, folder, change, message):
    path = folder / "changed.csv"
    change(table(10)).to_csv(path, index=False)
    with pytest.raises(DataError, match=message):
        read_samples(path, Trained(5, FEATURES, "answer"))


def test_read_samples__levels_that_look_like_numbers(folder):
    frame = pd.DataFrame({"code": [0, 1, 1], "n": [3, 4, 5]})  # read as numbers here
    for name, codes in (("numbers.csv", frame.code), ("floats.csv", frame.code.astype(float))):
        frame.assign(code=codes).to_csv(folder / name, index=False)
        samples = read_samples(folder / name, Trained(4, ("code=0", "code=1", "code=x", "n")))
        assert samples.x.tolist() == [[1, 0, 0, 3], [0, 1, 0, 4], [0, 1, 0, 5]]


@pytest.fixture(scope="module")
def filled_run(folder):
    """A run whose missing values were filled."""
    frame = table()
    frame.loc[::10, "age"] = None
    frame.loc[1::10, "colour"] = None
    frame.to_csv(folder / "holes.csv", index=False)
    return trained(folder, folder / "holes.csv", **{"data.missing": "fill"})


def test_predict__fills_missing_values_as_in_training(filled_run, folder, capsys):
    names = feature_names(filled_run)
    assert names == (*FEATURES[:4], "colour missing", "size")
    medians = features.feature_medians(filled_run)
    frame = table(10, seed=1)
    frame.loc[2, "age"] = None
    frame.loc[3, "colour"] = None
    frame.to_csv(folder / "holed.csv", index=False)
    x = np.insert(encoded(frame), 4, 0.0, axis=1)
    x[2, 0], x[3, 4] = medians[0], 1
    samples = read_samples(folder / "holed.csv", Trained(6, names, "answer", medians))
    np.testing.assert_allclose(samples.x, x, rtol=1e-14)  # pandas before 3.0 rounds
    z = network_outputs(filled_run, x)
    rows, _ = predicted(capsys, filled_run.id, folder / "holed.csv")
    assert [row["prediction"] for row in rows] == np.array(["no", "yes"])[z.argmax(axis=1)].tolist()


def test_predict__reads_tables_as_the_training_did(folder, capsys):
    x = np.random.default_rng(0).normal(size=(3, 40))
    genes = pd.DataFrame(x, columns=[f"s{i}" for i in range(40)], index=["g1", "g2", "g3"])
    genes.loc["ill"] = np.where(x[0] > 0, 1, 0)
    genes.to_csv(folder / "genes.csv", sep="|")
    run = trained(
        folder, folder / "genes.csv", **{"data.transpose": True, "data.separator": "pipe", "data.target": "ill"}
    )
    assert feature_names(run) == ("g1", "g2", "g3")
    rows, messages = predicted(capsys, run.id, folder / "genes.csv")
    expected = network_outputs(run, x.T).argmax(axis=1)
    assert [int(row["prediction"]) for row in rows] == expected.tolist()
    assert "on 40 samples" in messages


def test_read_samples__names_with_equals_signs(folder):
    frame = pd.DataFrame({"a=b": ["c", "d=e"], "a": [1.0, 2.0], "k=1": [5.0, 6.0]})
    frame.to_csv(folder / "equals.csv", index=False)
    samples = read_samples(folder / "equals.csv", Trained(4, ("a=b=c", "a=b=d=e", "a", "k=1")))
    assert samples.x.tolist() == [[1, 0, 1, 5], [0, 1, 2, 6]]


def test_predict__files_without_names(plain_run, folder, capsys):
    x = np.load(folder / "plain.npz")["X_test"]
    expected = [str(k - 1) for k in network_outputs(plain_run, x).argmax(axis=1)]
    rows, messages = predicted(capsys, plain_run.id, folder / "plain.npz")
    assert [row["prediction"] for row in rows] == expected, "-1 is a number, not a formula"
    assert "the 30 samples of its test part" in messages
    assert f"Accuracy: {plain_run.records()[-1].test_accuracy:.2%} on 30 samples" in messages
    np.savez(folder / "new.npz", X=x)
    assert [row["prediction"] for row in predicted(capsys, plain_run.id, folder / "new.npz")[0]] == expected
    pd.DataFrame(x).assign(y=1).to_csv(folder / "new_plain.csv", index=False)
    rows, messages = predicted(capsys, plain_run.id, folder / "new_plain.csv", "--header", "true")
    assert [row["prediction"] for row in rows] == expected
    assert "The last column, 'y', is taken as the target" in messages
    np.savez(folder / "narrow.npz", X=x[:, :5])
    assert main(["predict", plain_run.id, str(folder / "narrow.npz")]) == 1
    assert "has 5 features; the run was trained on 6" in capsys.readouterr().err
    pd.DataFrame(x[:, :4], columns=list("abcd")).to_csv(folder / "narrow.csv", index=False)
    assert main(["predict", plain_run.id, str(folder / "narrow.csv")]) == 1
    assert "has 4 columns; the run was trained on 6 features" in capsys.readouterr().err


def test_read_samples__arrays_with_names_are_put_in_order(folder):
    np.savez(folder / "named.npz", X=[[1.0, 2, 3]], feature_names=["c", "a", "b"])
    assert read_samples(folder / "named.npz", Trained(2, ("a", "b"))).x.tolist() == [[2, 3]]
    with pytest.raises(DataError, match=r"lacks the columns of 1 of the 2 features .*: 'd'"):
        read_samples(folder / "named.npz", Trained(2, ("a", "d")))
    np.savez(folder / "unnamed.npz", X=[[1.0, 2]])
    assert read_samples(folder / "unnamed.npz", Trained(2, ("a", "b"))).x.tolist() == [[1, 2]]
    np.savez(folder / "other.npz", Z=[[1.0, 2]])
    with pytest.raises(DataError, match="should hold an array X, or X_test; found: Z "):
        read_samples(folder / "other.npz", Trained(2))


def test_read_samples__tables_without_header(folder):
    (folder / "headless.csv").write_text("1,2\n3,4\n")
    for names in (("a", "b"), ("column 0", "column 1"), ()):
        assert read_samples(folder / "headless.csv", Trained(2, names)).x.tolist() == [[1, 2], [3, 4]]
    samples = read_samples(folder / "headless.csv", Trained(1, ("column 1",), "column 0"))
    assert (samples.x.tolist(), samples.y.tolist()) == ([[2], [4]], [1, 3])


def test_predict__regression_prints_r2(folder, capsys):
    x = np.random.default_rng(2).normal(size=(90, 4))
    frame = pd.DataFrame(x, columns=list("abcd")).assign(price=x[:, 0] + 0.5)
    frame.to_csv(folder / "prices.csv", index=False)
    run = trained(folder, folder / "prices.csv", **{"training.learning_rate": 0.001})
    rows, messages = predicted(capsys, run.id, folder / "prices.csv")
    answers = np.array([float(row["prediction"]) for row in rows])
    r2 = 1 - np.mean((answers - frame.price) ** 2) / frame.price.var(ddof=0)
    assert f"R2: {r2:.4f}, root mean squared error: " in messages
    assert main(["predict", run.id, str(folder / "prices.csv"), "--probabilities"]) == 1
    assert "predicts numbers" in capsys.readouterr().err


def test_predict__class_names_are_no_formulas(folder, capsys):
    frame = pd.DataFrame({"a": np.arange(60) % 2 + np.arange(60) / 100, "y": np.where(np.arange(60) % 2, "=1+1", "@x")})
    frame.to_csv(folder / "formulas.csv", index=False)
    run = trained(folder, folder / "formulas.csv")
    rows, _ = predicted(capsys, run.id, folder / "formulas.csv", "--probabilities")
    assert {row["prediction"] for row in rows} <= {"'=1+1", "'@x"}
    assert set(rows[0]) == {"row", "prediction", "probability_=1+1", "probability_@x"}


def test_predict__scores_the_samples_that_have_a_target(run, folder, capsys):
    frame = table(20, seed=1)
    frame.loc[3, "answer"] = None
    frame.to_csv(folder / "partial.csv", index=False)
    assert "on the 19 of 20 samples that have a target" in predicted(capsys, run.id, folder / "partial.csv")[1]


def test_predict__integer_labels_of_named_classes(folder, capsys):
    run = trained(folder, "fashion_mnist", **{"data.size": "small", "training.epochs": 1})
    rows, messages = predicted(capsys, run.id, "fashion_mnist")
    assert rows[0]["prediction"] in run.meta()["data"]["class_names"]
    accuracy = run.records()[-1].test_accuracy
    assert f"Accuracy: {accuracy:.2%}" in messages


# --- ranked features ---------------------------------------------------------------------------------


def test_features__are_ranked_by_strength(run, folder, capsys):
    model = load_model(run)
    order = np.argsort(-model.feature_importances_, kind="stable")
    assert main(["features", run.id]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "final network" in lines[0]
    assert [line.split()[1] for line in lines[2:7]] == [FEATURES[i] for i in order]
    assert main(["features", run.id, "-o", str(folder / "features.csv")]) == 0
    frame = pd.read_csv(folder / "features.csv")
    assert frame.feature.tolist() == [FEATURES[i] for i in order]
    np.testing.assert_allclose(frame.importance, model.feature_importances_[order])
    assert frame.connections.tolist() == model.network_.layers[0].topology.out_degree[order].tolist()
    assert main(["features", run.id, "-n", "2"]) == 0
    assert "... and 3 more" in capsys.readouterr().out
    assert main(["features", run.id, "-n", "0"]) == 1


def test_features__without_names_or_weights_are_numbered(store, capsys):
    run = fake_engine.finished_run(store, {"data.name": "madelon", "training.epochs": 2}, 2)
    assert main(["features", run.id, "-n", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "the network after epoch 2" in lines[0]
    strength = run.snapshot(2).input_strength
    assert [int(line.split()[1]) for line in lines[2:7]] == np.lexsort((-run.snapshot(2).input_degree, -strength))[
        :5
    ].tolist()
    assert main(["features", store.create(Config()).id]) == 1
    assert "has no network yet" in capsys.readouterr().err


def test_rank_features__of_blocks():
    columns = rank_features(np.array([1.0, 3.0]), np.array([2.0, 2.5]), ["a", "b", "c", "d"], 4)
    assert columns["feature"] == ["2+", "0+"]
    assert columns["importance"] == [0.75, 0.25]
    assert columns["connections"] == [2.5, 2.0]
