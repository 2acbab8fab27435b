"""Tables of the reproduction: the papers' comparison, accuracy against density, parallel training, the presets."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.benchmarks.laboratory import Row
from tsnn.config import Config
from tsnn.config.presets import PAPER, preset_for_shape
from tsnn.datasets import known_datasets, load_dataset
from tsnn.estimator import SparseSelector

PLACES = 784 * 1000 + 2 * 1000 * 1000 + 1000 * 10  # of a connection in 784-1000-1000-1000-10
PARTS = {"small": "the bundled part of Fashion-MNIST", "full": "Fashion-MNIST"}


#: Plain SET, where the preset begins with more connections, replaces fewer, and augments images.
PLAIN_SET = {
    "network.dropout": 0.3, "training.start_factor": 1.0, "training.zeta": 0.3, "training.augmentation": "none",
}  # fmt: skip
#: Importance pruning, once and early: on validation samples of 60 epochs 0.3 points better than twice, in a sixth and
#: in half of the epochs; 0.2 better for all layers together; 0.2 better with this dropout.
PRUNED = {
    "importance.percentile": 60.0, "importance.scope": "network", "importance.start": 9, "importance.every": 1000,
    "network.dropout": 0.2,
}  # fmt: skip
#: Dense networks; in 16 bits they gained nothing on an Intel.
DENSE = {"network.activation": "relu", "training.precision": "float32"}


def fashion(scale, **settings):
    """Settings of plain SET on Fashion-MNIST, otherwise the preset's, with changes."""
    return Config.preset("fashion_mnist").replace({"data.size": scale.size, **PLAIN_SET}).replace(settings)


