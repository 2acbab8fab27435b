"""Reading of long ``metrics.jsonl``: some epochs, evenly spread, in a time that does not depend on their number.

An epoch's line is a kilobyte and takes 50 microseconds to parse: a million of them a minute, and gigabytes. A plot is
600 points wide. So a few thousand lines of a long file are read, and all of its end; nothing is written that could be
damaged or outdated. Events are found by a search for the beginning of their lines.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

from tsnn.files import MAX_LINE_BYTES, open_regular, parse_object
from tsnn.runs.run import Run

#: Files up to this size are read completely.
SHORT_BYTES = 8 * 2**20
#: Lines that are read from the file, and bytes of its end whose lines all are.
SAMPLES, END_BYTES = 2000, 512 * 1024
_CHUNK = 4 * 2**20
_MARKS = (b'{"type": "event"', b'{"type": "ack"')


def sample_lines(run: Run) -> tuple[list[dict[str, Any]], int]:
    """Return lines of the metrics up to those at the end, evenly spread, and the offset where the end begins.

    Lines that cannot be parsed are left out; the caller checks the values.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    lines: list[dict[str, Any]] = []
    with open_regular(run.path / "metrics.jsonl") as file:
        size = file.seek(0, os.SEEK_END)
        end = max(0, size - END_BYTES)
        for i in range(SAMPLES):
            file.seek(i * end // SAMPLES)
            if i:
                file.readline(MAX_LINE_BYTES)  # the rest of a line
            if file.tell() < end and (raw := file.readline(MAX_LINE_BYTES)).endswith(b"\n"):
                with contextlib.suppress(ValueError):
                    lines.append(parse_object(raw))
        file.seek(end)
        file.readline(MAX_LINE_BYTES)
        return lines, file.tell()


class EventSearch:
    """Search for the lines of events and acks in a part of the metrics, a little at a time.

    Parameters
    ----------
    run : Run
        The run.
    end : int
        Where the searched part ends.
    """

    def __init__(self, run: Run, end: int):
        self._path = run.path / "metrics.jsonl"
        self._at, self._end = 0, end

    @property
    def done(self) -> bool:
        """Whether the whole part has been searched."""
        return self._at >= self._end

    def advance(self, chunks: int = 8) -> list[dict[str, Any]]:
        """Return the lines in the next chunks of 4 MiB.

        Raises
        ------
        OSError
            If the file cannot be read.
        """
        found: list[tuple[int, dict[str, Any]]] = []
        with open_regular(self._path) as file:
            for _ in range(chunks):
                if self.done:
                    break
                file.seek(self._at)
                chunk = file.read(min(_CHUNK, self._end - self._at))
                last = chunk.rfind(b"\n") + 1 or len(chunk)
                for mark in _MARKS:
                    place = chunk.find(mark, 0, last)
                    while place >= 0:
                        line = chunk[place : chunk.find(b"\n", place, last)]
                        with contextlib.suppress(ValueError):
                            found.append((self._at + place, parse_object(line)))
                        place = chunk.find(mark, place + 1, last)
                self._at += last or self._end
        return [line for _, line in sorted(found, key=lambda item: item[0])]
