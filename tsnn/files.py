"""Crash-safe files: replaced atomically, or extended line by line. JSON, read with limits of size and depth."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from tsnn.errors import RunError, abbreviated
from tsnn.records import FORMAT, json_safe

MAX_FILE_BYTES = 64 * 2**20  #: of a JSON or TOML file
MAX_LINE_BYTES = 16 * 2**20  #: of a line of JSON

_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
_REMEDIES = {
    errno.ENOSPC: "Free some space and try again",
    errno.EDQUOT: "Free some space and try again",
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f), or choose another place",
    errno.EIO: "Check the disk",
    errno.ESTALE: "Check the connection to the file server",
    errno.EACCES: "Choose a place where you have the permission",
    errno.EPERM: "Choose a place where you have the permission",
    errno.EROFS: "Choose a place that you may write to",
    errno.ENOTDIR: "Name a folder",
    errno.EEXIST: "Name a folder, or choose another name",
    errno.EISDIR: "Name a file",
    errno.ENOENT: "Check the path",
}


def os_error_message(error: OSError, path: object = None) -> str:
    """Return one sentence about an error of the operating system: the path, the reason, and a remedy if one is known.

    Parameters
    ----------
    error : OSError
        The error.
    path : object
        The file, for errors that do not name it.
    """
    where = path if path is not None else error.filename2 or error.filename
    reason = error.strerror or str(error) or type(error).__name__
    remedy = f" {_REMEDIES[error.errno]}." if error.errno in _REMEDIES else ""
    return abbreviated(f"{f'{where}: ' if where is not None else ''}{reason}.{remedy}")


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


def json_line(values: Mapping[str, Any]) -> bytes:
    """Return an object as a line of JSON."""
    return (json.dumps(json_safe(values), allow_nan=False) + "\n").encode()


def append_line(path: Path, values: Mapping[str, Any], *, create: bool = True) -> None:
    """Append one JSON object as a line, with a single write. If that fails, the file is as before.

    Parameters
    ----------
    path : Path
        The file.
    values : mapping
        The object.
    create : bool
        Whether the file may be created; otherwise it must exist.

    Raises
    ------
    OSError
        If the line cannot be written.
    """
    line = json_line(values)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | (os.O_CREAT if create else 0), 0o644)
    try:
        before = os.fstat(descriptor).st_size
        try:
            written = os.write(descriptor, line)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
        if written != len(line):
            if os.fstat(descriptor).st_size == before + written:  # no other process has written in between
                os.ftruncate(descriptor, before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(descriptor)


def file_mark(path: Path) -> tuple[int, int]:
    """Return modification time and size of a file, which tell whether it has changed; zeros without one."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file for reading; a pipe or device, which might block for ever, is refused.

    Raises
    ------
    OSError
        If there is no such file, or it is not a regular one.
    """
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | _NONBLOCK))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    return file


def read_bounded(path: Path) -> bytes:
    """Return the content of a small file.

    Raises
    ------
    OSError
        If there is no such file, or it cannot be read.
    ValueError
        If it is larger than :data:`MAX_FILE_BYTES`.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(min(size, MAX_FILE_BYTES) + 1)  # memory for all that it may read is taken at once
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"it is larger than {MAX_FILE_BYTES // 2**20} MiB")
    return content


def read_lines(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Read the complete JSON lines of a file from a byte offset on.

    Returns
    -------
    lines : list of dict
        Objects in order; damaged lines, and those longer than :data:`MAX_LINE_BYTES`, are skipped.
    offset : int
        Where to continue reading: behind the last newline.

    Raises
    ------
    OSError
        If the file exists but cannot be read.
    """
    lines: list[dict[str, Any]] = []
    for raw, end in complete_lines(path, offset):
        offset = end
        with contextlib.suppress(ValueError):
            lines.append(parse_object(raw))
    return lines, offset


def complete_lines(path: Path, offset: int = 0) -> Iterator[tuple[bytes, int]]:
    """Yield the complete lines of a file from a byte offset on, each with the offset of the next one.

    Those longer than :data:`MAX_LINE_BYTES` are empty. A file that does not exist has no lines.

    Raises
    ------
    OSError
        If the file exists but cannot be read.
    """
    try:
        file = open_regular(path)
    except FileNotFoundError:
        return
    with file:
        file.seek(offset)
        while raw := file.readline(MAX_LINE_BYTES):
            size, short = len(raw), raw.endswith(b"\n")
            while not raw.endswith(b"\n"):
                raw = file.readline(MAX_LINE_BYTES)
                if not raw:  # the last line is not complete
                    return
                size += len(raw)
            offset += size
            yield (raw if short else b""), offset


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
_SURROGATE = re.compile(rb"\\u[dD][89abAB]|\\u[dD][c-fC-F]")


def parse_object(raw: bytes) -> dict[str, Any]:
    """Return the object in a JSON text.

    Raises
    ------
    ValueError
        If it is not valid JSON in UTF-8, no object, too deeply nested, or contains a number that is none.
    """
    try:
        values = _DECODER.decode(raw.decode("utf-8-sig"))
        if _SURROGATE.search(raw):
            json.dumps(values, ensure_ascii=False).encode()  # half a pair cannot be displayed or written
    except (RecursionError, MemoryError) as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(values, dict):
        raise ValueError("it holds no JSON object")
    return values


def load_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises
    ------
    OSError
        If there is no such file, or it cannot be read.
    ValueError
        If it is damaged or larger than :data:`MAX_FILE_BYTES`.
    """
    return parse_object(read_bounded(path))


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; empty if there is none or it is damaged."""
    with contextlib.suppress(OSError, ValueError):
        return load_json(path)
    return {}


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
