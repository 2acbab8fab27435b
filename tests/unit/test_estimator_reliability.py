"""Estimators under pressure: read-only arrays, streams, failed fits, wrong weights and classes."""

import copy
import gc
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
from numba.core.dispatcher import Dispatcher
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputClassifier

from tsnn.config import Config
from tsnn.datasets import make_dataset
from tsnn.datasets.moments import Moments
from tsnn.datasets.preparation import measure
from tsnn.engine.importance import prune_neurons
from tsnn.engine.serialization import pack
from tsnn.engine.training import train
from tsnn.errors import ConfigError, DataError, DivergenceError
from tsnn.estimator import SparseMLPClassifier, SparseMLPRegressor

pytestmark = pytest.mark.compiled

SMALL = {"hidden": (30, 20), "epsilon": 5, "epochs": 5, "random_state": 0}


@pytest.fixture
def samples(rng):
    """Two classes, decided by the first of ten features."""
    x = rng.normal(size=(200, 10))
    return x, (x[:, 0] > 0).astype(int)


def bits(model):
    return [a.tobytes() for layer in model.network_.layers for a in (layer.weights, layer.topology.indices, layer.bias)]


def signatures():
    """Number of compiled variants of all kernels."""
    return sum(len(o.signatures) for o in gc.get_objects() if isinstance(o, Dispatcher))


def through_buffers(model):
    """Pickle and restore a model as Ray and Dask do: its arrays lie in read-only memory."""
    buffers = []
    data = pickle.dumps(model, protocol=5, buffer_callback=buffers.append)
    return pickle.loads(data, buffers=[bytes(buffer) for buffer in buffers])


def through_memory_map(model, folder):
    """Write and map a model as joblib does for its workers."""
    joblib.dump(model, folder / "model.joblib")
    return joblib.load(folder / "model.joblib", mmap_mode="r")


# --- read-only arrays --------------------------------------------------------------------------------

READ_ONLY = """
import pickle, sys, joblib, numpy as np
from tsnn.estimator import SparseMLPClassifier
rng = np.random.default_rng(0)
x = rng.normal(size=(100, 2000))
y = (x[:, 0] > 0).astype(int)
model = SparseMLPClassifier(hidden=(200,), epsilon=10, zeta=0, random_state=0)
model.partial_fit(x, y, classes=[0, 1])
again = pickle.loads(pickle.dumps(model))
for layer in again.network_.layers:  # as joblib maps what is larger than 1 MB
    for array in (layer.weights, layer.velocity):
        array.flags.writeable = False
kept = [layer.weights.tobytes() for layer in again.network_.layers], again.network_
for m in (model, again):
    m.partial_fit(x, y).partial_fit(x, y)
assert (model.predict_proba(x) == again.predict_proba(x)).all()
assert kept[0] == [layer.weights.tobytes() for layer in kept[1].layers]
"""


