"""Runs on disk: one directory per run, readable while it is written, after a crash, elsewhere.

==================  ============================================================================
``config.toml``     the full configuration, written before the engine starts
``meta.json``       versions, machine, data set, network: written once by the engine
``metrics.jsonl``   append-only; one JSON object per line with ``type`` and ``seq``. Types: ``epoch``
                    (an :class:`~tsnn.records.EpochRecord`), ``snapshot``, ``event``, ``ack``, ``end``
``status.json``     heartbeat: state, process, progress; replaced every second
``snapshots/``      ``0000123.npz``: summaries of the topology after an epoch (:mod:`tsnn.snapshot`)
``control.jsonl``   commands of those who watch (:mod:`tsnn.runs.control`)
``checkpoints/``    what the run needs to go on, the newest two (:mod:`tsnn.engine.serialization`)
``weights.npz``     the final network
``log.txt``         what the engine printed and logged
``exit.json``       how a launched run's job ended (:mod:`tsnn.jobs.supervisor`); ``error.rankN.json``: which exception
``run.lock``        held by the process that writes the run, or supervises it
==================  ============================================================================

Nothing is pickled. Whole files are replaced atomically; lines are appended with one write each, and
a reader takes what ends with a newline, so a torn last line costs nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tsnn.config import Config
from tsnn.errors import RunError
from tsnn.files import read_json, read_lines, write_atomic
from tsnn.records import ENDED, FORMAT, EpochRecord
from tsnn.runs.liveness import alive
from tsnn.snapshot import Snapshot

STALE_SECONDS = 10.0
START_SECONDS = 60.0
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


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
        version = meta.get("format", FORMAT)
        if not isinstance(version, int) or version > FORMAT:
            raise RunError(f"Run {self.id} has format {version}; this tsnn reads up to {FORMAT}. Try a newer tsnn.")
        return meta

    def status(self) -> dict[str, Any]:
        """Return the last heartbeat with ``state`` as it really is.

        Beside what the engine writes (``starting``, ``training``, ``paused``, ``finished``, ``stopped``, ``failed``):
        ``queued`` (:mod:`tsnn.jobs.queue`), ``created`` (not begun), ``stalled`` (lives but has been silent for 10 s),
        ``lost`` (its process, or its supervisor, is gone).
        """
        status = self._heartbeat()
        if status["state"] in (*ENDED, "created", "lost") and (self.path / "queued.json").exists():
            status["state"] = "queued"
        return status

    def _heartbeat(self) -> dict[str, Any]:
        status = read_json(self.path / "status.json")
        if not status.get("state"):
            with contextlib.suppress(OSError):
                age = time.time() - (self.path / "config.toml").stat().st_mtime
                return {"state": "created" if age < START_SECONDS else "lost"}
            return {"state": "lost"}
        if status.get("state") not in ENDED:
            living = alive(status.get("process", {}))
            silent = time.time() - status.get("time", 0.0) > STALE_SECONDS
            if living is False or (living is None and silent):
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

    def snapshot(self, epoch: int, layer: int | None = None, parts: Collection[str] | None = None) -> Snapshot:
        """Return the snapshot of an epoch.

        Parameters
        ----------
        epoch : int
            One of :meth:`snapshot_epochs`.
        layer : int, optional
            The only layer to read; default is all.
        parts : collection of str, optional
            Names of the only fields to read, see :class:`tsnn.snapshot.Snapshot`; default is all.

        Raises
        ------
        RunError
            If there is none for this epoch or it cannot be read.
        """
        try:
            return Snapshot.read(self.path / "snapshots" / f"{epoch:07d}.npz", layer, parts)
        except (OSError, ValueError) as error:
            raise RunError(f"Run {self.id} has no readable snapshot of epoch {epoch}: {error}.") from error

    @property
    def checkpoint_folder(self) -> Path:
        """Where the checkpoints are."""
        return self.path / "checkpoints"

    def checkpoints(self) -> list[Path]:
        """Return the files of the checkpoints, the newest first."""
        return sorted((f for f in self.checkpoint_folder.glob("*.npz") if f.name[0] != "."), reverse=True)

    def resumes_from(self) -> int:
        """Return the epoch, whole or begun, up to which nothing has to be trained again; 0 without checkpoint."""
        newest = next(iter(self.checkpoints()), None)
        return int(newest.name[:7]) if newest else 0

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
        if not RUN_ID.fullmatch(run_id) or path.resolve().parent != self.root.resolve():
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
        return [Run(self.root / n) for n in names if RUN_ID.fullmatch(n) and (self.root / n / "config.toml").exists()]
