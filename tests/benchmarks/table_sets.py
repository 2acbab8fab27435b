"""Tables on which the estimators' defaults are chosen: scikit-learn's own, generated ones, and those of TSNN_DATA.

Each set is a function that returns features and targets; :func:`parts` cuts it in a training and a test part. The
sets are cut to some thousands of samples, so that all peers can be measured in a night.
"""

import os
from functools import cache
from pathlib import Path

import numpy as np
from sklearn import datasets
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.tree import DecisionTreeRegressor

SMALL = 1000  # samples; below, all samples are tested, each once
FOLDS = 4


def classes_of(shape, **options):
    """Return a function that makes a classification problem of (samples, features)."""
    return lambda: datasets.make_classification(*shape, random_state=7, **options)


def skewed():
    """Return heavy-tailed and skewed positive features, of which most values are 0, as word frequencies are."""
    rng = np.random.default_rng(11)
    topic = rng.random(3500) < 0.4
    rates = rng.gamma(0.5, 1.0, (2, 50))
    x = rng.gamma(0.25, rates[topic.astype(int)]) * (rng.random((3500, 50)) < 0.15 + 0.3 * rng.random(50))
    lengths = np.exp(rng.normal(1.0 + 0.7 * topic[:, None], 1.2, (3500, 3)))
    noisy = rng.random(3500) < 0.04
    return np.c_[x, lengths**2], (topic ^ noisy).astype(int)


def mixed(n=4000):
    """Return numbers and integers that are categories one-hot; the label depends on interactions, 24 % are positive."""
    rng = np.random.default_rng(12)
    levels = (8, 16, 7, 14, 6, 5, 2, 40)
    codes = [np.minimum(rng.geometric(min(0.7, 2.5 / k), n) - 1, k - 1) for k in levels]
    age, hours = rng.gamma(6, 6.5, n), np.clip(rng.normal(40, 12, n), 1, 99).round()
    gain = np.where(rng.random(n) < 0.08, np.exp(rng.normal(8, 1.3, n)), 0).round()
    weight, years = np.exp(rng.normal(12, 0.5, n)), rng.integers(1, 17, n)
    effects = [rng.normal(0, 0.7, k)[code] for k, code in zip(levels, codes, strict=True)]
    z = sum(effects) + 0.3 * years - 0.002 * (age - 50) ** 2 + 0.03 * hours + 3.0 * (gain > 5000)
    z += np.where(codes[1] == 2, 0.05 * (age - 38), 0) + effects[0] * effects[2]
    y = z + rng.logistic(0, 1.0, n) > np.quantile(z, 0.76)
    return np.c_[age, hours, gain, weight, years, *(np.eye(k)[code] for k, code in zip(levels, codes, strict=True))], y


def trees(n=5000):
    """Return ten numbers and 44 indicators, and 7 classes of unequal size that follow axis-aligned cuts."""
    rng = np.random.default_rng(13)
    numbers = rng.normal(size=(n, 10)) @ rng.normal(size=(10, 10)) * np.exp(rng.normal(0, 2, 10))
    numbers[:, 3:6] = np.exp(numbers[:, 3:6] / numbers[:, 3:6].std(axis=0))
    soil = np.eye(40)[np.minimum(rng.geometric(0.08, n) - 1, 39)]
    area = np.eye(4)[np.digitize(numbers[:, 0] + 0.3 * numbers[:, 0].std() * rng.normal(size=n),
                                 np.quantile(numbers[:, 0], [0.3, 0.6, 0.9]))]  # fmt: skip
    x = np.c_[numbers, area, soil]
    labels = np.argmax(rng.normal([1.2, 1.4, 0.2, -1.0, -0.6, -0.2, -0.1], 1.0, (300, 7)), axis=1)
    rows = rng.choice(n, 300, replace=False)
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)
    scores = [
        ExtraTreesRegressor(8, max_features=0.3, random_state=c).fit(scaled[rows], labels == c).predict(scaled)
        for c in range(7)
    ]
    y = np.argmax(np.transpose(scores) + 0.05 * rng.normal(size=(n, 7)), axis=1)
    return x, y


def letters(n=5000):
    """Return 16 whole numbers from 0 to 15, and 26 classes, each of some styles with correlated features."""
    rng = np.random.default_rng(14)
    y = rng.integers(26, size=n)
    style = 5 * y + rng.choice(5, n, p=[0.4, 0.25, 0.15, 0.12, 0.08])
    centres = rng.normal(7.5, 1.3, (26, 1, 16)) + rng.normal(0, 1.8, (26, 5, 16))
    mix = rng.normal(0, 0.42, (130, 16, 16))
    x = centres.reshape(130, 16)[style] + np.einsum("ij,ijk->ik", rng.normal(size=(n, 16)), mix[style])
    return np.clip(x.round(), 0, 15), y


def moons():
    """Return two interleaved half circles with noise, in 2 of 8 features."""
    x, y = datasets.make_moons(3000, noise=0.3, random_state=1)
    return np.c_[x, np.random.default_rng(1).normal(size=(3000, 6))], y


def circles():
    """Return 5 classes by the distance from the centre in 10 features."""
    return datasets.make_gaussian_quantiles(n_samples=3000, n_features=10, n_classes=5, random_state=1)


def interactions():
    """Return 15 features and two classes: two products of features that tell nothing alone, and one that does."""
    rng = np.random.default_rng(18)
    x = rng.normal(size=(3000, 15))
    return x, x[:, 0] * x[:, 1] + x[:, 2] * x[:, 3] + 0.7 * x[:, 4] + rng.logistic(0, 0.3, 3000) > 0


