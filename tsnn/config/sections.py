"""Every setting of a run: its default, its range, its explanation. The only home of all three.

A :class:`Config` is immutable and valid by construction. The command line's options, the
dashboard's form and the TOML files are made from these fields, so what is said here is said
everywhere. Paper sections refer to arXiv 2102.01732 unless another source is named.
"""

from __future__ import annotations

import dataclasses
import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import tomli_w

from tsnn.config.presets import PRESETS
from tsnn.config.schema import Section, nearest, setting
from tsnn.errors import ConfigError


@dataclass(frozen=True)
class DataConfig(Section):
    """Which data to train on, and how it is prepared."""

    section: ClassVar[str] = "data"

    name: str = setting("fashion_mnist", "A known data set, or the path of a .npz, .csv or .parquet file.")
    size: str = setting(
        "auto",
        "'small' is the part shipped with tsnn, 'full' the whole set; 'auto' takes the full set if it is "
        "already on this machine.",
        choices=("auto", "small", "full"),
    )
    target: str | None = setting(None, "Target column of a .csv or .parquet file (default: the last column).")
    task: str = setting(
        "auto",
        "What is predicted; 'auto' reads it off the labels.",
        choices=("auto", "classification", "regression", "multilabel"),
    )
    test_fraction: float = setting(
        1 / 3, "Share of the samples kept for testing where there is no official split.", above=0, below=1
    )
    validation_fraction: float = setting(
        0.0,
        "Share of the training samples held back: they choose the epoch by which runs are compared; 0 keeps none.",
        at_least=0,
        below=1,
    )
    preprocessing: str = setting(
        "standard",
        "Scaling of the features, fitted on the training part only: zero mean and unit variance, "
        "the range 0 to 1, or none.",
        choices=("standard", "minmax", "none"),
    )


@dataclass(frozen=True)
class NetworkConfig(Section):
    """The network that training starts from."""

    section: ClassVar[str] = "network"

    topology: str = setting(
        "set",
        "'set' evolves a sparse topology, 'fixed' keeps the Erdős–Rényi start, 'dense' has every connection; "
        "'two_phase' is dense for half of the epochs, then pruned by magnitude to as many connections as epsilon "
        "grants, and retrained (arXiv 1901.09181).",
        choices=("set", "fixed", "dense", "two_phase"),
    )
    hidden: tuple[int, ...] = setting((1000, 1000, 1000), "Neurons of each hidden layer.", at_least=1)
    epsilon: float = setting(
        20.0,
        "Sparsity of the Erdős–Rényi start: a layer gets epsilon (n_in + n_out) connections "
        "(SET, Nature Communications 2018, Methods).",
        above=0,
    )
    activation: str = setting(
        "all_relu",
        "Activation of the hidden layers; All-ReLU alternates the sign of its negative slope (section 3.2).",
        choices=("all_relu", "relu", "leaky_relu"),
    )
    alpha: float = setting(
        0.6, "Negative slope: of All-ReLU, with alternating sign, or of leaky ReLU.", at_least=0, at_most=10
    )
    initializer: str = setting(
        "he_uniform",
        "Distribution of the weights at the start and of regrown connections.",
        choices=("he_uniform", "xavier_uniform", "normal"),
    )
    dropout: float = setting(
        0.3, "Share of the hidden neurons silenced at random in each training step.", at_least=0, below=1
    )


@dataclass(frozen=True)
class TrainingConfig(Section):
    """Momentum SGD and the evolution of the topology."""

    section: ClassVar[str] = "training"

    epochs: int = setting(100, "Passes over the training part.", at_least=1)
    batch_size: int = setting(128, "Samples per training step; the last step of an epoch may have fewer.", at_least=1)
    learning_rate: float = setting(0.01, "Step size eta of momentum SGD.", above=0)
    momentum: float = setting(0.9, "Momentum mu: v <- mu v - eta g, then w <- w + v - lambda w.", at_least=0, below=1)
    weight_decay: float = setting(
        2e-4, "Decay lambda of every weight at every step, not multiplied by the learning rate.", at_least=0, below=1
    )
    zeta: float = setting(
        0.3,
        "Share of each layer's connections that SET prunes and regrows after every epoch; 0 keeps the topology.",
        at_least=0,
        below=1,
    )
    prune: str = setting(
        "signed",
        "'signed' prunes the positive and the negative weights closest to zero, zeta of each; "
        "'magnitude' the smallest of all.",
        choices=("signed", "magnitude"),
    )
    regrow: str = setting(
        "random",
        "'random' regrows uniformly (SET); 'gradient' takes those of a random candidate set with the largest "
        "gradient (after RigL, arXiv 1911.11134, without forming a dense gradient).",
        choices=("random", "gradient"),
    )


