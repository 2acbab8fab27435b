"""All runs of a folder at a glance: one line for each, and how to delete one.

A :class:`Catalog` reads little and remembers it: of a run that has not changed, one ``stat`` is all that
looking again costs. Those who list the same folder in one process share it.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tsnn.errors import RunError, TsnnError
from tsnn.runs.notes import notes
from tsnn.records import LIVE
from tsnn.runs.store import RUN_ID, Run, RunStore

_FULL_SECONDS = 10.0
_SETTLED = ("finished", "stopped", "failed", "lost")


@dataclass(frozen=True)
class RunSummary:
    """What a list shows of a run; None where it is not known.

    Attributes
    ----------
    run : str
        Name of its directory.
    title, tags : str, tuple of str
        What people call it; empty unless they do.
    state : str
        As :meth:`tsnn.runs.Run.status` calls it.
    problem : str
        Why it cannot be read completely; empty if it can.
    """

    run: str
    state: str
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

    @property
    def name(self) -> str:
        """The title, or the directory's name where there is none."""
        return self.title or self.run


def summarise(run: Run) -> RunSummary:
    """Return the line of a run as its files are now; reads neither curves nor snapshots."""
    status = run.status()
    settings, problem = _settings(run)
    title, tags = notes(run)
    network, training = settings.get("network", {}), settings.get("training", {})
    return RunSummary(
        run=run.id,
        state=str(status.get("state", "lost")),
        title=title,
        tags=tags,
        data=str(settings.get("data", {}).get("name", "unreadable")),
        method=str(training.get("method", "")),
        epsilon=_number(network.get("epsilon")),
        zeta=_number(training.get("zeta")),
        seed=_whole(settings.get("run", {}).get("seed")),
        epochs=_whole(status.get("epoch")) or 0,
        planned=_whole(training.get("epochs")) or 0,
        test_accuracy=_number(status.get("test_accuracy")),
        test_loss=_number(status.get("test_loss")),
        connections=_whole(status.get("connections")),
        host=str(process.get("host", "")) if isinstance(process := status.get("process"), dict) else "",
        started=_started(run),
        problem=problem,
    )


def _settings(run: Run) -> tuple[dict[str, Any], str]:
    """Return the settings by section, from ``meta.json`` if it is there: TOML takes ten times as long to read."""
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
    return float(value) if isinstance(value, int | float) else None


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) else None


def _started(run: Run) -> datetime:
    try:
        return datetime.fromtimestamp(int((run.path / "config.toml").stat().st_mtime))
    except OSError:
        return datetime.fromtimestamp(0)


class Catalog:
    """The lines of all runs of a store.

    Parameters
    ----------
    store : RunStore
        The folder.

    Attributes
    ----------
    version : int
        Grows when a line has changed.
    total : int
        Folders that may be runs; more than there are lines while they are read for the first time.
    complete : bool
        Whether all of them have been looked at.
    """

    def __init__(self, store: RunStore):
        self.store = store
        self.version = 0
        self.total = 0
        self.complete = False
        self._lines: dict[str, RunSummary] = {}
        self._marks: dict[str, int] = {}
        self._names: list[str] = []
        self._lock = threading.RLock()
        self._root_mark: int | None = None
        self._full = -float("inf")

    def lines(self) -> list[RunSummary]:
        """Return what is known so far, the newest run first."""
        with self._lock:
            return [self._lines[name] for name in self._names if name in self._lines]

    def refresh(self, *, seconds: float = float("inf")) -> int:
        """Look at what may have changed; returns :attr:`version`.

        Parameters
        ----------
        seconds : float
            Stop reading after so long; the next call goes on, the newest runs come first.
        """
        with self._lock:
            deadline = time.monotonic() + seconds
            due = time.monotonic() - self._full > _FULL_SECONDS
            if self._list_folder() or due or not self.complete:
                self.complete = self._look_at(self._names, deadline)
                self._full = time.monotonic()
            else:
                self._look_at([n for n in self._names if self._unsettled(n)], deadline)
            return self.version

    def _unsettled(self, name: str) -> bool:
        return name not in self._lines or self._lines[name].state not in _SETTLED

    def _list_folder(self) -> bool:
        """Take up the names of the runs; returns whether the folder has changed since the last time."""
        try:
            mark = self.store.root.stat().st_mtime_ns
            if mark == self._root_mark:
                return False
            names = sorted((e.name for e in os.scandir(self.store.root) if RUN_ID.fullmatch(e.name)), reverse=True)
        except OSError:
            mark, names = None, []
        changed = mark != self._root_mark
        for name in set(self._lines).difference(names):
            self._forget(name)
        self._root_mark, self._names = mark, names
        self.total = len(names)
        return changed

    def _look_at(self, names: Iterable[str], deadline: float) -> bool:
        for name in names:
            path = self.store.root / name
            try:
                mark = path.stat().st_mtime_ns
                if self._marks.get(name) == mark and not self._unsettled(name):
                    continue
                (path / "config.toml").stat()
            except OSError:  # deleted meanwhile, half-made, or no run at all
                self._forget(name)
                continue
            line = summarise(Run(path))
            self._marks[name] = mark
            if self._lines.get(name) != line:
                self._lines[name] = line
                self.version += 1
            if time.monotonic() > deadline:
                return False
        return True

    def _forget(self, name: str) -> None:
        self._marks.pop(name, None)
        self.version += self._lines.pop(name, None) is not None

    def refresh_run(self, run_id: str) -> None:
        """Bring the line of one run up to date now: somebody has just changed it."""
        with self._lock:
            self._marks.pop(run_id, None)
            self._look_at([run_id], float("inf"))

    def live(self) -> RunSummary | None:
        """Return the newest run that is going on, else None."""
        return next((line for line in self.lines() if line.state in LIVE), None)


_catalogs: dict[Path, Catalog] = {}
_catalogs_lock = threading.Lock()


def catalog(store: RunStore) -> Catalog:
    """Return this process's catalog of a folder; all who list it share it."""
    with _catalogs_lock:
        return _catalogs.setdefault(store.root.resolve(), Catalog(store))


def delete(run: Run) -> None:
    """Delete a run with all its files.

    Raises
    ------
    RunError
        If it is going on, or its files cannot be removed.
    """
    state = run.status()["state"]
    if state in LIVE:
        raise RunError(f"Run {run.id} is going on ({state}). Stop it first.")
    grave = run.path.with_name(f".deleted-{run.id}")
    try:
        run.path.replace(grave)  # gone for everybody at once
        shutil.rmtree(grave)
    except OSError as error:
        raise RunError(f"Run {run.id} could not be deleted: {error.strerror}. Try again.") from error
