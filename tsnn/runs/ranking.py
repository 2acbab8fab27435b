"""Ranking of a sweep's combinations of settings: mean and spread over seeds, and which differ from the best."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

from tsnn.records import OVER, RunState
from tsnn.runs.cells import Column, Spread, format_cell, format_value
from tsnn.runs.measures import COLUMNS
from tsnn.runs.results import RunResult
from tsnn.runs.sweep_plan import Trial
from tsnn.runs.sweeps import Sweep

LEVEL = 0.05  #: of significance, for all comparisons with the best together
_MEASURES = (("connections", "count"), ("seconds", "seconds"))


@dataclass(frozen=True)
class Combination:
    """Combination of settings, and its results over the seeds.

    Attributes
    ----------
    settings : mapping
        The swept settings by full name.
    values, tests : mapping
        Objective, and the test result that belongs to it (:meth:`Sweep.test_value`), by seed; of finished trials.
    failed, trials : int
        Trials that were interrupted, and all trials.
    epochs : int
        The fewest epochs of its finished trials: with successive halving, only equal ones are comparable.
    connections, seconds : float or None
        Means over the finished trials.
    measures : mapping
        Likewise, by name, of those of :data:`tsnn.runs.measures.COLUMNS` that are known.
    """

    settings: Mapping[str, Any]
    values: Mapping[int, float]
    tests: Mapping[int, float]
    failed: int
    trials: int
    epochs: int
    connections: float | None
    seconds: float | None
    measures: Mapping[str, float] = field(default_factory=dict)

    @property
    def value(self) -> Spread:
        """Mean and standard deviation of the objective."""
        return _spread(list(self.values.values()))

    @property
    def test(self) -> Spread:
        """Mean and standard deviation of the test result."""
        return _spread(list(self.tests.values()))

    @property
    def label(self) -> str:
        """Its settings as text: ``zeta 0.3, epsilon 5``."""
        parts = (f"{name.partition('.')[2].replace('_', ' ')} {format_value(v)}" for name, v in self.settings.items())
        return ", ".join(parts)


def _spread(values: Sequence[float]) -> Spread:
    return Spread(fmean(values) if values else math.nan, stdev(values) if len(values) > 1 else math.nan, len(values))


def ranking(sweep: Sweep, results: Sequence[tuple[Trial, RunResult | None]] | None = None) -> list[Combination]:
    """Return the combinations that have been started, the best first; those without result last.

    With successive halving, those that were trained longest come first.

    Parameters
    ----------
    sweep : Sweep
        The sweep.
    results : sequence, optional
        Those of :meth:`Sweep.results`, if they are known.
    """
    groups: dict[Any, list[tuple[Trial, RunResult | None]]] = {}
    for trial, result in sweep.results() if results is None else results:
        if trial.run is not None:
            groups.setdefault(trial.point, []).append((trial, result))
    found = [_combination(sweep, group) for group in groups.values()]
    return sorted(found, key=lambda c: (not c.values, -c.epochs, -c.value.mean if c.values else 0.0))


def _combination(sweep: Sweep, group: Sequence[tuple[Trial, RunResult | None]]) -> Combination:
    finished = {t.seed: r for t, r in group if r is not None and t.state == RunState.FINISHED}
    values = {seed: value for seed, r in finished.items() if (value := sweep.value(r)) is not None}
    tests = {seed: value for seed, r in finished.items() if (value := sweep.test_value(r)) is not None}
    means = {}
    for name, _ in _MEASURES:
        known = [value for r in finished.values() if (value := getattr(r, name)) is not None]
        means[name] = fmean(known) if known else None
    measured = {n: [r.measures[n] for r in finished.values() if n in r.measures] for n in COLUMNS}
    return Combination(
        measures={name: fmean(known) for name, known in measured.items() if known},
        settings=group[0][0].settings, values=values, tests=tests, trials=len(group),
        failed=sum(t.state in OVER and t.state != RunState.FINISHED for t, _ in group),
        epochs=min((r.epochs for r in finished.values()), default=0), **means,
    )  # fmt: skip


def table(sweep: Sweep, ranked: Sequence[Combination]) -> list[Column]:
    """Return the columns of a ranking: settings, results, seeds."""
    kind = "number" if sweep.objective.endswith("R²") else "fraction"
    columns = [
        Column(
            name.partition(".")[2].replace("_", " "), "text", tuple(format_value(c.settings.get(name)) for c in ranked)
        )
        for name in {**sweep.plan.values, **sweep.plan.ranges}
    ]
    columns.append(Column(sweep.objective, kind, tuple(c.value if c.values else None for c in ranked)))
    if sweep.validated:
        name = sweep.objective.replace("validation", "test")
        columns.append(Column(f"{name} then", kind, tuple(c.test if c.tests else None for c in ranked)))
    if sweep.kind == "halving":
        columns.append(Column("epochs", "count", tuple(c.epochs or None for c in ranked)))
    for title, measure in _MEASURES:
        columns.append(Column(title, measure, tuple(getattr(c, title) for c in ranked)))
    for name, (title, form) in COLUMNS.items():
        if any(name in c.measures for c in ranked):
            columns.append(Column(title, form, tuple(c.measures.get(name) for c in ranked)))
    columns.append(Column("seeds", "text", tuple(_seeds(c) for c in ranked)))
    return columns


def _seeds(c: Combination) -> str:
    return f"{len(c.values)}" + (f", {c.failed} failed" if c.failed else "")


def summary_lines(sweep: Sweep, ranked: Sequence[Combination]) -> Iterator[str]:
    """Yield sentences on the best combination: its results, and whether others differ from it."""
    if not ranked or not ranked[0].values:
        yield "No trial has finished yet."
        return
    best, kind = ranked[0], "number" if sweep.objective.endswith("R²") else "fraction"
    spread = f"over {best.value.n} seeds" if best.value.n > 1 else "with one seed"
    after = f" after {best.epochs} epochs" if sweep.kind == "halving" else ""
    value = f"{format_cell(kind, best.value)} {spread}."
    if len(ranked) > 1:
        yield f"Best by {sweep.objective}{after}: {best.label}, {value}"
    else:
        yield f"{sweep.objective.capitalize()}{after} with {best.label}: {value}"
    if sweep.validated and best.tests:
        yield f"On the test part, which did not choose it: {format_cell(kind, best.test)}."
    yield from significance(ranked)
    if sweep.caveat:
        yield sweep.caveat


def significance(ranked: Sequence[Combination]) -> Iterator[str]:
    """Yield sentences on the combinations that differ from the best: paired t-tests over seeds, corrected by Holm."""
    best = ranked[0]
    others = [c for c in ranked[1:] if c.values and c.epochs == best.epochs]
    if not others:
        return
    if len(best.values) < 2:
        yield "One seed says nothing about chance: whether the best differs from others is not tested. Try --seeds 3."
        return
    p_values = [p for c in others if (p := paired_p_value(best.values, c.values)) is not None]
    distinct = _holm(p_values)
    same = len(others) - distinct
    seeds = f"with {len(best.values)} seeds"
    count = f"{len(p_values)} comparison{'s'[: len(p_values) != 1]}"
    test = f"paired t-test over seeds, Holm's correction for {count}, level {LEVEL:g}"
    if same:
        yield f"Not distinguishable from the best {seeds}: {same} of {len(others)} other combinations ({test})."
    else:
        yield f"All {len(others)} other combinations differ from the best {seeds} ({test})."
    yield "The best of many is partly the luckiest; and the test knows the chance of the seeds, not that of other data."


def paired_p_value(first: Mapping[int, float], second: Mapping[int, float]) -> float | None:
    """Return the two-sided p-value of a paired t-test over the common seeds; None with fewer than two."""
    from scipy.stats import t

    differences = [first[seed] - second[seed] for seed in first if seed in second]
    if len(differences) < 2:
        return None
    error = stdev(differences) / math.sqrt(len(differences))
    if error == 0.0:
        return None if differences[0] else 1.0  # equal differences estimate no error
    return float(2 * t.sf(abs(fmean(differences)) / error, len(differences) - 1))


def _holm(p_values: Sequence[float]) -> int:
    """Return the number of hypotheses that Holm's step-down procedure rejects (Holm 1979)."""
    for i, p in enumerate(sorted(p_values)):
        if p > LEVEL / (len(p_values) - i):
            return i
    return len(p_values)


