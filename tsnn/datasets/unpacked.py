"""Copies of features that cannot be read row by row where they are, in the user's cache: made once, reused, replaced.

Compressed archives, arrays stored column by column and Parquet files are such. One uncompressed copy is simpler and
faster than unpacking again in every epoch: the rows of a batch are anywhere in the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import platformdirs

from tsnn.archives import write_npz
from tsnn.datasets.raw import Array, size_text
from tsnn.datasets.stored import StoredArray
from tsnn.errors import DataError
from tsnn.files import os_error_message, replacing

log = logging.getLogger(__name__)

_FEATURES, _ABOUT = "x.npy", "about.npz"


def cache_folder() -> Path:
    """Return the folder in which downloaded and unpacked data sets are kept."""
    return platformdirs.user_cache_path("tsnn", appauthor=False)


class Unpacked(NamedTuple):
    """Features to unpack.

    Attributes
    ----------
    shape : tuple of int
        Rows, and the values of one.
    dtype : dtype
        Their type.
    blocks : iterable of array [k, ...]
        The rows, some at a time.
    facts : mapping of str to array
        What else was found out about the source: numbers or text.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    blocks: Iterable[Array]
    facts: Mapping[str, Array]


def unpack_once(source: Path, key: str, make: Callable[[Path], Unpacked]) -> tuple[StoredArray, dict[str, Array]]:
    """Return the unpacked copy of features, and the facts about them; made if there is none of the present file.

    Parameters
    ----------
    source : Path
        The file, or folder of files, that holds them.
    key : str
        Which features of it.
    make : callable
        Takes the folder of the copy, returns :class:`Unpacked`.

    Raises
    ------
    DataError
        There is no room for the copy, or the cache cannot be written.
    """
    root = cache_folder() / "unpacked"
    folder = root / hashlib.blake2b(f"{source.absolute()}\n{key}".encode(), digest_size=12).hexdigest()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root / "lock"):
            about = _read_about(folder)
            if str(about.get("stamp")) != (stamp := _stamp(source)):
                _remove_orphans(root)
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                try:
                    _write(folder, source, stamp, make(folder))
                except BaseException:
                    shutil.rmtree(folder, ignore_errors=True)
                    raise
                about = _read_about(folder)
        shape, dtype = tuple(about["shape"].tolist()), str(about["dtype"])
        return StoredArray(folder / _FEATURES, int(about["offset"]), shape, dtype), about
    except OSError as error:
        raise DataError(
            f"{source} must be unpacked to be read row by row, but the cache cannot be written. "
            f"{os_error_message(error, folder)} Set XDG_CACHE_HOME to a folder with room, or save it as .npy."
        ) from error


def _write(folder: Path, source: Path, stamp: str, unpacked: Unpacked) -> None:
    shape, dtype, blocks, facts = unpacked
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    check_room(size, folder, source)
    log.warning("%s is unpacked once to %s (%s), which may be deleted later.", source, folder, size_text(size))
    with replacing(folder / _FEATURES, durable=False) as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": tuple(shape)}
        np.lib.format.write_array_header_2_0(file, header)
        offset = file.tell()
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype).data)
        if file.tell() != offset + size:
            raise DataError(f"{source} holds {file.tell() - offset:,} bytes of features; expected {size:,}.")
    about = {"source": str(source.absolute()), "stamp": stamp, "offset": offset, "shape": shape, "dtype": dtype.str}
    with replacing(folder / _ABOUT, durable=False) as file:
        write_npz(file, {**about, **facts})


def check_room(size: int, folder: Path, source: Path) -> None:
    """Raise a DataError if there is no room for this number of bytes in a folder."""
    if (free := shutil.disk_usage(folder).free) < 1.05 * size:
        raise DataError(
            f"{source} does not fit into memory, and to be read row by row it must be unpacked: {size_text(size)}, "
            f"but {size_text(free)} is free at {folder}. Make room, set XDG_CACHE_HOME to another disk, or save the "
            "features as an uncompressed .npy file, row by row."
        )


def _read_about(folder: Path) -> dict[str, Array]:
    """Return the description of a copy; empty if there is none, or it is damaged."""
    with contextlib.suppress(Exception), np.load(folder / _ABOUT, allow_pickle=False) as arrays:
        if (folder / _FEATURES).is_file():
            return {name: arrays[name] for name in arrays.files}
    return {}


def _stamp(source: Path) -> str:
    """Return text that differs when a file, or one in a folder, is written again."""
    files = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
    return json.dumps([[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files])


def _remove_orphans(root: Path) -> None:
    """Remove copies of sources that are no longer there."""
    for folder in root.iterdir():
        source = _read_about(folder).get("source") if folder.is_dir() else None
        if source is not None and not Path(str(source)).exists():
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait until no other process holds this lock, and hold it; without effect on Windows."""
    with path.open("w") as file:
        with contextlib.suppress(ImportError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
