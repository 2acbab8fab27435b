"""Successive halving: all combinations are trained for a few epochs, the best of them for more, round after round.

Jamieson and Talwalkar 2016 (arXiv 1502.07943). Nothing is recorded but the runs: a round's ranking uses the records up
to that round's last epoch, so that every process finds the same one at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean

from tsnn.jobs.planning import rounds
from tsnn.records import LIVE, OVER, RunState
from tsnn.runs.results import ResultReader
from tsnn.runs.sweep_plan import Trial
from tsnn.runs.sweeps import Sweep

#: Objectives of trials after rounds that are over, by the run's directory and the epochs.
_values: dict[tuple[Path, int], float] = {}


def due_trials(
    sweep: Sweep, trials: Sequence[Trial], is_due: Callable[[Sweep, Trial], bool]
) -> Iterator[tuple[Trial, int]]:
    """Yield the trials of the present round that are to be started, and the epochs to train them for."""
    points: dict[object, list[Trial]] = {}
    for trial in trials:
        points.setdefault(trial.point, []).append(trial)
    epochs_done = {trial.number: found.epochs for trial, found in sweep.results() if found is not None}
    members = list(points)
    for epochs, n_points in rounds(sweep.plan):
        members = members[:n_points]
        over = True
        for trial in (trial for point in members for trial in points[point]):
            short = trial.state == RunState.FINISHED and epochs_done.get(trial.number, 0) < epochs
            if short or is_due(sweep, trial):
                yield trial, epochs
            over = over and trial.state in OVER and not short and not is_due(sweep, trial)
        if not over:
            return
        ranking = {point: _mean(sweep, points[point], epochs) for point in members}
        members = sorted((p for p in members if ranking[p] is not None), key=lambda p: -(ranking[p] or 0.0))


def _mean(sweep: Sweep, trials: Sequence[Trial], epochs: int) -> float | None:
    """Return the mean objective of a combination after a number of epochs; None if none of its trials reached them."""
    found = [value for trial in trials if (value := _value(sweep, trial, epochs)) is not None]
    return fmean(found) if found else None


def _value(sweep: Sweep, trial: Trial, epochs: int) -> float | None:
    if trial.run is None or trial.state in LIVE:
        return None
    key = trial.run.path, epochs
    if key not in _values:
        reader = ResultReader(trial.run)
        reader.read(until_epoch=epochs)
        result = reader.result()
        value = sweep.value(result) if result.epochs == epochs else None
        if value is None:
            return None
        _values[key] = value
    return _values[key]
