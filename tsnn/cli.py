"""The command line: ``tsnn train``, ``resume``, ``runs``, ``compare``, ``export``, ``datasets``, ``bench``."""

from __future__ import annotations

import argparse
import contextlib
import logging
import shlex
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from tsnn._version import __version__
from tsnn.config import Config, describe, setting_names
from tsnn.datasets import known_datasets
from tsnn.errors import ConfigError, TsnnError
from tsnn.jobs.launch import command_line, prepare_resume, watch
from tsnn.records import EpochRecord, Event, Progress
from tsnn.runs import Run, RunStore
from tsnn.runs.comparison import format_cell, format_value, result, table
from tsnn.runs.control import stopping_on_signals
from tsnn.runs.export import FORMATS

MODEL_FORMATS = ("npz", "onnx", "torch")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after ``tsnn``; default are those of this process.

    Returns
    -------
    code : int
        0 for success, 1 for an error that was explained on standard error, 130 after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except TsnnError as error:
        print(f"tsnn: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tsnn", description="Truly sparse neural networks on a CPU.")
    parser.add_argument("--version", action="version", version=f"tsnn {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser(
        "train",
        help="train a network and record the run",
        description="Train a network and record the run. Settings left out take the papers' values for the data set.",
        epilog=_settings_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    train.add_argument("what", help="a known data set, a .npz, .csv or .parquet file, or a .toml configuration")
    train.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="settings",
        help="change a setting, such as zeta=0.2 or training.zeta=0.2; may be given several times",
    )  # fmt: skip
    train.add_argument("--seed", type=int, help="short for --set run.seed=SEED")
    train.add_argument("--workers", type=int, metavar="K", help="train with K processes: --set parallel.workers=K")
    train.add_argument(
        "--prepare", action="store_true",
        help="only make the run's folder, and print the command that trains: for a cluster's scheduler",
    )  # fmt: skip
    train.add_argument("--mode", choices=describe("parallel.mode").choices, help="--set parallel.mode=MODE")
    _add_root(train)
    train.set_defaults(command=_train)

    resume = commands.add_parser(
        "resume",
        help="let a run that was interrupted go on, or a finished one train more epochs",
        description="Let a run go on from its last checkpoint, as if it had not been interrupted.",
    )
    resume.add_argument("run", help="name of the run, as tsnn runs lists it")
    resume.add_argument("--epochs", type=int, help="how many epochs it is to have in all (default: as it was begun)")
    _add_root(resume)
    resume.set_defaults(command=_resume)

    runs = commands.add_parser("runs", help="list the recorded runs, the newest first")
    runs.add_argument("-n", type=int, default=20, help="how many at most (default: %(default)s)")
    _add_root(runs)
    runs.set_defaults(command=_runs)

    compare = commands.add_parser("compare", help="show runs beside each other: settings that differ, results")
    compare.add_argument("run", nargs="+", help="names of runs, as tsnn runs lists them")
    compare.add_argument("--seeds", action="store_true", help="mean and spread of runs that differ in the seed only")
    _add_root(compare)
    compare.set_defaults(command=_compare)

    export = commands.add_parser("export", help="write what a run recorded, or its network, to a file")
    export.add_argument("run", help="name of a run, as tsnn runs lists it")
    export.add_argument(
        "--format", choices=[*FORMATS, *MODEL_FORMATS], default="csv",
        help="the epochs as csv, the settings as toml; the network as npz, onnx or tensors for torch "
        "(default: %(default)s)",
    )  # fmt: skip
    export.add_argument("-o", "--output", type=Path, metavar="FILE", help="where to (default: standard output)")
    _add_root(export)
    export.set_defaults(command=_export)

    datasets = commands.add_parser("datasets", help="list the known data sets")
    datasets.set_defaults(command=_datasets)

    bench = commands.add_parser(
        "bench", help="measure tsnn beside its peers (from a checkout); bench --quick takes a minute",
        add_help=False, prefix_chars="\0",
    )  # fmt: skip
    bench.add_argument("words", nargs="*")  # options, too, are the benchmark's to read
    bench.set_defaults(command=_bench)
    return parser


