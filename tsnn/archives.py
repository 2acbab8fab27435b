"""Archives: .npz files of plain arrays, written atomically and read with checks. Nothing is pickled.

An *archive* of tsnn has a JSON member ``header`` with ``format``, ``tsnn`` (version), ``kind``, ``values`` and the
names of the arrays. Members are stored uncompressed, each with a CRC-32.
"""

from __future__ import annotations

import io
import json
import math
import shutil
import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from tsnn._version import __version__
from tsnn.files import open_regular, replacing
from tsnn.records import FORMAT

#: Errors of a damaged file, besides ValueError.
_DAMAGE = (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OverflowError, KeyError)


def npz_bytes(arrays: Mapping[str, Any], *, compress: bool = False) -> bytes:
    """Return the content of an .npz file of arrays; compression favours speed over size."""
    buffer = io.BytesIO()
    write_npz(buffer, arrays, compress=compress)
    return buffer.getvalue()


def write_npz(file: IO[bytes], arrays: Mapping[str, Any], *, compress: bool = False) -> None:
    """Write arrays as an .npz file, one after the other, without copying them."""
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w", method, compresslevel=1) as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(values), allow_pickle=False)


def read_npz(path: Path, names: Collection[str] | None = None) -> dict[str, Any]:
    """Return the arrays of an uncompressed .npz file, or some; none is allocated before its size has been checked.

    Raises
    ------
    OSError
        If there is no such file, or it is not a regular one.
    ValueError
        If it is damaged or compressed: its members and their headers, sizes and checksums do not agree.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            return {name: _read_member(archive, e) for name, e in entries.items() if names is None or name in names}
    except _DAMAGE as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _read_member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Any:
    """Return the array of an archive's member."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        raise ValueError(f"{entry.filename} is compressed")
    with archive.open(entry) as member:
        if np.lib.format.read_magic(member) != (1, 0):  # later versions allow headers of gigabytes
            raise ValueError(f"{entry.filename} has no plain header")
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
        size = entry.file_size - member.tell()
    if math.prod(shape) * dtype.itemsize != size and not dtype.hasobject:
        raise ValueError(f"{entry.filename} has {size} bytes, which are no {dtype}{list(shape)}")
    with archive.open(entry) as member:
        values = np.lib.format.read_array(member, allow_pickle=False)
        member.read(1)  # the end of the member: here its checksum is compared
    return values


def write_archive(path: Path, kind: str, values: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Replace a file atomically by an archive (see the module); the arrays are not copied.

    Parameters
    ----------
    path : Path
        File to replace.
    kind : str
        Kind of the archive; readers refuse other kinds.
    values : mapping
        Content for JSON; floats keep every bit.
    arrays : mapping of str to array
        Of any dtype but object.
    """
    facts = {"format": FORMAT, "tsnn": __version__, "kind": kind, "arrays": list(arrays)}
    header = json.dumps({**facts, "values": values})
    with replacing(path) as file:
        write_npz(file, {"header": header, **arrays})


def read_archive(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header and the arrays of an archive; of one in another format, the header only.

    Raises
    ------
    OSError
        If there is no such file, or it is not a regular one.
    ValueError
        If it is damaged: sizes and checksums of all arrays are compared.
    """
    arrays = read_npz(path)
    if "header" not in arrays:
        raise ValueError("it has no header")
    header = _header(str(arrays["header"]))
    names = header.get("arrays", []) if header.get("format") == FORMAT else []
    if missing := [name for name in names if name not in arrays]:
        raise ValueError(f"it has no array {missing[0]!r}")
    return header, {name: arrays[name] for name in names}


def read_header(path: Path) -> dict[str, Any]:
    """Return the header of an archive; the arrays are not read.

    Raises
    ------
    OSError, ValueError
        As :func:`read_archive`.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            return _header(str(_read_member(archive, archive.getinfo("header.npy"))))
    except _DAMAGE as error:
        raise ValueError(str(error) or type(error).__name__) from error


def copy_archive(source: Path, target: Path, change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
    """Copy an archive with a changed header; its arrays are copied in blocks, and their checksums compared.

    Parameters
    ----------
    source, target : Path
        The archive, and the file to replace.
    change : callable
        Returns the new header for the old one; an error that it raises is passed on.

    Raises
    ------
    OSError
        If there is no such file, or no space.
    ValueError
        If it is damaged.
    """
    try:
        with open_regular(source) as file, zipfile.ZipFile(file) as old, replacing(target) as out:
            header = change(_header(str(_read_member(old, old.getinfo("header.npy")))))
            with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as new:
                for entry in old.infolist():
                    with new.open(entry.filename, "w", force_zip64=True) as copied:
                        if entry.filename == "header.npy":
                            np.lib.format.write_array(copied, np.asanyarray(json.dumps(header)), allow_pickle=False)
                        else:
                            with old.open(entry) as member:
                                shutil.copyfileobj(member, copied, 1 << 20)
    except _DAMAGE as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _header(text: str) -> dict[str, Any]:
    try:
        header = json.loads(text)  # also with NaN: losses of an estimator without test part
    except RecursionError as error:
        raise ValueError("its header is nested too deeply") from error
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    return header
