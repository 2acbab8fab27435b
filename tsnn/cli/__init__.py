"""Command line: ``tsnn dashboard``, ``course``, ``train``, ``inspect``, ``resume``, ``runs``, ``compare``, ...

``parser`` declares the commands and their options; ``commands``, ``predict``, ``dashboard`` and ``course`` execute
them; ``console`` formats their output.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Sequence

from tsnn.cli.parser import build_parser
from tsnn.errors import TsnnError
from tsnn.files import os_error_message

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments after ``tsnn``; default are those of this process.

    Returns
    -------
    code : int
        0 for success, 1 for an error with a message on standard error, 130 after Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # one that cannot print every character prints a question mark
            stream.reconfigure(errors="replace")
    options = build_parser().parse_args(arguments)
    try:
        code = int(options.command(options))
        sys.stdout.flush()
    except BrokenPipeError:
        return 1
    except (TsnnError, OSError) as error:
        message = os_error_message(error) if isinstance(error, OSError) else error
        with contextlib.suppress(OSError):
            print(f"tsnn: {message}", file=sys.stderr)
        return 1
    return code
