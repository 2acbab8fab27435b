"""Settings that Optuna chooses: its samplers and its journal ``optuna.log`` in the directory of a sweep.

Several processes and machines may use the journal. Optuna learns of a combination when all its seeds have been trained.

Its pruners are not used: they stop a trial by the other trials at that moment, so that which one is stopped depends on
the machine's load, and a stopped trial is one that can be continued here. Successive halving (:mod:`tsnn.jobs.halving`)
saves the same epochs, and finds the same trials in every process and after every interruption.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from tsnn.config import describe
from tsnn.extras import require
from tsnn.records import OVER
from tsnn.runs.sweep_plan import Plan, Trial, canonical
from tsnn.runs.sweeps import Sweep

JOURNAL = "optuna.log"
_POINT = "combination"  # attribute of Optuna's trials: the number of our combination

_studies: dict[Path, Any] = {}


def due_trials(sweep: Sweep, trials: Sequence[Trial], is_due: Callable[[Sweep, Trial], bool]) -> Iterator[Trial]:
    """Yield the trials that are to be started; other seeds of a combination when its first run has its settings."""
    due = [trial for trial in trials if is_due(sweep, trial)]
    report(sweep, trials, due)
    for trial in due:
        first = _first(sweep, trials, trial)
        if trial.settings or first.settings or first is trial:
            yield trial


def choose(sweep: Sweep, trial: Trial) -> Mapping[str, Any]:
    """Return the settings of a trial without any: those of the combination's first run, else chosen by Optuna."""
    return _first(sweep, sweep.trials, trial).settings or _suggest(sweep, trial.number // max(1, len(sweep.seeds)))


def _first(sweep: Sweep, trials: Sequence[Trial], trial: Trial) -> Trial:
    n_seeds = max(1, len(sweep.seeds))
    return trials[trial.number // n_seeds * n_seeds]


def study(sweep: Sweep) -> Any:
    """Return Optuna's study of a sweep; it is created if there is none.

    Raises
    ------
    MissingPackageError
        If Optuna is not installed.
    """
    optuna = require("optuna", "A sweep whose settings Optuna chooses")
    if sweep.path not in _studies:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        journal = require("optuna.storages.journal", "A sweep whose settings Optuna chooses")
        storage = optuna.storages.JournalStorage(journal.JournalFileBackend(str(sweep.path / JOURNAL)))
        _studies[sweep.path] = optuna.create_study(
            storage=storage, study_name=sweep.id, direction="maximize", load_if_exists=True
        )
    return _studies[sweep.path]


def _suggest(sweep: Sweep, point: int) -> Mapping[str, Any]:
    """Return the settings of a combination that Optuna chooses (a tree-structured Parzen estimator)."""
    optuna, known = require("optuna", "A sweep whose settings Optuna chooses"), study(sweep)
    seed = (sweep.base.run.seed + len(known.get_trials(deepcopy=False))) % 2**32  # each choice has its own
    known.sampler = optuna.samplers.TPESampler(seed=seed)
    asked = known.ask(distributions(sweep.plan))
    asked.set_user_attr(_POINT, point)
    settings = dict(asked.params)
    for name, values in sweep.plan.values.items():
        settings[name] = values[int(settings[name])]
    return {name: canonical(sweep.base, name, value) for name, value in settings.items()}


def distributions(plan: Plan) -> dict[str, Any]:
    """Return Optuna's distributions of the swept settings; listed values are chosen by their place."""
    kinds = require("optuna.distributions", "A sweep whose settings Optuna chooses")
    found: dict[str, Any] = {n: kinds.CategoricalDistribution([*range(len(v))]) for n, v in plan.values.items()}
    for name, limits in plan.ranges.items():
        kind = kinds.IntDistribution if isinstance(describe(name).default, int) else kinds.FloatDistribution
        found[name] = kind(limits.low, limits.high, log=limits.log)
    return found


def report(sweep: Sweep, trials: Sequence[Trial], due: Sequence[Trial] = ()) -> None:
    """Report the results of combinations whose trials are over to Optuna."""
    optuna, known = require("optuna", "A sweep whose settings Optuna chooses"), study(sweep)
    open_trials = {t.user_attrs[_POINT]: t for t in known.get_trials(deepcopy=False) if _POINT in t.user_attrs}
    open_trials = {point: t for point, t in open_trials.items() if not t.state.is_finished()}
    if not open_trials:
        return
    n_seeds, numbers = max(1, len(sweep.seeds)), {trial.number for trial in due}
    results = dict(enumerate(found for _, found in sweep.results()))
    for point, asked in open_trials.items():
        own = trials[point * n_seeds : (point + 1) * n_seeds]
        if not own or any(trial.state not in OVER or trial.number in numbers for trial in own):
            continue
        values = [value for trial in own if (value := sweep.value(results.get(trial.number))) is not None]
        failed = len(values) < len(own) or any(trial.state != "finished" for trial in own)
        with contextlib.suppress(ValueError):  # another process was first
            if failed:
                known.tell(asked.number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)
            else:
                known.tell(asked.number, fmean(values), skip_if_finished=True)
