"""Loading data sets: by name, from a file or from arrays; checked, split, encoded and scaled.

:func:`prepare` is the one place where arrays are validated; :func:`load_dataset` and :func:`make_dataset` call it.
"""

from __future__ import annotations

import dataclasses
import difflib
import logging
from collections.abc import Mapping
from math import prod
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tsnn.datasets.artificial import draw_artificial
from tsnn.datasets.dataset import Dataset
from tsnn.datasets.missing import fill_missing, training_medians, without_missing
from tsnn.datasets.preparation import (
    check_finite,
    check_part,
    doubt_about_range,
    draw_split,
    hash_arrays,
)
from tsnn.datasets.raw import RELEVANCE, Array, Preparation, RawData, TableOptions, size_text
from tsnn.datasets.readers import refuse_options
from tsnn.datasets.relevance import fit_features
from tsnn.datasets.sources import obtain
from tsnn.datasets.stored import is_stored, leave_in_file, memory_budget
from tsnn.datasets.streamed import scaled
from tsnn.datasets.targets import doubts_about_targets, encode_targets, is_one_hot, scale_targets
from tsnn.errors import DataError

_FILLING = "; missing='fill' and missing='drop_rows' do so for NaN"

log = logging.getLogger(__name__)

#: Options of :func:`make_dataset` that describe the arrays.
_DESCRIPTION = ("name", "class_names", "feature_names", "image_shape", "source")


def load_dataset(
    name: str | PathLike[str],
    *,
    size: str = "auto",
    target: str | None = None,
    task: str = "auto",
    test_fraction: float = 1 / 3,
    validation_fraction: float = 0.0,
    preprocessing: str = "standard",
    rng: np.random.Generator,
    **options: Any,
) -> Dataset:
    """Load a data set by name or from a file (:data:`tsnn.registry.READERS`: .npz, .csv, .parquet, ...).

    Features of .npy, .npz and Parquet files that do not fit into memory stay on the disk, and give the same bits:
    batches are read when they are needed. Compressed ones are unpacked once to the user's cache.

    Parameters
    ----------
    name : str or path
        A name listed by :func:`known_datasets` (the stem of any .npz in the folder that the environment
        variable TSNN_DATA names is one), or a path. An .npz, or a folder of .npy files, holds X_train, y_train, X_test,
        y_test, or X, y.
    size : str
        For names. "small": the part that comes with the package. "full": TSNN_DATA, else the user's cache,
        else a download from OpenML. "auto": the full one if it is on this machine, else the small one, else
        the download. ``Dataset.source`` names the one that was found.
    target : str or None
        The column of a table to predict; default the last one.
    task, test_fraction, validation_fraction, preprocessing
        See :class:`Preparation`.
    rng : numpy.random.Generator
        Draws the splits, and artificial data.
    **options
        ``stream``: "auto" leaves features on the disk that would take more than 75 % of the memory available,
        "always" and "never" do what they say. ``processes``: how many on this machine load the data; each gets its
        share of the memory.
        How a table is read: ``header``, ``drop``, ``missing``, ``missing_marks``, ``transpose``, ``separator``;
        see :class:`tsnn.datasets.raw.TableOptions`.

    Raises
    ------
    DataError
        The data cannot be found, read, downloaded or trained on; the message suggests what to try.
    ConfigError
        ``size``, ``task``, ``preprocessing`` or ``stream`` is none of the values above.
    TypeError
        An option is unknown.
    """
    known = {f.name for f in dataclasses.fields(TableOptions)} - {"budget"} | {"stream", "processes"}
    _check_options("load_dataset", options, sorted(known))
    stream, processes = options.pop("stream", "auto"), options.pop("processes", 1)
    table = TableOptions(**options, budget=memory_budget(stream, processes))
    how = Preparation(task, test_fraction, validation_fraction, preprocessing, table.missing)
    if str(name) != "artificial":
        return prepare(obtain(name, size=size, target=target, options=table), how, rng)
    refuse_options(name, table)
    if size == "small" or preprocessing in ("minmax", *RELEVANCE):
        raise DataError(
            "The artificial data come in one size and standardised: try size='full', preprocessing='standard'."
        )
    return _split_validation(make_artificial(rng), validation_fraction, rng)


def make_artificial(rng: np.random.Generator, **sizes: int) -> Dataset:
    """Make the papers' artificial data; for other sizes see :func:`tsnn.datasets.artificial.draw_artificial`."""
    train, test, digest = draw_artificial(rng, **sizes)
    y_train, y_test = ((part.centres > 0).astype(np.int64) for part in (train, test))
    return Dataset(
        "artificial", train, y_train, test, y_test, "classification", ("0", "1"), (), None,
        "made on demand, standardised", digest,
    )  # fmt: skip


