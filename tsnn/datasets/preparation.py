"""Preparation of arrays for training: checks, split, scaling. Pure functions on NumPy arrays.

:func:`tsnn.datasets.loading.prepare` calls them, in this order. Features are handled in blocks of rows, so
there is never a complete copy of them in float64.
"""

import hashlib
import itertools
import logging
from collections.abc import Iterator
from math import prod
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from tsnn.datasets.moments import Moments
from tsnn.datasets.raw import Array
from tsnn.datasets.stored import is_stored
from tsnn.errors import DataError

log = logging.getLogger(__name__)

Rows = npt.NDArray[np.intp]

_BLOCK = 1 << 17  # elements handled at a time: about 1 MB of float64, which stays in cache
_MISSING = ("NoneType", "NAType", "NaTType")
_WIDE_RANGE = 50.0  # unscaled features beyond this train badly


# --- checks ------------------------------------------------------------------------------------------


def check_part(x: Any, y: Any, suffix: str = "") -> tuple[Array, Array, tuple[int, ...] | None]:
    """Check shapes and dtypes of the training or test part, and that no target is missing.

    Parameters
    ----------
    x, y : array-like
        As given to :func:`tsnn.datasets.make_dataset`.
    suffix : str
        Added to "x" and "y" in messages: "" or "_test".

    Returns
    -------
    x, y, image_shape
        [n, n_features], a view where possible; [n] or [n, outputs], text as dtype str; the shape of one image
        if x holds images, else None.
    """
    features, image_shape = _check_features(x, f"x{suffix}")
    return features, check_targets(y, len(features), f"y{suffix}"), image_shape


def check_finite(
    x: Array, name: str, feature_names: tuple[str, ...] = (), *, allow_nan: bool = False, remedy: str = ""
) -> None:
    """Raise a DataError if float32 cannot hold a value of x [n, width].

    The message calls x ``name``, and ends with a remedy of the caller.
    """
    if x.dtype.kind != "f":
        return
    count, first, width = 0, 0, x.shape[1]
    for part in row_blocks(len(x), width):
        with np.errstate(over="ignore"):
            bad = ~np.isfinite(x[part].astype(np.float32, copy=False))
        if allow_nan:
            bad &= ~np.isnan(x[part])
        if count == 0:
            first = part.start * width + int(bad.argmax())
        count += int(np.count_nonzero(bad))
    if count:
        row, column = divmod(first, width)
        label = f" ({feature_names[column]!r})" if feature_names else ""
        raise DataError(
            f"{name}: {count:,} of {x.size:,} values are NaN, infinite or beyond float32, the first at row "
            f"{row}, column {column}{label} (counted from 0). Leave these rows out, or fill them{remedy}."
        )


def _as_array(values: Any, what: str) -> Array:
    """Return an array without copying one; one in a file stays there."""
    if is_stored(values):
        return cast(Array, values)
    try:
        return np.asarray(values.toarray() if hasattr(values, "toarray") else values)
    except ValueError as error:
        raise DataError(f"{what} is no rectangular array ({error}). Give every sample the same length.") from error


def _check_features(values: Any, what: str) -> tuple[Array, tuple[int, ...] | None]:
    """Return [n, n_features] as a view where possible, and the shape of one image if there is one."""
    array = _as_array(values, what)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{what} has dtype {array.dtype}; expected numbers. Turn text into numbers first.")
    if array.ndim not in (2, 3, 4):
        raise DataError(
            f"{what} has shape {array.shape}; expected (samples, features), or images (samples, height, "
            "width) or (samples, planes, height, width). A single feature is x.reshape(-1, 1)."
        )
    n, shape = len(array), array.shape[1:]
    if n == 0 or prod(shape) == 0:
        raise DataError(f"{what} has shape {array.shape}: no {'samples' if n == 0 else 'features'}. Give at least one.")
    if array.ndim == 4 and shape[0] not in (1, 3):
        raise DataError(
            f"{what} has shape {array.shape}; expected 1 or 3 planes first: (samples, planes, height, "
            "width). Try numpy.moveaxis(x, -1, 1)."
        )
    image = None if array.ndim == 2 else shape[1:] if len(shape) == 3 and shape[0] == 1 else shape
    return cast(Any, array).flat() if is_stored(array) else array.reshape(n, -1), image


