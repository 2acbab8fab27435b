"""Followers of runs: one :class:`RunFollower` per run and process, shared by all its views.

A follower reads only new bytes. It has no thread: views call :meth:`RunFollower.poll` as often as they like and
compare :attr:`RunFollower.version` to find changes.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tsnn.config import LIVE_NUMBERS, LIVE_SETTINGS, Config, LiveValue
from tsnn.errors import RunError, TsnnError
from tsnn.jobs.queue import queue_position
from tsnn.records import ENDED, LIVE, Event, RunState
from tsnn.runs import Run
from tsnn.runs.checks import line_problem
from tsnn.runs.control import ControlReader
from tsnn.runs.features import feature_names
from tsnn.runs.metrics_index import IndexBuilder, read_index
from tsnn.runs.notes import Notes, notes
from tsnn.runs.sampling import SHORT_BYTES, sample_lines
from tsnn.snapshot import Snapshot
from tsnn.views.history import SECONDS, History, read_events
from tsnn.views.live.snapshot_reader import Parts, SnapshotReader
from tsnn.views.shared import Shared, SharedByPath

_STATUS_SECONDS = 1.0
_MOST_STEPS = 50_000  # of 20 ms each


class RunFollower:
    """State, history and events of a run, updated by reading only new bytes.

    Parameters
    ----------
    run : Run
        The run; its engine may not have started yet.
    min_interval : float
        Shortest time between two readings of the files, in seconds.

    Attributes
    ----------
    version : int
        Increases with every change of the attributes below.
    status : dict
        As :meth:`Run.status` returns it.
    history : History
        Finished epochs.
    events : list of Event
        Events of the run, in order.
    acks : dict
        Answers to commands, by the command's id.
    snapshots : list of int
        Epochs with a snapshot.
    notes : Notes
        Title, tags and text.
    shared : Shared
        Values computed from the attributes above, for all views of the run.
    """

    def __init__(self, run: Run, min_interval: float = 0.2):
        self.run = run
        self.version = 0
        self.shared = Shared()
        self._min_interval = min_interval
        self._lock = threading.RLock()
        self._polled = self._status_read = -float("inf")
        self._marks: dict[str, tuple[int, int, int] | None] = {}
        self._reader = SnapshotReader(run)
        self._meta: dict[str, Any] = {}
        self._names: tuple[str, ...] | None = None
        self.notes = Notes()
        self._reset()
        self.poll()

    def _reset(self) -> None:
        self._offset = 0
        self._damage = ""  # why lines of the metrics were left out
        self.status: dict[str, Any] = getattr(self, "status", {"state": RunState.CREATED})
        self.history = History()
        self.events: list[Event] = []
        self._known_events: set[Event] = set()
        self._builder: IndexBuilder | None = None
        self.acks: dict[str, dict[str, Any]] = {}
        self.snapshots: list[int] = []
        self._control = ControlReader(self.run)
        self._changes: dict[str, dict[str, LiveValue]] = {}  # settings by command
        self._changed_since: list[tuple[int, str]] = []  # epochs and ids of accepted commands, in order
        self._reader.forget()
        self.__dict__.pop("config", None)  # a run may continue with more epochs

    @property
    def state(self) -> str:
        """State of the run, as :meth:`Run.status` calls it."""
        return str(self.status.get("state", RunState.LOST))

    @property
    def live(self) -> bool:
        """Whether the run has a process, or is about to have one."""
        return self.state in LIVE

    @property
    def gone(self) -> bool:
        """Whether the run has been deleted."""
        return not self.run.path.exists()

    @functools.cached_property
    def config(self) -> Config:
        """Settings that the run was started with; the defaults if they cannot be read, see :attr:`problem`."""
        with contextlib.suppress(TsnnError):
            return self.run.config()
        return Config()

    @property
    def problem(self) -> str:
        """Message about files that cannot be read; empty without a problem."""
        return self.run.problem() or self._damage

    @property
    def meta(self) -> dict[str, Any]:
        """Contents of ``meta.json``; empty until the engine has written it."""
        if not self._meta:
            with contextlib.suppress(RunError):
                self._meta = self.run.meta()
        return self._meta

    @property
    def sizes(self) -> list[int]:
        """Neurons of each layer; empty until the data have been read."""
        return [int(n) for n in self.meta.get("network", {}).get("sizes", ())]

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        """Shape of an input sample if it is an image."""
        shape = self.meta.get("data", {}).get("image_shape")
        return tuple(int(n) for n in shape) if shape else None

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the input features; empty if there are none, or the data have not been read yet."""
        if self._names is None and self.meta:
            self._names = feature_names(self.run, self.meta)
        return self._names or ()

    def poll(self) -> int:
        """Read new bytes, at most once per ``min_interval``; returns :attr:`version`."""
        with self._lock:
            now = time.monotonic()
            if now - self._polled >= self._min_interval:
                self._polled = now
                changed = self._poll_notes() | self._poll_metrics() or self._build_index()
                self.version += int(self._poll_status(now) or changed)
            return self.version

    def _changed(self, name: str) -> bool:
        try:
            stat = (self.run.path / name).stat()
            mark = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        except OSError:
            mark = None
        if self._marks.get(name) == mark:
            return False
        self._marks[name] = mark
        return True

    def _poll_notes(self) -> bool:
        changed = self._changed("notes.json")
        if changed:
            self.notes = notes(self.run)
        return changed

    def _poll_metrics(self) -> bool:
        before = self._marks.get("metrics.jsonl")
        if not self._changed("metrics.jsonl"):
            return False
        mark = self._marks["metrics.jsonl"]
        if mark is None or mark[1] < self._offset or (before and before[2] != mark[2]):  # replaced by a resumed run
            self._reset()
        if not self._offset and mark is not None and mark[1] > SHORT_BYTES:
            self._begin_long(mark[1])
        lines, self._offset, damage = self.run.checked_lines(self._offset)
        self._damage = self._damage or damage
        self._take_all(lines)
        return bool(lines) or mark is None

    def _begin_long(self, size: int) -> None:
        """Read the index of a long file; where there is none yet, a part of the lines, and begin to build it."""
        with contextlib.suppress(OSError):
            lines, end = read_index(self.run) or ([], 0)
            if size - end > SHORT_BYTES:
                more, end = sample_lines(self.run, end)
                lines += [line for line in more if line.get("type") == "epoch"]
                self._builder = IndexBuilder(self.run, end)
            self._take_all([line for line in lines if not line_problem(line)])
            self.snapshots, self._offset = self.run.snapshot_epochs(), end

    def _build_index(self) -> bool:
        """Build the index of a long file a little further; returns whether events were found or it is complete."""
        builder = self._builder
        if builder is None:
            return False
        lines: list[dict[str, Any]] = []
        with contextlib.suppress(OSError):
            lines = builder.advance()
        if builder.done:
            self._builder, self.history = None, History()
            builder.save()
            more, self._offset, _ = self.run.checked_lines(builder.end)
            lines += [*builder.lines(), *more]
        self._take_all([line for line in lines if not line_problem(line)])
        self.events.sort(key=lambda event: event.epoch)
        return bool(lines)

    def finish(self) -> None:
        """Read everything that is there, also the events of a long file, which :meth:`poll` finds in parts."""
        with self._lock:
            self.poll()
            for _ in range(_MOST_STEPS):  # the file may have become unreadable
                if self._builder is None:
                    break
                self._build_index()
            self.version += 1

    def _take_all(self, lines: Sequence[Mapping[str, Any]]) -> None:
        for line in lines:
            with contextlib.suppress(KeyError, TypeError, ValueError, OverflowError):
                self._take(line)

    def _take(self, line: Mapping[str, Any]) -> None:
        kind = line.get("type")
        if kind == "epoch":
            self.history.append(line)
        elif kind == "snapshot":
            epoch = int(line["epoch"])
            self.snapshots = [*(e for e in self.snapshots if e < epoch), epoch]
            self._reader.forget(epoch)
        elif kind == "ack":
            command = str(line["command"])
            self.acks[command] = dict(line)
            if line.get("accepted"):
                self._changed_since.append((int(line["epoch"]), command))
        for event in read_events([line]):
            if event not in self._known_events:
                self._known_events.add(event)
                self.events.append(event)

    def _poll_status(self, now: float) -> bool:
        ended = self.status.get("state") in ENDED
        due = not ended and now - self._status_read >= _STATUS_SECONDS
        if not self._changed("status.json") and not due:
            return False
        self._status_read = now
        before, self.status = self.status, self.run.status()
        if self.state == RunState.QUEUED:
            self.status["message"] = queue_position(self.run)
        return before != self.status

    def snapshot(self, epoch: int, layer: int | None = None, parts: Parts = None) -> Snapshot | None:
        """Return the snapshot of an epoch; None, and it leaves :attr:`snapshots`, if it cannot be read.

        ``layer`` and ``parts`` limit what is read, see :meth:`tsnn.runs.Run.snapshot`.
        """
        with self._lock:
            snapshot = self._reader.read(epoch, layer, parts)
            if snapshot is None:
                self.snapshots = [e for e in self.snapshots if e != epoch]
            return snapshot

    def collect(self, layer: int, parts: Parts) -> dict[int, Snapshot]:
        """Return the snapshots by epoch, one layer and these parts of each, that have been read so far."""
        with self._lock:
            return self._reader.collect(layer, parts, self.snapshots)

    def current(self, name: str) -> LiveValue:
        """Return the present value of a live setting: that of the last epoch, or one accepted after it."""
        kind: type[float] | type[str] = float if name in LIVE_NUMBERS else str
        value = self.history.settings.get(name)
        if value is None:
            value = self.config.flat()[LIVE_SETTINGS[name]]
        last = self.history.last("epoch") or 0.0
        with self._lock:
            self._changed_since = [(epoch, command) for epoch, command in self._changed_since if epoch >= last]
            if any(command not in self._changes for _, command in self._changed_since):
                self._changes |= {command.id: command.settings for command in self._control.poll()}
            for _, command in self._changed_since:
                with contextlib.suppress(TypeError, ValueError, OverflowError):
                    value = kind(self._changes.get(command, {}).get(name, value))
        return kind(value)

    def seconds_left(self) -> float | None:
        """Estimate the remaining training time from the last epochs; None while that is unknown."""
        epochs = int(self.status.get("epochs") or self.config.training.epochs)
        if not len(self.history) or self.state not in (RunState.TRAINING, RunState.STALLED):
            return None
        recent = sum(self.history[name][-5:].mean() for name in SECONDS)
        total = self.status.get("samples_total") or 0
        part = min(1.0, self.status.get("samples", 0) / total) if total else 0.0
        return float(recent * max(0.0, epochs - self.history.done - part))


_followers: SharedByPath[RunFollower] = SharedByPath()


def follow(run: Run) -> RunFollower:
    """Return the follower of a run in this process, shared by all its views."""
    return _followers.get(run.path, lambda: RunFollower(run))
