"""Evaluation: loss, accuracy, decision values and gradients of a network on any number of samples."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsnn.datasets import Features, as_features
from tsnn.engine.batches import Batch, batch_gradient
from tsnn.engine.losses import output_loss
from tsnn.engine.network import Network
from tsnn.engine.propagation import forward
from tsnn.engine.workspace import Workspace


def evaluate(
    network: Network, x: Features | NDArray[Any], y: NDArray[Any], task: str, workspace: Workspace,
    weights: NDArray[np.float32] | None = None,
) -> tuple[float, float | None]:  # fmt: skip
    """Return mean loss and accuracy of a network; every sample counts, also those of a last, smaller batch.

    Parameters
    ----------
    network : Network
        Not changed; dropout is off.
    x : Features or [n_samples, n_features]
        The samples.
    y : int64[n_samples] or float32[n_samples, n_outputs]
        Their labels or targets; see :func:`tsnn.engine.losses.output_loss`.
    task : str
        ``classification``, ``regression`` or ``multilabel``.
    workspace : Workspace
        Buffers; overwritten.
    weights : float32[n_samples], optional
        Weight of each sample in the loss, 1 on average.

    Returns
    -------
    loss : float
        Mean over the samples; NaN if there are none.
    accuracy : float or None
        Fraction of correct answers; None for ``regression``, or without samples.
    """
    if len(x) == 0:
        return math.nan, None
    total = n_correct = 0.0
    for rows, z in _outputs(network, as_features(x), workspace):
        loss, part_correct = output_loss(task, z, y[rows], 0.0, None if weights is None else weights[rows])
        total += loss
        n_correct += part_correct
    return total / len(x), None if task == "regression" else n_correct / len(x)


def decision_values(network: Network, x: Features | NDArray[Any], workspace: Workspace) -> NDArray[np.float32]:
    """Return the output neurons' sums for each sample, float32[n_samples, n_outputs]."""
    return np.concatenate([z[:, : len(rows)].T.copy() for rows, z in _outputs(network, as_features(x), workspace)])


def _outputs(
    network: Network, x: Features, workspace: Workspace
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    network.prepare_for_kernels()
    for start in range(0, len(x), workspace.width):
        rows = np.arange(start, min(start + workspace.width, len(x)))
        x.gather(rows, workspace.activations[0])
        yield rows, forward(network, workspace)


def gradients(
    network: Network, x: Features | NDArray[Any], y: NDArray[Any], task: str, workspace: Workspace
) -> list[NDArray[np.float32]]:
    """Return the gradient of the mean loss at every connection; nothing is trained.

    Parameters
    ----------
    network, x, y, task, workspace
        See :func:`evaluate`.

    Returns
    -------
    gradients : list of float32[connections]
        For each layer, aligned to its weights.
    """
    network.prepare_for_kernels()
    layers = [
        dataclasses.replace(layer, velocity=np.zeros_like(layer.velocity), bias_velocity=np.zeros_like(layer.bias))
        for layer in network.layers
    ]
    probe = dataclasses.replace(network, layers=layers)
    batch = Batch(as_features(x), y, np.arange(len(x)), None, task)
    batch_gradient(probe, workspace, batch, dropout=0, key=0)
    return [layer.velocity for layer in layers]
