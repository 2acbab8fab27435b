"""Data sets ready for training: loaded by name or file, checked, split, encoded and scaled.

:func:`make_dataset` is the one place where arrays are validated; :func:`load_dataset` goes through it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from os import PathLike
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tsnn.datasets.artificial import draw_artificial
from tsnn.datasets.preparation import (
    Array,
    apply_scaling,
    check_finite,
    check_part,
    draw_split,
    fit_scaling,
    hash_arrays,
)
from tsnn.datasets.sources import obtain
from tsnn.datasets.targets import Task, encode_targets
from tsnn.errors import ConfigError, DataError


class Batches(Protocol):
    """Features that need not lie in memory: made, or read, one batch at a time."""

    @property
    def shape(self) -> tuple[int, int]:
        """Samples and features."""

    @property
    def nbytes(self) -> int:
        """Memory taken between batches."""

    def __len__(self) -> int:
        """Number of samples."""

    def gather(self, rows: npt.NDArray[np.int64], out: npt.NDArray[np.float32]) -> None:
        """Write samples as columns: int64[b], b <= B -> float32[n_features, B]; padded columns become 0."""


Features = npt.NDArray[np.float32] | Batches


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in the form that training wants.

    Attributes
    ----------
    name : str
        Such as "fashion_mnist", or the file's stem.
    x_train, x_test : float32[n_train, n_features], float32[n_test, n_features]
        Features, C-contiguous, preprocessed; or :class:`Batches` of such.
    y_train, y_test : int64[n] or float32[n, n_outputs]
        For classification indices into ``class_names``, otherwise targets as given: those of regression are
        never scaled.
    task : str
        "classification", "regression" or "multilabel".
    class_names : tuple of str
        The labels as text, in the order of the class indices; empty when not classification.
    feature_names : tuple of str
        One per feature, or empty.
    image_shape : tuple of int, or None
        (height, width), or (planes, height, width) where features are colour planes; None if no image.
    source : str
        Where the data came from, in words.
    digest : str
        Hash of the values as they were given, before split and preprocessing: tells whether data changed.
    weights_train, weights_test : float32[n_train], float32[n_test], or None
        How much each sample counts in the loss, 1 on average; None if all count the same.
    scaling : (float64[n_features], float64[n_features]), or None
        Offset and scale of the preprocessing: the features are ``(x - offset) * scale``. None if there was none.
    x_validation, y_validation : like the training part, or None
        Samples held back from training, to choose an epoch by; None if there are none.
    """

    name: str
    x_train: Features
    y_train: Array
    x_test: Features
    y_test: Array
    task: Task
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    image_shape: tuple[int, ...] | None
    source: str
    digest: str
    weights_train: npt.NDArray[np.float32] | None = None
    weights_test: npt.NDArray[np.float32] | None = None
    scaling: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None = None
    x_validation: Features | None = None
    y_validation: Array | None = None

    @property
    def n_features(self) -> int:
        """Number of features: the width of the input layer."""
        return int(self.x_train.shape[1])

    @property
    def n_outputs(self) -> int:
        """Number of classes, labels or targets: the width of the output layer."""
        return len(self.class_names) if self.task == "classification" else int(self.y_train.shape[1])

    @property
    def nbytes(self) -> int:
        """Memory that the features take."""
        parts = (self.x_train, self.x_test, self.x_validation)
        return sum(part.nbytes for part in parts if part is not None)


@dataclass(frozen=True, eq=False)
class SelectedRows:
    """Some rows of features that need not lie in memory; see :class:`Batches`."""

    features: Batches
    rows: npt.NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int]:
        """Samples and features."""
        return len(self.rows), self.features.shape[1]

    @property
    def nbytes(self) -> int:
        """Memory taken between batches."""
        return self.features.nbytes

    def __len__(self) -> int:
        return len(self.rows)

    def gather(self, rows: npt.NDArray[np.int64], out: npt.NDArray[np.float32]) -> None:
        """Write samples as columns, see :meth:`Batches.gather`."""
        self.features.gather(self.rows[rows], out)


