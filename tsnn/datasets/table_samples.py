"""New samples from tables: columns matched with the features of a training, by name or by position."""

from __future__ import annotations

import contextlib
import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from tsnn.datasets.arrow import PARQUET_SUFFIXES, LargeParquet
from tsnn.datasets.raw import Array, TableOptions
from tsnn.datasets.tables import columns_of, read_columns
from tsnn.datasets.unpacked import Unpacked, unpack_once
from tsnn.errors import DataError

_LISTED = 5  # names in a message
_MISSING = " missing"  # ends the name of the feature of a column's missing values
_UNNAMED = re.compile(r"column \d+")  # columns of a table without a header


@dataclass(frozen=True)
class Trained:
    """Description of the samples that a network was trained on.

    Attributes
    ----------
    n_features : int
        Number of features.
    feature_names : tuple of str
        One for each, ``column=level`` where a column of text was one-hot encoded; or empty.
    target : str
        Name of the column that was predicted, or empty.
    medians : float64[n_features], or None
        Fill the missing values of features; None: missing values are refused.
    options : TableOptions
        How tables are read.
    """

    n_features: int
    feature_names: tuple[str, ...] = ()
    target: str = ""
    medians: Array | None = None
    options: TableOptions = field(default_factory=TableOptions)


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples to predict.

    Attributes
    ----------
    x : number[n, n_features]
        Finite; in the order of the training, not scaled.
    y : [n] or [n, outputs], or None
        Targets as the file stores them, if it has some.
    class_names : tuple of str
        Names of the integer labels 0, 1, 2, ...; empty where the file has none.
    notes : list of str
        Sentences about columns that are not used, or taken by position.
    """

    x: Array
    y: Array | None = None
    class_names: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)


def samples_from_table(path: Path, trained: Trained) -> Samples:
    """Read the features of a training from a table, and the target if it has one.

    Parameters and errors: see :func:`tsnn.datasets.samples.read_samples`. Features of a Parquet table that takes more
    memory than ``trained.options.budget`` stay on the disk, in an unpacked copy.
    """
    is_parquet = path.suffix.lower() in PARQUET_SUFFIXES or path.is_dir()
    parquet = LargeParquet(path) if is_parquet and trained.options.budget < float("inf") else None
    if parquet is None or 12 * parquet.rows * len(parquet.names) <= trained.options.budget:
        return _from_columns(path, *_columns(path, trained), trained)
    key = json.dumps(["predict", trained.n_features, trained.feature_names, trained.target, trained.medians is None])
    x, facts = unpack_once(path, key, lambda folder: _unpacked(parquet, trained))
    y, options = None, replace(trained.options, drop=())
    if named := str(facts["target"]):
        y = columns_of(path, options, parquet.read([named]), trained.target)[1](named)
    return Samples(cast(Array, x), y, (), facts["notes"].tolist())


def _unpacked(parquet: LargeParquet, trained: Trained) -> Unpacked:
    """Return the features of a Parquet table row by row."""
    facts: dict[str, Array] = {"notes": np.array([], str), "target": np.array("")}

    def blocks() -> Iterator[Array]:
        start, options = 0, replace(trained.options, drop=())
        for table in parquet.batches():
            names, values = columns_of(parquet.path, options, table, trained.target)
            n = len(values(names[0]))
            try:
                part = _from_columns(parquet.path, names, values, trained)
            except DataError as error:
                raise DataError(f"Of rows {start + 1:,} to {start + n:,}, counted from there: {error}") from error
            if part.y is not None:
                facts["target"] = np.array(trained.target if trained.target in names else names[-1])
            facts["notes"] = np.array(part.notes, str)
            start += n
            yield part.x

    return Unpacked((parquet.rows, trained.n_features), np.dtype(np.float64), blocks(), facts)


def _from_columns(path: Path, names: list[str], values: Callable[[str], Array], trained: Trained) -> Samples:
    if not names or not len(values(names[0])):
        raise DataError(f"{path} has no rows. Give at least one.")
    if trained.feature_names and not _is_unnamed(names, trained):
        return _by_name(path, names, values, trained)
    width = len(names)
    if width not in (trained.n_features, trained.n_features + 1):
        reason = "the file has no header" if trained.feature_names else "the training had no names"
        raise DataError(
            f"{path} has {width:,} columns; the run was trained on {trained.n_features:,} features, and columns can be "
            f"matched by position only, because {reason}."
        )
    notes = ["Columns are taken in order: there are no names to match."]
    y = None
    if width > trained.n_features:
        y = values(names[-1])
        notes.append(f"The last column, {names[-1]!r}, is taken as the target.")
    x = np.column_stack([_numbers(name, values(name), path, trained) for name in names[: trained.n_features]])
    return Samples(x, y, (), notes)


def _columns(path: Path, trained: Trained) -> tuple[list[str], Callable[[str], Array]]:
    """Read a table; its first line is the header if it holds the names of the training."""
    options = replace(trained.options, drop=())
    if trained.feature_names and options.header == "auto" and not all(map(_UNNAMED.fullmatch, trained.feature_names)):
        with contextlib.suppress(DataError):  # formats without such a line
            names, values = read_columns(path, replace(options, header="true"), trained.target)
            present = set(names)
            if all(_source(name, present) for name in trained.feature_names):
                return names, values
    return read_columns(path, options, trained.target)


def _is_unnamed(names: Sequence[str], trained: Trained) -> bool:
    """Return whether a table has no header, and its columns are not those of a training without one."""
    return all(map(_UNNAMED.fullmatch, names)) and not set(trained.feature_names) <= set(names)


def _by_name(path: Path, names: Sequence[str], values: Callable[[str], Array], trained: Trained) -> Samples:
    columns = set(names)
    sources = [_source(name, columns) for name in trained.feature_names]
    absent = [name for name, source in zip(trained.feature_names, sources, strict=True) if source is None]
    refuse_absent(absent, names, path, trained)
    x = np.zeros((len(values(names[0])), trained.n_features), order="F")
    levels: dict[str, dict[str, int]] = {}
    for i, (column, level) in enumerate(source for source in sources if source is not None):
        if level is None:
            x[:, i] = _numbers(column, values(column), path, trained)
        else:
            levels.setdefault(column, {})[level] = i
    for column, places in levels.items():
        _encode(column, values(column), path, places, x)
    unused = columns - {source[0] for source in sources if source}
    y = values(trained.target) if trained.target in unused else None
    return Samples(x, y, (), note_unused(unused - {trained.target}))


def _source(name: str, columns: set[str]) -> tuple[str, str | None] | None:
    """Return the column of a feature, and its level if the column was one-hot encoded; None without such a column."""
    if name in columns:
        return name, None
    if name.endswith(_MISSING) and name.removesuffix(_MISSING) in columns:
        return name.removesuffix(_MISSING), ""
    marks = [i for i, letter in enumerate(name) if letter == "="]
    return next(((name[:i], name[i + 1 :]) for i in reversed(marks) if name[:i] in columns), None)


def _numbers(name: str, values: Array, path: Path, trained: Trained) -> npt.NDArray[np.float64]:
    """Return a column of numbers; anything else is an error that names the first cell."""
    if trained.medians is None:
        _refuse_missing(name, values, path)
    if values.dtype.kind in "biuf":
        return values.astype(np.float64)
    row = next((row for row, value in enumerate(values.tolist()) if not _is_number(value)), None)
    if row is None:  # decimals, for example
        return np.array(list(map(float, values.tolist())))
    raise DataError(
        f"{_cell(path, row, name)} holds {str(values[row])[:40]!r}; the run was trained on numbers there. Correct it."
    )


def _encode(name: str, values: Array, path: Path, places: Mapping[str, int], x: npt.NDArray[np.float64]) -> None:
    """Set the features of one column's levels to 1 where the column holds them; ``""`` is that of missing values."""
    if "" not in places:
        _refuse_missing(name, values, path)
    missing = _is_missing(values)
    texts = ["" if gone else _level(value, places) for value, gone in zip(values.tolist(), missing, strict=True)]
    unknown = [row for row, text in enumerate(texts) if text not in places]
    if unknown:
        more = f" (and {len(unknown) - 1:,} more rows hold unknown values)" if len(unknown) > 1 else ""
        raise DataError(
            f"{_cell(path, unknown[0], name)} holds {texts[unknown[0]][:40]!r}{more}; the run was trained on "
            f"{_listed(sorted(filter(None, places)))} there. Correct it, or leave the row out."
        )
    x[np.arange(len(texts)), [places[text] for text in texts]] = 1


