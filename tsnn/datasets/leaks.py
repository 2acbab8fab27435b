"""Columns that must not become features by accident: row counters, ids, copies of the target."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tsnn.datasets.columns import LEVELS, Column

_ID = re.compile(
    r"(?i:index|idx|row_?names?|row_?(number|no|num|id)?|uuid|guid|level_0|unnamed: ?\d+(\.\d+)*(_level_\d+)?)"
    r"|(?i:(.*[^a-z])?ids?|ids?[^a-z].*)|.*[a-z]I[dD]"
)
_FEW = 10  # rows: in fewer, numbers may count by chance
_FEW_FOR_COPIES = 4


def reason_to_drop(column: Column, *, unnamed: bool, is_first: bool, headed: bool = True) -> str:
    """Return why a column is no feature, by itself; "" if it may be one.

    Parameters
    ----------
    column : Column
        The column.
    unnamed, is_first : bool
        Whether the header gives it no name; whether it is the first one.
    headed : bool
        Whether there is a header.
    """
    present = column.present
    if not len(present):
        return "holds no values"
    different = (
        len(present) == len(set(present.tolist())) if column.is_text or unnamed or _is_id(column.name) else False
    )
    if column.is_text:
        return "text that differs in every row, such as an id" if different and len(present) > 2 else ""
    if (present != np.rint(present)).any():
        return ""
    if is_first and not headed and _counts_rows(column):
        return "a row counter"
    if unnamed and (different or is_first):
        return "unnamed whole numbers, such as an index"
    return "an id: different in every row" if different and _is_id(column.name) else ""


def doubt(column: Column, *, is_first: bool = False, headed: bool = True) -> str:
    """Return a doubt about a feature: it counts the rows, or looks like an id; "" if there is none."""
    values = column.values
    if column.is_text or len(values) < _FEW or values.dtype.kind == "b":
        return ""
    if is_first and not headed and values.dtype.kind in "iu" and len(np.unique(values)) == len(values):
        return f"column {column.name!r} differs in every row: if it is an id, set data.drop={column.name}"
    if _counts_rows(column):
        return f"column {column.name!r} counts the rows: if it is no feature, set data.drop={column.name}"
    if _is_id(column.name):
        return f"column {column.name!r} is named like an id: if it is no feature, set data.drop={column.name}"
    return ""


def copies_of_target(columns: Sequence[Column], target: Column) -> set[int]:
    """Return the positions of columns that equal the target, or divide the rows into the same few groups."""
    labels, codes = np.unique(target.values.astype(str), return_inverse=True)
    n = len(codes)
    if len(labels) < 2 or n < _FEW_FOR_COPIES:
        return set()
    if len(labels) <= min(LEVELS, n / 2):
        first = np.array([int((codes == code).argmax()) for code in range(len(labels))])
        return {i for i, column in enumerate(columns) if _same_parts(column, codes, first)}
    return {i for i, column in enumerate(columns) if np.array_equal(column.values, target.values)}


def _same_parts(column: Column, codes: npt.NDArray[np.intp], first: npt.NDArray[np.intp]) -> bool:
    values = column.values
    if values[first[codes[0]]] != values[0] or not np.array_equal(values, values[first][codes]):
        return False
    return len(set(values[first].tolist())) == len(first)


def _counts_rows(column: Column) -> bool:
    """Return whether a column counts 0, 1, 2, ... or 1, 2, 3, ..."""
    values = column.values
    if column.is_text or len(values) < 3 or values[0] not in (0, 1) or values[-1] != values[0] + len(values) - 1:
        return False
    return bool((np.diff(values.astype(np.float64)) == 1).all())


def _is_id(name: str) -> bool:
    return _ID.fullmatch(name.strip()) is not None
