"""Text tables: encoding, delimiter, lines and header of .csv, .tsv, .txt and .data files, compressed or not.

pandas reads the values, inferring the type of each column from all of its cells: of pandas, Polars, PyArrow and DuckDB
it takes the least memory and about the least time on tables of 22,283 and 55,000 columns, and it is a dependency
already. Only columns that did not become numbers are looked at as text (:mod:`tsnn.datasets.columns`).
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from tsnn.datasets.header import find_header
from tsnn.datasets.lines import (
    SEPARATORS,
    count_fields,
    find_delimiter,
    find_encoding,
    open_bytes,
    open_text,
    read_records,
    skip_lines,
    take_sample,
)
from tsnn.datasets.raw import Array, TableOptions, reading, refuse_if_too_big
from tsnn.errors import DataError

TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".data")


class Table(NamedTuple):
    """Columns of a file before they are understood.

    Attributes
    ----------
    names : list of str
        Names as in the file; "" where there is none.
    columns : list of array
        Numbers, or objects: text, None or NaN where pandas saw a missing value. A text instead: the reason why the
        column cannot be used.
    note : str
        Remark on the header, for ``source``.
    comma : bool
        Whether the comma separates columns.
    warnings : tuple of str
        As in :class:`tsnn.datasets.raw.RawData`.
    cell : function of (row, column), or None
        Text of a cell in the file.
    """

    names: list[str]
    columns: list[Array | str]
    note: str = ""
    comma: bool = False
    warnings: tuple[str, ...] = ()
    cell: Callable[[int, int], str] | None = None


class _Layout(NamedTuple):
    """Where the values of a text file are: encoding, delimiter, names, and the first line of values."""

    encoding: str
    delimiter: str
    names: list[str] | None
    width: int
    start: int


def read_text(path: Path, options: TableOptions) -> Table:
    """Read a text table.

    Raises
    ------
    DataError
        The file is missing, no text, empty, too big, or its lines have different numbers of fields.
    """
    import pandas as pd

    with reading(path, "a table"):
        refuse_if_too_big(6 * path.stat().st_size, path)
        layout = _find_layout(path, options)
        with open_text(path, layout.encoding) as stream:
            _check_lines(stream, layout, path)
        with open_text(path, layout.encoding) as stream:
            skip_lines(stream, layout.start)
            try:
                frame = pd.read_csv(
                    stream,
                    sep=r"\s+" if layout.delimiter == " " else layout.delimiter,
                    header=None,
                    names=range(layout.width),
                    na_values=["", *options.missing_marks],
                    keep_default_na=False,
                    low_memory=False,
                    skipinitialspace=True,
                    dtype=str if options.transpose else None,
                )
            except pd.errors.EmptyDataError:
                frame = pd.DataFrame(columns=range(layout.width))
    names, rows = layout.names, frame
    if options.transpose:
        names, rows = _transposed(frame, names, path)
    columns: list[Array | str] = [rows[i].to_numpy() for i in rows.columns]
    note = "" if names is not None else "; no header: columns are called 'column 0', 'column 1', ..."
    named = names or [f"column {i}" for i in range(len(columns))]
    warnings = () if options.transpose else suggest_transposing(layout.names, columns)
    cell = None if options.transpose else functools.partial(_find_cell, path, layout)
    return Table(named, columns, note, layout.delimiter == ",", warnings, cell)


def _find_cell(path: Path, layout: _Layout, row: int, column: int) -> str:
    """Return the text of a cell."""
    with open_text(path, layout.encoding) as stream:
        skip_lines(stream, layout.start)
        records = (fields for _, fields in read_records(stream, layout.delimiter))
        return next(itertools.islice(records, row, None), [""] * layout.width)[column]


def _check_lines(stream: TextIO, layout: _Layout, path: Path) -> None:
    """Check that every line has the same number of fields."""
    skip_lines(stream, layout.start)
    for number, count in count_fields(stream, layout.delimiter):
        if number < 0:
            raise DataError(f'{path}: a quoted text (") does not end before the end of the file. Correct the quotes.')
        if count != layout.width:
            raise _ragged(path, number + layout.start, count, layout.width, layout.delimiter)


def _find_layout(path: Path, options: TableOptions) -> _Layout:
    with open_bytes(path) as raw:
        encoding = find_encoding(raw.read(4096), path)
    with open_text(path, encoding) as stream:
        first = stream.readline()
        skipped = re.fullmatch(r'"?sep=(.)"?\s*', first.lower(), re.DOTALL)
        if not skipped:
            stream.seek(0)
        sample = list(take_sample(stream))
    delimiter = SEPARATORS.get(options.separator, options.separator.replace("\\t", "\t"))
    if skipped and delimiter == "auto":
        delimiter = skipped[1]
    if delimiter == "auto":
        delimiter = find_delimiter(sample)
    elif len(delimiter) != 1 or delimiter in '"\n\r':
        known = ", ".join(SEPARATORS)
        raise DataError(f"data.separator is {options.separator!r}; expected auto, {known} or one character.")
    records = [(number, fields) for number, fields in read_records(sample, delimiter) if number > 0]
    if not records:
        raise DataError(f"{path} is empty; expected a line of column names and rows of values.")
    _check_first_lines(records, delimiter, bool(skipped), path)
    rows = [fields for _, fields in records]
    names = _names(rows, options, path)
    start = (records[0][0] if names is not None else 0) + bool(skipped)
    return _Layout(encoding, delimiter, names, len(names or rows[0]), start)


def _check_first_lines(records: list[tuple[int, list[str]]], delimiter: str, skipped: bool, path: Path) -> None:
    """Check that the first lines have the same number of fields; the first of all, R's header, may have one fewer."""
    first, *body = [len(fields) for _, fields in records]
    widths = set(body)
    if len(body) > 1 and len(widths) == 1 and min(widths) not in (first, first + 1):
        raise DataError(
            f"{path}, line {records[0][0] + skipped}: {first} fields, but the lines below have {min(widths)} "
            f"(delimiter {delimiter!r}). Is it a title or comment? Remove or correct this line."
        )
    if len(body) > 1 and widths == {first + 1}:
        return
    for (number, fields), count in zip(records[1:], body, strict=True):
        if count != first:
            raise _ragged(path, number + skipped, len(fields), first, delimiter)


