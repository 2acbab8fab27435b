"""Commands of the command line: each takes the parsed options and returns the exit code."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import IO

from tsnn.cli import console
from tsnn.cli.rules import load_rule_files
from tsnn.config import Config
from tsnn.config.presets import PRESETS, preset_for_shape
from tsnn.datasets import guess_task, inspection, known_datasets
from tsnn.datasets.preview import preview
from tsnn.datasets.sources import check_name, local_file
from tsnn.errors import ConfigError, DataError, TsnnError
from tsnn.extras import require
from tsnn.files import os_error_message, replacing
from tsnn.jobs.launch import command_line, prepare_resume, watch
from tsnn.records import Compilation, EpochRecord, Event, Progress
from tsnn.runs import INTERRUPTED, Run, RunStore
from tsnn.runs.cells import format_value
from tsnn.runs.comparison import table
from tsnn.runs.control import stopping_on_signals
from tsnn.runs.export import FORMATS, write_csv
from tsnn.runs.forks import make_fork
from tsnn.runs.measures import known_distance
from tsnn.runs.ranking import progress_text
from tsnn.runs.results import result
from tsnn.runs.store import place_of
from tsnn.runs.sweeps import is_sweep, open_sweep, sweeps


def train(options: argparse.Namespace) -> int:
    """Create a run and execute it, or print the command that does."""
    load_rule_files(options.rules)
    run = RunStore(options.runs).create(suited_config(options))
    if options.prepare:
        print(shlex.join(command_line(run)))
        return 0
    return execute_run(run)


def _config(options: argparse.Namespace) -> Config:
    """Return the settings of a preset or TOML file, changed by the options."""
    base = Config.from_toml if options.data.endswith(".toml") else Config.preset
    settings = _settings(options)
    config = base(options.data).replace(settings)
    return base(options.data, guess_task(config.data)).replace(settings)


def suited_config(options: argparse.Namespace) -> Config:
    """Return the settings to train with: for a file of one's own, where no option is given, those for its shape."""
    config = _config(options)
    path = local_file(config.data.name)
    if path is None:
        check_name(config.data.name)
    if options.data.endswith(".toml") or path is None or config.data.name in PRESETS:
        return config
    with without_warnings():
        found = preview(dataclasses.replace(config.data, name=str(path)), config.run.seed)
    if found.problem:
        raise DataError(found.problem)
    if found.task == "auto":  # too large to be looked at before
        return config
    suited = Config.preset(options.data, found.task).replace(found.settings).replace(_settings(options))
    before, now = config.flat(), suited.flat()
    changes = [f"{name}={format_value(now[name])}" for name in found.settings if now[name] != before[name]]
    if changes:
        print(f"Settings for data of this shape: {', '.join(changes)}", file=sys.stderr)
    return suited


def _settings(options: argparse.Namespace) -> dict[str, str | int]:
    settings = assignments(options.settings)
    short = {"run.seed": options.seed, "parallel.workers": options.workers, "parallel.mode": options.mode}
    return settings | {name: value for name, value in short.items() if value is not None}


def positive(text: str) -> int:
    """Return the number that an option gives, for argparse; at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} was given, expected at least 1")
    return number


def assignments(given: Sequence[str], option: str = "--set", example: str = "zeta=0.2") -> dict[str, str | int]:
    """Return the settings of an option ``--set NAME=VALUE`` that may be given several times."""
    settings: dict[str, str | int] = {}
    for assignment in given:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(
                f"{option} {assignment} has no value. Write {option} NAME=VALUE, such as {option} {example}."
            )
        settings[name.strip()] = value.strip()
    return settings


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Silence warnings about the data, which are displayed elsewhere."""
    logger, handler = logging.getLogger("tsnn.datasets"), logging.NullHandler()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def inspect(options: argparse.Namespace) -> int:
    """Print how a data set is understood, and the settings that suit its shape; nothing is trained or recorded."""
    from tsnn.execution.provenance import generators, load_data

    config = _config(options)
    refused = ""
    with without_warnings():
        try:
            data = load_data(config, generators(config)[0])
        except DataError as error:
            if config.data.missing != "refuse":
                raise
            refused, config = str(error), config.replace({"data.missing": "fill"})
            try:
                data = load_data(config, generators(config)[0])
            except DataError:
                raise error from None
    print("\n".join(console.inspection_lines(inspection.inspect(data))))
    if refused:
        print(f"\nAs it is, it is refused; with missing values filled it is as above.\n  {refused}")
    suggested = preset_for_shape(len(data.x_train), data.n_features, data.image_shape, task=data.task)
    if config.data.name in PRESETS or options.data.endswith(".toml"):
        print("\nTrain with the settings of this file:" if options.data.endswith(".toml")
              else "\nTrain with the preset of this data set:")  # fmt: skip
        suggested = {}
    else:
        print("\nTrain with the settings suggested for data of this shape:")
    changes = [f"{name}={format_value(value)}" for name, value in suggested.items()]
    words = ["tsnn", "train", options.data]
    for change in [*changes, *options.settings, *(["missing=fill"] if refused else [])]:
        words += ["--set", change]
    words += [] if options.seed is None else ["--seed", str(options.seed)]
    print(f"  {shlex.join(words)}")
    return 1 if refused else 0


