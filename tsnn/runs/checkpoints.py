"""Checkpoint files of a run: writing, removing old ones, reading with checks.

:mod:`tsnn.engine.serialization` describes their content.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tsnn._version import __version__
from tsnn.archives import read_archive, write_archive
from tsnn.errors import RunError
from tsnn.records import FORMAT
from tsnn.runs.store import Run

KEPT = 2  #: checkpoints of a run that are kept

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """Content of a checkpoint.

    Attributes
    ----------
    values : dict
        Plain values.
    arrays : dict of str to array
        Arrays.
    damaged : tuple of str
        One message for each newer checkpoint that is damaged.
    """

    values: dict[str, Any]
    arrays: dict[str, Any]
    damaged: tuple[str, ...]


def write_checkpoint(
    run: Run, epochs: int, samples: int, kind: str, values: Mapping[str, Any], arrays: Mapping[str, Any]
) -> None:
    """Write a checkpoint; afterwards all but the newest two are removed.

    Memory beyond the arrays: 16 MiB.

    Parameters
    ----------
    run : Run
        The run; only its one writer may do this.
    epochs, samples : int
        Finished epochs, and samples done of the current epoch.
    kind : {"sequential", "parallel"}
        Kind of engine; the other kind cannot read it.
    values : mapping
        For JSON; floats keep every bit.
    arrays : mapping of str to array
        Of any dtype but object.

    Raises
    ------
    OSError
        If the disk is full, for instance; earlier checkpoints are untouched.
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
        If all checkpoints are damaged, or the newest undamaged one has another format or kind.
    """
    damaged: list[str] = []
    for path in run.checkpoints():
        try:
            header, arrays = read_archive(path)
            found, kind_found, values = header["format"], str(header["kind"]), dict(header["values"])
        except Exception as error:  # zipfile and numpy raise many types for a damaged file
            damaged.append(f"Checkpoint {path.name} is damaged ({type(error).__name__}: {error})")
            log.warning("%s", damaged[-1])
            continue
        if found != FORMAT:
            raise RunError(
                f"Checkpoint {path.name} of run {run.id} was written by tsnn {header.get('tsnn')} in format "
                f"{found}; this is tsnn {__version__}, which reads format {FORMAT}. Resume it there."
            )
        if kind_found != kind:
            raise RunError(
                f"Checkpoint {path.name} of run {run.id} belongs to a {kind_found} run, not to a {kind} one. "
                "Resume the run with the mode it was started with."
            )
        return Checkpoint(values, arrays, tuple(damaged))
    if damaged:
        raise RunError(f"Run {run.id} cannot be resumed. {'. '.join(damaged)}. Start a new run from its config.toml.")
    return None
