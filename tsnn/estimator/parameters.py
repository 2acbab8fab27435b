"""Parameters of the estimators: which settings of the engine they set, and their documentation."""

from __future__ import annotations

import textwrap
from typing import Any

from tsnn.config import Config, describe
from tsnn.errors import ConfigError

#: Settings of the engine by parameter; ``early_stopping`` draws its validation split as a run draws a test part.
SETTING_OF = {
    "hidden": "network.hidden",
    "method": "training.method",
    "epsilon": "network.epsilon",
    "density": "network.density",
    "allocation": "network.allocation",
    "activation": "network.activation",
    "alpha": "network.alpha",
    "initializer": "network.initializer",
    "dropout": "network.dropout",
    "dropout_schedule": "network.dropout_schedule",
    "epochs": "training.epochs",
    "batch_size": "training.batch_size",
    "optimizer": "training.optimizer",
    "learning_rate": "training.learning_rate",
    "learning_rate_schedule": "training.learning_rate_schedule",
    "warmup_epochs": "training.warmup_epochs",
    "momentum": "training.momentum",
    "weight_decay": "training.weight_decay",
    "weight_decay_schedule": "training.weight_decay_schedule",
    "zeta": "training.zeta",
    "zeta_schedule": "training.zeta_schedule",
    "evolve_every": "training.evolve_every",
    "evolve_until": "training.evolve_until",
    "start_factor": "training.start_factor",
    "prune": "training.prune",
    "regrow": "training.regrow",
    "new_weights": "training.new_weights",
    "chain_removal": "training.chain_removal",
    "precision": "training.precision",
    "importance_percentile": "importance.percentile",
    "importance_scope": "importance.scope",
    "importance_start": "importance.start",
    "importance_every": "importance.every",
    "preprocessing": "data.preprocessing",
    "validation_fraction": "data.test_fraction",
    "threads": "run.threads",
    "micro_batch": "run.micro_batch",
    "compact": "run.compact",
}

#: Parameters that may be "auto": a value that suits the shape of the data.
BY_SHAPE = (
    "hidden", "dropout", "epochs", "batch_size", "learning_rate", "learning_rate_schedule", "weight_decay",
    "preprocessing",
)  # fmt: skip

_OWN = """n_members : int or "auto"
    Networks with topologies and validation splits of their own, trained one after another and put together to one:
    its output sums are their means. "auto": up to 4 where ``hidden`` is "auto", else 1; 1 in ``partial_fit``.
    ``history_`` and ``best_epoch_`` are those of the first.
early_stopping : bool or "auto"
    Stop when the loss on the validation split no longer improves, and keep the best network. "auto": where there are at
    least 500 samples; never in ``partial_fit``.
validation_fraction : float
    Fraction of the samples in the validation split of early stopping, of each class.
n_iter_no_change : int
    Epochs without improvement that end the training.
tol : float
    A smaller improvement counts as none.
warm_start : bool
    Continue ``fit`` from the network that was fitted before.
random_state : int, RandomState or None
    Same number, same bits: on one machine, for any number of threads.
progress : bool
    Show a progress bar."""

_NOTES = {
    "preprocessing": "Sparse features are scaled without an offset. Each call of ``partial_fit``, and of ``fit`` with "
    "``warm_start``, refines the scaling by its samples; the network is adapted, so that it stays the same function. "
    "A factor of relevance is that of the first call; at its end it moves from the scaling to the weights."
}

_ATTRIBUTES = """network_ : Network
    The connections, layer by layer.
history_ : list of EpochRecord
    A record of each epoch; ``pandas.DataFrame(model.history_)`` makes a table. Its test figures are those of the
    validation split, NaN and None without.
best_epoch_ : int
    The epoch whose network was kept, counted from 1.
n_features_in_ : int
    Number of features.
feature_names_in_ : array of str
    Their names, if the features came as a table."""


#: What a network cannot change once it has been initialized.
_FIXED = ("hidden", "density", "allocation", "activation", "alpha", "initializer", "preprocessing")


def check_continues(old: Config, new: Config) -> None:
    """Raise a ConfigError if a network of the old settings cannot continue with the new ones."""
    was, now = old.flat(), new.flat()
    fixed = (*_FIXED, "method") if {old.training.method, new.training.method} & {"dense", "two_phase"} else _FIXED
    for name in fixed:
        setting = SETTING_OF[name]
        if was[setting] != now[setting]:
            given, present = (tuple(v) if isinstance(v, list) else v for v in (now[setting], was[setting]))
            raise ConfigError(
                f"{name} is {given!r}, but the network to continue with has {present!r}. "
                "Set it back, or start again: fit with warm_start=False."
            )


def parameters_doc() -> str:
    """Return the section "Parameters" of the estimators' docstrings, from the help texts of the settings."""
    lines = ["Parameters", "----------"]
    for name, setting in SETTING_OF.items():
        if name != "validation_fraction":
            about = describe(setting)
            auto = ' or "auto"' if name in BY_SHAPE else ""
            lines.append(f"{name} : {_kind(about.default, about.choices)}{auto}")
            text = f"{about.help} {_NOTES.get(name, '')}".strip()
            lines += textwrap.wrap(text, 110, initial_indent="    ", subsequent_indent="    ")
    return _indented("\n".join([*lines, _OWN]))


def attributes_doc() -> str:
    """Return the attributes that all estimators share, for their docstrings."""
    return _indented(_ATTRIBUTES)


def _kind(default: Any, choices: Any) -> str:
    if choices:
        return "{" + ", ".join(f'"{choice}"' for choice in choices) + "}"
    if isinstance(default, tuple):
        return "sequence of int" if default else "float or sequence of float"
    return type(default).__name__


def _indented(text: str) -> str:
    return textwrap.indent(text, "    ").strip()
