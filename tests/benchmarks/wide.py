"""Wide data (many features, few samples): SET compared with other sparse networks and with simple models.

Cross-validated on microarrays from the folder named by TSNN_DATA, with the papers' settings for microarrays (arXiv
2102.01732 for Leukemia, 1901.09181 for Lung: ReLU) except for the size of the network. Where a fit diverges at their
learning rate, a tenth of it is tried, for all folds, and the table shows it. Each row is measured in a process of its
own, so that its peak memory is its own. Seconds are CPU seconds of one fit on one thread, which can be compared
on a busy machine.

Run ``python -m tests.benchmarks.wide [--data NAME ...] [--hidden N] [--epochs N] [--folds N] [--seed N]``.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tsnn.errors import DivergenceError
from tsnn.estimator import SparseMLPClassifier

DATA = ("leukemia", "allaml", "colon", "lung_discrete", "dm_chowdary")
NETWORK_METHODS = ("set", "fixed", "two_phase", "dense")
METHODS = (*NETWORK_METHODS, "logistic regression", "random forest")
PAPER = {"epsilon": 10, "activation": "relu", "initializer": "he_uniform", "batch_size": 5}
PAPER |= {"learning_rate": 0.005, "dropout": 0.3, "zeta": 0.3, "momentum": 0.9, "weight_decay": 2e-4}


def model(method, options, rate):
    """Return a new model; ``rate`` is the fraction of the papers' learning rate."""
    if method == "logistic regression":
        return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    if method == "random forest":
        return RandomForestClassifier(500, random_state=options.seed)
    hidden = (options.hidden, options.hidden)
    settings = {**PAPER, "learning_rate": rate * PAPER["learning_rate"]}
    return SparseMLPClassifier(
        hidden, method=method, epochs=options.epochs, random_state=options.seed, threads=1, **settings
    )


def load(name):
    """Return samples and labels of a data set; where it has an official split, both parts together."""
    folder = os.environ.get("TSNN_DATA")
    path = Path(folder or "") / f"{name}.npz"
    if not folder or not path.exists():
        raise SystemExit(f"{name}.npz is not in the folder named by TSNN_DATA ({folder}). Set it, or try --data.")
    with np.load(path, allow_pickle=False) as arrays:
        keys = [key for key in arrays.files if key.lower().startswith("x")]
        x, y = (np.concatenate([arrays[p + key[1:]] for key in keys]) for p in (keys[0][0], "y"))
    return x.reshape(len(x), -1), y


def connections(fitted):
    """Return the number of weights of a fitted model; None for a forest."""
    if hasattr(fitted, "network_"):
        return fitted.network_.connections
    return int(fitted[-1].coef_.size) if hasattr(fitted, "steps") else None


def measure(name, method, options):
    """Cross-validate one model and return its figures."""
    x, y = load(name)
    if method in NETWORK_METHODS:  # compiles the kernels
        SparseMLPClassifier((5,), method=method, epochs=2).fit(x[:20, :10], np.arange(20) % 2)
    for rate in (1, 0.1, 0.01):
        try:
            return figures(x, y, method, options, rate)
        except DivergenceError:
            continue
    return None


def figures(x, y, method, options, rate):
    """Return accuracy, connections, seconds and memory."""
    scores, seconds = [], []
    folds = StratifiedKFold(options.folds, shuffle=True, random_state=options.seed)
    for train, test in folds.split(x, y):
        started = time.process_time()
        fitted = model(method, options, rate).fit(x[train], y[train])
        seconds.append(time.process_time() - started)
        scores.append(fitted.score(x[test], y[test]))
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {
        "accuracy": float(np.mean(scores)), "spread": float(np.std(scores)), "seconds": float(np.mean(seconds)),
        "connections": connections(fitted), "memory": int(peak.split()[1]) * 1024, "rate": rate,
    }  # fmt: skip


def row(name, method, found):
    """Return one line of the table."""
    if found is None:
        return f"| {name} | {method} | diverged | | | |"
    count, slower = found["connections"], "" if found["rate"] == 1 else f", rate x {found['rate']}"
    return (
        f"| {name} | {method}{slower} | {100 * found['accuracy']:.1f} ± {100 * found['spread']:.1f} | "
        f"{'' if count is None else f'{count:,}'} | {found['seconds']:.2g} | {found['memory'] / 2**20:.0f} |"
    )


def summary(found):
    """Return a table of the accuracies: a line for each data set, a column for each model."""
    names, methods = (list(dict.fromkeys(column)) for column in zip(*found, strict=True))
    lines = [f"| accuracy, % | {' | '.join(methods)} |", "|---" * (len(methods) + 1) + "|"]
    for name in names:
        results = [found[name, method] for method in methods]
        cells = (f"{100 * r['accuracy']:.1f} ± {100 * r['spread']:.1f}" if r else "diverged" for r in results)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main():
    """Print the table, row by row."""
    parser = argparse.ArgumentParser(description="Cross-validated comparison on microarrays.")
    parser.add_argument("--data", action="append", choices=DATA, help="default: all of them")
    parser.add_argument("--method", action="append", choices=METHODS, help="default: all of them")
    parser.add_argument("--hidden", type=int, default=1000, help="neurons of both hidden layers (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--folds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--row", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    chosen = [(name, method) for name in options.data or DATA for method in options.method or METHODS]
    if options.row:
        print(json.dumps(measure(*chosen[0], options)))
        return
    print(f"hidden layers {options.hidden}-{options.hidden}, {options.epochs} epochs, {options.folds} folds\n")
    print("| data | model | accuracy, % | connections | CPU s per fit | peak memory, MiB |")
    print("|---|---|---|---|---|---|")
    same = [f"--{key}={getattr(options, key)}" for key in ("hidden", "epochs", "folds", "seed")]
    found = {}
    for name, method in chosen:
        arguments = ["--row", "--data", name, "--method", method, *same]
        result = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.wide", *arguments], stdout=subprocess.PIPE, text=True, check=True
        )
        found[name, method] = json.loads(result.stdout.splitlines()[-1])
        print(row(name, method, found[name, method]), flush=True)
    print(f"\n{summary(found)}")


if __name__ == "__main__":
    main()
