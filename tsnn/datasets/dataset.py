"""Data sets: samples with their targets, checked, split, encoded and scaled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tsnn.datasets.features import Features, as_features
from tsnn.datasets.raw import Array, ColumnInfo
from tsnn.datasets.targets import Task


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set ready for training.

    Attributes
    ----------
    name : str
        Such as "fashion_mnist", or the file's stem.
    x_train, x_test : Features of shape (n_train, n_features) and (n_test, n_features)
        Preprocessed; arrays are wrapped (:func:`tsnn.datasets.as_features`).
    y_train, y_test : int64[n] or float32[n, n_outputs]
        For classification indices into ``class_names``, otherwise targets: those of regression are scaled if
        ``target_scale`` is not None.
    task : str
        "classification", "regression" or "multilabel".
    class_names : tuple of str
        The labels as text, in the order of the class indices; empty when not classification.
    feature_names : tuple of str
        One per feature, or empty.
    image_shape : tuple of int, or None
        (height, width), or (planes, height, width) where features are colour planes; None if no image.
    source : str
        Where the data came from, as text.
    digest : str
        Hash of the values as they were given, before split and preprocessing; other data have another.
    weights_train, weights_test : float32[n_train], float32[n_test], or None
        How much each sample counts in the loss, 1 on average; None if all count the same.
    scaling : (float64[n_features], float64[n_features]), or None
        Offset and scale of the preprocessing: the features are ``(x - offset) * scale``. None if there was none.
    x_validation, y_validation : like the training part, or None
        The validation split, to choose an epoch by; None if there is none.
    target_offset, target_scale : float64[n_outputs], or None
        Scaling of regression targets, fitted on the training part: ``(y - target_offset) * target_scale``. None if
        there was none.
    medians : float64[n_features], or None
        Medians of the training part that fill missing values; None if these are not filled.
    warnings : tuple of str
        Doubts about the data, each a sentence for the person who trains.
    columns : tuple of ColumnInfo
        How the columns of a table were understood; empty for other data.
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
    target_offset: npt.NDArray[np.float64] | None = None
    target_scale: npt.NDArray[np.float64] | None = None
    medians: npt.NDArray[np.float64] | None = None
    warnings: tuple[str, ...] = ()
    columns: tuple[ColumnInfo, ...] = ()

    def __post_init__(self) -> None:
        for name in ("x_train", "x_test", "x_validation"):
            if (x := getattr(self, name)) is not None:
                object.__setattr__(self, name, as_features(x))

    @property
    def n_features(self) -> int:
        """Number of features: the width of the input layer."""
        return int(self.x_train.shape[1])

    @property
    def n_outputs(self) -> int:
        """Number of classes, labels or targets: the width of the output layer."""
        return len(self.class_names) if self.task == "classification" else int(self.y_train.shape[1])

    def in_units(self, y: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return targets or outputs, as training uses them, in the units of the targets: [n, n_outputs] if scaled."""
        if self.target_offset is None or self.target_scale is None:
            return np.asarray(y)
        return np.asarray(np.asarray(y, np.float64) / self.target_scale + self.target_offset)

    @property
    def squared_units(self) -> npt.NDArray[np.float64] | None:
        """Squared error of each target in its own units, where that of the scaled target is 1; None: not scaled."""
        return None if self.target_scale is None else self.target_scale**-2.0

    @property
    def baseline_accuracy(self) -> float | None:
        """Accuracy on the test part (without one: the training part) of always answering the most frequent class.

        The classes are counted in the training part. For multilabel, each label has its more frequent value. None for
        regression.
        """
        y = self.y_test if len(self.y_test) else self.y_train
        if self.task == "regression" or not len(self.y_train):
            return None
        if self.task == "multilabel":
            return float((y == (self.y_train.mean(axis=0) > 0.5)).mean())
        return float((y == np.bincount(self.y_train).argmax()).mean())

    @property
    def nbytes(self) -> int:
        """Memory that the features take."""
        return sum(part.nbytes for part in self._parts)

    @property
    def stored_bytes(self) -> int:
        """Bytes of features that are streamed from disk; 0 if they are in memory."""
        return sum(getattr(part, "stored_bytes", 0) for part in self._parts)

    @property
    def _parts(self) -> list[Features]:
        return [part for part in (self.x_train, self.x_test, self.x_validation) if part is not None]


def shard(data: Dataset, index: int, count: int) -> Dataset:
    """Return one of ``count`` equal shards of a data set: every ``count``-th sample, from sample ``index`` on.

    Of a test or validation part with fewer samples than shards, a shard holds one sample.
    """
    if count == 1:
        return data
    parts: dict[str, Any] = {}
    for name in ("train", "test", "validation"):
        x, y = getattr(data, f"x_{name}"), getattr(data, f"y_{name}")
        if x is None:
            continue
        rows = np.arange(index % len(x), len(x), count)
        parts[f"x_{name}"] = x.rows(rows)
        parts[f"y_{name}"] = y[rows]
        if (weights := getattr(data, f"weights_{name}", None)) is not None:
            parts[f"weights_{name}"] = weights[rows]
    return replace(data, **parts)
