"""Duration estimate of a run, from earlier runs on this machine."""

from __future__ import annotations

import contextlib
import math
import os
import socket
from collections.abc import Iterable, Sequence
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
from tsnn.runs.sweeps import Sweep, sweeps

_TAIL_BYTES = 64 * 1024
_RUNS_USED = 5
_MOST_TIMES_SMALLER = 30  # in connections, or larger: the overhead of each batch makes tiny networks no measure
_LONGEST_START = 600.0


def seconds_per_connection(
    store: RunStore, summaries: Iterable[RunSummary], *, connections: int, method: str
) -> float | None:
    """Return seconds per connection and training sample of earlier runs on this machine; None if there are none alike.

    Median over the last epochs of the five runs nearest in size; of those with the same method, and whose epsilon was
    not changed while they trained, if there are any.

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
            last = last_epoch(Run(store.root / summary.run))
            with contextlib.suppress(KeyError, TypeError, ZeroDivisionError, OverflowError):
                if last["samples"] / last["epoch"] == samples:
                    return float(last["seconds_train"] + last["seconds_evolve"] + last["seconds_evaluate"]), True
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
    known = catalog(store)
    known.refresh()
    summaries = [*known.summaries(), *(s for sweep in sweeps(store)[:_RUNS_USED] for s in _trial_summaries(sweep))]
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


def _trial_summaries(sweep: Sweep) -> list[RunSummary]:
    """Return the summaries of some trials of a sweep that are over, named from the folder of runs on."""
    runs = [trial.run for trial in sweep.trials if trial.run is not None and trial.state == RunState.FINISHED]
    chosen = runs[:: max(1, len(runs) // (4 * _RUNS_USED))]
    return [replace(found, run=f"{sweep.id}/{found.run}") for found in map(summarise, chosen)]


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
    """Return seconds per connection and sample of a run's last epoch."""
    last = last_epoch(run)
    with contextlib.suppress(KeyError, TypeError, ZeroDivisionError, OverflowError):
        seconds = last["seconds_train"] + last["seconds_evolve"] + last["seconds_evaluate"]
        return float(seconds / (last["samples"] / last["epoch"]) / last["connections"])
    return None


def last_epoch(run: Run) -> dict[str, Any]:
    """Return the last epoch line in the last 64 KiB of the metrics; empty if there is none."""
    try:
        with open_regular(run.path / "metrics.jsonl") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            tail = file.read()
    except OSError:
        return {}
    for raw in reversed(tail[: tail.rfind(b"\n") + 1].splitlines()):
        if b'"epoch"' in raw:
            with contextlib.suppress(ValueError):
                line = parse_object(raw)
                if line.get("type") == "epoch" and not line_problem(line):
                    return line
    return {}
