"""Batches: training steps and gradients of some samples of a data set."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.datasets import Dataset, Features
from tsnn.engine.losses import output_loss
from tsnn.engine.network import Float32, Network
from tsnn.engine.optimizers import apply_gradient
from tsnn.engine.own_rules import SECONDS
from tsnn.engine.propagation import backward, forward
from tsnn.engine.schedules import Rates
from tsnn.engine.topology import Int32, Int64
from tsnn.engine.workspace import Workspace
from tsnn.registry import OPTIMIZERS


class Batch(NamedTuple):
    """Samples to compute a gradient of.

    Attributes
    ----------
    x : Features
        All samples of a part of a data set, [n, n_features].
    y : int64[n] or float32[n, n_outputs]
        Their labels or targets.
    rows : int64[b]
        The samples of the batch.
    weights : float32[n] or None
        Weight of each sample in the loss, 1 on average; None: 1.
    task : str
        See :func:`tsnn.engine.losses.output_loss`.
    squared_units : float64[n_outputs] or None
        Units of the loss, likewise.
    """

    x: Features
    y: NDArray[Any]
    rows: Int64
    weights: Float32 | None
    task: str
    squared_units: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, data: Dataset, rows: Int64, x: Features | None = None) -> Batch:
        """Return a batch of the training part of a data set; ``x``: its features as a step sees them."""
        x = data.x_train if x is None else x
        return cls(x, data.y_train, rows, data.weights_train, data.task, data.squared_units)


def train_batch(
    network: Network, workspace: Workspace, batch: Batch, *, rates: Rates, key: int, optimizer: str = "sgd",
    seconds: float = SECONDS,
) -> tuple[float, float]:  # fmt: skip
    """Run one step of an optimizer on a batch.

    A batch wider than the workspace is processed in parts, with the same result up to rounding.

    Parameters
    ----------
    network, workspace
        Changed in place.
    batch : Batch
        The samples.
    rates : Rates
        Learning rate, momentum, weight decay, dropout.
    key : int
        See :func:`tsnn.engine.propagation.forward`.
    optimizer : str
        Its name; layers hold its state (:func:`tsnn.engine.optimizers.prepare_state`).
    seconds : float
        See :func:`tsnn.engine.optimizers.apply_gradient`.

    Returns
    -------
    loss, n_correct : float
        Sums over the batch, before the step.
    """
    if OPTIMIZERS[optimizer].fused:
        return _pass(network, workspace, batch, rates, key, update=True)
    results = batch_gradient(network, workspace, batch, dropout=rates.dropout, key=key)
    apply_gradient(network, optimizer, rates, seconds)
    return results


def batch_gradient(
    network: Network, workspace: Workspace, batch: Batch, *, dropout: float, key: int, gathered: bool = False
) -> tuple[float, float]:
    """Compute the gradient of a batch without training; parameters and result of :func:`train_batch`.

    The gradient replaces the layers' velocities and bias velocities. With ``gathered``, the first part of the batch,
    as wide as the workspace, is in ``workspace.activations[0]`` already.
    """
    return _pass(network, workspace, batch, Rates(0.0, -1.0, 0.0, dropout), key, gathered=gathered)


def _pass(
    network: Network, workspace: Workspace, batch: Batch, rates: Rates, key: int, *, update: bool = False,
    gathered: bool = False,
) -> tuple[float, float]:  # fmt: skip
    """Pass a batch forward and back, in as many parts as the workspace needs."""
    x, y, rows, weights, task, squared_units = batch
    momentum, learning_rate, weight_decay, dropout = rates
    loss = n_correct = 0.0
    for start in range(0, len(rows), workspace.width):
        part = rows[start : start + workspace.width]
        if start or not gathered:
            x.gather(part, workspace.activations[0])
        z = forward(network, workspace, dropout=dropout, key=key, sample_offset=start)
        part_loss, part_correct = output_loss(
            task, z, y[part], 1.0 / len(rows), None if weights is None else weights[part], squared_units
        )
        backward(
            network, workspace, dropout=dropout, learning_rate=learning_rate, momentum=momentum if start == 0 else 1.0,
            weight_decay=weight_decay, update=update and start + len(part) == len(rows),
        )  # fmt: skip
        loss += part_loss
        n_correct += part_correct
    return loss, n_correct


def probe_gradient(
    network: Network, workspace: Workspace, batch: Batch, layer: int, indptr: Int64, indices: Int32
) -> Float32:
    """Return a batch's gradient at any positions of a layer, connected or not; nothing is trained.

    Parameters
    ----------
    network : Network
        Not changed; dropout is off.
    workspace : Workspace
        Buffers; overwritten.
    batch : Batch
        The samples.
    layer : int
        The layer, from 0.
    indptr, indices : int64[n_in + 1], int32[k]
        The positions as a CSR pattern.

    Returns
    -------
    gradient : float32[k]
    """
    x, y, rows, weights, task, _ = batch
    gradient = np.zeros(len(indices), np.float32)
    for start in range(0, len(rows), workspace.width):
        part = rows[start : start + workspace.width]
        x.gather(part, workspace.activations[0])
        z = forward(network, workspace)
        output_loss(task, z, y[part], 1.0 / len(rows), None if weights is None else weights[part])
        backward(
            network, workspace, dropout=0, learning_rate=0, momentum=1, weight_decay=0, update=False, down_to=layer + 1
        )
        below, delta = workspace.values(layer), workspace.values(layer + 1)
        kernels.add_gradient(indptr, indices, below, delta, gradient)
    return gradient
