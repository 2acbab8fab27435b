"""Duration estimate of a run, from earlier runs on this machine."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable
from typing import Any

from tsnn.files import open_regular, parse_object
from tsnn.runs import Run, RunStore
from tsnn.runs.checks import line_problem
from tsnn.runs.summaries import RunSummary

_TAIL_BYTES = 64 * 1024
_RUNS_USED = 5


def seconds_per_connection(
    store: RunStore, summaries: Iterable[RunSummary], *, connections: int, method: str
) -> float | None:
    """Return seconds per connection and training sample of earlier runs on this machine; None if there are none.

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

    measured = [_measured(Run(store.root / s.run)) for s in sorted(here, key=distance)[:_RUNS_USED]]
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
