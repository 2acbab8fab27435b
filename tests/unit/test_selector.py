"""Selection of features: scores against their equations, known features, scikit-learn's contract, errors."""

import itertools

import numpy as np
import pytest
from scipy import sparse
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import tsnn
from tests.support import naive
from tsnn.engine.attribution import attribution, input_strength, response
from tsnn.engine.autoencoder import WAST, NoisyFeatures, QuickSelection, Reconstruction
from tsnn.engine.input_removal import Elimination, NeuroFS
from tsnn.engine.selection import EntryPrune, SummedAttribution, SummedStrength
from tsnn.engine.state import TrainingState
from tsnn.engine.workspace import Workspace
from tsnn.errors import ConfigError, DataError, DivergenceError
from tsnn.estimator.selector import METHODS, UNSUPERVISED, SparseSelector
from tsnn.records import EpochRecord

SMALL = {"hidden": (20,), "epsilon": 6, "epochs": 12, "random_state": 0, "threads": 1}
SUPERVISED = ["auto", *sorted(METHODS.keys() - set(UNSUPERVISED))]


@pytest.fixture
def samples(rng):
    """Three classes in 30 features, of which 3, 7, 11 and 20 tell them apart."""
    y = np.arange(240) % 3
    x = rng.normal(size=(240, 30))
    x[:, [3, 7, 11, 20]] += 3 * rng.normal(size=(3, 4))[y]
    return x, y


def make_state(rng, x, y, **settings):
    """A state before its first epoch, and its data set of classes or, with y None, of an autoencoder."""
    features = tsnn.datasets.as_features(x)
    task, outputs, names = ("classification", y, ("a", "b", "c"))
    if y is None:
        task, outputs, names = "regression", Reconstruction(features), ()
    data = tsnn.Dataset(
        name="samples", x_train=features, y_train=outputs, x_test=x[:0], y_test=outputs[np.arange(0)], task=task,
        class_names=names, feature_names=(), image_shape=None, source="", digest="",
    )  # fmt: skip
    plain = {"hidden": (20,), "epsilon": 4, "epochs": 4, "batch_size": 32, "dropout": 0, "weight_decay": 0}
    config = tsnn.Config().replace(plain | {"method": "fixed", "activation": "relu"} | settings)
    network = tsnn.init_network(data.n_features, data.n_outputs, config, rng=rng)
    return TrainingState.begin(network, config, rng=rng), data


def matrices(network):
    return [
        naive.dense(layer.topology.indptr, layer.topology.indices, layer.weights, layer.topology.n_out)
        for layer in network.layers
    ]


@pytest.mark.parametrize("activation", ["all_relu", "tanh"])
def test_attribution__is_the_mean_gradient_of_the_logits(rng, samples, activation):
    x, y = samples[0].astype(np.float32)[:40], samples[1][:40]
    state, data = make_state(rng, x, y, activation=activation, hidden=(20, 10))
    network, rows = state.network, np.arange(1, 40, 2)
    velocities = [layer.velocity.copy() for layer in network.layers]
    found = attribution(network, data.x_train, rows, Workspace(network.sizes, 16))
    eps, total, workspace = 1e-3, np.zeros(30), Workspace(network.sizes, 32)
    for j in range(30):
        up, down = x[rows].copy(), x[rows].copy()
        up[:, j] += eps
        down[:, j] -= eps
        slope = tsnn.decision_values(network, up, workspace) - tsnn.decision_values(network, down, workspace)
        total[j] = np.abs(slope / (2 * eps)).mean(axis=0).sum()
    np.testing.assert_allclose(found, total, rtol=0.05, atol=2e-3)  # a difference may cross the edge of a ReLU
    for layer, velocity in zip(network.layers, velocities, strict=True):
        np.testing.assert_array_equal(layer.velocity, velocity)


def test_attribution__in_16_bits_is_that_in_32_up_to_rounding(rng, samples):
    x, y = samples[0].astype(np.float32), samples[1]
    state, data = make_state(rng, x, y, hidden=(20, 10))
    rows = np.arange(3, 200, 2)
    for function in (attribution, response):
        found = [
            function(state.network, data.x_train, rows, Workspace(state.network.sizes, 32, precision=precision))
            for precision in ("float32", "bfloat16")
        ]
        np.testing.assert_allclose(found[1], found[0], rtol=0.05, atol=0.02 * found[0].max())


