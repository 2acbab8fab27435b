"""Results of a run.

They are those of the last epoch and, with a validation split, of the epoch with the least validation loss. The best
test epoch is never reported: picking it would overstate accuracy.
"""

from __future__ import annotations

import contextlib
import math
import time
from array import array
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tsnn.config import LIVE_SETTINGS
from tsnn.errors import TsnnError
from tsnn.files import file_mark, open_regular
from tsnn.records import EventKind, RunState
from tsnn.runs.cells import format_change
from tsnn.runs.measures import gathered, newest_summary
from tsnn.runs.notes import notes
from tsnn.runs.rules import RecordedRule, recorded_rules, with_hashes
from tsnn.runs.run import Run

_CHUNK = 2**20  # bytes


@dataclass(frozen=True)
class RunResult:
    """Settings and results of a run; unknown values are None.

    Attributes
    ----------
    run, name, state : str
        Directory, title (or directory), state.
    settings : dict
        All settings at the start as ``{"section.field": value}``, rules that are not built in with the hash of their
        source; empty if they cannot be read.
    changed : int
        Number of changes of settings while it was training, or where it was forked.
    now : dict
        Live settings in the last epoch, as ``{"section.field": value}``.
    epochs, samples : int
        Finished epochs, and training samples seen in them.
    test_accuracy, test_loss, train_loss : float
        After the last epoch.
    connections : int
        After the last epoch.
    seconds : float
        Training, evolution and evaluation, summed over the epochs.
    memory_bytes : int
        Largest resident memory at the end of an epoch.
    best_epoch : int
        Epoch with the least validation loss; None without a validation split.
    best_accuracy, best_loss : float
        On the test part, after that epoch.
    problem : str
        Why the run cannot be read completely; empty if it can.
    test_r2, best_r2 : float
        Likewise; of regression.
    task : str
        Such as "regression"; empty until the data have been read.
    host : str
        Machine that it runs or ran on; empty if unknown.
    best_validation_accuracy, best_validation_r2 : float
        On the validation split, after the epoch ``best_epoch``.
    measures : dict of str to float
        Those of :data:`tsnn.runs.measures.COLUMNS` that are known: gathered until the last epoch, or computed for the
        newest measured one.
    """

    run: str
    name: str
    state: RunState
    settings: Mapping[str, Any]
    changed: int
    epochs: int
    samples: int
    test_accuracy: float | None
    test_loss: float | None
    train_loss: float | None
    connections: int | None
    seconds: float | None
    memory_bytes: int | None
    best_epoch: int | None = None
    best_accuracy: float | None = None
    best_loss: float | None = None
    problem: str = ""
    test_r2: float | None = None
    best_r2: float | None = None
    task: str = ""
    now: Mapping[str, Any] = field(default_factory=dict)
    host: str = ""
    best_validation_accuracy: float | None = None
    best_validation_r2: float | None = None
    measures: Mapping[str, float] = field(default_factory=dict)

    def setting_text(self, name: str) -> str:
        """Return a setting as text: ``0.3``, or ``0.3 → 0.81`` if it was changed while the run was training."""
        start = self.settings.get(name)
        return format_change(start, self.now.get(name, start))