def test_read_only_weights__are_copied_before_training_and_do_not_end_the_process():
    result = subprocess.run([sys.executable, "-c", READ_ONLY], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("way", ["buffers", "memory map", "deepcopy", "saved"])
def test_read_only_model__predicts_and_trains_bit_for_bit_without_compiling_again(samples, tmp_path, way):
    x, y = samples
    model = SparseMLPClassifier(**SMALL, warm_start=True, importance_percentile=5, importance_start=1).fit(x, y)
    model.partial_fit(x, y).fit(x, y)
    if way == "saved":
        model.save(tmp_path / "model.npz")
        again = SparseMLPClassifier.load(tmp_path / "model.npz")
    elif way == "memory map":
        again = through_memory_map(model, tmp_path)
        assert isinstance(again.network_.layers[0].weights, np.memmap)
    else:
        again = through_buffers(model) if way == "buffers" else copy.deepcopy(model)
    predicted, importances = model.predict_proba(x), model.feature_importances_
    before = signatures()
    np.testing.assert_array_equal(again.predict_proba(x), predicted)
    np.testing.assert_array_equal(again.feature_importances_, importances)
    for one in (model, again):
        one.partial_fit(x, y).fit(x, y)
    assert bits(again) == bits(model)
    assert signatures() == before


def test_read_only_network__trains_and_is_pruned_outside_of_estimators(blobs, tiny, rng):
    import tsnn

    network = tsnn.init_network(blobs.n_features, blobs.n_outputs, tiny, rng=rng)
    read_only = through_buffers(network)
    assert not read_only.layers[0].bias.flags.writeable
    records = [list(train(n, blobs, tiny, rng=np.random.default_rng(0))) for n in (network, read_only)]
    assert records[0][-1].train_loss == records[1][-1].train_loss
    assert prune_neurons(through_buffers(network), 20) == prune_neurons(network, 20)


def test_read_only_features__are_gathered_without_compiling_again(tmp_path, rng, blobs, tiny):
    import tsnn
    from tsnn.datasets import as_features
    from tsnn.engine.metrics import decision_values
    from tsnn.engine.workspace import Workspace

    network = tsnn.init_network(blobs.n_features, blobs.n_outputs, tiny, rng=rng)
    values = rng.normal(size=(50, 12)).astype(np.float32)
    np.save(tmp_path / "x.npy", values)
    workspace = Workspace(network.sizes, 32)
    expected = decision_values(network, values, workspace)
    before = signatures()
    for mode in ("r", "c"):
        mapped = as_features(np.load(tmp_path / "x.npy", mmap_mode=mode))
        np.testing.assert_array_equal(decision_values(network, mapped, workspace), expected)
    assert signatures() == before


def test_read_only_samples__are_accepted_in_every_type(samples, tmp_path):
    x, y = samples
    expected = bits(SparseMLPClassifier(**SMALL).fit(x, y, np.arange(200) % 3 + 1.0))
    given = [x, y, np.arange(200) % 3 + 1.0]
    for i, array in enumerate(given):
        joblib.dump(array, tmp_path / f"{i}")
    mapped = [joblib.load(tmp_path / f"{i}", mmap_mode="r") for i in range(3)]
    assert bits(SparseMLPClassifier(**SMALL).fit(*mapped)) == expected
    for typed in (x.astype(object), pd.DataFrame(x).astype("Float64"), np.asfortranarray(x)):
        assert bits(SparseMLPClassifier(**SMALL).fit(typed, *given[1:])) == expected
    assert SparseMLPClassifier(**SMALL).fit(x.astype(np.float16), y).score(x, y) > 0.7
    table = pd.DataFrame(x).astype("Float64")
    table.iloc[3, 2] = pd.NA
    with pytest.raises(DataError, match="row 3, column 2"):
        SparseMLPClassifier(**SMALL).fit(table, y)
    csr = sparse.csr_array(x)
    for array in (csr.data, csr.indices, csr.indptr):
        array.flags.writeable = False
    SparseMLPClassifier(**SMALL).fit(csr, y).partial_fit(csr, y).predict(csr)


@pytest.mark.slow
def test_worker_processes__train_models_and_samples_that_are_mapped(rng):
    x = rng.normal(size=(100, 2000))
    y = (x[:, 0] > 0).astype(int)
    search = GridSearchCV(SparseMLPClassifier(**SMALL), {"zeta": [0.1, 0.3]}, cv=2, n_jobs=2)
    assert np.isfinite(search.fit(x, y).best_score_)
    labels = np.c_[y, 1 - y]
    each = MultiOutputClassifier(SparseMLPClassifier(hidden=(2000,), epsilon=100, zeta=0, random_state=0), n_jobs=2)
    for _ in range(3):
        each.partial_fit(x, labels, classes=[np.array([0, 1])] * 2)
    one = clone(each.estimator)
    for _ in range(3):
        one.partial_fit(x, y, classes=[0, 1])
    assert bits(each.estimators_[0]) == bits(one)


# --- streams -----------------------------------------------------------------------------------------


def flagged(rng):
    x = rng.normal(size=(400, 5))
    x[:, 0] = np.arange(400) % 20 == 0
    return x, x[:, 0].astype(int)


@pytest.mark.parametrize(
    ("first", "preprocessing", "form"),
    [
        (10, "standard", np.asarray), (1, "standard", np.asarray), (10, "minmax", np.asarray),
        (10, "standard", sparse.csr_array),
    ],
)  # fmt: skip
def test_partial_fit__learns_from_a_feature_that_is_constant_in_the_first_batch(rng, first, preprocessing, form):
    x, y = flagged(rng)
    model = SparseMLPClassifier(hidden=(50,), random_state=0, preprocessing=preprocessing)
    model.partial_fit(form(x[1 : 1 + first]), y[1 : 1 + first], classes=[0, 1])
    for _ in range(15):
        for i in range(0, 400, 40):
            model.partial_fit(form(x[i : i + 40]), y[i : i + 40])
    assert (model.predict(form(x[y == 1])) == 1).mean() == 1
    assert model.score(form(x), y) > 0.97


def test_warm_start__learns_from_a_feature_that_was_constant_in_the_first_fit(rng):
    x, y = flagged(rng)
    other = x[:, 1] > 0
    lacking = y == 0
    model = SparseMLPClassifier(hidden=(50,), epochs=20, random_state=0, warm_start=True).fit(
        x[lacking], other[lacking]
    )
    assert model.fit(x, y == 1).score(x, y == 1) > 0.97


@pytest.mark.parametrize("spread", [3, 3e5, 3e-3])
@pytest.mark.parametrize("noise", [0, 1e-6])
def test_partial_fit__learns_targets_that_are_constant_in_the_first_batch(rng, spread, noise):
    x = rng.normal(size=(400, 5))
    model = SparseMLPRegressor(hidden=(100,), random_state=0, dropout=0)
    model.partial_fit(x[:5], 5 + noise * rng.normal(size=5))
    if not noise:
        np.testing.assert_array_equal(model.predict(x), 5)
    y = spread * x[:, 1] + 5
    for _ in range(50):
        model.partial_fit(x, y)
    assert model.score(x, y) > 0.9


def test_scaling__of_a_stream_is_that_of_all_its_samples(samples, rng):
    x, y = samples
    weights = rng.random(200)
    for form, preprocessing in ((np.asarray, "standard"), (np.asarray, "minmax"), (sparse.csr_array, "standard")):
        model = SparseMLPClassifier(**SMALL, preprocessing=preprocessing)
        for part in (slice(0, 1), slice(1, 50), slice(50, 200)):  # one row first
            model.partial_fit(form(x[part]), y[part], [0, 1], weights[part])
        whole = SparseMLPClassifier(**SMALL, preprocessing=preprocessing).fit(form(x), y, weights)
        for one, other in zip(model.network_.scaling, whole.network_.scaling, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9)


def test_scaling__change_leaves_the_function_as_it_was(samples, rng):
    from tsnn.estimator.scaling import rescale_inputs, rescale_outputs

    x, _ = samples
    model = SparseMLPRegressor(**SMALL).fit(x, x[:, :2] @ [[3.0, 0], [1, 20]])
    before = model.predict(x)
    offset, scale = model._offset + 0.2 * rng.normal(size=10), model._scale * rng.uniform(0.6, 3, 10)
    rescale_inputs(model.network_, offset, scale, np.ones(10, bool))
    model._offset, model._scale = offset, scale
    np.testing.assert_allclose(model.predict(x), before, rtol=1e-3, atol=1e-3)
    target = model._target_offset + np.array([5, -3]), model._target_spread * np.array([0.7, 100])
    rescale_outputs(model.network_, (model._target_offset, model._target_spread), target, np.ones(2, bool))
    model._target_offset, model._target_spread = target
    np.testing.assert_allclose(model.predict(x), before, rtol=1e-3, atol=2e-2)


def test_scaling__constant_features_are_left_out_as_in_runs(samples):
    """A model knows nothing about values that it never saw: estimators and runs ignore them alike."""
    x, y = samples
    x[:, 4] = 7
    model = SparseMLPClassifier(**SMALL).fit(x, y)
    data = make_dataset(x, y, x_test=x, y_test=y)
    for one, other in zip(model.network_.scaling, data.scaling, strict=True):
        np.testing.assert_array_equal(one, other)
    assert data.scaling[1][4] == 0
    other = x.copy()
    other[:, 4] = 1e6
    np.testing.assert_array_equal(model.predict_proba(other), model.predict_proba(x))


def test_moments__of_parts_merge_to_those_of_the_whole(rng):
    x = rng.normal(size=(100, 4)) * [1, 1e-6, 1e6, 0] + [0, 1, 1e8, 3]
    weights = rng.random(100)
    parts = [measure(x[p], None, "standard", weights[p]) for p in (slice(0, 1), slice(1, 30), slice(30, 100))]
    merged: Moments = parts[0].merged(parts[1]).merged(parts[2])
    for one, other in zip(merged, measure(x, None, "standard", weights), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("first", [1, 2, 10])
def test_partial_fit__first_batch_of_few_rows_costs_no_accuracy(first):
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    model = SparseMLPClassifier(hidden=(100,), random_state=0).partial_fit(x[:first], y[:first], classes=[0, 1])
    for _ in range(10):
        model.partial_fit(x, y)
    assert model.score(x, y) > 0.95


def test_partial_fit__saved_in_between_continues_bit_for_bit(samples, tmp_path):
    x, y = samples
    for model, target in ((SparseMLPClassifier(**SMALL), y), (SparseMLPRegressor(**SMALL), 1e3 * x[:, 0])):
        model.partial_fit(x[:20], target[:20], *([[0, 1]] if target is y else []))
        model.save(tmp_path / "model.npz")
        again = type(model).load(tmp_path / "model.npz")
        for one in (model, again):
            one.partial_fit(x[20:], target[20:]).partial_fit(x, target)
        assert bits(one) == bits(model)
        np.testing.assert_array_equal(again.predict(x), model.predict(x))


# --- failed fits -------------------------------------------------------------------------------------


def contents(model):
    """Everything that a model would answer with, as bytes."""
    rest = {name: value for name, value in vars(model).items() if name not in (*model.get_params(), "_state")}
    return pickle.dumps((*pack(model._state), rest))


@pytest.mark.parametrize("kind", [SparseMLPClassifier, SparseMLPRegressor])
def test_failed_fit__leaves_the_model_unfitted(samples, kind):
    x, y = samples
    model = kind(learning_rate=1e9, random_state=0)
    with pytest.raises(DivergenceError):
        model.partial_fit(x, y, *([[0, 1]] if kind is SparseMLPClassifier else []))
    with pytest.raises(DivergenceError):
        model.fit(x, y)
    for answer in (
        model.predict,
        lambda x: model.score(x, y),
        lambda x: model.save("nowhere"),
        lambda x: model.to_scipy(),
    ):
        with pytest.raises(NotFittedError):
            answer(x)
    assert not hasattr(model, "n_features_in_")
    assert not hasattr(model, "network_")


@pytest.mark.parametrize("kind", [SparseMLPClassifier, SparseMLPRegressor])
@pytest.mark.parametrize("method", ["fit", "warm", "partial_fit"])
def test_failed_fit__keeps_the_former_model(samples, kind, method, monkeypatch):
    from tsnn.estimator import base

    x, y = samples
    model = kind(**SMALL, warm_start=method == "warm").fit(x, y).partial_fit(x, y)
    before, predicted = contents(model), model.predict(x)
    call = model.partial_fit if method == "partial_fit" else model.fit

    def fails(error, *args):
        with pytest.raises(error):
            call(*args)
        assert contents(model) == before
        np.testing.assert_array_equal(model.predict(x), predicted)

    fails(ValueError, x[:, :5] if method != "fit" else np.full((200, 3), np.nan), y)
    fails(ValueError, x[:, :4], np.full(200, np.nan))
    fails(ValueError, x, y, -np.ones(200)) if method != "partial_fit" or kind is SparseMLPRegressor else None
    for error in (KeyboardInterrupt, MemoryError):
        with monkeypatch.context() as patch:

            def interrupted(state, data, fit=base.fit_network, error=error, **options):
                fit(state, data, **options)
                raise error

            patch.setattr(base, "fit_network", interrupted)
            fails(error, x, y)
    model.set_params(learning_rate=1e6, epochs=50)
    if method != "partial_fit":
        fails(DivergenceError, x, y)
    model.set_params(**{k: SMALL[k] for k in ("epochs",)}, learning_rate=kind().learning_rate)
    call(x, y)
    assert contents(model) != before


def test_failed_fit__weights_that_overflow_in_the_last_batch_are_noticed(samples):
    x, y = samples
    model = SparseMLPClassifier(**SMALL, preprocessing="none").fit(x, y)
    before = contents(model)
    with pytest.raises(DivergenceError, match=r"Layer . of the network|loss is no longer finite"):
        model.partial_fit(x * 1e35, y)
    assert contents(model) == before


@pytest.mark.parametrize("factor", [1e6, 1e35])
def test_failed_fit__samples_in_another_unit_are_refused_and_leave_the_model_as_it_was(samples, factor):
    x, y = samples
    for preprocessing in ("standard", "minmax"):
        model = SparseMLPClassifier(**SMALL, preprocessing=preprocessing).fit(x, y)
        before = contents(model)
        with pytest.raises(DivergenceError, match=r"feature 0 .* varied by .* so far"):
            model.partial_fit(factor * x, y)
        assert contents(model) == before
    regressor = SparseMLPRegressor(**SMALL).fit(x, x[:, 0])
    with pytest.raises(DivergenceError, match=r"target 0 .* varied by 0.884 so far"):
        regressor.partial_fit(x, factor * x[:, 0])


def test_answers__from_weights_that_are_not_finite_are_refused(samples, tmp_path):
    x, y = samples
    for value in (np.nan, np.inf):
        model = SparseMLPClassifier(**SMALL).fit(x, y)
        broken = pickle.loads(pickle.dumps(model))
        broken.network_.layers[1].weights[3] = value
        for answer in (
            broken.predict, broken.predict_proba, broken.decision_function, lambda x, m=broken: m.score(x, y),
            lambda x, m=broken: m.save(tmp_path / "m.npz"), lambda x, m=broken: m.to_scipy(),
            lambda x, m=broken: m.to_torch(), lambda x, m=broken: m.to_onnx(),
            lambda x, m=broken: m.feature_importances_,
        ):  # fmt: skip
            with pytest.raises(DivergenceError, match="Layer 2 of the network has weights that are not finite"):
                answer(x)
        assert not (tmp_path / "m.npz").exists()
    model.network_.layers[0].weights[:] = np.nan  # after a first, good answer
    with pytest.raises(DivergenceError, match="Layer 1"):
        model.predict(x)


def test_answers__for_samples_beyond_float32_are_refused(samples):
    x, y = samples
    model = SparseMLPClassifier(**SMALL, preprocessing="none").fit(x, y)
    x[7] = 3e38
    with pytest.raises(DataError, match=r"outputs for 1 of 200 samples are not finite, the first for row 7"):
        model.predict_proba(x)
    with pytest.raises(DataError, match=r"y: .* beyond float32"):
        SparseMLPRegressor(**SMALL).fit(x[:5], np.arange(5) * 1e200)


# --- parameters --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({0: -1, 1: 1}, "class_weight of 0 is -1; expected a finite number of at least 0"),
        ({0: 1, 1: np.nan}, "class_weight of 1 is nan"),
        ({0: np.inf}, "class_weight of 0 is inf"),
        ({0: "much"}, "class_weight of 0 is 'much'"),
        ({0: 0, 1: 0.0}, "no sample a weight above 0"),
        ({"ill": 2}, "names 'ill', which is no class; classes are 0, 1"),
        (np.array([1, -1]), "expected a dict"),
        ([1, 2], "expected a dict"),
        ("heavy", "expected a dict"),
    ],
    ids=str,
)
def test_class_weight__senseless_ones_are_refused(samples, weights, message):
    x, y = samples
    with pytest.raises(DataError, match=message):
        SparseMLPClassifier(**SMALL, class_weight=weights).fit(x, y)
    with pytest.raises(DataError, match=message):
        SparseMLPClassifier(**SMALL, class_weight=weights).partial_fit(x, y, classes=[0, 1])


