"""Summaries of runs, as lists display them: from the configuration and the last heartbeat, without the metrics."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tsnn.config import LIVE_SETTINGS, Config, LiveValue, describe, setting_names
from tsnn.errors import TsnnError
from tsnn.records import RunState
from tsnn.runs.cells import format_change
from tsnn.runs.checks import is_number
from tsnn.runs.notes import notes
from tsnn.runs.store import Run


@dataclass(frozen=True)
class RunSummary:
    """Summary of a run, as lists display it; unknown values are None.

    Attributes
    ----------
    run : str
        Name of its directory.
    state : RunState
        As in :meth:`tsnn.runs.Run.status`.
    title, tags : str, tuple of str
        Its notes (:mod:`tsnn.runs.notes`).
    data, method, epsilon, zeta, seed, planned
        Settings at its start; ``planned`` is the number of epochs.
    settings : dict
        All settings at its start that are not the defaults, as ``{"section.field": value}``.
    changed : dict
        Live settings that had other values in the last epoch, as ``{"section.field": value}``.
    epochs : int
        Finished epochs.
    test_accuracy, test_loss, test_r2, connections
        After the last finished epoch.
    host : str
        Machine that it runs or ran on.
    started : datetime
        When it was created.
    problem : str
        Why it cannot be read completely; empty if it can.
    """

    run: str
    state: RunState
    title: str
    tags: tuple[str, ...]
    data: str
    method: str
    epsilon: float | None
    zeta: float | None
    seed: int | None
    epochs: int
    planned: int
    test_accuracy: float | None
    test_loss: float | None
    connections: int | None
    host: str
    started: datetime
    problem: str = ""
    test_r2: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    changed: Mapping[str, LiveValue] = field(default_factory=dict)

    def setting(self, name: str) -> Any:
        """Return the last value of a setting ``"section.field"``; None if it is unknown."""
        if name in self.changed or not self.method:
            return self.changed.get(name)
        return self.settings.get(name, _defaults().get(name))

    def setting_text(self, name: str) -> str:
        """Return a setting as text: ``0.3``, or ``0.3 → 0.81`` if it was changed while the run was training."""
        return format_change(self.settings.get(name, _defaults().get(name)), self.setting(name))

    @property
    def name(self) -> str:
        """The title, or the directory's name if there is none."""
        return self.title or self.run

    @property
    def label(self) -> str:
        """The title, or data set and method with the end of the directory's name."""
        method = describe("training.method").display_name(self.method)
        return self.title or f"{Path(self.data).name} · {method} ({self.run[-4:]})"


def summarise(run: Run) -> RunSummary:
    """Return the summary of a run as its files are now; reads neither metrics nor snapshots.

    Whatever its directory contains, there is a summary: a run that cannot be read has a ``problem``.
    """
    try:
        return _summary(run)
    except Exception as error:  # the list must not depend on the contents of a single run
        unknown: dict[str, Any] = dict.fromkeys(
            ("epsilon", "zeta", "seed", "test_accuracy", "test_loss", "connections")
        )
        return RunSummary(
            run=run.id, state=RunState.LOST, title="", tags=(), data="unreadable", method="", epochs=0, planned=0,
            host="", started=_started(run), problem=f"{type(error).__name__}: {error}"[:200], **unknown,
        )  # fmt: skip


def _summary(run: Run) -> RunSummary:
    status = run.status()
    settings, problem = _settings(run)
    title, tags, _ = notes(run)
    network, training = settings.get("network", {}), settings.get("training", {})
    return RunSummary(
        run=run.id,
        state=status["state"],
        title=title,
        tags=tags,
        data=str(settings.get("data", {}).get("name", "unreadable")),
        method=str(training.get("method", "")),
        epsilon=_number(network.get("epsilon")),
        zeta=_number(training.get("zeta")),
        seed=_integer(settings.get("run", {}).get("seed")),
        epochs=_integer(status.get("epoch")) or 0,
        planned=_integer(training.get("epochs")) or 0,
        test_accuracy=_number(status.get("test_accuracy")),
        test_loss=_number(status.get("test_loss")),
        connections=_integer(status.get("connections")),
        host=str(process.get("host", "")) if isinstance(process := status.get("process"), dict) else "",
        started=_started(run),
        problem=problem or str(status.get("problem", "")),
        test_r2=_number(status.get("test_r2")),
        settings=_not_default(settings),
        changed=_changed(status.get("settings", {}), settings),
    )


@functools.cache
def _defaults() -> dict[str, Any]:
    return Config().flat()


def _not_default(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that are not the defaults, as ``{"section.field": value}``."""
    flat = {f"{s}.{k}": v for s, values in settings.items() if isinstance(values, dict) for k, v in values.items()}
    return {name: value for name, value in flat.items() if name in setting_names() and value != _defaults().get(name)}


def _changed(live: Mapping[str, LiveValue], settings: Mapping[str, Any]) -> dict[str, LiveValue]:
    """Return the live settings of the last epoch that are not those of the start."""
    names = {LIVE_SETTINGS[short]: value for short, value in live.items() if short in LIVE_SETTINGS}
    start = _defaults() | _not_default(settings)
    return {name: value for name, value in names.items() if value is not None and value != start.get(name)}


def _settings(run: Run) -> tuple[dict[str, Any], str]:
    """Return the settings by section, from ``meta.json`` if it exists: reading TOML takes ten times as long.

    The second value is the problem, if they cannot be read.
    """
    problem = ""
    try:
        settings = run.meta().get("config")
        if isinstance(settings, dict):
            return settings, ""
    except TsnnError as error:
        problem = str(error)
    try:
        return run.config().to_dict(), problem
    except TsnnError as error:
        return {}, problem or str(error)


def _number(value: Any) -> float | None:
    return float(value) if is_number(value) else None


def _integer(value: Any) -> int | None:
    return int(value) if is_number(value) else None


def _started(run: Run) -> datetime:
    try:
        return datetime.fromtimestamp(int((run.path / "config.toml").stat().st_mtime))
    except (OSError, OverflowError, ValueError):
        return datetime.fromtimestamp(0)