@dataclass(frozen=True)
class ImportanceConfig(Section):
    """Importance pruning of hidden neurons (section 3.3)."""

    section: ClassVar[str] = "importance"

    percentile: float = setting(
        0.0,
        "Hidden neurons whose importance is at or below this percentile are pruned; 0 turns it off. "
        "The reference uses 20 (sequential) and 10 (parallel).",
        at_least=0,
        below=100,
    )
    start: int = setting(200, "First epoch of importance pruning (reference: 200 of 500).", at_least=1)
    every: int = setting(10, "Epochs between two prunings (reference: 10 sequential, 20 parallel).", at_least=1)


@dataclass(frozen=True)
class ParallelConfig(Section):
    """Training by several processes: one server and its workers, over MPI (section 3.4)."""

    section: ClassVar[str] = "parallel"

    workers: int = setting(0, "Worker processes, beside one that serves them; 0 trains in one process.", at_least=0)
    mode: str = setting(
        "wasap",
        "What happens to the workers' gradients: 'wasap' applies each at once, 'wassp' waits for all and applies "
        "their mean; 'local' lets every worker train by itself and averages the models now and then (local SGD, "
        "arXiv 1805.09767). Where means are taken, the learning rate is multiplied by the number of workers.",
        choices=("wasap", "wassp", "local"),
    )
    phase1_fraction: float = setting(
        0.7,
        "Share of the epochs in which the workers train one model (phase 1); in the others each trains its own copy "
        "on its share of the data, evolved after as many batches as in phase 1, and at the end the copies are averaged "
        "(phase 2).",
        at_least=0,
        at_most=1,
    )
    warmup: int = setting(
        5, "Epochs until 'wassp' and 'local' reach the multiplied learning rate (arXiv 1706.02677).", at_least=0
    )
    period: int = setting(16, "Batches between two averagings of 'local'.", at_least=1)


@dataclass(frozen=True)
class RunConfig(Section):
    """How the run is carried out; none of these but the seed changes a result."""

    section: ClassVar[str] = "run"

    seed: int = setting(0, "Same seed, same bits: on one machine, whatever the number of threads.", at_least=0)
    threads: int = setting(0, "Threads of the kernels; 0 takes every core available.", at_least=0)
    micro_batch: int = setting(
        0,
        "Samples of a batch that are processed at a time: fewer take less memory and change rounding only; "
        "0 takes as many as are fast, or as fit.",
        at_least=0,
    )
    compact: bool = setting(
        False,
        "Do without the index that the forward pass walks: 12 instead of 20 bytes per connection, more time. "
        "Chosen by itself where memory is short.",
    )
    ignore_memory: bool = setting(False, "Start even if the run is expected not to fit into the free memory.")
    checkpoint_minutes: float = setting(
        1.0,
        "Minutes between two checkpoints, from which 'tsnn resume' goes on; more if writing them would take over 5 % "
        "of the time. Parallel runs write one after every epoch, but for that. 0 leaves only that of the run's end.",
        at_least=0,
    )
    checkpoint_epochs: int = setting(
        0, "Epochs after which a checkpoint is written in any case; 0 leaves it to the minutes.", at_least=0
    )
    snapshots: int = setting(
        200, "Snapshots of the topology kept for replay; longer runs space them geometrically.", at_least=2
    )