def test_response__is_the_covariance_with_the_first_neurons_by_their_paths(rng, samples, monkeypatch):
    x, y = samples[0].astype(np.float32), samples[1]
    x[:, 5] = 2.0  # does not vary
    state, data = make_state(rng, x, y, hidden=(20, 10))
    rows = np.arange(0, 240, 2)
    first, *others = matrices(state.network)
    paths = np.linalg.multi_dot([np.abs(w) for w in others]).sum(axis=1)
    covariance = np.cov(np.hstack([x[rows], x[rows] @ first]).T, bias=True)[:30, 30:]
    deviation = x[rows].std(axis=0)
    expected = np.divide(np.abs(covariance) @ paths, deviation, out=np.zeros(30), where=deviation > 0)
    assert expected[5] == 0
    for entries in (2**22, 30 * 7):  # all neurons at once, or seven
        monkeypatch.setattr("tsnn.engine.attribution._ENTRIES", entries)
        found = response(state.network, data.x_train, rows, Workspace(state.network.sizes, 32))
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_wast__error_in_16_bits_is_that_in_32_up_to_rounding(rng, samples):
    x = samples[0].astype(np.float32)
    found = {}
    for precision in ("float32", "bfloat16"):
        options = {"epochs": 1, "batch_size": 60, "optimizer": "nesterov", "precision": precision}
        state, data = make_state(np.random.default_rng(3), x, None, density=(0.3, 0.3), **options)
        ranking = WAST(4, np.random.default_rng(0))
        list(ranking.train(state, data))
        found[precision] = ranking.scores
    np.testing.assert_allclose(found["bfloat16"], found["float32"], rtol=0.1)


def test_rankings__sum_strength_and_attribution_over_the_epochs(rng, samples):
    x, y = samples
    state, data = make_state(rng, x, y, method="set", regrow="gradient")
    ranking, copy = SummedStrength(4, rng), np.zeros(30)
    for item in ranking.train(state, data):
        if not isinstance(item, EpochRecord) and item.samples == item.samples_total:
            copy += np.abs(matrices(state.network)[0]).sum(axis=1)
    np.testing.assert_allclose(ranking.scores, copy, rtol=1e-5)
    state, data = make_state(np.random.default_rng(1), x, y)
    ranking, copy = SummedAttribution(4, rng), np.zeros(30)
    for item in ranking.train(state, data):
        if not isinstance(item, EpochRecord) and item.samples == item.samples_total:
            copy += attribution(state.network, data.x_train, np.arange(240), Workspace(state.network.sizes, 32))
    np.testing.assert_allclose(ranking.scores, copy, rtol=1e-4)


def test_elimination__removes_the_weakest_inputs_by_the_same_factor(rng, samples):
    state, data = make_state(rng, *samples, epochs=10)
    ranking = Elimination(4, np.random.default_rng(0))
    budget = state.network.layers[0].topology.connections
    present, mean = [np.ones(30, bool)], None
    for item in ranking.train(state, data):
        if isinstance(item, EpochRecord):
            present.append(ranking.active.copy())
            removed, left = present[-2] & ~present[-1], present[-1]
            assert mean[removed].max(initial=0) <= mean[left].min()
            assert not input_strength(state.network)[~left].any(), "a removed input has connections"
            assert state.network.layers[0].topology.connections == min(budget, 20 * left.sum())
            assert ranking.scores[left].min() > ranking.scores[~left].max(initial=0)
        elif item.samples == item.samples_total:
            found = attribution(state.network, data.x_train, np.arange(240), Workspace(state.network.sizes, 32))
            mean = found if mean is None else (mean + found) / 2
    factor = (4 / 30) ** (1 / 4)  # in each epoch after the fourth, until the eighth
    assert [now.sum() for now in present] == [30] * 5 + [round(30 * factor**k) for k in (1, 2, 3, 4, 4, 4)]
    assert all((before | ~after).all() for before, after in itertools.pairwise(present))
    removed_in = sum(now.astype(int) for now in present)
    assert (np.diff(removed_in[np.argsort(-ranking.scores)]) <= 0).all(), "a later removed input ranks lower"


