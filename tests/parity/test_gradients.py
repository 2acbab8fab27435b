"""The whole network's gradient against finite differences, for every activation and loss."""

import numpy as np
import pytest

from tsnn.config import Config
from tsnn.engine.losses import output_loss
from tsnn.engine.metrics import evaluate, gradients
from tsnn.engine.network import init_network
from tsnn.engine.propagation import backward, forward
from tsnn.engine.workspace import Workspace

SAMPLES = 11


def mean_loss(network, x, y, task):
    workspace = Workspace(network.sizes, SAMPLES)
    workspace.activations[0][:, :SAMPLES] = x.T
    z = forward(network, workspace, dropout=0.25, key=99)
    return output_loss(task, z, y, 1 / SAMPLES)[0] / SAMPLES, workspace


@pytest.mark.parametrize("activation", ["all_relu", "relu", "leaky_relu", "gelu", "tanh"])
@pytest.mark.parametrize("task", ["classification", "regression", "multilabel"])
def test_backward__is_the_gradient_of_finite_differences(activation, task, rng):
    config = Config().replace(hidden=(9, 8, 7), epsilon=3, activation=activation, alpha=0.6)
    network = init_network(6, 4, config, rng=rng)
    for layer in network.layers:
        layer.bias[:] = rng.normal(size=layer.topology.n_out) * 0.3
    x = rng.normal(size=(SAMPLES, 6)).astype(np.float32)
    y = rng.integers(4, size=SAMPLES) if task == "classification" else rng.random((SAMPLES, 4)).astype(np.float32)
    if task == "multilabel":
        y = y.round()

    _, workspace = mean_loss(network, x, y, task)
    # velocity <- -gradient, weights unchanged
    backward(network, workspace, dropout=0.25, learning_rate=1, momentum=0, weight_decay=0, update=False)
    step, compared = 1e-2, 0
    for layer in network.layers:
        for parameters, velocity in ((layer.weights, layer.velocity), (layer.bias, layer.bias_velocity)):
            for k in rng.choice(len(parameters), min(6, len(parameters)), replace=False):
                kept, values = parameters[k], {}
                for h in (-step, -step / 2, 0, step / 2, step):
                    parameters[k] = kept + np.float32(h)
                    values[h] = mean_loss(network, x, y, task)[0]
                parameters[k] = kept
                coarse = (values[step] - values[-step]) / (2 * step)
                fine = (values[step / 2] - values[-step / 2]) / step
                bends = [(values[h] + values[-h] - 2 * values[0]) / h for h in (step, step / 2)]
                kink = 2 * bends[1] - bends[0]  # at the point itself; what is smooth cancels
                if abs(coarse - fine) < 1e-3 and abs(kink) < 3e-3:  # no kink of the activation in between
                    compared += 1
                    assert -velocity[k] == pytest.approx(fine, abs=2e-3, rel=1e-2)
    assert compared > 30


@pytest.mark.parametrize("activation", ["leaky_relu", "gelu"])
def test_gradients__of_a_batch_in_parts_are_finite_differences_and_train_nothing(activation, rng):
    network = init_network(6, 4, Config().replace(hidden=(9, 8), epsilon=3, activation=activation), rng=rng)
    before = [(layer.weights.copy(), layer.velocity.copy()) for layer in network.layers]
    x = rng.normal(size=(40, 6)).astype(np.float32)
    y, workspace = rng.integers(4, size=40), Workspace(network.sizes, 16)
    found = gradients(network, x, y, "classification", workspace)
    for layer, kept, gradient in zip(network.layers, before, found, strict=True):
        assert np.array_equal(layer.weights, kept[0])
        assert np.array_equal(layer.velocity, kept[1])
        direction = gradient / np.linalg.norm(gradient)
        losses = []
        for step in (1e-2, -1e-2):
            layer.weights[:] = kept[0] + np.float32(step) * direction
            losses.append(evaluate(network, x, y, "classification", workspace)[0])
        layer.weights[:] = kept[0]
        assert (losses[0] - losses[1]) / 2e-2 == pytest.approx(np.linalg.norm(gradient), rel=0.02)
