"""Data sets ready for training: found by name or file, read, checked, split, encoded and scaled.

``dataset`` (what comes out) ← ``sources`` (where it comes from: ``openml``, ``archives``, ``tables``),
``targets`` and ``preparation`` (what is done to it).
"""

from tsnn.datasets.dataset import Batches, Dataset, Features, load_dataset, make_artificial, make_dataset, shard
from tsnn.datasets.sources import DatasetInfo, known_datasets

__all__ = [
    "Batches",
    "Dataset",
    "DatasetInfo",
    "Features",
    "known_datasets",
    "load_dataset",
    "make_artificial",
    "make_dataset",
    "shard",
]
