"""Opening of tables: the columns of a file by its format, before they are understood."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from tsnn.datasets.arrow import PARQUET_SUFFIXES, read_feather, read_parquet
from tsnn.datasets.lines import COMPRESSED_SUFFIXES, inner_name
from tsnn.datasets.raw import TableOptions, reading
from tsnn.datasets.sheets import read_arff, read_excel
from tsnn.datasets.text import TEXT_SUFFIXES, Table, read_text
from tsnn.errors import DataError
from tsnn.extras import require

#: Formats that say themselves where columns begin and what they are called.
_STRUCTURED: dict[str, Callable[[Path], Table]] = {
    **dict.fromkeys(PARQUET_SUFFIXES, read_parquet),
    ".feather": read_feather,
    ".arff": read_arff,
}

_opened: ContextVar[MutableMapping[Any, Table] | None] = ContextVar("_opened", default=None)


@contextmanager
def reading_once(opened: MutableMapping[Any, Table]) -> Iterator[None]:
    """Take a table from ``opened``, if it was read with the same options and the file is unchanged; keep the last."""
    token = _opened.set(opened)
    try:
        yield
    finally:
        _opened.reset(token)


def open_table(path: Path, options: TableOptions) -> Table:
    """Read the columns of a table, which are not understood yet; see :func:`reading_once`."""
    opened = _opened.get()
    if opened is None or not path.is_file():
        return _read(path, options)
    status = path.stat()
    marks = tuple(options.missing_marks)
    key = (path, status.st_mtime_ns, status.st_size, options.header, options.separator, options.transpose, marks)
    table = opened.get(key)
    if table is None:
        table = _read(path, options)
        opened.clear()
        opened[key] = table
    return table._replace(columns=[*table.columns])  # who understands a table forgets its columns


def _read(path: Path, options: TableOptions) -> Table:
    suffix = path.suffix.lower()
    require("pandas", f"{path}, a table,")
    if path.is_dir() or suffix in (*PARQUET_SUFFIXES, ".feather"):
        require("pyarrow", f"{path}, a table,")
    reader = read_parquet if path.is_dir() else _STRUCTURED.get(suffix)
    if reader is not None:
        if unused := {"header", "separator", "transpose"} & {*options.changed()}:
            raise DataError(f"data.{min(unused)} was set for {path}, but only text tables need it. Leave it out.")
        return reader(path)
    if suffix == ".xlsx":
        return read_excel(path, options)
    if suffix in COMPRESSED_SUFFIXES and path.is_file():
        with reading(path, "an archive"):
            inner = inner_name(path)
        if inner.suffix.lower() not in (*TEXT_SUFFIXES, ""):
            raise DataError(
                f"{path} holds {inner}; only text tables ({', '.join(TEXT_SUFFIXES)}) are read from compressed files. "
                "Unpack it first."
            )
    return read_text(path, options)