def papers(lab, scale):
    """Papers' comparison on Fashion-MNIST."""
    sparse = {
        "SET, All-ReLU": fashion(scale, activation="all_relu"),
        "SET, All-ReLU, importance pruning": fashion(scale, activation="all_relu").replace(PRUNED),
        "SET, ReLU": fashion(scale, activation="relu"),
        "fixed, All-ReLU": fashion(scale, activation="all_relu", method="fixed"),
    }
    dense = {
        "dense, ReLU": fashion(scale, method="dense").replace(DENSE),
        "dense, then pruned and retrained": fashion(scale, method="two_phase").replace(DENSE),
    }
    rows = [
        Row(name, c.replace(epochs=scale.epochs), scale.rates, scale.seeds, scale.search) for name, c in sparse.items()
    ]
    if scale.dense_epochs != scale.epochs:
        rows += [
            replace(
                row, name=f"{row.name}, epochs as of dense ones", config=row.config.replace(epochs=scale.dense_epochs)
            )
            for row in rows[:2]
        ]
    given = Config.preset(PAPER + "fashion_mnist").replace({"data.size": scale.size, "training.epochs": scale.epochs})
    rows.append(Row("SET, All-ReLU, the papers' settings", given, (given.training.learning_rate,), scale.seeds, 0))
    rows += [
        Row(name, c.replace(epochs=scale.dense_epochs), scale.dense_rates, scale.seeds, scale.dense_search)
        for name, c in dense.items()
    ]
    yield from [
        f"## The papers' comparison: {PARTS[scale.size]}, 784-1000-1000-1000-10", "",
        "Settings of the preset `fashion_mnist` except for what the row names; but without augmentation, with dropout "
        "0.3, SET begins with the connections that it keeps, with zeta 0.3, and dense networks are in 32 bits. Neurons "
        f"are pruned by their importance once, after {PRUNED['importance.start']} epochs, those of all layers together "
        "(`importance.scope=network`), with dropout 0.2, as chosen on validation samples.", "",
        "| method | accuracy | connections | density | hidden neurons left | epochs | seeds | learning rate |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in rows:
        if (result := lab.result(row)) is None:
            yield f"| {row.name} | {lab.problem(row)} | | | | | | |"
            continue
        left = [sum(layer.living for layer in run.records()[-1].layers[:-1]) for run in result.runs]
        yield (
            f"| {row.name} | {result.text} | {result.connections:,.0f} | {result.connections / PLACES:.2%} "
            f"| {sum(left) / len(left):,.0f} of 3,000 | {result.epochs} | {len(result.scores)} | {result.rate_text} |"
        )


IMAGE_HEAD = (
    "| {} | accuracy | connections | density | epochs | seeds | learning rate | minutes of training |\n"
    "|---|---|---|---|---|---|---|---|"
)


def cifar(lab, scale):
    """All-ReLU and ReLU on CIFAR-10 with the papers' augmentation."""
    yield from [
        "## CIFAR-10 with augmentation: 3072-4000-1000-4000-10", "",
        "Settings of the preset `cifar10` (images rotated by up to 10 degrees, shifted by up to a tenth, flipped), "
        f"with dropout {scale.cifar_dropout:g}; chosen on a tenth of the training part. These data were encoded as "
        "JPEG (mean error of a pixel 5.8 of 255), the papers' not.", "", IMAGE_HEAD.format("method"),
    ]  # fmt: skip
    augmented = {"network.dropout": scale.cifar_dropout, "training.epochs": scale.cifar_epochs}
    plain = {
        "training.augmentation": "none", "network.dropout": 0.2, "training.learning_rate": 0.03,
        "training.epochs": scale.cifar_plain_epochs,
    }  # fmt: skip
    dense = {
        "training.method": "dense", "network.activation": "relu", "training.learning_rate": 0.03,
        "training.epochs": scale.cifar_dense_epochs,
    }  # fmt: skip
    methods = {
        "SET, All-ReLU": augmented,
        "SET, ReLU": {**augmented, "network.activation": "relu"},
        "SET, All-ReLU, without augmentation, dropout 0.2": plain,
    }
    if scale.cifar_dense_epochs:
        methods["dense, ReLU"] = {**augmented, **dense}
    places = 3072 * 4000 + 2 * 4000 * 1000 + 4000 * 10
    yield from _image_rows(lab, "cifar10", methods, places, 1)


def _image_rows(lab, preset, methods, places, seeds):
    """Rows below `IMAGE_HEAD`: settings by name, at the learning rate that they or the preset give."""
    if not _available(preset):
        yield "| not in TSNN_DATA | | | | | | | |"
        return
    for name, settings in methods.items():
        config = Config.preset(preset).replace(settings)
        row, epochs = Row(name, config, (config.training.learning_rate,), seeds, 0), config.training.epochs
        if (result := lab.result(row)) is None:
            yield f"| {name} | {lab.problem(row)} | | | {epochs} | | | |"
            continue
        spent = sum(r.seconds_train + r.seconds_evolve for r in result.runs[0].records()) / 60
        yield (
            f"| {name} | {result.text} | {result.connections:,.0f} | {result.connections / places:.2%} | {epochs} "
            f"| {len(result.scores)} | {result.rate_text} | {spent:.0f} |"
        )


MNIST_EPSILON, MNIST_EPOCHS = 14.3, 100  # 3.3 %: 92,711 connections


def mnist(lab, scale):
    """MNIST with a few per cent of the connections."""
    yield from [
        "## MNIST: 784-1000-1000-1000-10 with 3.3 % of the connections", "",
        "Settings of the preset `mnist`, except for those in the row (published: SET with SReLU 98.74, dense 98.55).",
        "", IMAGE_HEAD.format("settings"),
    ]  # fmt: skip
    given = {"network.epsilon": MNIST_EPSILON, "training.epochs": MNIST_EPOCHS}
    settings = {
        "images rotated by up to 5 degrees, shifted by up to 5 %": given,
        "without augmentation, dropout 0.3": {**given, "training.augmentation": "none", "network.dropout": 0.3},
    }
    yield from _image_rows(lab, "mnist", settings, PLACES, scale.seeds)


SELECTED = 20  # of Madelon's 500 features; as many are relevant


def madelon(lab, scale):
    """Madelon with the papers' settings, and with the features that a selector keeps."""
    yield from [
        "## Madelon: 500-400-100-400-2", "",
        "The papers' settings and learning rate (published for SET with All-ReLU: 68). Last: settings by the shape of "
        f"the {SELECTED} features that `SparseSelector({SELECTED})` keeps, chosen on the training part.", "",
        "| method | accuracy | connections | epochs | seeds | learning rate |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    config = Config.preset(PAPER + "madelon")
    rows = {
        "SET, All-ReLU": config,
        "SET, ReLU": config.replace(activation="relu"),
        "fixed, All-ReLU": config.replace(method="fixed"),
        "dense, ReLU": config.replace(method="dense", activation="relu"),
    }
    path = lab.store.root / f"madelon-{SELECTED}.npz"
    if lab.training and not path.exists():
        _write_selected(path)
    if path.exists():
        n_train = next(info.sizes["full"] for info in known_datasets() if info.name == "madelon")[0]
        suited = {"data.name": str(path), **preset_for_shape(n_train, SELECTED)}
        rows[f"SET on {SELECTED} selected features"] = Config().replace(suited)
    for name, config in rows.items():
        row = Row(name, config, (config.training.learning_rate,), scale.madelon_seeds, 0)
        result = lab.result(row)
        cells = f"{result.text} | {result.connections:,.0f}" if result else f"{lab.problem(row)} |"
        seeds = len(result.scores) if result else ""
        yield f"| {name} | {cells} | {config.training.epochs} | {seeds} | {config.training.learning_rate:g} |"


def _write_selected(path):
    """Write Madelon with the features that a selector keeps."""
    data = load_dataset("madelon", preprocessing="none", rng=np.random.default_rng(0))
    kept = SparseSelector(SELECTED, random_state=0, threads=1).fit(data.x_train[:], data.y_train).get_support()
    path.parent.mkdir(parents=True, exist_ok=True)
    x_train, x_test = data.x_train[:][:, kept], data.x_test[:][:, kept]
    np.savez(path, X_train=x_train, y_train=data.y_train, X_test=x_test, y_test=data.y_test)


MODES = {
    "sequential": {},
    "WASAP, 2 workers": {"parallel.workers": 2, "parallel.mode": "wasap"},
    "WASAP, 2 workers, phase 1 only": {
        "parallel.workers": 2, "parallel.mode": "wasap", "parallel.phase1_fraction": 1.0,
    },
    "WASSP, 2 workers": {"parallel.workers": 2, "parallel.mode": "wassp"},
    "local SGD, 2 workers": {"parallel.workers": 2, "parallel.mode": "local"},
}  # fmt: skip


def parallel(lab, scale):
    """Parallel and sequential training at equal epochs."""
    yield from [
        f"## Parallel training: {PARTS[scale.size]}, {scale.parallel_epochs} epochs", "",
        "| mode | accuracy | seeds | learning rate |", "|---|---|---|---|",
    ]  # fmt: skip
    config = fashion(scale, epochs=scale.parallel_epochs, dropout=0.2)
    for name, settings in MODES.items():
        rates = scale.rates[0] / 2, *scale.rates  # the means of two workers are taken at twice the rate
        row = Row(name, config.replace(settings), rates, scale.seeds, scale.search)
        result = lab.result(row)
        cells = f"{result.text} | {len(result.scores)} | {result.rate_text}" if result else f"{lab.problem(row)} | |"
        yield f"| {name} | {cells} |"


def presets(lab, scale):
    """Presets compared with the papers' settings at equal epochs."""
    yield from [
        "## Presets", "",
        "At the preset's settings and learning rate, and the papers', for the same number of epochs.", "",
        "| data | preset | the papers' settings | connections | epochs | seeds |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name in scale.preset_data:
        if not _available(name):
            yield f"| {name} | not in TSNN_DATA | | | | |"
            continue
        for epochs in scale.preset_data[name]:
            both = [Config.preset(kind).replace(epochs=epochs) for kind in (name, PAPER + name)]
            seeds = scale.seeds, scale.dense_seeds
            rows = [Row(name, c, (c.training.learning_rate,), n, 0) for c, n in zip(both, seeds, strict=True)]
            found = [lab.result(row) for row in rows]
            texts = [lab.problem(row) if r is None else r.text for row, r in zip(rows, found, strict=True)]
            connections = next((f"{result.connections:,.0f}" for result in found if result), "")
            trained = ", ".join(str(len(result.scores)) for result in found if result)
            yield f"| {name} | {texts[0]} | {texts[1]} | {connections} | {epochs} | {trained} |"


def wide(lab, scale):
    """Microarrays: more features than samples."""
    yield from [
        "## Microarrays", "",
        "A third of the samples for testing, drawn by the seed, five seeds; settings by their shape, hidden layers "
        "500-500, 60 epochs. The learning rate in brackets is not chosen: a tenth where training diverges.", "",
        "| data | SET | fixed | dense |", "|---|---|---|---|",
    ]  # fmt: skip
    shapes = {info.name: info for info in known_datasets()}
    for name in scale.microarrays:
        if not _available(name):
            yield f"| {name} | not in TSNN_DATA | | |"
            continue
        info = shapes[name]
        suited = preset_for_shape(next(iter(info.sizes.values()))[0], info.n_features)
        config = Config().replace({"data.name": name, **suited, "network.hidden": (500, 500)})
        cells = []
        for method in ("set", "fixed", "dense"):
            config = config.replace(method=method, epochs=60)
            rate = config.training.learning_rate
            rows = [Row(method, config, (rate / divisor,), 5, 0) for divisor in (1, 10)]
            if lab.result(rows[0]) is None and lab.problem(rows[0]) == "diverged":
                rows.pop(0)
            result = lab.result(rows[0])
            cells.append(f"{result.text} ({result.rate:g})" if result else lab.problem(rows[0]))
        yield f"| {name} | " + " | ".join(cells) + " |"


def _available(name):
    folder = Path(os.environ.get("TSNN_DATA") or ".")
    return any(info.name == name and info.available for info in known_datasets()) or (folder / f"{name}.npz").exists()
