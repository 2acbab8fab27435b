"""Comparison of runs: the settings in which they differ, their results, mean and spread over seeds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from tsnn.config import Config, describe
from tsnn.errors import TsnnError
from tsnn.records import INTERRUPTED, accuracy_name
from tsnn.runs.cells import Column, Spread
from tsnn.runs.measures import COLUMNS
from tsnn.runs.results import RunResult, was_changed
from tsnn.runs.rules import hashed_settings, recorded_rules, with_hashes
from tsnn.runs.store import Run

#: Methods that are compared as baselines.
BASELINES = ("set", "fixed", "dense")
SEED = "run.seed"
_SELF_EXPLANATORY = ("training.method", "data.name")  # their values need no name next to them


def differing(results: Sequence[RunResult]) -> list[str]:
    """Return the settings in which the runs differ, in the order of the configuration."""
    readable = [r for r in results if r.settings]
    names = dict.fromkeys(name for r in readable for name in r.settings)
    return [name for name in names if len({r.setting_text(name) for r in readable}) > 1]


def grouped(results: Iterable[RunResult]) -> list[list[RunResult]]:
    """Return groups of runs that differ only in the seed, in the order of their first run.

    How a run is executed (threads, micro-batch, snapshots) changes no result, so it is ignored.
    A run whose settings were changed while it was training, or cannot be read, is a group of its own.
    """
    groups: dict[Any, list[RunResult]] = {}
    for r in results:
        settings = {name: v for name, v in _relevant(r.settings).items() if name != SEED}
        separate = r.run if r.changed or not settings else ""
        groups.setdefault((repr(settings), separate), []).append(r)
    return list(groups.values())


_RESULTS = (
    ("test accuracy", "fraction", "test_accuracy"),
    ("test R²", "number", "test_r2"),
    ("test loss", "number", "test_loss"),
    ("train loss", "number", "train_loss"),
    ("best epoch by validation", "count", "best_epoch"),
    ("test accuracy then", "fraction", "best_accuracy"),
    ("test R² then", "number", "best_r2"),
    ("test loss then", "number", "best_loss"),
    ("epochs", "count", "epochs"),
    ("connections", "count", "connections"),
    ("time", "seconds", "seconds"),
    ("memory", "bytes", "memory_bytes"),
)


def table(results: Sequence[RunResult], *, over_seeds: bool = False) -> list[Column]:
    """Return the columns of a comparison: the runs, the settings that differ, the results.

    Parameters
    ----------
    results : sequence of RunResult
        The runs.
    over_seeds : bool
        One row for each group of runs that differ in the seed only, with mean and standard deviation.
    """
    rows = grouped(results) if over_seeds else [[r] for r in results]
    names = [name for name in differing(results) if not (over_seeds and name == SEED)]
    columns = [
        Column("run", "text", tuple(_title(row) for row in rows)),
        Column("state", "text", tuple(_states(row) for row in rows)),
        *(Column(name, "text", tuple(row[0].setting_text(name) for row in rows)) for name in names),
    ]
    if any(r.changed for r in results):
        columns.append(Column("changed live", "count", tuple(row[0].changed for row in rows)))
    counted = {accuracy_name(r.task) for r in results if r.test_accuracy is not None}
    for title, kind, attribute in _RESULTS:
        title = title.replace("accuracy", " or ".join(sorted(counted)) or "accuracy")
        values = tuple(_mean([getattr(r, attribute) for r in row]) for row in rows)
        if any(v is not None for v in values):
            columns.append(Column(title, kind, values))
    for name, (title, kind) in COLUMNS.items():
        if any(name in r.measures for r in results):
            columns.append(Column(title, kind, tuple(_mean([r.measures.get(name) for r in row]) for row in rows)))
    return columns


def labels(rows: Sequence[Sequence[RunResult]]) -> list[str]:
    """Return a short, unique label for each group of runs of :func:`grouped`: a title, or settings that differ.

    Only the settings that are needed to make the labels unique are named.
    """
    first = [row[0] for row in rows]
    texts = [r.name if r.name != r.run else "" for r in first]
    for name in sorted(differing(first), key=lambda name: name not in _SELF_EXPLANATORY):
        parts = [_setting_label(name, r) for r in first]
        longer = [
            text if r.name != r.run else f"{text}, {part}".removeprefix(", ")
            for text, part, r in zip(texts, parts, first, strict=True)
        ]
        if len(set(longer)) > len(set(texts)):
            texts = longer
    return [
        text if text and texts.count(text) == 1 else f"{text or r.run} ({r.run[-4:]})"
        for text, r in zip(texts, first, strict=True)
    ]


def _setting_label(name: str, r: RunResult) -> str:
    """Return a setting as part of a label: ``zeta 0.3``; only the value if it is self-explanatory."""
    text = describe(name).display_name(r.setting_text(name))
    if name == "data.name":
        return Path(text).name  # without folders
    return text if name in _SELF_EXPLANATORY else f"{name.rpartition('.')[2].replace('_', ' ')} {text}"


def _states(row: Sequence[RunResult]) -> str:
    """Return the state of a run; of several runs ``finished``, or ``3 finished, 1 queued``."""
    counts = Counter(_state(r) for r in row)
    return next(iter(counts)) if len(counts) == 1 else ", ".join(f"{n} {state}" for state, n in counts.items())


def _state(r: RunResult) -> str:
    return f"unreadable: {r.problem}" if r.problem else r.state


def _title(row: Sequence[RunResult]) -> str:
    return row[0].name + more_seeds(row)


def more_seeds(row: Sequence[RunResult]) -> str:
    """Return the end of a group's title: ``" and 2 more seeds"``, empty for one run."""
    return "" if len(row) == 1 else f" and {len(row) - 1} more seed{'s'[: len(row) > 2]}"


def _mean(values: Sequence[float | None]) -> float | Spread | None:
    known = [v for v in values if v is not None]
    if len(values) == 1 or not known:
        return known[0] if known else None
    return Spread(fmean(known), stdev(known) if len(known) > 1 else math.nan, len(known))


def baselines(config: Config) -> list[Config]:
    """Return the configuration with each method of :data:`BASELINES`, at otherwise equal settings."""
    return [config.replace(method=method) for method in BASELINES]


def seeds(config: Config, n: int) -> list[Config]:
    """Return the configuration with ``n`` seeds: its own and the following ones."""
    return [config.replace({SEED: config.run.seed + i}) for i in range(n)]


def find(config: Config, runs: Iterable[Run]) -> Run | None:
    """Return the first run with these settings; None if there is none.

    Settings that change no result, such as threads, are ignored. Runs that were interrupted (stopped, failed, lost), or
    whose settings were changed while they were training, do not count.
    """
    wanted = _relevant(hashed_settings(config))
    for run in runs:
        try:
            run.meta()
            equal = _relevant(with_hashes(run.config().flat(), recorded_rules(run.path))) == wanted
        except TsnnError:
            continue
        if equal and run.status()["state"] not in INTERRUPTED and not was_changed(run):
            return run
    return None


def _relevant(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that change results."""
    return {name: v for name, v in settings.items() if not name.startswith("run.") or name == SEED}