def test_class_weight__of_labels_is_refused_where_negative_and_saved_otherwise(samples, tmp_path):
    x, y = samples
    labels = np.c_[y, 1 - y]
    with pytest.raises(DataError, match="class_weight of 1 is -2"):
        SparseMLPClassifier(**SMALL, class_weight=[{0: 1, 1: -2}, {0: 1, 1: 1}]).fit(x, labels)
    model = SparseMLPClassifier(**SMALL, class_weight=[{0: 1, 1: 2}, {0: 1, 1: 1}]).fit(x, labels)
    model.save(tmp_path / "m.npz")
    assert SparseMLPClassifier.load(tmp_path / "m.npz").get_params() == model.get_params()


def test_class_weight__names_classes_that_a_batch_lacks(samples):
    x, y = samples
    y = np.where(x[:, 1] > 1, 2, y)
    model = SparseMLPClassifier(**SMALL, class_weight={0: np.float32(20)}).partial_fit(x, y, classes=[0, 1, 2])
    model.partial_fit(x[y > 0], y[y > 0])
    weighted = SparseMLPClassifier(**SMALL).partial_fit(x, y, [0, 1, 2], np.where(y == 0, 20.0, 1))
    assert bits(weighted.partial_fit(x[y > 0], y[y > 0])) == bits(model)


