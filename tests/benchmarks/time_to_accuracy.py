"""Time to accuracy on Fashion-MNIST: CPU seconds of training on one thread until the test accuracy reaches a value.

tsnn is trained with its preset, without augmentation, and with fewer connections, for a few numbers of epochs; peers
at the best of some learning rates, chosen on a sixth of the training part. The learning rate falls to the end of the
epochs, that of PyTorch by a half cosine; scikit-learn has no schedule for Adam. Each method is measured in a process of
its own; evaluation is not counted.
"""

import argparse
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import time

import numpy as np

LEVELS = (85, 88, 89, 90)
ONE_THREAD = dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
WIDE = 1000, 1000, 1000
PEER_EPOCHS = (4, 8), (4, 8, 15)
#: Peers by name: library, hidden layers, solver, epsilon, learning rates, epochs with --quick and without.
PEERS = {
    "scikit-learn, dense 1000-1000-1000, Adam": ("sklearn", WIDE, "adam", 0, (3e-4, 1e-3), ((8,), (30,))),
    "scikit-learn, dense 100, Adam (its defaults)": ("sklearn", (100,), "adam", 0, (1e-3, 3e-3), ((20,), (100,))),
    "PyTorch, dense 1000-1000-1000, SGD": ("torch", WIDE, "dense", 0, (0.03, 0.1, 0.2), PEER_EPOCHS),
    "PyTorch, the same masked to 4.5 %, fixed": ("torch", WIDE, "masked", 20, (0.1, 0.2, 0.4), PEER_EPOCHS),
    "sparselab, the same at 4.5 %, SET": ("sparselab", WIDE, "sparselab", 20, (0.1, 0.2, 0.4, 0.8), PEER_EPOCHS),
    "sparselab, the same at 1.9 %, SET": ("sparselab", WIDE, "sparselab", 8, (0.1, 0.3, 0.5, 0.8), ((5, 8), (5, 15))),
}
#: tsnn's settings where they are not the preset's, chosen on validation samples; epochs with --quick and without.
OURS = {
    "tsnn, preset": ({}, (15,), (15, 60)),
    "tsnn, preset without augmentation": ({"training.augmentation": "none"}, (5, 8, 25), (5, 8, 25)),
    "tsnn, the same with 1.9 % of the connections": (
        {"training.augmentation": "none", "network.epsilon": 8.0, "training.learning_rate": 0.3}, (5, 7), (5, 7),
    ),
}  # fmt: skip


def tsnn_curve(name, epochs):
    """Yield CPU seconds of training and evolution, and test accuracy in per cent, after each epoch."""
    import tsnn

    config = tsnn.Config.preset("fashion_mnist").replace(epochs=epochs, threads=1).replace(OURS[name][0])
    rng = np.random.default_rng(0)
    data = tsnn.load_dataset("fashion_mnist", size="full", preprocessing=config.data.preprocessing, rng=rng)
    x, x_test = (part.reshape(-1, 28, 28) for part in (data.x_train[:512], data.x_test[:128]))
    few = tsnn.make_dataset(x, data.y_train[:512], x_test, data.y_test[:128])
    network = tsnn.init_network(data.n_features, data.n_outputs, config, rng=rng)
    list(tsnn.train(network, few, config.replace(epochs=2), rng=rng))  # compiles
    network = tsnn.init_network(data.n_features, data.n_outputs, config, rng=rng)
    spent, started = 0.0, time.process_time()
    for record in tsnn.train(network, data, config, rng=rng):
        cpu = time.process_time() - started
        measured = record.seconds_train + record.seconds_evolve
        spent += cpu * measured / (measured + record.seconds_evaluate + record.seconds_measure)
        yield spent, 100 * record.test_accuracy
        started = time.process_time()


