"""Header of a text table: whether the first line holds names or values, by the cells below."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tsnn.datasets.raw import Array

_SHORT = 5  # fewer numbers may be in a row by chance


class _NumberColumn(NamedTuple):
    """First cell of a column whose other cells are numbers: its value (NaN if it is none), and the cells below."""

    cell: str
    value: float
    below: Array

    @property
    def is_inside(self) -> bool:
        """Whether the first value lies in the range of the others, or at most one step away from it."""
        step = float(np.abs(np.diff(self.below)).max(initial=0))
        return bool(self.below.min() - step <= self.value <= self.below.max() + step)

    @property
    def is_coarse(self) -> bool:
        """Whether the first cell is a whole number and the others are not."""
        return self.cell.lstrip("+-").isdigit() and bool((self.below != np.rint(self.below)).any())


def find_header(first: Sequence[str], rows: Sequence[Sequence[str]], marks: Sequence[str]) -> bool | None:
    """Return whether the first line of a table holds the names of its columns; None if it cannot be told.

    Parameters
    ----------
    first : sequence of str
        Cells of the first line.
    rows : sequence of sequences of str
        Lines below, each of the same length.
    marks : sequence of str
        Cells that stand for a missing value, in addition to empty ones.
    """
    missing = {"", *marks}
    numbers: list[_NumberColumn] = []
    texts: list[bool] = []  # of columns of text: whether the first cell occurs below
    number_above_text = new_above_repeated = False
    for j, raw in enumerate(first):
        cell = raw.strip()
        below = [text for row in rows if (text := row[j].strip()) not in missing]
        values = np.array([as_number(text) for text in below])
        if len(values) and np.isfinite(values).mean() > 0.5:
            numbers.append(_NumberColumn(cell, as_number(cell), values[np.isfinite(values)]))
        elif below:
            texts.append(cell in below)
            new_above_repeated |= cell not in below and min(Counter(below).values()) > 1
            number_above_text |= math.isfinite(as_number(cell)) and not np.isfinite(values).any()
    if not numbers:
        return not any(texts)
    known = [column for column in numbers if column.cell not in missing or not column.cell]
    names = [column for column in known if not math.isfinite(column.value)]
    if len(names) == len(known):
        if any(column.cell for column in names):
            return True
        return not any(texts)  # only empty or missing cells above numbers
    values_above = [column for column in numbers if math.isfinite(column.value)]
    inside = sum(column.is_inside for column in values_above) >= len(values_above) / 2
    if names and any(column.cell for column in names):  # names such as id, 2019, 2020; or values and a stray text
        sure = len(names) >= len(known) / 2 or not inside or _are_even(values_above) or _are_coarse(values_above)
        return True if sure else None
    if number_above_text or any(texts):
        return number_above_text
    if new_above_repeated:
        return True if not inside or _are_increasing([column.value for column in values_above]) else None
    return _numbers_are_names(values_above, inside, alone=not texts)


def _numbers_are_names(columns: list[_NumberColumn], inside: bool, *, alone: bool) -> bool | None:
    """Return whether a line of numbers above numbers holds names; ``alone`` if the table has no column of text."""
    values = [column.value for column in columns]
    n = len(values)
    if len(columns[0].below) < 2:
        return False
    coarse = _are_coarse(columns)
    if values in (list(range(n)), list(range(1, n + 1))) and n > 1:
        return True if n >= _SHORT or coarse or not inside else (None if alone else False)
    increasing = _are_increasing(values)
    if inside:
        if not increasing or n < _SHORT or _are_increasing([float(column.below[0]) for column in columns]):
            return False
        return True if _are_even(columns) else None
    sure = n >= _SHORT or (n > 2 and not any(column.is_inside for column in columns))
    if increasing and sure:
        return True
    return None if alone else False


def _are_increasing(values: list[float]) -> bool:
    return len(values) > 1 and all(a < b for a, b in pairwise(values))


def _are_even(columns: list[_NumberColumn]) -> bool:
    """Return whether the first cells are three or more numbers at equal distances, such as 2019, 2020, 2021."""
    values = [column.value for column in columns]
    steps = {b - a for a, b in pairwise(values)}
    return len(values) >= 3 and len(steps) == 1 and min(steps) > 0


def _are_coarse(columns: list[_NumberColumn]) -> bool:
    return sum(column.is_coarse for column in columns) > len(columns) / 2


def as_number(text: str) -> float:
    """Return the number in a cell, with a comma as decimal or thousands mark; NaN if it holds none."""
    try:
        return float(text)
    except ValueError:
        if "," not in text:
            return math.nan
    for candidate in (text.replace(",", "."), text.replace(",", ""), text.replace(".", "").replace(",", ".")):
        try:
            return float(candidate)
        except ValueError:
            continue
    return math.nan


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
