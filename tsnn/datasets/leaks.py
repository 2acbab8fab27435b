"""Columns that must not become features by accident: row counters, ids, copies and parts of the target."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tsnn.datasets.columns import LEVELS, Column, doubt_about_points
from tsnn.datasets.raw import Array

_ID = re.compile(
    r"(?i:index|__index_level_\d+__|idx|row_?names?|row_?(number|no|num|id)?|uuid|guid|level_0"
    r"|unnamed: ?\d+(\.\d+)*(_level_\d+)?)"
    r"|(?i:(.*[^a-z])?ids?|ids?[^a-z].*)|.*[a-z]I[dD]"
)
_TARGETS = {"target", "label", "labels", "class", "classes", "y", "outcome"}
_FEW = 10  # rows: in fewer, numbers may count by chance
_FEW_FOR_COPIES = 4
_FEW_INDICATORS = 3  # two are copies of each other
_MOST_DIFFERENT = 0.9  # ids may repeat
_CODE = 10**7  # whole numbers from here on are rather barcodes than quantities


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


def doubt(column: Column, target: Column, *, is_first: bool = False, headed: bool = True) -> str:
    """Return a doubt about a feature: it may count the rows, name them, or come from the target; else ""."""
    name, values = column.name, column.values
    if len(values) < _FEW or values.dtype.kind == "b":
        return ""
    found = "" if column.is_text else _doubt_numbers(column, is_first=is_first, headed=headed)
    found = found or _doubt_relation(column, target)
    return f"column {name!r} {found}, set data.drop={name}" if found else doubt_about_points(column)


def _doubt_numbers(column: Column, *, is_first: bool, headed: bool) -> str:
    """Return another meaning that numbers may have than that of a quantity; else ""."""
    if _counts_rows(column):
        return "counts the rows: if it is no feature"
    if _is_id(column.name):
        return "is named like an id: if it is no feature"
    return _doubt_whole(column.values, is_first and not headed) if column.values.dtype.kind in "iu" else ""


def _doubt_whole(values: Array, leads: bool) -> str:
    """Return the same for whole numbers; ``leads`` if they come first, without a header."""
    if (values[1:] > values[:-1]).all() or (values[1:] < values[:-1]).all():
        return "goes up or down from row to row: if it is no feature"
    low, high = int(values.min()), int(values.max())
    if 19_000_101 <= low <= high <= 21_001_231 and _are_dates(values):
        return f"seems to hold dates such as {low}: if it is no feature"
    if leads and len(np.unique(values)) > _MOST_DIFFERENT * len(values):
        return "differs in every row, or nearly so: if it is an id"
    if low >= _CODE and len(str(low)) == len(str(high)) and len(np.unique(values)) == len(values):
        return f"holds long numbers such as {low}, different in every row: if it is an id or a code"
    return ""


def _are_dates(values: Array) -> bool:
    month, day = values // 100 % 100, values % 100
    return bool(((month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)).all())


def _doubt_relation(column: Column, target: Column) -> str:
    """Return how a column follows from the target, or the target from it, for all rows."""
    present = np.flatnonzero(~(column.missing | target.missing))
    for rows in _parts(present, target):
        values, answers = column.values[rows], target.values[rows]
        if len(values) < _FEW:
            return ""
        found = _relation(values, answers)
        if not found:
            return ""
    return f"{found} the target {target.name!r}: if it was made from the target"


def _relation(values: Array, answers: Array) -> str:
    """Return "determines", "follows from" or "puts the rows into the same order as", if one is true; else ""."""
    labels = len(set(answers.tolist()))
    if labels > LEVELS:
        if values.dtype.kind not in "iuf" or answers.dtype.kind not in "iuf":
            return ""
        ordered = values[np.argsort(answers, kind="stable")]
        rising, falling = (ordered[1:] >= ordered[:-1]).all(), (ordered[1:] <= ordered[:-1]).all()
        return "puts the rows into the same order as" if rising != falling else ""
    if values.dtype.kind == "f":
        return ""
    groups, pairs = len(set(values.tolist())), len(set(zip(values.tolist(), answers.tolist(), strict=True)))
    if min(groups, labels) < 2 or groups > len(values) / _FEW_FOR_COPIES:
        return ""
    return {groups: "determines", labels: "follows from"}.get(pairs, "")


def _parts(rows: Array, target: Column) -> Iterator[Array]:
    """Yield about a thousand of the rows, which tell of most columns, and all of them."""
    some = rows[:: len(rows) // 1000 + 1]
    if len(some) < len(rows) and (target.values[some] != target.values[some[0]]).any():
        yield some
    yield rows


def copies_of_target(columns: Sequence[Column], target: Column) -> set[int]:
    """Return the positions of columns that equal the target, or divide the rows into the same few groups.

    Rows in which either is missing do not count.
    """
    return {i for i, column in enumerate(columns) if _is_copy(column, target)}


def _is_copy(column: Column, target: Column) -> bool:
    present = np.flatnonzero(~(column.missing | target.missing))
    return all(_are_copies(column.values[rows], target.values[rows]) for rows in _parts(present, target))


def _are_copies(values: Array, answers: Array) -> bool:
    if len(values) < _FEW_FOR_COPIES or (answers == answers[0]).all():
        return False
    labels = set(answers.tolist())
    if len(labels) > min(LEVELS, len(values) / 2):
        return np.array_equal(values, answers)
    groups, pairs = set(values.tolist()), set(zip(values.tolist(), answers.tolist(), strict=True))
    return len(groups) == len(labels) == len(pairs)


def one_hot_partners(columns: Mapping[int, Column], chosen: int) -> list[int]:
    """Return the columns beside the target that hold, together with it, a single 1 in each row; at least three."""
    total = np.zeros(len(columns[chosen].values))
    found: list[int] = []
    for step in (-1, 1):
        i = chosen if step == -1 else chosen + 1
        while i in columns and _is_indicator(columns[i]) and (total + columns[i].values <= 1).all():
            total += columns[i].values
            found.append(i)
            i += step
            if len(found) >= _FEW_INDICATORS and (total == 1).all():
                return sorted(found)
    return []


def from_one_hot(columns: Sequence[Column]) -> Column:
    """Return one column of the names of those that hold 1."""
    names = np.array([column.name for column in columns], dtype=object)
    values = np.column_stack([column.values for column in columns]).argmax(axis=1)
    return Column(", ".join(names), names[values], np.zeros(len(values), dtype=bool))


def doubt_about_choice(columns: Mapping[int, Column], chosen: int, *, headed: bool) -> list[str]:
    """Return a warning if another column looks more like a target than the last one, which is taken by default."""
    first, last = columns[min(columns)], columns[chosen]
    if headed:
        named = [column.name for column in columns.values() if column.name.lower() in _TARGETS]
        other = "" if last.name.lower() in _TARGETS or not named else named[0]
        why = "is named like one"
    else:
        quantity = not last.is_text and len(set(last.present[:1000].tolist())) > LEVELS
        few = 1 < len(set(first.present[:1000].tolist())) <= LEVELS + 6  # letters
        likely = not last.is_text if first.is_text else quantity and first.values.dtype.kind in "iu"
        other = first.name if few and likely else ""
        why = "holds few different values"
    if not other:
        return []
    return [
        f"The last column, {last.name!r}, is taken as the target, but {other!r} {why}: if it is the one to predict, "
        f"set data.target={other}."
    ]


def _is_indicator(column: Column) -> bool:
    values = column.values
    return not column.is_text and not column.missing.any() and bool(((values == 0) | (values == 1)).all())


def _counts_rows(column: Column) -> bool:
    """Return whether a column counts 0, 1, 2, ... or 1, 2, 3, ..."""
    values = column.values
    if column.is_text or len(values) < 3 or values[0] not in (0, 1) or values[-1] != values[0] + len(values) - 1:
        return False
    return bool((np.diff(values.astype(np.float64)) == 1).all())


def _is_id(name: str) -> bool:
    return _ID.fullmatch(name.strip()) is not None
