"""Parquet and Feather tables: each column by its type, right or refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tsnn.datasets.raw import Array, reading, refuse_if_too_big
from tsnn.datasets.text import Table
from tsnn.errors import DataError
from tsnn.extras import require

if TYPE_CHECKING:
    import pandas as pd

PARQUET_SUFFIXES = (".parquet", ".pq")

_BATCH = 1 << 26  # bytes of rows that are read at a time
_NO_NUMBERS = "which are no numbers. Turn them into numbers, or leave the column out"


def open_parquet(path: Path) -> Any:
    """Return a pyarrow ParquetFile, after checking that its table fits into memory."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    refuse_if_too_big(12 * file.metadata.num_rows * file.metadata.num_columns, path)
    return file


def read_parquet(path: Path) -> Table:
    """Read a Parquet file, or a folder of Parquet files that are parts of one table.

    Raises
    ------
    DataError
        A file is missing, damaged or too big, or the parts have different columns.
    """
    if path.is_dir():
        return _as_table(_read_parts(path))
    with reading(path, "a Parquet file"):
        return _as_table(open_parquet(path).read())


def read_feather(path: Path) -> Table:
    """Read a Feather (Arrow IPC) file."""
    from pyarrow import feather

    with reading(path, "a Feather file"):
        return _as_table(feather.read_table(path))


def parquet_parts(folder: Path) -> list[Path]:
    """Return the Parquet files below a folder, sorted; hidden ones and those that begin with "_" are no data."""
    paths = (path for suffix in PARQUET_SUFFIXES for path in folder.rglob(f"*{suffix}") if path.is_file())
    return sorted(path for path in paths if not any(part[0] in "._" for part in path.relative_to(folder).parts))


def _read_parts(folder: Path) -> Any:
    import pyarrow.dataset as ds

    parts = parquet_parts(folder)
    if not parts:
        raise DataError(f"The folder {folder} holds no .parquet files. Give the path of a file with data.")
    files = {}
    for part in parts:
        with reading(part, "a Parquet file"):
            files[part] = open_parquet(part)
    schemas = [file.schema_arrow for file in files.values()]
    _refuse_other_columns(parts, schemas)
    values = sum(file.metadata.num_rows * file.metadata.num_columns for file in files.values())
    refuse_if_too_big(12 * values, folder)
    with reading(folder, "a folder of Parquet files"):
        names = [str(part) for part in parts]
        table = ds.dataset(
            names, format="parquet", partitioning=_partitioning(folder), partition_base_dir=str(folder)
        ).to_table()
        own = len(schemas[0].names)  # columns from names of folders come in front: the last one is the default target
        return table.select([*table.column_names[own:], *table.column_names[:own]])


def _refuse_other_columns(parts: list[Path], schemas: list[Any]) -> None:
    """Refuse a part whose columns are not those of the first one."""
    first, *_ = found = [{f"{field.name} ({field.type})" for field in schema} for schema in schemas]
    for part, columns in zip(parts, found, strict=True):
        if other := sorted(columns ^ first):
            raise DataError(
                f"{part} has other columns than {parts[0].name}: {', '.join(other[:4])}. Expected parts of one table."
            )