def check_targets(values: Any, n: int, what: str) -> Array:
    """Return [n] or [n, outputs] (one column is taken as [n]); text as dtype str."""
    array = _as_array(values, what)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim not in (1, 2) or array.size == 0:
        raise DataError(f"{what} has shape {array.shape}; expected (samples,) or (samples, outputs), not empty.")
    if len(array) != n:
        raise DataError(f"{what} has {len(array)} entries for {n} samples; expected one for each sample.")
    if array.dtype.kind == "O":
        items = array.ravel().tolist()
        missing = [i for i, item in enumerate(items) if type(item).__name__ in _MISSING or item != item]
        if missing:
            raise DataError(
                f"{what}: {len(missing)} entries are missing, the first at row {missing[0]}. Leave them out."
            )
        array = np.array(items).reshape(array.shape)
    if array.dtype.kind == "S":
        array = _decode(array, what)
    if array.dtype.kind == "f" and not (finite := np.isfinite(array)).all():
        row = int(np.argwhere(~finite)[0, 0])
        raise DataError(
            f"{what}: {(~finite).sum():,} values are NaN or infinite, the first at row {row}. Leave them out."
        )
    if array.dtype.kind not in "biufUT" or (array.ndim == 2 and array.dtype.kind in "UT"):
        raise DataError(f"{what} has dtype {array.dtype} and shape {array.shape}; expected labels or numbers.")
    return np.array(array.tolist(), dtype=str) if array.dtype.kind == "T" else array


def _decode(array: Array, what: str) -> Array:
    try:
        return np.char.decode(array, "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{what} holds bytes that are no UTF-8 text. Save it with dtype=str.") from error


# --- split -------------------------------------------------------------------------------------------


def draw_split(
    y: Array, fraction: float, rng: np.random.Generator | None, *, stratified: bool, part: str = "test"
) -> tuple[Rows, Rows]:
    """Return the rows of the training and of the test (or another) part, both in random order.

    With ``stratified``, y holds class indices int64[n]: each class gives ``fraction`` of its samples, rounded
    to an exact total, and keeps at least one for training.
    """
    if not 0 < fraction < 1:
        raise DataError(f"{part}_fraction is {fraction}; expected a number between 0 and 1, such as 1/3.")
    if rng is None:
        raise DataError(f"There is no {part} part, so one must be drawn: give rng=numpy.random.default_rng(seed).")
    codes = y if stratified else np.zeros(len(y), dtype=np.int64)
    counts = np.bincount(codes)
    exact = fraction * counts
    n_test = np.floor(exact).astype(np.int64)
    short = round(fraction * len(codes)) - int(n_test.sum())
    n_test[np.argsort(n_test - exact, kind="stable")[:short]] += 1
    n_test = np.minimum(n_test, np.maximum(counts - 1, 0))
    if not n_test.any():
        raise DataError(
            f"Of {len(codes)} samples none is left for the {part} part. {_split_advice(counts, fraction, part)}"
        )

    order = rng.permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]  # by class, random within
    position = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    is_test = position < np.repeat(n_test, counts)
    return rng.permutation(order[~is_test]), rng.permutation(order[is_test])


def _split_advice(counts: Rows, fraction: float, part: str) -> str:
    """Return advice for a split that leaves no sample; counts int64[classes]."""
    n = counts.sum()
    if counts.max() > 1 and (2 * len(counts) <= n or round(fraction * n) == 0):
        return f"Raise {part}_fraction."
    return (
        f"They carry {len(counts)} different labels, and each class keeps one sample for training. If the labels are "
        "numbers to predict, not classes, try task='regression' (--set data.task=regression); else give more samples "
        "of each class."
    )


# --- scaling -----------------------------------------------------------------------------------------


def _float64_rows(x: Array, rows: Rows | None, part: slice) -> npt.NDArray[np.float64]:
    return (x[part] if rows is None else x[rows[part]]).astype(np.float64)


def fit_scaling(
    x: Array, rows: Rows | None, preprocessing: str, weights: npt.NDArray[np.float64] | None = None
) -> tuple[Array, Array]:
    """Return (offset, scale), float64[n_features] each, fitted on these rows (None: all).

    Parameters and notes: see :func:`measure`; features that are constant there become 0.
    """
    return measure(x, rows, preprocessing, weights).scaling(preprocessing)