def shard(data: Dataset, index: int, count: int) -> Dataset:
    """Return one of ``count`` equal shares of a data set's samples: every ``count``-th, from sample ``index`` on.

    Of a test or validation part with fewer samples than shares, a share holds one sample.
    """
    if count == 1:
        return data
    parts: dict[str, Any] = {}
    for name in ("train", "test", "validation"):
        x, y = getattr(data, f"x_{name}"), getattr(data, f"y_{name}")
        if x is None:
            continue
        rows = np.arange(index % len(x), len(x), count)
        parts[f"x_{name}"] = x[rows] if isinstance(x, np.ndarray) else SelectedRows(x, rows)
        parts[f"y_{name}"] = y[rows]
    return replace(data, **parts)


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
) -> Dataset:
    """Load a data set by name, or from a .npz, .csv, .tsv or .parquet file.

    Parameters
    ----------
    name : str or path
        A name listed by :func:`known_datasets` (the stem of any .npz in the folder that the environment
        variable TSNN_DATA names is one), or a path. An .npz holds X_train, y_train, X_test, y_test, or X, y.
    size : str
        For names. "small": the part that comes with the package. "full": TSNN_DATA, else the user's cache,
        else a download from OpenML. "auto": the full one if it is on this machine, else the small one, else
        the download. ``Dataset.source`` says which it was.
    target : str or None
        The column of a table that is to be predicted; default the last one.
    task, test_fraction, validation_fraction, preprocessing, rng
        See :func:`make_dataset`.

    Raises
    ------
    DataError
        The data cannot be found, read, downloaded or trained on; the message says what to try.
    ConfigError
        ``size``, ``task`` or ``preprocessing`` is none of the values above.
    """
    if str(name) == "artificial":
        if size == "small" or preprocessing == "minmax":
            raise DataError(
                "The artificial data come in one size and standardised: try size='full', preprocessing='standard'."
            )
        return _hold_back(make_artificial(rng), validation_fraction, rng)
    raw = obtain(name, size=size, target=target)
    return make_dataset(
        raw.x,
        raw.y,
        raw.x_test,
        raw.y_test,
        name=raw.name,
        task=task,
        test_fraction=test_fraction,
        validation_fraction=validation_fraction,
        preprocessing=preprocessing,
        class_names=raw.class_names,
        feature_names=raw.feature_names,
        image_shape=raw.image_shape,
        source=raw.source,
        rng=rng,
    )


