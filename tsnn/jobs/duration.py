"""How long a run will take, judged by earlier runs on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterable
from typing import Any

from tsnn.runs import Run, RunStore
from tsnn.runs.catalog import RunSummary

_TAIL_BYTES = 64 * 1024
_LOOKED_AT = 5


def seconds_per_connection(
    store: RunStore, lines: Iterable[RunSummary], *, connections: int, method: str
) -> float | None:
    """Return seconds per connection, sample and epoch of earlier runs on this machine; None if there are none.

    The median of the last epochs of the few runs that are nearest in size, of the same topology if there are any.

    Parameters
    ----------
    store : RunStore
        Where the runs are kept.
    lines : iterable of RunSummary
        The runs that may serve.
    connections : int
        Size of the network in question.
    method : str
        Its ``training.method``.
    """
    here = [line for line in lines if line.epochs and line.connections and line.host == socket.gethostname()]
    here = [line for line in here if line.method == method] or here

    def distance(line: RunSummary) -> float:
        ratio = (line.connections or 1) / max(1, connections)
        return max(ratio, 1 / ratio)

    paces = [_pace(Run(store.root / line.run)) for line in sorted(here, key=distance)[:_LOOKED_AT]]
    known = sorted(p for p in paces if p)
    return known[len(known) // 2] if known else None


def _pace(run: Run) -> float | None:
    last = last_epoch(run)
    with contextlib.suppress(KeyError, TypeError, ZeroDivisionError):
        seconds = last["seconds_train"] + last["seconds_evolve"] + last["seconds_evaluate"]
        return float(seconds / (last["samples"] / last["epoch"]) / last["connections"])
    return None


def last_epoch(run: Run) -> dict[str, Any]:
    """Return the newest epoch line within the end of the metrics; empty if there is none."""
    try:
        with open(run.path / "metrics.jsonl", "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            tail = file.read()
    except OSError:
        return {}
    for raw in reversed(tail[: tail.rfind(b"\n") + 1].splitlines()):
        if b'"epoch"' in raw:
            with contextlib.suppress(ValueError):
                line = json.loads(raw)
                if isinstance(line, dict) and line.get("type") == "epoch":
                    return line
    return {}
