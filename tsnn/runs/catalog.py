"""Catalog of the runs of a folder: a summary of each; and deletion of a run.

A :class:`Catalog` caches its summaries: refreshing that of an unchanged run costs one ``stat``. A process has one
catalog for each folder (:func:`catalog`).
"""

from __future__ import annotations

import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tsnn.errors import RunError
from tsnn.files import os_error_message
from tsnn.records import LIVE, OVER, RunState
from tsnn.runs.store import RUN_ID, Run, RunStore, is_run
from tsnn.runs.summaries import RunSummary, summarise

_FULL_SECONDS = 10.0  # between two refreshes of all runs, also of those that are over


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
