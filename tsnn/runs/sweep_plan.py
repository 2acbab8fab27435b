"""Plan of a sweep: base settings, swept settings, seeds and trials, in the file ``sweep.json`` of its directory."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tsnn.config import Config, describe, setting_names
from tsnn.config.schema import shortened
from tsnn.errors import RunError, TsnnError
from tsnn.files import check_format, load_json, write_atomic
from tsnn.records import FORMAT, RunState, json_safe
from tsnn.registry import Registry
from tsnn.runs.checks import Kind, is_count, is_number, is_table, is_text, mismatch
from tsnn.runs.rules import note_rules, record_rules
from tsnn.runs.run import Run

FILE = "sweep.json"
MAX_TRIALS = 100_000

#: How the trials of a sweep are chosen.
KINDS = ("grid", "random", "halving", "optuna")
#: What the best trial has most of: the attribute of :class:`RunResult` with it, and the one with the test result then.
OBJECTIVES = {
    "validation accuracy": ("best_validation_accuracy", "best_accuracy"),
    "validation R²": ("best_validation_r2", "best_r2"),
    "test accuracy": ("test_accuracy", "test_accuracy"),
    "test R²": ("test_r2", "test_r2"),
}

_SWEEP: Mapping[str, Kind] = {
    "name": is_text, "kind": lambda value: value in KINDS, "base": is_table, "settings": is_table, "seeds": [is_count],
    "objective": lambda value: value in list(OBJECTIVES), "trials": [{"settings": is_table, "seed": is_count}],
    "halving": {"epochs": is_count, "keep": is_count},
}  # fmt: skip
_RANGE: Mapping[str, Kind] = {"low": is_number, "high": is_number, "log": lambda value: isinstance(value, bool)}


class Range(NamedTuple):
    """Range of a swept setting: its bounds, and whether it is drawn by its logarithm."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Trial:
    """Trial of a sweep: one run, which may not have been started yet.

    Attributes
    ----------
    number : int
        Its place in the sweep, counted from 0.
    settings : mapping
        The swept settings by full name; empty as long as Optuna has not chosen them.
    seed : int
        ``run.seed``.
    run : Run or None
        Its run; None until it has been started.
    state : RunState
        State of its run, ``queued`` without one.
    """

    number: int
    settings: Mapping[str, Any]
    seed: int
    run: Run | None = None
    state: RunState = RunState.QUEUED

    @property
    def name(self) -> str:
        """Name of its run's directory."""
        return trial_name(self.number)

    @property
    def point(self) -> tuple[tuple[str, Any], ...]:
        """The swept settings: equal for trials that differ in the seed only."""
        return tuple(self.settings.items())


def trial_name(number: int) -> str:
    """Return the name of the directory of a trial's run."""
    return f"trial-{number:05d}"


@dataclass(frozen=True)
class Plan:
    """Content of ``sweep.json``, checked.

    Attributes
    ----------
    name, kind, objective : str
        Its title; one of :data:`KINDS`; one of :data:`OBJECTIVES`.
    base : Config
        The settings of all trials, but for those that are swept.
    values : mapping
        Listed values of settings by full name.
    ranges : mapping
        Ranges of the other swept settings.
    seeds : tuple of int
        The seeds of each combination of settings.
    trials : tuple of (mapping, int)
        Settings and seed of each trial.
    first_epochs, keep : int
        Of successive halving: epochs of the first round, and the divisor of the number of trials in the next.
    """

    name: str
    kind: str
    base: Config
    values: Mapping[str, tuple[Any, ...]]
    ranges: Mapping[str, Range]
    seeds: tuple[int, ...]
    trials: tuple[tuple[Mapping[str, Any], int], ...]
    objective: str
    first_epochs: int = 0
    keep: int = 3

    @functools.cached_property
    def combinations(self) -> int:
        """Number of different combinations of settings."""
        return len({tuple(point.items()) for point, _ in self.trials})

    @property
    def validated(self) -> bool:
        """Whether the objective is measured on a validation split."""
        return self.objective.startswith("validation")

    @functools.cached_property
    def rounds(self) -> tuple[tuple[int, int], ...]:
        """Epochs and number of combinations of each round of successive halving; empty without it."""
        points = self.combinations
        epochs, most, found = self.first_epochs, self.base.training.epochs, []
        while self.kind == "halving":
            found.append((min(epochs, most), max(1, points)))
            if epochs >= most:
                break
            epochs, points = epochs * self.keep, points // self.keep
            if points <= 1:
                epochs = most
        return tuple(found)

    @property
    def caveat(self) -> str:
        """Warning about the objective; empty if nothing is chosen by it, or on a validation split."""
        if self.validated or self.combinations == 1:
            return ""
        return (
            f"There is no validation split: the best is chosen by {self.objective}, which overstates it. "
            "Sweep with data.validation_fraction=0.1 to choose by validation."
        )


