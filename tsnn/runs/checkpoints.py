"""Checkpoint files of a run: writing, removing old ones, reading with checks.

:mod:`tsnn.engine.serialization` describes their content.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsnn._version import __version__
from tsnn.archives import read_archive, read_npz, write_archive
from tsnn.errors import RunError
from tsnn.records import FORMAT
from tsnn.runs.run import checkpoint_place
from tsnn.runs.store import Run

KEPT = 2  #: newest checkpoints of a run, which are always kept
FORKS = 16  #: earlier ones that are kept to fork the run from, at most

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
    run: Run, epochs: int, samples: int, kind: str, values: Mapping[str, Any], arrays: Mapping[str, Any],
    *, kept_bytes: float = 0,
) -> None:  # fmt: skip
    """Write a checkpoint, and remove those that are older than the newest two and do not fit into a budget.

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
    kept_bytes : float
        Disk space for the ends of earlier epochs, to fork the run from; see :func:`kept_epochs`.

    Raises
    ------
    OSError
        If the disk is full, for instance; the newest two checkpoints are untouched.
    """
    run.checkpoint_folder.mkdir(exist_ok=True)
    try:
        write_archive(run.checkpoint_folder / f"{epochs:07d}-{samples:012d}.npz", kind, values, arrays)
    except OSError:
        kept_bytes = 0  # makes room for the next one
        raise
    finally:
        _remove_old(run, kept_bytes)


class LayerWeights(NamedTuple):
    """Connections of a layer and their weights, as CSR by neuron at its start.

    Attributes
    ----------
    indptr, indices, weights : int64[n_in + 1], int32[m], float32[m]
        Connections ``indptr[i]`` to ``indptr[i + 1]`` start at neuron i and end at the neurons ``indices``, ascending.
    n_out : int
        Neurons at the layer's end.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    weights: NDArray[np.float32]
    n_out: int


def read_layer(run: Run, epoch: int, layer: int) -> LayerWeights:
    """Read one layer, from 0, of a run's network after an epoch from its checkpoint; its content is checked.

    Raises
    ------
    RunError
        If there is no checkpoint of that epoch, or it is damaged.
    """
    path = next((path for path in run.checkpoints() if checkpoint_place(path) == (epoch, 0)), None)
    if path is None:
        raise RunError(f"Run {run.id} has no checkpoint of epoch {epoch}. Choose an epoch that has one.")
    names = [f"{name}_{layer}" for name in ("indptr", "indices", "weights", "n_out")]
    try:
        arrays = read_npz(path, names)
        indptr, indices, weights, n_out = (arrays[name] for name in names)
        found = LayerWeights(indptr, indices, weights, int(n_out))
    except Exception as error:  # zipfile and numpy raise many types for a damaged file
        raise RunError(f"Checkpoint {path.name} of run {run.id} is damaged: {error}.") from error
    if not _is_layer(found):
        raise RunError(f"Checkpoint {path.name} of run {run.id} is damaged: layer {layer + 1} is no sparse matrix.")
    return found


def _is_layer(layer: LayerWeights) -> bool:
    """Return whether arrays have the types of a layer, and name existing neurons."""
    indptr, indices, weights, n_out = layer
    if [(a.ndim, str(a.dtype)) for a in layer[:3]] != [(1, "int64"), (1, "int32"), (1, "float32")] or not len(indptr):
        return False
    if indptr[0] != 0 or indptr[-1] != len(indices) or len(weights) != len(indices) or (np.diff(indptr) < 0).any():
        return False
    return not len(indices) or (indices.min() >= 0 and indices.max() < n_out)


def _remove_old(run: Run, kept_bytes: float) -> None:
    paths = run.checkpoints()
    at_ends = {path: place[0] for path in paths[KEPT:] if not (place := checkpoint_place(path))[1]}
    fitting = int(kept_bytes / max((path.stat().st_size for path in paths), default=1))
    newest = checkpoint_place(paths[0])[0] if paths else 0
    kept = kept_epochs(at_ends.values(), newest, min(FORKS, fitting))
    for path in paths[KEPT:]:
        if at_ends.get(path) not in kept:
            path.unlink(missing_ok=True)


def kept_epochs(epochs: Iterable[int], newest: int, count: int) -> set[int]:
    """Return the epochs to keep of some before the newest: at most ``count``, geometrically spaced.

    As long as there are too many, that one goes whose neighbours have the smallest ratio.
    """
    kept = sorted(epochs)
    while len(kept) > max(0, count):
        ends = [1, *kept, newest]
        ratios = [after / before for before, after in zip(ends, ends[2:], strict=False)]
        del kept[ratios.index(min(ratios))]
    return set(kept)


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
