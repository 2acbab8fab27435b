"""Command line: ``tsnn train``, ``inspect``, ``resume``, ``runs``, ``compare``, ``export``, ``datasets``, ``bench``.

``parser`` declares the commands and their options, ``commands`` executes them, ``console`` formats their output.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tsnn.cli.parser import build_parser
from tsnn.errors import TsnnError

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
    options = build_parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except TsnnError as error:
        print(f"tsnn: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1
