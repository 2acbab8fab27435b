"""Claims of trials: of all processes, also on several machines that share a folder, one starts a trial.

Files ``claim-1``, ``claim-2``, ... in the directory of a trial's run. To start or resume it, a process creates the one
after the last; only one process can. A claim is *spent* as soon as the run's status changes: then that tells whether
the run is alive (its heartbeat is a counter, :mod:`tsnn.runs.liveness`). Until then the claim holds as long as its
process lives; that of another machine, which cannot be asked, for a minute of this machine in which nothing changes.
No clocks are compared.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from pathlib import Path
from typing import Any

from tsnn.files import read_json
from tsnn.runs.checks import PROCESS, fits
from tsnn.runs.liveness import alive, identity
from tsnn.runs.run import START_SECONDS

_NAME = re.compile(r"claim-([1-9][0-9]{0,5})")

#: By claim of another machine: the moment at which this process saw it first.
_first_seen: dict[Path, float] = {}


def claims(path: Path) -> int:
    """Return the number of claims of a trial that there have been."""
    with contextlib.suppress(OSError):
        return max((int(found[1]) for e in os.scandir(path) if (found := _NAME.fullmatch(e.name))), default=0)
    return 0


def is_held(path: Path, number: int) -> bool:
    """Return whether the process of a claim is about to start the run of a trial."""
    claim = path / f"claim-{number}"
    values = read_json(claim) if number else {}
    process = values.get("process")
    if not number or (values and values.get("status") != _status_mark(path)):
        return False
    living = alive(process) if isinstance(process, dict) and fits(PROCESS, process) else None
    if living is not None:
        return living
    now = time.monotonic()
    return now - _first_seen.setdefault(claim, now) < START_SECONDS


def claim(path: Path, number: int) -> bool:
    """Claim a trial; returns whether this process was the first with that number.

    Raises
    ------
    OSError
        If the claim cannot be written; then there is none.
    """
    content: dict[str, Any] = {"process": identity(), "status": _status_mark(path)}
    target = path / f"claim-{number}"
    try:
        file = open(target, "xb")  # noqa: SIM115
    except FileExistsError:
        return False
    try:
        with file:
            file.write(json.dumps(content).encode())
    except BaseException:
        release(path, number)
        raise
    return True


def release(path: Path, number: int) -> None:
    """Withdraw a claim of this process that it could not use."""
    (path / f"claim-{number}").unlink(missing_ok=True)


def _status_mark(path: Path) -> int:
    """Return a number that changes whenever the status of a run is written."""
    try:
        return (path / "status.json").stat().st_mtime_ns
    except OSError:
        return 0
