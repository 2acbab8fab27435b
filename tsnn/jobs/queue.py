"""Runs that wait for a free place: started in turn by whoever looks, whoever put them there.

A run that waits carries ``queued.json`` with the moment it was put in line. It holds nothing else: the line
survives every process. A run takes the cores that its threads ask for (all of them by default); the cores
of this machine, or as many as the environment variable TSNN_CORES says, are what all runs have together.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tsnn.config import Config
from tsnn.errors import ConfigError, RunError, TsnnError
from tsnn.files import read_json, write_atomic
from tsnn.jobs import launch
from tsnn.machine import available_cores
from tsnn.runs import LIVE, Run, RunStore
from tsnn.runs.catalog import Catalog, catalog

_SECONDS = 1.0
_READING_SECONDS = 0.2

log = logging.getLogger(__name__)


def cores() -> int:
    """Return how many cores the runs may take together: TSNN_CORES, else those of this machine.

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
    """Return how many cores a run takes: its threads, or one for each process; never more than there are."""
    processes = 1 + config.parallel.workers if config.parallel.workers else config.run.threads
    return min(processes or cores(), cores())


def enqueue(config: Config, store: RunStore | None = None) -> Run:
    """Create a run that starts when there is a place for it: now, if there is one now.

    Parameters
    ----------
    config : Config
        Its settings.
    store : RunStore, optional
        Where to keep it; default is the folder named by TSNN_RUNS, else ``./runs``.
    """
    run = (store or RunStore()).create(config)
    _join(run)
    return run


def resume(run: Run, epochs: int | None = None) -> None:
    """Let a run go on, as :func:`tsnn.jobs.launch.resume` does, when there is a place for it.

    Parameters
    ----------
    run : Run
        One that was stopped, failed, was lost or has finished.
    epochs : int, optional
        How many epochs it is to have in all; default is what it was to have.
    """
    launch.prepare_resume(run, epochs)
    _join(run)


def _join(run: Run) -> None:
    write_atomic(run.path / "queued.json", json.dumps({"time": time.time_ns()}).encode())
    store = RunStore(run.path.parent)
    catalog(store).refresh_run(run.id)
    advance(store)


def queued_runs(store: RunStore) -> list[Run]:
    """Return the runs that wait, the next one first."""
    known = catalog(store)
    known.refresh()
    return [Run(store.root / name) for name in _line(known)]


def queue_position(run: Run) -> str:
    """Tell in words how many runs wait before this one."""
    names = [waiting.id for waiting in queued_runs(RunStore(run.path.parent))]
    return f"Position {names.index(run.id) + 1} of {len(names)} in line." if run.id in names else ""


def _line(known: Catalog) -> list[str]:
    waiting = [line.run for line in known.lines() if line.state == "queued"]
    return sorted(waiting, key=lambda name: (_since(known.store.root / name), name))


def _since(path: Path) -> int:
    since = read_json(path / "queued.json").get("time", 0)
    return since if isinstance(since, int) else 0


def cancel(run: Run) -> None:
    """Take a run out of the line; it stays, as stopped, or as it was before it was to go on.

    Raises
    ------
    RunError
        If it does not wait any more.
    """
    with _alone(run.path.parent, wait=True):
        if run.status()["state"] != "queued":
            raise RunError(f"Run {run.id} does not wait any more. Stop it instead.")
        if (run.path / "status.json").exists():
            (run.path / "queued.json").unlink()
        else:
            _leave(run, "stopped", "Cancelled before it began.")


def _leave(run: Run, state: str, message: str) -> None:
    status = {"state": state, "time": time.time(), "message": message, "epoch": 0}
    write_atomic(run.path / "status.json", json.dumps(status).encode())
    (run.path / "queued.json").unlink(missing_ok=True)


def advance(store: RunStore) -> list[Run]:
    """Start the runs for which there is a place, in their turn; returns them."""
    known = catalog(store)
    known.refresh(seconds=_READING_SECONDS)
    started: list[Run] = []
    if not known.complete or not _line(known):
        return started
    with _alone(store.root) as allowed:
        if not allowed:  # another process is doing it
            return started
        free = cores() - sum(_taken(store, line.run) for line in known.lines() if line.state in LIVE)
        for name in _line(known):
            run = Run(store.root / name)
            if run.status()["state"] != "queued":
                continue
            needed = _taken(store, name)
            if needed > free:
                break
            (run.path / "status.json").unlink(missing_ok=True)  # of one that goes on: it counts as created now
            try:
                launch.begin(run)
            except (OSError, TsnnError) as error:
                _leave(run, "failed", f"The engine could not be started: {error}")
            else:
                (run.path / "queued.json").unlink(missing_ok=True)
                started.append(run)
                free -= needed
            known.refresh_run(name)
    return started


def _taken(store: RunStore, name: str) -> int:
    try:
        return cores_of(Run(store.root / name).config())
    except TsnnError:
        return cores()


@contextlib.contextmanager
def _alone(root: Path, *, wait: bool = False) -> Iterator[bool]:
    """Yield whether this process, and no other, may move the line now; with ``wait``, yield once it may."""
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


_advanced: set[Path] = set()


def start_queue_thread(store: RunStore) -> None:
    """Let this process start the runs of a store that wait, from now on; asking twice changes nothing."""
    root = store.root.resolve()
    if root not in _advanced:
        _advanced.add(root)
        threading.Thread(target=_advance_periodically, args=(store,), name=f"queue of {root}", daemon=True).start()


def _advance_periodically(store: RunStore) -> None:
    while True:
        try:
            advance(store)
        except (OSError, TsnnError) as error:
            log.warning("The queue of %s cannot be advanced: %s", store.root, error)
        time.sleep(_SECONDS)
