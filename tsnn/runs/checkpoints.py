"""Checkpoints of a run: which file, when one is removed, how it is checked."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tsnn._version import __version__
from tsnn.errors import RunError
from tsnn.files import read_archive, write_archive
from tsnn.records import FORMAT
from tsnn.runs.store import Run


KEPT = 2  # checkpoints

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as it was read.

    Attributes
    ----------
    values : dict
        What is neither array nor large.
    arrays : dict of str to array
        The rest.
    damaged : tuple of str
        About newer ones that could not be read, in words.
    """

    values: dict[str, Any]
    arrays: dict[str, Any]
    damaged: tuple[str, ...]


def write_checkpoint(
    run: Run, epochs: int, samples: int, kind: str, values: Mapping[str, Any], arrays: Mapping[str, Any]
) -> None:
    """Keep a state of a run; all but the newest two are removed afterwards.

    Memory beyond the arrays: 16 MiB.

    Parameters
    ----------
    run : Run
        The run; only its one writer may do this.
    epochs, samples : int
        Finished epochs, and samples done of the epoch under way.
    kind : str
        What only the same kind can read: ``"sequential"`` (:func:`pack`) or another.
    values : mapping
        For JSON; floats come back with every bit.
    arrays : mapping of str to array
        Of any dtype but object.

    Raises
    ------
    OSError
        If the disk is full, for instance; the earlier checkpoints are untouched.
    """
    run.checkpoint_folder.mkdir(exist_ok=True)
    write_archive(run.checkpoint_folder / f"{epochs:07d}-{samples:012d}.npz", kind, values, arrays)
    for old in run.checkpoints()[KEPT:]:
        old.unlink(missing_ok=True)


def read_checkpoint(run: Run, kind: str) -> Checkpoint | None:
    """Read a run's newest checkpoint; if it is damaged, the one before, with a warning. None if there is none.

    Raises
    ------
    RunError
        If no checkpoint is whole, or the newest one that is was written by another version or kind of engine.
    """
    damaged: list[str] = []
    for path in run.checkpoints():
        try:
            header, arrays = read_archive(path)
        except Exception as error:  # zipfile and numpy have many words for a damaged file
            damaged.append(f"Checkpoint {path.name} is damaged ({type(error).__name__}: {error})")
            log.warning("%s", damaged[-1])
            continue
        if header["format"] != FORMAT:
            raise RunError(
                f"Checkpoint {path.name} of run {run.id} was written by tsnn {header['tsnn']} in format "
                f"{header['format']}; this is tsnn {__version__}, which reads format {FORMAT}. Resume it there."
            )
        if header["kind"] != kind:
            raise RunError(
                f"Checkpoint {path.name} of run {run.id} is that of a {header['kind']} run, not of a {kind} one. "
                "Resume the run with the mode it was started with."
            )
        return Checkpoint(header["values"], arrays, tuple(damaged))
    if damaged:
        raise RunError(f"Run {run.id} cannot be resumed. {'. '.join(damaged)}. Start it anew from its config.toml.")
    return None
