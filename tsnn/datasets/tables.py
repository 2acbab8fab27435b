"""Tables: files of features and a column to predict, from any of several formats to numbers.

Each column is understood on its own (:mod:`tsnn.datasets.columns`); columns that would leak the answer are dropped with
a warning (:mod:`tsnn.datasets.leaks`).
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tsnn.datasets.columns import Column, doubts_about_labels, labels, one_hot, refuse_thousands_points, understand
from tsnn.datasets.leaks import (
    copies_of_target,
    doubt,
    doubt_about_choice,
    from_one_hot,
    one_hot_partners,
    reason_to_drop,
)
from tsnn.datasets.lines import COMPRESSED_SUFFIXES
from tsnn.datasets.opening import open_table
from tsnn.datasets.raw import Array, ColumnInfo, RawData, TableOptions
from tsnn.datasets.text import Table
from tsnn.errors import DataError

Bools = npt.NDArray[np.bool_]

FILLED = "Missing values ({:,}) are filled: numbers with the median of the training part, text by a category."


def read_table(path: Path, target: str | None, options: TableOptions | None = None) -> RawData:
    """Read a table: one column is the target, the others are features.

    Parameters
    ----------
    path : Path
        Delimited text, compressed or not; .parquet, .feather, .arff, .xlsx; a folder of Parquet files.
    target : str or None
        Name of the column to predict; None for the last one.
    options : TableOptions, optional
        How to read it.

    Raises
    ------
    DataError
        The file is missing, damaged or too big, has no such column, or holds cells that are no numbers or categories.
    """
    options = options or TableOptions()
    table = open_table(path, options)
    return _Reading(path, options, table).result(target)


def understand_table(path: Path, options: TableOptions, table: Table, target: str) -> RawData:
    """Return features and target of some columns of a table; there may be no features among them."""
    return _Reading(path, options, table, partial=True).result(target)


def read_columns(path: Path, options: TableOptions, target: str = "") -> tuple[list[str], Callable[[str], Array]]:
    """Read a table that needs no target, to predict; columns are understood when their values are asked for.

    Parameters
    ----------
    path, options
        See :func:`read_table`; no column is dropped.
    target : str
        Name of a column that may be the target.

    Returns
    -------
    names : list of str
        The columns; without a header they are called ``column 0``, ``column 1``, ...
    values : callable
        Returns a column [n] by its name: numbers, NaN where missing, or text, None where missing.
    """
    return columns_of(path, options, open_table(path, options), target)


def columns_of(
    path: Path, options: TableOptions, read: Table, target: str = ""
) -> tuple[list[str], Callable[[str], Array]]:  # fmt: skip
    """Return the columns of a table that was read, as :func:`read_columns` does."""
    table = _Reading(path, options, read)
    table._name_columns()
    places = {name: i for i, name in enumerate(table.names)}

    def values(name: str) -> Array:
        column = table._understand(places[name], name == target)
        if not column.is_text or not column.missing.any():
            return column.values
        cells = column.values.astype(object)
        cells[column.missing] = None
        return cells

    return table.names, values


@dataclass
class _Reading:
    """Steps from the columns of a file to features and target, with warnings and reports of columns."""

    path: Path
    options: TableOptions
    table: Table
    partial: bool = False
    warnings: list[str] = field(default_factory=list)
    infos: dict[int, ColumnInfo] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    def result(self, target: str | None) -> RawData:
        """Return features and target."""
        self.warnings += self.table.warnings
        self._name_columns()
        kept = self._without_dropped(target)
        n_rows = len(next((column for column in self.table.columns if not isinstance(column, str)), ()))
        if n_rows == 0 or len(kept) < 2:
            raise DataError(
                f"{self.path} has {n_rows} rows and {len(kept)} columns; expected rows, at least one column of "
                "features and one to predict. Columns of text are separated by comma, semicolon, tab, pipe or blanks: "
                "see data.separator."
            )
        chosen = self._find_target(target, kept)
        columns = {i: self._understand(i, i == chosen) for i in kept}
        refuse_thousands_points(columns.values(), self.path)
        if target is None:
            self.warnings += doubt_about_choice(columns, chosen, headed=not self.table.note)
        answer = self._take_target(columns, chosen, whole=target is None)
        self.warnings += doubts_about_labels(answer)
        columns = self._drop_leaks(columns, answer)
        rows = self._complete_rows(columns, answer)
        stems = self.path.name.removesuffix(self.path.suffix) if self.path.suffix in COMPRESSED_SUFFIXES else ""
        x, names = self._assemble(columns, rows)
        note = "last column" if target is None else "column"
        return RawData(
            Path(stems).stem or self.path.stem,
            x,
            labels(answer if rows is None else _rows(answer, rows)),
            None,
            None,
            f"{self.path.name}, target: {note} {answer.name!r}{self.table.note}",
            feature_names=tuple(names),
            warnings=tuple(self.warnings),
            columns=tuple(self.infos[i] for i in sorted(self.infos)),
        )

    def _name_columns(self) -> None:
        names = [" ".join(name.split()) for name in self.table.names]
        self.names = [name or f"column {i}" for i, name in enumerate(names)]
        if twice := [name for name, times in Counter(self.names).items() if times > 1]:
            places = [str(i) for i, name in enumerate(self.names) if name == twice[0]]
            raise DataError(
                f"{self.path} has {len(places)} columns called {twice[0]!r} (columns {', '.join(places)}, counted from "
                "0). Give each column a name of its own."
            )

    def _find(self, name: str, what: str) -> int:
        """Return the position of a column."""
        name = " ".join(name.split())
        if name not in self.names:
            near = difflib.get_close_matches(name, self.names, n=1)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            known = ", ".join(self.names[:20]) + (", ..." if len(self.names) > 20 else "")
            raise DataError(f"{self.path} has no column {name!r}{what}. {hint}Its columns: {known}.")
        return self.names.index(name)

    def _without_dropped(self, target: str | None) -> list[int]:
        dropped = {self._find(name, " to drop"): "data.drop" for name in self.options.drop}
        if index := sorted(self.table.index_columns - {target}):
            dropped |= {self.names.index(name): "the index of the DataFrame" for name in index}
            self.warnings.append(f"The index of the DataFrame is no feature: {', '.join(map(repr, index))}.")
        for i, reason in dropped.items():
            self.infos[i] = ColumnInfo(self.names[i], "dropped", 0, reason)
        return [i for i in range(len(self.names)) if i not in dropped]

    def _find_target(self, target: str | None, kept: list[int]) -> int:
        last = len(kept) - 1
        while last > 1 and self._is_nothing(kept[last]):
            last -= 1  # lines end with delimiters
        chosen = kept[last] if target is None else self._find(target, "")
        if chosen not in kept:
            raise DataError(f"{self.path}: column {target!r} is the one to predict; it cannot be in data.drop as well.")
        return chosen

    def _is_nothing(self, i: int) -> bool:
        """Return whether a column has neither name nor values."""
        return not self.table.names[i].strip() and bool(self._understand(i, False).missing.all())

    def _understand(self, i: int, is_target: bool) -> Column:
        values, name = self.table.columns[i], self.names[i]
        if isinstance(values, str):
            raise DataError(f"{self.path}: column {name!r} {values}: data.drop={name}.")
        marks = frozenset(self.options.missing_marks)
        return understand(name, values, marks, self.path, target=is_target, comma=self.table.comma)

    def _take_target(self, columns: dict[int, Column], chosen: int, *, whole: bool) -> Column:
        """Remove the target from the columns, and with it the others of a one-hot form, which it means if ``whole``."""
        partners = one_hot_partners(columns, chosen)
        answer = columns[chosen] if not (partners and whole) else from_one_hot([columns[i] for i in partners])
        for i in partners or [chosen]:
            info = columns.pop(i)
            kind, note = ("target", "") if i == chosen or whole else ("dropped", "one-hot, together with the target")
            self.infos[i] = ColumnInfo(info.name, kind, int(info.missing.sum()), note)
        if partners:
            names = ", ".join(repr(self.names[i]) for i in partners)
            what = "are taken as one target" if whole else "are no features of each other, and were dropped"
            self.warnings.append(f"Columns {names} hold a single 1 in each row: they {what}.")
        return answer

    def _drop_leaks(self, columns: dict[int, Column], answer: Column) -> dict[int, Column]:
        """Drop ids, row counters and copies of the target, with a warning for each reason."""
        first, headed = min(columns), not self.table.note
        reasons: dict[int, str] = {}
        for i, column in columns.items():
            unnamed = not self.table.names[i].strip()
            if reason := reason_to_drop(column, unnamed=unnamed, is_first=i == first, headed=headed):
                reasons[i] = reason
        rest = [i for i in columns if i not in reasons]
        for position in copies_of_target([columns[i] for i in rest], answer):
            reasons[rest[position]] = f"a copy of the target {answer.name!r}"
        for i, reason in sorted(reasons.items()):
            self.infos[i] = ColumnInfo(columns[i].name, "dropped", int(columns[i].missing.sum()), reason)
        for reason in dict.fromkeys(reasons.values()):
            names = [repr(columns[i].name) for i in sorted(reasons) if reasons[i] == reason]
            listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            self.warnings.append(f"Column {listed} is no feature and was dropped: {reason}.")
        features = {i: column for i, column in columns.items() if i not in reasons}
        if not features and not self.partial:
            raise DataError(f"{self.path} has no column of features left. {' '.join(self.warnings)}")
        found = (doubt(column, answer, is_first=i == first, headed=headed) for i, column in features.items())
        doubts = [text for text in found if text]
        self.warnings += [text[0].upper() + text[1:] + "." for text in doubts[:5]]
        return features

    def _complete_rows(self, features: dict[int, Column], answer: Column) -> Bools | None:
        """Return the rows to keep, None for all; missing values are refused if that is the setting."""
        incomplete = {i: column for i, column in features.items() if column.missing.any()}
        counted = [*incomplete.values(), *([answer] if answer.missing.any() else [])]
        if not counted:
            return None
        if self.options.missing == "refuse":
            raise DataError(self._missing_message(counted))
        gone = answer.missing.copy()
        if self.options.missing == "drop_rows":
            for column in counted:
                gone |= column.missing
        if gone.all():
            worst = max(counted, key=lambda column: int(column.missing.sum()))
            raise DataError(
                f"{self.path}: no row is complete; column {worst.name!r} lacks {int(worst.missing.sum()):,} of "
                f"{len(gone):,} values. Leave it out: data.drop={worst.name}, or set data.missing=fill."
            )
        if n := int(gone.sum()):
            what = "missing values" if self.options.missing == "drop_rows" else "a missing target"
            self.warnings.append(f"{n:,} of {len(gone):,} rows with {what} were dropped.")
        if n := int(sum((column.missing & ~gone).sum() for column in incomplete.values())):
            self.warnings.append(FILLED.format(n))
        return ~gone

    def _missing_message(self, columns: list[Column]) -> str:
        count = sum(int(column.missing.sum()) for column in columns)
        first = min(columns, key=lambda column: int(column.missing.argmax()))
        row = int(first.missing.argmax())
        text = self.table.cell(row, self.names.index(first.name)) if self.table.cell else None
        holds = " is empty" if text is None or not text.strip() else f" holds {text.strip()[:40]!r}"
        start = f"{count:,} values are missing, the first" if count > 1 else "1 value is missing"
        return (
            f"{self.path}: {start}: row {row} of column {first.name!r}{holds} (rows counted from 0 below the header; "
            "data.missing_marks lists the cells that count as missing). Fill them, or set data.missing=drop_rows to "
            "leave these rows out, or data.missing=fill."
        )

    def _assemble(self, features: dict[int, Column], rows: Bools | None) -> tuple[Array, list[str]]:
        """Return the features, one array from their columns, which are forgotten on the way to save memory."""
        arrays: list[Array] = []
        names: list[str] = []
        for i in list(features):
            column = features.pop(i)
            self.table.columns[i] = ""
            part = column if rows is None else _rows(column, rows)
            missing = int(column.missing.sum())
            if column.is_text:
                made, made_names, note = one_hot(part, self.path)
                arrays += made
                names += made_names
                self.infos[i] = ColumnInfo(column.name, "category", missing, note)
            else:
                arrays.append(part.values)
                names.append(column.name)
                self.infos[i] = ColumnInfo(column.name, "number", missing)
        if not arrays:
            return np.zeros((len(self.table.columns[0]), 0)), names
        x = np.empty((len(arrays[0]), len(arrays)), np.result_type(*arrays))
        for j in reversed(range(len(arrays))):
            x[:, j] = arrays.pop()
        return x, names


def _rows(column: Column, rows: Bools) -> Column:
    return Column(column.name, column.values[rows], column.missing[rows])
