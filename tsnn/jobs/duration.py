"""Duration estimate of a run, from earlier runs on this machine."""

from __future__ import annotations

import contextlib
import math
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from tsnn.config import Config
from tsnn.files import open_regular, parse_object
from tsnn.machine import available_cores
from tsnn.records import RunState
from tsnn.runs import Run, RunStore
from tsnn.runs.catalog import catalog
from tsnn.runs.checks import line_problem
from tsnn.runs.summaries import RunSummary, summarise
from tsnn.runs.sweeps import sweeps

_PART_BYTES = 64 * 1024
_RUNS_USED = 5
_MOST_TIMES_SMALLER = 30  # in connections, or larger: the overhead of each batch makes tiny networks no measure
_LONGEST_START = 600.0


def seconds_per_connection(
    store: RunStore, summaries: Iterable[RunSummary], *, connections: int, method: str
) -> float | None:
    """Return seconds per connection and training sample of earlier runs on this machine; None if there are none alike.

    Median over the five runs nearest in size, of some epochs of each, early and late: the last ones may not evolve. Of
    runs with the same method, and whose epsilon was not changed while they trained, if there are any.

    Parameters
    ----------
    store : RunStore
        Folder of the runs.
    summaries : iterable of RunSummary
        Runs to choose from.
    connections : int
        Size of the network whose duration is estimated.
    method : str
        Its ``training.method``.
    """
    here = [s for s in summaries if s.epochs and s.connections and s.host == socket.gethostname()]
    here = [s for s in here if s.method == method] or here
    here = [s for s in here if "network.epsilon" not in s.changed] or here  # a smaller network is not as much faster

    def distance(summary: RunSummary) -> float:
        ratio = (summary.connections or 1) / max(1, connections)
        return max(ratio, 1 / ratio)

    here = sorted((s for s in here if distance(s) <= _MOST_TIMES_SMALLER), key=distance)
    measured = [_measured(Run(store.root / s.run)) for s in here[:_RUNS_USED]]
    known = sorted(seconds for seconds in measured if seconds)
    return known[len(known) // 2] if known else None


def dense_seconds(
    store: RunStore, summaries: Iterable[RunSummary], *, connections: int, data: str, samples: float
) -> tuple[float, bool] | None:
    """Return the seconds of an epoch of a dense network on this machine, and whether such a run has measured them.

    Else they are estimated from the nearest dense runs; None if there are none.

    Parameters
    ----------
    store, summaries
        Folder of the runs, and the runs to choose from.
    connections : int
        Connections of the dense network.
    data : str
        Name of its data.
    samples : float
        Training samples in an epoch.
    """
    dense = [s for s in summaries if s.method == "dense"]
    for summary in dense:
        if (summary.data, summary.connections, summary.host) == (data, connections, socket.gethostname()):
            with contextlib.suppress(KeyError, TypeError, ZeroDivisionError, OverflowError, IndexError):
                lines = some_epochs(Run(store.root / summary.run))
                if lines[-1]["samples"] / lines[-1]["epoch"] == samples:
                    return fmean(map(_seconds, lines)), True
    speed = seconds_per_connection(store, dense, connections=connections, method="dense")
    return None if speed is None else (speed * connections * samples, False)


def sweep_seconds(
    store: RunStore, sizes: Sequence[tuple[Config, int]], *, samples: float, epochs: float, trials: float
) -> float | None:
    """Return the seconds of a sweep on this machine, from earlier runs on it; None if there are none.

    Parameters
    ----------
    store : RunStore
        Folder of the runs.
    sizes : sequence of (Config, int)
        Settings of some trials, with the number of their connections.
    samples : float
        Training samples in an epoch.
    epochs, trials : float
        Epochs of all trials together, and the number of trials.
    """
    catalog(store).refresh()
    summaries = [*catalog(store).summaries(), *trial_summaries(store)]
    sequential = [s for s in summaries if s.settings.get("run.threads") == 1]  # as the trials of sweeps are
    at_once = 1.0
    if sequential and sizes and sizes[0][0].run.threads == 1:
        summaries, at_once = sequential, float(available_cores())  # one at a time would take as long as all cores do
    speeds = [
        seconds_per_connection(store, summaries, connections=size, method=config.training.method)
        for config, size in sizes
    ]
    if not speeds or None in speeds:
        return None
    epoch = fmean((speed or 0.0) * size * samples for speed, (_, size) in zip(speeds, sizes, strict=True))
    starts = [
        s for summary in summaries[:_RUNS_USED] if (s := _start_seconds(Run(store.root / summary.run))) is not None
    ]
    start = sorted(starts)[len(starts) // 2] if starts else 0.0
    return (epoch * epochs + start * trials) / at_once


def trial_summaries(store: RunStore) -> Iterator[RunSummary]:
    """Yield the summaries of some trials of the newest sweeps that are over, named from the folder of runs on."""
    for sweep in sweeps(store)[:_RUNS_USED]:
        runs = [trial.run for trial in sweep.trials if trial.run is not None and trial.state == RunState.FINISHED]
        for found in map(summarise, runs[:: max(1, len(runs) // (4 * _RUNS_USED))]):
            yield replace(found, run=f"{sweep.id}/{found.run}")


def _start_seconds(run: Run) -> float | None:
    """Return the seconds from the start of a run's process to that of its first epoch; None if it was resumed."""
    with contextlib.suppress(OSError):
        for line, problem, _ in run.each_line():
            if line["type"] == "epoch" and not problem:
                parts = sum(line.get(f"seconds_{part}") or 0.0 for part in ("train", "evolve", "evaluate"))
                seconds = line.get("time", 0.0) - parts - run.status().get("since", math.inf)
                return seconds if 0 <= seconds < _LONGEST_START else None
    return None


def _measured(run: Run) -> float | None:
    """Return seconds per connection and sample of a run, the mean of some of its first and last epochs."""
    speeds = []
    for line in some_epochs(run):
        with contextlib.suppress(KeyError, TypeError, ZeroDivisionError, OverflowError):
            speeds.append(_seconds(line) / (line["samples"] / line["epoch"]) / line["connections"])
    return fmean(speeds) if speeds else None


def _seconds(line: dict[str, Any]) -> float:
    return float(line["seconds_train"] + line["seconds_evolve"] + line["seconds_evaluate"])


def some_epochs(run: Run, first: int = 9, last: int = 8) -> list[dict[str, Any]]:
    """Return the epoch lines of some epochs, the last one at the end; not of the first, in which caches fill.

    Parameters
    ----------
    run : Run
        The run.
    first, last : int
        Up to which epoch to take the first ones, and how many of the last; as far as they are in 64 KiB.
    """
    try:
        with open_regular(run.path / "metrics.jsonl") as file:
            head = file.read(_PART_BYTES)
            file.seek(max(0, file.seek(0, os.SEEK_END) - _PART_BYTES))
            tail = file.read()
    except OSError:
        return []
    found: dict[int, dict[str, Any]] = {}
    for part, most in ((head.splitlines(), first), (tail[: tail.rfind(b"\n") + 1].splitlines()[::-1], last)):
        taken = 0
        for raw in part:
            if taken == most:
                break
            if b'"epoch"' in raw:
                with contextlib.suppress(ValueError):
                    line = parse_object(raw)
                    if line.get("type") == "epoch" and not line_problem(line):
                        found[line["epoch"]] = line
                        taken += 1
    lines = [found[epoch] for epoch in sorted(found)]
    return lines[1:] if len(lines) > 1 and lines[0]["epoch"] == 1 else lines
