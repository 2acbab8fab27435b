"""The estimators at their defaults on tables, compared with scikit-learn's: scores, mean ranks, seconds of fit.

Results are kept in a file of lines of JSON, one for each set, model and seed: a command that was interrupted continues,
and ``--fresh`` starts again. Seconds are CPU seconds of one fit on one thread, which can be compared on a busy machine.

Run ``python -m tests.benchmarks.tables [--sets NAME,...] [--models NAME,...] [--seeds N] [--noise]``.
"""

import argparse
import json
import os
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import numpy as np
from scipy.stats import rankdata
from sklearn import ensemble, linear_model, neural_network
from sklearn.datasets import make_classification
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.benchmarks.table_sets import available, load, parts
from tsnn.estimator import SparseMLPClassifier, SparseMLPRegressor

LARGE = {"hidden_layer_sizes": (500, 500), "early_stopping": True}


def scaled(model):
    """Return a model behind standardisation."""
    return make_pipeline(StandardScaler(), model)


CLASSIFIERS = {
    "tsnn": lambda seed: SparseMLPClassifier(random_state=seed, threads=1),
    "MLP": lambda seed: scaled(neural_network.MLPClassifier(random_state=seed)),
    "MLP 500-500": lambda seed: scaled(neural_network.MLPClassifier(**LARGE, random_state=seed)),
    "linear": lambda seed: scaled(linear_model.LogisticRegression(max_iter=1000)),
    "forest": lambda seed: ensemble.RandomForestClassifier(random_state=seed),
    "boosting": lambda seed: ensemble.HistGradientBoostingClassifier(random_state=seed),
}
REGRESSORS = {
    "tsnn": lambda seed: SparseMLPRegressor(random_state=seed, threads=1),
    "MLP": lambda seed: scaled(neural_network.MLPRegressor(random_state=seed)),
    "MLP 500-500": lambda seed: scaled(neural_network.MLPRegressor(**LARGE, random_state=seed)),
    "linear": lambda seed: scaled(linear_model.RidgeCV(np.logspace(-3, 3, 13))),
    "forest": lambda seed: ensemble.RandomForestRegressor(random_state=seed),
    "boosting": lambda seed: ensemble.HistGradientBoostingRegressor(random_state=seed),
}


def measure(name, model, seed):
    """Return the score over all parts of a set, and the CPU seconds of one fit."""
    x, y = load(name)
    scores, seconds = [], []
    for train, test in parts(name, seed):
        started = time.process_time()
        fitted = model(seed).fit(x[train], y[train])
        seconds.append(time.process_time() - started)
        scores.append(fitted.score(x[test], y[test]))
    return {"score": float(np.mean(scores)), "seconds": float(np.mean(seconds))}


class Results:
    """Results in a file of lines of JSON, by set, model and seed."""

    def __init__(self, path, fresh):
        self.path = Path(path)
        if fresh:
            self.path.unlink(missing_ok=True)
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        self.found = {tuple(key): value for key, value in map(json.loads, lines)}

    def get(self, key, compute, *arguments):
        """Return a result; compute it from the arguments and write it if it is not known."""
        if key not in self.found:
            self.found[key] = compute(*arguments)
            with self.path.open("a") as file:
                file.write(json.dumps([key, self.found[key]]) + "\n")
        return self.found[key]


