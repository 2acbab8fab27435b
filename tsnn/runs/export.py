"""Export of a run's records and settings: one function per format, for the command line and the dashboard."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import zip_longest
from typing import IO, Any

from tsnn.config import LIVE_SETTINGS
from tsnn.errors import RunError
from tsnn.records import EpochRecord
from tsnn.runs.store import Run

_MOST_BYTES = 2**28  # of weights that a page sends at once
_NOT_SCALAR = ("settings", "scheduled", "layers", "events", "workers")
_PER_LAYER = ("connections", "density", "pruned", "grown", "living")
_MEASURED = ("itop", "gradient_flow")  # with run.measures


def to_csv(run: Run) -> bytes:
    """Return the finished epochs as a table, see :func:`write_csv`."""
    buffer = io.BytesIO()
    write_csv(run, buffer)
    return buffer.getvalue()


def write_csv(run: Run, file: IO[bytes]) -> None:
    """Write the finished epochs as a table: one line per epoch; columns of layers are named ``layer1_density``.

    Settings that a schedule changes have the values that were applied.

    Raises
    ------
    RunError
        If no epoch is finished, or the metrics are damaged.
    """
    run.meta()
    scalars = [f.name for f in fields(EpochRecord) if f.name not in _NOT_SCALAR]
    layers, names = -1, [*_PER_LAYER]
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    try:
        writer = csv.writer(text)
        for line in _epochs(run):
            if layers < 0:
                layers = len(line["layers"])
                names += [name for name in _MEASURED if line["layers"][0].get(name) is not None]
                of_layers = [f"layer{l + 1}_{name}" for l in range(layers) for name in names]
                writer.writerow([*scalars, *LIVE_SETTINGS, *of_layers])
            values = [layer.get(name) for layer in line["layers"][:layers] for name in names]
            settings = {**line["settings"], **line.get("scheduled", {})}
            writer.writerow([*map(line.get, scalars), *map(settings.get, LIVE_SETTINGS), *values])
    finally:
        text.detach()
    if layers < 0:
        raise RunError(f"Run {run.id} has no finished epoch to export. Try again later.")


def _epochs(run: Run) -> Iterator[dict[str, Any]]:
    """Yield the lines of the finished epochs."""
    try:
        for line, problem, _ in run.each_line():
            if problem:
                raise RunError(f"metrics.jsonl of run {run.id} is damaged: {problem}.")
            if line["type"] == "epoch":
                yield line
    except OSError as error:
        raise RunError(f"metrics.jsonl of run {run.id} cannot be read: {error.strerror}.") from error


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
