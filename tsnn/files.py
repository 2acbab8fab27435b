"""Crash-safe files: replaced atomically, or extended line by line. JSON and .npz, nothing pickled.

An *archive* is an .npz file of arrays and a JSON member ``header`` with ``format``, ``tsnn`` (version), ``kind``,
``values`` and the names of the arrays. Members are stored uncompressed, each with a CRC-32.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import threading
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from tsnn._version import __version__
from tsnn.errors import RunError
from tsnn.records import FORMAT, json_safe


def write_atomic(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Replace a file atomically: a reader sees the old or the new content, never a part.

    Parameters
    ----------
    path : Path
        File to replace.
    content : bytes
        Its new content.
    durable : bool
        Also force it to the disk, to survive a power cut.
    """
    with replacing(path, durable=durable) as file:
        file.write(content)


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces ``path`` when it is complete; see :func:`write_atomic`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable and hasattr(os, "O_DIRECTORY"):
        directory = os.open(path.parent, os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


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


def append_line(path: Path, values: Mapping[str, Any]) -> None:
    """Append one JSON object as a line, with a single write."""
    line = (json.dumps(json_safe(values), allow_nan=False) + "\n").encode()
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        if os.write(descriptor, line) != len(line):
            raise OSError(f"The disk is full: {path} could not be extended.")
    finally:
        os.close(descriptor)


def read_lines(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Read the complete JSON lines of a file from a byte offset on.

    Returns
    -------
    lines : list of dict
        Objects in order; damaged lines are skipped.
    offset : int
        Where to continue reading: behind the last newline.
    """
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            content = file.read()
    except FileNotFoundError:
        return [], offset
    content = content[: content.rfind(b"\n") + 1]
    lines = []
    for raw in content.splitlines():
        try:
            line = json.loads(raw)
        except ValueError:
            continue
        if isinstance(line, dict):
            lines.append(line)
    return lines, offset + len(content)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; empty if there is none or it is damaged."""
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def check_format(name: str, found: object) -> None:
    """Refuse a file of another format than :data:`tsnn.records.FORMAT`.

    Parameters
    ----------
    name : str
        Begins the message: ``"Run 20260101-..."``.
    found : object
        The format that the file names.

    Raises
    ------
    RunError
        If it is another one; the message names both.
    """
    if found != FORMAT:
        older = isinstance(found, int) and found < FORMAT
        remedy = "Read it with the version of tsnn that wrote it" if older else "Try a newer version of tsnn"
        raise RunError(f"{name} has format {found}; this version of tsnn reads format {FORMAT}. {remedy}.")


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
    Exception
        Of many types, if the file is damaged: all checksums are compared before the content is used.
    """
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("its members are compressed")
        if (broken := archive.testzip()) is not None:
            raise ValueError(f"{broken} has a wrong checksum")
    with np.load(path, allow_pickle=False) as members:
        header = json.loads(str(members["header"]))
        names = header["arrays"] if header["format"] == FORMAT else []
        return header, {name: members[name] for name in names}
