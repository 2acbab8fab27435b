"""Reading of long ``metrics.jsonl``: some epochs, evenly spread, in a time that does not depend on their number.

An epoch's line is a kilobyte and takes 50 microseconds to parse: a million of them a minute, and gigabytes. A plot is
600 points wide. So a few thousand lines of a long file are read, and all of its end, until there is an index
(:mod:`tsnn.runs.metrics_index`).
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


def sample_lines(run: Run, start: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Return lines of the metrics, evenly spread, from an offset to the lines at the end, and where those begin.

    Lines that cannot be parsed are left out; the caller checks the values.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    lines: list[dict[str, Any]] = []
    with open_regular(run.path / "metrics.jsonl") as file:
        size = file.seek(0, os.SEEK_END)
        end = max(start, size - END_BYTES)
        for i in range(SAMPLES):
            file.seek(start + i * (end - start) // SAMPLES)
            if i:
                file.readline(MAX_LINE_BYTES)  # the rest of a line
            if file.tell() < end and (raw := file.readline(MAX_LINE_BYTES)).endswith(b"\n"):
                with contextlib.suppress(ValueError):
                    lines.append(parse_object(raw))
        file.seek(end)
        if end > start:
            file.readline(MAX_LINE_BYTES)
        return lines, file.tell()
