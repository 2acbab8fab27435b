"""Processes: which one it is, whether it lives, what it leaves behind when it fails, and how it ends with another."""

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

from tsnn.files import write_atomic
from tsnn.runs.liveness import alive, supervision

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_LINUX = sys.platform == "linux"
_libc = ctypes.CDLL(None, use_errno=True) if _LINUX else None  # loaded before any fork


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose own parent dies (Linux)."""
    if _libc is not None:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_with(parent: int) -> None:
    """Have this process killed when its parent dies (Linux). Called between fork and exec, or soon after."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before that
            os.kill(os.getpid(), signal.SIGKILL)


def enter_service(folder: Path, rank: int = 0) -> None:
    """Prepare a process that trains, or helps to: the first thing that it does.

    It will end with its supervisor, if it has one: on Linux the kernel kills it when the process that started it
    dies, elsewhere a thread looks once per second. An exception that nobody catches is written to
    ``error.rankN.json``, and a crash of compiled code leaves every thread's traceback on standard error.

    Parameters
    ----------
    folder : Path
        The run's directory.
    rank : int
        Number of the process within the run.
    """
    told = supervision(folder)
    if told is not None:
        end_with(os.getppid())
        if alive(told["process"]) is False:
            os._exit(1)
        if not _LINUX:
            threading.Thread(target=_watch, args=(told["process"],), name="supervisor", daemon=True).start()
    faulthandler.enable()

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        text = "".join(traceback.format_exception(kind, error, trace))
        content = {"rank": rank, "error": f"{kind.__name__}: {error}", "traceback": text}
        try:
            write_atomic(folder / f"error.rank{rank}.json", json.dumps(content).encode())
        finally:
            sys.__excepthook__(kind, error, trace)

    sys.excepthook = report


def _watch(process: Mapping[str, Any]) -> None:
    while alive(process) is not False:
        time.sleep(1.0)
    os._exit(1)


class Heartbeat:
    """A rank's sign of life, for its supervisor: a counter in ``beat.rankN.json`` that grows every second.

    Use as a context manager. Rank 0 needs none: the run's ``status.json`` is its sign.

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
            with contextlib.suppress(OSError):  # a full disk must not end the training
                write_atomic(self._path, json.dumps({"beat": beat, "pid": os.getpid()}).encode(), durable=False)
            if self._stop.wait(1.0):
                return
