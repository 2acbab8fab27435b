"""Writer of a run directory: metrics, events, snapshots, status and heartbeat; and the run's lock."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

from tsnn.errors import RunError, abbreviated
from tsnn.files import append_line, json_line, open_regular, read_lines, write_atomic
from tsnn.records import FORMAT, Event, EventKind, RunState, json_safe
from tsnn.runs.checks import is_count
from tsnn.runs.liveness import identity, stamp, supervision
from tsnn.runs.store import Run
from tsnn.snapshot import Snapshot

HEARTBEAT_SECONDS = 1.0

log = logging.getLogger(__name__)


class RunWriter:
    """The only writer of a run's metrics, events, snapshots and status.

    Use as a context manager: entering takes the run's lock and starts the heartbeat.

    Parameters
    ----------
    run : Run
        Directory made by :meth:`RunStore.create`.

    Raises
    ------
    RunError
        On entering, if another process writes this run, all its epochs are done, or it has another format. Nothing is
        written then.
    """

    def __init__(self, run: Run):
        self.run = run
        self._metrics = run.path / "metrics.jsonl"
        self._seq = 0
        self._status: dict[str, Any] = {}
        self._status_lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._synced = 0.0
        self._exists = False  # whether the metrics have been created: they are not created again
        self._previous: dict[str, Any] = {}  # status that a failed resume restores

    def __enter__(self) -> RunWriter:
        supervised = supervision(self.run.path)
        self._lock = None if supervised else hold(self.run)  # a supervisor holds it itself
        try:
            self._check_writable()
        except BaseException:
            self._release()
            raise
        me = identity()
        self._previous = self.run.previous_status()
        self._seq, self._exists = _count_lines(self._metrics), self._metrics.exists()
        self._status = {
            **({"previous": self._previous} if self._previous else {}),
            "state": RunState.STARTING,
            "pid": me["pid"],
            "process": supervised["process"] if supervised else me,  # the run is lost without it
            "since": time.time(),
            "beat": 0,
            "epoch": self.run.resumes_from(),
        }
        for left in self.run.path.rglob(".*.tmp"):  # of a killed writer
            left.unlink(missing_ok=True)
        self._write_status()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._previous and any(exception):
            self._restore(str(exception[1]))
        self._stop.set()
        self._thread.join()
        self._release()

    def _check_writable(self) -> None:
        self.run.meta()
        status, planned = self.run.status(), self.run.wanted_config().training.epochs
        if status["state"] == RunState.FINISHED and status.get("epoch", 0) >= planned:
            more = f"Train more: tsnn resume {self.run.id} --epochs N"
            raise RunError(f"Run {self.run.id} has ended: its {planned} epochs are done. {more}.")

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()

    def meta(self, values: Mapping[str, Any]) -> None:
        """Write ``meta.json``."""
        content = json.dumps(json_safe({"format": FORMAT, **values}), indent=1, allow_nan=False)
        write_atomic(self.run.path / "meta.json", content.encode())

    def line(self, kind: str, /, **values: Any) -> None:
        """Append a line of type ``kind`` to the metrics; it is forced to the disk within a second."""
        content = {"type": kind, "seq": self._seq, "time": time.time(), **values}
        try:
            append_line(self._metrics, content, create=not self._exists)
        except FileNotFoundError as error:
            raise RunError(
                f"{self._metrics} was removed while run {self.run.id} was training, so it stops. "
                "Resume it: what is missing is trained again."
                if self.run.path.exists()
                else f"The directory of run {self.run.id}, {self.run.path}, was removed while it was training."
            ) from error
        self._exists = True
        self._seq += 1
        if time.monotonic() - self._synced > 1.0 or kind in ("ack", "end"):
            with open(self._metrics, "rb") as file:
                os.fsync(file.fileno())
            self._synced = time.monotonic()

    def event(self, event: Event) -> None:
        """Append an event to the metrics, and log it; long values in its message are abbreviated."""
        event = replace(event, message=abbreviated(event.message))
        level, head = (logging.WARNING, "Warning: ") if event.kind == EventKind.DATA_WARNING else (logging.INFO, "")
        log.log(level, "%s%s", head, event.message)
        self.line("event", **asdict(event))

    def position(self) -> dict[str, int]:
        """Return the end of the metrics, for :meth:`rewind`; all lines before it are on the disk."""
        if not self._metrics.exists():
            return {"lines": 0, "bytes": 0}
        with open(self._metrics, "rb") as file:
            os.fsync(file.fileno())
            return {"lines": self._seq, "bytes": file.seek(0, os.SEEK_END)}

    def epochs_after(self, position: Mapping[str, int]) -> list[int]:
        """Return the epochs that are recorded after a position."""
        lines, _ = read_lines(self._metrics, position["bytes"])
        return [line["epoch"] for line in lines if line.get("type") == "epoch" and is_count(line.get("epoch"))]

    def rewind(
        self, position: Mapping[str, int], epoch: int, acks: Iterable[Mapping[str, Any]] = (), recorded: int = 0
    ) -> None:
        """Drop the lines after a position but acks of settings, and snapshots of epochs after ``epoch``.

        The file is replaced, by which its readers notice.

        Parameters
        ----------
        position : mapping
            As :meth:`position` returned it.
        epoch : int
            Last finished epoch there.
        acks : iterable of mapping
            Further acks to be recorded at the same time.
        recorded : int
            The last epoch that was recorded before.
        """
        lines, _ = read_lines(self._metrics, position["bytes"])
        kept = [line for line in lines if line.get("type") == "ack" and "settings" in line]
        kept += [{"type": "ack", "time": time.time(), **ack} for ack in acks]
        if recorded > max(epoch, 0):
            kept.append({"type": "repeat", "time": time.time(), "recorded": recorded})
        with contextlib.suppress(FileNotFoundError), open(self._metrics, "rb") as file:
            before = file.read(position["bytes"])
            after = (json_line({**line, "seq": position["lines"] + i}) for i, line in enumerate(kept))
            write_atomic(self._metrics, before[: before.rfind(b"\n") + 1] + b"".join(after))
        self._seq = position["lines"] + len(kept)
        self._forget_previous()
        for later in self.run.snapshot_epochs():
            if later > epoch:
                (self.run.path / "snapshots" / f"{later:07d}.npz").unlink(missing_ok=True)

    def snapshot(self, epoch: int, snapshot: Snapshot) -> None:
        """Store a snapshot and announce it in the metrics."""
        name = f"{epoch:07d}.npz"
        snapshot.write(self.run.path / "snapshots" / name)
        self.line("snapshot", epoch=epoch, file=name)

    def update(self, **status: Any) -> None:
        """Change values of the status; they are written with the next heartbeat, a new ``state`` at once."""
        if status.get("state", RunState.STARTING) != RunState.STARTING:
            self._forget_previous()
        with self._status_lock:
            changed = "state" in status and status["state"] != self._status["state"]
            self._status.update(status)
        if changed:
            with contextlib.suppress(OSError):  # the next heartbeat tries again
                self._write_status()

    def end(self, state: str, message: str) -> None:
        """Write the last line and the final state, one of :data:`tsnn.records.ENDED`.

        On a full disk the line is left out, and the status is written as far as possible. A run that was to be resumed
        and has not begun is as before.
        """
        if self._previous:
            self._restore(message)
            return
        try:
            self.line("end", state=RunState(state), message=message)
        except (OSError, RunError) as error:
            log.warning("The end of the run could not be recorded: %s", error)
        with self._status_lock:
            self._status.update(state=RunState(state), message=message)
        try:
            self._write_status()
        except OSError:
            self._overwrite_status()

    def _restore(self, message: str) -> None:
        self._stop.set()
        self._thread.join()
        text = f"The run could not be resumed: {message}"
        log.warning("%s", text)
        with contextlib.suppress(OSError, RunError):
            self.line("event", **asdict(Event(self._previous.get("epoch", 0), EventKind.RESUMED, text)))
        restore_status(self.run, self._previous)
        self._previous = {}

    def _forget_previous(self) -> None:
        """Note that the run has begun: it is another one than before."""
        self._previous = {}
        with self._status_lock:
            self._status.pop("previous", None)

    def _content(self) -> bytes:
        self._status["beat"] += 1
        return json.dumps(json_safe({**self._status, **stamp()}), allow_nan=False).encode()

    def _write_status(self) -> None:
        if not (self.run.path / "config.toml").exists():  # the run is being deleted: leave nothing behind
            return
        with self._status_lock:
            write_atomic(self.run.path / "status.json", self._content(), durable=False)

    def _overwrite_status(self) -> None:
        """Write the status into its file, where the disk has no space for another one."""
        with self._status_lock, contextlib.suppress(OSError), open(self.run.path / "status.json", "r+b") as file:
            file.write(self._content())
            file.truncate()

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):  # a full disk does not end the training; the next beat tries again
                self._write_status()


def restore_status(run: Run, previous: Mapping[str, Any]) -> None:
    """Give a run that could not be resumed its previous status again."""
    with contextlib.suppress(OSError):
        (run.path / "resume.json").unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        if previous:
            write_atomic(run.path / "status.json", json.dumps(json_safe(previous)).encode())
        else:
            (run.path / "status.json").unlink(missing_ok=True)


def _count_lines(path: Path) -> int:
    with contextlib.suppress(OSError), open_regular(path) as file:
        return sum(1 for _ in file)
    return 0


def hold(run: Run, patience: float = 0.0) -> IO[str]:
    """Take a run's lock; it is released when the returned file is closed, or its last holder's process ends.

    Parameters
    ----------
    run : Run
        The run.
    patience : float
        Seconds to wait for another holder to release it.

    Raises
    ------
    RunError
        If another process holds it.
    """
    file = open(run.path / "run.lock", "a")  # noqa: SIM115
    try:
        import fcntl
    except ImportError:  # Windows: sequential runs only, without protection against a second engine
        return file
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except OSError as error:
            if time.monotonic() > deadline:
                file.close()
                status = run.status()
                since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(status.get("since", 0)))
                text = f"Run {run.id} is being written by process {status.get('pid')} since {since}."
                raise RunError(text) from error
            time.sleep(0.1)
