"""The papers' artificial data, computed batch by batch: never in memory, and the same on every pass."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsnn.datasets.features import SelectedRows

N_TRAIN, N_TEST, N_FEATURES = 7000, 3000, 65_536
N_INFORMATIVE = 8192
SEPARATION = 1.0


@dataclass(frozen=True, eq=False)
class ArtificialFeatures:
    """Samples of two classes: noise, but for some features whose mean depends on the class.

    Like ``sklearn.datasets.make_classification`` with one cluster per class at opposite corners of a cube and
    without redundant features, of which it would need 2.6 GB.

    Attributes
    ----------
    keys : int64[n]
        Key of each sample's noise.
    centres : float32[n]
        -1 or 1: the class.
    shift : float32[n_features]
        Added to each feature, times -1 or 1; 0 for most.
    """

    keys: npt.NDArray[np.int64]
    centres: npt.NDArray[np.float32]
    shift: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def shape(self) -> tuple[int, int]:
        """Samples and features."""
        return len(self.keys), len(self.shift)

    @property
    def nbytes(self) -> int:
        """Memory taken between batches."""
        return self.keys.nbytes + self.centres.nbytes + self.shift.nbytes

    def gather(self, rows: npt.NDArray[np.int64], out: npt.NDArray[np.float32]) -> None:
        """Write samples as columns, see :meth:`tsnn.datasets.Features.gather`."""
        from tsnn import kernels  # data sets are listed without Numba

        kernels.artificial(self.keys[rows], self.centres[rows], self.shift, out)

    def rows(self, rows: npt.NDArray[np.int64]) -> SelectedRows:
        """Return some of the samples."""
        return SelectedRows(self, rows)


def draw_artificial(
    rng: np.random.Generator, n_train: int = N_TRAIN, n_test: int = N_TEST, n_features: int = N_FEATURES
) -> tuple[ArtificialFeatures, ArtificialFeatures, str]:
    """Draw the data set: training part, test part, digest.

    Classes are equally frequent. The fraction ``N_INFORMATIVE / N_FEATURES`` of the features, but at least two, are
    shifted by 1 up in one class and down in the other, scattered among the others.
    """
    informative = max(2, n_features * N_INFORMATIVE // N_FEATURES)
    shift = np.zeros(n_features, np.float32)
    shift[rng.permutation(n_features)[:informative]] = SEPARATION * rng.choice([-1, 1], informative)
    parts = []
    for n in (n_train, n_test):
        centres = rng.permutation(np.where(np.arange(n) % 2, 1, -1)).astype(np.float32)
        parts.append(ArtificialFeatures(rng.integers(2**32, size=n), centres, shift))
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        for array in (part.keys, part.centres, part.shift):
            digest.update(array.tobytes())
    return parts[0], parts[1], digest.hexdigest()
