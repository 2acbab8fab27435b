"""Successive halving: all combinations are trained for a few epochs, the best of them for more, round after round.

Jamieson and Talwalkar 2016 (arXiv 1502.07943). Nothing is recorded but the runs: a round's ranking uses the records up
to that round's last epoch, so that every process finds the same one at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import fmean

from tsnn.records import OVER, RunState
from tsnn.runs.sweep_plan import Trial
from tsnn.runs.sweeps import Sweep


def due_trials(
    sweep: Sweep, trials: Sequence[Trial], is_due: Callable[[Sweep, Trial], bool]
) -> Iterator[tuple[Trial, int]]:
    """Yield the trials of the present round that are to be started, and the epochs to train them for."""
    points: dict[object, list[Trial]] = {}
    for trial in trials:
        points.setdefault(trial.point, []).append(trial)
    epochs_done = {trial.number: found.epochs for trial, found in sweep.results() if found is not None}
    members = list(points)
    for epochs, n_points in sweep.plan.rounds:
        members = members[:n_points]
        over = True
        for trial in (trial for point in members for trial in points[point]):
            short = trial.state == RunState.FINISHED and epochs_done.get(trial.number, 0) < epochs
            if short or is_due(sweep, trial):
                yield trial, epochs
            over = over and trial.state in OVER and not short and not is_due(sweep, trial)
        if not over:
            return
        means = _means(sweep, epochs)
        members = sorted((point for point in members if point in means), key=lambda point: -means[point])


def _means(sweep: Sweep, epochs: int) -> dict[object, float]:
    """Return the mean objective of each combination after a number of epochs, over its trials that reached them."""
    found: dict[object, list[float]] = {}
    for trial, result in sweep.results_after(epochs):
        value = sweep.value(result)
        if value is not None:
            found.setdefault(trial.point, []).append(value)
    return {point: fmean(values) for point, values in found.items()}
