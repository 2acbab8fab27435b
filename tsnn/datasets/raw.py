"""Raw data: arrays as a file stores them, options of reading and preparing, and the errors that all readers share.

Every reader returns a :class:`RawData`; its values are checked later, in :mod:`tsnn.datasets.preparation`.
"""

from __future__ import annotations

import dataclasses
import lzma
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy.typing as npt

from tsnn.config.sections import MISSING_MARKS
from tsnn.errors import ConfigError, DataError
from tsnn.machine import available_memory

_UNREADABLE = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)

Array = npt.NDArray[Any]


#: Kinds of preprocessing that multiply standardised features by how much they tell about the targets.
RELEVANCE = ("relevance", "root_relevance")


@dataclass(frozen=True)
class Preparation:
    """How arrays become a data set.

    Attributes
    ----------
    task : str
        "classification", "regression", "multilabel" or "auto": labels that are text, booleans, integers, or
        floats with few different values, all integral, are classes; other floats are regression targets; 2-D
        targets of 0 and 1 only are multilabel, other 2-D targets regression.
    test_fraction : float
        Fraction of the samples drawn for the test, between 0 and 1; for classification, of each class. At least
        one sample of each class stays in the training part. Not used if a test part is given.
    validation_fraction : float
        Fraction of the training samples drawn likewise for the validation split; 0 makes none.
    preprocessing : str
        "standard": each feature gets mean 0 and variance 1; "relevance" and "root_relevance": the same, times a
        factor of :func:`tsnn.datasets.relevance.relevance`; "minmax": range 0 to 1; "none". Fitted on the training part
        only, so test values may leave that range; features constant there become 0.
        Regression targets always get mean 0 and variance 1 there; losses and saved networks are in their units.
    missing : str
        Samples with a feature that is NaN: "refuse" the data, "drop_rows", or "fill" it with the median of the
        training part.

    Raises
    ------
    ConfigError
        ``task``, ``preprocessing`` or ``missing`` is none of the values above.
    """

    task: str = "auto"
    test_fraction: float = 1 / 3
    validation_fraction: float = 0.0
    preprocessing: str = "standard"
    missing: str = "refuse"

    def __post_init__(self) -> None:
        check_choice("task", self.task, ("auto", "classification", "regression", "multilabel"))
        check_choice("preprocessing", self.preprocessing, ("standard", *RELEVANCE, "minmax", "none"))
        check_choice("missing", self.missing, ("refuse", "drop_rows", "fill"))


@dataclass(frozen=True)
class TableOptions:
    """How a table is read.

    Attributes
    ----------
    header : {"auto", "true", "false"}
        Whether the first line holds the names of the columns.
    drop : tuple of str
        Columns to leave out.
    missing : {"refuse", "drop_rows", "fill"}
        See :class:`Preparation`.
    missing_marks : tuple of str
        Cells that stand for a missing value, in addition to empty ones.
    transpose : bool
        Whether rows are features.
    separator : str
        Mark between columns: "comma", "semicolon", "tab", "pipe", "blanks", one character, or "auto".
    budget : float
        Bytes of memory that features may take; beyond them they stay on the disk, where the format allows it.
    """

    header: str = "auto"
    drop: Sequence[str] = ()
    missing: str = "refuse"
    missing_marks: Sequence[str] = MISSING_MARKS
    transpose: bool = False
    separator: str = "auto"
    budget: float = inf

    def __post_init__(self) -> None:
        check_choice("header", self.header, ("auto", "true", "false"))
        check_choice("missing", self.missing, ("refuse", "drop_rows", "fill"))
        if isinstance(self.drop, str) or isinstance(self.missing_marks, str):
            raise ConfigError("drop and missing_marks are lists of text: try drop=['id'].")

    def changed(self) -> list[str]:
        """Return the names of the options that make sense for tables only and are not at their defaults."""
        fields = dataclasses.fields(self)
        return [f.name for f in fields if f.name not in ("missing", "budget") and getattr(self, f.name) != f.default]


@dataclass(frozen=True)
class ColumnInfo:
    """A column of a table as it was understood.

    Attributes
    ----------
    name : str
        Its name, as in the header.
    kind : {"number", "category", "dropped", "target"}
        Its role.
    missing : int
        Missing values.
    note : str
        Categories, or the reason why it was dropped.
    """

    name: str
    kind: str
    missing: int = 0
    note: str = ""


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
    warnings : tuple of str
        Doubts about the data, each a sentence for the person who trains.
    columns : tuple of ColumnInfo
        All columns of a table, in the order of the file; else empty.
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
    warnings: tuple[str, ...] = ()
    columns: tuple[ColumnInfo, ...] = ()


def check_choice(what: str, given: str, choices: tuple[str, ...]) -> None:
    """Raise a ConfigError if an option is none of its choices."""
    if given not in choices:
        raise ConfigError(f"{what} is {given!r}; expected one of {', '.join(map(repr, choices))}.")


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
    except MemoryError as error:
        raise DataError(f"{path} does not fit into memory: {error}. Make it smaller; it may be damaged.") from error
    except _UNREADABLE as error:
        raise DataError(
            f"{path} cannot be read as {kind}: {error}. It is truncated, damaged or of another kind: delete "
            "it and make or download it again."
        ) from error


def size_text(count: float) -> str:
    """Return a number of bytes as text, such as "20.0 GB" or "3.2 MB"."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.3g} MB"


def refuse_if_too_big(needed: int, path: Path) -> None:
    """Raise a DataError if this number of bytes exceeds the free memory; called before they are allocated."""
    free = available_memory()
    if needed > free:
        raise DataError(
            f"{path} needs about {needed / 1e9:,.1f} GB of memory once unpacked, but {free / 1e9:,.1f} GB is "
            "free. Close other programs, make a smaller file, or save it as .npy or Parquet: these need not fit."
        )
