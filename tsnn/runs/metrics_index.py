"""Index of long ``metrics.jsonl``: all events, and the epochs in which a curve has an extreme.

The index is a file ``metrics.index`` in the run's folder, or in the user's cache folder if that is read-only: lines of
the metrics, in order, below a line that names the part of the metrics they are from. The first view of a long run
writes it, a little at a time; the next ones read it. An index that is damaged, or of another file, is built again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tsnn.errors import TsnnError
from tsnn.files import json_line, open_regular, parse_object, read_bounded, write_atomic
from tsnn.runs.checks import is_count
from tsnn.runs.run import Run

NAME = "metrics.index"
#: The metrics are divided into at most so many stretches; each keeps its first epoch and the extremes of its curves.
STRETCHES = 512
#: A larger index is not written.
MAX_BYTES = 16 * 2**20
_FORMAT = 1
_CHUNK, _END = 256 * 1024, 4096
_OPEN_ROWS = 64  # of a stretch, before it is reduced to its extremes
_CACHED = 100  # indexes in the cache folder
_EPOCH, _EVENTS = b'{"type": "epoch"', (b'{"type": "event"', b'{"type": "ack"')
_NUMBER = re.compile(rb'"epoch": ([0-9]{1,15})')
_VALUE = re.compile(rb'"(?:train|test)_(?:loss|accuracy|r2)": ([^,}]+)')
_HEAD, _FOOT = 400, 250  # bytes of a line that hold its values; between them are those of layers and workers


class _Row(NamedTuple):
    """Line of an epoch."""

    offset: int
    epoch: int
    values: tuple[float, ...]
    raw: bytes


class IndexBuilder:
    """Construction of the index of a part of the metrics, a little at a time.

    Parameters
    ----------
    run : Run
        The run.
    end : int
        Where the part ends: behind a newline.
    """

    def __init__(self, run: Run, end: int):
        self._run, self.end = run, end
        self._at = 0
        self._stretches: list[list[_Row]] = []
        self._width, self._count = 1, 0  # lines of a stretch; of the last one so far
        self._last = -1  # epoch
        self._events: list[tuple[int, bytes]] = []

    @property
    def done(self) -> bool:
        """Whether the whole part has been read."""
        return self._at >= self.end

    def advance(self, seconds: float = 0.02) -> list[dict[str, Any]]:
        """Read for some time, and return the events and acks found.

        Raises
        ------
        OSError
            If the file cannot be read.
        """
        found: list[dict[str, Any]] = []
        until = time.monotonic() + seconds
        with open_regular(self._run.path / "metrics.jsonl") as file:
            file.seek(self._at)
            while not self.done and time.monotonic() < until:
                chunk = file.read(min(_CHUNK, self.end - self._at))
                whole = chunk.rfind(b"\n") + 1 or len(chunk)  # the parts of a longer line are no lines of an epoch
                found += self._take(chunk[:whole])
                self._at = self._at + whole if chunk else self.end
                file.seek(self._at)
        return found

    def _take(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        offset = self._at
        for raw in chunk.split(b"\n"):
            with contextlib.suppress(ValueError):
                if raw.startswith(_EPOCH):
                    self._add(_row(offset, raw))
                elif raw.startswith(_EVENTS):
                    yield parse_object(raw)
                    self._events.append((offset, raw))
            offset += len(raw) + 1

    def _add(self, row: _Row) -> None:
        if row.epoch <= self._last:  # a resumed run repeats epochs
            kept = ([old for old in rows if old.epoch < row.epoch] for rows in self._stretches)
            self._stretches = [rows for rows in kept if rows]
        self._last = row.epoch
        if not self._stretches or self._count >= self._width:
            self._stretches.append([])
            self._count = 0
        self._stretches[-1].append(row)
        self._count += 1
        if len(self._stretches[-1]) > _OPEN_ROWS:
            self._stretches[-1] = _extremes(self._stretches[-1])
        if len(self._stretches) > STRETCHES:
            pairs = [self._stretches[i : i + 2] for i in range(0, STRETCHES, 2)]
            self._stretches = [*(_extremes([*left, *right]) for left, right in pairs), self._stretches[-1]]
            self._width *= 2

    def _raw(self) -> list[bytes]:
        rows = [(row.offset, row.raw) for rows in self._stretches for row in _extremes(rows)]
        return [raw for _, raw in sorted(rows + self._events)]

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of the index, in order; damaged ones are left out."""
        return _parsed(self._raw())

    def save(self) -> None:
        """Write the index; nothing happens if that is not possible."""
        body = b"".join(raw + b"\n" for raw in self._raw())
        if len(body) > MAX_BYTES:
            return
        for path in _places(self._run):
            with contextlib.suppress(OSError, TsnnError):  # a server that only watches refuses writing
                mark = _mark(self._run, self.end)
                header = {"format": _FORMAT, "bytes": self.end, "mark": mark, "digest": _digest(body)}
                if path.parent != self._run.path:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    _remove_oldest(path.parent)
                write_atomic(path, json_line(header) + body, durable=False)
                return


