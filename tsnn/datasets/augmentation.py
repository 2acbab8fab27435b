"""Augmentation of images while a network trains: each sample rotated, shifted and flipped at random in every epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsnn.config import TrainingConfig
from tsnn.datasets.dataset import Dataset
from tsnn.datasets.features import Features, Rows
from tsnn.errors import DataError

#: Ranges of each choice of ``training.augmentation``: degrees, fraction of height and width, whether to flip.
RANGES = {"flip": (0.0, 0.0, True), "affine": (10.0, 0.1, False), "images": (10.0, 0.1, True)}
AT_ONCE = 32  # samples; those of CIFAR-10 fit into an L2 cache of 512 KB


def training_features(data: Dataset, training: TrainingConfig) -> Callable[[int], Features]:
    """Return a function of a training step's key: the features of the training part as that step sees them."""
    images = augmentation(data, training.augmentation, training.augmentation_strength)
    return (lambda key: data.x_train) if images is None else images.at


def augmentation(data: Dataset, name: str, strength: float = 1.0) -> Augmentation | None:
    """Return the augmentation of a data set's training part; None for ``name`` "none".

    Parameters
    ----------
    data : Dataset
        Of images.
    name : str
        A choice of ``training.augmentation``.
    strength : float
        Factor of angles and shifts, ``training.augmentation_strength``.

    Raises
    ------
    DataError
        If the samples are no images.
    """
    if name == "none":
        return None
    if data.image_shape is None:
        raise DataError(
            f"training.augmentation={name!r} turns images, but the samples of {data.name} are no images. Give images "
            "(samples, height, width) or (samples, planes, height, width), or set training.augmentation='none'."
        )
    planes, height, width = (1, *data.image_shape)[-3:]
    degrees, shift, flips = RANGES[name]
    return Augmentation(data.x_train, (planes, height, width), strength * degrees, strength * shift, flips)


@dataclass(frozen=True, eq=False)
class Augmentation:
    """Random rotation about the centre, shift, and horizontal flip of images; pixels take their nearest source.

    Border pixels continue beyond the edge of an image. Scaled values are moved, not scaled after it: else a bright
    pixel would be enormous at a place that is nearly always dark.

    Attributes
    ----------
    features : Features
        Scaled images.
    shape : (int, int, int)
        Planes, height, width.
    degrees, shift : float
        Largest angle, and largest shift as a fraction of height and width.
    flips : bool
        Whether half of the images are mirrored.
    """

    features: Features
    shape: tuple[int, int, int]
    degrees: float
    shift: float
    flips: bool

    def at(self, key: int) -> AugmentedFeatures:
        """Return the images as a training step sees them; ``key`` is the step's number, as of its dropout masks."""
        return AugmentedFeatures(self, key)

    def maps(self, rows: Rows, key: int) -> npt.NDArray[np.float64]:
        """Return where each augmented image takes its pixels from, float64[2, 3, b]; see ``kernels.move_pixels``."""
        _, height, width = self.shape
        angle = np.deg2rad(self.degrees) * (2 * _uniform(rows, key, 0) - 1)
        down, right = (self.shift * size * (2 * _uniform(rows, key, k) - 1) for k, size in ((1, height), (2, width)))
        mirror = np.where(_uniform(rows, key, 3) < 0.5, -1.0, 1.0) if self.flips else np.ones(len(rows))
        sine, cosine = np.sin(angle), np.cos(angle)
        return np.array([
            [cosine, -sine, down + (height - 1) / 2],
            [mirror * sine, mirror * cosine, mirror * right + (width - 1) / 2],
        ])  # fmt: skip


@dataclass(frozen=True, eq=False)
class AugmentedFeatures:
    """Images as one training step sees them; not to be saved, copied or split."""

    augmentation: Augmentation
    key: int

    @property
    def shape(self) -> tuple[int, int]:
        """Samples and features."""
        return self.augmentation.features.shape

    @property
    def nbytes(self) -> int:
        """Memory taken between batches."""
        return self.augmentation.features.nbytes

    def __len__(self) -> int:
        return len(self.augmentation.features)

    def rows(self, rows: Rows) -> Features:
        """Return some of the samples, unchanged."""
        return self.augmentation.features.rows(rows)

    def gather(self, rows: Rows, out: npt.NDArray[np.float32]) -> None:
        """Write samples as columns, see :meth:`tsnn.datasets.Features.gather`; one does not depend on the others."""
        from tsnn import kernels  # data sets are listed without Numba

        of, n = self.augmentation, len(out)
        maps = np.zeros((2, 3, out.shape[1]))
        maps[:, :, : len(rows)] = of.maps(rows, self.key)
        space = np.empty(n * min(AT_ONCE, out.shape[1]), out.dtype)
        for first in range(0, out.shape[1], AT_ONCE):
            some, columns = rows[first : first + AT_ONCE], min(AT_ONCE, out.shape[1] - first)
            if not len(some):
                out[:, first:] = 0
                return
            images = space[: n * columns].reshape(n, columns)
            of.features.gather(some, images)
            kernels.move_pixels(images, maps[:, :, first : first + columns], of.shape, out, first)


def _uniform(rows: Rows, key: int, number: int) -> npt.NDArray[np.float64]:
    """Return a random number in [0, 1) for each sample that depends on its row, the key and a number (splitmix64)."""
    z = rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z ^= np.uint64((0xD1342543DE82EF95 * (4 * key + number + 1)) % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray((z ^ (z >> np.uint64(31))) >> np.uint64(11), np.float64) * 2.0**-53
