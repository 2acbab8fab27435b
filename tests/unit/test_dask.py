"""Estimators under joblib's Dask backend, on processes of this machine."""

import joblib
import numpy as np
import pytest
import sklearn.datasets
from sklearn.model_selection import GridSearchCV

import tsnn

distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", protocol="tcp",
            local_directory=str(tmp_path_factory.mktemp("dask")),
        ) as cluster,
        distributed.Client(cluster) as client,
    ):  # fmt: skip
        yield client


@pytest.fixture(scope="module")
def data():
    x, y = sklearn.datasets.load_digits(return_X_y=True)
    return x[:300], y[:300]


def search(x, y):
    model = tsnn.SparseMLPClassifier(hidden=(20,), epochs=3, random_state=0)
    return GridSearchCV(model, {"zeta": [0.0, 0.3], "epsilon": [2, 5]}, cv=2).fit(x, y)


def test_grid_search__gives_the_same_under_dask(client, data):
    here = search(*data)
    with joblib.parallel_config("dask"):
        there = search(*data)
    np.testing.assert_array_equal(here.cv_results_["mean_test_score"], there.cv_results_["mean_test_score"])
    assert here.best_params_ == there.best_params_
    np.testing.assert_array_equal(here.predict(data[0]), there.predict(data[0]))


def test_fit__in_threads_of_one_worker_gives_the_same(client, data):
    """Several threads of a worker fit at the same time."""
    x, y = data
    models = [tsnn.SparseMLPClassifier(hidden=(20,), epochs=2, zeta=zeta, random_state=0) for zeta in (0.0, 0.3) * 2]
    here = [model.fit(x, y).predict_proba(x) for model in models]
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=True, dashboard_address="127.0.0.1:0"
        ) as cluster,
        distributed.Client(cluster) as own,
    ):
        there = own.gather(own.map(lambda model: model.fit(x, y).predict_proba(x), models, pure=False))
    for a, b in zip(here, there, strict=True):
        np.testing.assert_array_equal(a, b)


def test_error__of_a_worker_arrives(client, data):
    model = tsnn.SparseMLPClassifier(zeta=7.0)
    with joblib.parallel_config("dask"), pytest.raises(ValueError, match="zeta"):
        GridSearchCV(model, {"epsilon": [2]}, cv=2, error_score="raise").fit(*data)
