"""Campaign of faults at random moments of runs; prints a table, and fails if anything was lost, changed or left.

``python -m tests.faults`` takes 20 minutes on two cores, ``--quick`` half a minute. Ctrl-C prints the table so far.
``--seed`` repeats a campaign's choices; the moments also depend on the machine. ``--hours H`` tries one long run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import TypeAlias

import psutil

os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # before Numba is imported
os.environ.setdefault("NUMBA_THREADING_LAYER", "workqueue")  # the only one that survives a fork

from numba.np.ufunc import parallel

from tests.faults.endurance import Endurance
from tests.faults.stories import ForkedStory, FullDiskStory, LaunchedStory, Story, shared_memory, tiny_config
from tsnn.execution.engine import execute
from tsnn.runs import RunStore

FAILURES = ("lost", "changed", "unreadable", "hung", "orphans", "shared memory", "error", "unfinished")
COLUMNS = ("faults", "stories", "changes", "epochs", "replaced", *FAILURES)
FAULTS_PER_STORY = 8
Part: TypeAlias = "tuple[str, type[Story], int, Path, dict[str, object]]"
PHASE1 = {"wasap": 0.7, "wassp": 1, "local": 1}  # modes, and the part of the epochs in which they share a model


def campaign(
    counts: Counter[str], kind: type[Story], faults: int, folder: Path, chance: random.Random, **settings: object
) -> None:
    """Tell stories of a kind until they have had a number of faults; count their failures."""
    before, store = shared_memory(), RunStore(folder / "runs")
    while counts["faults"] < faults:
        counts["stories"] += 1
        config = tiny_config(folder).replace({
            "run.seed": chance.randrange(1000), "training.epochs": chance.choice([30, 100, 200]),
            "run.checkpoint_epochs": chance.choice([0, 0, 1, 7, 20]), "run.snapshots": chance.choice([2, 5, 50]),
            "run.checkpoint_minutes": chance.choice([0, 0.0001, 0.01, 1]), **settings,
        })  # fmt: skip
        story = kind(store, config, chance, counts)
        failed = sum(counts[name] for name in FAILURES)
        try:
            story.tell(min(FAULTS_PER_STORY, faults - counts["faults"]), changes=chance.random() < 0.6)
        finally:
            if sum(counts[name] for name in FAILURES) == failed:
                shutil.rmtree(story.run.path, ignore_errors=True)
        print(f"{kind.__name__} {counts['faults']}/{faults}", file=sys.stderr, end="\r", flush=True)
    counts["shared memory"] += len(shared_memory() - before)


def report(title: str, counts: Counter[str]) -> bool:
    """Print a line of the table; returns whether it has failures."""
    print("  ".join([f"{title:<22}", *(f"{counts[name]:>{len(name)}}" for name in COLUMNS)]), flush=True)
    return any(counts[name] for name in FAILURES)


def _remove(folder: Path) -> None:
    """Remove a campaign's folder, unless runs with failures are left in it."""
    for process in psutil.Process().children():  # of a campaign that was interrupted
        process.kill()
    left = list((folder / "runs").glob("*")) + list((folder / "disk").glob("runs/*"))
    shutil.rmtree(folder, ignore_errors=True) if not left else sys.stderr.write(f"Left: {folder}\n")


def parts(options: argparse.Namespace, folder: Path) -> Generator[Part, None, None]:
    """Yield the parts of a campaign: title, kind of its stories, number of faults, folder, settings."""
    yield "kills and stops", ForkedStory, options.kills, folder, {}
    with FullDiskStory.small_disk(folder / "disk") as disk:
        yield "full disks", FullDiskStory, options.disk, disk, {}
    yield "launched runs", LaunchedStory, options.launched, folder, {}
    for mode in PHASE1:
        settings = {"parallel.workers": 2, "parallel.mode": mode, "parallel.phase1_fraction": PHASE1[mode]}
        yield f"parallel runs, {mode}", LaunchedStory, -(-options.parallel // len(PHASE1)), folder, settings


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=440, help="kills and stops of sequential runs")
    parser.add_argument("--launched", type=int, default=24, help="kills and stops of launched runs")
    parser.add_argument("--parallel", type=int, default=36, help="kills and stops in parallel runs")
    parser.add_argument("--disk", type=int, default=100, help="full disks")
    parser.add_argument("--quick", action="store_true", help="a few of each kind but parallel runs")
    parser.add_argument("--hours", type=float, help="instead of all that: one long run with changes and two pages")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    if options.quick:
        options.kills, options.launched, options.parallel, options.disk = 12, 1, 0, 6
    print(f"seed {options.seed}", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    chance, started, failed = random.Random(options.seed), time.monotonic(), False
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="tsnn-faults-"))
        if options.hours:
            return int(bool(Endurance(folder, chance).last(options.hours)))
        stack.callback(_remove, folder)
        list(execute(RunStore(folder / "first").create(tiny_config(folder).replace(epochs=2))))  # compiles, once
        # Numba's lock is shared by all forks: one that is killed while it has it would stop all later ones.
        parallel._backend_init_process_lock = threading.RLock()
        print("  ".join([f"{'':<22}", *COLUMNS]), flush=True)
        for title, kind, faults, place, settings in stack.enter_context(contextlib.closing(parts(options, folder))):
            counts: Counter[str] = Counter()
            try:
                campaign(counts, kind, faults, place, chance, **settings)
            finally:
                failed |= report(title, counts)
    print(f"{time.monotonic() - started:.0f} s")
    return int(failed)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
