"""Settings of the dashboard's demonstration: accuracy, and whether evolution finds the pixels that tell something.

Prints for each setting and seed the mean connections of a pixel in the centre (rows and columns 7 to 20) over those of
the outer three, and the test accuracy, after 60 epochs on the bundled part of Fashion-MNIST.

Run ``python -m tests.benchmarks.demonstration [--seeds N]``.
"""

import argparse

import numpy as np

import tsnn

EPOCHS = 60
SETTINGS = {
    "the papers' settings": {},
    "demonstration": {
        "data.preprocessing": "minmax",
        "training.regrow": "gradient",
        "training.learning_rate": 0.03,
    },
}


def measure(settings, seed):
    """Return the ratio of connections and the test accuracy."""
    rng = np.random.default_rng(seed)
    config = tsnn.Config.preset("fashion_mnist").replace({"training.epochs": EPOCHS, "run.seed": seed, **settings})
    data = tsnn.load_dataset("fashion_mnist", size="small", preprocessing=config.data.preprocessing, rng=rng)
    network = tsnn.init_network(data.n_features, data.n_outputs, config, rng=rng)
    *_, record = tsnn.train(network, data, config, rng=rng)
    degree = network.layers[0].topology.out_degree.reshape(28, 28)
    border = np.ones((28, 28), bool)
    border[3:25, 3:25] = False
    return degree[7:21, 7:21].mean() / degree[border].mean(), record.test_accuracy


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.demonstration", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    seeds = parser.parse_args().seeds
    print("| settings | seed | centre / border | test accuracy |\n|---|---|---|---|")
    for name, settings in SETTINGS.items():
        for seed in range(seeds):
            ratio, accuracy = measure(settings, seed)
            print(f"| {name} | {seed} | {ratio:.2f} | {100 * accuracy:.1f} % |", flush=True)


if __name__ == "__main__":
    main()
