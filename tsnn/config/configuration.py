"""Configuration of a run: all sections together, immutable and valid by construction; names of settings."""

from __future__ import annotations

import dataclasses
import functools
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import tomli_w

from tsnn.config.presets import PAPER, PRESETS, REGRESSION
from tsnn.config.schema import Section, Setting, nearest, shortened
from tsnn.config.sections import (
    DataConfig,
    ImportanceConfig,
    NetworkConfig,
    ParallelConfig,
    RunConfig,
    TrainingConfig,
)
from tsnn.errors import ConfigError
from tsnn.files import read_bounded


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

    def __post_init__(self) -> None:
        every, optimizer = self.training.evolve_every, self.training.optimizer
        if self.parallel.workers and optimizer != "sgd":
            raise ConfigError(
                f"training.optimizer={optimizer!r} trains in one process: the server and its workers exchange weights "
                "and velocities only. Set training.optimizer='sgd', or parallel.workers=0."
            )
        if self.parallel.workers and not every.is_integer():
            raise ConfigError(
                f"training.evolve_every={every:g} evolves between two batches, but workers train on one topology for "
                "an epoch. Give a whole number of epochs, or set parallel.workers=0."
            )

        if self.run.compact and self.training.precision == "bfloat16":
            raise ConfigError(
                "run.compact adds up sums in the activations, which training.precision='bfloat16' would round at every "
                "connection. Set run.compact=False, or training.precision='float32'."
            )

    @property
    def last_evolution(self) -> float:
        """Epochs until the last evolution that ``evolve_until`` allows, of phase 1 if there are workers; 0: none."""
        training, parallel = self.training, self.parallel
        epochs = min(training.evolve_until * training.epochs, training.epochs - 1)
        if parallel.workers:
            epochs = min(epochs, round(parallel.phase1_fraction * training.epochs))
        return training.evolve_every * math.floor(epochs / training.evolve_every + 1e-9)

    @classmethod
    def preset(cls, data: str, task: str = "auto") -> Config:
        """Return the settings for a data set; where there are none, the defaults, or those for regression.

        Parameters
        ----------
        data : str
            Name of a data set or path of a file. "paper/" before a name chooses the papers' settings:
            ``Config.preset("paper/cifar10")``.
        task : str
            As in ``data.task``; of a file, :func:`tsnn.datasets.guess_task` returns it.
        """
        name = data.removeprefix(PAPER) if data in PRESETS else data
        return cls().replace({"data.name": name, **PRESETS.get(data, REGRESSION if task == "regression" else {})})

    @classmethod
    def from_dict(cls, sections: Mapping[str, Any], task: str = "auto") -> Config:
        """Build a configuration from nested mappings, as :meth:`to_dict` gives them.

        Fields left out take the preset of ``data.name``, which may be a paper's, and ``data.task`` (``task``, where
        that is left out or "auto").

        Raises
        ------
        ConfigError
            If a section or field is unknown (the message suggests the nearest known one), or a value is out of range.
        """
        flat = _flat(sections)
        if not isinstance(flat.get("data.name"), str):
            return cls().replace(flat)
        given = flat.get("data.task", "auto")
        return cls.preset(flat.pop("data.name"), task if given == "auto" else given).replace(flat)

    @classmethod
    def from_record(cls, sections: Mapping[str, Any]) -> Config:
        """Build the configuration that :meth:`to_dict` gave, maybe in an earlier version.

        Fields left out are newer than it, and have the values at which they change nothing: the defaults.
        """
        return _defaults().replace(_flat(sections))

    @classmethod
    def from_toml(cls, path: str | Path, task: str = "auto") -> Config:
        """Read a configuration file; fields may be left out as in :meth:`from_dict`."""
        return cls.from_dict(read_sections(path), task)

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
            If a name is unknown or ambiguous, or a value is out of range.
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


@functools.cache
def _defaults() -> Config:
    return Config()


def read_sections(path: str | Path) -> dict[str, Any]:
    """Return the sections of a configuration file, unchecked."""
    try:
        return tomllib.loads(read_bounded(Path(path)).decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"Cannot read the configuration {path}: {error.strerror}.") from error
    except RecursionError as error:
        raise ConfigError(f"{path} is not a configuration: its values are nested too deeply.") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from error


def _flat(sections: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for section, values in sections.items():
        if section not in SECTIONS:
            raise ConfigError(f"Unknown section [{str(section)[:80]}]{nearest(str(section), SECTIONS)}")
        if not isinstance(values, Mapping):
            got = shortened(values)
            raise ConfigError(f"[{section}] must hold settings, got {got}. Try {section}.<field> = value.")
        flat.update({f"{section}.{name}": value for name, value in values.items()})
    return flat


SECTIONS: dict[str, type[Section]] = {
    cls.section: cls for cls in (DataConfig, NetworkConfig, TrainingConfig, ImportanceConfig, ParallelConfig, RunConfig)
}

#: Settings that may be changed while a run trains: full names by short name.
LIVE_SETTINGS = {about.short: about.name for cls in SECTIONS.values() for about in cls.settings() if about.live}

#: Those that are numbers, by short name; the others are choices.
LIVE_NUMBERS = tuple(about.short for cls in SECTIONS.values() for about in cls.settings() if about.slider)
#: Value of a live setting.
LiveValue: TypeAlias = "float | str"

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
    if name in _known_names():
        return name
    candidates = [full for full in known if full.partition(".")[2] == name]
    if len(candidates) > 1:
        raise ConfigError(f"{name!r} may mean {' or '.join(map(repr, candidates))}. Name the section as well.")
    if not candidates:
        raise ConfigError(f"Unknown setting {shortened(name)}{nearest(str(name), known)}")
    return candidates[0]


def describe(name: str) -> Setting:
    """Return the description of a setting.

    Parameters
    ----------
    name : str
        ``"section.field"``, or the field alone: ``"training.zeta"``, ``"zeta"``.
    """
    section, _, key = full_name(name).partition(".")
    return SECTIONS[section].setting(key)


@functools.cache
def setting_names() -> tuple[str, ...]:
    """Return the names ``"section.field"`` of all settings, in order."""
    return tuple(f"{section}.{f.name}" for section, cls in SECTIONS.items() for f in dataclasses.fields(cls))


@functools.cache
def _known_names() -> frozenset[str]:
    return frozenset(setting_names())
