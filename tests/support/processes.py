"""Processes of launched runs: find them, wait for their end, kill those that are left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from tests.support.waiting import wait_until
from tsnn.files import read_json
from tsnn.runs import OVER, Run, RunStore


def of_run(run: Run) -> list[psutil.Process]:
    """Processes of a run: supervisor, launchers and engines, found by the run's id in their command lines."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and any(run.id in argument for argument in process.cmdline()):
                found.append(process)
    return found


def state(run: Run) -> str:
    """State of a run."""
    return str(run.status()["state"])


def ended(run: Run) -> dict[str, Any]:
    """Wait until a run has ended and none of its processes is left; return the content of ``exit.json``."""
    wait_until(lambda: state(run) in OVER and not of_run(run), what=f"{run.id} has ended")
    return read_json(run.path / "exit.json")


@contextmanager
def clean_store(root: Path) -> Iterator[RunStore]:
    """Run store that leaves no process behind: at its end the processes of its runs are killed."""
    store = RunStore(root)
    yield store
    for run in store.list():
        for process in of_run(run):
            with suppress(psutil.Error):
                process.kill()
