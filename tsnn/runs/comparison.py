"""Comparison of runs: the settings in which they differ, their results, mean and spread over seeds.

Results are those of the last epoch and, with a validation split, of the epoch with the least validation loss. The best
test epoch is never reported: picking it would overstate accuracy.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from tsnn.config import LIVE_SETTINGS, Config, describe
from tsnn.errors import TsnnError
from tsnn.records import INTERRUPTED, EventKind, RunState, accuracy_name
from tsnn.runs.cells import Column, Spread, format_change
from tsnn.runs.notes import notes
from tsnn.runs.store import Run

#: Methods that are compared as baselines.
BASELINES = ("set", "fixed", "dense")
SEED = "run.seed"
_SELF_EXPLANATORY = ("training.method", "data.name")  # their values need no name next to them


@dataclass(frozen=True)
class RunResult:
    """Settings and results of a run; unknown values are None.

    Attributes
    ----------
    run, name, state : str
        Directory, title (or directory), state.
    settings : dict
        All settings at the start as ``{"section.field": value}``; empty if they cannot be read.
    changed : int
        Number of changes of settings while it was training, or where it was forked.
    now : dict
        Live settings in the last epoch, as ``{"section.field": value}``.
    epochs, samples : int
        Finished epochs, and training samples seen in them.
    test_accuracy, test_loss, train_loss : float
        After the last epoch.
    connections : int
        After the last epoch.
    seconds : float
        Training, evolution and evaluation, summed over the epochs.
    memory_bytes : int
        Largest resident memory at the end of an epoch.
    best_epoch : int
        Epoch with the least validation loss; None without a validation split.
    best_accuracy, best_loss : float
        On the test part, after that epoch.
    problem : str
        Why the run cannot be read completely; empty if it can.
    test_r2, best_r2 : float
        Likewise; of regression.
    task : str
        Such as "regression"; empty until the data have been read.
    host : str
        Machine that it runs or ran on; empty if unknown.
    """

    run: str
    name: str
    state: RunState
    settings: Mapping[str, Any]
    changed: int
    epochs: int
    samples: int
    test_accuracy: float | None
    test_loss: float | None
    train_loss: float | None
    connections: int | None
    seconds: float | None
    memory_bytes: int | None
    best_epoch: int | None = None
    best_accuracy: float | None = None
    best_loss: float | None = None
    problem: str = ""
    test_r2: float | None = None
    best_r2: float | None = None
    task: str = ""
    now: Mapping[str, Any] = field(default_factory=dict)
    host: str = ""

    def setting_text(self, name: str) -> str:
        """Return a setting as text: ``0.3``, or ``0.3 → 0.81`` if it was changed while the run was training."""
        start = self.settings.get(name)
        return format_change(start, self.now.get(name, start))


def result(run: Run) -> RunResult:
    """Return the settings and results of a run, from all of its metrics."""
    settings: Mapping[str, Any] = {}
    task, fork = "", {}
    problem = run.problem()
    if not problem:
        with contextlib.suppress(TsnnError):
            meta = run.meta()
            task, fork = str(meta.get("data", {}).get("task", "")), meta.get("fork", {})
            settings = run.config().flat()
    status = run.status()
    epochs: list[Mapping[str, Any]] = []
    changed: set[tuple[Any, Any]] = {  # those that can be changed live have an event
        (fork.get("epoch"), name) for name in fork.get("settings", {}) if name not in LIVE_SETTINGS.values()
    }
    lines, _, damage = run.checked_lines()
    for line in lines:
        if line.get("type") == "epoch":
            while epochs and epochs[-1]["epoch"] >= line["epoch"]:  # a resumed run repeats epochs
                epochs.pop()
            epochs.append(line)
        elif line.get("type") == "event" and line.get("kind") == EventKind.SETTING:
            changed.add((line.get("epoch"), line.get("message")))
    last = epochs[-1] if epochs else {}
    validated = [epoch for epoch in epochs if epoch.get("validation_loss") is not None]
    best = min(validated, key=lambda epoch: float(epoch["validation_loss"]), default={})
    parts = [[epoch.get(f"seconds_{part}") or 0.0 for epoch in epochs] for part in ("train", "evolve", "evaluate")]
    return RunResult(
        run=run.id,
        name=notes(run)[0] or run.id,
        state=status["state"],
        settings=settings,
        changed=len(changed),
        epochs=len(epochs),
        samples=last.get("samples") or 0,
        test_accuracy=last.get("test_accuracy"),
        test_loss=last.get("test_loss"),
        train_loss=last.get("train_loss"),
        connections=last.get("connections"),
        seconds=sum(map(sum, parts)) if epochs else None,
        memory_bytes=max((epoch.get("memory_bytes") or 0 for epoch in epochs), default=0) or None,
        best_epoch=best.get("epoch"),
        best_accuracy=best.get("test_accuracy"),
        best_loss=best.get("test_loss"),
        problem=problem or damage,
        test_r2=last.get("test_r2"),
        best_r2=best.get("test_r2"),
        task=task,
        now={LIVE_SETTINGS[name]: v for name, v in last.get("settings", {}).items() if name in LIVE_SETTINGS},
        host=str(process.get("host", "")) if isinstance(process := status.get("process"), dict) else "",
    )


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
    return row[0].name if len(row) == 1 else f"{row[0].name} and {len(row) - 1} more seed{'s'[: len(row) > 2]}"


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
    wanted = _relevant(config.flat())
    for run in runs:
        try:
            run.meta()
            equal = _relevant(run.config().flat()) == wanted
        except TsnnError:
            continue
        if equal and run.status()["state"] not in INTERRUPTED and not result(run).changed:
            return run
    return None


def _relevant(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that change results."""
    return {name: v for name, v in settings.items() if not name.startswith("run.") or name == SEED}
