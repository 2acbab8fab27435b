"""Feature selection: fraction of the relevant features among those ranked first.

On Madelon, and on artificial data of the same kind (``sklearn.datasets.make_classification``): SET's strength of input
neurons compared with mutual information and the importance of a random forest. Madelon does not specify its 20 relevant
features of 500; they are combinations of five, so they are the ones that correlate, while probes are noise.

Run ``python -m tests.benchmarks.features [--epochs N] [--seeds N]``.
"""

import argparse
import time

import numpy as np
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import mutual_info_classif

from tsnn.datasets import load_dataset
from tsnn.estimator import SparseMLPClassifier

MADELON = {"hidden": (400, 100, 400), "epsilon": 10, "activation": "all_relu", "alpha": 0.5, "batch_size": 32}
MADELON |= {"initializer": "he_uniform"}


def madelon():
    """Return the samples, the labels and which features are relevant."""
    data = load_dataset("madelon", rng=np.random.default_rng(0))
    correlation = np.abs(np.corrcoef(np.asarray(data.x_train).T))
    np.fill_diagonal(correlation, 0)
    return np.asarray(data.x_train), data.y_train, np.flatnonzero(correlation.max(axis=0) > 0.3)


def artificial(seed=0):
    """Return 2000 samples of 500 features, of which the first 20 are relevant."""
    x, y = make_classification(
        2000,
        500,
        n_informative=20,
        n_redundant=0,
        n_clusters_per_class=4,
        class_sep=2,
        shuffle=False,
        random_state=seed,
    )
    return x, y, np.arange(20)


def scores(x, y, epochs, seed):
    """Yield the name of each method, and its scores of the features."""
    for method in ("set", "fixed"):
        model = SparseMLPClassifier(**MADELON, method=method, epochs=epochs, random_state=seed).fit(x, y)
        yield f"strength of input neurons, {method}", model.feature_importances_
    yield "mutual information", mutual_info_classif(x, y, random_state=seed)
    yield "random forest", RandomForestClassifier(500, random_state=seed).fit(x, y).feature_importances_


def main():
    """Print the number of relevant features among those ranked first."""
    parser = argparse.ArgumentParser(description="Number of relevant features ranked first.")
    parser.add_argument("--epochs", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=3, help="default: %(default)s")
    options = parser.parse_args()
    print("| data | relevant features | method | among the first | range over seeds | CPU s |")
    print("|---|---|---|---|---|---|")
    for name, (x, y, true) in {"Madelon": madelon(), "artificial": artificial()}.items():
        found = {}
        for seed in range(options.seeds):
            started = time.process_time()
            for method, score in scores(x, y, options.epochs, seed):
                hits = len(set(np.argsort(score)[-len(true) :]) & set(true))
                found.setdefault(method, []).append((hits, time.process_time() - started))
                started = time.process_time()
        for method, results in found.items():
            hits, seconds = zip(*results, strict=True)
            line = f"| {name} | {len(true)} of {x.shape[1]} | {method} | {np.mean(hits):.1f} "
            print(f"{line}| {min(hits)} to {max(hits)} | {np.mean(seconds):.1f} |", flush=True)


if __name__ == "__main__":
    main()
