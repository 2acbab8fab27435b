"""Writer of a run directory: metrics, events, snapshots, status and heartbeat; and the run's lock."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import IO, Any

from tsnn.errors import RunError
from tsnn.files import append_line, read_lines, write_atomic
from tsnn.records import FORMAT, Event, EventKind, RunState, json_safe
from tsnn.runs.liveness import identity, supervision
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

    def __enter__(self) -> RunWriter:
        supervised = supervision(self.run.path)
        self._lock = None if supervised else hold(self.run)  # a supervisor holds it itself
        try:
            self._check_writable()
        except BaseException:
            self._release()
            raise
        me = identity()
        self._status = {
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
        self._stop.set()
        self._thread.join()
        self._release()

    def _check_writable(self) -> None:
        self.run.meta()
        status, planned = self.run.status(), self.run.config().training.epochs
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
        append_line(self._metrics, {"type": kind, "seq": self._seq, "time": time.time(), **values})
        self._seq += 1
        if time.monotonic() - self._synced > 1.0 or kind == "end":
            with open(self._metrics, "rb") as file:
                os.fsync(file.fileno())
            self._synced = time.monotonic()

    def event(self, event: Event) -> None:
        """Append an event to the metrics, and log it."""
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

    def rewind(self, position: Mapping[str, int], epoch: int) -> list[int]:
        """Drop the lines after a position, and snapshots of epochs after ``epoch``.

        The file is replaced, by which its readers notice. Returns the epochs whose records were dropped.
        """
        lines, _ = read_lines(self._metrics, position["bytes"])
        with contextlib.suppress(FileNotFoundError), open(self._metrics, "rb") as file:
            kept = file.read(position["bytes"])
            write_atomic(self._metrics, kept[: kept.rfind(b"\n") + 1])
        self._seq = position["lines"]
        for later in self.run.snapshot_epochs():
            if later > epoch:
                (self.run.path / "snapshots" / f"{later:07d}.npz").unlink(missing_ok=True)
        return [line["epoch"] for line in lines if line.get("type") == "epoch"]

    def snapshot(self, epoch: int, snapshot: Snapshot) -> None:
        """Store a snapshot and announce it in the metrics."""
        name = f"{epoch:07d}.npz"
        snapshot.write(self.run.path / "snapshots" / name)
        self.line("snapshot", epoch=epoch, file=name)

    def update(self, **status: Any) -> None:
        """Change values of the status; they are written with the next heartbeat, a new ``state`` at once."""
        with self._status_lock:
            changed = "state" in status and status["state"] != self._status["state"]
            self._status.update(status)
        if changed:
            self._write_status()

    def end(self, state: str, message: str) -> None:
        """Write the last line and the final state, one of :data:`tsnn.records.ENDED`."""
        self.line("end", state=RunState(state), message=message)
        self.update(state=RunState(state), message=message)

    def _write_status(self) -> None:
        with self._status_lock:
            self._status["beat"] += 1
            content = json.dumps(json_safe({**self._status, "time": time.time()}), allow_nan=False).encode()
            write_atomic(self.run.path / "status.json", content, durable=False)

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):  # a full disk does not end the training; the next beat tries again
                self._write_status()


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