def make_dataset(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    x_test: npt.ArrayLike | None = None,
    y_test: npt.ArrayLike | None = None,
    *,
    rng: np.random.Generator | None = None,
    **options: Any,
) -> Dataset:
    """Check arrays, split them if there is no test part, encode labels, scale features.

    The arrays given are left as they are. Memory beyond them: one float32 copy of ``x`` and ``x_test``, but none of
    memory-mapped arrays that do not fit into memory: they are read when batches are needed, with the same bits.

    Parameters
    ----------
    x, x_test : array-like
        [n, n_features], or images [n, height, width] or [n, planes, height, width]: bool, integers or
        floats of any width, byte order and memory layout, read-only or memory-mapped, or SciPy sparse.
    y, y_test : array-like
        [n] labels of any kind or numbers, or [n, outputs] numbers. Without ``x_test`` and ``y_test``, a test
        part is drawn from ``x`` and ``y``.
    rng : numpy.random.Generator or None
        Draws the splits; may be left out if none is to be drawn.
    **options
        ``task``, ``test_fraction``, ``validation_fraction``, ``preprocessing``, ``missing``: see
        :class:`Preparation`.
        ``name``, ``source`` : str. Kept in the result.
        ``class_names`` : sequence of str. Names of the integer labels 0, 1, 2, ...; default the labels as text.
        ``feature_names`` : sequence of str. One for each feature.
        ``image_shape`` : tuple of int. Default the shape of the samples if ``x`` has more than two dimensions.

    Raises
    ------
    DataError
        The data cannot be trained on; the message names the fault and suggests what to try.
    ConfigError
        ``task`` or ``preprocessing`` is none of the values allowed.
    TypeError
        An option is unknown.
    """
    preparation = [f.name for f in dataclasses.fields(Preparation)]
    _check_options("make_dataset", options, [*preparation, *_DESCRIPTION])
    how = Preparation(**{key: value for key, value in options.items() if key in preparation})
    description = {key: value for key, value in options.items() if key in _DESCRIPTION}
    arrays: dict[str, Any] = {"x": x, "y": y, "x_test": x_test, "y_test": y_test}
    return prepare(RawData(**{"name": "arrays", "source": "arrays in memory"} | arrays | description), how, rng)


def _check_options(function: str, given: Mapping[str, Any], known: list[str]) -> None:
    """Raise a TypeError if an option is unknown."""
    if unknown := sorted(set(given) - set(known)):
        near = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(known)}."
        raise TypeError(f"{function} has no option {unknown[0]!r}. {hint}")


def prepare(raw: RawData, how: Preparation, rng: np.random.Generator | None) -> Dataset:
    """Check raw data, split them if there is no test part, encode labels, scale features.

    Parameters
    ----------
    raw : RawData
        Arrays or array-likes; left as they are.
    how : Preparation
        Task, splits and scaling.
    rng : numpy.random.Generator or None
        Draws the splits.

    Raises
    ------
    DataError
        The data cannot be trained on.
    """
    xs, ys, xt, yt, shape = _checked_arrays(raw)
    features, image_shape = _checked_description(raw, shape, xs.shape[1])
    warnings = list(raw.warnings)
    if how.missing == "drop_rows":
        xs, ys, xt, yt = without_missing(xs, ys, xt, yt, warnings)
    check_finite(xs, "x", features, allow_nan=how.missing == "fill", remedy=_FILLING)
    if xt is not None:
        check_finite(xt, "x_test", features, allow_nan=how.missing == "fill", remedy=_FILLING)
    digest, source = hash_arrays(xs, ys, xt, yt), raw.source
    if is_stored(xs):
        source += f"; streamed from disk: {size_text(xs.nbytes + (0 if xt is None else xt.nbytes))} of features"
    if is_one_hot(how.task, ys, yt):
        ys, yt = ys.argmax(axis=1), None if yt is None else yt.argmax(axis=1)
        source += "; one-hot targets, taken as classes"
    warnings += doubts_about_targets(how.task, ys)
    task, class_names, ys, yt = encode_targets(how.task, ys, yt, tuple(raw.class_names))
    stratified = task == "classification"
    train = test = None
    if xt is None or yt is None:
        train, test = draw_split(ys, how.test_fraction, rng, stratified=stratified)
        xt, yt, ys = xs, ys[test], ys[train]
        source += f"; no official split: {len(train):,} / {len(test):,} drawn"
    _check_test_targets(ys, yt)
    split = _Split(train, None, ys, None)
    if how.validation_fraction:
        split = _draw_validation(split, how.validation_fraction, rng, stratified)
    medians = training_medians(xs, split.train) if how.missing == "fill" else None
    if medians is not None:
        xt = fill_missing(xt, medians)
        xs = xt if test is not None else fill_missing(xs, medians)
    moments, *scaling = fit_features(xs, split.train, split.y_train, task, how.preprocessing)
    for warning in warnings:
        log.warning(warning)
    if how.preprocessing == "none":
        low, high = (float(np.float32(limit)) for limit in (moments.low.min(), moments.high.max()))
        warnings += filter(None, [doubt_about_range(low, high)])  # logged by measure
    validation = split.validation
    targets = scale_targets(task, split.y_train, yt, split.y_validation)
    return Dataset(
        name=raw.name,
        x_train=scaled(xs, split.train, *scaling),
        y_train=targets.train,
        x_test=scaled(xt, test, *scaling),
        y_test=targets.test,
        task=task,
        class_names=class_names,
        feature_names=features,
        image_shape=image_shape,
        source=source,
        digest=digest,
        scaling=None if how.preprocessing == "none" else (scaling[0], scaling[1]),
        x_validation=None if validation is None else scaled(xs, validation, *scaling),
        y_validation=targets.validation,
        target_offset=targets.offset,
        target_scale=targets.scale,
        medians=medians,
        warnings=tuple(warnings),
        columns=raw.columns,
    )