def trial_rows(sweep: Sweep) -> list[dict[str, Any]]:
    """Return one row of settings and results for each trial."""
    rows, results = [], sweep.results()
    measures = [name for name in COLUMNS if any(r and name in r.measures for _, r in results)]
    for trial, r in results:
        row = {"trial": trial.number, **{name.partition(".")[2]: v for name, v in trial.settings.items()}}
        row |= {"seed": trial.seed, "state": str(trial.state), "epochs": r.epochs if r else 0}
        row |= {sweep.objective: sweep.value(r), "test": sweep.test_value(r)}
        row |= {name: getattr(r, name, None) for name, _ in _MEASURES}
        rows.append(row | {name: r.measures.get(name) if r else None for name in measures})
    return rows


def progress_text(sweep: Sweep) -> str:
    """Return one or two lines on a sweep: its trials by state, and the best combination so far."""
    results = sweep.results(seconds=1.0)
    if sweep.problem:
        return sweep.problem
    states = Counter(str(trial.state) for trial, _ in results)
    waiting = states.pop(RunState.QUEUED, 0)
    parts = [f"{n} {state}" for state, n in sorted(states.items())]
    if waiting:
        parts.append(f"{waiting} {'queued' if sweep.queued else 'not started'}")
    text = f"Sweep {sweep.id}, {sweep.name}: {', '.join(parts)} of {len(results)} trials."
    ranked = ranking(sweep, results)
    return text if not ranked or not ranked[0].values else f"{text}\n{next(summary_lines(sweep, ranked))}"
