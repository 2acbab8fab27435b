"""Catalog of the runs of a folder: a summary of each; and deletion of a run.

A :class:`Catalog` caches its summaries: refreshing that of an unchanged run costs one ``stat``. A process has one
catalog for each folder (:func:`catalog`).
"""

from __future__ import annotations

import functools
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tsnn.config import LIVE_SETTINGS, Config, LiveValue, describe, setting_names
from tsnn.errors import RunError, TsnnError
from tsnn.files import os_error_message
from tsnn.records import LIVE, OVER, RunState
from tsnn.runs.cells import format_change
from tsnn.runs.checks import is_number
from tsnn.runs.notes import notes
from tsnn.runs.store import RUN_ID, Run, RunStore, is_run

_FULL_SECONDS = 10.0  # between two refreshes of all runs, also of those that are over


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


class Catalog:
    """Summaries of all runs of a store.

    Parameters
    ----------
    store : RunStore
        The folder.

    Attributes
    ----------
    version : int
        Grows when a summary changes.
    total : int
        Directories that may be runs; more than there are summaries until all have been read.
    complete : bool
        Whether all of them have been read.
    """

    def __init__(self, store: RunStore):
        self.store = store
        self.version = 0
        self.total = 0
        self.complete = False
        self._summaries: dict[str, RunSummary] = {}
        self._marks: dict[str, int] = {}
        self._names: list[str] = []
        self._lock = threading.RLock()
        self._root_mark: int | None = None
        self._full = -float("inf")

    def summaries(self) -> list[RunSummary]:
        """Return the summaries read so far, the newest run first."""
        with self._lock:
            return [self._summaries[name] for name in self._names if name in self._summaries]

    def refresh(self, *, seconds: float = float("inf")) -> int:
        """Read the summaries that may have changed, the newest runs first; returns :attr:`version`.

        Parameters
        ----------
        seconds : float
            Time after which to stop reading; the next call continues.
        """
        with self._lock:
            deadline = time.monotonic() + seconds
            due = time.monotonic() - self._full > _FULL_SECONDS
            if self._list_folder() or due or not self.complete:
                self.complete = self._read(self._names, deadline)
                self._full = time.monotonic()
            else:
                self._read([n for n in self._names if self._may_change(n)], deadline)
            return self.version

    def _may_change(self, name: str) -> bool:
        return name not in self._summaries or self._summaries[name].state not in OVER

    def _list_folder(self) -> bool:
        """Read the names of the runs; returns whether the folder has changed since the last call."""
        try:
            mark = self.store.root.stat().st_mtime_ns
            if mark == self._root_mark:
                return False
            names = sorted((e.name for e in os.scandir(self.store.root) if RUN_ID.fullmatch(e.name)), reverse=True)
        except OSError:
            mark, names = None, []
        changed = mark != self._root_mark
        for name in set(self._summaries).difference(names):
            self._forget(name)
        self._root_mark, self._names = mark, names
        self.total = len(names)
        return changed

    def _read(self, names: Iterable[str], deadline: float) -> bool:
        """Read the summaries of runs that may have changed; returns False if the time was up first."""
        for name in names:
            path = self.store.root / name
            try:
                mark = path.stat().st_mtime_ns
                if self._marks.get(name) == mark and not self._may_change(name):
                    continue
            except OSError:  # just deleted
                self._forget(name)
                continue
            if not is_run(path):  # or not yet complete
                self._forget(name)
                continue
            summary = summarise(Run(path))
            self._marks[name] = mark
            if self._summaries.get(name) != summary:
                self._summaries[name] = summary
                self.version += 1
            if time.monotonic() > deadline:
                return False
        return True

    def _forget(self, name: str) -> None:
        self._marks.pop(name, None)
        self.version += self._summaries.pop(name, None) is not None

    def refresh_run(self, run_id: str) -> None:
        """Read the summary of one run again, after a change."""
        with self._lock:
            self._marks.pop(run_id, None)
            self._read([run_id], float("inf"))

    def live(self) -> RunSummary | None:
        """Return the newest live run, None if there is none."""
        return next((summary for summary in self.summaries() if summary.state in LIVE), None)

    def latest(self) -> RunSummary | None:
        """Return the newest run that has started, or the newest one if none has; None if there are no runs."""
        found = self.summaries()
        return next((s for s in found if s.state != RunState.QUEUED), found[0] if found else None)


_catalogs: dict[Path, Catalog] = {}
_catalogs_lock = threading.Lock()


def catalog(store: RunStore) -> Catalog:
    """Return this process's catalog of a folder."""
    with _catalogs_lock:
        return _catalogs.setdefault(store.root.resolve(), Catalog(store))


def delete(run: Run) -> None:
    """Delete a run with all its files.

    Raises
    ------
    RunError
        If it is live, or its files cannot be removed.
    """
    if run.path.is_symlink():  # to a run that is kept elsewhere
        _removed(run, run.path.unlink)
        return
    state = run.status()["state"]
    if state in LIVE:
        raise RunError(f"Run {run.id} is {state}. Stop it first.")
    removed = run.path.with_name(f".deleted-{run.id}-{secrets.token_hex(4)}")
    _removed(run, lambda: run.path.replace(removed))  # atomic, unlike the next step
    try:
        shutil.rmtree(removed)
    except OSError as error:
        reason = f"Some of its files remain in {removed} ({os_error_message(error)})"
        raise RunError(f"Run {run.id} is no longer listed. {reason} Delete that folder.") from error
    finally:
        _remove_remains(run.path.parent)


def _remove_remains(root: Path) -> None:
    """Remove files that interrupted deletions have left."""
    for left in root.glob(".deleted-*"):
        if left.is_symlink():
            left.unlink(missing_ok=True)
        else:
            shutil.rmtree(left, ignore_errors=True)


def _removed(run: Run, remove: Callable[[], Any]) -> None:
    try:
        remove()
    except OSError as error:
        raise RunError(f"Run {run.id} could not be deleted. {os_error_message(error)}") from error
