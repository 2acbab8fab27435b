"""Errors that tsnn raises.

Each is also the builtin error that a caller would expect: ``except ValueError`` works, and ``except TsnnError`` catches
all of them. A message names the value that was given, the value that was expected, and a remedy.
"""

import re

MAX_WORD, MAX_MESSAGE = 300, 2000  #: characters; a path is a word
_LONG_WORD = re.compile(rf"(\S{{60}})\S{{{MAX_WORD - 80},}}(\S{{20}})")


def abbreviated(message: str) -> str:
    """Return a message without the middle of values that are too long to be read, such as a cell of a table."""
    message = _LONG_WORD.sub(r"\1...\2", message)
    if len(message) <= MAX_MESSAGE:
        return message
    half = MAX_MESSAGE // 2 - 5
    return f"{message[:half]} ... {message[-half:]}"


class TsnnError(Exception):
    """Base class of every error raised by tsnn; long values in its message are abbreviated."""

    def __init__(self, *arguments: object):
        super().__init__(*(abbreviated(a) if isinstance(a, str) else a for a in arguments))


class ConfigError(TsnnError, ValueError):
    """A setting is unknown, has the wrong type, or lies outside its range."""


class DataError(TsnnError, ValueError):
    """A data set is unknown, cannot be loaded, or cannot be trained on."""


class TopologyError(TsnnError, ValueError):
    """A connectivity pattern is impossible or damaged."""


class DivergenceError(TsnnError, ArithmeticError):
    """The training loss, or a weight, is no longer finite."""


class RuleError(TsnnError, ValueError):
    """A rule that is not built in fails, returns something else than expected, or cannot be recorded."""


class RunError(TsnnError, RuntimeError):
    """A run directory is missing, unreadable, of another format, or held by another process."""


class WorkerError(TsnnError, RuntimeError):
    """A worker of a parallel run failed."""


class LaunchError(TsnnError, RuntimeError):
    """MPI is missing, or the processes of a parallel run cannot communicate."""


class MissingPackageError(TsnnError, ImportError):
    """An optional package is not installed."""
