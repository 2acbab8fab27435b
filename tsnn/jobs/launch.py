"""Start a run as processes of its own, stop it, let it go on. Runs survive whoever started them."""

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
from tsnn.runs import ENDED, Run, RunStore
from tsnn.runs.control import request

WATCH_SECONDS = 0.1


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
    begin(run)
    return run


def resume(run: Run, epochs: int | None = None) -> None:
    """Let a run that was stopped, failed, was lost or has finished go on in the background, from its last checkpoint.

    Parameters
    ----------
    run : Run
        The run. The records after its checkpoint come again, the same; see :func:`tsnn.execution.engine.execute`.
    epochs : int, optional
        How many epochs it is to have in all; default is what it was to have.

    Raises
    ------
    RunError
        If the run is going on, or has no epochs left.
    ConfigError
        If ``epochs`` is not a number of epochs.
    """
    prepare_resume(run, epochs)
    begin(run)


def prepare_resume(run: Run, epochs: int | None = None) -> None:
    """Check that a run can go on, and write the number of epochs to its configuration; see :func:`resume`."""
    config, status = run.config(), run.status()
    if status["state"] not in (*ENDED, "lost", "created"):
        raise RunError(f"Run {run.id} is {status['state']}, by process {status.get('pid')}. Stop it, or let it be.")
    wanted = config if epochs is None else config.replace({"training.epochs": epochs})
    done = status.get("epoch", 0) if status["state"] == "finished" else run.resumes_from()
    if wanted.training.epochs < done or (status["state"] == "finished" and wanted.training.epochs == done):
        raise RunError(
            f"Run {run.id} has trained {done} epochs and is to have {wanted.training.epochs}. "
            f"Ask for more: tsnn resume {run.id} --epochs {2 * done}."
        )
    if wanted != config:
        write_atomic(run.path / "config.toml", wanted.to_toml().encode())


def command_line(run: Run, lost: int = 0) -> list[str]:
    """Return the words that start a run's engine; of a parallel run, one process for each rank.

    Parameters
    ----------
    run : Run
        The run.
    lost : int
        Workers to do without.

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
    """Return the path of the launcher that goes with mpi4py: the one beside this Python, else the first on PATH.

    Raises
    ------
    LaunchError
        If that or mpi4py is not installed.
    """
    beside = Path(sys.executable).with_name("mpiexec")
    path = str(beside) if beside.exists() else shutil.which("mpiexec")
    if path is None or importlib.util.find_spec("mpi4py") is None:
        missing = "mpi4py" if path else "mpiexec"
        raise LaunchError(f"Workers need MPI, but there is no {missing}. Install it: pip install 'tsnn[mpi]'")
    return path


def watch(run: Run) -> Iterator[Progress | EpochRecord | Event]:
    """Start a run's engine in the background, and yield what it records until it ends.

    Close the generator to stop the run.

    Raises
    ------
    RunError
        If the run fails; the message is the engine's.
    """
    begin(run)
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
            if status["state"] in (*ENDED, "lost"):
                break
            epoch, total = status.get("epoch", 0) + 1, status.get("samples_total") or 1
            yield Progress(epoch, status.get("samples", 0), total, status.get("train_loss", 0.0))
            time.sleep(WATCH_SECONDS)
    finally:
        with contextlib.suppress(RunError):  # it has ended
            stop(run, wait=math.inf)
    if status["state"] in ("failed", "lost"):
        raise RunError(f"Run {run.id} {status['state']}: {status.get('message') or run.log(400)}")


def stop(run: Run, wait: float = 0.0) -> None:
    """Ask a run to stop; ``run.status()`` says when it has.

    The supervisor of a launched run insists if it has to: SIGTERM after five seconds, then SIGKILL.

    Parameters
    ----------
    run : Run
        The run.
    wait : float
        Seconds to wait until it has ended, at most.

    Raises
    ------
    RunError
        If the run is not running.
    """
    state = run.status()["state"]
    if state in (*ENDED, "lost"):
        raise RunError(f"Run {run.id} is not running; it is {state}.")
    request(run, "stop")
    deadline = time.monotonic() + wait
    while time.monotonic() < deadline and run.status()["state"] not in (*ENDED, "lost"):
        time.sleep(WATCH_SECONDS)


def begin(run: Run) -> None:
    """Start the supervisor, and with it the engine, of a run that is not going on."""
    command_line(run)  # an error is raised here rather than there
    (run.path / "config.toml").touch()  # one that has waited counts as created now
    with open(run.path / "log.txt", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tsnn.jobs.supervisor", str(run.path.resolve())],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    threading.Thread(target=process.wait, name=f"reap {run.id}", daemon=True).start()
