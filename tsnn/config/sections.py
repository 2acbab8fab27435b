"""Every setting of a run: default, range, help text, label, and whether it may be changed while the run trains.

A :class:`Config` is immutable and valid by construction. The command line's options, the dashboard's form and live
controls, TOML files, records and comparisons are derived from these fields.
Paper sections refer to arXiv 2102.01732 unless another source is named.
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
from tsnn.config.schema import Section, Setting, Slider, nearest, setting
from tsnn.errors import ConfigError
from tsnn.registry import ACTIVATIONS, PRUNING, REGROWTH


@dataclass(frozen=True)
class DataConfig(Section):
    """Which data to train on, and how it is prepared."""

    section: ClassVar[str] = "data"
    title: ClassVar[str] = "Data"

    name: str = setting("fashion_mnist", "A known data set, or the path of a .npz, .csv or .parquet file.")
    size: str = setting(
        "auto",
        "'small' is the part shipped with tsnn, 'full' the whole set; 'auto' takes the full set if it is "
        "already on this machine.",
        label="Size",
        choices=("auto", "small", "full"),
    )
    target: str | None = setting(None, "Target column of a .csv or .parquet file (default: the last column).")
    task: str = setting(
        "auto",
        "What is predicted; 'auto' reads it off the labels.",
        choices=("auto", "classification", "regression", "multilabel"),
    )
    test_fraction: float = setting(
        1 / 3, "Fraction of the samples kept for testing where there is no official split.", above=0, below=1
    )
    validation_fraction: float = setting(
        0.0,
        "Fraction of the training samples in the validation split: it chooses the epoch by which runs are compared; "
        "0 makes none.",
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
    title: ClassVar[str] = "Network"

    hidden: tuple[int, ...] = setting(
        (1000, 1000, 1000), "Neurons of each hidden layer.", label="Hidden layers", at_least=1
    )
    epsilon: float = setting(
        20.0,
        "Sparsity of the Erdős–Rényi start: a layer gets epsilon (n_in + n_out) connections "
        "(SET, Nature Communications 2018, Methods).",
        label="Epsilon ε",
        above=0,
        step=1.0,
        live=True,
        slider=Slider(1, 100),
    )
    activation: str = setting(
        "all_relu",
        "Activation of the hidden layers.",
        choices=ACTIVATIONS,
    )
    alpha: float = setting(
        0.6,
        "Negative slope of All-ReLU (with alternating sign) and of leaky ReLU.",
        label="Alpha (slope)",
        at_least=0,
        at_most=10,
    )
    initializer: str = setting(
        "he_uniform",
        "Distribution of the weights at the start and of regrown connections.",
        choices=("he_uniform", "xavier_uniform", "normal"),
    )
    dropout: float = setting(
        0.3,
        "Fraction of the hidden neurons dropped at random in each training step.",
        at_least=0,
        below=1,
        live=True,
        slider=Slider(0, 0.9, 0.05),
    )


@dataclass(frozen=True)
class TrainingConfig(Section):
    """Momentum SGD and the evolution of the topology."""

    section: ClassVar[str] = "training"
    title: ClassVar[str] = "Training and evolution"

    method: str = setting(
        "set",
        "How sparse the network is, and when: 'set' evolves a sparse topology, 'fixed' keeps the Erdős–Rényi start, "
        "'dense' has every connection; 'two_phase' is dense for half of the epochs, then pruned by magnitude to the "
        "number of connections that epsilon grants, and retrained (arXiv 1901.09181).",
        choices=("set", "fixed", "dense", "two_phase"),
    )
    epochs: int = setting(100, "Passes over the training part.", at_least=1)
    batch_size: int = setting(128, "Samples per training step; the last step of an epoch may have fewer.", at_least=1)
    learning_rate: float = setting(
        0.01,
        "Step size eta of momentum SGD.",
        label="Learning rate η",
        above=0,
        step=0.005,
        live=True,
        slider=Slider(1e-5, 1.0, logarithmic=True),
    )
    momentum: float = setting(0.9, "Momentum mu: v <- mu v - eta g, then w <- w + v - lambda w.", at_least=0, below=1)
    weight_decay: float = setting(
        2e-4,
        "Decay lambda of every weight at every step, not multiplied by the learning rate.",
        at_least=0,
        below=1,
        step=1e-4,
    )
    zeta: float = setting(
        0.3,
        "Fraction of each layer's connections that SET prunes and regrows after every epoch; 0 keeps the topology.",
        label="Zeta ζ",
        at_least=0,
        below=1,
        live=True,
        slider=Slider(0, 0.9, 0.01),
    )
    prune: str = setting("signed", "Which connections evolution prunes.", label="Pruning", choices=PRUNING)
    regrow: str = setting("random", "Where evolution puts new connections.", label="Regrowth", choices=REGROWTH)


@dataclass(frozen=True)
class ImportanceConfig(Section):
    """Importance pruning of hidden neurons (section 3.3)."""

    section: ClassVar[str] = "importance"
    title: ClassVar[str] = "Importance pruning"

    percentile: float = setting(
        0.0,
        "Hidden neurons whose importance is at or below this percentile are pruned; 0 turns it off. "
        "The reference uses 20 (sequential) and 10 (parallel).",
        label="Percentile (0 = off)",
        at_least=0,
        below=100,
        step=5.0,
        live=True,
        slider=Slider(0, 95),
    )
    start: int = setting(
        200, "First epoch of importance pruning (reference: 200 of 500).", label="First epoch", at_least=1
    )
    every: int = setting(
        10, "Epochs between two prunings (reference: 10 sequential, 20 parallel).", label="Every … epochs", at_least=1
    )


@dataclass(frozen=True)
class ParallelConfig(Section):
    """Training by several processes: one server and its workers, over MPI (section 3.4)."""

    section: ClassVar[str] = "parallel"
    title: ClassVar[str] = "Parallel training"

    workers: int = setting(0, "Worker processes; one more serves them. 0 trains in one process.", at_least=0)
    mode: str = setting(
        "wasap",
        "How the workers' gradients are applied: 'wasap' applies each at once; 'wassp' waits for all and applies their "
        "mean; 'local' lets each worker train its own copy and averages the copies periodically (local SGD, arXiv "
        "1805.09767). Where means are taken, the learning rate is multiplied by the number of workers.",
        choices=("wasap", "wassp", "local"),
    )
    phase1_fraction: float = setting(
        0.7,
        "Fraction of the epochs in which the workers train one model (phase 1). In the rest each trains its own copy "
        "on its shard of the data, evolved after the same number of batches as in phase 1; at the end the copies are "
        "averaged (phase 2).",
        at_least=0,
        at_most=1,
    )
    warmup: int = setting(
        5, "Epochs until 'wassp' and 'local' reach the multiplied learning rate (arXiv 1706.02677).", at_least=0
    )
    period: int = setting(16, "Batches between two averagings of 'local'.", at_least=1)


@dataclass(frozen=True)
class RunConfig(Section):
    """How the run is executed; of these only the seed and the micro-batch change a result."""

    section: ClassVar[str] = "run"
    title: ClassVar[str] = "Run"

    seed: int = setting(0, "Same seed, same bits: on one machine, for any number of threads.", at_least=0)
    threads: int = setting(0, "Threads of the kernels; 0 takes every core available.", at_least=0)
    micro_batch: int = setting(
        0,
        "Samples of a batch that are processed at a time: fewer take less memory and change rounding only; "
        "0 takes the number that is fastest. A run that does not fit into the free memory is refused with the number "
        "that does.",
        at_least=0,
    )
    compact: bool = setting(
        False,
        "Omit the transposed index of the forward pass: 12 instead of 20 bytes per connection, more time.",
    )
    ignore_memory: bool = setting(False, "Start even if the run is expected not to fit into the free memory.")
    checkpoint_minutes: float = setting(
        1.0,
        "Minutes between two checkpoints, from which 'tsnn resume' continues; more if writing them would take over 5 % "
        "of the time. Parallel runs write one after every epoch, within that limit. 0: one at the run's end only.",
        at_least=0,
    )
    checkpoint_epochs: int = setting(
        0, "Epochs after which a checkpoint is written in any case; 0: only by the minutes.", at_least=0
    )
    snapshots: int = setting(
        200, "Snapshots of the topology kept for replay; longer runs space them geometrically.", at_least=2
    )


@dataclass(frozen=True)
class Config:
    """All settings of a run, in six sections.

    Examples
    --------
    >>> config = Config.preset("madelon").replace(epochs=20, zeta=0.2)
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

    def replace(self, settings: Mapping[str, Any] | None = None, **short: Any) -> Config:
        """Return a copy with settings changed.

        Parameters
        ----------
        settings : mapping, optional
            New values by name: ``"training.zeta"``, or ``"zeta"`` where no other section has such a field.
            Python values or, as on the command line, text in TOML notation.
        **short
            The same, by names without section: ``config.replace(zeta=0.2)``.

        Raises
        ------
        ConfigError
            If a name is unknown or ambiguous, or a value is bad.
        """
        changes: dict[str, dict[str, Any]] = {}
        for name, value in {**(settings or {}), **short}.items():
            section, _, key = full_name(name).partition(".")
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

