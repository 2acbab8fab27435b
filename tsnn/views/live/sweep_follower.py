"""Table of a sweep while its trials run, read once for all views in a process."""

from __future__ import annotations

import threading
import time

from tsnn.runs.sweeps import Sweep
from tsnn.views.plots.sweep_table import Results, SweepTable, are_read, sweep_table
from tsnn.views.shared import SharedByPath

_SECONDS = 1.0  # between two readings
_FIRST_SECONDS, _READING_SECONDS = 0.3, 0.15  # of reading results, at first and later
_SHOW_SECONDS = 3.0  # between two versions while results are being read
_REST = 20  # multiple of the time of a reading that passes before the next one


class SweepFollower:
    """Trials and results of a sweep, updated by reading only changed runs.

    Parameters
    ----------
    sweep : Sweep
        The sweep.
    min_interval : float
        Shortest time between two readings, in seconds.

    Attributes
    ----------
    version : int
        Increases with every change of the table.
    tables : dict of int to SweepTable
        The trials; with successive halving by the epochs of each round, otherwise by 0.
    queued : bool
        Whether trials are started as soon as cores are free.
    """

    def __init__(self, sweep: Sweep, min_interval: float = _SECONDS):
        self.sweep = sweep
        self.version = 0
        self._min_interval = min_interval
        self._lock = threading.Lock()
        self._due = self._shown = 0.0
        self.tables = self._tables(sweep.results(_FIRST_SECONDS))
        self.queued = sweep.queued

    def _tables(self, results: Results) -> dict[int, SweepTable]:
        stops = [epochs for epochs, _ in self.sweep.plan.rounds] or [0]
        return {epochs: sweep_table(self.sweep, results, epochs) for epochs in stops}

    @property
    def table(self) -> SweepTable:
        """The trials; with successive halving after the first round, which all of them take part in."""
        return next(iter(self.tables.values()))

    @property
    def over(self) -> bool:
        """Whether all trials are over, or none is running and none will be started."""
        counts = self.table.counts()
        left = len(self.table.trials) - self.table.over()
        return not left or (not self.queued and left == counts.get("queued", 0))

    @property
    def unfinished(self) -> bool:
        """Whether trials have not finished, so that the sweep can be continued."""
        return self.table.counts().get("finished", 0) < len(self.table.trials)

    def poll_now(self) -> int:
        """Read the present state at once, after a change; returns :attr:`version`."""
        self._due = 0.0
        return self.poll()

    def poll(self) -> int:
        """Read the present state, at most once per ``min_interval``; returns :attr:`version`."""
        with self._lock:
            begun = time.monotonic()
            if begun < self._due:
                return self.version
            results = self.sweep.results(_READING_SECONDS)
            complete = are_read(results)
            if complete or begun - self._shown > _SHOW_SECONDS:
                self._shown = begun
                before, tables, queued = self.tables, self._tables(results), self.sweep.queued
                same = tables.keys() == before.keys() and queued == self.queued
                if not same or any(not tables[n].trials.equals(before[n].trials) for n in tables):
                    self.tables, self.queued = tables, queued
                    self.version += 1
            now = time.monotonic()
            self._due = now + (max(self._min_interval, _REST * (now - begun)) if complete else 0.0)
            return self.version


_followers: SharedByPath[SweepFollower] = SharedByPath()


def follow_sweep(sweep: Sweep) -> SweepFollower:
    """Return the follower of a sweep in this process, shared by all its views."""
    return _followers.get(sweep.path, lambda: SweepFollower(sweep))
