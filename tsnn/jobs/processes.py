"""Processes of a job: heartbeats, error files, adoption of orphans, and the end of a process with its parent."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from tsnn.errors import TsnnError
from tsnn.files import os_error_message, write_atomic
from tsnn.runs.liveness import alive, supervision

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_LINUX = sys.platform == "linux"
_libc = ctypes.CDLL(None, use_errno=True) if _LINUX else None  # loaded before any fork


def adopt_orphans() -> None:
    """Make this process the parent of orphaned descendants (Linux)."""
    if _libc is not None:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_with(parent: int) -> None:
    """Have this process killed when its parent dies (Linux). Called between fork and exec, or soon after."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it has died already
            os.kill(os.getpid(), signal.SIGKILL)


def enter_service(folder: Path, rank: int = 0) -> None:
    """Set up a process of a job; call it first.

    If it has a supervisor, the process ends with it: on Linux the kernel kills it when its parent dies, elsewhere a
    thread checks once per second. An uncaught exception is written to ``error.rankN.json``, and a crash of compiled
    code writes every thread's traceback to standard error.

    Parameters
    ----------
    folder : Path
        The run's directory.
    rank : int
        Number of the process within the run.
    """
    supervisor = supervision(folder)
    if supervisor is not None:
        end_with(os.getppid())
        if alive(supervisor["process"]) is False:
            os._exit(1)
        if not _LINUX:
            arguments = (supervisor["process"],)
            threading.Thread(target=_exit_with, args=arguments, name="supervisor", daemon=True).start()
    faulthandler.enable()

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        text = "".join(traceback.format_exception(kind, error, trace))
        content = {"rank": rank, "error": _message(error), "traceback": text}
        try:
            write_atomic(folder / f"error.rank{rank}.json", json.dumps(content).encode())
        finally:
            sys.__excepthook__(kind, error, trace)

    sys.excepthook = report


def _message(error: BaseException) -> str:
    if isinstance(error, OSError):
        return os_error_message(error)
    return str(error) if isinstance(error, TsnnError) else f"{type(error).__name__}: {error}"


def _exit_with(process: Mapping[str, Any]) -> None:
    while alive(process) is not False:
        time.sleep(1.0)
    os._exit(1)


class Heartbeat:
    """Heartbeat of a rank, for its supervisor: a counter in ``beat.rankN.json`` that grows every second.

    Use as a context manager. Rank 0 needs none: it writes the run's ``status.json``.

    Parameters
    ----------
    folder : Path
        The run's directory.
    rank : int
        Number of the process within the run.
    """

    def __init__(self, folder: Path, rank: int):
        self._path, self._stop = folder / f"beat.rank{rank}.json", threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        beat = 0
        while True:
            beat += 1
            with contextlib.suppress(OSError):  # a full disk does not end the training
                write_atomic(self._path, json.dumps({"beat": beat, "pid": os.getpid()}).encode(), durable=False)
            if self._stop.wait(1.0):
                return
