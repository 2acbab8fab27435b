"""Process identity: which process writes or supervises a run, and whether it is alive."""

from __future__ import annotations

import json
import math
import os
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

#: Environment variable by which a supervisor is known to its processes, as JSON: the run's ``folder``, the supervisor's
#: ``process`` (:func:`identity`), and a ``note`` on why the job was restarted.
VARIABLE = "TSNN_SUPERVISOR"

STALE_SECONDS = 10.0  #: without heartbeat, after which a process counts as stalled
REMOTE_STALE_SECONDS = 30.0  #: without heartbeat, after which a process on another machine counts as dead
CLOCK_ERROR_SECONDS = 2 * 86400.0  #: by which the clocks of two machines may differ

_LINUX = sys.platform == "linux"


def identity(pid: int | None = None) -> dict[str, Any]:
    """Return the identity of a process, unique even if its number is used again.

    Parameters
    ----------
    pid : int, optional
        Process number; default is this process.

    Returns
    -------
    identity : dict
        ``host``, ``boot``, ``pid`` and ``start``, for :func:`alive`.

    Raises
    ------
    psutil.NoSuchProcess
        If there is no such process.
    """
    pid = os.getpid() if pid is None else pid
    return {"host": socket.gethostname(), "boot": _boot(), "pid": pid, "start": _start(pid)}


def alive(process: Mapping[str, Any]) -> bool | None:
    """Return whether the process of an :func:`identity` is alive; None if it is on another machine."""
    if process.get("host") != socket.gethostname():
        return None
    try:
        return bool(process["boot"] == _boot() and process["start"] == _start(int(process["pid"])))
    except (psutil.Error, OSError, KeyError, ValueError, TypeError, OverflowError):
        return False


#: By status file: the last heartbeat seen, and when it was first seen on this process's clock.
_seen: dict[Path, tuple[Any, float]] = {}


def stamp() -> dict[str, Any]:
    """Return the present for a status: ``time`` for people; ``uptime`` of the machine since ``boot`` for ages."""
    return {"time": time.time(), "uptime": _uptime(), "boot": _boot()}


def age(written: Mapping[str, Any]) -> float | None:
    """Return the seconds since a :func:`stamp` of this machine, which setting its clock does not change; else None."""
    if written.get("boot") != _boot() or "uptime" not in written:
        return None
    seconds = _uptime() - written["uptime"]
    return float(seconds) if seconds >= 0 else math.inf


def heartbeat_age(path: Path, status: Mapping[str, Any]) -> float:
    """Return the time since the heartbeat in a status file changed, in seconds.

    That of another machine, whose clock may be wrong by a day, is measured from the moment when this process saw it
    first; but one of days ago is that of a copied directory.

    Parameters
    ----------
    path : Path
        The status file.
    status : mapping
        Its content.
    """
    if (seconds := age(status)) is not None:
        return seconds
    beat, now = (status.get("beat"), status.get("time")), time.monotonic()
    if _seen.get(path, (None, now))[0] != beat:
        _seen[path] = beat, now
    by_clock = time.time() - status.get("time", -math.inf)
    return now - _seen[path][1] if by_clock < CLOCK_ERROR_SECONDS else math.inf


def _uptime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) if _LINUX else time.monotonic()


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip() if _LINUX else socket.gethostname()


def _start(pid: int) -> float:
    """Return the start time of a process: on Linux in ticks since boot, which setting the clock does not change."""
    if not _LINUX:
        return float(psutil.Process(pid).create_time())
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError as error:
        raise psutil.NoSuchProcess(pid) from error
    if fields[0] in "ZX":
        raise psutil.NoSuchProcess(pid)  # dead, but not yet collected by its parent
    return int(fields[19])


def supervision(folder: Path) -> dict[str, Any] | None:
    """Return the facts of this process's supervisor (:data:`VARIABLE`); None if it does not supervise this folder."""
    facts = json.loads(os.environ.get(VARIABLE, "null"))
    return facts if facts and facts["folder"] == str(folder.resolve()) else None
