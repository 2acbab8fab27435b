"""Command ``tsnn sweep``: plans or continues a sweep and trains it, or one trial; writes a job array for Slurm."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tsnn.cli import commands, console
from tsnn.cli.rules import load_rule_files
from tsnn.config import Config
from tsnn.datasets import DatasetInfo, guess_task, known_datasets
from tsnn.datasets.preview import preview
from tsnn.datasets.sources import local_file
from tsnn.engine.memory import memory_estimate
from tsnn.engine.shapes import layer_shapes
from tsnn.errors import ConfigError, RunError
from tsnn.extras import require
from tsnn.files import write_atomic
from tsnn.jobs.duration import sweep_seconds
from tsnn.jobs.planning import extended, format_range, plan_sweep, total_epochs
from tsnn.jobs.queue import advance, cores, cores_of
from tsnn.jobs.sweeps import find_sweep
from tsnn.jobs.trials import Work, is_due, queue_sweep, stop_sweep
from tsnn.records import LIVE, OVER, RunState
from tsnn.runs import RunStore
from tsnn.runs.cells import format_value
from tsnn.runs.ranking import ranking, summary_lines, table
from tsnn.runs.sweep_plan import Plan, write_plan
from tsnn.runs.sweeps import Sweep, create_sweep, is_sweep, open_sweep

ASK_ABOVE = 1000  #: trials, from which on the command asks before it queues them
ADVANCE_SECONDS = 0.5
_ROWS = 20  # of the ranking that is printed at the end


def add_sweep_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command, after those of data and settings."""
    parser.add_argument(
        "--grid", "--range", action="append", default=[], metavar="NAME=VALUES", dest="grid",
        help="values such as zeta=0,0.1,0.3, or, for --random and --optuna, a range such as zeta=0..0.5 or "
        "learning_rate=0.001..0.1:log; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--seeds", type=commands.positive, metavar="N", help="train each combination with N seeds (default: 1)"
    )
    parser.add_argument("--random", type=int, default=0, metavar="N", help="draw N combinations")
    parser.add_argument("--optuna", type=int, default=0, metavar="N",
                          help="let Optuna choose N combinations, one after another")  # fmt: skip
    parser.add_argument("--halving", action="store_true",
                          help="train all for a few epochs, the best third three times as long, and so on")  # fmt: skip
    parser.add_argument("--resume", action="store_true",
                          help="DATA is the directory or name of a sweep: continue it, or extend it")  # fmt: skip
    parser.add_argument("--yes", action="store_true",
                          help=f"do not ask before training more than {ASK_ABOVE:,} runs")  # fmt: skip
    parser.add_argument("--slurm", action="store_true", help="train nothing: write the script of a Slurm job array")
    parser.add_argument("--trial", type=int, metavar="K", help="train only trial K of the sweep DATA, in this process")


def sweep(options: argparse.Namespace) -> int:
    """Create a sweep or find it, and train the trials that are missing; with options one trial, or none."""
    load_rule_files(options.rules)
    found = _existing(options)
    grid = commands.assignments(options.grid, "--grid", "zeta=0,0.1,0.3")
    if options.trial is not None:
        return _train_trial(found, options)
    if options.optuna:
        require("optuna", "tsnn sweep --optuna")
    if found is not None:
        plan = extended(found.plan, grid, seeds=options.seeds or 0, count=options.random or options.optuna)
        _confirm(plan, found, RunStore(found.path.parent), options)
        if plan != found.plan:
            write_plan(found.path, plan)
    else:
        config = commands.suited_config(options)
        plan = plan_sweep(
            config, grid, seeds=options.seeds or 1, random=options.random, optuna=options.optuna,
            halving=options.halving, task=guess_task(config.data),
        )  # fmt: skip
        store = RunStore(options.runs)
        found = find_sweep(store, plan)
        _confirm(plan, found, store, options)
        found = found or create_sweep(store, plan)
    print(f"Sweep directory: {found.path}", file=sys.stderr)
    return _write_job_array(found) if options.slurm else _train(found)


def _existing(options: argparse.Namespace) -> Sweep | None:
    """Return the sweep that is to be continued, by its directory or its name; None for a new one."""
    path, store = Path(options.data), RunStore(options.runs)
    if is_sweep(path):
        return open_sweep(RunStore(path.resolve().parent), path.resolve().name)
    if options.resume or options.trial is not None or (path.name == options.data and is_sweep(store.root / path)):
        return open_sweep(store, options.data)
    return None