def _level(value: Any, places: Mapping[str, int]) -> str:
    """Return the text of a value, as it was when the levels of the training were read."""
    text = str(value).strip()
    if text not in places and isinstance(value, float) and value.is_integer():
        return str(int(value))
    return text


def _refuse_missing(name: str, values: Array, path: Path) -> None:
    missing = _is_missing(values)
    if missing.any():
        more = f" ({int(missing.sum()):,} in this column)" if missing.sum() > 1 else ""
        raise DataError(f"{_cell(path, int(missing.argmax()), name)} is missing{more}. Fill it, or leave the row out.")


def _is_missing(values: Array) -> npt.NDArray[np.bool_]:
    if values.dtype.kind == "O":
        missing = [value is None or value != value or type(value).__name__ == "NAType" for value in values.tolist()]
        return np.array(missing, dtype=bool)
    return np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)


def _cell(path: Path, row: int, name: str) -> str:
    return f"{path}: row {row + 1} (counted from 1, without the header) of column {name!r}"


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


# --- messages ----------------------------------------------------------------------------------------


def refuse_absent(absent: Sequence[str], names: Sequence[str], file: object, trained: Trained) -> None:
    """Raise a DataError if features of the training are absent from a file with these columns."""
    if not absent:
        return
    near = difflib.get_close_matches(absent[0], names[:10_000], n=1)
    hint = f" Did you mean {near[0]!r} by {absent[0]!r}?" if near else ""
    raise DataError(
        f"{file} lacks the columns of {len(absent):,} of the {trained.n_features:,} features that the run was trained "
        f"on: {_listed(absent)}. It has {_listed(names)}.{hint}"
    )


def note_unused(names: set[str]) -> list[str]:
    """Return a note on columns that are not used."""
    if not names:
        return []
    return [f"{len(names):,} column{'s are' if len(names) > 1 else ' is'} not used: {_listed(sorted(names))}."]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:_LISTED])) + (", ..." if len(names) > _LISTED else "")
