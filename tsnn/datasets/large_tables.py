"""Parquet tables that do not fit into memory: turned once into an array on the disk, row after row.

Parquet stores column after column, in groups of rows of any size, compressed; reading the random rows of a batch would
unpack most of the table. So some columns at a time are read and understood, as those of smaller tables are, and written
as blocks, from which the rows are then put together. The array stays in the user's cache
(:mod:`tsnn.datasets.unpacked`).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np

from tsnn.datasets.arrow import PARQUET_SUFFIXES, LargeParquet
from tsnn.datasets.raw import Array, ColumnInfo, RawData, TableOptions
from tsnn.datasets.tables import FILLED, read_table, understand_table
from tsnn.datasets.unpacked import Unpacked, check_room, unpack_once
from tsnn.errors import DataError

_GROUP = 1 << 29  # bytes of memory for the columns that are understood at a time
_PANEL = 1 << 27  # bytes of rows that are put together at a time


def read_any_table(path: Path, target: str | None, options: TableOptions | None = None) -> RawData:
    """Read a table; of a Parquet table that takes more memory than ``options.budget``, features stay on the disk.

    Parameters and errors: see :func:`tsnn.datasets.tables.read_table`.
    """
    options = options or TableOptions()
    is_parquet = path.suffix.lower() in PARQUET_SUFFIXES or path.is_dir()
    parquet = LargeParquet(path) if is_parquet and options.budget < float("inf") else None
    if parquet is None or 12 * parquet.rows * len(parquet.names) <= options.budget:
        return read_table(path, target, options)
    if options.missing == "drop_rows":
        raise DataError(
            f"{path} does not fit into memory, and rows with missing values cannot be left out of a table on the disk. "
            "Set data.missing=fill, or write the complete rows to another file."
        )
    key = json.dumps([target, options.drop, options.missing, options.missing_marks])
    x, facts = unpack_once(path, key, lambda folder: _turned(parquet, options, target, folder))
    columns = tuple(ColumnInfo(**info) for info in json.loads(str(facts["columns"])))
    names, warnings = (tuple(map(str, facts[name])) for name in ("names", "warnings"))
    source = str(facts["from"])
    return RawData(
        path.stem, cast(Array, x), facts["y"], None, None, source, (), names, None, warnings, columns
    )  # fmt: skip


class _Block(NamedTuple):
    """Some features of all rows: where they are in a file, how many, and their type."""

    place: int
    width: int
    dtype: np.dtype[Any]


def _turned(parquet: LargeParquet, options: TableOptions, target: str | None, folder: Path) -> Unpacked:
    """Understand the columns, some at a time; return their features row by row."""
    if unknown := [name for name in options.drop if name not in parquet.names]:
        raise DataError(f"{parquet.path} has no column {unknown[0]!r} to drop.")
    usable = [name for name in parquet.names if name not in (*options.drop, *parquet.index)]
    chosen = usable[-1] if target is None else target
    others = [name for name in usable if name != chosen]
    if chosen not in usable or not others:
        known = ", ".join(usable[:20]) + (", ..." if len(usable) > 20 else "")
        raise DataError(f"{parquet.path} has no column {chosen!r} to predict beside others. Its columns: {known}.")
    check_room(8 * parquet.rows * len(others), folder, parquet.path)
    file, blocks, parts = (folder / "blocks").open("w+b"), [], []
    (folder / "blocks").unlink()  # its space is free as soon as it is closed
    step = max(1, _GROUP // (32 * max(1, parquet.rows)))
    for start in range(0, len(others), step):
        table = parquet.read([*others[start : start + step], chosen])
        part = understand_table(parquet.path, dataclasses.replace(options, drop=()), table, chosen)
        blocks.append(_Block(file.tell(), part.x.shape[1], part.x.dtype))
        file.write(np.ascontiguousarray(part.x).data)
        parts.append(dataclasses.replace(part, x=part.x[:0]))
    blocks = [block for block in blocks if block.width]
    if not blocks:
        reasons = " ".join(text for part in parts for text in part.warnings)
        raise DataError(f"{parquet.path} has no column of features left. {reasons}")
    n, dtype = len(parts[0].y), np.result_type(*(block.dtype for block in blocks))
    shape = n, sum(block.width for block in blocks)
    return Unpacked(shape, dtype, _rows(file, blocks, n, dtype), _facts(parquet, parts, options, target))


def _facts(
    parquet: LargeParquet, parts: list[RawData], options: TableOptions, target: str | None
) -> dict[str, Array]:  # fmt: skip
    """Return target, names of the features, warnings, and a report of each column."""
    infos = {name: ColumnInfo(name, "dropped", 0, "data.drop") for name in options.drop}
    infos |= {info.name: info for part in parts for info in part.columns}
    names = [name for part in parts for name in part.feature_names]
    warnings = [text for part in parts for text in part.warnings if not text.startswith(FILLED.partition("{")[0])]
    if n := sum(info.missing for info in infos.values() if info.kind in ("number", "category")):
        warnings.append(FILLED.format(n))
    places = {name: i for i, name in enumerate(parquet.names)}
    columns = sorted(infos.values(), key=lambda info: places.get(info.name.partition("[")[0], len(places)))
    source = parts[0].source if target else parts[0].source.replace("target: column", "target: last column", 1)
    if parquet.index:
        warnings.append(f"The index of the DataFrame is no feature: {', '.join(map(repr, parquet.index))}.")
    return {
        "y": parts[0].y, "names": np.array(names, str), "warnings": np.array([*dict.fromkeys(warnings)], str),
        "columns": np.array(json.dumps([dataclasses.asdict(info) for info in columns])), "from": np.array(source),
    }  # fmt: skip


def _rows(file: IO[bytes], blocks: list[_Block], n: int, dtype: np.dtype[Any]) -> Iterator[Array]:
    """Yield the rows of blocks of columns, many at a time."""
    width = sum(block.width for block in blocks)
    step = max(1, _PANEL // (width * dtype.itemsize))
    with file:
        for start in range(0, n, step):
            count, left = min(step, n - start), 0
            panel = np.empty((count, width), dtype)
            for block in blocks:
                file.seek(block.place + start * block.width * block.dtype.itemsize)
                values = np.fromfile(file, block.dtype, count * block.width)
                panel[:, left : left + block.width] = values.reshape(count, block.width)
                left += block.width
            yield panel
