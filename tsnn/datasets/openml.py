"""Data sets from OpenML: downloaded once, checked, converted to .npz and kept in the user's cache."""

from __future__ import annotations

import http.client
import json
import logging
import os
import re
import tempfile
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tsnn.datasets.arrow import PARQUET_SUFFIXES, all_numbers, open_parquet
from tsnn.datasets.raw import Array, reading
from tsnn.datasets.sheets import read_arff_names
from tsnn.datasets.unpacked import cache_folder
from tsnn.errors import DataError
from tsnn.extras import require

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

OPENML_API = "https://www.openml.org/api/v1/json/data"


def cached(identifier: int) -> Path:
    """Return where the data set of this OpenML number is kept once it has been downloaded."""
    return cache_folder() / f"openml-{identifier}.npz"


def download(name: str, identifier: int, n_train: int, n_test: int, *, small_exists: bool) -> Path:
    """Fetch a data set, convert it to .npz and move it into the cache in one step.

    Parameters
    ----------
    name : str
        Its name in messages.
    identifier : int
        Its number at OpenML.
    n_train, n_test : int
        Samples of the official parts, of which the training samples come first; ``n_test`` is 0 where there
        is no official split, and then the number of samples is not checked.
    small_exists : bool
        Whether messages may propose the small part that comes with the package.

    Returns
    -------
    path : Path
        The same as :func:`cached`.

    Raises
    ------
    DataError
        No network, not the published file, or no space for it. Nothing is left in the cache then.
    """
    elsewhere = f"set TSNN_DATA to a folder with {name}.npz"
    final = cached(identifier)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        workspace = tempfile.TemporaryDirectory(dir=final.parent)
    except OSError as error:
        reason = f"The cache folder {final.parent} cannot be written ({error.strerror})"
        raise DataError(f"{reason}. Make it writable, or {elsewhere}.") from error
    with workspace as folder:
        small = ", or use size='small', which needs no network" if small_exists else ""
        file, description = _fetch(name, identifier, Path(folder), elsewhere + small)
        x, y = _convert(file, description)
        if not len(x) or (n_test and len(x) != n_train + n_test):
            raise DataError(
                f"{name!r}: OpenML {identifier} gave {len(x):,} samples, expected {n_train + n_test:,}; "
                f"the file was changed. Please {elsewhere}."
            )
        arrays = {"X": x, "y": y}
        if n_test:
            arrays = {"X_train": x[:n_train], "y_train": y[:n_train], "X_test": x[n_train:], "y_test": y[n_train:]}
        temporary = Path(folder) / "converted.npz"
        with temporary.open("wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **arrays)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(final)
    return final


def _fetch(name: str, identifier: int, folder: Path, elsewhere: str) -> tuple[Path, dict[str, Any]]:
    """Return the downloaded file and OpenML's description of it; ``elsewhere`` ends the messages of errors.

    The published MD5 belongs to the ARFF file, so that is downloaded; Parquet only where there is no MD5.
    """
    pooch = require("pooch", f"The download of {name!r}")
    require("pandas", f"The download of {name!r}")

    try:
        with urllib.request.urlopen(f"{OPENML_API}/{identifier}", timeout=30) as answer:
            description: dict[str, Any] = json.load(answer)["data_set_description"]
        md5 = description.get("md5_checksum")
        url = str((not md5 and description.get("parquet_url")) or description["url"])
        kind = ".parquet" if url.lower().endswith(PARQUET_SUFFIXES) else ".arff"
        log.info("downloading %s from %s", name, url)
        file = pooch.retrieve(
            url,
            known_hash=f"md5:{md5}" if md5 else None,
            fname=f"raw{kind}",
            path=folder,
            downloader=pooch.HTTPDownloader(progressbar=True, timeout=60),
        )
    except (OSError, http.client.HTTPException, LookupError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise DataError(
            f"{name!r} is not on this machine and could not be downloaded from OpenML ({identifier}): "
            f"{error!r:.200}. Connect to the network once (the data are then kept in {cache_folder()}), "
            f"or {elsewhere}."
        ) from error
    except ValueError as error:
        raise DataError(
            f"{name!r}: what came from OpenML ({identifier}) is not what its checksum stands for; the "
            f"download was damaged or the file was changed. Try again, or {elsewhere}. {error}"
        ) from error
    return Path(file), description


def _convert(file: Path, description: Mapping[str, Any]) -> tuple[Array, Array]:
    """Return all features and labels of the raw file; both empty if it has no rows."""
    target = str(description.get("default_target_attribute") or "class")
    ignored = {*_as_list(description.get("row_id_attribute")), *_as_list(description.get("ignore_attribute"))}
    frames = _arff_frames(file, target) if file.suffix == ".arff" else _parquet_frames(file)
    parts = [_numbers(frame, target, ignored - {target}) for frame in frames if len(frame)]
    if not parts:
        return np.empty((0, 0)), np.empty(0)
    x, y = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return x, _labels(y)


def _as_list(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else str(value or "").split(",")


def _arff_frames(path: Path, target: str) -> Iterator[pd.DataFrame]:
    """Yield the rows of a dense ARFF file in pieces, columns named, the target as text."""
    import pandas as pd

    with reading(path, "an ARFF file"), path.open(encoding="utf-8") as stream:
        columns = read_arff_names(stream, path)
        yield from pd.read_csv(
            stream, header=None, names=columns, index_col=False, dtype={target: str}, chunksize=2000,
            comment="%", na_values=["?"], quotechar="'", escapechar="\\", skipinitialspace=True,
        )  # fmt: skip


def _parquet_frames(path: Path) -> Iterator[pd.DataFrame]:
    """Yield the rows of a Parquet file in pieces."""
    with reading(path, "a Parquet file"):
        for batch in open_parquet(path).iter_batches(2000):
            yield batch.to_pandas()


def _numbers(frame: pd.DataFrame, target: str, ignored: Iterable[str]) -> tuple[Array, Array]:
    """Return x in the smallest exact dtype and y as text; rows with missing values are left out."""
    frame = frame.drop(columns=list(ignored), errors="ignore").dropna()
    if target not in frame or not all_numbers(frame.drop(columns=target)):
        raise DataError(f"The file from OpenML lacks the column {target!r}, or has features that are no numbers.")
    y = np.array(frame.pop(target).astype(str).tolist(), dtype=str)
    x = frame.to_numpy()
    narrow = x.astype(np.float32)
    if (narrow == np.clip(np.rint(narrow), 0, 255)).all():
        return narrow.astype(np.uint8), y
    return (narrow if (narrow == x).all() else x), y


def _labels(text: Array) -> Array:
    """Return labels as integers if all of them are ("3", "3.0"), else as they are."""
    classes, codes = np.unique(text, return_inverse=True)
    if not all(re.fullmatch(r"[+-]?\d+(\.0*)?", label) for label in classes):
        return text
    return np.array([int(float(label)) for label in classes], dtype=np.int64)[codes]
