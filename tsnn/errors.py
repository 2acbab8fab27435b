"""Errors that tsnn raises.

Each is also the builtin error that a caller would expect: ``except ValueError`` works, and ``except TsnnError`` catches
all of them. A message names the value that was given, the value that was expected, and a remedy.
"""


class TsnnError(Exception):
    """Base class of every error raised by tsnn."""


class ConfigError(TsnnError, ValueError):
    """A setting is unknown, has the wrong type, or lies outside its range."""


class DataError(TsnnError, ValueError):
    """A data set is unknown, cannot be loaded, or cannot be trained on."""


class TopologyError(TsnnError, ValueError):
    """A connectivity pattern is impossible or damaged."""


class DivergenceError(TsnnError, ArithmeticError):
    """The training loss, or a weight, is no longer finite."""


class RunError(TsnnError, RuntimeError):
    """A run directory is missing, unreadable, of another format, or held by another process."""


class WorkerError(TsnnError, RuntimeError):
    """A worker of a parallel run failed."""


class LaunchError(TsnnError, RuntimeError):
    """MPI is missing, or the processes of a parallel run cannot communicate."""


class MissingPackageError(TsnnError, ImportError):
    """An optional package is not installed."""
