"""Feature selection: accuracy on the selected features, relevant ones among them, seconds, memory, stability.

Each selector ranks the features of a training part; an SVM (on Madelon a random forest) and tsnn's classifier at its
defaults that are trained on the first K of them are tested on the test part. Splits are the papers':
``train_test_split(test_size=0.2, random_state=42)``, those of Fashion-MNIST, MNIST and Madelon their own. Madelon does
not specify its 20 relevant features of 500; they are combinations of five, so they are the ones that correlate, while
probes are noise.

Run ``TSNN_DATA=... python -m tests.benchmarks.features [--sets coil20,madelon] [--methods ...] [--seeds N]``. Each
result is added to the file ``--out``; those that are there already are not computed again, so an interrupted run
continues.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import resource
import time
from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import mutual_info_classif
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC

from tsnn import SparseMLPClassifier
from tsnn.estimator.selector import AUTO, METHODS, SparseSelector

#: K, scaling, and figures that the papers report on K features.
SETS = {
    "coil20": (50, "minmax", "NeuroFS 98.8, LassoNet 97.2"),
    "mnist": (50, "minmax", "NeuroFS 95.3, LassoNet 94.5"),
    "fashion_mnist": (50, "minmax", "NeuroFS 83.8, LassoNet 82.6"),
    "pcmac": (100, "standard", "LassoNet 90.2, SET-Attr 87.9"),
    "madelon": (20, "standard", "LassoNet 77.1 with an SVM, K = 100"),
    "colon": (50, "standard", ""),
    "leukemia": (50, "standard", ""),
    "allaml": (50, "standard", ""),
    "dm_chowdary": (50, "standard", ""),
}
SELECTORS = (AUTO, *METHODS)
OTHERS = ("random forest", "mutual information", "all features")


def load(name, samples):
    """Return the training part, at most ``samples`` of it, and the test part: X, y, X, y."""
    with np.load(Path(os.environ["TSNN_DATA"]) / f"{name}.npz") as stored:
        if "X" in stored:
            x, x_test, y, y_test = train_test_split(stored["X"], stored["y"], test_size=0.2, random_state=42)
        else:
            x, y, x_test, y_test = (stored[key] for key in ("X_train", "y_train", "X_test", "y_test"))
    return x[:samples].astype(np.float32), y[:samples], x_test.astype(np.float32), y_test


def relevant(x):
    """Return Madelon's relevant features."""
    correlation = np.abs(np.corrcoef(x.T))
    np.fill_diagonal(correlation, 0)
    return np.flatnonzero(correlation.max(axis=0) > 0.3)


def rank(method, x, y, k, scaling, seed, epochs):
    """Return the features from the best to the worst."""
    if method in SELECTORS:
        options = {"random_state": seed, "threads": 1, "preprocessing": scaling, "epochs": epochs}
        return np.argsort(SparseSelector(k, method=method, **options).fit(x, y).ranking_)
    if method == "random forest":
        return np.argsort(-RandomForestClassifier(500, random_state=seed).fit(x, y).feature_importances_)
    if method == "mutual information":
        return np.argsort(-mutual_info_classif(x, y, random_state=seed))
    return np.arange(x.shape[1])


def result(name, method, seed, options):
    """Return a row of the table."""
    k, scaling, _ = SETS[name]
    x, y, x_test, y_test = load(name, options["samples"])
    if method in SELECTORS:  # loads the kernels
        rank(method, np.random.default_rng(0).normal(size=(256, 20)), np.arange(256) % 2, 1, scaling, 0, 1)
    before, started = peak(), time.process_time()
    order = rank(method, x, y, k, scaling, seed, options["epochs"])
    row = {"set": name, "method": method, "seed": seed, "seconds": time.process_time() - started}
    row |= {"megabytes": peak() - before, "features": order[:k].tolist(), "options": options, "n": len(x)}
    chosen = order if method == "all features" else order[:k]
    if name == "madelon":
        row["relevant"] = len(set(chosen[:k].tolist()) & set(relevant(x).tolist()))
        model = RandomForestClassifier(500, random_state=0)
    else:
        model = SVC()
    scaler = (MinMaxScaler if scaling == "minmax" else StandardScaler)().fit(x[:, chosen])
    few = slice(options["svm_samples"])
    model.fit(scaler.transform(x[few][:, chosen]), y[few])
    row["accuracy"] = 100 * model.score(scaler.transform(x_test[:, chosen]), y_test)
    network = SparseMLPClassifier(random_state=seed, threads=1).fit(x[few][:, chosen], y[few])
    row["network"] = 100 * network.score(x_test[:, chosen], y_test)
    return row


def peak():
    """Return the largest memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def similarity(selections):
    """Return the mean Jaccard similarity of pairs of selections, 1 if they are the same; None for a single one."""
    pairs = list(itertools.combinations(map(set, selections), 2))
    return np.mean([len(a & b) / len(a | b) for a, b in pairs]) if pairs else None


def table(rows):
    """Print a line for each set and method."""
    columns = (
        "data | K | method | accuracy, % | of tsnn's classifier | relevant | same features over seeds | CPU s | MB"
    )
    print(f"| {columns} | published |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, method in dict.fromkeys((row["set"], row["method"]) for row in rows):
        own = [row for row in rows if (row["set"], row["method"]) == (name, method)]
        accuracy = [row["accuracy"] for row in own]
        same = similarity([row["features"] for row in own])
        hits = f"{np.mean([row['relevant'] for row in own]):.1f}" if "relevant" in own[0] else ""
        cost = f"{np.mean([row['seconds'] for row in own]):.1f} | {np.mean([row['megabytes'] for row in own]):.0f}"
        spread = f"{np.mean(accuracy):.2f} ± {np.std(accuracy):.2f} ({len(own)})"
        spread += f" | {np.mean([row['network'] for row in own]):.2f}"
        line = f"| {name} | {SETS[name][0]} | {method} | {spread} | {hits} | {'' if same is None else f'{same:.2f}'} "
        print(f"{line}| {cost} | {SETS[name][2]} |")


def main():
    """Print the table, after computing its missing rows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sets", default=",".join(SETS), help="default: all")
    parser.add_argument("--methods", default=",".join([*SELECTORS, *OTHERS]), help="default: all")
    parser.add_argument("--seeds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, help="of the selectors; default: each method's own")
    parser.add_argument(
        "--samples", type=int, default=10_000, help="of the training part, at most; default: %(default)s"
    )
    parser.add_argument("--svm-samples", type=int, default=10_000, help="to fit the SVM; default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("features.jsonl"), help="default: %(default)s")
    given = parser.parse_args()
    options = {"epochs": given.epochs, "samples": given.samples, "svm_samples": given.svm_samples}
    rows = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    wanted = itertools.product(given.sets.split(","), given.methods.split(","), range(given.seeds))
    done = {(row["set"], row["method"], row["seed"]) for row in rows if row["options"] == options}
    context = multiprocessing.get_context("spawn")  # a process for each: its peak is that of one selection
    for name, method, seed in wanted:
        if (name, method, seed) in done or (seed and method == "all features"):
            continue
        with context.Pool(1) as pool:
            rows.append(pool.apply(result, (name, method, seed, options)))
        with given.out.open("a") as file:
            file.write(json.dumps(rows[-1]) + "\n")
    chosen = set(given.sets.split(",")), set(given.methods.split(","))
    table([row for row in rows if row["options"] == options and row["set"] in chosen[0] and row["method"] in chosen[1]])


if __name__ == "__main__":
    main()
