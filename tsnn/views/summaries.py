"""One line per run, for lists: read cheaply, kept for runs that have ended."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tsnn.config import Config
from tsnn.errors import TsnnError
from tsnn.runs import ENDED, Run, RunStore
from tsnn.views.follow import LIVE

_TAIL_BYTES = 64 * 1024


@dataclass(frozen=True)
class RunSummary:
    """What a list shows of a run; None where it is not known."""

    run: str
    state: str
    data: str
    topology: str
    epsilon: float | None
    zeta: float | None
    epochs: int
    planned: int
    test_accuracy: float | None
    connections: int | None
    started: datetime


_ended: dict[str, RunSummary] = {}


def summarise(run: Run) -> RunSummary:
    """Return the line of a run; of one that has ended, the files are read once in this process."""
    key = str(run.path.resolve())
    if key in _ended:
        return _ended[key]
    state = str(run.status().get("state", "lost"))
    try:
        config: Config | None = run.config()
    except TsnnError:
        config = None
    last = last_epoch(run)
    summary = RunSummary(
        run=run.id,
        state=state,
        data=config.data.name if config else "unreadable",
        topology=config.network.topology if config else "",
        epsilon=last.get("epsilon", config.network.epsilon if config else None),
        zeta=last.get("zeta", config.training.zeta if config else None),
        epochs=int(last.get("epoch", 0)),
        planned=config.training.epochs if config else 0,
        test_accuracy=last.get("test_accuracy"),
        connections=last.get("connections"),
        started=_started(run),
    )
    if state in ENDED:
        _ended[key] = summary
    return summary


def last_epoch(run: Run) -> dict[str, Any]:
    """Return the newest epoch line within the end of the metrics; empty if there is none."""
    try:
        with open(run.path / "metrics.jsonl", "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            tail = file.read()
    except OSError:
        return {}
    for raw in reversed(tail[: tail.rfind(b"\n") + 1].splitlines()):
        if b'"epoch"' not in raw:
            continue
        try:
            line = json.loads(raw)
        except ValueError:
            continue
        if isinstance(line, dict) and line.get("type") == "epoch":
            return line
    return {}


def live_run(store: RunStore, newest: int = 200) -> Run | None:
    """Return the newest run that is going on, looking at the ``newest`` ones only."""
    for run in store.list()[:newest]:
        if str(run.path.resolve()) not in _ended and run.status().get("state") in LIVE:
            return run
    return None


def _started(run: Run) -> datetime:
    try:
        return datetime.fromtimestamp(int((run.path / "config.toml").stat().st_mtime))
    except OSError:
        return datetime.fromtimestamp(0)