def test_neurofs__removes_and_exchanges_the_weakest_inputs(rng, samples):
    state, data = make_state(rng, *samples, epochs=10)
    ranking = NeuroFS(4, np.random.default_rng(0))
    budget = state.network.layers[0].topology.connections
    present, strengths = [], []
    for item in ranking.train(state, data):
        if isinstance(item, EpochRecord):
            present.append(ranking.active.copy())
        elif item.samples == item.samples_total:
            strengths.append(input_strength(state.network))
    # R = floor(0.8 x 30 - 4) = 20, linear from epoch 1 to 0.65 x 10
    removed = [int(20 * min(1, (epoch - 1) / 5.5)) for epoch in range(1, 10)]
    assert [30 - now.sum() for now in present[:9]] == removed
    assert state.network.layers[0].topology.connections <= budget
    assert not input_strength(state.network)[~ranking.active].any(), "a removed input has connections"
    assert np.argsort(ranking.scores)[-4:].tolist() != list(range(26, 30))
    old = present[0] & ~present[1]  # of epoch 2: the weakest of all
    assert strengths[1][old].max() <= strengths[1][~old].min()
    entered = [(after & ~before).sum() for before, after in itertools.pairwise(present)]
    expected = [int(0.2 * (1 - epoch / 10) * removed[epoch - 2]) for epoch in range(2, 10)]
    assert entered[:8] == expected
    assert sum(expected) > 0


def test_entryprune__scores_are_the_summed_gradients_of_the_batches_after_entry(rng, samples):
    x, y = samples[0].astype(np.float32), samples[1]
    state, data = make_state(rng, x, y, epochs=1, batch_size=24, learning_rate=0.05, momentum=0.8)
    ranking, gradient = EntryPrune(4, np.random.default_rng(0)), 0.0
    ranking.BATCHES = 5
    for batch, item in enumerate(ranking.train(state, data), start=1):
        if batch == 5:  # others entered, after five batches
            present, entered, before = ranking.present, ranking.entered, ranking.best.copy()
            assert len(present) == 4 + int(np.ceil(0.2 * 26))
            assert (~entered).sum() == 4
            assert not matrices(state.network)[0][present[entered]].any()
        if 5 <= batch < 10:
            rows = state.order[item.samples : item.samples + 24]
            workspace = Workspace(state.network.sizes, 32)
            gradient = gradient + tsnn.gradients(state.network, x[rows], y[rows], "classification", workspace)[0]
    scores = np.abs(gradient.reshape(len(present), 20)).sum(axis=1)
    scores = (scores - scores.mean()) / scores.std()
    expected = before.copy()
    expected[present[entered]] = np.maximum(before[present[entered]], scores[entered])
    np.testing.assert_allclose(ranking.best, expected, rtol=1e-2, atol=1e-3)
    assert set(np.argsort(-expected)[:4]) <= set(ranking.present)


def test_wast__adds_error_and_strength_after_every_batch(rng, samples):
    x = samples[0].astype(np.float32)
    state, data = make_state(rng, x, None, epochs=1, batch_size=60, optimizer="nesterov", density=(0.3, 0.3))
    ranking, expected = WAST(4, np.random.default_rng(0)), np.zeros(30)
    observed = []
    ranking_after = ranking.after_batch

    def after_batch(state, progress):
        network, rows = state.network.copy(), state.order[progress.samples - 60 : progress.samples]
        error = np.abs(tsnn.decision_values(network, x[rows], Workspace(network.sizes, 64)) - x[rows]).mean(axis=0)
        observed.append(0.4 * error + 0.6 * np.abs(matrices(network)[0]).sum(axis=1))
        ranking_after(state, progress)

    ranking.after_batch = after_batch
    connections = [layer.topology.connections for layer in state.network.layers]
    list(ranking.train(state, data))
    expected = sum(observed)
    np.testing.assert_allclose(ranking.scores, expected, rtol=1e-4)
    assert [layer.topology.connections for layer in state.network.layers] == connections


