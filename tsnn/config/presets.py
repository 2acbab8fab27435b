"""Presets: settings for known data sets, ours and the papers', and suggestions for other data by task and shape."""

from __future__ import annotations

from typing import Any

#: The papers' settings by data set (arXiv 2102.01732, tables 1 and 2), where they differ from the defaults.
PAPERS: dict[str, dict[str, Any]] = {
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

#: Settings with which tens of epochs are enough: the learning rate falls to 0, and evolution ends before it does: late
#: new connections could not learn. At 0.2 training diverges; dense networks need a fraction of it.
SHORT: dict[str, Any] = {
    "network.dropout": 0.2,
    "training.learning_rate": 0.08,
    "training.learning_rate_schedule": "cosine",
    "training.warmup_epochs": 1,
    "training.weight_decay": 0.0,
    "training.evolve_until": 0.75,
}

#: Ours by data set, chosen on validation samples.
OURS: dict[str, dict[str, Any]] = {
    "fashion_mnist": {**SHORT, "training.epochs": 60},
    "mnist": {**SHORT, "training.epochs": 30},
    "cifar10": {**PAPERS["cifar10"], **SHORT, "training.learning_rate": 0.03, "training.epochs": 30},
    "digits": {  # few enough connections to draw them all, and pixels that tell nothing lose theirs
        "data.preprocessing": "minmax",
        "network.hidden": (40, 40),
        "network.epsilon": 3.0,
        "network.dropout": 0.0,
        "training.batch_size": 32,
        "training.epochs": 100,
        "training.learning_rate": 0.03,
        "training.weight_decay": 0.0,
        "training.regrow": "gradient",
    },
}

#: Prefix of the names of the papers' presets.
PAPER = "paper/"
#: All presets by name: a data set, such as "cifar10" (ours; where there are none, the papers'), or "paper/cifar10".
PRESETS = {**PAPERS, **OURS, **{PAPER + name: settings for name, settings in PAPERS.items()}}

#: Settings for regression on other data, as in :class:`tsnn.SparseMLPRegressor`: with those for classification the
#: squared error of scaled targets mostly diverges, and three hidden layers of 1000 learn slowly.
REGRESSION: dict[str, Any] = {
    "network.hidden": (500, 500),
    "network.activation": "relu",
    "network.initializer": "xavier_uniform",
    "training.batch_size": 32,
    "training.learning_rate": 0.001,
}

#: Settings that a preset or :func:`preset_for_shape` may choose for data that have no preset of their own.
BY_SHAPE = (REGRESSION.keys() | PAPERS["madelon"].keys()) - {"training.epochs"}

_WIDE = 20  # features for each sample, as in data of microarrays
_FEW_FEATURES = 100
_FEW_SAMPLES = 10_000


def preset_for_shape(
    n_samples: int, n_features: int, image_shape: tuple[int, ...] | None = None, *, task: str = "classification"
) -> dict[str, Any]:
    """Return suggested settings for data of this shape, where they differ from the defaults.

    Images and large tables: the defaults, which are the papers' for Fashion-MNIST. Wide tables: small batches and a
    small step, as the papers use for microarrays. Other small tables: the papers' settings for Madelon; with few
    features a smaller network.

    Parameters
    ----------
    n_samples : int
        Samples of the training part.
    n_features : int
        Features.
    image_shape : tuple of int, or None
        Shape of a sample that is an image.
    task : str
        For regression, only settings that :data:`REGRESSION` leaves open, and the hidden layers.
    """
    settings = _settings_for_shape(n_samples, n_features, image_shape)
    if task != "regression":
        return settings
    own = REGRESSION.keys() - {"network.hidden"} | {"network.alpha"}
    return {name: value for name, value in settings.items() if name not in own}


def _settings_for_shape(n_samples: int, n_features: int, image_shape: tuple[int, ...] | None) -> dict[str, Any]:
    if n_features > _WIDE * n_samples:
        return {
            "network.hidden": (500, 500),
            "network.epsilon": 10.0,
            "network.activation": "relu",
            "training.batch_size": 5,
            "training.learning_rate": 0.005,
        }
    if image_shape or n_samples > _FEW_SAMPLES:
        return {} if image_shape or n_features > _FEW_FEATURES else {"network.hidden": (200, 100)}
    if n_features <= _FEW_FEATURES:
        return {"network.hidden": (200, 100), "network.epsilon": 10.0, "training.batch_size": 32}
    return {name: value for name, value in PAPERS["madelon"].items() if name != "training.epochs"}
