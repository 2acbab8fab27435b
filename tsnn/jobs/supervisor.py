"""The supervisor: one process per launched run, which starts the job, sees it end, and says how.

``python -m tsnn.jobs.supervisor RUN_DIR`` is what :func:`tsnn.start` and :func:`tsnn.resume` leave behind. It holds the
run's lock, in a session of its own, so that nothing that happens to a dashboard, a notebook or a terminal reaches the
run. A *job* is any command, with any number of processes below it; they train, the supervisor only looks after them:

- A job that dies without a word is noticed at once: ``status.json`` then says ``failed``, and why.
- A command to stop, SIGTERM or SIGINT: the engine is left to end by itself; after 5 s the job gets SIGTERM; 5 s later,
  if a rank gives no sign of life, or at the latest after 60 s, all its processes are killed.
- Nothing is left of a job: it inherits orphans (Linux) and kills them. If it is itself killed, the kernel kills the
  job (Linux; elsewhere the engine notices within a second), and the next reader of the run finds it lost.
- ``exit.json`` is its last word: ``state``, ``reason``, ``rc``, ``attempts`` and ``tail``, the end of the log.
  A run is ``finished`` only if the job ended with code 0 *and* the engine had written, as its very last act, that
  state to ``status.json``.

To put another kind of engine under supervision:

1. :func:`job_of` returns its :class:`Job` for a run's configuration and the number of workers that have died.
   A job that dies (killed, or silent for longer than ``Job.patience``), rather than fails with an error, is started
   again with one worker fewer, at most :data:`RESTARTS` times, as long as that function returns one. It has to go on
   from the run's last checkpoint by itself, as every engine does.
2. Each of its processes calls :func:`tsnn.jobs.processes.enter_service` first. All but rank 0 hold a
   :class:`tsnn.jobs.processes.Heartbeat`; rank 0 has a :class:`tsnn.runs.writer.RunWriter`, which takes the lock.
3. Rank 0 finds in :func:`tsnn.runs.liveness.supervision` a ``note`` on why it was started again.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import math
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from tsnn.errors import RunError
from tsnn.files import read_json, write_atomic
from tsnn.jobs.launch import command_line
from tsnn.jobs.processes import adopt_orphans, end_with
from tsnn.runs import ENDED, Run
from tsnn.runs.control import ControlReader, request
from tsnn.runs.liveness import VARIABLE, identity
from tsnn.runs.writer import hold

GRACE_SECONDS = 5.0  # between asking, SIGTERM and SIGKILL
LONGEST_SECONDS = 60.0  # for an engine that lives but does not end
POLL_SECONDS = 0.1
PATIENCE_SECONDS = 60.0
RESTARTS = 3
TAIL_BYTES = 4000
SAID_CHARACTERS = 400

#: Open MPI (PRTE: from version 5 on) starts no more ranks than cores unless told to, and ties each to one. But the
#: server sleeps nearly all the time, and a rank may have threads.
OPEN_MPI = {
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
}

log = logging.getLogger("tsnn.jobs.supervisor")


@dataclass(frozen=True)
class Job:
    """What a supervisor runs.

    Attributes
    ----------
    command : tuple of str
        Program and arguments; the first process of the job.
    patience : float
        Seconds of silence of any rank after which the job counts as dead. Ranks give signs of life every second
        unless they are stopped, or their machine is gone.
    """

    command: tuple[str, ...]
    patience: float = math.inf


def job_of(run: Run, lost: int) -> Job | None:
    """Return the job for a run of which so many workers have died; None if it cannot go on without them."""
    parallel = run.config().parallel
    if lost and lost >= parallel.workers:
        return None
    waits = parallel.workers and parallel.mode != "wasap"  # for the slowest; in WASAP nobody does
    return Job(tuple(command_line(run, lost)), PATIENCE_SECONDS if waits else math.inf)


@dataclass
class End:
    """How a job ended: ``state`` as :meth:`Run.status` calls it, and why; ``died`` if it said nothing itself."""

    state: str
    reason: str
    rc: int
    died: bool = False


class Supervisor:
    """Looks after one run.

    Parameters
    ----------
    run : Run
        The run; its lock is taken by :meth:`supervise`.
    """

    def __init__(self, run: Run):
        self.run = run
        self.me = identity()
        self.note = ""  # for the next attempt: why there is one
        self.signalled = False
        self.stopping = math.inf  # when to begin to insist
        self._commands = ControlReader(run)
        self._beats: dict[Path, tuple[Any, float]] = {}
        self._log_start = 0  # of this attempt

    def supervise(self) -> int:
        """Run the job to its end, again with fewer workers where that helps; returns the exit code.

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
            self._commands.poll()  # what was wished for before is the engine's business
            self._status(state="starting", message="", pid=self.me["pid"], process=self.me)
            log_start = self._log_size()
            attempts, end = 0, End("failed", "There is no job for this run", 1)
            while (job := job_of(self.run, attempts)) is not None:
                end = self._attempt(job, held.fileno())
                attempts += 1
                if not end.died or self.stopping < math.inf or attempts > RESTARTS:
                    break
                self.note = f"{end.reason}. It goes on with one worker fewer"
            if read_json(self.run.path / "status.json").get("state") != end.state:
                self._status(state=end.state, message=end.reason)
            with open(self.run.path / "log.txt", "rb") as file:
                file.seek(max(log_start, file.seek(0, os.SEEK_END) - TAIL_BYTES))
                tail = file.read().decode(errors="replace")
            content = {"state": end.state, "reason": end.reason, "rc": end.rc, "attempts": attempts, "tail": tail}
            write_atomic(self.run.path / "exit.json", json.dumps(content, indent=1).encode())
        return 0 if end.state in ("finished", "stopped") else 1

    def _log_size(self) -> int:
        return (self.run.path / "log.txt").stat().st_size

    def _status(self, **changes: Any) -> None:
        content = {**read_json(self.run.path / "status.json"), **changes, "time": time.time()}
        write_atomic(self.run.path / "status.json", json.dumps(content).encode())

    def _signal(self, signum: int, frame: FrameType | None) -> None:
        self.signalled = True

    def _attempt(self, job: Job, lock: int) -> End:
        """Run a job until nothing of it is left."""
        for beat in self.run.path.glob("beat.rank*.json"):
            beat.unlink()
        self._beats.clear()
        self._log_start = self._log_size()
        told = {"folder": str(self.run.path.resolve()), "process": self.me, "note": self.note}
        environment = OPEN_MPI | os.environ | {VARIABLE: json.dumps(told)}
        if threads := self.run.config().run.threads:
            environment["NUMBA_NUM_THREADS"] = str(threads)
        posix: dict[str, Any] = {"pass_fds": [lock], "preexec_fn": functools.partial(end_with, self.me["pid"])}
        process = subprocess.Popen(
            job.command, stdin=subprocess.DEVNULL, env=environment, **(posix if os.name == "posix" else {})
        )
        killed = ""
        terminated = math.inf
        while (rc := _reap(process)) is None:
            time.sleep(POLL_SECONDS)
            now, silent = time.monotonic(), self._silence()
            if self._stop_requested():
                self.stopping = min(self.stopping, now)
            if silent > job.patience:
                killed = killed or f"A process has given no sign of life for {silent:.0f} s"
            elif now > terminated + GRACE_SECONDS and (silent > GRACE_SECONDS or now > terminated + LONGEST_SECONDS):
                killed = killed or "It did not stop when asked to, and was killed"
            elif now > self.stopping + GRACE_SECONDS and terminated == math.inf:
                process.terminate()
                terminated = now
            if killed:
                _kill_descendants()
        deadline = time.monotonic() + LONGEST_SECONDS
        while _kill_descendants() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            _reap(process)
        return self._verdict(rc, killed)

    def _stop_requested(self) -> bool:
        wished = any(command.action == "stop" for command in self._commands.poll())
        if self.signalled and not wished:
            self.signalled = False
            request(self.run, "stop")
        return wished

    def _silence(self) -> float:
        """Return for how long the quietest rank has given no sign of life, on this process's own clock."""
        now, longest = time.monotonic(), 0.0
        for path in [self.run.path / "status.json", *self.run.path.glob("beat.rank*.json")]:
            beat = read_json(path).get("beat")
            if self._beats.get(path, (None, 0.0))[0] != beat:
                self._beats[path] = beat, now
            elif path in self._beats:
                longest = max(longest, now - self._beats[path][1])
        return longest

    def _verdict(self, rc: int, killed: str) -> End:
        status = read_json(self.run.path / "status.json")
        said, message = status.get("state"), str(status.get("message", ""))
        errors = [read_json(path).get("error", "") for path in sorted(self.run.path.glob("error.rank*.json"))]
        if said == "finished" and rc != 0:
            return End("failed", f"All epochs are done, but the engine then ended with code {rc}", rc)
        if said in ENDED:
            return End(said, message, rc)
        if errors:
            return End("failed", errors[0], rc)
        if killed and self.stopping < math.inf:
            return End("stopped", killed, rc)
        if killed:
            return End("failed", killed, rc, died=True)
        if rc == 0:
            return End("failed", "The engine ended without a result and without a word", rc)
        if self.run.config().parallel.workers and not any(self.run.path.glob("beat.rank*.json")):
            code = _signal_of(rc) or f"code {rc}"
            return End("failed", f"The workers could not be started ({code}): {self._said()}", rc)
        return End("failed", _cause(rc), rc, died=True)

    def _said(self) -> str:
        """Return the beginning of what this attempt has written to the log, as one line without rules."""
        with open(self.run.path / "log.txt", "rb") as file:
            file.seek(self._log_start)
            text = re.sub("[-=]{3,}", "", file.read(TAIL_BYTES).decode(errors="replace"))
        return textwrap.shorten(text, SAID_CHARACTERS, placeholder=" ...") or "nothing was said"


