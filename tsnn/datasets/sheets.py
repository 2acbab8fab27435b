"""ARFF files and Excel sheets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tsnn.datasets.header import find_header
from tsnn.datasets.raw import Array, TableOptions, reading, refuse_if_too_big
from tsnn.datasets.text import Table
from tsnn.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_ARFF_TEXT = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
_ATTRIBUTE = re.compile(r"""\s*@attribute\s+('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\S+)""", re.IGNORECASE)


def read_arff(path: Path) -> Table:
    """Read a dense ARFF file."""
    import pandas as pd

    with reading(path, "an ARFF file"):
        refuse_if_too_big(6 * path.stat().st_size, path)
        with path.open(encoding="utf-8-sig") as stream:
            names = read_arff_names(stream, path)
            start = stream.tell()
            quote = _check_arff_rows(iter(stream.readline, ""), len(names), path)
            stream.seek(start)
            frame = pd.read_csv(
                stream, header=None, names=range(len(names)), na_values=["", "?"], keep_default_na=False, comment="%",
                quotechar=quote, escapechar="\\", skipinitialspace=True, low_memory=False,
            )  # fmt: skip
    return Table(names, [frame[i].to_numpy() for i in frame.columns], comma=True)


def _check_arff_rows(lines: Iterable[str], width: int, path: Path) -> str:
    """Check that every row has the same number of values; returns the mark that quotes text."""
    quotes = {"'": False, '"': False}
    for number, line in enumerate(lines):
        row = line.strip()
        if not row or row.startswith("%"):
            continue
        for quote in quotes:
            quotes[quote] |= quote in row
        count = _ARFF_TEXT.sub("", row).partition("%")[0].count(",") + 1
        if count != width:
            raise DataError(
                f"{path}: line {number + 1} below @data has {count} values, expected {width} as there are attributes, "
                "separated by commas. Correct this line."
            )
    if all(quotes.values()):
        raise DataError(f"{path} quotes text with ' and with \" in its data. Use one of them.")
    return '"' if quotes['"'] else "'"


def read_arff_names(stream: Any, path: Path) -> list[str]:
    """Return the attributes of an ARFF file, and leave the stream at its data.

    Raises
    ------
    DataError
        There is no data section, or it is sparse.
    """
    names = []
    while not (line := stream.readline()).strip().lower().startswith("@data"):
        if not line:
            raise DataError(f"{path} has no @data section: it is truncated, or no ARFF file.")
        if match := _ATTRIBUTE.match(line):
            names.append(re.sub(r"\\(.)", r"\1", match[1].strip("'\"")))
    start = stream.tell()
    first = ""
    while not first and (line := stream.readline()):
        first = "" if line.startswith("%") else line.strip()
    if first.startswith("{"):
        raise DataError(f"{path} is a sparse ARFF file, which tsnn does not read. Convert it to .npz.")
    stream.seek(start)
    return names


def read_excel(path: Path, options: TableOptions) -> Table:
    """Read the first sheet of an Excel file."""
    import pandas as pd

    if unused := {"separator", "transpose"} & {*options.changed()}:
        raise DataError(f"data.{min(unused)} was set for {path}, but only text tables need it. Leave it out.")
    try:
        with reading(path, "an Excel sheet"), pd.ExcelFile(path, engine="openpyxl") as book:
            frame = _trimmed(pd.read_excel(book, header=None, dtype=object))
            sheets = list(map(str, book.sheet_names))
    except ImportError as error:
        raise DataError(
            f"{path} needs the package openpyxl: pip install openpyxl. Or save the sheet as CSV with UTF-8."
        ) from error
    except KeyError as error:
        raise DataError(f"{path} is no Excel workbook: it lacks {error}. Save the sheet as CSV with UTF-8.") from error
    if not frame.size:
        raise DataError(
            f"{path} is empty{_first_of(sheets)}; expected a line of column names and rows of values in the first "
            "sheet."
        )
    rows = [["" if pd.isna(cell) else str(cell).strip() for cell in row] for row in frame.to_numpy()[:1000].tolist()]
    headed = options.header == "true"
    if options.header == "auto":
        found = find_header(rows[0], rows[1:], options.missing_marks)
        if found is None:
            raise DataError(f"{path}: it cannot be told whether the first line holds names. Set data.header.")
        headed = found
    body = frame.iloc[1:] if headed else frame
    note = "" if headed else "; no header: columns are called 'column 0', 'column 1', ..."
    names = rows[0] if headed else [f"column {i}" for i in range(frame.shape[1])]
    warnings = (f"Only the first sheet is read{_first_of(sheets)}.",) if len(sheets) > 1 else ()
    return Table(names, [_cells(body[i].tolist()) for i in frame.columns], note, warnings=warnings)


def _first_of(sheets: list[str]) -> str:
    """Return which sheets there are, if there are several."""
    return f" ({sheets[0]!r} of {', '.join(map(repr, sheets))})" if len(sheets) > 1 else ""


def _trimmed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a sheet without empty rows above and below its cells."""
    frame = frame.mask(frame.map(lambda cell: isinstance(cell, str) and not cell.strip()))
    filled = frame.notna().any(axis=1).to_numpy().nonzero()[0]
    return frame.iloc[filled[0] : filled[-1] + 1] if len(filled) else frame.iloc[:0]


def _cells(values: list[Any]) -> Array | str:
    """Return the cells of a column as numbers if all are, else as text; the reason if they are dates."""
    if any(hasattr(value, "isoformat") for value in values):
        return "holds dates or times, which are no numbers. Turn them into numbers, or leave the column out"
    if all(isinstance(value, int | float) for value in values):
        return np.array(values, dtype=None if all(isinstance(v, int) for v in values) else np.float64)
    return np.array([None if value != value or value is None else str(value) for value in values], dtype=object)