def _add_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", metavar="FOLDER", help="folder of runs (default: $TSNN_RUNS, else ./runs)")


def _settings_help() -> str:
    lines = ["settings:"]
    for name in setting_names():
        about = describe(name)
        lines.append(f"  {name} = {format_value(about.default)}")
        lines += textwrap.wrap(about.help, 100, initial_indent="      ", subsequent_indent="      ")
    return "\n".join(lines)


def _config(options: argparse.Namespace) -> Config:
    what = options.what
    config = Config.from_toml(what) if what.endswith(".toml") else Config.preset(what)
    settings = {}
    for assignment in options.settings:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set {assignment} lacks a value. Write --set NAME=VALUE, such as --set zeta=0.2.")
        settings[name.strip()] = value.strip()
    short = {"run.seed": options.seed, "parallel.workers": options.workers, "parallel.mode": options.mode}
    settings |= {name: value for name, value in short.items() if value is not None}
    return config.replace(settings)


def _train(options: argparse.Namespace) -> int:
    run = RunStore(options.runs).create(_config(options))
    if options.prepare:
        print(shlex.join(command_line(run)))
        return 0
    return _carry_out(run)


def _resume(options: argparse.Namespace) -> int:
    run = RunStore(options.runs).open(options.run)
    prepare_resume(run, options.epochs)
    return _carry_out(run)


def _carry_out(run: Run) -> int:
    """Train in this process, or with those of a parallel run, and show a progress bar."""
    print(f"Run directory: {run.path}", file=sys.stderr)
    config = run.config()
    items: Iterator[Progress | EpochRecord | Event]
    if config.parallel.workers:
        items = watch(run)
    else:
        from tsnn.execution.engine import execute  # brings Numba; listing runs does without

        items = execute(run)
    last: EpochRecord | None = None
    started = time.monotonic()
    code = 0
    try:
        with (
            stopping_on_signals(run) as received,
            _progress_bar(config.training.epochs) as bar,
            _announcements(),
        ):
            for item in items:
                if isinstance(item, EpochRecord):
                    last = item
                    bar.set_postfix_str(_scores(item), refresh=False)
                    bar.update(item.epoch - bar.n)
                elif isinstance(item, Event):
                    bar.write(item.message, file=sys.stderr)
                else:
                    bar.set_description(f"epoch {item.epoch}", refresh=False)
                    bar.update(item.epoch - 1 + item.samples / item.samples_total - bar.n)
        code = 130 if received else 0
    except KeyboardInterrupt:
        code = 130
    if code:
        print(f"Stopped. What was recorded stays; tsnn resume {run.id} goes on.", file=sys.stderr)
    if last is not None:
        print(_result_table(last, time.monotonic() - started))
    print(f"Run directory: {run.path}")
    return code


@contextlib.contextmanager
def _announcements() -> Iterator[None]:
    """Show what the engine says before it starts, above the progress bar."""
    engine = logging.getLogger("tsnn.execution.engine")
    level = engine.level
    engine.setLevel(logging.INFO)
    try:
        with logging_redirect_tqdm([engine]):
            yield
    finally:
        engine.setLevel(level)


def _progress_bar(epochs: int) -> tqdm[Any]:
    return tqdm(
        total=epochs,
        desc="reading data, compiling (once)",
        bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}",
        mininterval=0.1 if sys.stderr.isatty() else 10,
        dynamic_ncols=True,
    )


def _scores(record: EpochRecord) -> str:
    if record.test_accuracy is None:
        return f"test loss {record.test_loss:.4f}"
    return f"test accuracy {record.test_accuracy:.2%}"


def _result_table(record: EpochRecord, seconds: float) -> str:
    rows = [("epoch", f"{record.epoch}")]
    if record.test_accuracy is not None and record.train_accuracy is not None:
        rows += [("test accuracy", f"{record.test_accuracy:.2%}"), ("train accuracy", f"{record.train_accuracy:.2%}")]
    rows += [
        ("test loss", f"{record.test_loss:.4f}"),
        ("train loss", f"{record.train_loss:.4f}"),
        ("connections", f"{record.connections:,}"),
        ("memory", f"{record.memory_bytes / 2**20:,.0f} MiB"),
        ("time", f"{seconds:,.1f} s"),
    ]
    table = [f"{name:<16}{value:>14}" for name, value in rows]
    table += ["", f"{'layer':<16}{'connections':>14}{'density':>10}{'neurons':>10}"]
    table += [
        f"{f'{layer.n_in} to {layer.n_out}':<16}{layer.connections:>14,}{layer.density:>10.2%}{layer.living:>10,}"
        for layer in record.layers
    ]
    return "\n".join(table)