def test_autoencoder__targets_are_clean_and_inputs_noisy(rng, samples):
    x = samples[0].astype(np.float32)
    features = tsnn.datasets.as_features(x)
    rows, out = np.array([5, 2, 9]), np.full((30, 16), np.nan, np.float32)
    np.testing.assert_array_equal(Reconstruction(features)[rows], x[rows])
    NoisyFeatures(features, 0.2, rng).gather(rows, out)
    noise = out[:, :3].T - x[rows]
    assert 0.1 < noise.std() < 0.3
    assert not out[:, 3:].any()


@pytest.mark.compiled
@pytest.mark.parametrize("method", sorted({*SUPERVISED} - {"products"}))
def test_selector__supervised_methods_find_informative_features(samples, method):
    selector = SparseSelector(4, method=method, **SMALL | {"epochs": 30}).fit(*samples)
    assert len(set(selector.get_support(indices=True)) & {3, 7, 11, 20}) >= 3
    assert selector.transform(samples[0]).shape == (240, 4)
    assert selector.ranking_[selector.support_].max() == 4
    assert sorted(selector.ranking_) == list(range(1, 31))


@pytest.mark.compiled
@pytest.mark.parametrize("method", ["auto", "strength", "attribution", "elimination"])
def test_selector__finds_two_features_of_thousands_that_tell_the_classes(rng, method):
    """With far more features than samples training ends after few batches; the weights of the start remain."""
    y = np.arange(160) % 2
    x = rng.normal(size=(160, 5000))
    x[y == 1, 3210] += 2
    x[y == 1, 77] += 1.5
    selector = SparseSelector(5, method=method, random_state=0, threads=1, epochs=30).fit(x, y)
    assert selector.ranking_[[3210, 77]].max() <= 5
    assert selector.method_ != "products"


@pytest.mark.compiled
def test_selector__elimination_finds_features_that_complement_each_other(rng):
    signals = rng.normal(size=(600, 2))
    x = rng.normal(size=(600, 30))
    x[:, :6] = signals[:, :1] + 0.1 * x[:, :6]  # say the same
    x[:, 20] = signals[:, 1] + 0.5 * x[:, 20]
    y = (signals > 0) @ [2, 1]
    options = {"random_state": 0, "threads": 1}
    assert SparseSelector(2, method="strength", **options).fit(x, y).get_support(indices=True)[1] != 20
    first, second = SparseSelector(2, method="elimination", **options).fit(x, y).get_support(indices=True)
    assert first < 6
    assert second == 20


@pytest.mark.compiled
def test_selector__auto_finds_features_whose_product_decides(rng):
    x = rng.normal(size=(800, 40))
    y = (x[:, 7] * x[:, 30] > 0).astype(int)
    x[:, 12] = x[:, 7] + 0.1 * rng.normal(size=800)  # says the same
    selector = SparseSelector(3, random_state=0, threads=1).fit(x, y)
    assert selector.method_ in ("elimination", "products")
    assert selector.get_support(indices=True).tolist() == [7, 12, 30]


@pytest.mark.compiled
def test_selector__tries_a_smaller_rate_where_training_diverges(rng):
    x = rng.normal(size=(80, 12))
    y = 2 * x[:, 3] + x[:, 5]
    with pytest.raises(DivergenceError):
        SparseSelector(2, method="products", learning_rate=0.01, random_state=0, threads=1).fit(x, y)
    selector = SparseSelector(2, method="products", random_state=0, threads=1).fit(x, y)
    assert np.isfinite(selector.scores_).all()
    assert selector.estimator_.learning_rate < 0.01


@pytest.mark.compiled
def test_selector__wast_finds_features_that_tell_most_of_the_samples(rng):
    x = 0.1 * rng.normal(size=(300, 30))
    x[:, 10:16] += rng.normal(size=(300, 1))
    options = SMALL | {"hidden": (8,), "epochs": 20, "batch_size": 16, "preprocessing": "none"}
    selector = SparseSelector(6, method="wast", learning_rate=0.2, **options).fit(x)
    assert len(set(selector.get_support(indices=True)) & set(range(10, 16))) >= 5