def resume(options: argparse.Namespace) -> int:
    """Continue a run from its last checkpoint."""
    run = RunStore(options.runs).open(options.run)
    prepare_resume(run, options.epochs)
    return execute_run(run)


def fork(options: argparse.Namespace) -> int:
    """Create a run that continues from an epoch of another one, and execute it."""
    load_rule_files(options.rules)
    parent = RunStore(options.runs).open(options.run)
    run = make_fork(parent, options.epoch, assignments(options.settings))
    print(f"Forked from {options.run} after epoch {run.resumes_from()}", file=sys.stderr)
    return execute_run(run)


def execute_run(run: Run) -> int:
    """Execute a run in this process, a parallel one in processes of its own, with a progress bar."""
    print(f"Run directory: {run.path}", file=sys.stderr)
    config = run.wanted_config()
    items: Iterator[Compilation | Progress | EpochRecord | Event]
    if config.parallel.workers:
        items = watch(run)
    else:
        from tsnn.execution.engine import execute  # imports Numba; listing runs needs none

        items = execute(run)
    code = 0
    display = console.ProgressDisplay(config.training.epochs, run)
    try:
        with stopping_on_signals(run) as received, display:
            for item in items:
                display.update(item)
        code = 130 if received else 0
    except KeyboardInterrupt:
        code = 130
    if code:
        print(f"Stopped. Continue with: tsnn resume {place_of(run)[1]}", file=sys.stderr)
    if display.last is not None:
        print(console.result_table(display.last, display.seconds(), display.task))
    print(f"Run directory: {run.path}")
    return code


def runs(options: argparse.Namespace) -> int:
    """List the newest sweeps and runs."""
    store = RunStore(options.runs)
    found = store.list()
    for sweep in sweeps(store)[: options.n]:
        print(progress_text(sweep).partition("\n")[0])
    if not found and not sweeps(store):
        print(f"No runs in {store.root} yet. Start one: tsnn train fashion_mnist")
        return 0
    listed = found[: options.n]
    if listed:
        print("\n".join(console.run_lines(listed)))
    if any(run.checkpoints() and run.status()["state"] in INTERRUPTED for run in listed):
        print("Continue a stopped, failed or lost run with: tsnn resume RUN")
    if len(found) > len(listed):
        print(f"... and {len(found) - len(listed)} more. List all: tsnn runs -n {len(found)}")
    return 0


def compare(options: argparse.Namespace) -> int:
    """Print a comparison of runs, or the ranking of a sweep."""
    from tsnn.cli.sweep import compare_lines

    store = RunStore(options.runs)
    found = [open_sweep(store, name) for name in dict.fromkeys(options.run) if is_sweep(store.root / name)]
    for sweep in found:
        print("\n".join(compare_lines(sweep)))
    others = [name for name in dict.fromkeys(options.run) if name not in {sweep.id for sweep in found}]
    if others:
        runs = [store.open(name) for name in others]
        columns = table([result(run) for run in runs], over_seeds=options.seeds)
        print("\n".join(console.comparison_lines(columns)))
        for first, second in combinations(runs, 2):
            if line := known_distance(first, second):
                own, chance = fmean(line["layers"]), fmean(line["random"])
                print(f"Distance of the topologies of {first.id} and {second.id}: {own:.1%} (random: {chance:.1%})")
        print("Results are from the last epoch; picking the best test epoch would overstate accuracy.")
    return 0


def report(options: argparse.Namespace) -> int:
    """Write a report of runs or of a sweep as one HTML file."""
    require("holoviews", "tsnn report")
    from tsnn.views.report import report  # imports Panel

    store = RunStore(options.runs)
    found = {name: open_sweep(store, name) for name in options.run if is_sweep(store.root / name)}
    path = report([found.get(name) or store.open(name) for name in options.run], options.output)
    print(f"Report: {path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0


def export(options: argparse.Namespace) -> int:
    """Write records, settings or network of a run to a file or standard output."""
    run = RunStore(options.runs).open(options.run)
    if options.output is None:
        _export(run, options.format, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return 0
    try:
        path = options.output.resolve()
        special = path.exists() and not path.is_file()  # a device or pipe
        with open(path, "wb") if special else replacing(path, durable=False) as file:
            _export(run, options.format, file)
    except OSError as error:
        raise TsnnError(f"The export cannot be written. {os_error_message(error, options.output)}") from error
    return 0


def _export(run: Run, form: str, file: IO[bytes]) -> None:
    if form == "csv":
        write_csv(run, file)  # a line at a time
    elif form in FORMATS:
        file.write(FORMATS[form](run))
    else:
        from tsnn.formats.runs import export_network  # imports Numba

        file.write(export_network(run, form))


def datasets(options: argparse.Namespace) -> int:
    """List the known data sets."""
    print("\n".join(console.dataset_lines(known_datasets())))
    return 0


def bench(options: argparse.Namespace) -> int:
    """Run the benchmarks of a checkout."""
    checkout = Path(__file__).parents[2]
    if not (checkout / "tests" / "benchmarks" / "__main__.py").exists():
        raise TsnnError(
            f"The benchmarks are not part of the installed package, and {checkout} is no checkout of tsnn. "
            "Clone the repository, pip install -e '.[peers]' in it, and try again."
        )
    command = [sys.executable, "-m", "tests.benchmarks", *options.arguments]
    return subprocess.run(command, cwd=checkout, check=False).returncode