def read_plan(path: Path) -> Plan:
    """Return the content of a sweep's file.

    Raises
    ------
    RunError
        If there is none, it cannot be read or is damaged, or has another format.
    """
    note_rules(path)
    try:
        values = load_json(path / FILE)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RunError(f"{FILE} of sweep {path.name} cannot be read: {reason}.") from error
    check_format(f"Sweep {path.name}", values.get("format"))
    missing = [name for name in _SWEEP if name not in values and name != "halving"]
    problem = f"it has no {missing[0]}" if missing else mismatch(_SWEEP, values)
    try:
        if problem:
            raise ValueError(problem)
        return _plan(values)
    except (TsnnError, ValueError, OverflowError) as error:
        raise RunError(f"{FILE} of sweep {path.name} is damaged: {str(error).removesuffix('.')}.") from error


def write_plan(path: Path, plan: Plan) -> None:
    """Replace the file of a sweep, and record the source of rules that are not built in.

    Raises
    ------
    RuleError
        If the source of a rule cannot be recorded.
    """
    for name, values in {"": (None,), **plan.values}.items():
        if name == "" or isinstance(describe(name).choices, Registry):
            for value in values:
                record_rules(path, plan.base.replace({name: value}) if name else plan.base)
    swept: dict[str, Any] = {name: {"values": values} for name, values in plan.values.items()}
    swept |= {name: limits._asdict() for name, limits in plan.ranges.items()}
    content = {
        "format": FORMAT, "name": plan.name, "kind": plan.kind, "base": plan.base.to_dict(), "settings": swept,
        "seeds": plan.seeds, "objective": plan.objective,
        "trials": [{"settings": settings, "seed": seed} for settings, seed in plan.trials],
    }  # fmt: skip
    if plan.kind == "halving":
        content["halving"] = {"epochs": plan.first_epochs, "keep": plan.keep}
    write_atomic(path / FILE, json.dumps(json_safe(content), allow_nan=False).encode())


def _plan(content: Mapping[str, Any]) -> Plan:
    base = Config.from_record(content["base"])
    values: dict[str, tuple[Any, ...]] = {}
    ranges: dict[str, Range] = {}
    known = _Canonical(base)
    for name, swept in content["settings"].items():
        if name not in setting_names():
            raise ValueError(f"there is no setting {shortened(name)}")
        listed = swept.get("values") if isinstance(swept, dict) else None
        if isinstance(listed, list) and listed:
            values[name] = tuple(known(name, value) for value in listed)
        elif isinstance(swept, dict) and all(k in swept for k in _RANGE) and not mismatch(_RANGE, swept):
            ranges[name] = Range(swept["low"], swept["high"], swept["log"])
        else:
            raise ValueError(f"settings.{name} cannot be {shortened(swept)}")
    trials = []
    for trial in content["trials"]:
        given, complete = trial.get("settings", {}), content["settings"].keys()
        if "seed" not in trial or ((given or content["kind"] != "optuna") and given.keys() != complete):
            raise ValueError(f"one of its trials cannot be {shortened(trial)}")
        trials.append(({name: known(name, value) for name, value in given.items()}, trial["seed"]))
    halving = content.get("halving", {})
    return Plan(
        content["name"], content["kind"], base, values, ranges, tuple(content["seeds"]), tuple(trials),
        content["objective"], halving.get("epochs", 0), max(2, halving.get("keep", 3)),
    )  # fmt: skip


class _Canonical:
    """Values of settings as a configuration has them, hashable; each is checked once."""

    def __init__(self, base: Config):
        self._base = base
        self._known: dict[tuple[str, str], Any] = {}

    def __call__(self, name: str, value: Any) -> Any:
        key = name, repr(value)
        if key not in self._known:
            self._known[key] = canonical(self._base, name, value)
        return self._known[key]


def canonical(base: Config, name: str, value: Any) -> Any:
    """Return the value that a configuration has after it has been set, hashable.

    Raises
    ------
    ConfigError
        If it cannot have this value.
    """
    return hashable(base.replace({name: value}).flat().get(name))


def hashable(value: Any) -> Any:
    """Return a value of a setting, a list as a tuple."""
    return tuple(value) if isinstance(value, list) else value
