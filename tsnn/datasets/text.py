"""Text tables: encoding, delimiter, lines and header of .csv, .tsv, .txt and .data files, compressed or not.

pandas reads the values, part by part: it takes less time on large files than Polars and PyArrow (see
tests/benchmarks/README.md), the least memory of them and DuckDB on tables of 22,283 and 55,000 columns, and is a
dependency already. Only columns that did not become numbers are looked at as text (:mod:`tsnn.datasets.columns`).
"""

from __future__ import annotations

import functools
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from tsnn.datasets.header import find_header, suggest_transposing
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

_PART_CHARACTERS = 64_000_000  # parsed at a time, which takes several times as many bytes
_SPARSE_LINE = re.compile(r"[+-]?[\d.]+(?:e[+-]?\d+)?(?: +\d+:\S+)+\s*(?:#.*)?", re.IGNORECASE | re.DOTALL)

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
    index_columns : frozenset of str
        Columns that are the index of a DataFrame.
    """

    names: list[str]
    columns: list[Array | str]
    note: str = ""
    comma: bool = False
    warnings: tuple[str, ...] = ()
    cell: Callable[[int, int], str] | None = None
    index_columns: frozenset[str] = frozenset()


class _Layout(NamedTuple):
    """Where the values of a text file are: encoding, delimiter, names, first line of values, and lines of a part."""

    encoding: str
    delimiter: str
    names: list[str] | None
    width: int
    start: int
    part: int


def read_text(path: Path, options: TableOptions) -> Table:
    """Read a text table.

    Raises
    ------
    DataError
        The file is missing, no text, empty, too big, or its lines have different numbers of fields.
    """
    with reading(path, "a table"):
        refuse_if_too_big(6 * path.stat().st_size, path)
        layout = _find_layout(path, options)
        with open_text(path, layout.encoding) as stream:
            rows = _check_lines(stream, layout, path)
        columns: list[Array | str] = [*_read_columns(path, layout, options, rows)]
    names = layout.names
    if options.transpose:
        names, columns = _transposed(columns, names, path)
    note = "" if names is not None else "; no header: columns are called 'column 0', 'column 1', ..."
    named = names or [f"column {i}" for i in range(len(columns))]
    warnings = () if options.transpose else suggest_transposing(layout.names, columns)
    cell = None if options.transpose else functools.partial(_find_cell, path, layout)
    return Table(named, columns, note, layout.delimiter == ",", warnings, cell)


def _read_columns(path: Path, layout: _Layout, options: TableOptions, rows: int) -> list[Array]:
    """Read the values part by part, so that memory holds them and the text of one part, but not all text at once.

    pandas infers the type of a column in each part. A column that is text in some parts only is read again as text.
    """
    import pandas as pd

    def parts(**how: Any) -> Iterator[list[Array]]:
        with open_text(path, layout.encoding) as stream:
            skip_lines(stream, layout.start)
            try:
                frames = pd.read_csv(
                    stream,
                    sep=r"\s+" if layout.delimiter == " " else layout.delimiter,
                    header=None,
                    names=range(layout.width),
                    na_values=["", *options.missing_marks],
                    keep_default_na=False,
                    low_memory=False,
                    skipinitialspace=True,
                    chunksize=layout.part,
                    **how,
                )
                for frame in frames:
                    yield [column.to_numpy() for _, column in frame.items()]
            except pd.errors.EmptyDataError:
                return

    def read(width: int, **how: Any) -> list[Array | None]:
        found: list[Array | None] = [np.empty(0)] * width
        start = 0
        for part in parts(**how):
            found = [_placed(whole, values, start, rows) for whole, values in zip(found, part, strict=True)]
            start += len(part[0])
        return found

    columns = read(layout.width, dtype=str if options.transpose else None)
    if mixed := [i for i, column in enumerate(columns) if column is None]:
        for i, column in zip(mixed, read(len(mixed), dtype=str, usecols=mixed), strict=True):
            columns[i] = column
    return _without_empty_end([column for column in columns if column is not None])


def _placed(whole: Array | None, part: Array, start: int, rows: int) -> Array | None:
    """Return a column with the values of one part; None if only some of its parts are text, or booleans."""
    if start == 0:
        whole = part if len(part) == rows else np.empty(rows, part.dtype)
    if whole is None or part is whole:
        return whole
    if part.dtype != whole.dtype:
        kinds = {array.dtype.kind for array in (part, whole[:start]) if not _is_empty(array)}
        if len(kinds) > 1 and not kinds <= {*"iuf"}:
            return None
        whole = whole.astype(np.result_type(whole, part), copy=False)
    whole[start : start + len(part)] = part
    return whole


def _is_empty(column: Array) -> bool:
    return column.dtype.kind == "f" and bool(np.isnan(column).all())


def _without_empty_end(columns: list[Array]) -> list[Array]:
    """Return the columns without rows of nothing but missing cells at the end, as spreadsheets write them."""
    n = full = len(columns[0])
    while n and all(cell is None or cell != cell for cell in (column[n - 1] for column in columns)):
        n -= 1
    return columns if n == full else [column[:n] for column in columns]


def _find_cell(path: Path, layout: _Layout, row: int, column: int) -> str:
    """Return the text of a cell."""
    with open_text(path, layout.encoding) as stream:
        skip_lines(stream, layout.start)
        records = (fields for _, fields in read_records(stream, layout.delimiter))
        return next(itertools.islice(records, row, None), [""] * layout.width)[column]


def _check_lines(stream: TextIO, layout: _Layout, path: Path) -> int:
    """Check that every row has the same number of fields; returns the number of rows."""
    skip_lines(stream, layout.start)
    rows = 0
    for number, count in count_fields(stream, layout.delimiter):
        if number < 0:
            raise DataError(f'{path}: a quoted text (") does not end before the end of the file. Correct the quotes.')
        if count != layout.width:
            raise _ragged(path, number + layout.start, count, layout.width, layout.delimiter)
        rows += 1
    return rows


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
    _refuse_other_formats(sample, path)
    top, comment = _find_top(records, options)
    before = records[top - 1][0] if top else 0
    records = records[top:]
    if comment is None:
        _check_first_lines(records, delimiter, bool(skipped), path)
        names = _names([fields for _, fields in records], options, path)
        before = before if names is None else records[0][0]
    else:
        names = comment
    part = max(1, _PART_CHARACTERS * len(sample) // sum(map(len, sample)))
    return _Layout(encoding, delimiter, names, len(names or records[0][1]), before + bool(skipped), part)


def _refuse_other_formats(sample: list[str], path: Path) -> None:
    if all(map(_SPARSE_LINE.fullmatch, sample)):
        raise DataError(
            f"{path} holds sparse rows (libsvm) such as {sample[0].strip()[:40]!r}, which tsnn does not read. Convert "
            "it to .npz: sklearn.datasets.load_svmlight_file reads it."
        )


def _find_top(records: list[tuple[int, list[str]]], options: TableOptions) -> tuple[int, list[str] | None]:
    """Return how many records of comments (#) and empty cells are on top, and the names, if a comment holds them."""
    marked = [not any(cell.strip() for cell in fields) or fields[0].lstrip().startswith("#") for _, fields in records]
    top = marked.index(False) if False in marked else 0
    if top == 0 or sum(marked) > len(marked) / 2:  # colours, hashtags
        return 0, None
    first, *last = records[top - 1][1]
    names = [first.strip().removeprefix("#").strip(), *(cell.strip() for cell in last)]
    names = names[1:] if names[0] == "" and len(names) == len(records[top][1]) + 1 else names
    below = [fields for _, fields in records[top:] if len(fields) == len(names)]
    named = len(below) == len(records) - top and all(names) and options.header != "false"
    if named and not find_header([cell.strip() for cell in below[0]], below[1:], options.missing_marks):
        return top, names
    return top, None


def _check_first_lines(records: list[tuple[int, list[str]]], delimiter: str, skipped: bool, path: Path) -> None:
    """Check that the first lines have the same number of fields; the first of all, R's header, may have one fewer."""
    first, *body = [len(fields) for _, fields in records]
    expected = first
    if len(body) > 1:
        most, times = Counter(body).most_common(1)[0]
        expected = most if times > len(body) / 2 else first
    if first not in (expected, expected - 1):
        raise DataError(
            f"{path}, line {records[0][0] + skipped}: {first} fields, but the lines below have {expected} "
            f"(delimiter {delimiter!r}). Is it a title or comment? Remove or correct this line."
        )
    for (number, fields), count in zip(records[1:], body, strict=True):
        if count != expected:
            raise _ragged(path, number + skipped, len(fields), expected, delimiter)


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


def _transposed(columns: list[Array | str], names: list[str] | None, path: Path) -> tuple[list[str], list[Array | str]]:
    """Return the names and columns of a table whose rows are features, named in the first column."""
    if len(columns) < 2 or not len(columns[0]):
        raise DataError(f"{path} has {len(columns)} columns; transposing needs a column of names, and samples.")
    rows = [cell.strip() if isinstance(cell, str) else "" for cell in columns[0]]
    return rows, [*np.array(columns[1:], dtype=object).T]