def _confirm(plan: Plan, found: Sweep | None, store: RunStore, options: argparse.Namespace) -> None:
    """Print the number of trials, the expected time and memory; ask, if there are many.

    Raises
    ------
    ConfigError
        If the answer is no.
    """
    done = 0 if found is None else sum(trial.state == RunState.FINISHED for trial in found.trials)
    new = len(plan.trials) - done
    print("\n".join(_description(plan, done, store)), file=sys.stderr)
    if new <= ASK_ABOVE or options.yes:
        return
    if sys.stdin.isatty():
        print(f"Train {new:,} runs? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return
    raise ConfigError(
        f"Nothing was started: {new:,} runs are many. Give fewer values, draw --random 100, or add --yes."
    )


def _description(plan: Plan, done: int, store: RunStore) -> Iterator[str]:
    swept = [f"{n.partition('.')[2]} {', '.join(map(format_value, v[:12]))}" for n, v in plan.values.items()]
    swept += [f"{n.partition('.')[2]} {format_range(limits)}" for n, limits in plan.ranges.items()]
    yield f"Sweep ({plan.kind}) of {'; '.join(swept)}"
    threads = cores_of(plan.base)
    at_once = max(1, cores() // threads)
    seeds = f" ({len(plan.seeds)} seeds)" if len(plan.seeds) > 1 else ""
    exist = f", of which {done:,} are finished" if done else ""
    each = f"{at_once} at a time with {threads} thread{'s'[: threads > 1]} each"
    yield f"{len(plan.trials):,} trials{seeds}{exist}; {each}"
    if plan.caveat:
        yield plan.caveat
    if info := _shape(plan.base):
        yield _expected(plan, info, done, store, at_once)


def _expected(plan: Plan, info: DatasetInfo, done: int, store: RunStore, at_once: int) -> str:
    """Return time and memory of a sweep as text."""
    n_outputs = info.n_classes or 1
    size = plan.base.data.size
    if size not in info.sizes:
        size = "full" if "full" in info.local or "small" not in info.sizes else "small"
    samples = info.sizes[size]
    points = {tuple(point.items()): point for point, _ in plan.trials}
    configs = [plan.base.replace(point) for point in list(points.values())[:: max(1, len(points) // 50)]]
    sizes = [sum(shape.connections for shape in layer_shapes(info.n_features, n_outputs, c)) for c in configs]
    left = 1.0 - done / max(1, len(plan.trials))
    seconds = sweep_seconds(store, list(zip(configs, sizes, strict=True)), samples=samples[0],
                            epochs=total_epochs(plan) * left, trials=len(plan.trials) * left)  # fmt: skip
    largest = configs[sizes.index(max(sizes))]
    processes = 1 + largest.parallel.workers if largest.parallel.workers else 1
    memory = memory_estimate(largest, info.n_features, n_outputs, sum(samples), processes=processes,
                             data_bytes=0 if info.on_demand else None).total  # fmt: skip
    when = "no estimate of the time: no earlier runs" if seconds is None else f"about {console.duration(seconds)}"
    return f"Expected: {when}; up to {at_once} × {memory / 2**20:,.0f} MiB of memory"


def _shape(config: Config) -> DatasetInfo | None:
    """Return the shape of a data set that is known by name, or of a file; None if it is neither."""
    for known in known_datasets():
        if known.name == config.data.name:
            return known
    path = local_file(config.data.name)
    if path is None:
        return None
    with commands.without_warnings():
        return preview(dataclasses.replace(config.data, name=str(path)), config.run.seed).info


def _train(found: Sweep) -> int:
    """Train the missing trials, with a progress bar; returns the exit code."""
    store = RunStore(found.path.parent)
    queue_sweep(found)
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _bar(found) as bar:
            while found.queued or found.live:
                advance(store)
                _show(bar, found)
                time.sleep(ADVANCE_SECONDS)
            _show(bar, found)
    except KeyboardInterrupt:
        print("Stopping; the trials that are training write a checkpoint.", file=sys.stderr)
        stop_sweep(found)
        with contextlib.suppress(KeyboardInterrupt):
            found.wait()
        print(f"Stopped. Continue with: tsnn sweep --resume {shlex.quote(str(found.path))}", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, previous)
    return _finish(found)


def _bar(found: Sweep) -> tqdm[Any]:
    return tqdm(
        total=len(found.plan.trials), desc="trials", dynamic_ncols=True,
        bar_format="{desc} {n_fmt}/{total_fmt} |{bar}| {elapsed}<{remaining}{postfix}",
        mininterval=0.1 if sys.stderr.isatty() else 10,
    )  # fmt: skip


def _show(bar: tqdm[Any], found: Sweep) -> None:
    results = found.results(seconds=1.0)
    states = [trial.state for trial, _ in results]
    training, failed = sum(s in LIVE for s in states), sum(s in OVER and s != RunState.FINISHED for s in states)
    parts = [f"{training} training"] + ([f"{failed} failed or stopped"] if failed else [])
    ranked = ranking(found, results)
    if ranked and ranked[0].values:
        form = ".4f" if found.objective.endswith("R²") else ".2%"
        parts.append(f"best {ranked[0].value.mean:{form}} ({ranked[0].label})")
    bar.set_postfix_str(", ".join(parts), refresh=False)
    bar.update(sum(s in OVER for s in states) - bar.n)


def _finish(found: Sweep) -> int:
    results = found.results()
    finished = [trial for trial, _ in results if trial.state == RunState.FINISHED]
    for trial, _ in results:
        if trial.run is not None and trial.state in (RunState.FAILED, RunState.LOST):
            message = trial.run.status().get("message") or "its processes were killed"
            print(f"Trial {trial.number} ({trial.state}): {message}", file=sys.stderr)
    print("\n".join(compare_lines(found, results)))
    print(f"Sweep directory: {found.path}")
    return 0 if finished else 1


def compare_lines(found: Sweep, results: Any = None) -> Iterator[str]:
    """Yield the ranking of a sweep's combinations, and sentences on the best one."""
    ranked = ranking(found, results)
    if ranked:
        yield from console.comparison_lines(table(found, ranked[:_ROWS]))
        if len(ranked) > _ROWS:
            yield f"... and {len(ranked) - _ROWS} more combinations"
        yield ""
    yield from summary_lines(found, ranked)


def _train_trial(found: Sweep | None, options: argparse.Namespace) -> int:
    """Train one trial in this process, as a task of a job array does."""
    if found is None:
        raise RunError(f"--trial trains a trial of a sweep that exists; {options.data} is none.")
    if found.kind in ("halving", "optuna"):
        raise ConfigError(
            f"The trials of a sweep of kind {found.kind!r} depend on each other: train it without --trial."
        )
    trials = found.trials
    if not 0 <= options.trial < len(trials):
        raise RunError(f"There is no trial {options.trial} in {found.id}. It has the trials 0 to {len(trials) - 1}.")
    trial = trials[options.trial]
    if trial.state == RunState.FINISHED:
        print(f"Trial {trial.number} is finished.")
        return 0
    if trial.run is not None and not is_due(found, trial) and trial.state in OVER:
        write_atomic(trial.run.path / "queued.json", b'{"time": 0}')
    run = Work(found, trial).claim()
    if run is None:
        raise RunError(f"Trial {trial.number} of {found.id} is being trained by another process.")
    (run.path / "queued.json").unlink(missing_ok=True)
    return commands.execute_run(run)


def _write_job_array(found: Sweep) -> int:
    """Write the script of a Slurm job array that trains the trials, one in each task."""
    if found.kind in ("halving", "optuna"):
        raise ConfigError(
            f"The trials of a sweep of kind {found.kind!r} depend on each other: no job array is possible."
        )
    path, threads = found.path.resolve(), cores_of(found.base)
    last = len(found.plan.trials) - 1
    script = path / "array.sbatch"
    text = f"""#!/bin/bash
#SBATCH --job-name={found.id}
#SBATCH --array=0-{last}
#SBATCH --cpus-per-task={threads}
#SBATCH --output={path}/slurm-%a.log
# A task that is repeated continues its trial. Add what your cluster asks for: --time, --partition, --mem, --requeue.
exec {shlex.quote(sys.executable)} -m tsnn sweep {shlex.quote(str(path))} --trial "$SLURM_ARRAY_TASK_ID"
"""
    write_atomic(script, text.encode())
    print(f"Job array of {last + 1} tasks, one for each trial. Submit it: sbatch {shlex.quote(str(script))}")
    return 0
