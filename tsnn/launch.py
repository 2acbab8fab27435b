"""Start a run as a process of its own, and stop it. Runs survive whoever started them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time

import psutil

from tsnn.config import Config
from tsnn.control import request
from tsnn.errors import RunError
from tsnn.runs import ENDED, Run, RunStore, process_alive

GRACE_SECONDS = 5.0


def start(config: Config, store: RunStore | None = None) -> Run:
    """Create a run and start its engine in the background.

    Parameters
    ----------
    config : Config
        Settings; they are written to the run directory and only its path is passed on.
    store : RunStore, optional
        Where to keep the run; default is the folder named by TSNN_RUNS, else ``./runs``.

    Returns
    -------
    run : Run
        Returns at once: follow ``run.status()`` and ``run.lines()``.
    """
    run = (store or RunStore()).create(config)
    environment = dict(os.environ)
    if config.run.threads:
        environment["NUMBA_NUM_THREADS"] = str(config.run.threads)
    with open(run.path / "log.txt", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tsnn.experiment", str(run.path.resolve())],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True,
        )  # fmt: skip
    threading.Thread(target=process.wait, name=f"reap {run.id}", daemon=True).start()
    return run


def stop(run: Run) -> threading.Thread:
    """Stop a run: ask, then terminate, then kill, with five seconds between. Does not wait.

    Returns
    -------
    thread : threading.Thread
        Join it to wait until the run has ended.

    Raises
    ------
    RunError
        If the run is not running.
    """
    status = run.status()
    if status["state"] in (*ENDED, "lost"):
        raise RunError(f"Run {run.id} is not running; it is {status['state']}.")
    request(run, "stop")
    thread = threading.Thread(target=_insist, args=(run,), name=f"stop {run.id}", daemon=True)
    thread.start()
    return thread


def _insist(run: Run) -> None:
    for send in (psutil.Process.terminate, psutil.Process.kill, None):
        deadline = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < deadline:
            status = run.status()
            if status["state"] in (*ENDED, "lost"):
                return
            time.sleep(0.1)
        if send is not None and process_alive(status):  # not on this machine, or a reused pid: leave it alone
            with contextlib.suppress(psutil.Error):
                send(psutil.Process(status["pid"]))