class LargeParquet:
    """A Parquet file, or folder of parts, of which some columns are read at a time.

    Attributes
    ----------
    path : Path
        The file or folder.
    names : list of str
        The columns; those from the names of folders come first.
    index : list of str
        Columns that are the index of a pandas DataFrame.
    rows : int
        Number of rows.
    """

    def __init__(self, path: Path):
        ds = require("pyarrow.dataset", f"{path}, a table,")
        self.path = path
        parts = parquet_parts(path) if path.is_dir() else [path]
        if not parts:
            raise DataError(f"The folder {path} holds no .parquet files. Give the path of a file with data.")
        with reading(path, "a Parquet file"):
            partitioning = _partitioning(path) if path.is_dir() else None
            where = {"partitioning": partitioning, "partition_base_dir": str(path)} if partitioning else {}
            self._dataset = ds.dataset([str(part) for part in parts], format="parquet", **where)
            schemas = [fragment.physical_schema for fragment in self._dataset.get_fragments()]
            self.rows = int(self._dataset.count_rows())
        _refuse_other_columns(parts, schemas)
        own, metadata = schemas[0].names, schemas[0].pandas_metadata or {}
        self.names = [*(name for name in self._dataset.schema.names if name not in own), *own]
        self.index = [name for name in metadata.get("index_columns", ()) if name in own]

    def batches(self) -> Iterator[Table]:
        """Yield all columns of some rows at a time."""
        import pyarrow as pa

        rows = max(1, _BATCH // (8 * len(self.names)))
        with reading(self.path, "a Parquet file"):
            scanned = self._dataset.to_batches(batch_size=rows, batch_readahead=1, fragment_readahead=1)
            for batch in scanned:
                if batch.num_rows:
                    yield _as_table(pa.Table.from_batches([batch]).select(self.names))

    def read(self, names: list[str]) -> Table:
        """Return some columns."""
        with reading(self.path, "a Parquet file"):
            return _as_table(self._dataset.to_table(columns=names))


def _partitioning(folder: Path) -> str | None:
    """Return "hive" if folders are named such as ``year=2020``."""
    return "hive" if any("=" in path.name for path in folder.iterdir() if path.is_dir()) else None


def _as_table(table: Any) -> Table:
    """Return the columns of an Arrow table."""
    index = set()
    if metadata := table.schema.pandas_metadata:
        index = {name for name in metadata.get("index_columns", ()) if isinstance(name, str)}
    names: list[str] = []
    columns: list[Array | str] = []
    for field, column in zip(table.schema, table.columns, strict=True):
        for suffix, values in _convert(column):
            names.append(field.name + suffix)
            columns.append(values)
    return Table(names, columns, index_columns=frozenset(index & {*names}))


def _convert(column: Any) -> list[tuple[str, Array | str]]:
    """Return one or more arrays for a column, each with the end of its name; the reason if its type has none."""
    import pyarrow as pa
    from pyarrow import types

    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        if "period" in kind.extension_name:
            return [("", f"has the type {kind}: dates or times, {_NO_NUMBERS}")]
        column = column.cast(kind.storage_type)
        kind = column.type
    if types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if types.is_null(kind):
        return [("", np.full(len(column), np.nan))]
    if _is_number(types, kind):
        return [("", _numbers(column))]
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return [("", column.cast(pa.large_string()).to_numpy(zero_copy_only=False).astype(object))]
    if types.is_fixed_size_list(kind) and not column.null_count and _is_number(types, kind.value_type):
        values = _numbers(pa.chunked_array([chunk.flatten() for chunk in column.chunks], kind.value_type))
        return [(f"[{i}]", part) for i, part in enumerate(values.reshape(-1, kind.list_size).T)]
    return [("", f"has the type {kind}: {_describe(types, kind)}")]


def _is_number(types: Any, kind: Any) -> bool:
    tests = (types.is_boolean, types.is_integer, types.is_floating, types.is_decimal)
    return any(test(kind) for test in tests)


def _numbers(column: Any) -> Array:
    """Return a column of numbers; NaN for null."""
    import pyarrow as pa

    if pa.types.is_decimal(column.type) or column.null_count:
        column = column.cast(pa.float64())
    values: Array = column.to_numpy(zero_copy_only=False)
    return values


def _describe(types: Any, kind: Any) -> str:
    if types.is_temporal(kind):
        return f"dates or times, {_NO_NUMBERS}"
    if types.is_nested(kind):
        return f"several values in one cell, {_NO_NUMBERS}"
    return f"bytes, {_NO_NUMBERS}"


def all_numbers(frame: pd.DataFrame) -> bool:
    """Return whether every column holds numbers or booleans."""
    return all(dtype.kind in "biuf" for dtype in frame.dtypes)
