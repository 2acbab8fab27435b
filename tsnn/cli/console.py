"""Output of the command line: progress bar, result table, lists."""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from tsnn.datasets import DatasetInfo
from tsnn.datasets.inspection import Inspection
from tsnn.records import Compilation, EpochRecord, Event, EventKind, Progress, accuracy_name
from tsnn.runs import Run
from tsnn.runs.cells import Column, format_cell

#: Loggers whose messages are displayed above the progress bar: memory estimate, events.
_DISPLAYED_LOGGERS = ("tsnn.execution.preparation", "tsnn.runs.writer")


class ProgressDisplay:
    """Progress bar of a run, with messages above it. Use as a context manager.

    Parameters
    ----------
    epochs : int
        Number of epochs of the run.
    run : Run
        The run, for its task.

    Attributes
    ----------
    last : EpochRecord or None
        Last finished epoch.
    """

    def __init__(self, epochs: int, run: Run):
        self.last: EpochRecord | None = None
        self._run = run
        self._epochs = epochs
        self._started = time.monotonic()
        self._exits = contextlib.ExitStack()

    def __enter__(self) -> ProgressDisplay:
        loggers = [logging.getLogger(name) for name in _DISPLAYED_LOGGERS]
        self._bar: tqdm[Any] = self._exits.enter_context(_progress_bar(self._epochs))
        self._exits.enter_context(logging_redirect_tqdm(loggers))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()

    def update(self, item: Compilation | Progress | EpochRecord | Event) -> None:
        """Display a stage of compilation, a progress, a finished epoch or an event."""
        bar = self._bar
        if isinstance(item, EpochRecord):
            self.last = item
            bar.set_postfix_str(_score(item, self.task), refresh=False)
            bar.update(item.epoch - bar.n)
        elif isinstance(item, Event):
            bar.write(_event_text(item), file=sys.stderr)
        elif isinstance(item, Compilation):
            bar.set_description(str(item))
        else:
            bar.set_description(f"epoch {item.epoch}", refresh=False)
            bar.update(item.epoch - 1 + item.samples / item.samples_total - bar.n)

    @functools.cached_property
    def task(self) -> str:
        """Task of the run, such as "regression"; known once it has loaded its data."""
        return str(self._run.meta().get("data", {}).get("task", ""))

    def seconds(self) -> float:
        """Return the time since the start, in seconds."""
        return time.monotonic() - self._started


def _progress_bar(epochs: int) -> tqdm[Any]:
    return tqdm(
        total=epochs,
        desc="loading data",
        bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}",
        mininterval=0.1 if sys.stderr.isatty() else 10,
        dynamic_ncols=True,
    )


def _event_text(event: Event) -> str:
    return f"Warning: {event.message}" if event.kind == EventKind.DATA_WARNING else event.message


def _score(record: EpochRecord, task: str) -> str:
    if record.test_accuracy is not None:
        return f"test {accuracy_name(task)} {record.test_accuracy:.2%}"
    return f"test loss {_loss(record.test_loss)}" if record.test_r2 is None else f"test R² {record.test_r2:.4f}"


def _loss(value: float) -> str:
    """Return a loss as text; those of regression may be as large as the targets' squares."""
    return f"{value:.4f}" if abs(value) < 1e5 else f"{value:.6g}"


def result_table(record: EpochRecord, seconds: float, task: str = "") -> str:
    """Return the results of a run's last epoch, and its layers, as text."""
    rows = [("epoch", f"{record.epoch}")]
    for part in ("test", "train"):
        accuracy, r2 = getattr(record, f"{part}_accuracy"), getattr(record, f"{part}_r2")
        if accuracy is not None:
            rows.append((f"{part} {accuracy_name(task)}", f"{accuracy:.2%}"))
        elif r2 is not None:
            rows.append((f"{part} R²", f"{r2:.4f}"))
    rows += [
        ("test loss", _loss(record.test_loss)),
        ("train loss", _loss(record.train_loss)),
        ("connections", f"{record.connections:,}"),
        ("memory", f"{record.memory_bytes / 2**20:,.0f} MiB"),
        ("time", f"{seconds:,.1f} s"),
    ]
    lines = [f"{name:<20}{value:>14}" for name, value in rows]
    lines += ["", f"{'layer':<20}{'connections':>14}{'density':>10}{'neurons':>10}"]
    lines += [
        f"{f'{layer.n_in} to {layer.n_out}':<20}{layer.connections:>14,}{layer.density:>10.2%}{layer.living:>10,}"
        for layer in record.layers
    ]
    return "\n".join(lines)


