"""Upload of a data file: by drop or browse, in chunks, to a folder next to the runs."""

from __future__ import annotations

import contextlib
import filecmp
import os
import re
import secrets
import shutil
import time
import unicodedata
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import panel as pn
import panel_material_ui as pmui

from pages.theme import html, plain
from tsnn.datasets.readers import format_suffixes, has_reader
from tsnn.errors import ConfigError, DataError, TsnnError
from tsnn.files import os_error_message

_CHUNK_BYTES = 4 * 2**20  # far below the 20 MB that a message may have, and written between two ticks of the page
_DEFAULT_MB = 2000
_COMPARED_BYTES = 64 * 2**20  # files up to this size are not stored twice
_RESERVE_BYTES = 2**30  # of the disk, for runs
_ABANDONED_SECONDS = 3600.0
_PARTIAL = ".part"
_MAX_NAME = 80


def upload_limit() -> int:
    """Return the largest number of bytes of an uploaded file: TSNN_UPLOAD_MB megabytes.

    Raises
    ------
    ConfigError
        If TSNN_UPLOAD_MB is not a whole number above 0.
    """
    text = os.environ.get("TSNN_UPLOAD_MB", "") or str(_DEFAULT_MB)
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"TSNN_UPLOAD_MB must be a whole number above 0; got {text!r}. Try 500, or unset it.")
    return int(text) * 10**6


def safe_name(name: str) -> str:
    """Return the name of an uploaded file without folders and without characters that are special anywhere.

    Raises
    ------
    DataError
        If no reader takes files with its suffix.
    """
    base = unicodedata.normalize("NFC", re.split(r"[/\\]", name)[-1])
    base = re.sub(r"[^\w.+-]+", "_", base).strip("._")
    stem, dot, suffix = base.partition(".")
    if not dot or not has_reader(base):
        raise DataError(f"{name[-_MAX_NAME:]!r} is no file that can be read: expected {format_suffixes()}.")
    return f"{stem[:_MAX_NAME] or 'data'}.{suffix[-_MAX_NAME:]}"


class Upload:
    """A file that arrives in chunks; it gets its name when it is complete.

    Parameters
    ----------
    folder : Path
        Where it is stored; created if it is not there.
    name : str
        Its name in the browser.
    chunks : int
        How many chunks will come.
    limit : int
        Bytes that it may have.

    Raises
    ------
    DataError
        Its kind is unknown, or the disk is too small.
    """

    def __init__(self, folder: Path, name: str, chunks: int, limit: int):
        self.given, self.name, self.chunks, self.limit = name, safe_name(name), chunks, limit
        self.received = self.size = 0
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        free = shutil.disk_usage(folder).free
        if (chunks - 1) * _CHUNK_BYTES + _RESERVE_BYTES > free:
            raise DataError(f"{self.name} is not stored: {free / 1e9:.1f} GB are free below {folder}. Delete old runs.")
        self._folder = folder
        self._partial = folder / f".{secrets.token_hex(8)}{_PARTIAL}"
        self._file = self._partial.open("xb")

    def add(self, number: int, data: bytes) -> None:
        """Append a chunk.

        Raises
        ------
        DataError
            The file exceeds the limit, or chunks are missing.
        """
        if number != self.received + 1 or number > self.chunks:
            raise DataError(f"The upload of {self.name} was interrupted. Try again.")
        self.received, self.size = number, self.size + len(data)
        if self.size > self.limit:
            raise DataError(too_large(self.name, self.limit))
        self._file.write(data)

    def finish(self) -> Path:
        """Give the file its name, or that of an equal file that is there already; other files are never replaced."""
        self._file.close()
        if self.received != self.chunks or not self.size:
            raise DataError(f"The upload of {self.name} was interrupted. Try again.")
        stem, _, suffix = self.name.partition(".")
        for number in range(1, 10_000):
            path = self._folder / (self.name if number == 1 else f"{stem}-{number}.{suffix}")
            with contextlib.suppress(FileExistsError):
                path.open("xb").close()  # takes the name
                self._partial.replace(path)
                return path
            if self._equals(path):
                self.discard()
                return path
        raise DataError(f"There are too many files {self.name} in {self._folder}. Give it another name.")

    def _equals(self, path: Path) -> bool:
        if path.is_symlink() or not path.is_file() or not path.stat().st_size == self.size <= _COMPARED_BYTES:
            return False
        return filecmp.cmp(path, self._partial, shallow=False)

    def discard(self) -> None:
        """Delete the chunks received so far."""
        self._file.close()
        self._partial.unlink(missing_ok=True)


