"""Read-only mode: with TSNN_READONLY=1 a class watches. The server refuses every change of the runs.

It is enforced in one place, below all pages: Python reports each file that is about to be opened for writing, created,
moved or removed (:func:`sys.addaudithook`), and those in the folder of runs are refused. A run can neither be started,
steered, annotated nor deleted without such a file, and nothing can be uploaded. The pages only leave out the controls.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from tsnn.errors import RunError
from tsnn.runs import default_root
from tsnn.runs.store import is_readonly

__all__ = ["TITLE", "enforce", "is_readonly"]

#: In the header of the page.
TITLE = "View only"
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
#: Reported changes of files, and how many of their arguments are paths.
_CHANGES = {
    "os.mkdir": 1, "os.rename": 2, "os.remove": 1, "os.rmdir": 1, "os.link": 2, "os.symlink": 2, "os.truncate": 1,
    "os.chmod": 1, "os.utime": 1, "shutil.rmtree": 1,
}  # fmt: skip
_installed: list[bool] = []


def enforce() -> None:
    """Refuse changes of the runs in this process while :func:`is_readonly`."""
    if not _installed:
        _installed.append(True)
        sys.addaudithook(_audit)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        paths = arguments[:1] if isinstance(arguments[2], int) and arguments[2] & _WRITING else ()
    else:
        paths = arguments[: _CHANGES.get(event, 0)]
    if paths and is_readonly():
        root = str(default_root().resolve())
        if any(_is_within(path, root) for path in paths):
            raise RunError("This server is read-only: runs can be watched, but not started, changed or deleted.")


def _is_within(path: Any, root: str) -> bool:
    if not isinstance(path, str | bytes | os.PathLike):  # an open file
        return False
    real = os.path.realpath(os.fsdecode(path))
    return real == root or real.startswith(root + os.sep)
