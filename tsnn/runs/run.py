"""One run directory, for reading; :mod:`tsnn.runs.store` describes its files."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tsnn.config import Config, read_sections
from tsnn.errors import ConfigError, RunError, TsnnError
from tsnn.files import (
    check_format,
    complete_lines,
    load_json,
    open_regular,
    parse_object,
    read_bounded,
    read_json,
    read_lines,
    write_atomic,
)
from tsnn.records import ENDED, FORMAT, OVER, EpochRecord, RunState
from tsnn.runs.checks import META, STATUS, fitting, line_problem, mismatch
from tsnn.runs.liveness import REMOTE_STALE_SECONDS, STALE_SECONDS, age, alive, heartbeat_age
from tsnn.runs.rules import check_rules, note_rules
from tsnn.snapshot import Snapshot

START_SECONDS = 60.0  #: time for a created run to write its first heartbeat


@dataclass(frozen=True)
class Run:
    """A run directory, for reading. It caches nothing: each call reads the files as they are now."""

    path: Path

    @property
    def id(self) -> str:
        """Name of the directory."""
        return self.path.name

    def config(self) -> Config:
        """Return the configuration the run was started with.

        Raises
        ------
        ConfigError
            If it cannot be read.
        RunError
            If a rule that it records is missing.
        """
        path = self.path / "config.toml"
        note_rules(self.path)
        try:
            config = Config.from_record(read_sections(path))
        except ConfigError:
            check_rules(self.path, read_json(self.path / "meta.json"))  # names a rule that is missing
            raise
        if b"name" not in read_bounded(path):  # everything in it would be a default
            raise ConfigError(f"{path} is empty. Restore it, or delete the run.")
        return config

    def wanted_config(self) -> Config:
        """Return the configuration, with the number of epochs that the run is to be resumed to."""
        epochs = read_json(self.path / "resume.json").get("epochs")
        return self.config() if epochs is None else self.config().replace({"training.epochs": epochs})

    def accept_epochs(self) -> None:
        """Write the number of epochs that the run is resumed to into its configuration."""
        if (self.path / "resume.json").exists():
            write_atomic(self.path / "config.toml", self.wanted_config().to_toml().encode())
            (self.path / "resume.json").unlink(missing_ok=True)

    def meta(self) -> dict[str, Any]:
        """Return versions, machine and data set; empty until the engine has written them.

        Raises
        ------
        RunError
            If they cannot be read, or the run has another format.
        """
        try:
            meta = load_json(self.path / "meta.json")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise RunError(f"meta.json of run {self.id} cannot be read: {reason}.") from error
        check_format(f"Run {self.id}", meta.get("format", FORMAT))
        if problem := mismatch(META, meta):
            raise RunError(f"meta.json of run {self.id} is damaged: {problem}.")
        return meta

    def status(self) -> dict[str, Any]:
        """Return the last heartbeat, with the run's present ``state`` (a :class:`~tsnn.records.RunState`).

        The engine writes ``starting``, ``compiling``, ``training``, ``paused``, ``finished``, ``stopped`` and
        ``failed``. Found out here: ``queued``, ``created``, ``stalled`` (no heartbeat for 10 s), ``lost`` (its process
        or supervisor is gone, or the state is unknown).

        Values have the types of :data:`tsnn.runs.checks.STATUS`; others are left out, with a message in ``problem``.
        """
        status = self._read_status()
        state = self._state(status)
        if state == RunState.LOST and status.get("previous"):  # it was killed before the resumed run had its data
            status = fitting(STATUS, status["previous"])
            state = self._state(status)
        if state in (*OVER, RunState.CREATED) and (self.path / "queued.json").is_file():
            state = RunState.QUEUED
        return {**status, "state": state}

    def previous_status(self) -> dict[str, Any]:
        """Return the status that the run has again if it cannot be resumed; empty if it has not run yet."""
        status = self._read_status()
        if "previous" in status:
            return fitting(STATUS, status["previous"])
        return status if "state" in status and self._state(status) in OVER else {}

    def _read_status(self) -> dict[str, Any]:
        try:
            values = load_json(self.path / "status.json")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            return {"state": RunState.LOST, "problem": f"status.json cannot be read: {reason}."}
        status, problem = fitting(STATUS, values), mismatch(STATUS, values)
        if problem:
            status["problem"] = f"status.json is damaged: {problem}."
            status.setdefault("state", RunState.LOST)
        return status

    def _state(self, status: Mapping[str, Any]) -> RunState:
        try:
            state = RunState(status.get("state") or RunState.CREATED)
        except ValueError:
            return RunState.LOST
        if state == RunState.CREATED:
            with contextlib.suppress(OSError):
                waited = age(status)
                if waited is None:
                    waited = abs(time.time() - (status.get("time") or (self.path / "config.toml").stat().st_mtime))
                return state if waited < START_SECONDS else RunState.LOST
            return RunState.LOST
        if state in (*ENDED, RunState.LOST):
            return state
        living, silent = alive(status.get("process", {})), heartbeat_age(self.path / "status.json", status)
        if living is False or (living is None and silent > REMOTE_STALE_SECONDS):
            return RunState.LOST
        return RunState.STALLED if silent > STALE_SECONDS else state

    def problem(self) -> str:
        """Return why the run cannot be read completely; empty if it can. Metrics and snapshots are not read."""
        try:
            self.meta()
            self.config()
        except TsnnError as error:
            return str(error)
        return str(self.status().get("problem", ""))

    def lines(self, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Return the lines of ``metrics.jsonl`` after a byte offset, and the next offset.

        Their values are not checked (:meth:`checked_lines`). A file that cannot be read has no lines.
        """
        try:
            return read_lines(self.path / "metrics.jsonl", offset)
        except OSError:
            return [], offset

    def checked_lines(self, offset: int = 0) -> tuple[list[dict[str, Any]], int, str]:
        """Return the lines with the values that they must have, the next offset, and why another one was left out."""
        lines, offset = self.lines(offset)
        if not lines:
            try:
                open_regular(self.path / "metrics.jsonl").close()
            except FileNotFoundError:
                pass
            except OSError as error:
                return [], offset, f"metrics.jsonl of run {self.id} cannot be read: {error.strerror}."
        problems = [line_problem(line) for line in lines]
        problem = next((f"metrics.jsonl of run {self.id} is damaged: {p}." for p in problems if p), "")
        return [line for line, p in zip(lines, problems, strict=True) if not p], offset, problem

    def each_line(self, offset: int = 0) -> Iterator[tuple[dict[str, Any], str, int]]:
        """Yield the lines of ``metrics.jsonl`` one after another: each with its problem, or "", and the next offset.

        Raises
        ------
        OSError
            If the file exists but cannot be read.
        """
        for raw, end in complete_lines(self.path / "metrics.jsonl", offset):
            try:
                line = parse_object(raw)
            except ValueError:
                continue
            yield line, line_problem(line), end

    def records(self) -> list[EpochRecord]:
        """Return the records of the finished epochs.

        Raises
        ------
        RunError
            If they are damaged, or the run has another format.
        """
        self.meta()
        lines, _, problem = self.checked_lines()
        if problem:
            raise RunError(problem)
        return [EpochRecord.from_dict(line) for line in lines if line["type"] == "epoch"]

    def snapshot_epochs(self) -> list[int]:
        """Return the epochs that have a snapshot, in order."""
        files = (self.path / "snapshots").glob("*.npz")
        return sorted(int(file.stem) for file in files if re.fullmatch("[0-9]{7,15}", file.stem))

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
        except Exception as error:  # zipfile and numpy raise many types for a damaged file
            raise RunError(f"Run {self.id} has no readable snapshot of epoch {epoch}: {error}.") from error

    @property
    def checkpoint_folder(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    def checkpoints(self) -> list[Path]:
        """Return the checkpoint files, the newest first; other files are ignored."""
        files = [file for file in self.checkpoint_folder.glob("*.npz") if _CHECKPOINT.fullmatch(file.name)]
        return sorted(files, key=checkpoint_place, reverse=True)

    def resumes_from(self) -> int:
        """Return the finished epochs of the newest checkpoint; 0 if there is none."""
        newest = next(iter(self.checkpoints()), None)
        return checkpoint_place(newest)[0] if newest else 0

    def fork_epochs(self) -> list[int]:
        """Return the epochs that the run can be forked from (:func:`tsnn.fork`), ascending: those of checkpoints."""
        places = map(checkpoint_place, self.checkpoints())
        return sorted(epochs for epochs, samples in places if epochs and not samples)

    def log(self, last: int = 4000) -> str:
        """Return the last complete lines of the engine's log, at most ``last`` bytes."""
        try:
            with open_regular(self.path / "log.txt") as file:
                start = max(0, file.seek(0, os.SEEK_END) - last)
                file.seek(start)
                content = file.read(last)
        except OSError:
            return ""
        if start and b"\n" in content[:-1]:
            content = content[content.index(b"\n") + 1 :]
        return content.decode(errors="replace")


_CHECKPOINT = re.compile(r"([0-9]{7,15})-([0-9]{12,15})\.npz")


def checkpoint_place(path: Path) -> tuple[int, int]:
    """Return finished epochs and samples of a checkpoint, from its name."""
    found = _CHECKPOINT.fullmatch(path.name)
    return (int(found[1]), int(found[2])) if found else (0, 0)
