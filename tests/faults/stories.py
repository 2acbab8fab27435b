"""Stories of runs with faults: a run lives several times, each life ends by a fault, and nothing may be lost.

A sequential run lives in a fork of this process, which has imported and compiled everything: so a life takes a second.
Others are launched as usual, with supervisor and ranks.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil

import tsnn
from tests.support.processes import of_run
from tests.support.waiting import wait_until
from tsnn.config import Config
from tsnn.errors import RunError
from tsnn.execution.__main__ import main as execute_run
from tsnn.jobs.launch import prepare_resume, start_supervisor
from tsnn.runs import OVER, RunState, RunStore
from tsnn.runs.control import request

TIMES = (
    "time",
    "seq",
    "seconds_train",
    "seconds_evolve",
    "seconds_evaluate",
    "seconds_examine",
    "memory_bytes",
    "workers",
)
LIFE_SECONDS = 60.0  #: after which a life without end counts as hung
TRIES = 3  #: to train to the end: on a busy machine the ranks may not start within their time


def tiny_config(folder: Path) -> Config:
    """Return settings of a small network on a small file, which is written if necessary."""
    path = folder / "blobs.npz"
    if not path.exists():
        rng, y = np.random.default_rng(1), np.arange(90) % 3
        np.savez(path, X=rng.normal(size=(90, 8)) + 2 * rng.normal(size=(3, 8))[y], y=y)
    return Config().replace({
        "data.name": str(path), "network.hidden": [10, 8], "network.epsilon": 2, "network.dropout": 0.1,
        "training.batch_size": 16, "training.learning_rate": 0.002, "run.threads": 1,
        "importance.percentile": 1, "importance.start": 20, "importance.every": 30,
    })  # fmt: skip


class Story:
    """One run, from its start to its end with several faults.

    Parameters
    ----------
    store : RunStore
        Folder of the run.
    config : Config
        Its settings.
    chance : random.Random
        Source of the moments of faults and changes.
    counts : Counter
        Where faults and failures are counted.
    """

    exact = True  #: whether repeated epochs must be the same bits

    def __init__(self, store: RunStore, config: Config, chance: random.Random, counts: Counter[str]):
        self.run, self.chance, self.counts = store.create(config), chance, counts
        self.seen: dict[int, str] = {}  # epochs as they were recorded first

    def tell(self, faults: int, *, changes: bool) -> None:
        """Let the run live until it has had some faults, then to its end; count failures."""
        for _ in range(faults):
            self.begin()
            self.live(changes=changes)
            self.check()
            if self.run.status()["state"] == RunState.FINISHED:
                break
        self.finish()

    def finish(self) -> None:
        """Let the run train to its end, and compare all that was ever recorded."""
        for _ in range(TRIES):
            if self.run.status()["state"] != RunState.FINISHED:
                self.begin()
                self.await_end()
        self.check()
        final = self.epochs()
        self.counts["epochs"] += len(final)
        self.failure("unfinished", self.run.status()["state"] != RunState.FINISHED)
        self.failure("lost", bool(set(self.seen) - set(final)))
        with contextlib.suppress(RunError):
            tsnn.load_network(self.run.path / "weights.npz")
            return
        self.failure("unfinished", True, "no network")

    def epochs(self) -> dict[int, str]:
        """Return the recorded epochs, without times."""
        lines = [line for line in self.run.lines()[0] if line["type"] == "epoch"]
        return {e["epoch"]: repr([(k, v) for k, v in e.items() if k not in TIMES]) for e in lines}

    def check(self) -> None:
        """Compare the records with earlier ones, and look for remains."""
        self.failure("unreadable", bool(self.run.problem()))
        epochs = [record.epoch for record in self.run.records()]
        self.failure("unreadable", epochs != list(range(1, len(epochs) + 1)))
        changed = [e for e, line in self.epochs().items() if self.seen.setdefault(e, line) != line]
        self.failure("changed", self.exact and bool(changed), f"epochs {changed[:3]}")

    def failure(self, kind: str, happened: bool, detail: str = "") -> None:
        """Count a failure, and report it."""
        if happened:
            self.counts[kind] += 1
            status = self.run.status()
            sys.stderr.write(f"{kind}: {self.run.path} {status['state']} {status.get('message')} {detail}\n")

    def live(self, *, changes: bool) -> None:
        """Live for a random time, with changes of settings, and end by a fault."""
        deadline = time.monotonic() + self.chance.expovariate(1 / 0.4)
        while time.monotonic() < deadline and self.alive():
            time.sleep(self.chance.uniform(0, 0.1))
            if changes and self.chance.random() < 0.3 and self.caught_up():
                self.change()
        self.fault()
        self.await_end()

    def caught_up(self) -> bool:
        """Return whether the run has repeated all epochs: a change before would be one of the history."""
        return len(self.run.records()) >= max(self.seen, default=0)

    def change(self) -> None:
        """Send a command to change a random setting."""
        name, low, high = self.chance.choice(
            [("zeta", 0, 0.6), ("learning_rate", 1e-4, 4e-3), ("epsilon", 1, 3), ("dropout", 0, 0.4)]
        )
        with contextlib.suppress(OSError, RunError):  # the disk may be full; the run may just have ended
            request(self.run, "set", **{name: self.chance.uniform(low, high)})
            self.counts["changes"] += 1

    def begin(self) -> None:
        """Start the run, or resume it."""
        raise NotImplementedError

    def alive(self) -> bool:
        """Return whether a process of the run is alive."""
        raise NotImplementedError

    def fault(self) -> None:
        """Let something happen to the run."""
        raise NotImplementedError

    def await_end(self) -> None:
        """Wait until no process of the run is left."""
        raise NotImplementedError


class ForkedStory(Story):
    """A sequential run in forks of this process, which are killed or stopped."""

    def begin(self) -> None:
        """Fork an engine."""
        self.pid = os.fork()
        if not self.pid:
            sys.argv = ["tsnn.execution", str(self.run.path)]
            sys.stderr = sys.stdout = open(os.devnull, "w")  # noqa: SIM115
            try:
                os._exit(execute_run())
            except BaseException:  # such as a full disk: nothing of this process's stack may run twice
                os._exit(1)
        self.process = psutil.Process(self.pid)

    def alive(self) -> bool:
        """Return whether the engine runs."""
        return bool(self.process.status() != psutil.STATUS_ZOMBIE)

    def fault(self) -> None:
        """Kill or stop it."""
        if self.alive():
            signum = self.chance.choice([signal.SIGKILL] * 4 + [signal.SIGTERM, signal.SIGINT])
            self.counts["faults"] += 1
            os.kill(self.pid, signum)

    def await_end(self) -> None:
        """Wait for the engine; one that hangs is replaced by a fresh process: threads may not survive a fork."""
        if hung := not self._ends():
            self.counts["replaced"] += 1
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        if hung:
            command = [sys.executable, "-m", "tsnn.execution", str(self.run.path)]
            self.process = psutil.Popen(command, stderr=subprocess.DEVNULL)
            self.failure("hung", not self._ends())
            self.process.kill()
            self.process.wait()

    def _ends(self) -> bool:
        deadline = time.monotonic() + LIFE_SECONDS
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        return not self.alive()


class FullDiskStory(ForkedStory):
    """A sequential run whose disk becomes full, or the limit of a file's size is reached.

    The disk is a file system in memory, if this process may mount one.
    """

    folder: Path | None = None  #: where a small file system is mounted

    def fault(self) -> None:
        """Fill the disk, wait, and make room again."""
        if not self.alive():
            return
        self.counts["faults"] += 1
        if self.folder is None:
            sizes = [path.stat().st_size for path in self.run.path.rglob("*") if path.is_file()]
            limit = self.chance.randint(1, max(sizes, default=1))
            resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        else:
            filler = self.folder / "filler"
            usage = os.statvfs(self.folder)
            room = max(0, usage.f_bavail * usage.f_frsize - self.chance.choice([0, 0, 4096, 16384, 65536]))
            with contextlib.suppress(OSError):  # the run has written meanwhile
                filler.write_bytes(bytes(room))
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not self.alive(), self.chance.choice([0.3, 3]))
        if self.alive():
            os.kill(self.pid, signal.SIGKILL)
        self.await_end()
        if self.folder is not None:
            filler.unlink(missing_ok=True)

    def await_end(self) -> None:
        """Wait for the engine; a full disk is the only error that it may report."""
        if self.process.is_running():
            super().await_end()
        status = self.run.status()
        full = any(text in status.get("message", "") for text in ("Disk full", "File too large"))
        self.failure("error", status["state"] == RunState.FAILED and not full)

    @classmethod
    @contextlib.contextmanager
    def small_disk(cls, folder: Path):  # type: ignore[no-untyped-def]
        """Mount a file system of 2 MiB in a folder, if allowed."""
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tsnn-faults", str(folder)]
        mounted = sys.platform == "linux" and subprocess.run(mount, capture_output=True, check=False).returncode == 0
        cls.folder = folder if mounted else None
        try:
            yield folder
        finally:
            if mounted:
                subprocess.run(["umount", "--lazy", str(folder)], check=True)


class LaunchedStory(Story):
    """A run with supervisor, and ranks if it is parallel: one of its processes is killed, or it is stopped."""

    def __init__(self, store: RunStore, config: Config, chance: random.Random, counts: Counter[str]):
        super().__init__(store, config, chance, counts)
        parallel = config.parallel
        self.exact = parallel.workers == 0 or (parallel.mode != "wasap" and parallel.phase1_fraction == 1)

    def check(self) -> None:
        """Compare the records with earlier ones, unless epochs have been repeated with fewer workers."""
        self.exact &= "one worker fewer" not in self.run.log(10**8)
        super().check()

    def begin(self) -> None:
        """Start or resume the run in the background."""
        if self.run.status()["state"] != RunState.CREATED:
            prepare_resume(self.run)
        self.supervisor = start_supervisor(self.run)

    def live(self, *, changes: bool) -> None:
        """Begin the random time when training has begun, or before that."""
        if self.chance.random() < 0.8:
            before = len(self.run.records())
            with contextlib.suppress(AssertionError):  # on a busy machine
                wait_until(lambda: len(self.run.records()) != before or not self.alive(), LIFE_SECONDS)
        super().live(changes=changes)

    def alive(self) -> bool:
        """Return whether the run is not over; on a busy machine its supervisor may take minutes to begin."""
        return self.supervisor.poll() is None or self.run.status()["state"] not in OVER

    def fault(self) -> None:
        """Kill one of its processes."""
        processes = of_run(self.run)
        if processes and self.alive():
            self.counts["faults"] += 1
            if self.chance.random() < 0.2:
                with contextlib.suppress(RunError):
                    tsnn.stop(self.run)
            else:
                with contextlib.suppress(psutil.NoSuchProcess):
                    self.chance.choice(processes).kill()

    def await_end(self) -> None:
        """Wait for the end of a run that may have been restarted with fewer workers: stop it then."""
        deadline = time.monotonic() + 4 * LIFE_SECONDS
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.1)
        self.failure("hung", self.alive())
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not of_run(self.run), 10)
        self.failure("orphans", bool(of_run(self.run)))


def shared_memory() -> set[str]:
    """Return the names of this user's segments of shared memory."""
    folder = Path("/dev/shm")
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()
