"""Tables: .csv, .tsv and .parquet files of features and a column to predict.

Sizes are compared with the free memory before anything is allocated.
"""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from tsnn.datasets.raw import Array, RawData, reading, refuse_if_too_big
from tsnn.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

PARQUET_SUFFIXES = (".parquet", ".pq")

_ONE_HOT_LEVELS = 20  # a text column with more different values is refused


def read_table(path: Path, target: str | None) -> RawData:
    """Read a .csv, .tsv or .parquet file: one column is the target, the others are features.

    Parameters
    ----------
    path : Path
        Parquet if its suffix is one of ``PARQUET_SUFFIXES``, else delimited text.
    target : str or None
        Name of the column to predict; None for the last one.

    Raises
    ------
    DataError
        The file is missing, damaged or too big, has no such column, missing values, or text that is no category.
    """
    frame = _frame(path)
    if len(frame) == 0 or frame.shape[1] < 2:
        raise DataError(
            f"{path} has {len(frame)} rows and {frame.shape[1]} columns; expected rows, at least one column "
            "of features and one to predict. Columns are separated by comma, semicolon or tab."
        )
    chosen = frame.columns[-1] if target is None else target
    if chosen not in frame.columns:
        near = difflib.get_close_matches(chosen, frame.columns, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        names = ", ".join(frame.columns[:20]) + (", ..." if frame.shape[1] > 20 else "")
        raise DataError(f"{path} has no column {chosen!r}. {hint}Its columns: {names}.")
    _refuse_missing(frame, path)
    labels = frame.pop(chosen)
    y = labels.to_numpy() if labels.dtype.kind in "biuf" else np.array(labels.astype(str).tolist(), dtype=str)
    x, features = _features(frame, path)
    source = f"{path.name}, target: {'last column' if target is None else 'column'} {chosen!r}"
    return RawData(path.stem, x, y, None, None, source, feature_names=features, target_name=str(chosen))


def read_columns(path: Path) -> tuple[list[str], Callable[[str], Array]]:
    """Read a table of which no column is the target.

    Returns
    -------
    names : list of str
        The columns; without a header they are called ``column 0``, ``column 1``, ...
    values : callable
        Returns a column [n] by its name: numbers, NaN where missing, or objects, None or NaN where missing.
    """
    frame = _frame(path)

    def values(name: str) -> Array:
        column = frame[name]
        plain = isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf"
        return column.to_numpy() if plain else column.to_numpy(dtype=object)

    return frame.columns.tolist(), values


def _frame(path: Path) -> pd.DataFrame:
    frame = _parquet_frame(path) if path.suffix.lower() in PARQUET_SUFFIXES else _csv_frame(path)
    frame.columns = frame.columns.map(str)
    return frame


def _refuse_missing(frame: pd.DataFrame, path: Path) -> None:
    missing = frame.isna().to_numpy()
    if count := int(missing.sum()):
        row, column = divmod(int(missing.argmax()), missing.shape[1])
        raise DataError(
            f"{path}: {count:,} values are missing, the first at row {row}, column {frame.columns[column]!r} "
            "(rows counted from 0 below the header). Fill them, or leave these rows out."
        )


def _features(frame: pd.DataFrame, path: Path) -> tuple[Array, tuple[str, ...]]:
    """Return [n, features] and their names; a text column becomes one column of 0 and 1 per value."""
    if all_numbers(frame):
        plain = all(isinstance(dtype, np.dtype) for dtype in frame.dtypes)
        dtype = np.result_type(*frame.dtypes) if plain else np.dtype(np.float64)
        return frame.to_numpy(dtype=dtype), tuple(frame.columns)
    columns: list[Array] = []
    names: list[str] = []
    for name, series in frame.items():
        if series.dtype.kind in "biuf":
            columns.append(series.to_numpy(dtype=np.float64))
            names.append(str(name))
            continue
        text = np.array(series.astype(str).tolist(), dtype=str)
        levels = sorted(set(text.tolist()))
        if series.dtype.kind in "mM" or len(levels) > _ONE_HOT_LEVELS:
            example = next((level for level in levels if not _is_number(level)), levels[0])
            raise DataError(
                f"{path}: column {name!r} holds no numbers but {len(levels):,} different values such as "
                f"{example[:40]!r}; text of up to {_ONE_HOT_LEVELS} different values would be one-hot "
                "encoded. Leave the column out or turn it into numbers."
            )
        columns += [(text == level).astype(np.float64) for level in levels]
        names += [f"{name}={level}" for level in levels]
    return np.column_stack(columns), tuple(names)


def all_numbers(frame: pd.DataFrame) -> bool:
    """Return whether every column holds numbers or booleans."""
    return all(dtype.kind in "biuf" for dtype in frame.dtypes)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def open_parquet(path: Path) -> Any:
    """Return a pyarrow ParquetFile, after checking that its table fits into memory."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    refuse_if_too_big(12 * file.metadata.num_rows * file.metadata.num_columns, path)
    return file


def _parquet_frame(path: Path) -> pd.DataFrame:
    with reading(path, "a Parquet file"):
        frame: pd.DataFrame = open_parquet(path).read().to_pandas()
    return frame


def _csv_frame(path: Path) -> pd.DataFrame:
    """Read delimited text: comma, semicolon or tab; BOM, CRLF and quotes understood; ragged lines refused."""
    import pandas as pd

    with reading(path, "a table"):
        refuse_if_too_big(6 * path.stat().st_size, path)
        with path.open("rb") as raw:
            encoding = "utf-16" if raw.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        with path.open(encoding=encoding, newline="") as stream:
            first = next((line for line in stream if line.strip()), "")
            delimiter = _delimiter(first)
            stream.seek(0)
            head = _check_lines(stream, delimiter, path)
        # Where the semicolon separates columns, the comma is often the decimal point.
        comma = delimiter == ";" and any(re.fullmatch(r"-?\d+,\d+", cell) for row in head for cell in row)
        values = [cell.replace(",", ".") if comma else cell for cell in head[0]]
        headed = not all(map(_is_number, values)) or values == [str(i) for i in range(len(values))]
        frame = pd.read_csv(
            path,
            sep=delimiter,
            encoding=encoding,
            decimal="," if comma else ".",
            header=0 if headed else None,
            index_col=False,
            low_memory=False,
            skipinitialspace=True,
        )
    return frame if headed else frame.rename(columns=lambda i: f"column {i}")


def _delimiter(first: str) -> str:
    """Return the delimiter of this line: the one of comma, semicolon and tab that gives the most columns."""
    if ";" in first and re.fullmatch(r"""[-+\d\s.,;'"eE]+""", first):
        return ";"  # numbers with decimal commas
    return max("\t;,", key=lambda mark: len(next(csv.reader([first], delimiter=mark), [])))


def _check_lines(stream: IO[str], delimiter: str, path: Path) -> list[list[str]]:
    """Check that every line has as many fields as the first; return the first hundred lines, split."""
    reader = csv.reader(stream, delimiter=delimiter, skipinitialspace=True)
    head: list[list[str]] = []
    try:
        for row in reader:
            if row and head and len(row) != len(head[0]):
                raise DataError(
                    f"{path}, line {reader.line_num}: {len(row)} fields, expected {len(head[0])} as in the "
                    f"first line (delimiter {delimiter!r}). Correct this line."
                )
            if row and len(head) < 100:
                head.append(row)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}. Correct this line.") from error
    if not head:
        raise DataError(f"{path} is empty; expected a line of column names and rows of values.")
    return head
