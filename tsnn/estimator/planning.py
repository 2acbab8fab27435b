"""Plan of a fit: the settings that suit the shape of the data, where parameters are "auto"."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import Any

from tsnn.config import Config
from tsnn.config.presets import is_wide, preset_for_shape
from tsnn.errors import ConfigError
from tsnn.estimator.fitting import Patience
from tsnn.estimator.parameters import SETTING_OF

AUTO = "auto"

_ENOUGH = 500  # samples; a validation split of fewer says little
_MEMBERS = 4
_STEPS = 4_000_000  # samples times epochs times members; more members than that take longer than a dense network


@dataclass(frozen=True)
class Plan:
    """Settings of a fit, number of its networks, and its patience.

    Attributes
    ----------
    config : Config
        Settings of each member.
    members : int
        Number of networks.
    patience : Patience, optional
        When to stop early; None: train to the end.
    attempts : sequence of float
        Learning rates to try where training diverges; none if the rate was given.
    """

    config: Config
    members: int
    patience: Patience | None
    attempts: tuple[float, ...] = ()

    def slower(self, config: Config) -> Config | None:
        """Return the settings with the next smaller learning rate to try; None if there is none."""
        rates = [rate for rate in self.attempts if rate < config.training.learning_rate]
        return config.replace({"training.learning_rate": max(rates)}) if rates else None


def make_plan(
    parameters: dict[str, Any], task: str, n_samples: int, n_features: int, *, present: Config | None, one_pass: bool
) -> Plan:  # fmt: skip
    """Return the plan of a fit.

    Parameters
    ----------
    parameters : dict
        Of the estimator; "auto" leaves a value to the shape of the data (:func:`tsnn.config.presets.preset_for_shape`).
    task : str
        As in ``data.task``.
    n_samples, n_features : int
        Shape of the samples.
    present : Config, optional
        Settings of the network to continue with: "auto" keeps them, except for the number of epochs.
    one_pass : bool
        Whether it is one pass of many: rates stay constant, and one member trains to the end.

    Raises
    ------
    ConfigError
        If a parameter is out of range; names it.
    """
    members, patience = parameters["n_members"], Patience(parameters["n_iter_no_change"], parameters["tol"])
    if patience.epochs < 1 or not patience.tol >= 0:
        raise ConfigError(
            f"n_iter_no_change must be at least 1 and tol at least 0; got {patience.epochs} and {patience.tol}."
        )
    stopping = parameters["early_stopping"]
    stopping = n_samples >= _ENOUGH if _is_auto(stopping) else bool(stopping)
    stopping = stopping and not one_pass
    suited = preset_for_shape(n_samples, n_features, task=task, keeps_best=stopping)
    chosen = Config.preset("", task).flat() | suited
    if one_pass:  # of a few samples, which tell neither a schedule nor which features matter
        chosen |= {"training.learning_rate_schedule": "constant", "data.preprocessing": "standard"}
    if parameters["optimizer"] == "adamw":  # whose steps do not depend on the size of the gradient
        chosen["training.learning_rate"] /= 10
    if present is not None:
        chosen = present.flat() | {
            name: chosen[name] for name in ("training.epochs", "training.learning_rate_schedule")
        }
    values = {setting: parameters[name] for name, setting in SETTING_OF.items()}
    try:
        config = Config().replace({name: chosen[name] if _is_auto(v) else v for name, v in values.items()})
    except ConfigError as error:
        raise ConfigError(_with_parameters(str(error))) from None
    if _is_auto(members):
        whole = _is_auto(parameters["hidden"]) and not one_pass and not is_wide(n_samples, n_features)
        members = max(1, min(_MEMBERS, _STEPS // (n_samples * config.training.epochs))) if whole else 1
    elif (members := _whole(members)) < 1:
        raise ConfigError(
            f"n_members must be a whole number of at least 1, or 'auto'; got {parameters['n_members']!r}."
        )
    alone = present is not None or not config.network.hidden
    rate = config.training.learning_rate
    attempts = (rate / 10, rate / 100) if _is_auto(parameters["learning_rate"]) else ()
    return Plan(config, 1 if alone else members, patience if stopping else None, attempts)


def _with_parameters(text: str) -> str:
    """Return a message with the names of parameters in place of those of settings."""
    for name, setting in SETTING_OF.items():
        text = re.sub(rf"\b{re.escape(setting)}\b", name, text)
    return text


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == AUTO


def _whole(value: Any) -> int:
    """Return a whole number; 0 for anything else."""
    try:
        return 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return 0
