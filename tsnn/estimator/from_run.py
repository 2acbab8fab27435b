"""Fitted estimators of recorded runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsnn.config import LIVE_SETTINGS, Config
from tsnn.engine.network import Network
from tsnn.engine.state import TrainingState
from tsnn.errors import ConfigError, RunError
from tsnn.estimator.classifier import SparseMLPClassifier
from tsnn.estimator.parameters import SETTING_OF
from tsnn.estimator.regressor import SparseMLPRegressor
from tsnn.formats.runs import final_network
from tsnn.records import EpochRecord, RunState
from tsnn.runs import Run, RunStore
from tsnn.runs.features import feature_names

#: Parameters whose settings describe another part of the data than the estimators' validation split.
_OWN = ("validation_fraction",)

Model = SparseMLPClassifier | SparseMLPRegressor


def load_model(run: Run | str) -> Model:
    """Return the network that a run ended with as a fitted estimator.

    It predicts from features as they were given to the run, before scaling, with one column for each level of a column
    of text (``feature_names_in_``); :func:`tsnn.estimator.predictions.predict_file` prepares them
    from a file. It can be pickled, saved and
    trained further.

    Parameters
    ----------
    run : Run or str
        A run that has ended, or its name in the folder of runs (TSNN_RUNS, else ``./runs``).

    Returns
    -------
    model : SparseMLPClassifier or SparseMLPRegressor
        The classes of a classifier are integers or booleans where their names are, else text.

    Raises
    ------
    RunError
        If there is no such run, or it has no weights, or they are damaged.

    Examples
    --------
    >>> model = tsnn.load_model("20260102-101500-iris-3f2a")
    >>> model.predict(X)
    """
    run = RunStore().open(run) if isinstance(run, str) else run
    network, data, history = final_network(run), run.meta().get("data", {}), run.records()
    names = feature_names(run)
    config = _final_config(run, history)
    settings = config.flat()
    parameters = {name: settings[setting] for name, setting in SETTING_OF.items() if name not in _OWN}
    parameters["hidden"] = config.network.hidden
    if data.get("task") not in ("classification", "multilabel", "regression"):
        raise RunError(f"Run {run.id} does not record its task (meta.json). Train it again.")
    model: Model
    if data["task"] == "regression":
        model = SparseMLPRegressor(**parameters, random_state=config.run.seed)
        _set_targets(model, network, data)
    else:
        model = SparseMLPClassifier(**parameters, random_state=config.run.seed)
        _set_classes(model, data["task"], data.get("class_names") or (), network)
    _set_network(model, network, config, history)
    model._state.evolution_due = run.status()["state"] == RunState.FINISHED
    model.n_features_in_ = network.sizes[0]
    if names:
        model.feature_names_in_ = np.array(names, dtype=object)
    return model


def _final_config(run: Run, history: Sequence[EpochRecord]) -> Config:
    """Return a run's settings, with the changes that were made while it trained."""
    config = run.config()
    settings = history[-1].settings if history else {}
    try:
        return config.replace({LIVE_SETTINGS[name]: value for name, value in settings.items() if name in LIVE_SETTINGS})
    except ConfigError:
        return config


def _set_network(model: Model, network: Network, config: Config, history: list[EpochRecord]) -> None:
    """Set the network, the scaling of features, and the state from which training would continue."""
    n = network.sizes[0]
    model._offset, model._scale = network.scaling or (np.zeros(n), np.ones(n))
    network.scaling = model._offset, model._scale
    model._rng = np.random.default_rng(config.run.seed)
    model._state = TrainingState.begin(network, config, rng=model._rng)
    model._state.events = []
    model._state.epoch = model.best_epoch_ = history[-1].epoch if history else 0
    model.history_ = history


def _set_targets(model: SparseMLPRegressor, network: Network, data: Mapping[str, Any]) -> None:
    """Set the scaling of targets, and take it out of the network, which is saved to answer in the targets' units."""
    n = network.sizes[-1]
    offset, scale = data.get("target_offset"), data.get("target_scale")
    model._flat = n == 1
    model._target_offset = np.zeros(n) if offset is None else np.asarray(offset, np.float64)
    model._target_scale = np.ones(n) if scale is None else np.asarray(scale, np.float64)
    model._target_spread = 1 / model._target_scale
    last = network.layers[-1]
    last.weights *= model._target_scale[last.topology.indices].astype(np.float32)
    last.bias[:] = (last.bias - model._target_offset) * model._target_scale


def _set_classes(model: SparseMLPClassifier, task: str, names: Sequence[str], network: Network) -> None:
    n = network.sizes[-1]
    model._task = task
    if task == "multilabel":
        model.classes_ = np.arange(n)
    else:
        model.classes_ = _classes(names if len(names) == n else [str(i) for i in range(n)])


def _classes(names: Sequence[str]) -> NDArray[Any]:
    """Return classes from their names: as integers or booleans where all names are written so, else as text."""
    if tuple(names) == ("False", "True"):
        return np.array([False, True])
    if all(name.lstrip("-").isdecimal() and name.isascii() and name == str(int(name)) for name in names):
        return np.array([int(name) for name in names])
    return np.array(names, dtype=str)
