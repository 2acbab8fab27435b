"""Trials of sweeps: which of them are to be trained next, and their start.

A sweep with a file ``queued.json`` is queued: :func:`tsnn.jobs.queue.advance` starts its trials when no run is queued
and cores are free. The directory of a run is created when it starts.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tsnn.config import Config
from tsnn.errors import TsnnError
from tsnn.files import os_error_message, write_atomic
from tsnn.jobs import halving, launch, suggestions
from tsnn.jobs.claims import claim, claims, is_held, release
from tsnn.records import LIVE, OVER, RunState
from tsnn.runs import Run
from tsnn.runs.rules import copy_rules
from tsnn.runs.store import is_run
from tsnn.runs.sweep_plan import Trial
from tsnn.runs.sweeps import QUEUED, Sweep

ATTEMPTS = 5  #: starts of a trial whose processes are killed again and again

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """A trial that is to be trained.

    Attributes
    ----------
    sweep, trial
        The sweep, and its trial with all settings.
    epochs : int or None
        Epochs to train it for; None for those of its settings.
    """

    sweep: Sweep
    trial: Trial
    epochs: int | None = None

    def config(self) -> Config:
        """Return the settings of the run, with those of the base where Optuna has not chosen yet."""
        epochs = {} if self.epochs is None else {"training.epochs": self.epochs}
        return self.sweep.base.replace({**self.trial.settings, "run.seed": self.trial.seed, **epochs})

    def start(self) -> Run | None:
        """Start or resume the run in the background; None if another process does, or it cannot be started.

        Raises
        ------
        OSError
            If its directory cannot be created.
        """
        run = self.claim()
        if run is None:
            return None
        try:
            launch.start_supervisor(run)
        except (OSError, TsnnError) as error:
            message = os_error_message(error) if isinstance(error, OSError) else error
            log.warning("Trial %d of sweep %s cannot be started: %s", self.trial.number, self.sweep.id, message)
            _record_failure(run, f"The engine could not be started: {message}")
            release(run.path, claims(run.path))
            return None
        (run.path / "queued.json").unlink(missing_ok=True)
        return run

    def claim(self) -> Run | None:
        """Claim the trial, and return its run, created or prepared to be resumed; None if it is not to be started."""
        run = Run(self.sweep.path / self.trial.name)
        run.path.mkdir(exist_ok=True)
        number = claims(run.path)
        if is_held(run.path, number):
            return None
        if is_run(run.path) and not self._startable(run):  # read after the claims: its state after the last of them
            return None
        if not claim(run.path, number + 1):
            return None
        try:
            self._prepare(run)
        except BaseException:
            release(run.path, number + 1)
            raise
        return run

    def _startable(self, run: Run) -> bool:
        status = run.status()
        finished = {**run.previous_status(), **status}.get("state") == RunState.FINISHED
        if status["state"] == RunState.QUEUED and run.previous_status().get("state") == RunState.FINISHED:
            finished = True  # it was queued, started, and finished, and its process killed in between
            (run.path / "queued.json").unlink(missing_ok=True)
        if finished:
            return self.epochs is not None and status.get("epoch", 0) < self.epochs
        if status["state"] == RunState.CREATED:
            return not (run.path / "status.json").exists()
        return status["state"] in (RunState.QUEUED, RunState.LOST)

    def _prepare(self, run: Run) -> None:
        if not is_run(run.path):
            work = self
            if self.sweep.kind == "optuna" and not self.trial.settings:
                work = replace(self, trial=replace(self.trial, settings=suggestions.choose(self.sweep, self.trial)))
            self.sweep.store.create(work.config(), lambda p: copy_rules(self.sweep.path, p, {}), self.trial.name)
        elif self.epochs is not None and run.wanted_config().training.epochs != self.epochs:
            write_atomic(run.path / "resume.json", json.dumps({"epochs": self.epochs}).encode())


def _record_failure(run: Run, message: str) -> None:
    """Mark a run that could not be started as failed."""
    status = {**run.previous_status(), "state": RunState.FAILED, "time": time.time(), "message": message}
    with contextlib.suppress(OSError):
        write_atomic(run.path / "status.json", json.dumps(status).encode())
    (run.path / "queued.json").unlink(missing_ok=True)


def is_due(sweep: Sweep, trial: Trial) -> bool:
    """Return whether a trial is to be started: it is new, or was killed, or the user wants it to be resumed."""
    if trial.state == RunState.QUEUED:
        return True
    path = sweep.path / trial.name
    if trial.state == RunState.LOST:
        return claims(path) < ATTEMPTS
    return trial.state == RunState.CREATED and not (path / "status.json").exists()


def pending(sweep: Sweep) -> Iterator[Work]:
    """Yield the trials that are to be started now, in order, with their settings."""
    trials = sweep.trials
    if sweep.kind == "halving":
        for trial, epochs in halving.due_trials(sweep, trials, is_due):
            yield Work(sweep, trial, epochs)
    elif sweep.kind == "optuna":
        for trial in suggestions.due_trials(sweep, trials, is_due):
            yield Work(sweep, trial)
    else:
        yield from (Work(sweep, trial) for trial in trials if is_due(sweep, trial))


def is_done(sweep: Sweep) -> bool:
    """Return whether all trials are over and none is to be started any more."""
    return all(trial.state in OVER for trial in sweep.trials) and next(pending(sweep), None) is None


def live_trials(sweep: Sweep) -> Sequence[Trial]:
    """Return the trials whose runs have processes."""
    return [trial for trial in sweep.trials if trial.state in LIVE]


def queue_sweep(sweep: Sweep) -> None:
    """Queue the trials of a sweep that have not been trained, and those that were stopped or have failed.

    Trials that diverged are not repeated: they would again.
    """
    for trial in sweep.trials:
        if trial.run is None or trial.state not in (RunState.STOPPED, RunState.FAILED, RunState.LOST):
            continue
        if not trial.run.status().get("diverged"):
            write_atomic(trial.run.path / "queued.json", json.dumps({"time": time.time_ns()}).encode())
    write_atomic(sweep.path / QUEUED, json.dumps({"time": time.time_ns()}).encode())


def stop_sweep(sweep: Sweep) -> None:
    """Start no further trials of a sweep, and stop those that are training."""
    (sweep.path / QUEUED).unlink(missing_ok=True)
    for trial in live_trials(sweep):
        with contextlib.suppress(TsnnError):  # it has ended
            launch.stop(Run(sweep.path / trial.name))
