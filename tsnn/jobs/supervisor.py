"""Supervisor of a launched run: starts its job, watches it, and records how it ended.

:func:`tsnn.start` and :func:`tsnn.resume` start ``python -m tsnn.jobs.supervisor RUN_DIR``. It holds the run's lock, in
a session of its own, so the end of a dashboard, notebook or terminal does not affect the run. A *job* is any command,
with any number of child processes:

- If a job dies without a message, that is noticed at once: the state becomes ``failed``, with the reason.
- On the command to stop, SIGTERM or SIGINT, the engine has 5 s to end by itself; then the job gets SIGTERM. It is
  killed 5 s later if the heartbeat of a rank has stopped, else after 60 s.
- No process of a job survives it: the supervisor adopts orphans (Linux) and kills them. If the supervisor is killed,
  the kernel kills the job (Linux; elsewhere the engine notices within a second), and readers find the run lost.
- At the end it writes ``exit.json``: ``state``, ``reason``, ``rc`` (exit code), ``attempts`` and ``tail``, the end of
  the log. A run is ``finished`` only if the job ended with code 0 *and* the engine's last status was that state.

To supervise another kind of engine:

1. :func:`job_of` returns its :class:`Job` for a run and the number of workers lost. A job that dies (killed, or without
   heartbeat for longer than ``Job.patience``), unlike one that fails with an error, is restarted with one worker fewer,
   at most :data:`RESTARTS` times, as long as that function returns a job. It must resume from the run's last
   checkpoint.
2. Each of its processes first calls :func:`tsnn.jobs.processes.enter_service`. All but rank 0 hold a
   :class:`tsnn.jobs.processes.Heartbeat`; rank 0 holds a :class:`tsnn.runs.writer.RunWriter`.
3. :func:`tsnn.runs.liveness.supervision` gives rank 0 a ``note`` on why the job was restarted.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from tsnn.errors import RunError
from tsnn.files import os_error_message, read_json, write_atomic
from tsnn.jobs.launch import clean_environment, command_line
from tsnn.jobs.outcome import TAIL_BYTES, Outcome, job_outcome
from tsnn.jobs.processes import adopt_orphans, end_with
from tsnn.machine import available_cores
from tsnn.runs import Run, RunState
from tsnn.runs.control import ControlReader, request
from tsnn.runs.liveness import VARIABLE, identity, stamp
from tsnn.runs.writer import hold, restore_status

GRACE_SECONDS = 5.0  #: between the command to stop, SIGTERM and SIGKILL
LONGEST_SECONDS = 60.0  #: until SIGKILL, for an engine with a heartbeat that does not end
POLL_SECONDS = 0.1
PATIENCE_SECONDS = 60.0
START_SECONDS_PER_RANK = 10.0  #: on one core, for importing modules
RESTARTS = 3

#: By default, Open MPI (PRTE: from version 5 on) starts no more ranks than cores and binds each to one core. But the
#: server sleeps nearly all the time, and a rank may have several threads.
OPEN_MPI = {
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
}

#: All ranks run on this machine. Without this MPICH (Hydra) and Intel MPI start them with srun wherever they find the
#: variables of a Slurm job, and wait for ever where there is no srun.
LOCAL_LAUNCHER = {
    "HYDRA_LAUNCHER": "fork",
    "HYDRA_RMK": "user",
    "I_MPI_HYDRA_BOOTSTRAP": "fork",
    "I_MPI_HYDRA_RMK": "user",
}

log = logging.getLogger("tsnn.jobs.supervisor")


@dataclass(frozen=True)
class Job:
    """Job of a supervisor.

    Attributes
    ----------
    command : tuple of str
        Program and arguments of the first process of the job.
    patience : float
        Seconds without heartbeat of any rank after which the job counts as dead. Heartbeats come every second unless
        the process is suspended or its machine is down.
    start_patience : float
        Seconds in which the first heartbeat of any rank must come.
    """

    command: tuple[str, ...]
    patience: float = math.inf
    start_patience: float = math.inf


def job_of(run: Run, lost: int) -> Job | None:
    """Return the job for a run that has lost ``lost`` workers; None if too few are left."""
    parallel = run.config().parallel
    if lost and lost >= parallel.workers:
        return None
    synchronous = parallel.workers and parallel.mode != "wasap"  # one hung worker would block the others
    ranks = 1 + parallel.workers - lost if parallel.workers else 1
    start_patience = PATIENCE_SECONDS + START_SECONDS_PER_RANK * ranks / available_cores()
    return Job(tuple(command_line(run, lost)), PATIENCE_SECONDS if synchronous else math.inf, start_patience)


class Supervisor:
    """Supervisor of one run.

    Parameters
    ----------
    run : Run
        The run; its lock is taken by :meth:`supervise`.
    """

    def __init__(self, run: Run):
        self.run = run
        self.identity = identity()
        self.note = ""  # reason of the restart, for the next attempt
        self.signalled = False
        self.stop_time = math.inf  # when the command to stop was seen
        self._commands = ControlReader(run)
        self._beats: dict[Path, tuple[Any, float]] = {}
        self._log_start = 0  # of this attempt

    def supervise(self) -> int:
        """Run the job to its end, restarted with fewer workers if it dies; returns the exit code.

        Raises
        ------
        RunError
            If another process holds the run.
        """
        adopt_orphans()
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._signal)
        with hold(self.run, GRACE_SECONDS) as held:
            for old in [self.run.path / "exit.json", *self.run.path.glob("error.rank*.json")]:
                old.unlink(missing_ok=True)
            self._commands.poll()  # skips earlier commands: the engine handles them
            status = {"pid": self.identity["pid"], "process": self.identity, "message": "", **stamp()}
            previous = self.run.previous_status()
            status |= {"previous": previous, "epoch": previous.get("epoch", 0)} if previous else {}
            self._write_status({"state": RunState.STARTING, **status})
            outcome, attempts = self._run_attempts(held.fileno())
            self._record_outcome(outcome)
            tail = self.run.log(TAIL_BYTES)
            content = {"state": outcome.state, "reason": outcome.reason, "rc": outcome.rc, "attempts": attempts}
            content["tail"] = tail
            write_atomic(self.run.path / "exit.json", json.dumps(content, indent=1).encode())
        return 0 if outcome.state in (RunState.FINISHED, RunState.STOPPED) else 1

    def _run_attempts(self, lock: int) -> tuple[Outcome, int]:
        """Run the job, and restart it as often as that helps; returns the last outcome and the number of attempts."""
        attempts, outcome = 0, Outcome(RunState.FAILED, "There is no job for this run", 1)
        if (refusal := self._refusal(lock)) is not None:
            return refusal, attempts
        while (job := job_of(self.run, attempts)) is not None:
            outcome = self._attempt(job, lock)
            attempts += 1
            if not outcome.died or self.stop_time < math.inf or attempts > RESTARTS:
                break
            self.note = f"{outcome.reason}; restarted with one worker fewer"
        return outcome, attempts

    def _refusal(self, lock: int) -> Outcome | None:
        """Return the outcome of a run that cannot have its workers; found by one process if they exceed the cores."""
        if self.run.wanted_config().parallel.workers <= available_cores():
            return None
        command = (sys.executable, "-m", "tsnn.execution", "--check", str(self.run.path.resolve()))
        outcome = self._attempt(Job(command), lock)
        if self.stop_time < math.inf:
            return Outcome(RunState.STOPPED, "Stopped before it began", 0)
        return outcome if outcome.rc else None

    def _record_outcome(self, outcome: Outcome) -> None:
        """Write the outcome to the status, unless the engine has, or another supervisor has the run already."""
        status = read_json(self.run.path / "status.json")
        if status.get("process") != self.identity or status.get("state") == outcome.state:
            return
        if "previous" in status:  # it ended before the resumed run had begun
            log.error("The run could not be resumed. %s", outcome.reason)
            restore_status(self.run, self.run.previous_status())
        else:
            self._write_status({**status, "state": outcome.state, "message": outcome.reason, **stamp()})

    def _log_size(self) -> int:
        with contextlib.suppress(OSError):
            return (self.run.path / "log.txt").stat().st_size
        return 0

    def _write_status(self, content: dict[str, Any]) -> None:
        try:
            write_atomic(self.run.path / "status.json", json.dumps(content).encode())
        except OSError as error:
            log.error("The status could not be written: %s", os_error_message(error))

    def _signal(self, signum: int, frame: FrameType | None) -> None:
        self.signalled = True

    def _attempt(self, job: Job, lock: int) -> Outcome:
        """Run a job until none of its processes is left."""
        for beat in self.run.path.glob("beat.rank*.json"):
            beat.unlink()
        self._beats.clear()
        self._log_start, started = self._log_size(), time.monotonic()
        process = self._start(job, lock)
        kill_reason = ""
        terminate_time = math.inf
        while (rc := _reap(process)) is None:
            time.sleep(POLL_SECONDS)
            now, silent = time.monotonic(), self._silence()
            if not self._beats:
                silent = max(silent, time.monotonic() - started)
            if self._stop_requested():
                self.stop_time = min(self.stop_time, now)
            patience = job.patience if self._beats else job.start_patience
            kill_reason = kill_reason or _kill_reason(patience, silent, now - terminate_time)
            if kill_reason:
                _kill_descendants()
            elif now > self.stop_time + GRACE_SECONDS and terminate_time == math.inf:
                process.terminate()
                terminate_time = now
        deadline = time.monotonic() + LONGEST_SECONDS
        while _kill_descendants() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            _reap(process)
        stop_requested = self.stop_time < math.inf
        return job_outcome(self.run, rc, kill_reason, stop_requested=stop_requested, log_start=self._log_start)

    def _start(self, job: Job, lock: int) -> subprocess.Popen[bytes]:
        facts = {"folder": str(self.run.path.resolve()), "process": self.identity, "note": self.note}
        environment = OPEN_MPI | LOCAL_LAUNCHER | clean_environment() | {VARIABLE: json.dumps(facts)}
        if threads := self.run.config().run.threads:
            environment["NUMBA_NUM_THREADS"] = str(threads)
        posix: dict[str, Any] = {"pass_fds": [lock], "preexec_fn": functools.partial(end_with, self.identity["pid"])}
        return subprocess.Popen(
            job.command, stdin=subprocess.DEVNULL, env=environment, **(posix if os.name == "posix" else {})
        )

    def _stop_requested(self) -> bool:
        requested = any(command.action == "stop" for command in self._commands.poll())
        if self.signalled and not requested:
            self.signalled = False
            request(self.run, "stop")
        return requested

    def _silence(self) -> float:
        """Return the age of the oldest heartbeat of a rank, in seconds on this process's clock."""
        now, longest = time.monotonic(), 0.0
        for path in [self.run.path / "status.json", *self.run.path.glob("beat.rank*.json")]:
            beat = read_json(path).get("beat")
            if beat is None:
                continue
            if self._beats.get(path, (None, 0.0))[0] != beat:
                self._beats[path] = beat, now
            else:
                longest = max(longest, now - self._beats[path][1])
        return longest


