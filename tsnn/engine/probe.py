"""Probe: a batch of samples passed through the network for the rules of evolution; nothing is trained."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

from tsnn.engine.batches import Batch, probe_gradient
from tsnn.engine.free_positions import Activations
from tsnn.engine.losses import output_loss
from tsnn.engine.network import Float32, Network
from tsnn.engine.propagation import backward, forward
from tsnn.engine.topology import Int32, Int64
from tsnn.engine.workspace import Workspace

SAMPLES = 64  # most samples whose activations a rule gets


class LayerProbe(NamedTuple):
    """Functions that compute about one layer: the gradient at a CSR pattern of positions, and its activations."""

    gradient: Callable[[Int64, Int32], Float32]
    activations: Callable[[], Activations]


class Probe:
    """A batch, and the network at the moment when a layer asks for it: with its lower layers evolved.

    Parameters
    ----------
    network : Network
        Not changed; dropout is off.
    workspace : Workspace
        Buffers; overwritten.
    batch : Batch
        The samples.
    """

    def __init__(self, network: Network, workspace: Workspace, batch: Batch):
        self._network, self._workspace, self._batch = network, workspace, batch

    def of_layer(self, layer: int) -> LayerProbe:
        """Return the functions for a layer, by its number."""
        gradient = functools.partial(probe_gradient, self._network, self._workspace, self._batch, layer)
        return LayerProbe(gradient, functools.partial(self.activations, layer))

    def activations(self, layer: int) -> Activations:
        """Return the activations around a layer; two of the arrays are views that the next call overwrites."""
        x, y, rows, weights, task, _ = self._batch
        workspace, part = self._workspace, rows[: min(self._workspace.width, SAMPLES)]
        x.gather(part, workspace.activations[0])
        z = forward(self._network, workspace)
        count = len(part)
        above = workspace.values(layer + 1)[:, :count].copy()
        output_loss(task, z, y[part], 1.0 / len(rows), None if weights is None else weights[part])
        backward(
            self._network, workspace, dropout=0, learning_rate=0, momentum=1, weight_decay=0, update=False,
            down_to=layer + 1,
        )  # fmt: skip
        below, deltas = workspace.values(layer), workspace.values(layer + 1)
        return Activations(below[:, :count], above, deltas[:, :count])