def too_large(name: str, limit: int) -> str:
    """Return the message about a file that exceeds the limit."""
    return (
        f"{name} is larger than the {limit / 1e6:,.0f} MB that may be uploaded. Copy it to the machine that serves "
        "this page and give its path below, or raise TSNN_UPLOAD_MB there."
    )


def _remove_abandoned(folder: Path) -> None:
    """Delete partial files that have got no chunk for an hour: their server was killed."""
    for path in folder.glob(f".*{_PARTIAL}"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                path.unlink()


class UploadField(pmui.FileInput):
    """Field for a dropped or browsed file; its chunks go to the disk as they arrive, never through memory.

    Parameters
    ----------
    folder : Path
        Where files are stored.
    done : callable
        Called with the path of a stored file.
    """

    def __init__(self, folder: Path, done: Callable[[Path], None], **params: Any):
        limit, problem = _DEFAULT_MB * 10**6, ""
        try:
            limit = upload_limit()
        except ConfigError as error:
            problem = str(error)
        super().__init__(
            label="Drop a file here, or browse", uploaded_label="Drop or browse for another file", variant="outlined",
            chunk_size=_CHUNK_BYTES, max_file_size=limit, **params,
        )  # fmt: skip
        self._folder, self._done, self._limit = folder, done, limit
        self._upload: Upload | None = None
        self._refused = ""
        self.status = pn.pane.HTML("", sizing_mode="stretch_width", margin=(0, 4), visible=False)
        self.error = pmui.Alert(severity="error", visible=False, margin=(4, 4), sizing_mode="stretch_width")
        self._show("", problem)
        if pn.state.curdoc and pn.state.curdoc.session_context:
            pn.state.on_session_destroyed(lambda _context: self._discard())

    def _handle_msg(self, msg: Any) -> None:
        """Receive a message of the browser: a chunk, the end, or an error found there."""
        try:
            self._receive(msg)
        except (TsnnError, OSError) as error:
            self._discard()
            self._refused = os_error_message(error) if isinstance(error, OSError) else str(error)
            self._show("", self._refused)
            self._send_msg({"status": "error", "error": self._refused})

    def _receive(self, msg: Any) -> None:
        status = msg.get("status")
        if status == "initializing":
            self._discard()
            self._refused = ""
            self._show("Uploading …")
        elif status == "error":  # the browser's own check
            name = re.search(r'"(.*)" \(', str(msg.get("error", "")))
            raise DataError(too_large(name[1] if name else "The file", self._limit))
        elif status == "upload_event" and not self._refused:
            self._add(msg)
        elif status == "finished" and not self._refused:
            self._finish()

    def _add(self, msg: Any) -> None:
        name, number, chunks = str(msg["name"]), int(msg["chunk"]), int(msg["total_chunks"])
        if self._upload is None:
            self._upload = Upload(self._folder, name, chunks, self._limit)
        elif name != self._upload.given:
            raise DataError("More than one file was dropped. Drop one file: a table or an archive of arrays.")
        self._upload.add(number, bytes(msg["data"]))
        self._show(f"Uploading {self._upload.name}: {number / chunks:.0%}")

    def _finish(self) -> None:
        if self._upload is None:
            raise DataError("The file is empty. Choose one with rows of values.")
        path = self._upload.finish()
        wanted, self._upload = self._upload.name, None
        stored = f"Stored as {path.name}" + ("." if path.name == wanted else f": another file is called {wanted}.")
        self._show(stored)
        self._send_msg({"status": "finished"})
        self._done(path)

    def _discard(self) -> None:
        if self._upload is not None:
            self._upload.discard()
            self._upload = None

    def _show(self, status: str, error: str = "") -> None:
        self.status.param.update(
            object=html(escape(status), "font-size:12.5px;opacity:.8"), visible=bool(status) and self.visible
        )
        self.error.param.update(object=plain(error), visible=bool(error))
