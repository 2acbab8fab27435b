"""Exchange of networks with PyTorch: equal outputs, training, conversion back, and import of a masked MLP.

PyTorch is too large to be installed for every test, so this is a command. It fails if an output differs
by more than 1e-5: ``pip install -e '.[torch]'``, then ``python -m tests.benchmarks.torch_models``.
"""

import io

import numpy as np
import torch
from torch import nn
from torch.nn.utils import prune

from tsnn.config import Config
from tsnn.engine.metrics import decision_values
from tsnn.engine.network import init_network
from tsnn.engine.workspace import Workspace
from tsnn.estimator import SparseMLPClassifier, SparseMLPRegressor
from tsnn.formats import from_torch, to_torch
from tsnn.formats.pytorch import save_torch


def outputs(network, x):
    """Decision values of a network, with its scaling of the features."""
    offset, scale = network.scaling or (0, 1)
    return decision_values(network, np.float32((x - offset) * scale), Workspace(network.sizes, 128))


def in_torch(module, x):
    """Outputs of a module."""
    with torch.no_grad():
        return module(torch.from_numpy(np.float32(x))).numpy()


def compare(name, ours, theirs):
    """Print the largest difference, relative to the largest output; fail if it is too large."""
    difference = float(np.abs(ours - theirs).max() / max(1, np.abs(ours).max()))
    print(f"{name:<60}{difference:.1e}")
    assert difference < 1e-5, name


def main():
    """Print the differences of the outputs."""
    rng = np.random.default_rng(0)
    config = Config().replace({"network.hidden": [1000, 500], "network.epsilon": 10})
    x = 3 + 2 * rng.normal(size=(200, 784))
    network = init_network(784, 10, config, rng=rng)
    network.scaling = rng.normal(size=784), rng.random(784)
    for layer in network.layers:
        layer.bias[:] = rng.normal(size=layer.topology.n_out)
    module = to_torch(network)
    compare("to_torch, All-ReLU, scaled features", outputs(network, x), in_torch(module, x))
    back = from_torch(module)
    compare("from_torch(to_torch(network))", outputs(network, x), outputs(back, x))
    assert [layer.topology.connections for layer in back.layers] == [l.topology.connections for l in network.layers]

    for activation in ("gelu", "tanh"):
        curved = init_network(784, 10, config.replace(activation=activation), rng=rng)
        compare(f"to_torch, {activation}", outputs(curved, x / 10), in_torch(to_torch(curved), x / 10))

    file = io.BytesIO()
    save_torch(network, file)
    file.seek(0)
    parts = torch.load(file, weights_only=True)
    z = (torch.from_numpy(np.float32(x)) - parts["offset"]) * parts["scale"]
    for weight, bias, slope in zip(parts["weights"], parts["biases"], parts["slopes"], strict=True):
        z = nn.functional.leaky_relu(torch.sparse.mm(weight, z.T).T + bias, slope)
    compare("tensors of tsnn export --format torch", outputs(network, x), z.numpy())

    optimizer = torch.optim.SGD(module.parameters(), 0.01)
    labels = torch.from_numpy(rng.integers(10, size=200))
    losses = []
    for _ in range(20):
        loss = nn.functional.cross_entropy(module(torch.from_numpy(np.float32(x))), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(f"{'loss during training by torch.optim.SGD':<60}{losses[0]:.2f} to {losses[-1]:.2f}")
    assert losses[-1] < losses[0]
    compare("from_torch after training", outputs(from_torch(module), x), in_torch(module, x))

    masked = nn.Sequential(
        nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Dropout(), nn.Linear(300, 100), nn.LeakyReLU(0.2),
        nn.Linear(100, 10), nn.Softmax(dim=1),
    )  # fmt: skip
    for part in (masked[1], masked[4]):
        prune.l1_unstructured(part, "weight", amount=0.9)
    with torch.no_grad():
        masked[6].weight[:, ::2] = 0
    network = from_torch(masked)
    compare("from_torch, a masked MLP", outputs(network, x), in_torch(masked.eval()[:-1], x))
    counts = [layer.topology.connections for layer in network.layers]
    print(f"{'connections, of 235,200, 30,000 and 1,000 positions':<60}{counts}")
    assert counts == [23_520, 3000, 500]

    settings = {"hidden": (50, 30), "epochs": 5, "random_state": 0}
    model = SparseMLPClassifier(**settings).fit(x, labels.numpy())
    probabilities = nn.functional.softmax(torch.from_numpy(in_torch(model.to_torch(), x)), dim=1).numpy()
    compare("SparseMLPClassifier.to_torch", model.predict_proba(x), probabilities)
    regressor = SparseMLPRegressor(**settings).fit(x, 1000 * x[:, :2])
    compare("SparseMLPRegressor.to_torch", regressor.predict(x), in_torch(regressor.to_torch(), x))


if __name__ == "__main__":
    main()
