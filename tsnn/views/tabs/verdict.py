"""Verdict: sentences that compare the results of runs, and how their times were measured."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from statistics import fmean

from tsnn.errors import ConfigError
from tsnn.jobs.queue import cores
from tsnn.records import INTERRUPTED, OVER, RunState, accuracy_name
from tsnn.runs.results import RunResult
from tsnn.views.plots import palette

_SAME = 0.005  # a difference in accuracy or R² that counts as none
_SAME_TIMES = 1.2  # a ratio that counts as none
_MAX_ROWS = 6
_SETUP = ("data.name", "data.size", "data.target", "data.test_fraction")  # results on other data are not compared


@dataclass(frozen=True)
class _Standing:
    """Mean results of a group of runs that differ in the seed only."""

    label: str
    runs: Sequence[RunResult]

    def mean(self, name: str) -> float | None:
        known = [value for r in self.runs if (value := getattr(r, name)) is not None]
        return fmean(known) if known else None

    @property
    def score(self) -> float | None:
        """Test accuracy; of regression R²."""
        accuracy = self.mean("test_accuracy")
        return self.mean("test_r2") if accuracy is None else accuracy

    @property
    def score_name(self) -> str:
        return "R²" if self.mean("test_accuracy") is None else accuracy_name(self.runs[0].task)

    @property
    def score_text(self) -> str:
        return f"{self.score:.3f}" if self.score_name == "R²" else palette.percent(self.score)

    @property
    def epochs(self) -> int:
        return min(r.epochs for r in self.runs)


def verdict(rows: Sequence[Sequence[RunResult]], labels: Sequence[str]) -> list[str]:
    """Compare the results of groups of runs, in a sentence for each.

    Finished runs are compared with the dense ones, else with those of most connections. While a run trains, or if one
    ended early, one sentence has the results so far.

    Parameters
    ----------
    rows : sequence of sequence of RunResult
        Groups of runs that differ in the seed only, as :func:`tsnn.runs.comparison.grouped` returns them.
    labels : sequence of str
        The name of each group.

    Returns
    -------
    sentences : list of str
        Empty for one group or many, for runs on different data, and before the first results.
    """
    known = [_Standing(label, row) for row, label in zip(rows, labels, strict=True) if row[0].settings]
    setups = {tuple(str(s.runs[0].settings.get(name)) for name in _SETUP) for s in known}
    trained = [s for s in known if s.score is not None and s.mean("seconds")]
    if not 2 <= len(known) <= _MAX_ROWS or len(setups) > 1 or not trained:
        return []
    runs = [r for s in known for r in s.runs]
    if any(r.state != RunState.FINISHED for r in runs) or len({s.epochs for s in known}) > 1:
        live = any(r.state not in OVER for r in runs)
        return [("So far: " if live else "") + "; ".join(map(_result_text, trained)) + "."]
    reference = max(trained, key=lambda s: (_method(s) == "dense", s.mean("connections") or 0))
    others = sorted((s for s in trained if s is not reference), key=lambda s: _method(s) != "set")
    sentences = [_compared(s, reference) for s in others]
    if any(len(s.runs) == 1 for s in trained):
        sentences.append("One seed each: repeat with more seeds before you conclude.")
    return sentences


def verdict_html(rows: Sequence[Sequence[RunResult]], labels: Sequence[str]) -> str:
    """Return the verdict as HTML, with how the times were measured; empty without one."""
    sentences = verdict(rows, labels)
    if not sentences:
        return ""
    others = "".join(f"<div>{escape(sentence)}</div>" for sentence in sentences[1:])
    clock = escape(clock_text([r for row in rows for r in row]))
    first = f"<div style='font-size:18px;font-weight:700'>{escape(sentences[0])}</div>"
    note = f"<div style='font-size:12.5px;opacity:.75;margin-top:4px'>{clock}</div>"
    return f"<div style='font-family:var(--bokeh-base-font);line-height:1.45'>{first}{others}{note}</div>"


def clock_text(results: Sequence[RunResult]) -> str:
    """Return how the times of runs are measured, and the reason if they are not comparable."""
    clock = "Time: each run's own seconds of training, evolution and evaluation; waiting for cores does not count."
    threads = {r.settings.get("run.threads") for r in results if r.settings}
    if len({r.host for r in results if r.host}) > 1:
        return f"{clock} These runs were trained on different machines: their times are not comparable."
    if len(threads) != 1:
        return f"{clock} These runs have different numbers of threads: their times are not comparable."
    (n,) = threads
    available = 1
    with contextlib.suppress(ConfigError):
        available = cores()
    at_once = available // n if n else 1
    order = "all can train at once" if at_once >= len(results) else f"{at_once} of them train at once"
    order = "one trains after another" if at_once <= 1 < len(results) else order
    each = f"{n} thread{'s' if n > 1 else ''}" if n else "all cores"
    return f"{clock} Each run has {each}: {order}."


def _method(standing: _Standing) -> str:
    return str(standing.runs[0].settings.get("training.method"))


def _result_text(standing: _Standing) -> str:
    planned = standing.runs[0].settings.get("training.epochs")
    broken = next((f", then {r.state}" for r in standing.runs if r.state in INTERRUPTED), "")
    return (
        f"{standing.label} {standing.score_text} test {standing.score_name} after "
        f"{palette.duration(standing.mean('seconds') or 0.0)} ({standing.epochs:,} of {planned:,} epochs{broken})"
    )


def _compared(standing: _Standing, reference: _Standing) -> str:
    parts = [
        _difference(standing, reference),
        _ratio(standing.mean("seconds"), reference.mean("seconds"), "less time", palette.duration),
        _ratio(standing.mean("connections"), reference.mean("connections"), "fewer connections", palette.count),
    ]
    return f"{standing.label} against {reference.label}: {', '.join(part for part in parts if part)}."


def _difference(standing: _Standing, reference: _Standing) -> str:
    """Return the difference of the scores as text, with both."""
    name, regression = standing.score_name, standing.score_name == "R²"
    difference = (standing.score or 0.0) - (reference.score or 0.0)
    both = f"({standing.score_text} and {reference.score_text})"

    def amount(value: float) -> str:
        return f"{value:.3f}" if regression else f"{100 * value:.1f} points"

    if abs(difference) <= _SAME:
        return f"same {name} within {amount(_SAME)} {both}"
    return f"{amount(abs(difference))} {'more' if difference > 0 else 'less'} {name} {both}"


def _ratio(value: float | None, other: float | None, less: str, form: Callable[[float], str]) -> str:
    """Return how many times less or more a value is than another; empty if one is missing or they are equal."""
    if not value or not other or value == other:
        return ""
    name, both = less.partition(" ")[2], f"({form(value)} and {form(other)})"
    ratio = max(value, other) / min(value, other)
    if ratio < _SAME_TIMES:
        return f"about the same {name} {both}"
    times = f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.1f}"
    return f"{times} times {less if value < other else f'more {name}'} {both}"