def _checked_arrays(raw: RawData) -> tuple[Array, Array, Array | None, Array | None, tuple[int, ...] | None]:
    """Return x, y, x_test, y_test in the form of :func:`check_part`, and the shape of one image or None."""
    if (raw.x_test is None) != (raw.y_test is None):
        raise DataError("x_test and y_test belong together, but only one was given. Give both, or neither.")
    x, y, shape = check_part(leave_in_file(raw.x), raw.y)
    if raw.x_test is None:
        return x, y, None, None, shape
    x_test, y_test, _ = check_part(leave_in_file(raw.x_test), raw.y_test, "_test")
    if x_test.shape[1] != x.shape[1]:
        raise DataError(f"x_test has {x_test.shape[1]} features, but x has {x.shape[1]}; expected the same.")
    return x, y, x_test, y_test, shape


def _checked_description(
    raw: RawData, shape: tuple[int, ...] | None, n_features: int
) -> tuple[tuple[str, ...], tuple[int, ...] | None]:
    """Return the names of the features and the shape of images, checked against the number of features."""
    features = tuple(map(str, raw.feature_names))
    if features and len(features) != n_features:
        raise DataError(f"{len(features)} feature_names were given for {n_features} features.")
    image_shape = raw.image_shape or shape
    if image_shape and prod(image_shape) != n_features:
        raise DataError(f"image_shape {image_shape} is that of {prod(image_shape)} features, not {n_features}.")
    return features, image_shape


def _check_test_targets(y: Array, y_test: Array) -> None:
    if len(y_test) < 2 or y.shape[1:] != y_test.shape[1:]:
        raise DataError(
            f"The test part has {len(y_test)} samples of {y_test.shape[1:] or 1} outputs; expected at least 2 "
            f"samples, of {y.shape[1:] or 1} outputs as in training. Give more test data or a larger "
            "test_fraction."
        )


class _Split(NamedTuple):
    """Rows of the training part and of the validation split (None: all, none), and their targets."""

    train: npt.NDArray[np.int64] | None
    validation: npt.NDArray[np.int64] | None
    y_train: Array
    y_validation: Array | None


def _draw_validation(split: _Split, fraction: float, rng: np.random.Generator | None, stratified: bool) -> _Split:
    """Draw the validation split from the training part."""
    y = split.y_train
    kept, drawn = draw_split(y, fraction, rng, stratified=stratified, part="validation")
    rows = (kept, drawn) if split.train is None else (split.train[kept], split.train[drawn])
    return _Split(*rows, y[kept], y[drawn])


def _split_validation(data: Dataset, fraction: float, rng: np.random.Generator) -> Dataset:
    """Draw the validation split of a data set without copying features."""
    if not fraction:
        return data
    kept, drawn = draw_split(data.y_train, fraction, rng, stratified=True, part="validation")
    return dataclasses.replace(
        data,
        x_train=data.x_train.rows(kept),
        y_train=data.y_train[kept],
        x_validation=data.x_train.rows(drawn),
        y_validation=data.y_train[drawn],
    )
