"""Runs on disk: one directory per run, readable while it is written, after a crash, elsewhere.

==================  ============================================================================
``config.toml``     the full configuration, written before the engine starts
``meta.json``       versions, machine, data set, network: written once by the engine
``metrics.jsonl``   append-only; one JSON object per line with ``type`` and ``seq``. Types: ``epoch``
                    (an :class:`~tsnn.records.EpochRecord`), ``snapshot``, ``event``, ``ack``, ``end``
``status.json``     heartbeat: state, process, progress; replaced every second
``snapshots/``      ``0000123.npz``: summaries of the topology after an epoch (:mod:`tsnn.snapshots`)
``control.jsonl``   wishes of those who watch (:mod:`tsnn.control`)
``weights.npz``     the final network
``log.txt``         what the engine printed and logged
==================  ============================================================================

Nothing is pickled. Whole files are replaced atomically; lines are appended with one write each, and
a reader takes what ends with a newline, so a torn last line costs nothing.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import secrets
import socket
import threading
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tsnn.config import Config
from tsnn.errors import RunError
from tsnn.files import append_line, cut_torn_line, npz_bytes, read_json, read_lines, write_atomic
from tsnn.records import EpochRecord, json_safe

FORMAT = 1
HEARTBEAT_SECONDS = 1.0
STALE_SECONDS = 10.0
START_SECONDS = 60.0
ENDED = ("finished", "stopped", "failed")
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_MAX_SNAPSHOT_BYTES = 64 * 2**20


def default_root() -> Path:
    """Return the folder of runs: the environment variable TSNN_RUNS, else ``./runs``."""
    return Path(os.environ.get("TSNN_RUNS") or "runs").expanduser()


@dataclass(frozen=True)
class Run:
    """A run directory, for reading. Holds no state: each call reads the files as they are now."""

    path: Path

    @property
    def id(self) -> str:
        """Name of the directory."""
        return self.path.name

    def config(self) -> Config:
        """Return the configuration the run was started with."""
        return Config.from_toml(self.path / "config.toml")

    def meta(self) -> dict[str, Any]:
        """Return versions, machine and data set; empty until the engine has written them.

        Raises
        ------
        RunError
            If the run was written by a newer version of tsnn.
        """
        meta = read_json(self.path / "meta.json")
        if meta.get("format", FORMAT) > FORMAT:
            raise RunError(
                f"Run {self.id} has format {meta['format']}; this tsnn reads up to {FORMAT}. Try a newer tsnn."
            )
        return meta

    def status(self) -> dict[str, Any]:
        """Return the last heartbeat with ``state`` as it really is.

        Beside the states the engine writes (``starting``, ``training``, ``paused``, ``finished``,
        ``stopped``, ``failed``) there are ``created`` (not begun), ``stalled`` (the process lives
        but has been silent for 10 s) and ``lost`` (its process is gone).
        """
        status = read_json(self.path / "status.json")
        if not status:
            with contextlib.suppress(OSError):
                age = time.time() - (self.path / "config.toml").stat().st_mtime
                return {"state": "created" if age < START_SECONDS else "lost"}
            return {"state": "lost"}
        if status.get("state") not in ENDED:
            alive = process_alive(status)
            silent = time.time() - status.get("time", 0.0) > STALE_SECONDS
            if alive is False or (alive is None and silent):
                status["state"] = "lost"
            elif silent:
                status["state"] = "stalled"
        return status

    def lines(self, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Return the lines of ``metrics.jsonl`` from a byte offset on, and the next offset."""
        return read_lines(self.path / "metrics.jsonl", offset)

    def records(self) -> list[EpochRecord]:
        """Return every finished epoch."""
        return [EpochRecord.from_dict(line) for line in self.lines()[0] if line.get("type") == "epoch"]

    def snapshot_epochs(self) -> list[int]:
        """Return the epochs of which a snapshot is kept, in order."""
        files = (self.path / "snapshots").glob("*.npz")
        return sorted(int(file.stem) for file in files if file.stem.isdigit())

    def snapshot(self, epoch: int) -> dict[str, np.ndarray]:
        """Return the arrays of one snapshot; see :func:`tsnn.snapshots.take_snapshot`.

        Raises
        ------
        RunError
            If there is none for this epoch or it cannot be read.
        """
        path = self.path / "snapshots" / f"{epoch:07d}.npz"
        try:
            with zipfile.ZipFile(path) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > _MAX_SNAPSHOT_BYTES:
                    raise RunError(f"Snapshot {path.name} of run {self.id} is too large to be one of tsnn's.")
            with np.load(path, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise RunError(f"Run {self.id} has no readable snapshot of epoch {epoch}: {error}.") from error

    def log(self, last: int = 4000) -> str:
        """Return the end of the engine's log, at most ``last`` bytes."""
        try:
            with open(self.path / "log.txt", "rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - last))
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""


class RunStore:
    """All runs below one folder.

    Parameters
    ----------
    root : path, optional
        The folder; default is :func:`default_root`. It is made when the first run is.
    """

    def __init__(self, root: str | Path | None = None):
        self.root = Path(root) if root is not None else default_root()

    def create(self, config: Config) -> Run:
        """Make a new run directory that holds the configuration."""
        slug = re.sub(r"[^a-z0-9]+", "-", Path(config.data.name).stem.lower()).strip("-")[:24]
        self.root.mkdir(parents=True, exist_ok=True)
        while True:
            path = self.root / f"{time.strftime('%Y%m%d-%H%M%S')}-{slug or 'data'}-{secrets.token_hex(2)}"
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                break
        (path / "snapshots").mkdir()
        write_atomic(path / "config.toml", config.to_toml().encode())
        return Run(path)

    def open(self, run_id: str) -> Run:
        """Return the run of this id.

        Raises
        ------
        RunError
            If the id is malformed, points outside the folder, or there is no such run.
        """
        path = self.root / run_id
        if not _RUN_ID.fullmatch(run_id) or path.resolve().parent != self.root.resolve():
            raise RunError(f"{run_id!r} is not the name of a run below {self.root}.")
        if not (path / "config.toml").is_file():
            known = ", ".join(run.id for run in self.list()[:3])
            raise RunError(f"There is no run {run_id!r} below {self.root}. The newest: {known or 'none yet'}.")
        return Run(path)

    def list(self) -> list[Run]:
        """Return all runs, the newest first; reads no file of theirs."""
        try:
            names = sorted((e.name for e in os.scandir(self.root) if e.is_dir()), reverse=True)
        except FileNotFoundError:
            return []
        return [Run(self.root / n) for n in names if _RUN_ID.fullmatch(n) and (self.root / n / "config.toml").exists()]


class RunWriter:
    """The only writer of a run: its metrics, snapshots, final weights, and the heartbeat.

    Use as a context manager; entering takes the run's lock and starts the heartbeat.

    Parameters
    ----------
    run : Run
        Directory made by :meth:`RunStore.create`.

    Raises
    ------
    RunError
        On entering, if another process writes this run or it has ended already.
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
        self._lock = open(self.run.path / "run.lock", "a")  # held until the run ends
        _lock_file(self._lock, self.run)
        if self.run.status()["state"] in ENDED:
            self._lock.close()
            raise RunError(f"Run {self.run.id} has ended already. Start a new one from its config.toml.")
        process = psutil.Process()
        self._status = {
            "state": "starting",
            "pid": process.pid,
            "process_start": process.create_time(),
            "host": socket.gethostname(),
            "epoch": 0,
        }
        cut_torn_line(self._metrics)
        self._write_status()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()
        self._lock.close()

    def meta(self, values: Mapping[str, Any]) -> None:
        """Write ``meta.json``."""
        content = json.dumps(json_safe({"format": FORMAT, **values}), indent=1, allow_nan=False)
        write_atomic(self.run.path / "meta.json", content.encode())

    def line(self, kind: str, /, **values: Any) -> None:
        """Append a line of type ``kind`` to the metrics; on disk within a second."""
        append_line(self._metrics, {"type": kind, "seq": self._seq, "time": time.time(), **values})
        self._seq += 1
        if time.monotonic() - self._synced > 1.0 or kind == "end":
            with open(self._metrics, "rb") as file:
                os.fsync(file.fileno())
            self._synced = time.monotonic()

    def snapshot(self, epoch: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Store a snapshot and announce it in the metrics."""
        name = f"{epoch:07d}.npz"
        write_atomic(self.run.path / "snapshots" / name, npz_bytes(arrays, compress=True), durable=False)
        self.line("snapshot", epoch=epoch, file=name)

    def update(self, **status: Any) -> None:
        """Change what the next heartbeat says; a new ``state`` is written at once."""
        with self._status_lock:
            changed = "state" in status and status["state"] != self._status["state"]
            self._status.update(status)
        if changed:
            self._write_status()

    def end(self, state: str, message: str) -> None:
        """Write the last line and the final state: one of ``finished``, ``stopped``, ``failed``."""
        self.line("end", state=state, message=message)
        self.update(state=state, message=message)

    def _write_status(self) -> None:
        with self._status_lock:
            content = json.dumps(json_safe({**self._status, "time": time.time()}), allow_nan=False).encode()
            write_atomic(self.run.path / "status.json", content, durable=False)

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):  # a full disk must not end the training; the next beat tries again
                self._write_status()


def process_alive(status: Mapping[str, Any]) -> bool | None:
    """Tell whether the process of a heartbeat lives; None if it is on another machine."""
    if status.get("host") != socket.gethostname():
        return None
    try:
        process = psutil.Process(int(status["pid"]))
        same = abs(process.create_time() - float(status["process_start"])) < 2.0
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, KeyError, ValueError, TypeError):
        return False


def _lock_file(file: io.TextIOWrapper, run: Run) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: sequential runs only, without protection against a second engine
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        status = run.status()
        file.close()
        raise RunError(f"Run {run.id} is being written by process {status.get('pid')}.") from error
