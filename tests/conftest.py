"""Data and networks small enough for every test, also without JIT."""

import os

os.environ.pop("TSNN_DATA", None)  # the tests need nothing but the package

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tsnn.config import Config
from tsnn.datasets import make_dataset

# The first call of a kernel may compile it.
settings.register_profile("tsnn", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tsnn")


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def blobs(rng):
    """Three classes in 12 features that even a tiny network tells apart: 90 training, 45 test samples."""
    centres = rng.normal(size=(3, 12)) * 2
    y = np.arange(135) % 3
    x = centres[y] + rng.normal(size=(135, 12))
    return make_dataset(x, y, rng=rng)


@pytest.fixture
def tiny():
    """Settings for blobs: three hidden layers of ten neurons, sparse; batches of 32, so the last has 26."""
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