def peer_curve(name, rate, epochs, validate):
    """Yield CPU seconds of training, and accuracy in per cent on the test or the validation part, after each epoch."""
    import tsnn

    library, hidden, solver, epsilon, *_ = PEERS[name]
    data = tsnn.load_dataset("fashion_mnist", size="full", rng=np.random.default_rng(0))
    x, y = np.asarray(data.x_train[:]), np.asarray(data.y_train)
    given = np.asarray(data.x_test[:]), np.asarray(data.y_test)
    if validate:
        n = len(x) * 5 // 6
        x, y, given = x[:n], y[:n], (x[n:], y[n:])
    if library == "sklearn":
        fit, score, evolve = _sklearn(hidden, solver, rate)
    else:
        fit, score, evolve = _torch((x.shape[1], *hidden), solver, epsilon, rate, epochs * -(-len(x) // 128))
    rng, spent = np.random.default_rng(0), 0.0
    for _ in range(epochs):
        order = rng.permutation(len(x))
        started = time.process_time()
        for start in range(0, len(x), 128):
            fit(x[order[start : start + 128]], y[order[start : start + 128]])
        evolve()
        spent += time.process_time() - started
        yield spent, 100 * score(*given)


def _sklearn(hidden, solver, rate):
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(hidden, solver=solver, learning_rate_init=rate, batch_size=128, random_state=0)
    return lambda x, y: model.partial_fit(x, y, classes=np.arange(10)), model.score, lambda: None


def _torch(sizes, solver, epsilon, rate, steps):
    import torch
    from torch import nn

    torch.manual_seed(0)
    linear = {"dense": lambda a, b, _: nn.Linear(a, b), "masked": _masked, "sparselab": _sparselab}[solver]
    pairs = [(a, b, epsilon * (a + b)) for a, b in itertools.pairwise(sizes)]
    layers = [part for pair in pairs for part in (linear(*pair), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Linear(sizes[-1], 10))  # the output layer is dense, as with epsilon 20
    evolve = _evolution(model, pairs) if solver == "sparselab" else lambda: None
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def fit(x, y):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(y).long()).backward()
        optimizer.step()
        schedule.step()

    def score(x, y):
        with torch.no_grad():
            return float((model(torch.from_numpy(x)).argmax(1).numpy() == y).mean())

    return fit, score, evolve


def _masked(n_in, n_out, connections):
    from torch import nn

    from tests.benchmarks.pytorch import MaskedLinear

    layer = MaskedLinear(n_in, n_out, connections)
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")  # as tsnn's; PyTorch's own is smaller
    return layer


def _sparselab(n_in, n_out, connections):
    import sparselab

    return sparselab.SparseLinear(n_in, n_out, sparsity=1 - connections / (n_in * n_out))


def _evolution(model, pairs):
    """Return sparselab's evolution of the sparse layers, with zeta 0.3 as in SET."""
    import sparselab

    density = sum(connections for *_, connections in pairs) / sum(a * b for a, b, _ in pairs)
    rule = sparselab.SET(sparsity=1 - density, drop_fraction=0.3)
    model[:-1].apply(rule)
    return rule.update


def table(lab, scale):
    """Rows of the table; curves that are missing are measured, if the laboratory trains."""
    folder = lab.store.root / "time"
    yield from [
        "## Time to accuracy: Fashion-MNIST, CPU seconds of one thread", "",
        "Seconds of training until the test accuracy first reaches a value, one seed. To the end of the given number "
        "of epochs the learning rate falls to 0, but that of scikit-learn. CPU seconds grow with the load of the "
        "machine, given as the number of processes that wanted one of its cores.", "",
        "| network | " + " | ".join(f"{level} %" for level in LEVELS) + " | all epochs | then | learning rate | load |",
        "|---" * (len(LEVELS) + 5) + "|",
    ]  # fmt: skip
    for name, (settings, *numbers) in OURS.items():
        rate = settings.get("training.learning_rate", "the preset's")
        for epochs in numbers[scale.name == "full"]:
            yield _row(f"{name}, {epochs} epochs", _measured(lab, folder, [name, epochs]), rate)
    for name, (library, *_, rates, numbers) in PEERS.items():
        if importlib.util.find_spec(library) is None:
            yield f"| {name} | not installed |" + " |" * (len(LEVELS) + 3)
            continue
        epochs = numbers[scale.name == "full"]
        tried = {rate: _measured(lab, folder, [name, rate, max(1, epochs[-1] // 4), True]) for rate in rates}
        best = max((rate for rate in rates if tried[rate]), key=lambda rate: tried[rate]["curve"][-1][1], default=None)
        for n in epochs:
            curve = _measured(lab, folder, [name, best, n, False]) if best else None
            yield _row(f"{name}, {n} epochs", curve, f"{best:g}" if best else "")


def levels_reached(curve):
    """Return the seconds of the first epoch that reaches each of the levels; None where none does."""
    return [next((spent for spent, accuracy in curve if accuracy >= level), None) for level in LEVELS]


def _row(name, measured, rate):
    if not measured:
        return f"| {name} | not run |" + " |" * (len(LEVELS) + 3)
    curve = measured["curve"]
    first = ["–" if spent is None else f"{spent:.1f}" for spent in levels_reached(curve)]
    return (
        f"| {name} | "
        + " | ".join(first)
        + f" | {curve[-1][0]:.0f} | {curve[-1][1]:.1f} % | {rate} | {measured['load']:.0f} |"
    )


def _measured(lab, folder, what):
    """Return a stored curve, measured now if it is missing and the laboratory trains."""
    name = "".join(c if c.isalnum() else "-" for c in " ".join(map(str, what)))
    path = folder / f"{name}.json"
    if not path.exists() and lab.training:
        print(f"time to accuracy: {what}", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "tests.benchmarks.time_to_accuracy", json.dumps(what)]
        done = subprocess.run(command, env={**os.environ, **ONE_THREAD}, stdout=subprocess.PIPE, text=True, check=True)
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(done.stdout)
    if not path.exists():
        lab.missing += 1
        return None
    lab.found += 1
    return json.loads(path.read_text())


def main():
    """Print one curve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "what", help='as JSON: ["tsnn, preset", 15], or [peer, learning rate, epochs, whether to validate]'
    )
    name, *rest = json.loads(parser.parse_args().what)
    load = os.getloadavg()[0]
    print(
        json.dumps({"load": load, "curve": [*(tsnn_curve(name, *rest) if name in OURS else peer_curve(name, *rest))]})
    )


if __name__ == "__main__":
    main()
