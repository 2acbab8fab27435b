"""Start, resume, watch and stop runs in processes of their own, which outlive the process that starts them."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tsnn.config import Config
from tsnn.errors import LaunchError, RunError
from tsnn.files import read_json, write_atomic
from tsnn.records import EpochRecord, Event, Progress
from tsnn.runs import LIVE, OVER, Run, RunState, RunStore
from tsnn.runs.control import request
from tsnn.runs.forks import make_fork
from tsnn.runs.liveness import REMOTE_STALE_SECONDS, alive, stamp
from tsnn.runs.rules import check_rules
from tsnn.runs.store import place_of
from tsnn.runs.writer import restore_status

WATCH_SECONDS = 0.1
END_SECONDS = 90.0  #: longest time from the end of a run to that of its processes


def start(config: Config, store: RunStore | None = None) -> Run:
    """Create a run and start its engine in the background.

    Parameters
    ----------
    config : Config
        Settings; the engine reads them from the run directory.
    store : RunStore, optional
        Folder of runs; default is the environment variable TSNN_RUNS, else ``./runs``.

    Returns
    -------
    run : Run
        Returned at once: follow ``run.status()`` and ``run.lines()``.
    """
    run = (store or RunStore()).create(config)
    start_supervisor(run)
    return run


def resume(run: Run, epochs: int | None = None) -> None:
    """Resume a stopped, failed, lost or finished run in the background, from its last checkpoint.

    Parameters
    ----------
    run : Run
        The run. Records after the checkpoint are repeated, identically; see :func:`tsnn.execution.engine.execute`.
    epochs : int, optional
        Total number of epochs; default is the number it was started with.

    Raises
    ------
    RunError
        If the run is live or queued, has another format, or all its epochs are done.
    ConfigError
        If ``epochs`` is out of range.
    """
    prepare_resume(run, epochs)
    start_supervisor(run)


def fork(run: Run, epoch: int | None = None, settings: Mapping[str, Any] | None = None, **short: Any) -> Run:
    """Start a new run in the background that continues from an epoch of another one, with other settings.

    Without changes it trains as its parent did: the same bits.

    Parameters
    ----------
    run : Run
        The parent. It is not changed, and may be training.
    epoch : int, optional
        One of ``run.fork_epochs()``; default is the last one.
    settings : mapping, optional
        Settings by full or short name.
    **short
        Settings by short name.

    Raises
    ------
    ConfigError
        If a setting cannot be changed: the data and the layers are those of the parent.
    RunError
        If the parent has no checkpoint of that epoch.

    Examples
    --------
    >>> fork(run, epoch=20, zeta=0.1)  # doctest: +SKIP
    """
    forked = make_fork(run, epoch, {**(settings or {}), **short})
    start_supervisor(forked)
    return forked


def prepare_resume(run: Run, epochs: int | None = None) -> None:
    """Check that a run can be resumed, and note the total number of epochs for its engine; see :func:`resume`.

    Its configuration changes when the engine has its data.
    """
    check_rules(run.path, run.meta())
    config, status = run.config(), _settled_status(run)
    if status["state"] not in (*OVER, RunState.CREATED):
        process = f" (process {pid})" if (pid := status.get("pid")) else ""
        raise RunError(f"Run {run.id} is {status['state']}{process}. Stop it before resuming it.")
    wanted = config if epochs is None else config.replace({"training.epochs": epochs})
    finished = status["state"] == RunState.FINISHED
    done = status.get("epoch", 0) if finished else run.resumes_from()
    name = place_of(run)[1]
    if "/" in name and (finished or wanted != config):
        more = max(2 * done, wanted.training.epochs)
        raise RunError(
            f"Run {name} is a trial of a sweep, which compares its trials after the same epochs. Train it longer as a "
            f"run of its own (Continue from here): tsnn fork {name} --set epochs={more}."
        )
    if wanted.training.epochs < done or (finished and wanted.training.epochs == done):
        raise RunError(
            f"Run {name} has trained {done} of {wanted.training.epochs} epochs. "
            f"Train more: tsnn resume {name} --epochs {2 * done}."
        )
    if wanted != config:
        write_atomic(run.path / "resume.json", json.dumps({"epochs": wanted.training.epochs}).encode())
    else:
        (run.path / "resume.json").unlink(missing_ok=True)


def _settled_status(run: Run) -> dict[str, Any]:
    """Return the status of a run; that of one on another machine when its heart has beaten, or has not for long."""
    status, started = run.status(), time.monotonic()
    beat = status.get("beat")
    while status["state"] in LIVE and "process" in status and alive(status["process"]) is None:
        if status.get("beat") != beat or time.monotonic() - started > REMOTE_STALE_SECONDS + 1:
            break
        time.sleep(WATCH_SECONDS)
        status = run.status()
    return status


def command_line(run: Run, lost: int = 0) -> list[str]:
    """Return the command that starts a run's engine; for a parallel run, one process for each rank.

    Parameters
    ----------
    run : Run
        The run.
    lost : int
        Number of workers to leave out.

    Raises
    ------
    LaunchError
        If the run is parallel and there is no MPI, or this is Windows.
    """
    workers, path = run.wanted_config().parallel.workers, str(run.path.resolve())
    if workers == 0:
        return [sys.executable, "-m", "tsnn.execution", path]
    if sys.platform == "win32":
        raise LaunchError("Workers need Linux or macOS. On Windows train without them, or within WSL.")
    return [mpiexec(), "-n", str(1 + workers - lost), sys.executable, "-m", "mpi4py", "-m", "tsnn.execution", path]


def mpiexec() -> str:
    """Return the path of MPI's launcher: the one in the folder of this Python, else the first on PATH.

    Raises
    ------
    LaunchError
        If there is none, or mpi4py is not installed.
    """
    own = Path(sys.executable).with_name("mpiexec")
    path = str(own) if own.exists() else shutil.which("mpiexec")
    if path is None or importlib.util.find_spec("mpi4py") is None:
        missing = "mpi4py" if path else "mpiexec"
        raise LaunchError(f"Workers need MPI, but there is no {missing}. Install it: pip install 'tsnn[mpi]'")
    return path


def watch(run: Run) -> Iterator[Progress | EpochRecord | Event]:
    """Start a run's engine in the background; yield its progress, records and events until its processes have ended.

    Closing the generator stops the run.

    Raises
    ------
    RunError
        If the run fails; the message is the engine's.
    """
    process = start_supervisor(run)
    offset = run.lines()[1]
    try:
        while True:
            status, ended = run.status(), process.poll() is not None
            lines, offset, _ = run.checked_lines(offset)
            for line in lines:
                if line["type"] == "epoch":
                    yield EpochRecord.from_dict(line)
                elif line["type"] == "event":
                    yield Event.from_dict(line)
            if status["state"] in OVER or ended:
                break
            epoch, total = status.get("epoch", 0) + 1, status.get("samples_total") or 1
            yield Progress(epoch, status.get("samples", 0), total, status.get("train_loss") or 0.0)
            time.sleep(WATCH_SECONDS)
    finally:
        if process.poll() is None:
            with contextlib.suppress(RunError):  # it has ended
                stop(run, wait=math.inf)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_SECONDS)
    _raise_failure(run)


def _raise_failure(run: Run) -> None:
    """Raise the error of a run whose job has failed."""
    status, job = run.status(), read_json(run.path / "exit.json")
    state = status["state"]
    if job.get("state") == RunState.FAILED and state not in (RunState.FAILED, RunState.LOST):
        raise RunError(f"Run {run.id} could not be resumed, and is {state} as before. {job.get('reason')}.")
    if state not in (RunState.FINISHED, RunState.STOPPED):
        raise RunError(f"Run {run.id} is {state}: {status.get('message') or run.log(400)}")


def stop(run: Run, wait: float = 0.0) -> None:
    """Send a run the command to stop; ``run.status()`` shows when it has stopped.

    If a launched run does not react, its supervisor sends SIGTERM after five seconds, later SIGKILL.

    Parameters
    ----------
    run : Run
        The run.
    wait : float
        Longest time to wait for its end, in seconds.

    Raises
    ------
    RunError
        If the run is not running.
    """
    state = run.status()["state"]
    if state in OVER:
        raise RunError(f"Run {run.id} is not running; it is {state}.")
    request(run, "stop")
    deadline = time.monotonic() + wait
    while time.monotonic() < deadline and run.status()["state"] not in OVER:
        time.sleep(WATCH_SECONDS)


def start_supervisor(run: Run) -> subprocess.Popen[bytes]:
    """Start the supervisor, and with it the engine, of a run that is not live; returns its process."""
    command_line(run)  # raises errors here, not in the background
    previous = run.previous_status()
    (run.path / "exit.json").unlink(missing_ok=True)
    created = {"state": RunState.CREATED, "epoch": previous.get("epoch", 0), **stamp()}
    created |= {"previous": previous} if previous else {}
    write_atomic(run.path / "status.json", json.dumps(created).encode())
    try:
        with open(run.path / "log.txt", "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tsnn.jobs.supervisor", str(run.path.resolve())],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=clean_environment(),
            )  # fmt: skip
    except OSError:
        restore_status(run, previous)
        raise
    threading.Thread(target=process.wait, name=f"reap {run.id}", daemon=True).start()
    return process


def clean_environment() -> dict[str, str]:
    """Return the environment of a process that imports modules from installed packages, not from its folder.

    A file such as ``statistics.py`` in the working directory would replace the module of that name.
    """
    environment = os.environ | {"PYTHONSAFEPATH": "1"}
    folder = Path(__file__).parents[2]
    if folder.name not in ("site-packages", "dist-packages"):  # a checkout, perhaps not installed
        paths = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
        environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([*paths, str(folder)]))
    return environment