@pytest.mark.parametrize("weights", [-1.0, np.nan, np.inf, 0.0])
def test_sample_weight__senseless_ones_are_refused(samples, weights):
    x, y = samples
    with pytest.raises(ValueError, match=r"[Ww]eight"):
        SparseMLPClassifier(**SMALL).fit(x, y, np.full(200, weights))


def test_partial_fit__other_classes_later_are_refused(samples):
    x, y = samples
    model = SparseMLPClassifier(**SMALL).partial_fit(x, y, classes=[0, 1])
    before = contents(model)
    for classes in ([0, 1, 2], [1, 2], ["0", "1"], [0]):
        with pytest.raises(DataError, match="but the model was fitted on 0, 1"):
            model.partial_fit(x, y, classes=classes)
    assert contents(model) == before
    model.partial_fit(x, y, classes=[1, 0, 0]).partial_fit(x, y)
    with pytest.raises(DataError, match="cannot be sorted"):
        SparseMLPClassifier(**SMALL).partial_fit(x, y, classes=np.array([0, "one"], dtype=object))


def test_parameters__from_numpy_are_those_of_python(samples, tmp_path):
    x, y = samples
    given = {
        "hidden": np.array([20, 10]), "epochs": np.int32(3), "epsilon": np.float32(5), "batch_size": np.uint8(16),
        "dropout": np.float64(0.25), "method": np.str_("set"), "early_stopping": np.bool_(True), "tol": np.float32(0),
        "n_iter_no_change": np.int64(4), "random_state": np.int64(3), "compact": np.bool_(False),
    }  # fmt: skip
    plain = {name: value.tolist() for name, value in given.items()}
    model = SparseMLPClassifier(**given).fit(x, y)
    assert bits(model) == bits(SparseMLPClassifier(**plain).fit(x, y))
    for one in (model, SparseMLPClassifier(hidden=20, epochs=1).fit(x, y), clone(model).fit(x, y)):
        one.save(tmp_path / "m.npz")
        np.testing.assert_array_equal(SparseMLPClassifier.load(tmp_path / "m.npz").predict(x), one.predict(x))
    for wrong in (np.array([20.5]), np.array([[20], [10]]), np.array([True]), np.array([-1])):
        with pytest.raises(ConfigError, match=r"^hidden must be"):
            SparseMLPClassifier(hidden=wrong).fit(x, y)
    assert Config().replace({"run.seed": np.int64(3)}).run.seed == 3
    with pytest.raises(ConfigError, match=r"run\.seed must be a whole number"):
        Config().replace({"run.seed": np.array([1, 2])})


@pytest.mark.parametrize(
    "change",
    [
        {"hidden": (5,)}, {"activation": "all_relu"}, {"initializer": "normal"}, {"preprocessing": "minmax"},
        {"method": "dense"},
    ],
    ids=str,
)  # fmt: skip
def test_partial_fit__settings_that_the_network_cannot_change_are_refused(samples, change):
    x, y = samples
    model = SparseMLPClassifier(**SMALL).partial_fit(x, y, classes=[0, 1])
    with pytest.raises(ConfigError, match="but the network to continue with has"):
        model.set_params(**change).partial_fit(x, y)
    model.set_params(**{name: SparseMLPClassifier(**SMALL).get_params()[name] for name in change}).partial_fit(x, y)
    model.set_params(zeta=0.1, method="fixed", learning_rate=0.1, batch_size=8).partial_fit(x, y)
    with pytest.raises(ValueError, match="features"):
        model.partial_fit(x[:, :5], y)
