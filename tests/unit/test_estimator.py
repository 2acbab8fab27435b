"""Estimators: scikit-learn's contract, and the effect of each parameter."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.feature_selection import SelectFromModel
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import tsnn
from tsnn.config import Config
from tsnn.config.presets import preset_for_shape
from tsnn.estimator import SparseMLPClassifier, SparseMLPRegressor, planning
from tsnn.estimator.members import put_together
from tsnn.estimator.parameters import BY_SHAPE

pytestmark = pytest.mark.compiled

SMALL = {"hidden": (30, 20), "epsilon": 5, "epochs": 20, "random_state": 0}


@pytest.mark.slow
@parametrize_with_checks([SparseMLPClassifier(hidden=(200,), epochs=60), SparseMLPRegressor(hidden=(200,), epochs=60)])
def test_estimators__pass_the_checks_of_scikit_learn(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # else the checks of array types are skipped
    check(estimator)


@pytest.fixture
def samples(rng):
    """Three classes in 12 features, of which the first four tell them apart."""
    y = np.arange(120) % 3
    x = rng.normal(size=(120, 12))
    x[:, :4] += 3 * rng.normal(size=(3, 4))[y]
    return x, y


def fit(x, y, *args, **parameters):
    return SparseMLPClassifier(**{**SMALL, **parameters}).fit(x, y, *args)


def bits(model):
    return [a.tobytes() for layer in model.network_.layers for a in (layer.weights, layer.topology.indices, layer.bias)]


def test_parameters__defaults_are_those_of_the_engine_or_suit_the_shape_of_the_data():
    chosen = SparseMLPClassifier().get_params()
    engine = Config()
    differing = {
        name
        for section in (engine.network, engine.training)
        for name, value in vars(section).items()
        if not name.startswith("augmentation") and chosen[name] != value  # samples of estimators have no shape
    }
    assert differing == {*BY_SHAPE, "activation", "initializer"} - {"preprocessing"}
    assert {name for name, value in chosen.items() if value == "auto"} == {*BY_SHAPE, "n_members", "early_stopping",
                                                                          }  # fmt: skip
    assert len(chosen) == 46


def test_parameters__auto_is_that_of_the_shape_and_members_lie_side_by_side(rng):
    x = rng.normal(size=(600, 6))
    y = (x[:, 0] > 0).astype(int)
    model = SparseMLPClassifier(epochs=2, random_state=0).fit(x, y)
    suited = preset_for_shape(600, 6)
    config = model._state.config
    assert config.training.batch_size == suited["training.batch_size"]
    assert config.training.learning_rate_schedule == "coslog4"
    assert model.network_.sizes == (6, *(4 * n for n in suited["network.hidden"]), 2)
    assert model.history_[0].test_accuracy is not None, "a validation split"
    few = SparseMLPClassifier(epochs=2, random_state=0).fit(x[:100], y[:100])
    assert few._state.config.training.learning_rate_schedule == "cosine"
    assert few.history_[0].test_accuracy is None
    own = SparseMLPClassifier(hidden=(7,), optimizer="adamw", random_state=0).partial_fit(x, y, classes=[0, 1])
    assert own.network_.sizes == (6, 7, 2)
    assert own._state.config.training.learning_rate == suited["training.learning_rate"] / 10
    assert own._state.config.training.learning_rate_schedule == "constant"


def test_learning_rate__auto_falls_where_training_diverges(rng, monkeypatch):
    x = rng.normal(size=(60, 6))
    monkeypatch.setattr(planning, "preset_for_shape", lambda *a, **k: {"training.learning_rate": 20.0})
    small = {**SMALL, "epochs": 5}
    model = SparseMLPRegressor(**small).fit(x, x[:, 0])
    assert model._state.config.training.learning_rate == 0.2
    with pytest.raises(tsnn.errors.DivergenceError):
        SparseMLPRegressor(**small, learning_rate=20.0).fit(x, x[:, 0])


def test_members__answer_with_their_mean_and_continue(samples, tmp_path):
    x, y = samples
    model = fit(x, y, n_members=3, early_stopping=False)
    assert model.network_.sizes == (12, 90, 60, 3)
    assert bits(model) == bits(fit(x, y, n_members=3, early_stopping=False, threads=2))
    inner = model.network_.layers[1].topology
    assert all(
        start // 30 == end // 20
        for start in range(90)
        for end in inner.indices[slice(*inner.indptr[start : start + 2])]
    )
    first = fit(x, y, early_stopping=False)
    np.testing.assert_array_equal(model.network_.layers[1].weights[: first.network_.layers[1].topology.connections],
                                  first.network_.layers[1].weights)  # fmt: skip
    networks = [fit(x, y, early_stopping=False, random_state=seed).network_ for seed in (0, 1, 2)]
    together = clone(first).fit(x, y)
    together._state.network = put_together(networks)
    sums = []
    for network in networks:
        first._state.network = network
        sums.append(first._decide(x))
    np.testing.assert_allclose(together._decide(x), np.mean(sums, axis=0), rtol=1e-4, atol=1e-4)
    again = SparseMLPClassifier.load(_saved(model, tmp_path))
    assert bits(again.partial_fit(x, y)) == bits(model.partial_fit(x, y))
    assert model.score(x, y) > 0.9
    for wrong in (0, 1.5, "many", True):
        with pytest.raises(tsnn.errors.ConfigError, match="n_members must be a whole number"):
            fit(x, y, n_members=wrong)


@pytest.mark.parametrize("dtype", [bool, np.int8, float])
def test_labels__of_any_type_have_the_same_classes(samples, dtype):
    x, y = samples
    model = fit(x, np.eye(3)[y].astype(dtype))
    assert model.classes_.tolist() == [0, 1, 2]
    assert model.predict(x).dtype == np.int64
    assert np.mean(model.predict(x).argmax(axis=1) == y) > 0.8


@pytest.mark.parametrize("wrong", [{"validation_fraction": 0.0, "early_stopping": True}, {"importance_start": 0}])
def test_errors__name_parameters_and_not_settings(samples, wrong):
    with pytest.raises(tsnn.errors.ConfigError, match=f"^{next(iter(wrong))} must be"):
        fit(*samples, **wrong)


def test_missing_values__are_refused_with_a_remedy_of_scikit_learn(samples):
    x, y = samples
    x = np.where(np.arange(x.size).reshape(x.shape) == 5, np.nan, x)
    with pytest.raises(tsnn.errors.DataError, match=r"1 of .* row 0, column 5.* \(as SimpleImputer does\)\.$"):
        fit(x, y)


def test_parameters__are_all_documented():
    for model in (SparseMLPClassifier, SparseMLPRegressor):
        explained = model.__doc__.split("Parameters\n")[1].split("Attributes\n")[0]
        for name in model().get_params():
            assert f"{name} :" in explained or f"{name}, " in explained or f", {name}" in explained, name
        assert "{" not in model.__doc__.replace('{"', "")


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"hidden": (30, 10)}, {"method": "fixed"}, {"method": "dense"}, {"epsilon": 3}, {"activation": "all_relu"},
        {"initializer": "normal"}, {"dropout": 0.1}, {"epochs": 19}, {"batch_size": 16}, {"learning_rate": 0.02},
        {"momentum": 0.5}, {"weight_decay": 0}, {"zeta": 0.1}, {"prune": "magnitude"}, {"regrow": "gradient"},
        {"importance_percentile": 20, "importance_start": 2}, {"preprocessing": "minmax"}, {"preprocessing": "none"},
        {"early_stopping": True}, {"random_state": 1}, {"class_weight": {0: 3, 1: 1, 2: 1}},
    ],
    ids=str,
)  # fmt: skip
def test_parameters__have_an_effect(samples, change):
    assert bits(fit(*samples, **change)) != bits(fit(*samples))
    assert bits(fit(*samples, **change, threads=1)) == bits(fit(*samples, **change, threads=2))


def test_parameters__of_schedules_have_an_effect(samples):
    early = {"early_stopping": True, "epochs": 60}
    base = fit(*samples, **early, n_iter_no_change=5)
    assert len(base.history_) < len(fit(*samples, **early, n_iter_no_change=50).history_)
    assert len(base.history_) > len(fit(*samples, **early, n_iter_no_change=5, tol=0.5).history_)
    assert bits(base) != bits(fit(*samples, **early, n_iter_no_change=5, validation_fraction=0.4))
    pruning = {"importance_percentile": 20, "importance_start": 2}
    living = [fit(*samples, **pruning, importance_every=n).network_.living[0].sum() for n in (2, 8)]
    assert living[0] < living[1]
    assert fit(*samples, alpha=0.5, activation="leaky_relu", epochs=2).network_.slopes[0] == 0.5


def test_early_stopping__keeps_the_best_network(samples, rng):
    x, y = samples
    steady = {
        "early_stopping": True,
        "n_iter_no_change": 8,
        "learning_rate": 0.05,
        "learning_rate_schedule": "constant",
    }
    model = fit(x, y, epochs=60, **steady)
    losses = [record.test_loss for record in model.history_]
    assert model.best_epoch_ == 1 + int(np.argmin(losses))
    again = fit(x, y, epochs=model.best_epoch_, **steady)
    assert again.best_epoch_ == model.best_epoch_
    assert bits(again) == bits(model)


def test_early_stopping__without_validation_samples_is_refused(samples):
    x, y = samples
    with pytest.raises(ValueError, match="Raise validation_fraction"):
        fit(x[:4], y[:4], early_stopping=True)


def test_sparse_features__equal_dense_ones_and_stay_sparse(samples, monkeypatch):
    x, y = samples
    x = np.where(x > 0.5, x, 0)
    csr = sparse.csr_array(x)
    dense = fit(x, y, preprocessing="none")
    for given in (csr, sparse.csc_matrix(x), sparse.coo_array(x)):
        monkeypatch.setattr(type(given), "toarray", None)
        monkeypatch.setattr(sparse.csr_array, "toarray", None)
        model = fit(given, y, preprocessing="none")
        assert bits(model) == bits(dense)
        np.testing.assert_array_equal(model.predict_proba(given), dense.predict_proba(x))
    for preprocessing in ("standard", "minmax"):
        assert fit(csr, y, preprocessing=preprocessing, epochs=60).score(csr, y) > 0.8
    with pytest.raises(ValueError, match="fitted on dense features"):
        fit(x, y).predict(csr)


def test_sparse_features__take_no_dense_memory():
    entries = 2000
    rng = np.random.default_rng(0)
    x = sparse.csr_array((rng.normal(size=entries), rng.integers(50_000, size=entries), np.arange(0, entries + 1, 2)))
    model = SparseMLPClassifier(hidden=(5,), epsilon=0.2, epochs=1, batch_size=16)
    data = []
    monkey = pytest.MonkeyPatch()
    from tsnn.estimator import base

    with monkey.context() as patch:
        patch.setattr(base, "fit_network", lambda network, d, *a, **k: data.append(d) or 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model.fit(x, rng.integers(2, size=1000))
    assert data[0].x_train.nbytes < 1e6 < 4 * np.prod(data[0].x_train.shape)


def test_scaling__of_sparse_features_has_no_shift(samples, rng):
    from tsnn.datasets.preparation import fit_scaling
    from tsnn.datasets.sparse import measure_sparse

    x = np.where(samples[0] > 0, samples[0], 0)
    x[:, 3], x[:, 4] = 0, 1e6
    weights = rng.random(len(x))
    for w in (None, weights):
        offset, scale = measure_sparse(sparse.csr_array(x), w).scaling("standard", centred=False)
        assert not offset.any()
        np.testing.assert_allclose(scale, fit_scaling(x, None, "standard", w)[1], rtol=1e-9)
    np.testing.assert_allclose(
        measure_sparse(sparse.csr_array(x)).scaling("minmax", centred=False)[1],
        [0 if not column.any() else 1 / column.max() for column in x.T],
    )


def test_scaling__uses_sample_weights(samples, rng):
    from tsnn.datasets.preparation import fit_scaling

    repeats = rng.integers(0, 4, len(samples[0]))
    weighted = fit_scaling(samples[0], None, "standard", repeats.astype(float))
    for one, other in zip(weighted, fit_scaling(samples[0].repeat(repeats, axis=0), None, "standard"), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


def test_sample_weights__act_with_several_batches(samples):
    x, y = samples
    weights = np.where(y == 0, 20.0, 1.0)
    flipped = np.random.default_rng(0).integers(3, size=len(y))
    share = [(fit(x, flipped, w).predict(x) == 0).mean() for w in (None, np.where(flipped == 0, 20.0, 1.0))]
    assert share[1] > share[0] + 0.2
    assert bits(fit(x, y, weights)) == bits(fit(x, y, 5 * weights))
    assert bits(fit(x, y, np.ones(len(y)))) == bits(fit(x, y))
    assert bits(fit(x, y, weights)) == bits(fit(x, y, class_weight={0: 20, 1: 1, 2: 1}))


def test_sample_weights__zero_leaves_a_sample_out(samples):
    x, y = samples
    assert bits(fit(x, y, (np.arange(120) < 90).astype(float))) == bits(fit(x[:90], y[:90]))


def test_partial_fit__continues_and_evolves_between_calls(samples):
    x, y = samples
    model = SparseMLPClassifier(**SMALL)
    with pytest.raises(ValueError, match="needs classes"):
        model.partial_fit(x, y)
    model.partial_fit(x[:60], y[:60], classes=[2, 1, 0])
    first = model.network_.layers[0].topology
    for _ in range(25):
        model.partial_fit(x, y)
    assert [record.epoch for record in model.history_] == list(range(1, 27))
    assert model.history_[-1].samples == 60 + 25 * 120
    assert model.network_.layers[0].topology.connections == first.connections
    assert (model.network_.layers[0].topology.keys() != first.keys()).any()
    assert model.score(x, y) > 0.8
    with pytest.raises(ValueError, match="not fitted on, such as 7"):
        model.partial_fit(x, np.where(y == 0, 7, y))
    with pytest.raises(ValueError, match="balanced"):
        clone(model).set_params(class_weight="balanced").partial_fit(x, y, classes=[0, 1, 2])


def test_warm_start__continues_with_the_network(samples):
    x, y = samples
    model = fit(x, y, warm_start=True, epochs=3)
    network, before = model.network_, bits(model)
    model.fit(x, y)
    assert bits(model) != before
    assert network.layers[0].weights.tobytes() == before[0]  # trained on a copy
    assert [record.epoch for record in model.history_] == [1, 2, 3, 4, 5, 6]
    assert len(model.set_params(warm_start=False).fit(x, y).history_) == 3


def test_partial_fit__accepts_small_batches(samples):
    x, _ = samples
    model = SparseMLPRegressor(**SMALL)
    for start in range(0, 120, 10):
        model.partial_fit(x[start : start + 10], x[start : start + 10, 0])
    assert model.history_[-1].samples == 120


def test_targets__several_labels_or_values(samples):
    x, y = samples
    labels = np.column_stack([y == 0, y > 0, x[:, 0] > 0]).astype(int)
    model = fit(x, labels, epochs=60)
    assert model.predict_proba(x).shape == model.decision_function(x).shape == (120, 3)
    assert (model.predict(x) == labels).mean() > 0.9
    assert bits(fit(x, sparse.csr_array(labels), epochs=60)) == bits(model)
    for targets in (1000 * x[:, 0] + 5000, x[:, :2] * [1, 1e-4]):
        regressor = SparseMLPRegressor(**{**SMALL, "epochs": 200, "dropout": 0}).fit(x, targets)
        assert regressor.predict(x).shape == targets.shape
        assert regressor.score(x, targets) > 0.7


def test_feature_names__come_from_tables(samples):
    x, y = samples
    frame = pd.DataFrame(x, columns=[f"gene {i}" for i in range(12)])
    named = np.array(["ill", "well", "unsure"])[y]
    model = fit(frame, named)
    assert list(model.classes_) == ["ill", "unsure", "well"]
    assert set(model.predict(frame)) <= {"ill", "unsure", "well"}
    assert list(model.feature_names_in_) == list(frame.columns)
    frame.iloc[5, 3] = np.nan
    with pytest.raises(ValueError, match="row 5, column 3 \\('gene 3'\\)"):
        model.predict(frame)
    table = pd.DataFrame(model.history_)
    assert len(table) == 20
    assert table["train_loss"].iloc[-1] < table["train_loss"].iloc[0]
    assert table["test_loss"].isna().all()


def test_feature_importances__are_high_for_informative_features(samples):
    x, y = samples
    frame = pd.DataFrame(x, columns=[f"gene {i}" for i in range(12)])
    model = fit(frame, y, epochs=100, hidden=(50, 50))
    assert model.feature_importances_.sum() == pytest.approx(1)
    assert set(model.feature_importances_.argsort()[-3:]) <= {0, 1, 2, 3}
    selector = SelectFromModel(model, max_features=3, threshold=-np.inf).set_output(transform="pandas")
    selected = selector.fit_transform(frame, y)
    assert set(selected.columns) <= {"gene 0", "gene 1", "gene 2", "gene 3"}
    pipeline = make_pipeline(StandardScaler(), SelectFromModel(clone(model)), fit(x, y))
    assert pipeline.fit(frame, y).score(frame, y) > 0.9
    assert "gene 0" in pipeline[:-1].get_feature_names_out()


@pytest.mark.slow
def test_estimators__grid_search_cross_validation_and_pickling(samples):
    x, y = samples
    search = GridSearchCV(
        SparseMLPClassifier(**SMALL), {"epsilon": np.array([2, 5]), "zeta": np.array([0.1, 0.3])}, cv=2
    )
    assert search.fit(x, y).best_score_ > 0.6
    scores = [cross_val_score(SparseMLPClassifier(**SMALL), x, y, cv=2, n_jobs=n) for n in (1, 2)]
    np.testing.assert_array_equal(*scores)
    model = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(model.predict_proba(x), search.predict_proba(x))
    once, again = (m.partial_fit(x, y) for m in (model, search.best_estimator_))
    assert bits(once) == bits(again)


def test_verbose__prints_progress(samples, capsys):
    fit(*samples, epochs=2)
    assert capsys.readouterr().err == ""
    fit(*samples, epochs=2, progress=True)
    assert "2/2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"epsilon": -1}, "^epsilon must be greater than 0; got -1"),
        ({"zeta": 1}, "^zeta must be"),
        ({"hidden": "wide"}, "^hidden must be whole numbers"),
        ({"regrow": "rigl"}, "'random', 'gradient'"),
        ({"n_iter_no_change": 0}, "n_iter_no_change"),
        ({"hidden": (10**6, 10**6), "method": "dense"}, "memory|32-bit"),
    ],
)
def test_parameters__invalid_ones_have_a_message(samples, parameters, message):
    with pytest.raises(tsnn.errors.ConfigError, match=message):
        fit(*samples, **parameters)


def test_saved_model__predicts_and_continues_bit_for_bit(samples, tmp_path):
    x, y = samples
    frame = pd.DataFrame(x, columns=[f"gene {i}" for i in range(12)])
    named = np.array(["ill", "well", "unsure"], dtype=object)[y]
    models = [
        fit(frame, named, class_weight={"ill": 2.0, "well": 1.0, "unsure": 1.0}),
        fit(x, (x[:, :3] > 0).astype(int), preprocessing="none"),
        SparseMLPRegressor(**SMALL).fit(x, 1000 * x[:, 0]),
    ]
    for model in models:
        model.save(tmp_path / "model.npz")
        again = type(model).load(tmp_path / "model.npz")
        given = frame if hasattr(model, "feature_names_in_") else x
        target = model.predict(given)
        np.testing.assert_array_equal(again.predict(given), target)
        assert again.get_params() == model.get_params()
        assert len(again.history_) == 20
        assert again.history_[-1].train_loss == model.history_[-1].train_loss
        model.partial_fit(given, target)
        again.partial_fit(given, target)
        assert bits(again) == bits(model)
    assert list(models[0].classes_) == list(SparseMLPClassifier.load(_saved(models[0], tmp_path)).classes_)


def _saved(model, folder):
    model.save(folder / "model.npz")
    return folder / "model.npz"


def test_saved_model__damaged_or_foreign_files_are_refused(samples, tmp_path, monkeypatch):
    model = fit(*samples, epochs=1)
    path = _saved(model, tmp_path)
    with pytest.raises(tsnn.errors.RunError, match="holds a SparseMLPClassifier, not a SparseMLPRegressor"):
        SparseMLPRegressor.load(path)
    whole = path.read_bytes()
    for damage in (whole[:-100], whole[:3000] + b"\0" * 50 + whole[3050:], b"", whole[: len(whole) // 2]):
        path.write_bytes(damage)
        with pytest.raises(tsnn.errors.RunError, match="not a readable estimator"):
            SparseMLPClassifier.load(path)
    path.write_bytes(whole)
    monkeypatch.setattr(tsnn.estimator.files, "FORMAT", 3)
    with pytest.raises(tsnn.errors.RunError, match=r"written by tsnn .* in format 2; expected 3"):
        SparseMLPClassifier.load(path)


def test_two_phase__ends_with_the_connections_of_a_sparse_start_and_stops_early_after_the_dense_phase(samples):
    x, y = samples
    sparse_start = fit(x, y, epochs=1).network_.connections
    model = fit(x, y, method="two_phase", epochs=21)
    dense = 12 * 30 + 30 * 20 + 20 * 3
    assert [record.connections for record in model.history_] == [dense] * 9 + [sparse_start] * 12
    assert model.score(x, y) > 0.8
    stopped = fit(x, y, method="two_phase", epochs=60, early_stopping=True, n_iter_no_change=2)
    assert stopped.network_.connections == sparse_start
    assert stopped.best_epoch_ > 30
    impatient = {"early_stopping": True, "n_iter_no_change": 2, "tol": 10}
    dense = fit(x, y, method="two_phase", epochs=60, epsilon=100, **impatient)  # nothing is pruned
    assert dense.network_.connections == 12 * 30 + 30 * 20 + 20 * 3
    assert len(dense.history_) == 33  # the first epoch after the dense phase, and two without improvement
    stepwise = SparseMLPClassifier(**SMALL, method="two_phase").partial_fit(x, y, classes=[0, 1, 2]).partial_fit(x, y)
    assert stepwise.network_.connections == sparse_start


def test_warm_start__with_other_layers_is_refused(samples):
    model = fit(*samples, warm_start=True, epochs=1)
    with pytest.raises(tsnn.errors.ConfigError, match=r"network to continue with has \(30, 20\)"):
        model.set_params(hidden=(5,)).fit(*samples)
