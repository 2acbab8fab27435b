"""Start, resume, watch and stop runs in processes of their own, which outlive the process that starts them."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tsnn.config import Config
from tsnn.errors import LaunchError, RunError
from tsnn.files import write_atomic
from tsnn.records import EpochRecord, Event, Progress
from tsnn.runs import OVER, Run, RunState, RunStore
from tsnn.runs.control import request

WATCH_SECONDS = 0.1


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


def prepare_resume(run: Run, epochs: int | None = None) -> None:
    """Check that a run can be resumed, and write the total number of epochs to its config; see :func:`resume`."""
    run.meta()
    config, status = run.config(), run.status()
    if status["state"] not in (*OVER, RunState.CREATED):
        process = f" (process {pid})" if (pid := status.get("pid")) else ""
        raise RunError(f"Run {run.id} is {status['state']}{process}. Stop it before resuming it.")
    wanted = config if epochs is None else config.replace({"training.epochs": epochs})
    finished = status["state"] == RunState.FINISHED
    done = status.get("epoch", 0) if finished else run.resumes_from()
    if wanted.training.epochs < done or (finished and wanted.training.epochs == done):
        raise RunError(
            f"Run {run.id} has trained {done} of {wanted.training.epochs} epochs. "
            f"Train more: tsnn resume {run.id} --epochs {2 * done}."
        )
    if wanted != config:
        write_atomic(run.path / "config.toml", wanted.to_toml().encode())


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
    workers, path = run.config().parallel.workers, str(run.path.resolve())
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
    """Start a run's engine in the background; yield its progress, records and events until it ends.

    Closing the generator stops the run.

    Raises
    ------
    RunError
        If the run fails; the message is the engine's.
    """
    start_supervisor(run)
    offset = run.lines()[1]
    try:
        while True:
            status = run.status()
            lines, offset = run.lines(offset)
            for line in lines:
                if line.get("type") == "epoch":
                    yield EpochRecord.from_dict(line)
                elif line.get("type") == "event":
                    yield Event.from_dict(line)
            if status["state"] in OVER:
                break
            epoch, total = status.get("epoch", 0) + 1, status.get("samples_total") or 1
            yield Progress(epoch, status.get("samples", 0), total, status.get("train_loss", 0.0))
            time.sleep(WATCH_SECONDS)
    finally:
        with contextlib.suppress(RunError):  # it has ended
            stop(run, wait=math.inf)
    if status["state"] in (RunState.FAILED, RunState.LOST):
        raise RunError(f"Run {run.id} is {status['state']}: {status.get('message') or run.log(400)}")


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


def start_supervisor(run: Run) -> None:
    """Start the supervisor, and with it the engine, of a run that is not live."""
    command_line(run)  # raises errors here, not in the background
    (run.path / "config.toml").touch()  # its age decides between "created" and "lost"
    with open(run.path / "log.txt", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tsnn.jobs.supervisor", str(run.path.resolve())],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    threading.Thread(target=process.wait, name=f"reap {run.id}", daemon=True).start()
