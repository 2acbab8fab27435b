"""Settings of the dashboard's demonstration: accuracy, and whether evolution finds the pixels that tell something.

Prints for each setting and seed the mean connections of a pixel in the centre (rows and columns 7 to 20) over those of
the outer three, and the test accuracy, after 60 epochs on the bundled part of Fashion-MNIST; and the first epoch with
85 %, with the CPU seconds of training until then.

Run ``python -m tests.benchmarks.demonstration [--seeds N] [--epochs N] [--race]``. With ``--race`` the demonstration is
trained as fixed and dense, and dense with a larger learning rate, at which it diverges.
"""

import argparse
import time

import numpy as np

import tsnn
from tsnn.errors import DivergenceError

SETTINGS = {
    "the papers' settings": {},
    "demonstration": {
        "data.preprocessing": "minmax",
        "training.regrow": "gradient",
        "training.learning_rate": 0.02,
        "training.weight_decay": 1e-4,
        "network.dropout": 0.1,
    },
}
RACE = {
    f"{method}, learning rate {rate}": SETTINGS["demonstration"]
    | {"training.method": method, "training.learning_rate": rate}
    for method, rate in (("fixed", 0.02), ("dense", 0.02), ("dense", 0.03))
}


def measure(settings, epochs, seed):
    """Return the ratio of connections, the test accuracy, and when it was 85 % first, as text."""
    rng = np.random.default_rng(seed)
    config = tsnn.Config.preset("paper/fashion_mnist").replace(
        {"training.epochs": epochs, "run.seed": seed, **settings}
    )
    data = tsnn.load_dataset("fashion_mnist", size="small", preprocessing=config.data.preprocessing, rng=rng)
    network = tsnn.init_network(data.n_features, data.n_outputs, config, rng=rng)
    started, first = time.process_time(), ""
    for record in tsnn.train(network, data, config, rng=rng):
        if not first and record.test_accuracy >= 0.85:
            first = f"epoch {record.epoch}, {time.process_time() - started:.0f} s"
    degree = network.layers[0].topology.out_degree.reshape(28, 28)
    border = np.ones((28, 28), bool)
    border[3:25, 3:25] = False
    return degree[7:21, 7:21].mean() / degree[border].mean(), record.test_accuracy, first or "never"


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.demonstration", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--race", action="store_true")
    options = parser.parse_args()
    print("| settings | seed | centre / border | test accuracy | 85 % |\n|---|---|---|---|---|")
    for name, settings in (RACE if options.race else SETTINGS).items():
        for seed in range(options.seeds):
            try:
                ratio, accuracy, first = measure(settings, options.epochs, seed)
                found = f"{ratio:.2f} | {100 * accuracy:.1f} % | {first}"
            except DivergenceError as error:
                found = f"– | {error} |"
            print(f"| {name} | {seed} | {found} |", flush=True)


if __name__ == "__main__":
    main()
