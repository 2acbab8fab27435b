"""ARFF files and Excel sheets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from tsnn.datasets.header import find_header
from tsnn.datasets.raw import Array, TableOptions, reading, refuse_if_too_big
from tsnn.datasets.text import Table
from tsnn.errors import DataError

_ATTRIBUTE = re.compile(r"""\s*@attribute\s+('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\S+)""", re.IGNORECASE)


def read_arff(path: Path) -> Table:
    """Read a dense ARFF file."""
    import pandas as pd

    with reading(path, "an ARFF file"):
        refuse_if_too_big(6 * path.stat().st_size, path)
        with path.open(encoding="utf-8-sig") as stream:
            names = read_arff_names(stream, path)
            frame = pd.read_csv(
                stream, header=None, names=range(len(names)), na_values=["", "?"], keep_default_na=False, comment="%",
                quotechar="'", escapechar="\\", skipinitialspace=True, low_memory=False,
            )  # fmt: skip
    return Table(names, [frame[i].to_numpy() for i in frame.columns], comma=True)


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
        with reading(path, "an Excel sheet"):
            frame = pd.read_excel(path, header=None, dtype=object, engine="openpyxl")
    except ImportError as error:
        raise DataError(
            f"{path} needs the package openpyxl: pip install openpyxl. Or save the sheet as CSV with UTF-8."
        ) from error
    except KeyError as error:
        raise DataError(f"{path} is no Excel workbook: it lacks {error}. Save the sheet as CSV with UTF-8.") from error
    if not len(frame):
        raise DataError(f"{path} is empty; expected a line of column names and rows of values.")
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
    return Table(names, [_cells(body[i].tolist()) for i in frame.columns], note)


def _cells(values: list[Any]) -> Array | str:
    """Return the cells of a column as numbers if all are, else as text; the reason if they are dates."""
    if any(hasattr(value, "isoformat") for value in values):
        return "holds dates or times, which are no numbers. Turn them into numbers, or leave the column out"
    if all(isinstance(value, int | float) for value in values):
        return np.array(values, dtype=None if all(isinstance(v, int) for v in values) else np.float64)
    return np.array([None if value != value or value is None else str(value) for value in values], dtype=object)
