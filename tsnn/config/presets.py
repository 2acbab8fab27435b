"""Presets: the papers' settings for their data sets, and settings for regression."""

from __future__ import annotations

from typing import Any

#: The papers' settings by data set (arXiv 2102.01732, tables 1 and 2), where they differ from the defaults.
PRESETS: dict[str, dict[str, Any]] = {
    "fashion_mnist": {"training.epochs": 500},
    "mnist": {"training.epochs": 500},
    "cifar10": {"network.hidden": (4000, 1000, 4000), "network.alpha": 0.75, "training.epochs": 500},
    "madelon": {
        "network.hidden": (400, 100, 400),
        "network.epsilon": 10.0,
        "network.alpha": 0.5,
        "training.batch_size": 32,
        "training.epochs": 500,
    },
    "higgs": {"network.epsilon": 10.0, "network.alpha": 0.05, "training.epochs": 500},
    "artificial": {  # he_uniform's weights are too small for layers this wide
        "network.hidden": (500_000, 500_000),
        "network.epsilon": 10.0,
        "network.alpha": 0.5,
        "network.initializer": "normal",
        "training.learning_rate": 4e-5,
        "training.epochs": 10,
    },
    "leukemia": {
        "network.hidden": (27500, 27500),
        "network.epsilon": 10.0,
        "network.alpha": 0.75,
        "training.learning_rate": 0.005,
        "training.batch_size": 5,
        "training.epochs": 500,
    },
}

#: Settings for regression on other data, as in :class:`tsnn.SparseMLPRegressor`: with those for classification the
#: squared error of scaled targets mostly diverges, and three hidden layers of 1000 learn slowly.
REGRESSION: dict[str, Any] = {
    "network.hidden": (500, 500),
    "network.activation": "relu",
    "network.initializer": "xavier_uniform",
    "training.batch_size": 32,
    "training.learning_rate": 0.001,
}
