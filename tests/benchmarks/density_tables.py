"""Tables of the reproduction: accuracy against density with its figure, and the best settings of few connections."""

from statistics import median

from tests.benchmarks.accuracy_tables import DENSE, PARTS, PLACES, fashion
from tests.benchmarks.laboratory import Row
from tsnn.engine.shapes import layer_shapes

LOWEST = 80  # accuracy in the picture: less than this is in the table only
PICTURE = "density.png"
STARTS = {"dense fan-in": "he_uniform", "own fan-in": "he_uniform_sparse"}
#: Epsilon at the start of methods whose density falls, if that is at least twice the granted one.
FALLS_FROM = 20.0
TWO_PHASE_RATE = 0.03  # the best of dense networks
EVOLUTION = {
    "SET, random": {"method": "set", "regrow": "random"},
    "SET, gradient": {"method": "set", "regrow": "gradient"},
    "GSE": {"method": "set", "regrow": "gse", "prune": "magnitude", "new_weights": "zero"},
    "CHTs": {"method": "set", "regrow": "chts", "prune": "soft_magnitude", "chain_removal": True},
    "falling": {"method": "set", "zeta": 0.0},
    "falling, gradient": {"method": "set", "regrow": "gradient"},
    "fixed": {"method": "fixed"},
    "two-phase": {"method": "two_phase"},
}


def _row(name, base, epsilon, initializer, scale):
    """Method of a column, at the density of a row."""
    config = base.replace(EVOLUTION[name]).replace(epsilon=epsilon, initializer=initializer)
    if name.startswith("falling"):
        config = config.replace(start_factor=max(2.0, FALLS_FROM / epsilon))
    if name == "two-phase":
        config = config.replace(DENSE)
        return Row(name, config, (TWO_PHASE_RATE,), scale.dense_seeds, 0)
    return Row(name, config, scale.rates, scale.dense_seeds, scale.search)


def density(lab, scale):
    """Accuracy against density, and its figure."""
    base = fashion(scale, epochs=scale.density_epochs, dropout=0.0, weight_decay=0.0)
    yield from [
        f"## Accuracy against density: {PARTS[scale.size]}, 784-1000-1000-1000-10", "",
        f"{scale.density_epochs} epochs, no dropout, no augmentation, otherwise the preset's settings. Initial weights "
        "in proportion to the fan-in of a dense layer, or to each neuron's own. Falling: from the connections of "
        f"epsilon {FALLS_FROM:g}, or twice those wanted, to those wanted, in three quarters of the epochs "
        "(`start_factor`); without regrowth, or with it. Two-phase: dense for half of the epochs, then pruned. The "
        "learning rate is in brackets, that of two-phase is given.", "",
        "| connections (density) | initial weights | " + " | ".join(EVOLUTION) + " |",
        "|---" * (len(EVOLUTION) + 2) + "|",
    ]  # fmt: skip
    series = {}
    for epsilon in scale.epsilons:
        for start, initializer in STARTS.items():
            rows = [_row(name, base, epsilon, initializer, scale) for name in EVOLUTION]
            if initializer.endswith("_sparse"):  # a dense phase has only one fan-in
                rows.pop()
            found = [lab.result(row) for row in rows]
            counts = [result.connections for result in found if result]
            for row, result in zip(rows, found, strict=True):
                if result and (initializer == "he_uniform" or row.name == "fixed"):
                    label = row.name if initializer == "he_uniform" else f"{row.name}, {start}"
                    series.setdefault(label, []).append((100 * counts[0] / PLACES, result.mean))
            shown = f"{counts[0]:,.0f} ({counts[0] / PLACES:.2%})" if counts else f"epsilon {epsilon:g}"
            cells = [_cell(lab, row, result) for row, result in zip(rows, found, strict=True)]
            yield f"| {shown} | {start} | " + " | ".join(cells) + " |" * (1 + len(EVOLUTION) - len(rows))
    row = Row(
        "dense", base.replace(method="dense").replace(DENSE), scale.dense_rates, scale.dense_seeds,
        scale.dense_search,
    )  # fmt: skip
    result = lab.result(row)
    yield f"| {PLACES:,} (100.00%), dense, ReLU | dense fan-in |{' |' * 6} {_cell(lab, row, result)} | |"
    if result:
        series["dense"] = [(100.0, result.mean)]
    if series:
        lab.figures[PICTURE] = {
            "title": "Test accuracy against density", "x_label": "density (%)",
            "y_label": f"test accuracy (%), from {LOWEST} on", "lowest": LOWEST,
            "series": {name: tuple(zip(*sorted(points), strict=True)) for name, points in series.items()},
        }  # fmt: skip
        yield from ["", f"![Test accuracy against density, logarithmic]({PICTURE})"]


def _cell(lab, row, result):
    return lab.problem(row) if result is None else f"{result.text} ({result.rate:g})"


FEW = {
    "epsilon 1": {"epsilon": 1.0, "dropout": 0.0, "start_factor": 20.0},
    "epsilon 3": {"epsilon": 3.0, "dropout": 0.1, "start_factor": 14.0},
    "epsilon 6": {"epsilon": 6.0, "dropout": 0.2, "start_factor": 6.7},
}


def few(lab, scale):
    """Accuracy with few connections, at the best settings found."""
    yield from [
        f"## Few connections: {PARTS[scale.size]}, 784-1000-1000-1000-10", "",
        "Begun with more connections, which fall to those in the first column in three quarters of the epochs, without "
        "regrowth (`--set epsilon=1 --set start_factor=20 --set zeta=0 --set augmentation=none`); learning rate 0.1, "
        "otherwise the preset's settings; chosen on a sixth of the training part, one seed. Seconds: median of the "
        "seeds.", "",
        "| connections | density | at the start | dropout | epochs | accuracy | seeds | seconds of training |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, settings in FEW.items():
        for epochs in scale.few_epochs:
            config = fashion(scale, epochs=epochs, zeta=0.0).replace(settings)
            row = Row(name, config, (0.1,), scale.seeds, 0)
            if (result := lab.result(row)) is None:
                yield f"| {name} | | | {config.network.dropout:g} | {epochs} | {lab.problem(row)} | | |"
                continue
            spent = [sum(r.seconds_train + r.seconds_evolve for r in run.records()) for run in result.runs]
            first = sum(shape.connections for shape in layer_shapes(784, 10, config))
            yield (
                f"| {result.connections:,.0f} | {result.connections / PLACES:.2%} | {first:,} "
                f"| {config.network.dropout:g} | {epochs} | {result.text} | {len(result.scores)} "
                f"| {median(spent):.0f} |"
            )