def measure(x: Array, rows: Rows | None, preprocessing: str, weights: npt.NDArray[np.float64] | None = None) -> Moments:
    """Return the moments of the features over these rows (None: all), as far as the preprocessing needs them.

    Parameters
    ----------
    x : [n, n_features]
        Finite numbers of any dtype.
    rows : int64[n_train] or None
        The training part.
    preprocessing : str
        As in :class:`tsnn.datasets.raw.Preparation`.
    weights : float64[n_train] or None
        Weight of each of these rows in mean and variance; None: all the same.

    Notes
    -----
    Mean and variance are merged block by block (Chan, Golub and LeVeque 1983), which is stable for features
    far from 0.
    """
    width = x.shape[1]
    low, high = np.full(width, np.inf), np.full(width, -np.inf)
    mean, squares, seen = np.zeros(width), np.zeros(width), 0.0
    for part in row_blocks(len(x) if rows is None else len(rows), width):
        block = _float64_rows(x, rows, part)
        np.minimum(low, block.min(axis=0), out=low)
        np.maximum(high, block.max(axis=0), out=high)
        w = np.ones(len(block)) if weights is None else weights[part]
        n = w.sum()
        if preprocessing not in ("minmax", "none"):
            center = np.average(block, axis=0, weights=w)
            delta = center - mean
            block -= center
            squares += np.einsum("i,ij,ij->j", w, block, block) + delta**2 * (seen * n / (seen + n))
            mean += delta * (n / (seen + n))
        seen += n
    if preprocessing == "none" and (warning := doubt_about_range(low.min(), high.max())):
        log.warning(warning)
    return Moments(np.full(width, seen), mean, squares / seen, low, high)


def doubt_about_range(low: float, high: float) -> str:
    """Return a warning if features that are not scaled have a wide range; else ""."""
    if high - low <= _WIDE_RANGE:
        return ""
    return f"features range from {low:g} to {high:g} unscaled; try preprocessing='standard'"


def apply_scaling(x: Array, rows: Rows | None, offset: Array, scale: Array) -> npt.NDArray[np.float32]:
    """Return ``(x - offset) * scale`` of these rows (None: all) as a new C-contiguous float32[n, n_features]."""
    n = len(x) if rows is None else len(rows)
    result = np.empty((n, x.shape[1]), dtype=np.float32)
    largest = np.finfo(np.float32).max
    for part in row_blocks(n, x.shape[1]):
        block = _float64_rows(x, rows, part)
        block -= offset
        block *= scale
        np.clip(block, -largest, largest, out=result[part], casting="same_kind")
    return result


# --- identical samples -------------------------------------------------------------------------------


def merge_identical(x: Any, y: Array, weights: npt.NDArray[np.float64]) -> tuple[Rows, npt.NDArray[np.float64]]:
    """Return one row of each kind of sample, in an order that depends on the values alone, and their weights added.

    Parameters
    ----------
    x : [n, n_features]
        Array, or CSR array without stored zeros.
    y : [n] or [n, outputs]
        Targets.
    weights : float64[n]
        How much each sample counts.
    """
    keys = []
    for i in range(len(y)):
        row = x[[i]]
        parts = (row.indices, row.data) if hasattr(row, "indptr") else (row + 0,)  # -0 and 0 are the same
        keys.append(b"".join(part.tobytes() for part in (*parts, y[i])))
    order = np.array(sorted(range(len(y)), key=keys.__getitem__))
    first = np.array([True, *(keys[a] != keys[b] for a, b in itertools.pairwise(order))])
    return order[first], np.add.reduceat(weights[order], np.flatnonzero(first))


# --- in blocks of rows -------------------------------------------------------------------------------


def hash_arrays(*arrays: Array | None) -> str:
    """Hash shapes and values of arrays as returned by :func:`check_part`, in hexadecimal; None is skipped.

    The same values in another dtype or memory layout give the same hash.
    """
    state = hashlib.blake2b(digest_size=16)
    for array in arrays:
        if array is not None:
            common = np.dtype("<U") if array.dtype.kind == "U" else np.dtype("<f4" if array.ndim > 1 else "<f8")
            state.update(f"{common.kind}{array.shape}".encode())
            for part in row_blocks(len(array), prod(array.shape[1:])):
                state.update(np.ascontiguousarray(array[part], common).view(np.uint8).data)
    return state.hexdigest()


def row_blocks(n: int, width: int) -> Iterator[slice]:
    """Yield slices of rows of about ``_BLOCK`` elements."""
    step = max(1, _BLOCK // width)
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))
