"""The task of a data set, guessed from its targets before it is loaded: the defaults of some settings depend on it."""

from __future__ import annotations

import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tsnn.config import DataConfig
from tsnn.datasets.arrow import PARQUET_SUFFIXES
from tsnn.datasets.preparation import check_targets
from tsnn.datasets.raw import Array, TableOptions
from tsnn.datasets.sources import local_file, obtain
from tsnn.datasets.targets import decide_task
from tsnn.errors import DataError

_SMALL_BYTES = 32 * 2**20  # files up to this size are read completely
_LINES = 300  # of larger tables of text


def guess_task(data: DataConfig) -> str:
    """Return the task of a data set: the given one, or that of its targets, or "auto" if they cannot be read.

    Only files on this machine are read; of large ones the targets, of large tables of text the first lines.
    """
    path = local_file(data.name)
    if data.task != "auto" or path is None:
        return data.task
    try:
        y = np.asarray(_targets(path, data))
        y = y[~np.isnan(y).reshape(len(y), -1).any(axis=1)] if y.dtype.kind == "f" else y
        return decide_task("auto", check_targets(y, len(y), "y"))
    except Exception:  # readers raise many kinds of errors; the run reports them when it loads the data
        return "auto"


def _targets(path: Path, data: DataConfig) -> Any:
    """Return some or all targets of a file."""
    suffix = path.suffix.lower()
    if path.stat().st_size > _SMALL_BYTES:
        if suffix == ".npz":
            return _archive_targets(path)
        if suffix in PARQUET_SUFFIXES:
            return _parquet_targets(path, data.target)
        if suffix in (".csv", ".tsv", ".txt", ".data") and not data.transpose:
            return _first_targets(path, data)
        raise DataError(f"{path} is too large to guess its task.")
    return _read(path, data)


def _read(path: Path, data: DataConfig) -> Any:
    options = TableOptions(
        header=data.header, drop=data.drop, missing=data.missing, missing_marks=data.missing_marks,
        transpose=data.transpose, separator=data.separator,
    )  # fmt: skip
    return obtain(path, target=data.target, options=options).y


def _archive_targets(path: Path) -> Array:
    with np.load(path, allow_pickle=False) as arrays:
        name = next(name for name in arrays.files if name.lower() in ("y_train", "y"))
        return np.asarray(arrays[name])


def _parquet_targets(path: Path, target: str | None) -> Array:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    name = file.schema_arrow.names[-1] if target is None else target
    return np.asarray(file.read(columns=[name]).column(name).to_pandas())


def _first_targets(path: Path, data: DataConfig) -> Any:
    with tempfile.TemporaryDirectory() as folder, path.open("rb") as file:
        part = Path(folder) / path.name
        part.write_bytes(b"".join(islice(file, _LINES)))
        return _read(part, data)
