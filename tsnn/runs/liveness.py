"""Process identity: which process writes or supervises a run, and whether it lives."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil


#: What a supervisor tells the processes below it, as JSON: its run's ``folder``, its ``process``, a ``note``.
VARIABLE = "TSNN_SUPERVISOR"

_LINUX = sys.platform == "linux"


def identity(pid: int | None = None) -> dict[str, Any]:
    """Return what tells a process from any other one, also from a later one with its number.

    Parameters
    ----------
    pid : int, optional
        Its number; default is this process.

    Returns
    -------
    identity : dict
        ``host``, ``boot``, ``pid`` and ``start``, for :func:`alive`.

    Raises
    ------
    psutil.NoSuchProcess
        If there is none.
    """
    pid = os.getpid() if pid is None else pid
    return {"host": socket.gethostname(), "boot": _boot(), "pid": pid, "start": _start(pid)}


def alive(process: Mapping[str, Any]) -> bool | None:
    """Tell whether the process of an :func:`identity` lives; None if it is on another machine."""
    if process.get("host") != socket.gethostname():
        return None
    try:
        return bool(process["boot"] == _boot() and process["start"] == _start(int(process["pid"])))
    except (psutil.Error, OSError, KeyError, ValueError, TypeError):
        return False


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip() if _LINUX else ""


def _start(pid: int) -> float:
    """Return when a process began: on Linux in ticks since the machine did, which no change of the clock moves."""
    if not _LINUX:
        return float(psutil.Process(pid).create_time())
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError as error:
        raise psutil.NoSuchProcess(pid) from error
    if fields[0] in "ZX":
        raise psutil.NoSuchProcess(pid)  # dead, though its parent has not looked yet
    return int(fields[19])


def supervision(folder: Path) -> dict[str, Any] | None:
    """Return what the supervisor of a run's folder told this process; None if there is none."""
    told = json.loads(os.environ.get(VARIABLE, "null"))
    return told if told and told["folder"] == str(folder.resolve()) else None
