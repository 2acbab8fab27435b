"""Missing values in features: samples left out, or values filled with medians of the training part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from tsnn.datasets.preparation import Rows, row_blocks
from tsnn.datasets.raw import Array
from tsnn.datasets.stored import is_stored
from tsnn.errors import DataError

_GROUP = 1 << 28  # bytes of columns in a file whose medians are determined in one pass


def _drop_incomplete(x: Array, y: Array, name: str) -> tuple[Array, Array, str]:
    """Return the samples without NaN, and a warning if there were others; messages call x ``name``."""
    if x.dtype.kind != "f":
        return x, y, ""
    complete = np.concatenate([~np.isnan(x[part]).any(axis=1) for part in row_blocks(*x.shape)])
    if complete.all():
        return x, y, ""
    if not complete.any():
        raise DataError(f"{name}: every sample has missing values. Try missing='fill', or leave features out.")
    n = int((~complete).sum())
    kept = np.flatnonzero(complete)
    x_kept = cast(Any, x).take(kept) if is_stored(x) else x[kept]
    return x_kept, y[kept], f"{n:,} of {len(x):,} rows of {name} with missing values were dropped."


def training_medians(x: Array, rows: Rows | None) -> npt.NDArray[np.float64]:
    """Return the median of each feature over the training rows (None: all), without NaN; 0 where all are NaN."""
    medians = np.zeros(x.shape[1])
    for j, column in enumerate(_columns(x, rows)):
        present = column[~np.isnan(column)] if x.dtype.kind == "f" else column
        if len(present):
            medians[j] = np.median(present)
    return medians


def _columns(x: Array, rows: Rows | None) -> Iterator[Array]:
    """Yield the columns of some rows (None: all); of an array in a file, many are read in one pass."""
    if not is_stored(x):
        yield from (x[:, j] if rows is None else x[rows, j] for j in range(x.shape[1]))
        return
    chosen = np.arange(len(x)) if rows is None else np.sort(rows)  # in the order of the file
    group = max(1, _GROUP // (len(chosen) * x.dtype.itemsize))
    for start in range(0, x.shape[1], group):
        columns = np.empty((min(group, x.shape[1] - start), len(chosen)), x.dtype)
        for part in row_blocks(len(chosen), x.shape[1]):
            columns[:, part] = x[chosen[part]][:, start : start + group].T
        yield from columns


def fill_missing(x: Array, medians: npt.NDArray[np.float64]) -> Array:
    """Return x with the medians in place of NaN; x itself if it has none."""
    if is_stored(x):
        return cast(Array, cast(Any, x).filled(medians))
    if x.dtype.kind != "f" or not (missing := np.isnan(x)).any():
        return x
    return np.where(missing, medians.astype(x.dtype), x)


def without_missing(
    x: Array, y: Array, x_test: Array | None, y_test: Array | None, warnings: list[str]
) -> tuple[Array, Array, Array | None, Array | None]:
    """Return the samples without missing features; a warning is added to the list if there were others."""
    x, y, warning = _drop_incomplete(x, y, "x")
    found = [warning]
    if x_test is not None and y_test is not None:
        x_test, y_test, warning = _drop_incomplete(x_test, y_test, "x_test")
        found.append(warning)
    warnings += filter(None, found)
    return x, y, x_test, y_test