#: Settings that may be changed while a run trains: full names by short name.
LIVE_SETTINGS = {about.short: about.name for cls in SECTIONS.values() for about in cls.settings() if about.live}

#: Names that settings had in earlier versions.
_RENAMED = {"network.topology": "training.method", "topology": "training.method"}


def full_name(name: str) -> str:
    """Return the name ``"section.field"`` of a setting that may be given without its section.

    Raises
    ------
    ConfigError
        If there is no such setting, or more than one; the message lists candidates.
    """
    name = _RENAMED.get(name, name)
    known = setting_names()
    if name in known:
        return name
    candidates = [full for full in known if full.partition(".")[2] == name]
    if len(candidates) > 1:
        raise ConfigError(f"{name!r} may mean {' or '.join(map(repr, candidates))}. Name the section as well.")
    if not candidates:
        raise ConfigError(f"Unknown setting {name!r}{nearest(name, known)}")
    return candidates[0]


def describe(name: str) -> Setting:
    """Return what is known of a setting.

    Parameters
    ----------
    name : str
        ``"section.field"``, or the field alone: ``"training.zeta"``, ``"zeta"``.
    """
    section, _, key = full_name(name).partition(".")
    return next(about for about in SECTIONS[section].settings() if about.short == key)


@functools.cache
def setting_names() -> tuple[str, ...]:
    """Return the names ``"section.field"`` of all settings, in order."""
    return tuple(f"{section}.{f.name}" for section, cls in SECTIONS.items() for f in dataclasses.fields(cls))
