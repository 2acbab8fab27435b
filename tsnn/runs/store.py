"""Run directories: one for each run, readable while it is written, after a crash, on another machine.

====================  ==========================================================================
``config.toml``       the full configuration, written before the engine starts
``meta.json``         versions, machine, data set, network: written once by the engine
``features.json``     names of the features, where they are too long for ``meta.json`` (:mod:`tsnn.runs.features`)
``metrics.jsonl``     append-only; one JSON object per line with ``type``, ``seq`` and ``time``; see below
``status.json``       heartbeat: state (:class:`~tsnn.records.RunState`), process, progress; replaced every second
``snapshots/``        ``0000123.npz``: summaries of the topology after an epoch (:mod:`tsnn.snapshot`)
``control.jsonl``     commands for the live run (:mod:`tsnn.runs.control`)
``queued.json``       when the run was queued; present while it is (:mod:`tsnn.jobs.queue`)
``checkpoints/``      the newest two (:mod:`tsnn.engine.serialization`)
``weights.npz``       the final network
``notes.json``        title and tags (:mod:`tsnn.runs.notes`)
``log.txt``           the engine's output and log
``exit.json``         how a launched run's job ended (:mod:`tsnn.jobs.supervisor`)
``error.rankN.json``  the exception that ended a process of the run
``beat.rankN.json``   heartbeat of a worker of a parallel run
``run.lock``          locked by the process that writes the run, or supervises it
====================  ==========================================================================

Types of lines in ``metrics.jsonl``:

- ``epoch``: an :class:`~tsnn.records.EpochRecord` without its events;
- ``event``: ``epoch``, ``kind`` and ``message`` of an :class:`~tsnn.records.Event`;
- ``snapshot``: ``epoch`` and ``file``;
- ``ack``: the answer to a command: ``command`` (its id), ``epoch``, ``accepted``, ``message``;
- ``end``: ``state`` and ``message``; the last line, unless the run is resumed.

Kinds of events (:class:`~tsnn.records.EventKind`; readers accept unknown kinds):

=====================  =========================================================================
``data``               which data the run trains on
``data_warning``       the data may not be what was meant, such as quantities taken as classes
``dense_layer``        a layer is dense: epsilon grants every connection
``setting``            a setting was changed while the run was training
``neurons_pruned``     importance pruning removed neurons
``two_phase``          the dense phase of the method two_phase ended
``evolution``          a deferred evolution was run after resuming
``resumed``            the run was resumed: from which epoch, and which epochs are repeated
``checkpoint``         a checkpoint is damaged, or could not be written
``disk``               the disk is nearly full
``workers``            a parallel run has more threads than cores
``averaged``           the workers' models were averaged, at the end of a parallel run
=====================  =========================================================================

Nothing is pickled. Whole files are replaced atomically; a line is appended with one write, and a reader takes only
lines that end with a newline, so a torn last line does no harm. ``meta.json``, checkpoints and ``weights.npz`` name
their format (:data:`tsnn.records.FORMAT`); other formats are refused.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tsnn.config import Config
from tsnn.errors import RunError
from tsnn.files import check_format, read_json, read_lines, write_atomic
from tsnn.records import ENDED, FORMAT, OVER, EpochRecord, RunState
from tsnn.runs.liveness import alive
from tsnn.snapshot import Snapshot

STALE_SECONDS = 10.0  #: age of a heartbeat from which a run counts as stalled
START_SECONDS = 60.0  #: time for a created run to write its first heartbeat
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


def default_root() -> Path:
    """Return the folder of runs: the environment variable TSNN_RUNS, else ``./runs``."""
    return Path(os.environ.get("TSNN_RUNS") or "runs").expanduser()


@dataclass(frozen=True)
class Run:
    """A run directory, for reading. It caches nothing: each call reads the files as they are now."""

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
            If the run has another format.
        """
        meta = read_json(self.path / "meta.json")
        check_format(f"Run {self.id}", meta.get("format", FORMAT))
        return meta

    def status(self) -> dict[str, Any]:
        """Return the last heartbeat, with the run's present ``state`` (a :class:`~tsnn.records.RunState`).

        The engine writes ``starting``, ``compiling``, ``training``, ``paused``, ``finished``, ``stopped`` and
        ``failed``. Found out here: ``queued``, ``created``, ``stalled`` (no heartbeat for 10 s), ``lost`` (its process
        or supervisor is gone, or the state is unknown).
        """
        status = read_json(self.path / "status.json")
        state = self._state(status)
        if state in (*OVER, RunState.CREATED) and (self.path / "queued.json").exists():
            state = RunState.QUEUED
        return {**status, "state": state}

    def _state(self, status: Mapping[str, Any]) -> RunState:
        if not status.get("state"):
            with contextlib.suppress(OSError):
                age = time.time() - (self.path / "config.toml").stat().st_mtime
                return RunState.CREATED if age < START_SECONDS else RunState.LOST
            return RunState.LOST
        try:
            state = RunState(status["state"])
        except ValueError:
            return RunState.LOST
        if state in ENDED:
            return state
        living = alive(status.get("process", {}))
        silent = time.time() - status.get("time", 0.0) > STALE_SECONDS
        if living is False or (living is None and silent):
            return RunState.LOST
        return RunState.STALLED if silent else state

    def lines(self, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Return the lines of ``metrics.jsonl`` after a byte offset, and the next offset."""
        return read_lines(self.path / "metrics.jsonl", offset)

    def records(self) -> list[EpochRecord]:
        """Return the records of the finished epochs.

        Raises
        ------
        RunError
            If the run has another format.
        """
        self.meta()
        return [EpochRecord.from_dict(line) for line in self.lines()[0] if line.get("type") == "epoch"]

    def snapshot_epochs(self) -> list[int]:
        """Return the epochs that have a snapshot, in order."""
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
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    def checkpoints(self) -> list[Path]:
        """Return the checkpoint files, the newest first."""
        return sorted((f for f in self.checkpoint_folder.glob("*.npz") if f.name[0] != "."), reverse=True)

    def resumes_from(self) -> int:
        """Return the finished epochs of the newest checkpoint; 0 if there is none."""
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
    """Folder of run directories.

    Parameters
    ----------
    root : path, optional
        The folder; default is :func:`default_root`. It is created with the first run.
    """

    def __init__(self, root: str | Path | None = None):
        self.root = Path(root) if root is not None else default_root()

    def create(self, config: Config) -> Run:
        """Create a run directory with a configuration."""
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
        """Return a run by its id.

        Raises
        ------
        RunError
            If the id is malformed, leads outside the folder, or there is no such run.
        """
        path = self.root / run_id
        if not RUN_ID.fullmatch(run_id) or path.resolve().parent != self.root.resolve():
            raise RunError(f"{run_id!r} is not the name of a run in {self.root}.")
        if not (path / "config.toml").is_file():
            known = ", ".join(run.id for run in self.list()[:3])
            raise RunError(f"There is no run {run_id!r} in {self.root}. The newest: {known or 'none yet'}.")
        return Run(path)

    def list(self) -> list[Run]:
        """Return all runs, the newest first, without reading their files."""
        try:
            names = sorted((e.name for e in os.scandir(self.root) if e.is_dir()), reverse=True)
        except FileNotFoundError:
            return []
        return [Run(self.root / n) for n in names if RUN_ID.fullmatch(n) and (self.root / n / "config.toml").exists()]
