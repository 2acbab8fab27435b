"""Fixtures for all tests: small data and networks, fast also without JIT; a store that leaves no process behind."""

import os
from pathlib import Path

os.environ.pop("TSNN_DATA", None)  # the tests use bundled and artificial data only
os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # tests run in parallel; more threads than cores stall each other

import numpy as np
import pytest

pytest.register_assert_rewrite("tests.support")  # before they are imported

from hypothesis import HealthCheck, settings

from tests.support.processes import clean_store
from tsnn.config import Config
from tsnn.datasets import make_dataset

# The first call of a kernel may compile it.
settings.register_profile("tsnn", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tsnn")

FOLDER = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items):
    """Mark the tests of the page as browser tests, and tests that need more than this process as slow.

    On a busy machine the browser can lose a click or a key: its tests have a second try, which the summary lists.
    """
    for item in items:
        if item.path.is_relative_to(FOLDER / "e2e"):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.flaky(reruns=1))
        if any(item.get_closest_marker(name) for name in ("browser", "mpi", "nojit")):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def _default_runs(tmp_path, monkeypatch):
    """Give each test a default folder of runs of its own; others run at the same time."""
    monkeypatch.setenv("TSNN_RUNS", str(tmp_path / "default_runs"))


@pytest.fixture
def rng():
    """Random generator with a fixed seed."""
    return np.random.default_rng(7)


@pytest.fixture
def fresh_rng():
    """Random generator with another seed in each run of the tests, printed when the test fails."""
    seed = int(os.environ.get("TSNN_TEST_SEED") or np.random.SeedSequence().entropy % 2**32)
    print(f"To repeat: TSNN_TEST_SEED={seed}")  # noqa: T201
    return np.random.default_rng(seed)


@pytest.fixture
def store(tmp_path):
    """Empty folder of runs; at the end of the test their processes are killed."""
    with clean_store(tmp_path / "runs") as store:
        yield store


@pytest.fixture
def blobs(rng):
    """Three classes in 12 features, easy for a tiny network: 90 training samples, 45 test samples."""
    centres = rng.normal(size=(3, 12)) * 2
    y = np.arange(135) % 3
    x = centres[y] + rng.normal(size=(135, 12))
    return make_dataset(x, y, rng=rng)


@pytest.fixture
def tiny():
    """Settings for blobs: three sparse hidden layers of ten neurons; batches of 32, the last of 26."""
    return Config().replace(
        {
            "network.hidden": [10, 10, 10],
            "network.epsilon": 2,
            "network.dropout": 0.1,
            "training.epochs": 3,
            "training.batch_size": 32,
            "training.learning_rate": 0.05,
        }
    )


@pytest.fixture
def filed(tiny, tmp_path, rng):
    """Settings that train on a file of blobs."""
    y = np.arange(135) % 3
    path = tmp_path / "blobs.npz"
    np.savez(path, X=rng.normal(size=(135, 12)) + 3 * rng.normal(size=(3, 12))[y], y=y)
    return tiny.replace({"data.name": str(path)})
