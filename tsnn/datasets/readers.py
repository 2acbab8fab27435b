"""Data readers: which function reads a file, by the suffix of its name.

A reader is a function ``reader(path, target) -> RawData``; ``target`` is the name of the column to predict, or None.
Registered with ``is_table=True``, it takes the :class:`TableOptions` as a third argument; with ``streams=True``, the
bytes of memory beyond which features are to stay on the disk (:class:`tsnn.datasets.stored.StoredArray`).
To add one, decorate it with ``READERS.register(suffix, help=...)`` of :mod:`tsnn.registry`; paths with that suffix can
then be trained on.
"""

from __future__ import annotations

from math import inf
from pathlib import Path

from tsnn.datasets.archives import read_arrays
from tsnn.datasets.large_tables import read_any_table
from tsnn.datasets.raw import RawData, TableOptions
from tsnn.errors import DataError
from tsnn.registry import READERS


@READERS.register(".npz", help="arrays X_train, y_train, X_test, y_test, or X and y", streams=True)
@READERS.register(".npy", help="an array whose last column is the target; or X.npy with y.npy beside it", streams=True)
def read_arrays_of(path: Path, target: str | None, budget: float = inf) -> RawData:
    """Read arrays from an archive, an .npy file or a folder of .npy files."""
    refuse_target(path, target)
    return read_arrays(path, budget)


for _suffix, _help in {
    ".csv": "a table of text, columns separated by comma, semicolon, tab, pipe or blanks",
    ".tsv": "the same as .csv",
    ".txt": "the same as .csv",
    ".data": "the same as .csv",
    ".parquet": "a Parquet table, or a folder of its parts",
    ".pq": "the same as .parquet",
    ".feather": "a Feather (Arrow IPC) table",
    ".arff": "a dense ARFF table",
    ".xlsx": "the first sheet of an Excel file, if openpyxl is installed",
    ".gz": "a compressed table of text, such as .csv.gz",
    ".bz2": "the same as .gz",
    ".xz": "the same as .gz",
    ".zip": "an archive with one table of text",
}.items():
    READERS.register(_suffix, help=_help, is_table=True)(read_any_table)


def refuse_target(name: object, target: str | None) -> None:
    """Raise a DataError if a column was named for data that have none."""
    if target is not None:
        raise DataError(f"target={target!r} was given for {name}, but only tables have columns. Leave it out.")


def refuse_options(name: object, options: TableOptions) -> None:
    """Raise a DataError if options of tables were given for data that are none."""
    if changed := options.changed():
        raise DataError(f"data.{changed[0]} was given for {name}, but only tables have columns. Leave it out.")


def has_reader(name: str) -> bool:
    """Return whether a file with this name can be read, by its suffix."""
    return Path(name).suffix.lower() in READERS


def format_suffixes() -> str:
    """Return the suffixes of files that can be read, such as ".npz, .csv or .parquet"."""
    *first, last = READERS
    return f"{', '.join(first)} or {last}" if first else last
