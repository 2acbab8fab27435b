"""Parser of the command line: commands, options, help texts."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import TypeAlias

from tsnn._version import __version__
from tsnn.cli import commands, course, dashboard, doctor, measures, predict, sweep
from tsnn.cli.rules import add_rules_option
from tsnn.config import describe, setting_names
from tsnn.runs.cells import format_value
from tsnn.runs.export import FORMATS

MODEL_FORMATS = ("npz", "onnx", "torch")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; its result has the function to call as ``command``."""
    parser = argparse.ArgumentParser(prog="tsnn", description="Truly sparse neural networks on a CPU.")
    parser.add_argument("--version", action="version", version=f"tsnn {__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    first = (_add_train, _add_sweep, _add_inspect, _add_resume, _add_fork, _add_runs, _add_compare, _add_report)
    then = (_add_export, _add_predict, _add_features, _add_measure, _add_datasets, _add_doctor, _add_bench)
    for add in (_add_dashboard, _add_course, *first, *then):
        add(subparsers)
    return parser


_Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _add_dashboard(subparsers: _Subparsers) -> None:
    page = subparsers.add_parser(
        "dashboard",
        help="open the dashboard in a browser",
        description="Open the dashboard: start runs, steer them while they train, replay and compare them. It answers "
        "to this machine only, unless --address is given; on an address that others can open, use --password.",
    )
    page.add_argument("--port", type=int, default=dashboard.PORT,
                      help="the next free port is taken if it is busy (default: %(default)s)")  # fmt: skip
    page.add_argument("--address", default="127.0.0.1", help="0.0.0.0 for all of this machine (default: %(default)s)")
    page.add_argument(
        "--password", action="store_true",
        help="ask for a password that the page will ask for; the environment variable TSNN_PASSWORD sets one unasked",
    )  # fmt: skip
    page.add_argument("--no-browser", action="store_true", help="open no browser; there is none without a display")
    page.add_argument(
        "--allow-origin", action="append", default=[], metavar="NAME[:PORT]",
        help="another name under which browsers open the page, such as that of a proxy; may be given several times",
    )  # fmt: skip
    page.add_argument("--prefix", default="", metavar="PATH", help="serve the page as PATH/app, for a proxy")
    page.add_argument("--ssl-certfile", metavar="FILE", help="TLS certificate: the page is served as https")
    page.add_argument("--ssl-keyfile", metavar="FILE", help="its private key, if that is another file")
    page.add_argument(
        "--unix-socket", metavar="PATH", help="listen on this socket only, for a proxy that checks users and origins"
    )
    _add_root(page)
    page.set_defaults(command=dashboard.dashboard)


def _add_course(subparsers: _Subparsers) -> None:
    notebooks = subparsers.add_parser(
        "course",
        help="copy the course's notebooks and open them in JupyterLab",
        description="Copy the course's notebooks into a folder and open them in JupyterLab. Files that are already "
        "there are never overwritten.",
    )
    notebooks.add_argument("folder", metavar="DIR", nargs="?", default=course.FOLDER,
                           help="folder of the copies (default: ./%(default)s)")  # fmt: skip
    notebooks.add_argument("--no-browser", action="store_true", help="start JupyterLab without opening a browser")
    notebooks.add_argument("--lab-options", default="", metavar="TEXT",
                           help="options of jupyter lab, such as --lab-options='--port=9999 --allow-root'")  # fmt: skip
    notebooks.add_argument("--no-open", action="store_true", help="only copy the notebooks")
    notebooks.set_defaults(command=course.course)


def _add_train(subparsers: _Subparsers) -> None:
    train = subparsers.add_parser(
        "train",
        help="train a network and record the run",
        description="Train a network and record the run. A known data set has a preset, its default settings; paper/ "
        "before the name, as in paper/cifar10, takes the papers' settings.",
        epilog=_settings_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_data(train)
    add_rules_option(train)
    train.add_argument("--workers", type=int, metavar="K", help="short for --set parallel.workers=K")
    modes = describe("parallel.mode").choices
    train.add_argument("--mode", choices=modes, help="short for --set parallel.mode=MODE")
    train.add_argument(
        "--prepare", action="store_true",
        help="only create the run directory, and print the command that trains: for a cluster's scheduler",
    )  # fmt: skip
    _add_root(train)
    train.set_defaults(command=commands.train)


def _add_sweep(subparsers: _Subparsers) -> None:
    sweeping = subparsers.add_parser(
        "sweep",
        help="train many runs that differ in a few settings and the seed, or continue such a sweep",
        description="Train many runs that differ in a few settings and the seed. A sweep is a directory of runs: "
        "started again, extended, or after it was killed, it trains only what is missing; machines may share it.",
    )
    _add_data(sweeping)
    sweep.add_sweep_options(sweeping)
    add_rules_option(sweeping)
    _add_root(sweeping)
    sweeping.set_defaults(command=sweep.sweep, workers=None, mode=None)


def _add_inspect(subparsers: _Subparsers) -> None:
    inspect = subparsers.add_parser(
        "inspect",
        help="print how a data set is understood: columns, target, classes, missing values, split, warnings",
        description="Print how a data set is understood, and settings that suit its shape. Nothing is trained.",
    )
    _add_data(inspect)
    inspect.set_defaults(command=commands.inspect, workers=None, mode=None)


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "data",
        metavar="DATA",
        help="a known data set, such as cifar10 or paper/cifar10, a file (.npz, .csv, .parquet, ...), a folder of "
        ".parquet files, or a .toml file",
    )
    _add_setting(parser)
    parser.add_argument("--seed", type=int, help="short for --set run.seed=SEED")


def _add_setting(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="settings",
        help="change a setting, such as zeta=0.2 or training.zeta=0.2; may be given several times",
    )  # fmt: skip


def _add_resume(subparsers: _Subparsers) -> None:
    resume = subparsers.add_parser(
        "resume",
        help="continue an interrupted run, or train a finished one for more epochs",
        description="Continue a run from its last checkpoint, bit for bit, as if it had not been interrupted. If "
        "training diverged after a setting was changed, that change is left out.",
    )
    _add_run(resume)
    resume.add_argument("--epochs", type=int, help="total number of epochs (default: unchanged)")
    _add_root(resume)
    resume.set_defaults(command=commands.resume)


def _add_fork(subparsers: _Subparsers) -> None:
    fork = subparsers.add_parser(
        "fork",
        help="start a new run from an epoch of another one, with other settings",
        description="Start a new run that continues from an epoch of another one, with other settings. Without --set "
        "it computes what its parent computed, bit for bit. Data, layers and seed stay.",
    )
    _add_run(fork)
    fork.add_argument("--epoch", type=int, help="an epoch with a checkpoint (default: the last)")
    _add_setting(fork)
    add_rules_option(fork)
    _add_root(fork)
    fork.set_defaults(command=commands.fork)


def _add_runs(subparsers: _Subparsers) -> None:
    runs = subparsers.add_parser("runs", help="list the recorded runs, the newest first")
    runs.add_argument(
        "-n", type=commands.positive, default=20, help="largest number of runs to list (default: %(default)s)"
    )
    _add_root(runs)
    runs.set_defaults(command=commands.runs)


def _add_compare(subparsers: _Subparsers) -> None:
    compare = subparsers.add_parser("compare", help="compare runs: settings that differ, and results")
    _add_run(compare, nargs="+")
    compare.add_argument("--seeds", action="store_true", help="mean and spread of runs that differ only in the seed")
    _add_root(compare)
    compare.set_defaults(command=commands.compare)


def _add_report(subparsers: _Subparsers) -> None:
    report = subparsers.add_parser(
        "report",
        help="write a report of runs, or of a sweep, as one HTML file",
        description="Write a report of a run, or a comparison of several, as one HTML file: result, curves, topology "
        "with a slider over the epochs, settings, the command that repeats the run; of a sweep its ranking, linked "
        "plots and topologies. It needs no server and no network.",
    )
    _add_run(report, nargs="+")
    report.add_argument("-o", "--output", type=Path, default=Path("report.html"), metavar="FILE",
                        help="output file (default: %(default)s)")  # fmt: skip
    _add_root(report)
    report.set_defaults(command=commands.report)


def _add_export(subparsers: _Subparsers) -> None:
    export = subparsers.add_parser("export", help="write a run's records, settings or network to a file")
    _add_run(export)
    export.add_argument(
        "--format", choices=[*FORMATS, *MODEL_FORMATS], default="csv",
        help="epochs as csv, settings as toml; the network as npz, onnx or tensors for torch (default: %(default)s)",
    )  # fmt: skip
    export.add_argument("-o", "--output", type=Path, metavar="FILE", help="output file (default: standard output)")
    _add_root(export)
    export.set_defaults(command=commands.export)


def _add_predict(subparsers: _Subparsers) -> None:
    predicting = subparsers.add_parser(
        "predict",
        help="predict the samples of a file with a run's network",
        description="Predict the samples of a file with the network that a run ended with, as CSV. Columns are matched "
        "by name, encoded and scaled as in training; the target column may be missing, else the score is printed.",
    )
    _add_run(predicting)
    predicting.add_argument("file", metavar="FILE", help="a file that could be trained on, or a known data set")
    predicting.add_argument(
        "--probabilities", action="store_true", help="also write the probability of each class or label"
    )
    predicting.add_argument(
        "--header", choices=("auto", "true", "false"), default="",
        help="whether the first line of a table holds names (default: as in training)",
    )  # fmt: skip
    predicting.add_argument("-o", "--output", type=Path, metavar="FILE", help="output file (default: standard output)")
    _add_root(predicting)
    predicting.set_defaults(command=predict.predict)


def _add_features(subparsers: _Subparsers) -> None:
    features = subparsers.add_parser(
        "features",
        help="rank the features of a run by the strength of their connections",
        description="Rank the features of a run by strength: the sum of |weight| over their connections. SET prunes "
        "weak connections, so useful features end with more and stronger ones.",
    )
    _add_run(features)
    features.add_argument("-n", type=int, help="number of features (default: 30; with -o all)")
    features.add_argument("-o", "--output", type=Path, metavar="FILE", help="write a CSV file instead of a list")
    _add_root(features)
    features.set_defaults(command=predict.features)


def _add_measure(subparsers: _Subparsers) -> None:
    measuring = subparsers.add_parser(
        "measure",
        help="measure a run's topology: hubs, cut-off inputs, clustering, modularity, path length, distances",
        description="Measure the topology of each layer after an epoch, compared with a random twin with the same "
        "degrees, and its distance from those of the run's other checkpoints. The values are stored in the "
        "run; 'tsnn compare' and the dashboard display them.",
    )
    _add_run(measuring)
    measuring.add_argument("--epoch", type=int, help="0, the start, or an epoch with a checkpoint (default: the last)")
    measuring.add_argument(
        "--distance", metavar="RUN2", nargs="+", help="only the distances from the topologies of others"
    )
    measuring.add_argument("--other-epoch", type=int, help="epoch of those runs (default: the last)")
    measuring.add_argument("-o", "--output", type=Path, metavar="FILE", help="write a CSV file instead of a table")
    _add_root(measuring)
    measuring.set_defaults(command=measures.measure)


def _add_datasets(subparsers: _Subparsers) -> None:
    datasets = subparsers.add_parser("datasets", help="list the known data sets")
    datasets.set_defaults(command=commands.datasets)


def _add_doctor(subparsers: _Subparsers) -> None:
    checking = subparsers.add_parser(
        "doctor",
        help="check this machine: what is missing or slow, and what to do",
        description="Check this machine: what is missing or slow, and what to do. Takes about 20 seconds, 10 of them "
        "for training; longer when kernels have to be compiled. The exit code is 1 if there is a problem.",
    )
    checking.add_argument("--quick", action="store_true", help="leave out the training: bits, speed, threads")
    checking.add_argument("--json", action="store_true", help="print everything as JSON, for a bug report")
    _add_root(checking)
    checking.set_defaults(command=doctor.doctor)


def _add_bench(subparsers: _Subparsers) -> None:
    bench = subparsers.add_parser(
        "bench", help="measure tsnn and similar libraries (needs a checkout); bench --quick takes a minute",
        add_help=False, prefix_chars="\0",
    )  # fmt: skip
    bench.add_argument("arguments", nargs="*")  # options included: they are parsed by the benchmarks
    bench.set_defaults(command=commands.bench)


def _add_run(parser: argparse.ArgumentParser, nargs: str | None = None) -> None:
    parser.add_argument("run", metavar="RUN", nargs=nargs, help="name of a run, as listed by tsnn runs")


def _add_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", metavar="FOLDER", help="folder of runs (default: $TSNN_RUNS, else ./runs)")


def _settings_help() -> str:
    lines = ["settings and their defaults:"]
    for name in setting_names():
        about = describe(name)
        default = format_value(about.default)
        lines.append(f"  {name} = {default}" if default else f"  {name}")
        lines += textwrap.wrap(about.help, 100, initial_indent="      ", subsequent_indent="      ")
    return "\n".join(lines)
