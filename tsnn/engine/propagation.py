"""Propagation: forward and backward passes of a network through a workspace.

Weights, velocities, biases and buffers are changed in place here and in :mod:`tsnn.kernels` only.
"""

from __future__ import annotations

from tsnn import kernels
from tsnn.engine.network import Float32, Network
from tsnn.engine.workspace import Workspace
from tsnn.tiling import can_scatter


def forward(
    network: Network, workspace: Workspace, *, dropout: float = 0.0, key: int = 0, sample_offset: int = 0
) -> Float32:
    """Propagate the inputs in ``workspace.activations[0]`` through the network.

    Parameters
    ----------
    network : Network
        The network.
    workspace : Workspace
        Holds the inputs; its activations and masks are written.
    dropout : float
        Fraction of the hidden neurons dropped (inverted dropout); 0 for inference.
    key : int
        Number of this training step's random masks; they depend on nothing else, so not on threads.
    sample_offset : int
        Number of the first sample within the batch, if the batch is processed in parts.

    Returns
    -------
    z : float32[n_outputs, width]
        The output neurons' sums; a view into the workspace.
    """
    threshold = kernels.dropout_threshold(dropout)
    last = len(network.layers) - 1
    for l, layer in enumerate(network.layers):
        t, x, out, masks = layer.topology, workspace.activations[l], workspace.activations[l + 1], workspace.masks[l]
        rule = network.slopes[l], threshold if l < last else 0, key + l, sample_offset
        wanted = workspace.compact or kernels.scatter_is_faster(t.connections, x)
        if wanted and can_scatter(t.n_out, t.connections):
            kernels.scatter(t.indptr, t.indices, layer.weights, layer.bias, x, *rule, out, masks)
        else:
            kernels.forward(
                t.t_indptr, t.t_indices, t.t_perm, layer.weights, layer.bias, x, *rule,
                t.segments, workspace.partial(l, len(t.segments)), out, masks,
            )  # fmt: skip
        if network.curve and l < last:
            values = workspace.values(l + 1)
            kernels.apply_curve(network.curve, 1 - dropout, values, workspace.derivative(l))
            workspace.put(l + 1, values)
    return workspace.activations[-1]


def backward(
    network: Network, workspace: Workspace, *, dropout: float, learning_rate: float, momentum: float,
    weight_decay: float, update: bool = True, down_to: int = 0,
) -> None:  # fmt: skip
    """Propagate ``dLoss/dz`` in ``workspace.activations[-1]`` back and train every connection.

    ``v <- momentum v - learning_rate g``, then, if ``update``, ``w <- w + v - weight_decay w``; for weights
    and biases, in place. The gradient ``g`` exists for stored connections only and is used as it is formed.
    Layers below ``down_to`` are not changed. The activations of the other layers are replaced by ``dLoss/dz``.
    """
    threshold = kernels.dropout_threshold(dropout)
    for l in reversed(range(down_to, len(network.layers))):
        layer, t = network.layers[l], network.layers[l].topology
        below = max(l - 1, 0)
        kernels.backward(
            t.indptr, t.indices, layer.weights, layer.velocity, layer.bias, layer.bias_velocity,
            workspace.activations[l], workspace.activations[l + 1], momentum, learning_rate, weight_decay, update,
            workspace.masks[below], network.slopes[below], threshold, l > 0,
        )  # fmt: skip
        if network.curve and l > 0:
            values = workspace.values(l)
            kernels.multiply(workspace.derivative(below), values)
            workspace.put(l, values)
