"""Run directories: one for each run, readable while it is written, after a crash, on another machine.

====================  ==========================================================================
``config.toml``       the full configuration, written before the engine starts
``meta.json``         versions, machine, data set, network: written once by the engine
``features.json``     names of the features, where they are too long for ``meta.json`` (:mod:`tsnn.runs.features`)
``metrics.jsonl``     append-only; one JSON object per line with ``type``, ``seq`` and ``time``; see below
``metrics.index``     some lines of long ``metrics.jsonl``, for readers (:mod:`tsnn.runs.metrics_index`)
``status.json``       heartbeat: state (:class:`~tsnn.records.RunState`), process, progress; replaced every second
``snapshots/``        ``0000123.npz``: summaries of the topology after an epoch (:mod:`tsnn.snapshot`)
``control.jsonl``     commands for the live run (:mod:`tsnn.runs.control`)
``queued.json``       when the run was queued; present while it is (:mod:`tsnn.jobs.queue`)
``rules.json``        the rules that are not built in; their source in ``rules/`` (:mod:`tsnn.runs.rules`)
``resume.json``       the number of epochs to resume to, until the data are there
``checkpoints/``      the newest two, and earlier ones to fork from (:mod:`tsnn.engine.serialization`)
``weights.npz``       the final network
``measures.jsonl``    measures of the topology, computed afterwards (:mod:`tsnn.runs.measures`)
``notes.json``        title and tags (:mod:`tsnn.runs.notes`)
``log.txt``           the engine's output and log
``exit.json``         how a launched run's job ended (:mod:`tsnn.jobs.supervisor`)
``error.rankN.json``  the exception that ended a process of the run
``beat.rankN.json``   heartbeat of a worker of a parallel run
``run.lock``          locked by the process that writes the run, or supervises it
====================  ==========================================================================

Types of lines in ``metrics.jsonl``:

- ``epoch``: an :class:`~tsnn.records.EpochRecord` without its events;
- ``event``: ``epoch``, ``kind`` and ``message`` of an :class:`~tsnn.records.Event`;
- ``snapshot``: ``epoch`` and ``file``;
- ``ack``: the answer to a command: ``command`` (its id), ``epoch``, ``accepted``, ``message``, and for settings those
  and their place (:mod:`tsnn.runs.acks`);
- ``repeat``: the last epoch that was ``recorded`` when the run was resumed from an earlier one;
- ``end``: ``state`` and ``message``; the last line, unless the run is resumed.

Kinds of events (:class:`~tsnn.records.EventKind`; readers accept unknown kinds):

=====================  =========================================================================
``data``               which data the run trains on
``data_warning``       the data may not be what was meant, such as quantities taken as classes
``dense_layer``        a layer is dense: epsilon or density grants every connection
``setting``            a setting was changed while the run was training
``neurons_pruned``     importance pruning removed neurons
``two_phase``          the dense phase of the method two_phase ended
``evolution``          a deferred evolution was run after resuming
``forked``             the run continues from an epoch of another run (:mod:`tsnn.runs.forks`)
``resumed``            the run was resumed: from which epoch, and which epochs are repeated
``checkpoint``         a checkpoint is damaged, or could not be written
``disk``               the disk is nearly full, or a snapshot could not be written
``workers``            a parallel run has more threads than cores
``averaged``           the workers' models were averaged, at the end of a parallel run
=====================  =========================================================================

Nothing is pickled. Whole files are replaced atomically; a line is appended with one write, and a reader takes only
lines that end with a newline, so a torn last line does no harm. ``meta.json``, checkpoints and ``weights.npz`` name
their format (:data:`tsnn.records.FORMAT`); other formats are refused.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from tsnn.config import Config
from tsnn.config.schema import shortened
from tsnn.errors import RunError
from tsnn.files import write_atomic
from tsnn.runs.rules import record_rules
from tsnn.runs.run import Run

__all__ = ["RUN_ID", "Run", "RunStore", "default_root", "is_readonly", "is_run", "place_of"]

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


def default_root() -> Path:
    """Return the folder of runs: the environment variable TSNN_RUNS, else ``./runs``."""
    return Path(os.environ.get("TSNN_RUNS") or "runs").expanduser()


def is_readonly() -> bool:
    """Return whether pages of this process only watch runs: the environment variable TSNN_READONLY is 1."""
    return os.environ.get("TSNN_READONLY") == "1"


def is_run(path: Path) -> bool:
    """Return whether a path is a run directory; also if it cannot be looked into. Links to elsewhere are not."""
    if path.is_symlink() and not _is_within(path, path.parent):
        return False
    try:
        (path / "config.toml").stat()
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _is_within(path: Path, folder: Path) -> bool:
    return os.path.dirname(os.path.realpath(path)) == os.path.realpath(folder)  # noqa: PTH120


def place_of(run: Run) -> tuple[RunStore, str]:
    """Return the folder that a run belongs to, and its name there: of a sweep's trial ``SWEEP/trial-00012``."""
    folder = run.path.parent
    if not (folder / "sweep.json").is_file():
        return RunStore(folder), run.id
    sweep = folder.absolute()
    return RunStore(sweep.parent), f"{sweep.name}/{run.id}"


