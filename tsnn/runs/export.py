"""Export of a run's records and settings: one function per format, for the command line and the dashboard."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from itertools import zip_longest
from typing import Any

from tsnn.config import LIVE_SETTINGS
from tsnn.errors import RunError
from tsnn.records import EpochRecord
from tsnn.runs.store import Run

_MOST_BYTES = 2**28  # of weights that a page sends at once
_PER_LAYER = ("connections", "density", "pruned", "grown", "living")


def to_csv(run: Run) -> bytes:
    """Return the finished epochs as a table: one line per epoch; columns of layers are named ``layer1_density``.

    Raises
    ------
    RunError
        If no epoch is finished.
    """
    records = run.records()
    if not records:
        raise RunError(f"Run {run.id} has no finished epoch to export. Try again later.")
    scalars = [f.name for f in fields(EpochRecord) if f.name not in ("settings", "layers", "events", "workers")]
    columns: dict[str, Sequence[Any]] = {name: [getattr(r, name) for r in records] for name in scalars}
    columns |= {name: [r.settings.get(name) for r in records] for name in LIVE_SETTINGS}
    for l in range(max(len(r.layers) for r in records)):
        for name in _PER_LAYER:
            columns[f"layer{l + 1}_{name}"] = [
                getattr(r.layers[l], name) if l < len(r.layers) else None for r in records
            ]
    return csv_bytes(columns)


def to_toml(run: Run) -> bytes:
    """Return the settings as TOML, for ``tsnn train`` and the form."""
    return run.config().to_toml().encode()


def final_weights(run: Run) -> bytes:
    """Return the file of the network that a run ended with, for :func:`tsnn.load_network`.

    Raises
    ------
    RunError
        If there is none yet, or it is larger than a page should send.
    """
    path = run.path / "weights.npz"
    if not path.is_file():
        raise RunError(f"Run {run.id} is {run.status()['state']} and has no weights yet. They are written at its end.")
    if path.stat().st_size > _MOST_BYTES:
        command = f"tsnn export {run.id} --format npz --output FILE"
        raise RunError(f"The weights have more than {_MOST_BYTES // 2**20} MiB. Use: {command}")
    return path.read_bytes()


#: Formats by name.
FORMATS: dict[str, Callable[[Run], bytes]] = {"csv": to_csv, "toml": to_toml}


def csv_bytes(columns: Mapping[str, Sequence[Any]]) -> bytes:
    """Return columns as CSV; text that a spreadsheet would read as a formula is preceded by an apostrophe."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    writer.writerows([_safe(v) for v in row] for row in zip_longest(*columns.values()))
    return buffer.getvalue().encode()


def _safe(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
