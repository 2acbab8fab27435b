"""Queue of runs: started first in, first out, when enough cores are free.

A queued run has a file ``queued.json`` with the time at which it was queued. There is no other state, so the queue
survives any process, and any process may advance it (:func:`advance`). A run occupies one core for each of its threads
(by default all); the limit for all runs together is the number of cores of this machine, or the environment variable
TSNN_CORES. Trials of queued sweeps start when no run is queued (:mod:`tsnn.jobs.trials`).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tsnn.config import Config
from tsnn.errors import ConfigError, RunError, TsnnError
from tsnn.files import os_error_message, read_json, write_atomic
from tsnn.jobs import launch
from tsnn.jobs.trials import is_done, live_trials, pending
from tsnn.machine import available_cores
from tsnn.runs import LIVE, Run, RunState, RunStore
from tsnn.runs.catalog import Catalog, catalog
from tsnn.runs.forks import make_fork
from tsnn.runs.store import place_of
from tsnn.runs.sweeps import QUEUED, Sweep, sweeps

ADVANCE_SECONDS = 1.0  #: between two calls of :func:`advance` in the background
_REFRESH_SECONDS = 0.2
_HERE = (None, socket.gethostname())  # hosts of runs that are live, or about to be, on this machine

log = logging.getLogger(__name__)


def cores() -> int:
    """Return the number of cores for all runs together: TSNN_CORES, else those of this machine.

    Raises
    ------
    ConfigError
        If TSNN_CORES is not a whole number above 0.
    """
    text = os.environ.get("TSNN_CORES", "")
    if not text:
        return available_cores()
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"TSNN_CORES must be a whole number above 0; got {text!r}. Try 2, or unset it.")
    return int(text)


def cores_of(config: Config) -> int:
    """Return the number of cores that a run occupies: its threads, or its processes; at most :func:`cores`."""
    processes = 1 + config.parallel.workers if config.parallel.workers else config.run.threads
    return min(processes or cores(), cores())


def enqueue(config: Config, store: RunStore | None = None) -> Run:
    """Create a run and queue it; it starts when enough cores are free, which may be at once.

    Parameters
    ----------
    config : Config
        Its settings.
    store : RunStore, optional
        Folder of runs; default is the environment variable TSNN_RUNS, else ``./runs``.
    """
    run = (store or RunStore()).create(config)
    _queue(run)
    return run


def resume(run: Run, epochs: int | None = None) -> None:
    """Queue a run to be resumed, as :func:`tsnn.jobs.launch.resume` does, when enough cores are free.

    Parameters
    ----------
    run : Run
        A stopped, failed, lost or finished run.
    epochs : int, optional
        Total number of epochs; default is the number it was started with.

    Raises
    ------
    RunError
        If it cannot be resumed, or is a trial of a sweep that is not queued.
    """
    store, name = place_of(run)
    sweep = name.rpartition("/")[0]
    if sweep and not (store.root / sweep / QUEUED).is_file():
        raise RunError(
            f"Run {name} is a trial of a sweep, which continues it with its other trials: press Continue in the tab "
            f"Sweep, or: tsnn sweep --resume {sweep}."
        )
    launch.prepare_resume(run, epochs)
    _queue(run)


def fork(run: Run, epoch: int | None = None, settings: Mapping[str, Any] | None = None) -> Run:
    """Create a fork, as :func:`tsnn.jobs.launch.fork` does, and queue it.

    Parameters
    ----------
    run : Run
        The parent.
    epoch : int, optional
        One of ``run.fork_epochs()``; default is the last one.
    settings : mapping, optional
        Settings by full or short name.
    """
    forked = make_fork(run, epoch, settings)
    _queue(forked)
    return forked


def _queue(run: Run) -> None:
    store, name = place_of(run)
    last = max((_queued_at(queued.path) for queued in queued_runs(store)), default=0)
    now = max(time.time_ns(), last + 1)  # last also if the clock has been set back
    write_atomic(run.path / "queued.json", json.dumps({"time": now}).encode())
    catalog(store).refresh_run(name)
    advance(store)


def queued_runs(store: RunStore) -> list[Run]:
    """Return the queued runs, the next one first."""
    known = catalog(store)
    known.refresh()
    return [Run(store.root / name) for name in _queued_names(known)]


def queue_position(run: Run) -> str:
    """Return a message with the position of a run in the queue; empty if it is not queued."""
    names = [queued.id for queued in queued_runs(RunStore(run.path.parent))]
    if run.id not in names:
        return ""
    position = _ordinal(names.index(run.id) + 1)
    return f"Queued ({position} of {len(names)}): all cores are busy. Starts automatically."


def _ordinal(n: int) -> str:
    """Return ``1st``, ``2nd``, ``3rd``, ``4th``, ..."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th") if n // 10 % 10 != 1 else "th"
    return f"{n}{ending}"


def _queued_names(known: Catalog) -> list[str]:
    names = [summary.run for summary in known.summaries() if summary.state == RunState.QUEUED]
    return sorted(names, key=lambda name: (_queued_at(known.store.root / name), name))