def _reap(process: subprocess.Popen[bytes]) -> int | None:
    """Collect dead children, adopted ones too; return how ``process`` ended, None while it lives."""
    if os.name != "posix":
        return process.poll()
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            if found[0] == process.pid:
                process.returncode = os.waitstatus_to_exitcode(found[1])
    return process.returncode


def _kill_descendants() -> bool:
    """Send SIGKILL to everything below this process; tell whether there was anything."""
    left = psutil.Process().children(recursive=True)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return bool(left)


def _signal_of(rc: int) -> str:
    """Return the name of the signal that an exit code tells of; "" if it tells of none."""
    code = -rc if rc < 0 else rc if rc in (6, 7, 9, 11) else rc - 128  # MPICH's mpiexec gives the bare number
    with contextlib.suppress(ValueError):
        return signal.Signals(code).name
    return ""


def _cause(rc: int) -> str:
    if name := _signal_of(rc):
        memory = ", as the system does when memory runs out" if name == "SIGKILL" else ""
        return f"A process of the run was ended by {name}{memory}"
    return f"The engine ended with code {rc} and without a word"


def main() -> int:
    """Supervise the run whose directory is the only argument."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        return Supervisor(Run(Path(sys.argv[1]))).supervise()
    except RunError as error:
        log.error("%s", error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
