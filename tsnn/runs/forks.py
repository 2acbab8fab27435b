"""Forks: runs that continue from an epoch of another run, their parent, with other settings.

A fork is a complete run: it gets copies of its parent's records and snapshots up to that epoch, and of the checkpoint
there, with the new settings in it. So it is resumed, exported and compared as any other run, also after its parent has
been deleted; that of a sweep's trial is no trial, but a run in the folder of the sweep. ``fork`` in its ``meta.json``
holds ``parent``, ``epoch`` and the changed ``settings``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tsnn.archives import copy_archive, read_header
from tsnn.config import LIVE_SETTINGS, Config
from tsnn.errors import ConfigError, RunError, TsnnError
from tsnn.files import check_format, json_line, os_error_message, parse_object, write_atomic
from tsnn.runs.checks import is_count
from tsnn.runs.control import check_effect
from tsnn.runs.rules import copy_rules, note_rules, record_rules, rules_meta
from tsnn.runs.run import Run
from tsnn.runs.store import RunStore, place_of

#: Settings and sections that a fork may change; the data, the layers and the random numbers are in the checkpoint.
CHANGEABLE = ("training", "importance", "network.epsilon", "network.dropout", "run")
_FIXED = ("run.seed", "run.micro_batch")
_METHODS = {"set", "fixed"}  # methods that can follow each other
_TAIL_BYTES = 1 << 20
_BLOCK = 1 << 20


def make_fork(run: Run, epoch: int | None = None, settings: Mapping[str, Any] | None = None) -> Run:
    """Create a run that continues from an epoch of another one; it is not started.

    Parameters
    ----------
    run : Run
        The parent, in any state.
    epoch : int, optional
        One of ``run.fork_epochs()``; default is the last one.
    settings : mapping, optional
        Settings that differ from the current ones at that epoch, by short or full name.

    Raises
    ------
    ConfigError
        If a setting cannot be changed, is unknown or out of range.
    RunError
        If there is no checkpoint of that epoch, it is damaged, or the fork cannot be written.
    """
    known = run.fork_epochs()
    if epoch is None:
        epoch = max(known, default=0)
    if epoch not in known:
        listed = ", ".join(map(str, known)) or "none yet: it has no checkpoint of the end of an epoch"
        raise RunError(f"Run {run.id} cannot be forked from epoch {epoch}. It can be from: {listed}.")
    fork = _Fork(run, epoch, dict(settings or {}))
    try:
        config = fork.config()
        return place_of(run)[0].create(config, lambda path: fork.fill(path, config))
    except (OSError, ValueError) as error:
        if isinstance(error, TsnnError):
            raise
        reason = os_error_message(error) if isinstance(error, OSError) else error
        raise RunError(f"Run {run.id} cannot be forked from epoch {epoch}: {reason}.") from error


def nearest_fork_epoch(run: Run, epoch: int) -> int | None:
    """Return the last epoch up to ``epoch`` that a run can be forked from, else the first one; None without any."""
    known = run.fork_epochs()
    return max((e for e in known if e <= epoch), default=min(known, default=None))


def parent_of(run: Run) -> Run | None:
    """Return the run that a fork continues; None if the run is no fork, or its parent has been deleted."""
    with contextlib.suppress(RunError):
        parent = str(run.meta().get("fork", {}).get("parent", ""))
        return RunStore(run.path.parent).open(parent) if parent else None
    return None


def config_at(run: Run, epoch: int) -> Config:
    """Return the settings that a fork from one of ``run.fork_epochs()`` starts with.

    Raises
    ------
    RunError
        If the checkpoint cannot be read.
    """
    try:
        return _Fork(run, epoch, {}).current()
    except (OSError, ValueError) as error:
        raise RunError(f"The checkpoint of epoch {epoch} of run {run.id} cannot be read: {error}.") from error


class _Fork:
    """The parts of a parent that a fork takes over."""

    def __init__(self, run: Run, epoch: int, settings: dict[str, Any]):
        self.run, self.epoch, self.settings = run, epoch, settings
        self.source = run.checkpoint_folder / f"{epoch:07d}-{0:012d}.npz"
        self.header: dict[str, Any] = {}

    def current(self) -> Config:
        """Return the current settings at the epoch, from the header of the checkpoint."""
        note_rules(self.run.path)
        self.header = read_header(self.source)
        check_format(f"Checkpoint {self.source.name} of run {self.run.id}", self.header.get("format"))
        try:
            self.saved = Config.from_record(self.header["values"]["state"]["config"])
            pending = Config.from_record(self.header["values"]["state"]["pending"])
            self.position = {name: int(self.header["values"]["metrics"][name]) for name in ("lines", "bytes")}
        except (KeyError, TypeError) as error:
            raise ValueError(f"its checkpoint holds no state of training ({error!r})") from error
        parent = self.run.config().flat()
        kept = {name: value for name, value in parent.items() if name.startswith("run.")}
        return pending.replace({**kept, "training.epochs": parent["training.epochs"]})

    def config(self) -> Config:
        """Return the settings of the fork: the current ones at the epoch, with the changes."""
        before = self.current()
        config = before.replace(self.settings)
        _check_changes(before, config)
        if config.training.epochs <= self.epoch:
            raise ConfigError(
                f"The fork would begin after epoch {self.epoch} and have {config.training.epochs} epochs in all. "
                f"Give it more, such as epochs={2 * self.epoch}."
            )
        old = before.flat()
        self.changed = {name: value for name, value in config.flat().items() if value != old.get(name)}
        return config

    def fill(self, path: Path, config: Config) -> None:
        """Write the files of the fork."""
        (path / "checkpoints").mkdir()
        copy_rules(self.run.path, path, self.run.meta())
        record_rules(path, config, again={value for value in self.settings.values() if isinstance(value, str)})
        copy_archive(self.source, path / "checkpoints" / self.source.name, lambda header: self._header(header, config))
        with open(self.run.path / "metrics.jsonl", "rb") as metrics, open(path / "metrics.jsonl", "wb") as copied:
            _copy(metrics, copied, self.position["bytes"])
        if _last_epoch(path / "metrics.jsonl") != self.epoch:
            raise ValueError("its records do not belong to its checkpoint")
        for epoch in self.run.snapshot_epochs():
            if epoch <= self.epoch:
                name = Path("snapshots") / f"{epoch:07d}.npz"
                with contextlib.suppress(FileNotFoundError):
                    _link(self.run.path / name, path / name)
        with contextlib.suppress(FileNotFoundError):
            _link(self.run.path / "features.json", path / "features.json")
        fork = {"parent": place_of(self.run)[1], "epoch": self.epoch, "settings": self.changed}
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        meta = {key: value for key, value in self.run.meta().items() if key != "rules"} | rules_meta(path)
        meta |= {"created": created, "config": config.to_dict(), "fork": fork}
        write_atomic(path / "meta.json", json_line(meta))

    def _header(self, header: dict[str, Any], config: Config) -> dict[str, Any]:
        """Return the header of the checkpoint with the new settings.

        Live settings are pending, as if they had been changed at that epoch: the run records and applies them.
        """
        values = header["values"]
        state = values["state"]
        saved = self.saved.flat()
        pending = config.replace({"run.micro_batch": self.saved.run.micro_batch})
        now = pending.replace({name: saved[name] for name in LIVE_SETTINGS.values()})
        state = {**state, "config": now.to_dict(), "pending": pending.to_dict()}
        return {**header, "values": {**values, "state": state, "commands_read": 0, "pending_commands": []}}


def _check_changes(before: Config, after: Config) -> None:
    """Raise a ConfigError for the first setting that differs and cannot be changed."""
    old, new = before.flat(), after.flat()
    check_effect(after, (short for short, name in LIVE_SETTINGS.items() if new[name] != old[name]))
    for name in (name for name in new if new[name] != old.get(name)):
        changeable = name in CHANGEABLE or name.partition(".")[0] in CHANGEABLE
        methods = {str(old.get(name)), str(new[name])}
        if name in _FIXED or not changeable or (name == "training.method" and methods != _METHODS):
            raise ConfigError(
                f"A fork cannot change {name}: it continues with its parent's data, layers and random numbers. It can "
                "change epsilon, dropout, and the settings of training and importance (of methods: set and fixed). "
                "For others start a new run."
            )


def _copy(source: Any, target: Any, count: int) -> None:
    """Copy a number of bytes; raises a ValueError if there are fewer."""
    while count:
        block = source.read(min(_BLOCK, count))
        if not block:
            raise ValueError("its records are shorter than its checkpoint says")
        target.write(block)
        count -= len(block)


def _link(source: Path, target: Path) -> None:
    """Make a file available under a second name: files of a run are replaced, never changed. Else copy it."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)


def _last_epoch(path: Path) -> int:
    """Return the last epoch that is recorded in metrics; 0 if there is none at their end."""
    with open(path, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
        lines = file.read().splitlines()
    for raw in reversed(lines):
        if raw.startswith(b'{"type": "epoch"'):
            with contextlib.suppress(ValueError):
                epoch: Any = parse_object(raw).get("epoch")
                return int(epoch) if is_count(epoch) else 0
    return 0
