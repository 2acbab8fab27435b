"""Data sets ready for training: found by name or file, read, checked, split, encoded and scaled.

``loading`` (by name, from a file or from arrays) uses ``sources`` (``catalogue``, ``openml``), ``readers``
(``archives``, ``tables``), ``targets`` and ``preparation``; ``dataset`` and ``features`` define the result. ``guess``
reads no more than it needs to tell the task; ``preview`` describes a file before a run is started. Features larger than
memory pass through the same functions as a ``stored`` array and become ``streamed`` features; where rows cannot be read
one by one, a copy is made (``unpacked``).
"""

from tsnn.datasets.dataset import Dataset, shard
from tsnn.datasets.features import ArrayFeatures, Features, as_features
from tsnn.datasets.guess import guess_task
from tsnn.datasets.loading import load_dataset, make_artificial, make_dataset
from tsnn.datasets.sources import DatasetInfo, known_datasets

__all__ = [
    "ArrayFeatures",
    "Dataset",
    "DatasetInfo",
    "Features",
    "as_features",
    "guess_task",
    "known_datasets",
    "load_dataset",
    "make_artificial",
    "make_dataset",
    "shard",
]
