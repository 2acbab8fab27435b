"""Raw data: arrays as a file stores them, and the errors that all readers of files share.

Every reader returns a :class:`RawData`; its values are checked later, in :mod:`tsnn.datasets.preparation`.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
import psutil

from tsnn.errors import DataError

_UNREADABLE = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class RawData:
    """Arrays as stored, before validation, split and preprocessing.

    Attributes
    ----------
    name : str
        The file's stem, or the name of a known data set.
    x, y : [n, ...] and [n] or [n, outputs]
        The training part, or all samples where no official split exists.
    x_test, y_test : likewise, or None
        The test part of the official split.
    source : str
        Where the arrays came from, as text.
    class_names, feature_names : tuple of str
        Empty where the file has none.
    image_shape : tuple of int, or None
        As in :class:`tsnn.datasets.Dataset`.
    target_name : str
        Name of the column that ``y`` was; empty where the file has none.
    """

    name: str
    x: Array
    y: Array
    x_test: Array | None
    y_test: Array | None
    source: str
    class_names: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()
    image_shape: tuple[int, ...] | None = None
    target_name: str = ""


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn the errors that a damaged file raises into a DataError that names it.

    Parameters
    ----------
    path : Path
        The file that is read inside the ``with`` block.
    kind : str
        Its expected kind, such as "a Parquet file".
    """
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}. Check the path.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}). Save it as CSV with UTF-8.") from error
    except _UNREADABLE as error:
        raise DataError(
            f"{path} cannot be read as {kind}: {error}. It is truncated, damaged or of another kind: delete "
            "it and make or download it again."
        ) from error


def refuse_if_too_big(needed: int, path: Path) -> None:
    """Raise a DataError if this number of bytes exceeds the free memory; called before they are allocated."""
    free = psutil.virtual_memory().available
    if needed > free:
        raise DataError(
            f"{path} needs about {needed / 1e9:,.1f} GB of memory once unpacked, but {free / 1e9:,.1f} GB is "
            "free. Close other programs, or make a smaller file."
        )
