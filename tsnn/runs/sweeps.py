"""Sweeps: runs that differ in a few settings and the seed, in one directory below the folder of runs.

====================  ==========================================================================
``sweep.json``        what is swept: base settings, values or ranges, seeds, the list of trials
``trial-00012/``      the run of trial 12, an ordinary run directory; absent until it starts
``queued.json``       present while trials are to be started (:mod:`tsnn.jobs.sweeps`)
``optuna.log``        Optuna's journal, of a sweep whose settings it chooses
====================  ==========================================================================

``sweep.json`` holds ``format``, ``name``, ``kind``, ``base`` (sections of settings), ``settings`` (by full name
either ``values``, or ``low``, ``high`` and ``log``), ``seeds``, ``objective`` and ``trials``: a list that only grows,
each with ``settings`` and ``seed`` (:class:`~tsnn.runs.sweep_plan.Plan`). Settings that Optuna chooses are those of the
trial's run. ``halving`` holds ``epochs`` of the first round and ``keep``, the divisor of the number of trials.

The folder's list of runs does not contain a sweep's runs. :meth:`RunStore.open` opens one by ``SWEEP/trial-00012``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tsnn.config import Config
from tsnn.config.schema import shortened
from tsnn.errors import RunError, TsnnError
from tsnn.records import LIVE, OVER, RunState
from tsnn.runs.known_trial import KnownTrial
from tsnn.runs.results import RunResult
from tsnn.runs.store import RUN_ID, Run, RunStore, is_run, new_name
from tsnn.runs.sweep_plan import FILE, OBJECTIVES, Plan, Range, Trial, hashable, read_plan, trial_name, write_plan

QUEUED = "queued.json"


def is_sweep(path: Path) -> bool:
    """Return whether a path is the directory of a sweep."""
    return (path / FILE).is_file()


class Sweep:
    """A sweep, for reading: its trials and their results, as its files are now.

    What does not change any more is read once: asking every second costs little, also with thousands of trials.
    A process should keep one object for each sweep (:func:`open_sweep`, :func:`sweeps`).

    Parameters
    ----------
    path : Path
        Its directory.

    Attributes
    ----------
    problem : str
        Why ``sweep.json`` cannot be read; empty if it can. Such a sweep has neither settings nor trials.
    """

    def __init__(self, path: Path):
        self.path = path
        self.problem = ""
        self._mark = -1
        self._empty = Plan(path.name, "grid", Config(), {}, {}, (), (), "test accuracy")
        self._plan = self._empty
        self._known: dict[int, KnownTrial] = {}
        self._lock = threading.RLock()

    @property
    def id(self) -> str:
        """Name of the directory."""
        return self.path.name

    @property
    def plan(self) -> Plan:
        """Content of ``sweep.json``; an empty plan if it cannot be read (:attr:`problem`)."""
        with self._lock:
            try:
                mark = (self.path / FILE).stat().st_mtime_ns
            except OSError:
                mark = -1
            if mark != self._mark or mark == -1:
                try:
                    self._plan, self.problem = read_plan(self.path), ""
                except RunError as error:
                    self._plan, self.problem = self._empty, str(error)
                self._mark = mark
            return self._plan

    @property
    def name(self) -> str:
        """Title."""
        return self.plan.name

    @property
    def kind(self) -> str:
        """``grid``, ``random``, ``halving`` or ``optuna``."""
        return self.plan.kind

    @property
    def base(self) -> Config:
        """Settings of all trials, but for those that are swept."""
        return self.plan.base

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of each combination of settings."""
        return self.plan.seeds

    @property
    def objective(self) -> str:
        """One of :data:`OBJECTIVES`: the best trial has the largest."""
        return self.plan.objective

    @property
    def validated(self) -> bool:
        """Whether the objective is measured on a validation split."""
        return self.plan.validated

    @property
    def caveat(self) -> str:
        """Warning about the objective; empty if nothing is chosen by it, or on a validation split."""
        return self.plan.caveat

    @property
    def ranges(self) -> Mapping[str, Range]:
        """Ranges of the swept settings that have one, by full name."""
        return self.plan.ranges

    @property
    def settings(self) -> Mapping[str, tuple[Any, ...]]:
        """The swept settings by full name: their values, of one with a range those that trials have, sorted."""
        drawn: dict[str, set[Any]] = {name: set() for name in self.plan.ranges}
        for trial in self.trials if drawn else ():
            for name in drawn:
                if name in trial.settings:
                    drawn[name].add(trial.settings[name])
        return {**self.plan.values, **{name: tuple(sorted(found)) for name, found in drawn.items()}}

    @property
    def queued(self) -> bool:
        """Whether its trials are started as soon as cores are free."""
        return (self.path / QUEUED).is_file()

    @property
    def live(self) -> bool:
        """Whether one of its trials is training, or about to."""
        return any(trial.state in LIVE for trial in self.trials)

    def wait(self, seconds: float = float("inf")) -> bool:
        """Wait until all trials are over, or the sweep was stopped; returns whether it is, at most some seconds."""
        deadline = time.monotonic() + seconds
        while self.queued or self.live:
            if time.monotonic() > deadline:
                return False
            time.sleep(min(1.0, max(0.0, deadline - time.monotonic())))
        return True

    @property
    def store(self) -> RunStore:
        """Its runs as a folder of runs."""
        return RunStore(self.path)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All trials with their present states, by number."""
        with self._lock:
            plan = self.plan
            existing: set[str] = set()
            with contextlib.suppress(OSError):
                existing.update(entry.name for entry in os.scandir(self.path))
            return tuple(
                self._trial(plan, n) if trial_name(n) in existing else Trial(n, *plan.trials[n])
                for n in range(len(plan.trials))
            )

    def _trial(self, plan: Plan, number: int) -> Trial:
        """Return a trial that has a directory."""
        known = self._known.setdefault(number, KnownTrial())
        path = self.path / trial_name(number)
        try:
            mark = os.stat(path).st_mtime_ns  # noqa: PTH116 - a third of the time, with thousands of trials
        except OSError:
            mark = -1
        if known.trial is not None and known.mark == mark != -1:
            return known.trial
        settings, seed = plan.trials[number]
        if not is_run(path):
            return Trial(number, settings, seed)
        run = Run(path)
        state = RunState(run.status()["state"])
        if not settings:  # chosen by Optuna
            if not known.settings:
                with contextlib.suppress(TsnnError):
                    values = run.config().flat()
                    known.settings = {n: hashable(values.get(n)) for n in (*plan.values, *plan.ranges)}
            settings = known.settings
        known.trial, known.complete = Trial(number, settings, seed, run, state), False
        known.mark = mark if state in OVER and state != RunState.LOST else -1
        return known.trial

    def results(self, seconds: float = float("inf")) -> list[tuple[Trial, RunResult | None]]:
        """Return all trials with their results, by number; None of those without a run, or not read yet.

        Parameters
        ----------
        seconds : float
            Time after which no further results are read; the next call continues.
        """
        deadline = time.monotonic() + seconds
        with self._lock:
            return [(trial, self._result(trial, deadline)) for trial in self.trials]

    def results_after(self, epochs: int) -> list[tuple[Trial, RunResult | None]]:
        """Return all trials with their results after a round of successive halving, as :meth:`results` last read them.

        Parameters
        ----------
        epochs : int
            Those of the round. Trials that were not trained for so many have None.
        """
        with self._lock:
            known = self._known
            return [(t, known[t.number].after.get(epochs) if t.run else None) for t in self.trials]

    def _result(self, trial: Trial, deadline: float) -> RunResult | None:
        known = self._known.get(trial.number)
        if trial.run is None or known is None:
            return None
        left = deadline - time.monotonic()
        if left >= 0 and not known.complete:
            known.read(trial.run, [epochs for epochs, _ in self.plan.rounds], left)
        return known.result

    def value(self, result: RunResult | None) -> float | None:
        """Return the objective of a result; None if it has none."""
        return None if result is None else getattr(result, OBJECTIVES[self.objective][0])

    def test_value(self, result: RunResult | None) -> float | None:
        """Return the test result that belongs to the objective: with a validation split, of the epoch chosen by it."""
        return None if result is None else getattr(result, OBJECTIVES[self.objective][1])

    def table(self) -> Any:
        """Return settings and results of the trials: a pandas DataFrame; without pandas a list of dictionaries."""
        from tsnn.runs.ranking import trial_rows

        rows = trial_rows(self)
        try:
            import pandas as pd
        except ImportError:
            return rows
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        from tsnn.runs.ranking import progress_text

        return progress_text(self)


def create_sweep(store: RunStore, plan: Plan) -> Sweep:
    """Create the directory of a sweep; no trial is started."""
    name = new_name(plan.base, "sweep")
    store.root.mkdir(parents=True, exist_ok=True)
    temporary = store.root / f".{name}.new"
    temporary.mkdir()
    try:
        write_plan(temporary, plan)
        temporary.rename(store.root / name)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return _open(store.root / name)


_opened: dict[Path, Sweep] = {}
_opened_lock = threading.Lock()


def _open(path: Path) -> Sweep:
    with _opened_lock:
        return _opened.setdefault(path.resolve(), Sweep(path))


def open_sweep(store: RunStore, name: str) -> Sweep:
    """Return this process's object for a sweep of a folder.

    Raises
    ------
    RunError
        If there is no such sweep, or its file cannot be read.
    """
    path = store.root / name
    if not RUN_ID.fullmatch(name) or path.is_symlink() or not is_sweep(path):
        known = ", ".join(sweep.id for sweep in sweeps(store)[:3])
        raise RunError(f"There is no sweep {shortened(name)} in {store.root}. The newest: {known or 'none yet'}.")
    sweep = _open(path)
    if sweep.plan and sweep.problem:
        raise RunError(sweep.problem)
    return sweep


_LIST_SECONDS = 10.0  # until a folder is listed again if its time of modification is the same
_lists: dict[Path, tuple[int, float, list[str]]] = {}


def sweeps(store: RunStore) -> list[Sweep]:
    """Return the sweeps of a folder, the newest first; also those whose file cannot be read (:attr:`Sweep.problem`)."""
    try:
        mark, now = store.root.stat().st_mtime_ns, time.monotonic()
        known = _lists.get(store.root)
        if known is None or known[0] != mark or now - known[1] > _LIST_SECONDS:
            names = sorted((e.name for e in os.scandir(store.root) if RUN_ID.fullmatch(e.name)), reverse=True)
            known = _lists[store.root] = mark, now, [name for name in names if is_sweep(store.root / name)]
    except OSError:
        return []
    return [_open(store.root / name) for name in known[2]]