@dataclass(frozen=True)
class Config:
    """All settings of a run, in six sections.

    Examples
    --------
    >>> config = Config.preset("madelon").replace({"training.epochs": 20, "training.zeta": 0.2})
    >>> config.network.hidden
    (400, 100, 400)
    """

    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    importance: ImportanceConfig = field(default_factory=ImportanceConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    run: RunConfig = field(default_factory=RunConfig)

    @classmethod
    def preset(cls, data: str) -> Config:
        """Return the papers' settings for a data set; the defaults where the papers have none.

        Parameters
        ----------
        data : str
            Name of a data set or path of a file.
        """
        return cls().replace({"data.name": data, **PRESETS.get(data, {})})

    @classmethod
    def from_dict(cls, sections: Mapping[str, Any]) -> Config:
        """Build a configuration from nested mappings, as :meth:`to_dict` gives them.

        Fields left out take the preset of the data set that is named, else the common defaults.

        Raises
        ------
        ConfigError
            If a section or field is unknown (the nearest known one is suggested) or a value is bad.
        """
        flat: dict[str, Any] = {}
        for section, values in sections.items():
            if section not in SECTIONS:
                raise ConfigError(f"Unknown section [{section}]{nearest(section, SECTIONS)}")
            if not isinstance(values, Mapping):
                raise ConfigError(f"[{section}] must hold settings, got {values!r}. Try {section}.<field> = value.")
            flat.update({f"{section}.{name}": value for name, value in values.items()})
        return (cls.preset(str(flat["data.name"])) if "data.name" in flat else cls()).replace(flat)

    @classmethod
    def from_toml(cls, path: str | Path) -> Config:
        """Read a configuration file; see :meth:`from_dict` for what it may leave out."""
        try:
            sections = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise ConfigError(f"Cannot read the configuration {path}: {error.strerror}.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not valid TOML: {error}.") from error
        return cls.from_dict(sections)

    def replace(self, settings: Mapping[str, Any]) -> Config:
        """Return a copy with settings changed, each named ``"section.field"``.

        Values may be Python values or, as on the command line, text in TOML notation.
        Raises :class:`ConfigError` for an unknown name or a bad value.
        """
        changes: dict[str, dict[str, Any]] = {}
        for name, value in settings.items():
            if name not in _all_fields():
                raise ConfigError(f"Unknown setting {name!r}{nearest(name, _all_fields())}")
            section, _, key = name.partition(".")
            changes.setdefault(section, {})[key] = value
        return dataclasses.replace(
            self, **{s: dataclasses.replace(getattr(self, s), **values) for s, values in changes.items()}
        )

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return plain nested dictionaries; fields that are None are left out (TOML has no null)."""
        return {
            section: {
                f.name: list(value) if isinstance(value, tuple) else value
                for f in dataclasses.fields(part)
                if (value := getattr(part, f.name)) is not None
            }
            for section, part in ((s, getattr(self, s)) for s in SECTIONS)
        }

    def to_toml(self) -> str:
        """Return the configuration as the text of a TOML file that :meth:`from_toml` reads."""
        return tomli_w.dumps(self.to_dict())

    def flat(self) -> dict[str, Any]:
        """Return every setting as one mapping ``{"section.field": value}``."""
        return {f"{s}.{k}": v for s, values in self.to_dict().items() for k, v in values.items()}


SECTIONS: dict[str, type[Section]] = {
    cls.section: cls for cls in (DataConfig, NetworkConfig, TrainingConfig, ImportanceConfig, ParallelConfig, RunConfig)
}

#: Settings that may be changed while a run trains, by the short name that a command uses.
LIVE_SETTINGS = {
    "zeta": "training.zeta",
    "epsilon": "network.epsilon",
    "learning_rate": "training.learning_rate",
    "dropout": "network.dropout",
    "percentile": "importance.percentile",
}


@functools.cache
def _all_fields() -> dict[str, dataclasses.Field[Any]]:
    return {f"{s}.{f.name}": f for s, cls in SECTIONS.items() for f in dataclasses.fields(cls)}


def describe(name: str) -> Mapping[str, Any]:
    """Return a setting's help text, limits and default, for forms and ``--help``.

    Parameters
    ----------
    name : str
        ``"section.field"``, e.g. ``"training.zeta"``.
    """
    f = _all_fields()[name]
    return {**f.metadata, "default": f.default}


def setting_names() -> list[str]:
    """Return the names ``"section.field"`` of all settings, in order."""
    return list(_all_fields())