def read_index(run: Run) -> tuple[list[dict[str, Any]], int] | None:
    """Return the lines of a run's index, and where the part of the metrics ends that they are from.

    Their values are not checked. Without an index that is of the present metrics the result is None.
    """
    for path in _places(run):
        with contextlib.suppress(OSError, ValueError, KeyError):
            head, _, body = read_bounded(path).partition(b"\n")
            header = parse_object(head)
            end = header["bytes"]
            known = header["format"] == _FORMAT and len(body) <= MAX_BYTES and header["digest"] == _digest(body)
            if known and is_count(end) and header["mark"] == _mark(run, end):
                return _parsed(body.splitlines()), end
    return None


def _parsed(raws: Sequence[bytes]) -> list[dict[str, Any]]:
    lines = []
    for raw in raws:
        with contextlib.suppress(ValueError):
            lines.append(parse_object(raw))
    return lines


def _row(offset: int, raw: bytes) -> _Row:
    """Return the line of an epoch; ValueError if it has no number or other values than numbers."""
    number = _NUMBER.search(raw, 0, _HEAD)
    if number is None:
        raise ValueError("no epoch")
    values = _VALUE.findall(raw[:_HEAD] + raw[max(_HEAD, len(raw) - _FOOT) :])
    return _Row(offset, int(number[1]), tuple(float("nan" if v == b"null" else v) for v in values), raw)


def _extremes(rows: list[_Row]) -> list[_Row]:
    """Return the first of the rows, and those with the least and the largest value of a curve."""
    chosen = {0}
    for curve in zip(*(row.values for row in rows), strict=False):
        known = [i for i, value in enumerate(curve) if value == value]
        if known:
            chosen |= {min(known, key=curve.__getitem__), max(known, key=curve.__getitem__)}
    return [rows[i] for i in sorted(chosen)]


def _places(run: Run) -> list[Path]:
    """Return the files where the index may be."""
    import platformdirs

    name = hashlib.sha256(os.fsencode(run.path.resolve())).hexdigest()[:32]
    return [run.path / NAME, platformdirs.user_cache_path("tsnn", appauthor=False) / "metrics" / f"{name}.index"]


def _remove_oldest(folder: Path) -> None:
    """Keep the newest indexes of a cache folder."""
    files = sorted(folder.glob("*.index"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[_CACHED - 1 :]:
        path.unlink(missing_ok=True)


def _mark(run: Run, end: int) -> str:
    """Return a digest of the beginning of the metrics, and of the bytes before ``end``."""
    with open_regular(run.path / "metrics.jsonl") as file:
        first = file.read(min(_END, end))
        file.seek(max(0, end - _END))
        return _digest(first + file.read(min(_END, end)))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
