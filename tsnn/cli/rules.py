"""Rules of the user's own on the command line: files whose decorated functions become choices of their settings."""

from __future__ import annotations

import argparse
import importlib.machinery
import importlib.util
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

from tsnn.errors import RuleError


def add_rules_option(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--rules`` to a command."""
    parser.add_argument(
        "--rules", action="append", default=[], metavar="FILE", type=Path,
        help="Python file with rules of your own (@tsnn.regrowth, @tsnn.pruning, @tsnn.schedule), for --set "
        "regrow=NAME; it is executed, and the run records the source of those that it uses; may be given several times",
    )  # fmt: skip


def load_rule_files(paths: Iterable[Path]) -> None:
    """Execute files, which register their rules.

    Raises
    ------
    RuleError
        If a file is missing, or fails; the message names the line.
    """
    for path in paths:
        if not path.is_file():
            raise RuleError(f"There is no file {path}. Give a Python file with rules, such as --rules my_rules.py.")
        name = f"rules_{path.stem}"
        spec = importlib.util.spec_from_loader(name, importlib.machinery.SourceFileLoader(name, str(path.absolute())))
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        sys.path.insert(0, str(path.absolute().parent))  # for its helpers
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            line = _line(error, path)
            raise RuleError(f"{path}{line} cannot be loaded: {type(error).__name__}: {error}.") from error
        finally:
            sys.path.pop(0)


def _line(error: Exception, path: Path) -> str:
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path.absolute())]
    return f", line {lines[-1]}" if lines else ""