def test_quickselection__scores_are_the_strength_before_the_last_evolution(rng, samples):
    x = samples[0].astype(np.float32)
    state, data = make_state(rng, x, None, activation="tanh", zeta=0.2)
    ranking, connections = QuickSelection(4, rng), state.network.connections
    before = [layer.topology for layer in state.network.layers]
    list(ranking.train(state, data))
    np.testing.assert_allclose(ranking.scores, np.abs(matrices(state.network)[0]).sum(axis=1), rtol=1e-5)
    assert state.network.connections == connections
    for layer, topology in zip(state.network.layers, before, strict=True):
        assert len(np.setdiff1d(layer.topology.keys(), topology.keys())), "both layers evolve"


@pytest.mark.parametrize("method", sorted(METHODS))
def test_selector__same_seed_same_bits_and_sparse_as_dense(samples, method):
    x, y = samples
    x = x * (x > 0.5)
    options = SMALL | {"epochs": 2, "preprocessing": "none"}
    dense, again, thin = (
        SparseSelector(4, method=method, **options).fit(values, y) for values in (x, x, sparse.csr_array(x))
    )
    np.testing.assert_array_equal(dense.scores_, again.scores_)
    np.testing.assert_allclose(thin.scores_, dense.scores_, rtol=1e-3)


def test_selector__threshold_and_fraction(samples):
    fit = lambda *a, **k: SparseSelector(*a, **SMALL | {"epochs": 1} | k).fit(*samples)  # noqa: E731
    assert fit().support_.sum() == 15
    assert fit(0.2).support_.sum() == 6
    mean = fit(threshold="mean")
    np.testing.assert_array_equal(mean.support_, mean.scores_ >= mean.scores_.mean())
    assert fit(3, threshold="mean").support_.sum() == 3
    assert not fit(threshold=1e9).support_.any()


def test_selector__numbers_as_targets_and_pipelines(rng):
    x = rng.normal(size=(200, 20))
    y = 3 * x[:, 4] - 2 * x[:, 9]
    pipeline = make_pipeline(SparseSelector(2, **SMALL | {"epochs": 30}), tsnn.SparseMLPRegressor(epochs=1))
    pipeline.fit(x, y)
    assert set(pipeline[0].get_support(indices=True)) == {4, 9}
    assert pipeline.predict(x).shape == (200,)


@pytest.mark.parametrize(
    ("parameters", "targets", "message"),
    [
        ({"n_features_to_select": 31}, True, "expected 1 to 30"),
        ({"n_features_to_select": 0}, True, "expected 1 to 30"),
        ({"n_features_to_select": 1.5}, True, "a fraction"),
        ({"method": "neuro_fs"}, True, "Did you mean 'neurofs'"),
        ({"threshold": "mode"}, True, "'mean', 'median'"),
        ({}, False, "quickselection"),
        ({"batch_size": 0}, True, "batch_size must be at least 1"),
        ({"epochs": 0}, True, "epochs must be at least 1"),
        ({"epsilon": "many"}, True, "epsilon must be a number"),
    ],
)
def test_selector__errors_say_what_to_try(samples, parameters, targets, message):
    selector = SparseSelector(**SMALL | {"epochs": 1} | parameters)
    with pytest.raises((DataError, ConfigError), match=message):
        selector.fit(samples[0], samples[1] if targets else None)


@pytest.mark.slow
@pytest.mark.compiled
@parametrize_with_checks([SparseSelector(epochs=5, hidden=(30,)), SparseSelector(method="wast", epochs=2)])
def test_selector__passes_the_checks_of_scikit_learn(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # else the checks of array types are skipped
    check(estimator)


@pytest.mark.slow
@pytest.mark.compiled
def test_selector__takes_wide_data(rng):
    x, y = rng.normal(size=(200, 20_000)).astype(np.float32), np.arange(200) % 2
    selector = SparseSelector(20, threads=1, random_state=0, epochs=2).fit(x, y)
    assert selector.transform(x).shape == (200, 20)


@pytest.mark.parametrize("method", ["strength", "wast"])
def test_selector__repeats_training_that_diverges_at_smaller_rates(samples, method, monkeypatch):
    rates = []

    def diverge(model, *_):
        rates.append(model.learning_rate)
        raise DivergenceError("too fast")

    monkeypatch.setattr("tsnn.estimator.selector.fit_ranked", diverge)
    with pytest.raises(DivergenceError):
        SparseSelector(4, method=method, **SMALL).fit(*samples)
    np.testing.assert_allclose(np.divide(rates[0], rates), [1, 10, 100])
