"""Outcome of a job: how it ended and why, from its exit code, its run's status, error files and log."""

from __future__ import annotations

import contextlib
import re
import signal
import textwrap
from dataclasses import dataclass

from tsnn.errors import TsnnError
from tsnn.files import open_regular, read_json
from tsnn.runs import ENDED, Run, RunState
from tsnn.runs.checks import STATUS, fitting
from tsnn.runs.liveness import identity

TAIL_BYTES = 4000
EXCERPT_CHARACTERS = 400  #: of the log, in a message


@dataclass
class Outcome:
    """Outcome of a job: final state, reason, exit code; ``died`` if the engine itself recorded no end."""

    state: RunState
    reason: str
    rc: int
    died: bool = False


def job_outcome(run: Run, rc: int, kill_reason: str, *, stop_requested: bool, log_start: int) -> Outcome:
    """Return the outcome of a job none of whose processes is left.

    Parameters
    ----------
    run : Run
        Its run.
    rc : int
        Exit code of its first process.
    kill_reason : str
        Why the supervisor killed it; empty if it did not.
    stop_requested : bool
        Whether the run was to stop.
    log_start : int
        Position in ``log.txt`` where the job's output begins, in bytes.
    """
    status = fitting(STATUS, read_json(run.path / "status.json"))
    state, message = status.get("state"), status.get("message", "")
    errors = [str(read_json(path).get("error", "")) for path in sorted(run.path.glob("error.rank*.json"))]
    if state in ENDED and "process" in status and status["process"] != identity():  # that of before is restored
        return Outcome(RunState.FAILED, _refusal(run), rc)
    if state == RunState.FINISHED and rc != 0:
        return Outcome(RunState.FAILED, f"All epochs are done, but the engine then ended with code {rc}", rc)
    if state in ENDED:
        return Outcome(RunState(state), message, rc)
    if errors:
        return Outcome(RunState.FAILED, errors[0], rc)
    if kill_reason and not stop_requested and not has_heartbeat(run):
        excerpt = _log_excerpt(run, log_start)
        return Outcome(RunState.FAILED, f"{kill_reason}, since the start. Its output: {excerpt}", rc)
    if kill_reason:
        end = RunState.STOPPED if stop_requested else RunState.FAILED
        return Outcome(end, kill_reason, rc, died=not stop_requested)
    return _unexplained_outcome(run, rc, log_start)


def _refusal(run: Run) -> str:
    """Return why a run could not be resumed, from its last event."""
    events = [line for line in run.checked_lines()[0] if line["type"] == "event"]
    return events[-1]["message"].partition(": ")[2].rstrip(".") if events else "The engine gave no reason"


def has_heartbeat(run: Run) -> bool:
    """Return whether any rank of a job has shown a sign of life."""
    return "beat" in read_json(run.path / "status.json") or any(run.path.glob("beat.rank*.json"))


def _unexplained_outcome(run: Run, rc: int, log_start: int) -> Outcome:
    """Return the outcome of a job that left neither a final state nor an error."""
    if rc == 0:
        return Outcome(RunState.FAILED, "The engine ended without a result and without a message", rc)
    if _workers(run) and not any(run.path.glob("beat.rank*.json")):
        name = _signal_name(rc)
        code, excerpt = name + _SIGNAL_CAUSES.get(name, "") or f"code {rc}", _log_excerpt(run, log_start)
        return Outcome(RunState.FAILED, f"The workers could not be started ({code}): {excerpt}", rc)
    return Outcome(RunState.FAILED, _cause(rc), rc, died=True)


def _workers(run: Run) -> int:
    with contextlib.suppress(TsnnError):
        return run.config().parallel.workers
    return 0


def _log_excerpt(run: Run, start: int) -> str:
    """Return the beginning of the log after a position, as one line."""
    text = ""
    with contextlib.suppress(OSError), open_regular(run.path / "log.txt") as file:
        file.seek(start)
        text = re.sub("[-=]{3,}", "", file.read(TAIL_BYTES).decode(errors="replace"))
    return textwrap.shorten(text, EXCERPT_CHARACTERS, placeholder=" ...") or "no output"


def _signal_name(rc: int) -> str:
    """Return the name of the signal behind an exit code; empty if there is none."""
    code = -rc if rc < 0 else rc if rc in (6, 7, 9, 11) else rc - 128  # MPICH's mpiexec returns the bare number
    with contextlib.suppress(ValueError):
        return signal.Signals(code).name
    return ""


_SIGNAL_CAUSES = {
    "SIGKILL": "; the system does that when memory runs out",
    "SIGBUS": "; that happens when /dev/shm, the shared memory of this machine, is full or too small. Enlarge it "
    "(docker run --shm-size=1g), or use fewer workers",
}


def _cause(rc: int) -> str:
    if name := _signal_name(rc):
        return f"A process of the run was ended by {name}{_SIGNAL_CAUSES.get(name, '')}"
    return f"The engine ended with code {rc} and without a message"
