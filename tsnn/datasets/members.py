"""Arrays in .npy files and .npz archives, one at a time: described by their headers, loaded, or left in their file."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from tsnn.datasets.raw import Array, reading
from tsnn.datasets.stored import StoredArray
from tsnn.datasets.unpacked import Unpacked, unpack_once
from tsnn.errors import DataError

_PANEL = 1 << 27  # bytes of an array stored column by column that are turned at a time
_TOP = 1 << 24  # bytes that are unpacked at a time


class Member(NamedTuple):
    """An array in a file, as its header describes it.

    Attributes
    ----------
    path : Path
        The file.
    name : str
        Its name in an archive; "" for an .npy file.
    shape, dtype : tuple of int, dtype
        Those of the array.
    by_column : bool
        Whether it is stored column by column.
    offset : int or None
        Where its values begin in the file; None if they are compressed.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_column: bool
    offset: int | None


def npy_member(path: Path) -> Member:
    """Describe the array of an .npy file."""
    with reading(path, "an .npy file"), path.open("rb") as stream:
        shape, by_column, dtype = _header(stream, path, path.name)
        return Member(path, "", shape, dtype, by_column, stream.tell())


def npz_member(path: Path, archive: zipfile.ZipFile, name: str) -> Member:
    """Describe an array of an archive."""
    with archive.open(name) as stream:
        shape, by_column, dtype = _header(stream, path, name)
        length = stream.tell()
    info, offset = archive.getinfo(name), None
    if info.compress_type == zipfile.ZIP_STORED:
        with path.open("rb") as file:
            file.seek(info.header_offset + 26)
            offset = info.header_offset + 30 + sum(struct.unpack("<HH", file.read(4))) + length
    return Member(path, name, shape, dtype, by_column, offset)


def _header(stream: IO[bytes], path: Path, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    if np.lib.format.read_magic(stream) != (1, 0):  # later versions allow headers of gigabytes
        raise DataError(f"{path}: {name} has no plain header. Write it again with numpy.savez or numpy.save.")
    header: tuple[tuple[int, ...], bool, np.dtype[Any]] = np.lib.format.read_array_header_1_0(stream)
    return header


def loaded(member: Member) -> Array:
    """Return an array in memory."""
    if not member.name:
        with reading(member.path, "an .npy file"):
            array: Array = np.load(member.path, allow_pickle=False)
            return array
    with reading(member.path, "an .npz archive"), zipfile.ZipFile(member.path) as archive:
        with archive.open(member.name) as stream:
            array = np.lib.format.read_array(stream, allow_pickle=False)
            stream.read(1)  # the end of the member: here its checksum is compared
        return array


def stored(member: Member) -> StoredArray:
    """Return an array that is read row by row: from its file, or from an unpacked copy."""
    path, name, shape, dtype, by_column, offset = member
    if by_column and prod(shape[1:]) == 1:
        by_column = False
    if offset is None and by_column:
        raise DataError(
            f"{path}: {name} does not fit into memory, and it is compressed and stored column by column. Save it as "
            f"{Path(name).stem}.npy: numpy.save({Path(name).stem!r}, numpy.ascontiguousarray(x))."
        )
    if offset is not None and not by_column:
        if name:
            _check_sum(member)
        return StoredArray(path, offset, shape, dtype)
    blocks = _unpacked_rows(member) if offset is None else _turned_rows(member)
    return unpack_once(path, name, lambda folder: Unpacked(shape, dtype, blocks, {}))[0]


def _check_sum(member: Member) -> None:
    """Read a member of an archive to its end, where its checksum is compared."""
    with reading(member.path, "an .npz archive"), zipfile.ZipFile(member.path) as archive:
        stream = archive.open(member.name)
        while stream.read(_TOP):
            pass


def _unpacked_rows(member: Member) -> Iterator[Array]:
    """Yield the rows of a compressed member."""
    row = prod(member.shape[1:]) * member.dtype.itemsize
    with reading(member.path, "an .npz archive"), zipfile.ZipFile(member.path) as archive:
        stream = archive.open(member.name)
        _header(stream, member.path, member.name)
        while content := stream.read(max(1, _TOP // row) * row):
            yield np.frombuffer(content, member.dtype)


def _turned_rows(member: Member) -> Iterator[Array]:
    """Yield the rows of an array that is stored column by column."""
    n, *rest = member.shape
    columns = StoredArray(member.path, member.offset or 0, (prod(rest) * n, 1), member.dtype)
    step = max(1, _PANEL // (prod(rest) * member.dtype.itemsize))
    for start in range(0, n, step):
        k = min(step, n - start)
        panel = np.empty((k, *rest), member.dtype, order="F")
        flat = panel.reshape(k, -1, order="F")
        for j in range(flat.shape[1]):
            flat[:, j] = columns[j * n + start : j * n + start + k][:, 0]
        yield panel