def _kill_reason(patience: float, silent: float, since_sigterm: float) -> str:
    """Return why a job has to be killed; empty if it has not.

    Parameters
    ----------
    patience : float
        Longest silence, in seconds.
    silent : float
        Age of the oldest heartbeat, in seconds.
    since_sigterm : float
        Seconds since the job was sent SIGTERM; minus infinity if it was not.
    """
    if silent > patience:
        return f"A process has had no heartbeat for {silent:.0f} s"
    if since_sigterm > GRACE_SECONDS and (silent > GRACE_SECONDS or since_sigterm > LONGEST_SECONDS):
        return "It did not stop on request, and was killed"
    return ""


def _reap(process: subprocess.Popen[bytes]) -> int | None:
    """Collect dead children, also adopted ones; return the exit code of ``process``, None while it runs."""
    if os.name != "posix":
        return process.poll()
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            if found[0] == process.pid:
                process.returncode = os.waitstatus_to_exitcode(found[1])
    return process.returncode


def _kill_descendants() -> bool:
    """Send SIGKILL to all descendants of this process; returns whether there were any."""
    left = psutil.Process().children(recursive=True)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return bool(left)


def main() -> int:
    """Supervise the run whose directory is the only argument."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        return Supervisor(Run(Path(sys.argv[1]))).supervise()
    except (RunError, OSError) as error:
        log.error("%s", os_error_message(error) if isinstance(error, OSError) else error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
