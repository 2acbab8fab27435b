"""Tests of the scaling of features by their relevance."""

import numpy as np
import pytest
from scipy import sparse

from tsnn import SparseMLPClassifier, SparseMLPRegressor, SparseSelector
from tsnn.datasets import make_dataset
from tsnn.datasets.preparation import measure
from tsnn.datasets.relevance import relevance
from tsnn.errors import ConfigError


def explained(x, targets):
    """Return the part of each feature's variance that regression on targets explains."""
    centred = x - x.mean(axis=0)
    columns = targets - targets.mean(axis=0)
    fitted = columns @ np.linalg.lstsq(columns, centred, rcond=None)[0]
    return np.square(fitted).sum(axis=0) / np.square(centred).sum(axis=0)


def naive(x, targets):
    parts = explained(x, targets)
    return np.sqrt(parts / parts.mean())


@pytest.fixture
def wide(rng):
    """Two classes in 1500 features, of which the first 20 shift a little."""
    y = np.arange(60) % 2
    x = rng.normal(3, 2, size=(60, 1500))
    x[:, :20] += 2.5 * y[:, np.newaxis]
    return x, y


def test_relevance__is_the_correlation_ratio_of_classes_and_the_correlation_with_numbers(rng):
    x, classes, number = rng.normal(100, [1, 5, 0.1, 2], size=(90, 4)), rng.integers(3, size=90), rng.normal(size=90)
    x[:, 0] += classes
    x[:, 3] -= number
    moments = measure(x, None, "standard")
    found = relevance(x, None, classes, "classification", moments)
    np.testing.assert_allclose(found, naive(x, np.eye(3)[classes]), rtol=1e-9)
    assert np.mean(found**2) == pytest.approx(1)
    found = relevance(x, None, number, "regression", moments)
    np.testing.assert_allclose(found, naive(x, number[:, np.newaxis] - number.mean()), rtol=1e-9)
    assert found[3] > found[1]
    root = relevance(x, None, classes, "classification", moments, kind="root_relevance")
    larger = np.maximum(*(np.sqrt(explained(values, np.eye(3)[classes])) for values in (x, (x - x.mean(axis=0)) ** 2)))
    np.testing.assert_allclose(root, np.sqrt(larger / np.mean(larger)), rtol=1e-9)
    constant = relevance(x, None, np.full(90, 2.0), "regression", moments)
    np.testing.assert_array_equal(constant, 1)


def test_relevance__finds_features_that_tell_by_their_distance_from_the_mean(rng):
    x = rng.normal(5, 3, size=(500, 4))
    y = (abs(x[:, 2] - 5) > 2).astype(np.int64)
    found = relevance(x, None, y, "classification", measure(x, None, "standard"), kind="root_relevance")
    assert found[2] > 2 * np.delete(found, 2).max()


def test_relevance__leaves_a_trace_of_features_that_tell_nothing():
    x = np.array([[0.0, 1, 5], [1, 1, 5], [0, 2, 5], [1, 2, 5]])
    found = relevance(x, None, np.array([0, 0, 1, 1]), "classification", measure(x, None, "standard"))
    assert 0 < found[0] < 1e-5 < 1 < found[1]


@pytest.mark.parametrize("task", ["classification", "multilabel"])
def test_relevance__counts_weights_as_repeated_samples_also_of_sparse_features(rng, task):
    x = rng.normal(size=(40, 30)) * (rng.random((40, 30)) < 0.4)
    y = rng.integers(3, size=40) if task == "classification" else (rng.random((40, 2)) < 0.4).astype(np.float32)
    weights = rng.integers(1, 4, size=40)
    rows = np.repeat(np.arange(40), weights)
    moments = measure(x, None, "standard", weights.astype(float))
    for kind in ("relevance", "root_relevance"):
        expected = relevance(x, rows, y[rows], task, measure(x, rows, "standard"), kind=kind)
        for form in (np.asarray, sparse.csr_array):
            found = relevance(form(x), None, y, task, moments, weights.astype(float), kind=kind)
            np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_make_dataset__takes_the_relevance_from_the_training_part_alone(wide):
    x, y = wide
    parts = (x[:40], y[:40], x[40:], y[40:])
    data, standard = (make_dataset(*parts, preprocessing=kind) for kind in ("relevance", "standard"))
    np.testing.assert_array_equal(data.scaling[0], standard.scaling[0])
    factor = relevance(x[:40], None, y[:40], "classification", measure(x[:40], None, "standard"))
    np.testing.assert_allclose(data.scaling[1], standard.scaling[1] * factor)
    changed = make_dataset(x[:40], y[:40], x[40:], 1 - y[40:], preprocessing="relevance")
    np.testing.assert_array_equal(changed.scaling[1], data.scaling[1])


def test_classifier__finds_the_few_features_of_wide_data_at_its_defaults(wide, tmp_path):
    x, y = wide
    half = {"random_state": 0, "epochs": 10, "hidden": (50,)}
    model = SparseMLPClassifier(**half).fit(x[:40], y[:40])
    standard = SparseMLPClassifier(**half, preprocessing="standard").fit(x[:40], y[:40])
    assert model.score(x[40:], y[40:]) >= standard.score(x[40:], y[40:]) + 0.1
    top = np.argsort(-model.feature_importances_)[:20]
    assert (top < 20).sum() > (np.argsort(-standard.feature_importances_)[:20] < 20).sum()
    plain = measure(x[:40], None, "standard").scaling("standard")
    np.testing.assert_allclose(model.network_.scaling, plain, err_msg="the factors are in the weights now")
    model.save(tmp_path / "model.npz")
    model = SparseMLPClassifier.load(tmp_path / "model.npz").partial_fit(x[40:], y[40:])
    np.testing.assert_allclose(model.network_.scaling, measure(x, None, "standard").scaling("standard"))
    assert model.score(x, y) > 0.9


def test_regressor__standardises_first_batches_and_narrow_data(rng):
    x, y = rng.normal(size=(12, 400)), rng.normal(size=12)
    options = {"random_state": 0, "epochs": 2, "hidden": (5,)}
    kinds = [
        model._state.config.data.preprocessing
        for model in (
            SparseMLPRegressor(**options).fit(x, y),
            SparseMLPRegressor(**options).partial_fit(x, y),
            SparseMLPRegressor(**options).fit(x[:, :100], y),
        )
    ]
    assert kinds == ["relevance", "standard", "standard"]
    model = SparseMLPClassifier(**options).fit(x[:, :100], x[:, 0] > 0)
    assert model._state.config.data.preprocessing == "root_relevance"


def test_selector__refuses_relevance(wide):
    with pytest.raises(ConfigError, match="preprocessing is 'relevance'; expected one of 'standard'"):
        SparseSelector(5, preprocessing="relevance").fit(*wide)
