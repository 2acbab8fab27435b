"""New samples for a trained network: the columns of a file, matched with the features that it was trained on.

:func:`read_samples` is the counterpart of :func:`tsnn.datasets.load_dataset`: nothing is split, drawn or fitted.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tsnn.datasets.archives import holds_arrays, read_features, split_last
from tsnn.datasets.large_tables import read_any_table
from tsnn.datasets.missing import fill_missing
from tsnn.datasets.preparation import check_finite
from tsnn.datasets.raw import Array, TableOptions
from tsnn.datasets.readers import read_arrays_of
from tsnn.datasets.sources import obtain
from tsnn.datasets.stored import is_stored
from tsnn.datasets.tables import read_columns
from tsnn.errors import DataError
from tsnn.registry import READERS

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


def read_samples(name: str | PathLike[str], trained: Trained) -> Samples:
    """Read a file as the samples of a training were read; of data with an official split, the test part.

    Columns with names are matched by name, others by position. Values of a one-hot encoded column become 0 and 1 for
    the levels of the training. The target column may be missing.

    Parameters
    ----------
    name : str or path
        A file of :data:`tsnn.registry.READERS`, or the name of a known data set.
    trained : Trained
        The features that are expected.

    Raises
    ------
    DataError
        The file cannot be read, lacks columns or has another number of them, or holds missing values or unknown levels.
    """
    path = Path(name)
    reader = READERS.get(path.suffix.lower())
    if holds_arrays(path) or (reader is not None and reader.function is read_arrays_of):
        samples = _from_arrays(name, read_features(path, trained.options.budget), trained)
    elif path.is_dir() if reader is None else reader.function is read_any_table:
        samples = _from_table(path, trained)
    else:
        samples = _from_arrays(name, _obtained(name, trained.options), trained)
    x = samples.x if trained.medians is None else fill_missing(samples.x, trained.medians)
    check_finite(x, str(name), trained.feature_names)
    return replace(samples, x=x)


# --- arrays ------------------------------------------------------------------------------------------


def _obtained(name: str | PathLike[str], options: TableOptions) -> dict[str, Any]:
    raw = obtain(name, options=TableOptions(budget=options.budget))
    arrays = {"x": raw.x, "y": raw.y, "x_test": raw.x_test, "y_test": raw.y_test}
    return {**arrays, "class_names": raw.class_names, "feature_names": raw.feature_names}


def _from_arrays(name: object, arrays: Mapping[str, Any], trained: Trained) -> Samples:
    x: Any = arrays["x"]
    y, notes = arrays.get("y"), []
    if arrays.get("x_test") is not None:
        if x is not None:
            notes.append(f"{name} has an official split: the {len(arrays['x_test']):,} samples of its test part.")
        x, y = arrays["x_test"], arrays.get("y_test")
    x = x if is_stored(x) else np.asarray(x)
    if x.dtype.kind not in "biuf" or x.ndim < 2 or x.size == 0:
        raise DataError(f"{name} has features of shape {x.shape} and dtype {x.dtype}; expected numbers, [n, features].")
    x = x.flat() if is_stored(x) else x.reshape(len(x), -1)
    names = tuple(map(str, arrays.get("feature_names", ())))
    if trained.feature_names and len(names) == x.shape[1]:
        positions = {column: i for i, column in enumerate(names)}
        _refuse_absent([n for n in trained.feature_names if n not in positions], names, name, trained)
        x = _columns_of(x, [positions[n] for n in trained.feature_names], name)
        notes += _unused(set(names) - set(trained.feature_names))
    elif x.shape[1] == trained.n_features + 1 and Path(str(name)).suffix.lower() == ".npy":
        notes.append("The last column is taken as the target.")
        x, y = split_last(x) if is_stored(x) else (x[:, :-1], x[:, -1])
    elif x.shape[1] != trained.n_features:
        raise DataError(f"{name} has {x.shape[1]:,} features; the run was trained on {trained.n_features:,}.")
    return Samples(x, y, tuple(map(str, arrays.get("class_names", ()))), notes)


def _columns_of(x: Any, positions: Sequence[int], name: object) -> Any:
    """Return some columns of an array."""
    if not is_stored(x):
        return x[:, positions]
    if [*positions] != [*range(x.shape[1])]:
        raise DataError(f"{name} has its features in another order than the training; save them in the same order.")
    return x


# --- tables ------------------------------------------------------------------------------------------


def _from_table(path: Path, trained: Trained) -> Samples:
    names, values = _columns(path, trained)
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
    _refuse_absent(absent, names, path, trained)
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
    return Samples(x, y, (), _unused(unused - {trained.target}))


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


def _refuse_absent(absent: Sequence[str], names: Sequence[str], file: object, trained: Trained) -> None:
    if not absent:
        return
    near = difflib.get_close_matches(absent[0], names[:10_000], n=1)
    hint = f" Did you mean {near[0]!r} by {absent[0]!r}?" if near else ""
    raise DataError(
        f"{file} lacks the columns of {len(absent):,} of the {trained.n_features:,} features that the run was trained "
        f"on: {_listed(absent)}. It has {_listed(names)}.{hint}"
    )


def _unused(names: set[str]) -> list[str]:
    if not names:
        return []
    return [f"{len(names):,} column{'s are' if len(names) > 1 else ' is'} not used: {_listed(sorted(names))}."]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:_LISTED])) + (", ..." if len(names) > _LISTED else "")
