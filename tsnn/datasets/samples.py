"""New samples for a trained network: the columns of a file, matched with the features that it was trained on.

:func:`read_samples` is the counterpart of :func:`tsnn.datasets.load_dataset`: nothing is split, drawn or fitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tsnn.datasets.archives import holds_arrays, read_features, split_last
from tsnn.datasets.large_tables import read_any_table
from tsnn.datasets.missing import fill_missing
from tsnn.datasets.preparation import check_finite
from tsnn.datasets.raw import TableOptions
from tsnn.datasets.readers import read_arrays_of
from tsnn.datasets.sources import obtain
from tsnn.datasets.stored import is_stored
from tsnn.datasets.table_samples import Samples, Trained, note_unused, refuse_absent, samples_from_table
from tsnn.errors import DataError
from tsnn.registry import READERS


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
        samples = samples_from_table(path, trained)
    else:
        samples = _from_arrays(name, _obtained(name, trained.options), trained)
    x = samples.x if trained.medians is None else fill_missing(samples.x, trained.medians)
    check_finite(x, str(name), trained.feature_names)
    return replace(samples, x=x)


# --- arrays ------------------------------------------------------------------------------------------


def _obtained(name: str | PathLike[str], options: TableOptions) -> dict[str, Any]:
    raw = obtain(name, options=TableOptions(budget=options.budget))
    arrays = {"x": raw.x, "y": raw.y, "x_test": raw.x_test, "y_test": raw.y_test}
    names = {"class_names": raw.class_names, "feature_names": raw.feature_names}
    return {**arrays, **names, "split": raw.x_test is not None}


def _from_arrays(name: object, arrays: Mapping[str, Any], trained: Trained) -> Samples:
    x: Any = arrays["x"]
    y, notes = arrays.get("y"), []
    if arrays.get("x_test") is not None:
        if arrays["split"]:
            notes.append(f"{name} has an official split: the {len(arrays['x_test']):,} samples of its test part.")
        x, y = arrays["x_test"], arrays.get("y_test")
    x = x if is_stored(x) else np.asarray(x)
    if x.dtype.kind not in "biuf" or x.ndim < 2 or x.size == 0:
        raise DataError(f"{name} has features of shape {x.shape} and dtype {x.dtype}; expected numbers, [n, features].")
    x = x.flat() if is_stored(x) else x.reshape(len(x), -1)
    names = tuple(map(str, arrays.get("feature_names", ())))
    if trained.feature_names and len(names) == x.shape[1]:
        positions = {column: i for i, column in enumerate(names)}
        refuse_absent([n for n in trained.feature_names if n not in positions], names, name, trained)
        x = _columns_of(x, [positions[n] for n in trained.feature_names], name)
        notes += note_unused(set(names) - set(trained.feature_names))
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