def new_name(config: Config, kind: str = "") -> str:
    """Return a name for a new directory: the time, the data set, the kind, and random digits."""
    slug = re.sub(r"[^a-z0-9]+", "-", Path(config.data.name).stem.lower()).strip("-")[:24] or "data"
    return "-".join(part for part in (time.strftime("%Y%m%d-%H%M%S"), slug, kind, secrets.token_hex(2)) if part)


class RunStore:
    """Folder of run directories.

    Parameters
    ----------
    root : path, optional
        The folder; default is :func:`default_root`. It is created with the first run.
    """

    def __init__(self, root: str | Path | None = None):
        self.root = Path(root) if root is not None else default_root()

    def create(self, config: Config, fill: Callable[[Path], None] | None = None, name: str = "") -> Run:
        """Create a run directory with a configuration, and the source of its rules that are not built in.

        Parameters
        ----------
        config : Config
            The settings.
        fill : callable, optional
            Writes further files into the directory, which becomes a run afterwards; if it fails, nothing is left.
        name : str
            Name of the directory, which may exist; default is a new one.

        Raises
        ------
        RuleError
            If the source of a rule cannot be recorded.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / name if name else self._new_folder(config)
        (path / "snapshots").mkdir(parents=True, exist_ok=True)
        try:
            if fill is not None:
                fill(path)
            record_rules(path, config)
            write_atomic(path / "config.toml", config.to_toml().encode())
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise
        return Run(path)

    def _new_folder(self, config: Config) -> Path:
        while True:
            path = self.root / new_name(config)
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                return path

    def open(self, run_id: str) -> Run:
        """Return a run by its id; a run of a sweep (:mod:`tsnn.runs.sweeps`) by ``SWEEP/trial-00012``.

        Raises
        ------
        RunError
            If the id is malformed, leads outside the folder, or there is no such run.
        """
        folder, slash, inner = run_id.partition("/")
        if slash and RUN_ID.fullmatch(folder) and (self.root / folder / "sweep.json").is_file():
            if not _is_within(self.root / folder, self.root):
                raise RunError(f"{shortened(folder)} is not the name of a sweep in {self.root}.")
            return RunStore(self.root / folder).open(inner)
        path = self.root / run_id
        if not RUN_ID.fullmatch(run_id) or not _is_within(path, self.root):
            raise RunError(f"{shortened(run_id)} is not the name of a run in {self.root}.")
        if not is_run(path):
            known = ", ".join(run.id for run in self.list()[:3])
            raise RunError(f"There is no run {run_id!r} in {self.root}. The newest: {known or 'none yet'}.")
        return Run(path)

    def list(self) -> list[Run]:
        """Return all runs, the newest first, without reading their files."""
        try:
            names = sorted((entry.name for entry in os.scandir(self.root)), reverse=True)
        except FileNotFoundError:
            return []
        return [Run(self.root / name) for name in names if RUN_ID.fullmatch(name) and is_run(self.root / name)]