def wide(samples, features, informative):
    """Return a function that makes two classes of few samples in many correlated, skewed features."""

    def make():
        rng = np.random.default_rng(15)
        y = np.arange(samples) % 2
        factors = rng.normal(size=(samples, 20))
        x = factors @ rng.normal(0, 0.25, (20, features)) + rng.normal(size=(samples, features))
        x[:, :informative] += np.outer(2 * y - 1, rng.normal(0, 0.5, informative))
        return np.exp(0.5 * x), y

    return make


def friedman(k, **options):
    """Return a function that makes Friedman's regression problem k."""
    return lambda: getattr(datasets, f"make_friedman{k}")(3000, random_state=3, **options)


def steps():
    """Return 8 features and targets that follow a tree's steps, heavy-tailed."""
    rng = np.random.default_rng(16)
    x = rng.gamma(2, 1, (3000, 8)) * [1, 10, 100, 1, 1, 1, 1000, 0.1]
    seeds = rng.choice(3000, 200, replace=False)
    tree = DecisionTreeRegressor(random_state=0).fit(x[seeds], rng.gamma(1, 1, 200) + x[seeds, 1] / 10)
    return x, np.exp(0.4 * tree.predict(x) + 0.2 * rng.normal(size=3000))


def linear():
    """Return 100 features, of which 15 have linear effects, and targets with noise."""
    return datasets.make_regression(1500, 100, n_informative=15, noise=60, random_state=4)


def file(name, limit=3000):
    """Return a function that reads a set of TSNN_DATA, at most some of its samples."""

    def make():
        with np.load(Path(os.environ["TSNN_DATA"]) / f"{name}.npz", allow_pickle=False) as arrays:
            keys = [key for key in arrays.files if key.lower().startswith("x")]
            x, y = (np.concatenate([arrays[p + key[1:]] for key in keys]) for p in (keys[0][0], "y"))
        rows = np.random.default_rng(0).permutation(len(x))[:limit]
        return x.reshape(len(x), -1)[rows], y[rows]

    return make


def bundled(name):
    """Return a function that loads one of scikit-learn's own sets."""
    return lambda: getattr(datasets, f"load_{name}")(return_X_y=True)


CLASSES = {
    "iris": bundled("iris"),
    "wine": bundled("wine"),
    "breast_cancer": bundled("breast_cancer"),
    "digits": bundled("digits"),
    "generated 20": classes_of((3000, 20), n_informative=10, n_redundant=4, n_classes=4, n_clusters_per_class=3),
    "generated 100": classes_of((3000, 100), n_informative=12, n_classes=3, flip_y=0.05, n_clusters_per_class=3),
    "imbalanced": classes_of((3000, 30), n_informative=8, weights=[0.93], n_clusters_per_class=4, class_sep=0.8),
    "small 500": classes_of((500, 25), n_informative=6, n_classes=3, flip_y=0.05),
    "moons": moons,
    "circles": circles,
    "interactions": interactions,
    "skewed": skewed,
    "mixed": mixed,
    "trees": trees,
    "letters": letters,
}
FILES = {name: file(name) for name in ("madelon", "higgs_10k", "pcmac", "coil20", "fashion_mnist")}
WIDE = {
    "wide 200x20000": wide(200, 20000, 300),
    "wide 60x3000": wide(60, 3000, 100),
} | {name: file(name) for name in ("leukemia", "allaml", "colon", "lung_discrete", "dm_chowdary")}
NUMBERS = {
    "diabetes": bundled("diabetes"),
    "friedman1": friedman(1, n_features=12, noise=1.0),
    "friedman2": friedman(2, noise=60),
    "friedman3": friedman(3, noise=0.1),
    "steps": steps,
    "linear": linear,
    "mixed sums": lambda: _sums(*mixed(3000)),
}
ON_DISK = {*FILES, *WIDE} - {"wide 200x20000", "wide 60x3000"}


def _sums(x, y):
    """Return the features of a mixed table, and a price that depends on them and on the label."""
    rng = np.random.default_rng(17)
    cost = x[:, 5:] @ rng.normal(0, 0.3, x.shape[1] - 5)
    return x, np.exp(cost + 0.02 * x[:, 0] + 0.4 * y + 0.3 * rng.normal(size=len(x)))


def available():
    """Return the names of the sets on this machine by group: classes, wide, numbers."""
    folder = Path(os.environ.get("TSNN_DATA", "/nowhere"))
    groups = {"tables": {**CLASSES, **FILES}, "wide": WIDE, "regression": NUMBERS}
    return {
        group: [name for name in sets if name not in ON_DISK or (folder / f"{name}.npz").exists()]
        for group, sets in groups.items()
    }


@cache
def load(name):
    """Return features float64[n, features] and targets of a set."""
    x, y = {**CLASSES, **FILES, **WIDE, **NUMBERS}[name]()
    return np.asarray(x, np.float64), np.asarray(y)


def parts(name, seed):
    """Yield rows of the training and of the test part: cross-validation of small sets, else one split."""
    _, y = load(name)
    numbers = name in NUMBERS
    if len(y) >= SMALL:
        rows = np.arange(len(y))
        yield train_test_split(rows, test_size=0.25, random_state=seed, stratify=None if numbers else y)
    elif numbers:
        order = np.random.default_rng(seed).permutation(len(y))
        for k in range(FOLDS):
            yield np.delete(order, slice(k, None, FOLDS)), order[k::FOLDS]
    else:
        yield from StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(np.zeros(len(y)), y)
