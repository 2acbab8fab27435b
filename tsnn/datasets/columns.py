"""Columns of a table: numbers or text, decided over all cells of a column, never by a sample."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tsnn.datasets.raw import Array
from tsnn.errors import DataError

LEVELS = 20  # a text column with more different values is no feature

_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity)", re.IGNORECASE)
_DECIMAL = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")  # 1234,5
_ENGLISH = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")  # 1,234.5
_GERMAN = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+(,\d+)?")  # 1.234,5
_GROUPED = re.compile(r"[+-]?\d{1,3}([ \u00a0\u202f'’]\d{3})+([.,]\d+)?")  # 1 234,5
_MINUS_BEHIND = re.compile(r"(\d[\d.]*,\d+|\d[\d,]*\.\d+)-")  # 5,30-
_WITH_UNIT = re.compile(
    r"([<>≤≥~≈$€£¥'\"#±]{0,2}|[A-Z]{3} )? ?[+-]?\d[\d.,]*(?:\.[-–—]+)? ?"
    r"([%‰$€£¥+*°'\"]|[^\W\d_]{1,4}(?:/[^\W\d_]{1,3})?)?"
)
_FRACTION = re.compile(r"\d+ ?/ ?\d+")
_SEVERAL_MARKS = re.compile(r"[+-]?\d+([.,'’ ]\d+){2,}")
_BRACKETS = re.compile(r"\[.*\]|\(.*\)|\{.*\}")
_MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mär|mai|okt|dez)[^\W\d_]*\.?"
_DATE = re.compile(
    r"(\d{4}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.](\d{4}|\d\d)?)([T ]\d\d?:\d\d.*)?"
    r"|(\d{1,2}\.?[ -])?" + _MONTH + r"[ -]?(\d{1,2}, ?)?['’]?(\d{4}|\d\d)"
    r"|(19|20)\d\d[-/](0[1-9]|1[0-2])|\d\d?:\d\d(:\d\d([.,]\d+)?)?( ?[ap]\.?m\.?)?",
    re.IGNORECASE,
)
_MOST = 0.75  # a target with this fraction of numbers is no mixture of labels


@dataclass(frozen=True, eq=False)
class Column:
    """A column that was understood.

    Attributes
    ----------
    name : str
        Its name.
    values : number[n] or str[n]
        Numbers (NaN where missing, if any is) or stripped text ("" where missing).
    missing : bool[n]
        Which cells are missing.
    decimal_comma : bool
        Whether its numbers are written with a decimal comma.
    """

    name: str
    values: Array
    missing: npt.NDArray[np.bool_]
    decimal_comma: bool = False

    @property
    def is_text(self) -> bool:
        """Whether it holds text."""
        return self.values.dtype.kind not in "biuf"

    @property
    def present(self) -> Array:
        """The values that are not missing."""
        return self.values[~self.missing] if self.missing.any() else self.values


def understand(name: str, values: Array, marks: frozenset[str], path: Path, *, target: bool, comma: bool) -> Column:
    """Return a column as numbers, or as stripped text.

    Parameters
    ----------
    name : str
        Its name in messages.
    values : array [n]
        Numbers; or objects, missing ones None or NaN.
    marks : frozenset of str
        Cells that stand for a missing value.
    path : Path
        The file in messages.
    target : bool
        Whether it is the column to predict: text labels may be mixed with some numbers.
    comma : bool
        Whether the comma separates columns, so that one inside a cell was quoted.

    Raises
    ------
    DataError
        Numbers are mixed with other text, or it cannot be told which numbers are meant.
    """
    if values.dtype.kind in "biuf":
        missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)
        return Column(name, values, missing)
    import pandas as pd

    codes, distinct = pd.factorize(values)  # missing values have the code -1
    texts = [_simplified(str(value).strip()) for value in distinct] + [""]
    absent = np.array([text == "" or text in marks for text in texts])
    missing = absent[codes]
    rows = np.bincount(codes + 1, minlength=len(texts))[1:]
    present = [text for text, gone in zip(texts, absent, strict=True) if not gone]
    numbers = _Numbers(present)
    if problem := numbers.problem(comma):
        raise DataError(f"{path}: column {name!r} {problem}")
    found = np.array([np.nan if gone else numbers.value(text) for text, gone in zip(texts, absent, strict=True)])
    is_number = ~np.isnan(found)
    n_numbers, n_texts = (int(rows[mask[:-1]].sum()) for mask in (is_number, ~is_number & ~absent))
    if n_texts == 0:
        return Column(name, _as_whole(found[codes], missing, texts), missing, numbers.decimal == ",")
    if n_numbers and (not target or n_numbers > _MOST * (n_numbers + n_texts)):
        row = int((~is_number & ~absent)[codes].argmax())
        raise DataError(
            f"{path}: row {row} of column {name!r} holds {str(values[row])[:40]!r}, but {n_numbers:,} cells of this "
            "column are numbers (rows counted from 0 below the header): is it missing? Correct it, add it to "
            f"data.missing_marks, or leave the column out: data.drop={name}."
        )
    if not target or len(texts) > 3:
        _refuse_disguised(name, present, path)
    texts = ["" if gone else text for text, gone in zip(texts, absent, strict=True)]
    return Column(name, np.array(texts, dtype=object)[codes], missing)


def _as_whole(values: Array, missing: npt.NDArray[np.bool_], texts: list[str]) -> Array:
    """Return whole numbers as integers, where none is missing and none is written as a fraction."""
    whole = not missing.any() and not any("." in text or "e" in text.lower() for text in texts)
    if whole and len(values) and (np.abs(values) < 2**53).all() and (values == np.rint(values)).all():
        return values.astype(np.int64)
    return values


def _refuse_disguised(name: str, texts: list[str], path: Path) -> None:
    """Refuse numbers with a unit, dates and lists: they are no categories."""
    matched = [_WITH_UNIT.fullmatch(text) for text in texts]
    units = [match for match in matched if match and any(match.groups())]
    same = len({match.groups() for match in units}) <= 2
    found = {
        "numbers with a mark or unit": [match[0] for match in units] if same and len(units) > 2 else [],
        "dates or times": [text for text in texts if _DATE.fullmatch(text)],
        "numbers with several marks": [text for text in texts if _SEVERAL_MARKS.fullmatch(text)],
        "fractions": [text for text in texts if _FRACTION.fullmatch(text)],
        "values in brackets": [text for text in texts if _BRACKETS.fullmatch(text)],
    }
    for kind, matches in found.items():
        if len(matches) > len(texts) / 2:
            raise DataError(
                f"{path}: column {name!r} holds {kind} such as {matches[0][:40]!r}. Turn them into plain numbers, or "
                f"leave the column out: data.drop={name}."
            )


def _simplified(text: str) -> str:
    """Return a number without blanks or apostrophes in it and with a plain minus in front; else the text."""
    text = text.replace("\u2212", "-") if text.startswith("\u2212") else text
    text = "-" + text[:-1] if _MINUS_BEHIND.fullmatch(text) else text
    return re.sub(r"[ \u00a0\u202f'’]", "", text) if _GROUPED.fullmatch(text) else text


class _Numbers:
    """The numbers among the different texts of a column, under one decision on decimal and thousands marks."""

    def __init__(self, texts: list[str]):
        self.plain = [text for text in texts if _PLAIN.fullmatch(text)]
        self.commas = [text for text in texts if "," in text and _has_number_form(text)]
        self.others = len(texts) - len(self.plain) - len(self.commas)
        if not self.plain and len(self.commas) <= self.others:
            self.commas = []  # text such as "3,4" among other text is text
        self.decimal, self.thousands = ".", ""
        self._truth = {text.lower() for text in texts} <= {"true", "false"}

    def problem(self, comma: bool) -> str:
        """Decide on the marks; return the end of a message if that cannot be done. ``comma``: commas were quoted."""
        commas = self.commas
        if not commas:
            return ""
        english = all(_ENGLISH.fullmatch(text) for text in commas)
        german = all(_GERMAN.fullmatch(text) or _DECIMAL.fullmatch(text) for text in commas)
        points = [text for text in self.plain if "." in text]
        if german and not english:
            if any("." in text for text in commas) and all(_GERMAN.fullmatch(text) for text in points):
                self.decimal, self.thousands = ",", "."
                return ""
            if not points and not any("." in text for text in commas):
                self.decimal = ","
                return ""
        if english and not any(len(text.lstrip("+-")) > 3 for text in self.plain if text not in points):
            certain = points or any(text.count(",") > 1 or "." in text for text in commas) or comma or self.plain
            if certain:
                self.thousands = ","
                return ""
            return (
                f"holds numbers such as {commas[0]!r}: the comma may be a decimal or a thousands mark. Write them "
                "without thousands marks and with a decimal point."
            )
        example = (points or [text for text in self.plain if len(text) > 3] or self.plain or commas)[0]
        return (
            f"mixes numbers such as {commas[0]!r} and {example!r}: the comma may be a decimal or a thousands mark. "
            "Write all of them with a decimal point and without thousands marks."
        )

    def value(self, text: str) -> float:
        """Return the number in a text, or NaN."""
        if self._truth:
            return float(text.lower() == "true")
        if "," in text and not self.commas:
            return np.nan
        plain = text.replace(self.thousands, "") if self.thousands else text
        plain = plain.replace(",", ".") if self.decimal == "," else plain
        return float(plain) if _PLAIN.fullmatch(plain) else np.nan


def _has_number_form(text: str) -> bool:
    return any(pattern.fullmatch(text) for pattern in (_DECIMAL, _ENGLISH, _GERMAN))


def refuse_thousands_points(columns: Iterable[Column], path: Path) -> None:
    """Refuse numbers such as 1.234, next to columns with decimal commas: the point may be a thousands mark."""
    columns = list(columns)
    with_comma = next((column.name for column in columns if column.decimal_comma), None)
    if with_comma is None:
        return
    for column in columns:
        if column.is_text or column.decimal_comma or column.values.dtype.kind != "f":
            continue
        size, thousandths = np.abs(column.present), np.rint(column.present * 1000)
        three_digits = (size >= 1) & (size < 1000) & (np.abs(column.present * 1000 - thousandths) < 1e-6)
        if three_digits.all() and (thousandths % 10 != 0).any():
            raise DataError(
                f"{path}: column {column.name!r} holds numbers such as {column.present[0]:.3f}, but column "
                f"{with_comma!r} has decimal commas: the point may be a thousands mark. Write all numbers with a "
                "decimal point and without thousands marks."
            )


def doubt_about_points(column: Column) -> str:
    """Return a doubt about numbers such as 950 and 1.050, whose point may be a thousands mark; else ""."""
    if column.is_text or column.values.dtype.kind != "f" or not len(values := column.present):
        return ""
    head = np.abs(values[:1000])
    for size in (head, np.abs(values)):
        whole = size == np.rint(size)
        thousandths = size[~whole] * 1000
        if not (whole.any() and len(thousandths) and size[whole].max() >= 100 and size.max() < 1000):
            return ""
        last = np.rint(thousandths)
        three = (thousandths >= 1000).all() and (np.abs(thousandths - last) < 1e-6).all()
        if not three or (last % 10 == 0).all() or (last % 125 == 0).all():
            return ""
    return (
        f"column {column.name!r} holds numbers such as {size[whole].max():.0f} and {last[0] / 1000:.3f}: if the point "
        "is a thousands mark, write them without it"
    )


def one_hot(column: Column, path: Path) -> tuple[list[Array], list[str], str]:
    """Return a column of 0 and 1 for each category, their names, and a note; missing values are a category.

    Raises
    ------
    DataError
        There are too many categories.
    """
    levels = sorted(set(column.present.tolist()))
    if len(levels) > LEVELS:
        raise DataError(
            f"{path}: column {column.name!r} holds no numbers but {len(levels):,} different values such as "
            f"{levels[0][:40]!r}; text of up to {LEVELS} different values would be one-hot encoded. Leave the column "
            f"out (data.drop={column.name}) or turn it into numbers."
        )
    arrays = [(column.values == level).astype(np.float64) for level in levels]
    names = [f"{column.name}={level}" for level in levels]
    if column.missing.any():
        arrays.append(column.missing.astype(np.float64))
        names.append(f"{column.name} missing")
    return arrays, names, ", ".join(levels)


def labels(column: Column) -> Array:
    """Return a target column as numbers or as text of NumPy's type."""
    values: Any = column.values
    return np.array(values.tolist(), dtype=str) if column.is_text else values


def doubts_about_labels(column: Column) -> list[str]:
    """Return a warning for labels that differ only in upper and lower case."""
    if not column.is_text:
        return []
    cases: dict[str, set[str]] = {}
    for label in set(column.present.tolist()):
        cases.setdefault(label.lower(), set()).add(label)
    groups = (sorted(group) for group in cases.values() if len(group) > 1)
    return [f"Labels {' and '.join(map(repr, same))} of {column.name!r} are different classes." for same in groups]