def table(title, found):
    """Return a table of mean scores in %, mean ranks and seconds; ``found`` by set and model has (scores, seconds).

    The normalised score of a model is 0 where it is the worst on a set, 1 where it is the best.
    """
    sets, models = (list(dict.fromkeys(column)) for column in zip(*found, strict=True))
    scores = np.array([[np.mean(found[s, m][0]) for m in models] for s in sets])
    seconds = np.array([[np.mean(found[s, m][1]) for m in models] for s in sets])
    ranks = rankdata(-scores.round(4), axis=1).mean(axis=0)
    low, high = scores.min(axis=1, keepdims=True), scores.max(axis=1, keepdims=True)
    normalised = ((scores - low) / np.maximum(high - low, 1e-12)).mean(axis=0)
    lines = [f"| {title} | {' | '.join(models)} |", "|---" * (len(models) + 1) + "|"]
    for row, name in zip(scores, sets, strict=True):
        lines.append(f"| {name} | {' | '.join(f'{100 * score:.1f}' for score in row)} |")
    lines.append(f"| **mean rank** | {' | '.join(f'**{rank:.2f}**' for rank in ranks)} |")
    lines.append(f"| mean normalised score | {' | '.join(f'{value:.2f}' for value in normalised)} |")
    lines.append(f"| CPU s of fit, sum | {' | '.join(f'{total:.1f}' for total in seconds.sum(axis=0))} |")
    large = [k for k, name in enumerate(sets) if "MLP 500-500" in models and len(load(name)[1]) > 2000]
    if large:
        ratios = (seconds[large] / seconds[large][:, [models.index("MLP 500-500")]]).max(axis=0)
        cells = " | ".join(f"{ratio:.2f}" for ratio in ratios)
        lines.append(f"| the same by that of MLP 500-500, largest on over 2,000 samples | {cells} |")
    return "\n".join(lines)


def compare(options, results):
    """Print a table for each group of sets."""
    for group, names in available().items():
        if not (names := [name for name in names if options.sets is None or name in options.sets]):
            continue
        found = {}
        models = REGRESSORS if group == "regression" else CLASSIFIERS
        for name in names:
            for title in options.models or models:
                made = [
                    results.get((name, title, seed), measure, name, models[title], seed)
                    for seed in range(options.seeds)
                ]
                found[name, title] = [r["score"] for r in made], [r["seconds"] for r in made]
        print(table(group, found), end="\n\n", flush=True)


def noisy(share, seed):
    """Return 12 features that matter and features of noise, a share of all, with labels of 4 classes."""
    x, y = make_classification(2000, 12, n_informative=8, n_redundant=4, n_classes=4, n_clusters_per_class=3,
                               random_state=seed)  # fmt: skip
    return np.c_[x, np.random.default_rng(seed).normal(size=(2000, round(12 * share / (1 - share))))], y


def noise(options, results):
    """Print the accuracy of methods on features of which more and more are noise."""
    made = {
        title: lambda seed, given=given: SparseMLPClassifier(**given, random_state=seed, threads=1)
        for title, given in {
            "dense": {"method": "dense"}, "fixed": {"method": "fixed"}, "SET": {},
            "SET, gradient": {"regrow": "gradient"},
        }.items()
    }  # fmt: skip
    made["forest"] = CLASSIFIERS["forest"]
    found = {}
    for share in (0.0, 0.5, 0.8, 0.9):
        for title, model in made.items():
            cells = [
                results.get((f"noise {share:.0%}", title, seed), held_out, share, model, seed)
                for seed in range(options.seeds)
            ]
            found[f"{share:.0%} noise", title] = [c["score"] for c in cells], [c["seconds"] for c in cells]
    print(table("features of noise", found))


def held_out(share, model, seed):
    """Return the accuracy on a quarter of the samples, and the CPU seconds of the fit."""
    x, y = noisy(share, seed)
    started = time.process_time()
    fitted = model(seed).fit(x[:1500], y[:1500])
    return {"seconds": time.process_time() - started, "score": fitted.score(x[1500:], y[1500:])}


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Estimators at their defaults on tables.")
    parser.add_argument("--sets", type=lambda text: text.split(","), help="default: all of them")
    parser.add_argument("--models", type=lambda text: text.split(","), help=f"of {','.join(CLASSIFIERS)}")
    parser.add_argument("--seeds", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--results", default="tables.jsonl", help="file of results (default: %(default)s)")
    parser.add_argument("--fresh", action="store_true", help="measure again what the file holds")
    parser.add_argument("--noise", action="store_true", help="accuracy by the share of features that are noise")
    options = parser.parse_args()
    SparseMLPClassifier((5,), epochs=2).fit(np.eye(8), np.arange(8) % 2)  # compiles the kernels
    warnings.filterwarnings("ignore", module="sklearn")
    results = Results(options.results, options.fresh)
    (noise if options.noise else compare)(options, results)


if __name__ == "__main__":
    main()