def _ragged(path: Path, line: int, count: int, expected: int, delimiter: str) -> DataError:
    return DataError(
        f"{path}, line {line}: {count} fields, expected {expected} as in the lines before (delimiter {delimiter!r}). "
        "Correct this line, or set data.separator."
    )


def _names(rows: list[list[str]], options: TableOptions, path: Path) -> list[str] | None:
    """Return the names of the columns, None if there is no header; R's short header lacks that of the row names."""
    first, body = [cell.strip() for cell in rows[0]], rows[1:]
    widths = {len(row) for row in body}
    if len(body) > 1 and widths == {len(first) + 1} and options.header != "false":
        if not any(row[-1].strip() for row in body):
            return [*first, ""]  # each line ends with a delimiter
        if len({row[0] for row in body}) < len(body):
            raise DataError(
                f"{path}: the first line has {len(first)} names, but the lines below have {len(first) + 1} fields. "
                "Add the missing name to the first line."
            )
        return ["", *first]
    if options.header != "auto":
        return first if options.header == "true" else None
    same = [row for row in body if len(row) == len(first)]
    headed = find_header(first, same, options.missing_marks)
    if headed is None:
        raise DataError(
            f"{path}: it cannot be told whether the first line ({', '.join(first)[:60]}) holds names or values. Set "
            "data.header=true or data.header=false."
        )
    return first if headed else None


# --- features in rows --------------------------------------------------------------------------------


def _transposed(frame: Any, names: list[str] | None, path: Path) -> tuple[list[str], Any]:
    """Return the names and columns of a table whose rows are features, named in the first column."""
    if frame.shape[1] < 2 or not len(frame):
        raise DataError(f"{path} has {frame.shape[1]} columns; transposing needs a column of names, and samples.")
    rows = frame[0].fillna("").astype(str).str.strip().tolist()
    cells = frame.drop(columns=0).to_numpy(dtype=object).T
    return rows, type(frame)(cells)


def suggest_transposing(names: list[str] | None, columns: list[Array | str]) -> tuple[str, ...]:
    """Return a warning if rows look like genes and columns like samples."""
    if names is None or len(columns) < 5:
        return ()
    first, others = columns[0], columns[1:]
    named = not isinstance(first, str) and first.dtype.kind not in "biuf" and len(set(first.tolist())) == len(first)
    numeric = all(not isinstance(column, str) and column.dtype.kind in "iuf" for column in others)
    stems = {re.sub(r"\d+$", "", name) for name in names[1:]}
    numbered = all(name[-1:].isdigit() for name in names[1:])
    if named and numeric and numbered and len(stems) == 1 and stems != {""} and len(first) > len(others):
        return (
            f"Rows look like features ({first[0]}, {first[1]}, ...) and columns like samples ({names[1]}, ...). If "
            "they are, set data.transpose=true and data.target to the row that holds the classes.",
        )
    return ()