class ResultReader:
    """Reader of a run's results from all of its metrics, one line after another.

    It keeps 16 bytes of each epoch: a resumed run may repeat epochs, whose time does not count then.

    Parameters
    ----------
    run : Run
        The run.
    stops : collection of int
        Numbers of epochs after which its results are kept, too.
    """

    def __init__(self, run: Run, stops: Collection[int] = ()):
        self._run, self._stops = run, stops
        self._described: tuple[Any, tuple[Mapping[str, Any], Mapping[str, Any], list[RecordedRule]]] | None = None
        self._begin()

    def _begin(self) -> None:
        self._offset = self._file = 0
        self._damage = ""
        self._epochs, self._seconds = array("d"), array("d")  # their numbers; time up to their end
        self._last: Mapping[str, Any] = {}
        self._layers: list[Mapping[str, Any]] = []
        self._best: list[Mapping[str, Any]] = []  # epochs with less validation loss than all before
        self._largest: list[tuple[int, int]] = []  # epochs with more memory than all before, and that
        self._changed: set[tuple[Any, Any]] = set()
        self._stopped: dict[int, Mapping[str, Any]] = {}

    def read(self, seconds: float = math.inf) -> bool:
        """Read the lines that have been added since the last call; returns whether all are read.

        Parameters
        ----------
        seconds : float
            Time after which to stop.
        """
        until = time.monotonic() + seconds
        try:
            stat = (self._run.path / "metrics.jsonl").stat()
            if stat.st_ino != self._file or stat.st_size < self._offset:  # replaced by a resumed run
                self._begin()
                self._file = stat.st_ino
            for line, problem, end in self._run.each_line(self._offset):
                self._offset = end
                if problem:
                    self._damage = self._damage or f"metrics.jsonl of run {self._run.id} is damaged: {problem}."
                else:
                    self._take(line)
                if time.monotonic() > until:
                    return False
        except FileNotFoundError:
            self._begin()
        except OSError as error:
            self._damage = f"metrics.jsonl of run {self._run.id} cannot be read: {error.strerror}."
        return True

    def _take(self, line: Mapping[str, Any]) -> None:
        if line["type"] == "event" and line["kind"] == EventKind.SETTING:
            self._changed.add((line["epoch"], line["message"]))
        elif line["type"] == "epoch":
            self._add(line)

    def _add(self, line: Mapping[str, Any]) -> None:
        epoch = line["epoch"]
        while self._epochs and self._epochs[-1] >= epoch:  # a resumed run repeats epochs
            self._epochs.pop()
            self._seconds.pop()
        self._best = [best for best in self._best if best["epoch"] < epoch]
        self._largest = [entry for entry in self._largest if entry[0] < epoch]
        seconds = sum(line.get(f"seconds_{part}") or 0.0 for part in ("train", "evolve", "evaluate"))
        self._epochs.append(epoch)
        self._seconds.append((self._seconds[-1] if self._seconds else 0.0) + seconds)
        memory, loss = line.get("memory_bytes") or 0, line.get("validation_loss")
        if not self._largest or memory > self._largest[-1][1]:
            self._largest.append((epoch, memory))
        self._last = {name: value for name, value in line.items() if name not in ("layers", "workers")}
        self._layers = line["layers"]
        if loss is not None and (not self._best or loss < self._best[-1]["validation_loss"]):
            self._best.append(self._last)
        if len(self._epochs) in self._stops:
            self._stopped[len(self._epochs)] = self._numbers()

    def after(self, result: RunResult) -> dict[int, RunResult]:
        """Return a result of the run as it was after each of the stops that have been read."""
        return {epochs: replace(result, **numbers) for epochs, numbers in self._stopped.items()}

    def _numbers(self) -> dict[str, Any]:
        """Return the fields of a result that stand in the lines read so far."""
        last, best = self._last, self._best[-1] if self._best else {}
        found = {
            name: last.get(name) for name in ("test_accuracy", "test_loss", "train_loss", "connections", "test_r2")
        }
        found |= {f"best_{name}": best.get(f"test_{name}") for name in ("accuracy", "loss", "r2")}
        found |= {f"best_validation_{name}": best.get(f"validation_{name}") for name in ("accuracy", "r2")}
        return found | {
            "epochs": len(self._epochs), "samples": last.get("samples") or 0, "best_epoch": best.get("epoch"),
            "seconds": self._seconds[-1] if self._seconds else None,
            "memory_bytes": (self._largest[-1][1] if self._largest else 0) or None, "measures": gathered(self._layers),
        }  # fmt: skip

    def _description(self) -> tuple[Mapping[str, Any], Mapping[str, Any], list[RecordedRule], str]:
        """Return meta data, settings, rules and problem of the run; its files are read again once they have changed."""
        run = self._run
        marks = [file_mark(run.path / name) for name in ("meta.json", "config.toml", "rules.json")]
        if self._described is None or self._described[0] != marks:
            try:  # as Run.problem does, reading each file once
                meta, config = run.meta(), run.config()
                rules = recorded_rules(run.path)
            except TsnnError as error:
                return {}, {}, [], str(error)
            self._described = marks, (meta, with_hashes(config.flat(), rules), rules)
        return *self._described[1], ""

    def result(self) -> RunResult:
        """Return the results of the lines read so far, with the settings of the run."""
        run, last, numbers = self._run, self._last, self._numbers()
        status = run.status()
        process = status.get("process")
        meta, settings, rules, problem = self._description()
        if problem := problem or str(status.get("problem", "")):
            meta, settings, rules = {}, {}, []
        fork = meta.get("fork", {}).get("settings", {})
        forked = [name for name in fork if name not in LIVE_SETTINGS.values()]  # others have events
        return RunResult(
            run=run.id,
            name=notes(run)[0] or run.id,
            state=status["state"],
            settings=settings,
            changed=len(self._changed) + len(forked),
            problem=problem or self._damage,
            task=str(meta.get("data", {}).get("task", "")),
            now=with_hashes(
                {LIVE_SETTINGS[name]: v for name, v in last.get("settings", {}).items() if name in LIVE_SETTINGS}, rules
            ),
            host=str(process.get("host", "")) if isinstance(process, dict) else "",
            **{**numbers, "measures": {**numbers["measures"], **newest_summary(run)}},
        )


def was_changed(run: Run) -> bool:
    """Return whether settings were changed while a run was training, or where it was forked.

    Its lines are parsed only if the word is in them: looking for it takes a hundredth of the time.
    """
    word, rest = f'"{EventKind.SETTING}"'.encode(), b""
    with contextlib.suppress(OSError), open_regular(run.path / "metrics.jsonl") as file:
        while chunk := file.read(_CHUNK):
            if word in (rest := rest[-len(word) :] + chunk):
                return result(run).changed > 0
    return bool(run.meta().get("fork", {}).get("settings"))


def result(run: Run) -> RunResult:
    """Return the settings and results of a run, from all of its metrics."""
    reader = ResultReader(run)
    reader.read()
    return reader.result()