def _runs(options: argparse.Namespace) -> int:
    store = RunStore(options.runs)
    runs = store.list()
    if not runs:
        print(f"No runs below {store.root} yet. Start one: tsnn train fashion_mnist")
        return 0
    print(f"{'run':<42}{'state':<10}{'data set':<18}{'method':<10}{'epoch':>11}{'test accuracy':>15}")
    for run in runs[: options.n]:
        print(_run_line(run))
    if any(run.checkpoints() and run.status()["state"] in ("stopped", "failed", "lost") for run in runs[: options.n]):
        print("Those that were stopped, failed or were lost can go on: tsnn resume RUN")
    if len(runs) > options.n:
        print(f"... and {len(runs) - options.n} more; tsnn runs -n {len(runs)} lists all")
    return 0


def _run_line(run: Run) -> str:
    status = run.status()
    try:
        config = run.config()
    except TsnnError as error:
        return f"{run.id:<42}{'unreadable':<10}{error}"
    accuracy = status.get("test_accuracy")
    epoch = f"{status.get('epoch', 0)}/{config.training.epochs}"
    return (
        f"{run.id:<42}{status['state']:<10}{Path(config.data.name).stem:<18}{config.training.method:<10}"
        f"{epoch:>11}{'' if accuracy is None else f'{accuracy:.2%}':>15}"
    )


def _compare(options: argparse.Namespace) -> int:
    store = RunStore(options.runs)
    columns = table([result(store.open(name)) for name in options.run], over_seeds=options.seeds)
    texts = [[c.title, *(format_cell(c.kind, value) for value in c.values)] for c in columns]
    widths = [max(map(len, cells)) for cells in texts]
    for row in zip(*texts, strict=True):
        cells = [
            f"{cell:<{width}}" if c.kind == "text" else f"{cell:>{width}}"
            for c, cell, width in zip(columns, row, widths, strict=True)
        ]
        print("  ".join(cells).rstrip())
    print("Results are those of the last epoch: the best of many test epochs would be chosen by the test samples.")
    return 0


def _export(options: argparse.Namespace) -> int:
    run = RunStore(options.runs).open(options.run)
    if options.format in FORMATS:
        content = FORMATS[options.format](run)
    else:
        from tsnn.formats.runs import export_network  # brings Numba

        content = export_network(run, options.format)
    if options.output is None:
        sys.stdout.buffer.write(content)
    else:
        options.output.write_bytes(content)
    return 0


def _datasets(options: argparse.Namespace) -> int:
    print(f"{'name':<24}{'train / test':>18}{'features':>10}{'classes':>9}  what it is")
    for info in known_datasets():
        sizes = {counts: size for size, counts in info.sizes.items()}  # what is bundled completely is listed once
        for (n_train, n_test), size in sizes.items():
            name = f"{info.name} ({size})" if len(sizes) > 1 else info.name
            samples = f"{n_train:,} / {n_test:,}" if n_test else f"{n_train:,}"
            where = "" if size in info.local else " (download)"
            print(f"{name:<24}{samples:>18}{info.n_features:>10,}{info.n_classes or '':>9}  {info.title}{where}")
    return 0


def _bench(options: argparse.Namespace) -> int:
    checkout = Path(__file__).parents[1]
    if not (checkout / "tests" / "benchmarks" / "__main__.py").exists():
        raise TsnnError(
            f"The benchmarks are not part of the installed package, and {checkout} is no checkout of tsnn. "
            "Clone the repository, pip install -e '.[peers]' in it, and try again."
        )
    command = [sys.executable, "-m", "tests.benchmarks", *options.words]
    return subprocess.run(command, cwd=checkout, check=False).returncode