def run_lines(runs: Iterable[Run]) -> Iterator[str]:
    """Yield the lines of a list of runs."""
    yield f"{'run':<42}{'state':<11}{'data set':<18}{'method':<10}{'epoch':>11}{'score':>12}"
    for run in runs:
        yield _run_line(run)


def _run_line(run: Run) -> str:
    status = run.status()
    if problem := run.problem():
        return f"{run.id:<42}{'unreadable':<11}{problem}"
    config = run.config()
    epoch = f"{status.get('epoch', 0)}/{config.training.epochs}"
    return (
        f"{run.id:<42}{status['state']:<11}{Path(config.data.name).stem:<18}{config.training.method:<10}"
        f"{epoch:>11}{_status_score(status):>12}"
    )


def _status_score(status: Mapping[str, Any]) -> str:
    """Return test accuracy or R² of a run's last epoch as text."""
    accuracy, r2 = status.get("test_accuracy"), status.get("test_r2")
    if accuracy is not None:
        return f"{accuracy:.2%}"
    return "" if r2 is None else f"R² {r2:.3f}"


def comparison_lines(columns: Sequence[Column]) -> Iterator[str]:
    """Yield the lines of a comparison: a header, then one line per row."""
    texts = [[c.title, *(format_cell(c.kind, value) for value in c.values)] for c in columns]
    widths = [max(map(len, cells)) for cells in texts]
    for row in zip(*texts, strict=True):
        cells = [
            f"{cell:<{width}}" if c.kind == "text" else f"{cell:>{width}}"
            for c, cell, width in zip(columns, row, widths, strict=True)
        ]
        yield "  ".join(cells).rstrip()


def dataset_lines(known: Iterable[DatasetInfo]) -> Iterator[str]:
    """Yield the lines of a list of data sets: one per size; one for a set that is bundled completely."""
    yield f"{'name':<24}{'train / test':>18}{'features':>10}{'classes':>9}  description"
    for info in known:
        sizes = {counts: size for size, counts in info.sizes.items()}
        for (n_train, n_test), size in sizes.items():
            name = f"{info.name} ({size})" if len(sizes) > 1 else info.name
            samples = f"{n_train:,} / {n_test:,}" if n_test else f"{n_train:,}"
            where = "" if size in info.local else " (download)"
            yield f"{name:<24}{samples:>18}{info.n_features:>10,}{info.n_classes or '':>9}  {info.title}{where}"


def inspection_lines(found: Inspection) -> Iterator[str]:
    """Yield the lines of an inspection: facts, classes, columns, warnings."""
    for label, text in found.facts:
        yield f"{label:<10}{text}"
    if found.classes:
        yield ""
        yield f"{'class':<30}{'training':>10}{'test':>10}"
        yield from _shortened([f"{name[:29]:<30}{n:>10,}{n_test:>10,}" for name, n, n_test in found.classes])
    if found.columns:
        yield ""
        yield f"{'column':<30}{'kind':<10}{'missing':>8}  note"
        lines = [
            f"{column.name[:29]:<30}{column.kind:<10}{column.missing or '':>8}  {column.note[:80]}".rstrip()
            for column in found.columns
        ]
        yield from _shortened(lines)
    if found.warnings:
        yield ""
    for warning in found.warnings:
        yield f"Warning: {warning}"


def _shortened(lines: list[str]) -> list[str]:
    """Return the first and the last lines of a long list."""
    if len(lines) <= 24:
        return lines
    return [*lines[:18], f"... and {len(lines) - 20:,} more", *lines[-2:]]


def duration(seconds: float) -> str:
    """Return a time as text: ``40 s``, ``12 min``, ``3.5 h``, ``2.1 days``."""
    for limit, unit, form in ((90, 1, ".0f} s"), (5400, 60, ".0f} min"), (2 * 86400, 3600, ".1f} h")):
        if seconds < limit:
            return ("{:" + form).format(seconds / unit)
    return f"{seconds / 86400:.1f} days"
