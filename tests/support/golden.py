"""Golden runs: hashes of weights, topologies and metrics of short runs, to show that a change computes the same bits.

``python -m tests.support.golden FILE`` writes the hashes to FILE (JSON) if it is missing; otherwise it computes them
again, prints the differences and exits with 1 if there are any. It takes one to three minutes.

The hashes hold for one machine only: they depend on its kind of kernels (AVX2 and AVX-512 agree, others round
differently), on the versions of NumPy and Numba, and on the C library. So compare two checkouts on the same machine,
with the same environment::

    git worktree add ../before main
    (cd ../before && python -m tests.support.golden /tmp/golden.json)
    python -m tests.support.golden /tmp/golden.json

Runs with several asynchronous workers are left out: their bits depend on the order in which gradients arrive.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import tsnn
from tsnn.config import Config
from tsnn.execution.engine import execute
from tsnn.jobs.launch import watch
from tsnn.runs import Run, RunStore

EPOCH = ("epoch", "samples", "train_loss", "test_loss", "train_accuracy", "test_accuracy", "connections")
LIVE = ("learning_rate", "zeta", "epsilon", "dropout")
VALIDATION = ("validation_loss", "validation_accuracy")
LAYER = ("n_in", "n_out", "connections", "pruned", "grown", "living", "importance", "in_degree", "out_degree")

MADELON = {"data.name": "madelon", "training.epochs": 8, "run.threads": 1}
FASHION = {"data.name": "fashion_mnist", "training.epochs": 3, "run.threads": 1, "data.size": "small"}
IMPORTANCE = {"importance.percentile": 20, "importance.start": 2, "importance.every": 2}

#: Settings of the runs, besides the preset of their data set.
RUNS: dict[str, dict[str, Any]] = {
    "madelon set": MADELON,
    "madelon fixed": MADELON | {"training.method": "fixed"},
    "madelon two_phase": MADELON | {"training.method": "two_phase"},
    "madelon gradient": MADELON | {"training.regrow": "gradient", "training.prune": "magnitude"},
    "madelon importance": MADELON | IMPORTANCE,
    "fashion set": FASHION,
    "fashion fixed": FASHION | {"training.method": "fixed", "network.activation": "relu"},
    "fashion dense": FASHION
    | {"training.method": "dense", "network.hidden": (100, 100), "network.activation": "leaky_relu"},
    "fashion two_phase": FASHION | {"training.method": "two_phase", "network.hidden": (200, 200)},
    "fashion gradient": FASHION | {"training.regrow": "gradient", "run.threads": 2, "network.initializer": "normal"},
    "fashion importance": FASHION
    | {"importance.percentile": 20, "importance.start": 1, "importance.every": 1, "data.validation_fraction": 0.2}
    | {"data.preprocessing": "minmax", "network.initializer": "xavier_uniform"},
    "fashion compact": FASHION | {"run.compact": True, "run.micro_batch": 32, "training.epochs": 2},
    "madelon wassp": MADELON | {"parallel.workers": 2, "parallel.mode": "wassp", "training.epochs": 10},
    "madelon local": MADELON
    | {"parallel.workers": 2, "parallel.mode": "local", "parallel.period": 8}
    | {"training.epochs": 10, "training.regrow": "gradient"},
    "fashion wassp": FASHION | {"parallel.workers": 2, "parallel.mode": "wassp", "training.epochs": 4},
    "madelon wasap 1": MADELON
    | {"parallel.workers": 1, "parallel.mode": "wasap", "training.epochs": 6, "parallel.phase1_fraction": 1.0},
}


def add_network(digest: Any, network: Any) -> None:
    """Add a network's topologies, weights, biases and living neurons to a digest."""
    for layer, living in zip(network.layers, network.living, strict=True):
        topology = layer.topology
        for array in (topology.indptr, topology.indices, layer.weights, layer.bias, living):
            digest.update(np.ascontiguousarray(array).tobytes())


def run_digest(run: Run) -> str:
    """Hash of the weights, records and, of a sequential run, snapshots."""
    digest = hashlib.sha256()
    add_network(digest, tsnn.load_network(run.path / "weights.npz"))
    for record in run.records():
        values = [getattr(record, name) for name in EPOCH] + [record.settings[name] for name in LIVE]
        values += [getattr(record, name) for name in VALIDATION]
        values += [[getattr(layer, name) for name in LAYER] for layer in record.layers]
        digest.update(repr([float(f"{v:.12g}") if isinstance(v, float) else v for v in values]).encode())
    if not run.config().parallel.workers:
        for epoch in run.snapshot_epochs():
            snapshot: Any = run.snapshot(epoch)
            arrays = snapshot if isinstance(snapshot, Mapping) else snapshot.arrays()
            for name in sorted(
                name for name in arrays if not name.startswith(("drawn", "edge", "test_"))
            ):  # for viewers only
                digest.update(name.encode())
                digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()[:20]


def digest_of(settings: Mapping[str, Any], folder: Path) -> str:
    """Train a run below a folder and return its hash."""
    run = RunStore(folder).create(Config.preset(f"paper/{settings['data.name']}").replace(settings))
    for _ in watch(run) if run.config().parallel.workers else execute(run):
        pass
    return run_digest(run)


def estimator_digests() -> Iterator[tuple[str, str]]:
    """Hashes of three fitted estimators: network, predictions, feature importances."""
    from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

    classifier, regressor = tsnn.SparseMLPClassifier, tsnn.SparseMLPRegressor
    cases: dict[str, tuple[Any, Any]] = {
        "classifier digits": (classifier(hidden=(64, 32), epochs=5, random_state=3), load_digits),
        "classifier cancer": (classifier(epochs=5, random_state=1, early_stopping=True), load_breast_cancer),
        "regressor diabetes": (regressor(epochs=5, random_state=2, regrow="gradient"), load_diabetes),
    }
    for name, (estimator, load) in cases.items():
        x, y = load(return_X_y=True)
        estimator.fit(x, y)
        digest = hashlib.sha256()
        add_network(digest, estimator.network_)
        digest.update(np.asarray(estimator.predict(x)).tobytes())
        digest.update(estimator.feature_importances_.tobytes())
        yield name, digest.hexdigest()[:20]


def digests() -> Iterator[tuple[str, str]]:
    """Names and hashes of all golden runs and estimators."""
    with tempfile.TemporaryDirectory() as folder:
        for name, settings in RUNS.items():
            yield name, digest_of(settings, Path(folder))
    yield from estimator_digests()


def differences(expected: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Names whose hashes differ or exist on one side only."""
    return [name for name in {**expected, **found} if expected.get(name) != found.get(name)]


def main(path: Path) -> int:
    """Write the file of hashes, or compare with it; return the exit code."""
    os.environ.pop("TSNN_DATA", None)  # the bundled data are the same on all machines
    found = {}
    for name, digest in digests():
        found[name] = digest
        print(f"{name:20} {digest}", flush=True)
    if not path.exists():
        path.write_text(json.dumps(found, indent=1))
        print(f"{len(found)} hashes written to {path}")
        return 0
    different = differences(json.loads(path.read_text()), found)
    print(f"Different: {', '.join(different)}" if different else f"all {len(found)} equal")
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