def make_artificial(rng: np.random.Generator, **sizes: int) -> Dataset:
    """Make the papers' artificial data, or the like: see :func:`tsnn.datasets.artificial.draw_artificial`."""
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
    name: str = "arrays",
    task: str = "auto",
    test_fraction: float = 1 / 3,
    validation_fraction: float = 0.0,
    preprocessing: str = "standard",
    class_names: Sequence[str] = (),
    feature_names: Sequence[str] = (),
    image_shape: tuple[int, ...] | None = None,
    source: str = "arrays in memory",
    rng: np.random.Generator | None = None,
) -> Dataset:
    """Check arrays, split them if there is no test part, encode labels, scale features.

    The arrays given are left as they are. Memory beyond them: one float32 copy of ``x`` and ``x_test``.

    Parameters
    ----------
    x, x_test : array-like
        [n, n_features], or images [n, height, width] or [n, planes, height, width]: bool, integers or
        floats of any width, byte order and memory layout, read-only or memory-mapped, or SciPy sparse.
    y, y_test : array-like
        [n] labels of any kind or numbers, or [n, outputs] numbers. Without ``x_test`` and ``y_test``, a test
        part is drawn from ``x`` and ``y``.
    task : str
        "classification", "regression", "multilabel" or "auto": labels that are text, booleans, integers, or
        floats with few different values, all integral, are classes; other floats are regression targets; 2-D
        targets of 0 and 1 only are multilabel, other 2-D targets regression.
    test_fraction : float
        Part of the samples drawn for the test, between 0 and 1; for classification, of each class. At least
        one sample of each class stays in the training part. Not used if a test part is given.
    validation_fraction : float
        Part of the training samples held back likewise, to choose an epoch by; 0 holds none back.
    preprocessing : str
        "standard": each feature gets mean 0 and variance 1; "minmax": range 0 to 1; "none". Fitted on the
        training part only, so test values may leave that range; features constant there become 0.
    class_names : sequence of str
        Names of the integer labels 0, 1, 2, ...; default the labels as text.
    name, feature_names, image_shape, source
        Taken into the result; the shape of images is read off ``x`` if that has more than two dimensions.
    rng : numpy.random.Generator or None
        Draws the splits; may be left out if none is to be drawn.

    Raises
    ------
    DataError
        The data cannot be trained on; the message says what was found and what to try.
    ConfigError
        ``task`` or ``preprocessing`` is none of the values above.
    """
    _check_choice("task", task, ("auto", "classification", "regression", "multilabel"))
    _check_choice("preprocessing", preprocessing, ("standard", "minmax", "none"))
    if (x_test is None) != (y_test is None):
        raise DataError("x_test and y_test belong together, but only one was given. Give both, or neither.")
    xs, ys, shape = check_part(x, y)
    xt = yt = None
    if x_test is not None and y_test is not None:
        xt, yt, _ = check_part(x_test, y_test, "_test")
        if xt.shape[1] != xs.shape[1]:
            raise DataError(f"x_test has {xt.shape[1]} features, but x has {xs.shape[1]}; expected the same.")
    features = tuple(map(str, feature_names))
    if features and len(features) != xs.shape[1]:
        raise DataError(f"{len(features)} feature_names were given for {xs.shape[1]} features.")
    check_finite(xs, "x", features)
    if xt is not None:
        check_finite(xt, "x_test", features)
    image_shape = image_shape or shape
    if image_shape and prod(image_shape) != xs.shape[1]:
        raise DataError(f"image_shape {image_shape} is that of {prod(image_shape)} features, not {xs.shape[1]}.")

    digest = hash_arrays(xs, ys, xt, yt)
    kind, names, ys, yt = encode_targets(task, ys, yt, tuple(class_names))
    rows = test_rows = None
    if xt is None or yt is None:
        rows, test_rows = draw_split(ys, test_fraction, rng, stratified=kind == "classification")
        xt, yt, ys = xs, ys[test_rows], ys[rows]
        source += f"; no official split: {len(rows):,} / {len(test_rows):,} drawn"
    if len(yt) < 2 or ys.shape[1:] != yt.shape[1:]:
        raise DataError(
            f"The test part has {len(yt)} samples of {yt.shape[1:] or 1} outputs; expected at least 2 "
            f"samples, of {ys.shape[1:] or 1} outputs as in training. Give more test data or a larger "
            "test_fraction."
        )
    held = None
    if validation_fraction:
        kept, chosen = draw_split(ys, validation_fraction, rng, stratified=kind == "classification", part="validation")
        rows, held = (kept, chosen) if rows is None else (rows[kept], rows[chosen])
        ys, y_held = ys[kept], ys[chosen]
    offset, scale = fit_scaling(xs, rows, preprocessing)
    return Dataset(
        name=name,
        x_train=apply_scaling(xs, rows, offset, scale),
        y_train=ys,
        x_test=apply_scaling(xt, test_rows, offset, scale),
        y_test=yt,
        task=kind,
        class_names=names,
        feature_names=features,
        image_shape=image_shape,
        source=source,
        digest=digest,
        scaling=None if preprocessing == "none" else (offset, scale),
        x_validation=None if held is None else apply_scaling(xs, held, offset, scale),
        y_validation=None if held is None else y_held,
    )


def _hold_back(data: Dataset, fraction: float, rng: np.random.Generator) -> Dataset:
    """Hold back a part of training samples that are made on demand."""
    if not fraction or isinstance(data.x_train, np.ndarray):
        return data
    kept, held = draw_split(data.y_train, fraction, rng, stratified=True, part="validation")
    return replace(
        data,
        x_train=SelectedRows(data.x_train, kept),
        y_train=data.y_train[kept],
        x_validation=SelectedRows(data.x_train, held),
        y_validation=data.y_train[held],
    )


def _check_choice(what: str, given: str, choices: tuple[str, ...]) -> None:
    if given not in choices:
        raise ConfigError(f"{what} is {given!r}; expected one of {', '.join(map(repr, choices))}.")