def _queued_at(path: Path) -> int:
    nanoseconds = read_json(path / "queued.json").get("time", 0)
    return nanoseconds if isinstance(nanoseconds, int) else 0


def cancel(run: Run) -> None:
    """Remove a run from the queue: a new run becomes ``stopped``, one that was to be resumed has its old state again.

    Raises
    ------
    RunError
        If it is not queued any more.
    """
    with _queue_lock(place_of(run)[0].root, wait=True):
        if run.status()["state"] != RunState.QUEUED:
            raise RunError(f"Run {run.id} is not queued any more. Stop it instead.")
        if (run.path / "status.json").exists():
            (run.path / "queued.json").unlink()
            (run.path / "resume.json").unlink(missing_ok=True)
        else:
            _end_queued(run, RunState.STOPPED, "Cancelled before it started.")


def _end_queued(run: Run, state: RunState, message: str) -> None:
    """Mark a queued run as ended without a start."""
    status = {"state": state, "time": time.time(), "message": message, "epoch": 0}
    write_atomic(run.path / "status.json", json.dumps(status).encode())
    (run.path / "queued.json").unlink(missing_ok=True)


def advance(store: RunStore) -> list[Run]:
    """Start the queued runs for which enough cores are free, in order, then trials of queued sweeps; returns them."""
    known = catalog(store)
    known.refresh(seconds=_REFRESH_SECONDS)
    waiting = [sweep for sweep in sweeps(store) if sweep.queued]
    started: list[Run] = []
    if not known.complete or not (_queued_names(known) or waiting):
        return started
    with _queue_lock(store.root) as locked:
        if not locked:  # another process is doing it
            return started
        free = cores() - sum(_cores_of_run(store, s.run) for s in known.summaries() if s.state in LIVE)
        free -= sum(_cores_of_run(sweep.store, run) for sweep in sweeps(store) for run in _live_here(sweep))
        for name in _queued_names(known):
            run = Run(store.root / name)
            if run.status()["state"] != RunState.QUEUED:
                continue
            needed = _cores_of_run(store, name)
            if needed > free:
                return started
            if _start_queued(run):
                started.append(run)
                free -= needed
            known.refresh_run(name)
        for sweep in waiting:
            free -= _start_trials(sweep, free, started)
    return started


def _start_trials(sweep: Sweep, free: int, started: list[Run]) -> int:
    """Start trials of a sweep on free cores, and end its queueing when none is left; returns the number of cores."""
    occupied = 0
    for work in pending(sweep) if free > 0 else ():
        needed = cores_of(work.config())
        if occupied + needed > free:
            break
        if (run := work.start()) is not None:
            started.append(run)
            occupied += needed
    if not occupied and is_done(sweep):
        (sweep.path / QUEUED).unlink(missing_ok=True)
    return occupied


_QUIET_SECONDS = 10.0  # between two looks at a sweep that is not queued
_quiet: dict[Path, float] = {}  # until when a sweep that is not queued has no live trial


def _live_here(sweep: Sweep) -> list[str]:
    """Return the names of a sweep's runs that are live on this machine, or may be."""
    now = time.monotonic()
    if not sweep.queued and now < _quiet.get(sweep.path, 0.0):
        return []
    live = [trial.name for trial in live_trials(sweep)]
    if not live:
        _quiet[sweep.path] = now + _QUIET_SECONDS
    here = (name for name in live if Run(sweep.path / name).status().get("process", {}).get("host") in _HERE)
    return list(here)


def _start_queued(run: Run) -> bool:
    try:
        launch.start_supervisor(run)
    except (OSError, TsnnError) as error:
        reason = os_error_message(error) if isinstance(error, OSError) else error
        if (run.path / "status.json").exists():  # of a run to be resumed: it is as before
            log.warning("Run %s could not be resumed. %s", run.id, reason)
            (run.path / "queued.json").unlink(missing_ok=True)
        else:
            _end_queued(run, RunState.FAILED, f"The engine could not be started: {reason}")
        return False
    (run.path / "queued.json").unlink(missing_ok=True)
    return True


def _cores_of_run(store: RunStore, name: str) -> int:
    try:
        return cores_of(Run(store.root / name).config())
    except TsnnError:
        return cores()


@contextlib.contextmanager
def _queue_lock(root: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold the lock of the queue; yields whether it was free. With ``wait``, wait until it is."""
    try:
        import fcntl
    except ImportError:  # Windows: one dashboard at a time
        yield True
        return
    with open(root / ".queue.lock", "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True


_roots_with_thread: set[Path] = set()


def start_queue_thread(store: RunStore) -> None:
    """Start a thread that advances the queue of a store, unless this process has one already."""
    root = store.root.resolve()
    if root not in _roots_with_thread:
        _roots_with_thread.add(root)
        threading.Thread(target=_advance_periodically, args=(store,), name=f"queue of {root}", daemon=True).start()


def _advance_periodically(store: RunStore) -> None:
    while True:
        try:
            advance(store)
        except Exception as error:  # the thread must survive the contents of any run
            log.warning("The queue of %s cannot be advanced: %s", store.root, error)
        time.sleep(ADVANCE_SECONDS)
