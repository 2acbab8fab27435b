"""Attribution: how much the outputs of a network depend on each input feature, and the strength of its connections."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.datasets import Features
from tsnn.engine.network import Network
from tsnn.engine.propagation import backward, forward
from tsnn.engine.workspace import Workspace
from tsnn.tiling import LANES

Float64 = NDArray[np.float64]


def input_strength(network: Network) -> Float64:
    """Return the strength of each input: the sum of ``|w|`` over its connections, float64[n_features]."""
    layer = network.layers[0]
    return np.asarray(kernels.row_strength(layer.topology.indptr, layer.weights), np.float64)


def attribution(network: Network, x: Features, rows: NDArray[np.int64], workspace: Workspace) -> Float64:
    """Return the attribution of each input: the sum over the outputs of mean ``|d f_c / d x_j|``, float64[n_features].

    The outputs ``f`` are the sums of the output neurons (logits), the mean is over samples (ECAI 2024, section 3).

    Parameters
    ----------
    network : Network
        Not changed; dropout is off.
    x : Features
        Samples, as the network takes them.
    rows : int64[b]
        The samples that count.
    workspace : Workspace
        Buffers; overwritten.

    Notes
    -----
    A backward pass for each output and sample, without training. No matrix of inputs by outputs is formed: the delta of
    the first hidden layer reaches the inputs by the kernel of the forward pass, along the first layer's connections.
    """
    t, weights = network.layers[0].topology, network.layers[0].weights
    n_in, width = t.n_in, workspace.width
    order, segments = np.arange(t.connections, dtype=np.int32), kernels.long_row_segments(t.indptr)
    scratch = np.zeros(n_in, np.float32), np.empty((len(segments), width), np.float32)
    masks, total = np.empty((n_in, 2, width // LANES), np.uint16), np.zeros(n_in)
    for start in range(0, len(rows), width):
        part = rows[start : start + width]
        x.gather(part, workspace.activations[0])
        forward(network, workspace)
        for c in range(network.sizes[-1]):
            workspace.activations[-1][:] = 0
            workspace.activations[-1][c, : len(part)] = 1
            backward(
                network, workspace, dropout=0, learning_rate=0, momentum=1, weight_decay=0, update=False, down_to=1
            )
            kernels.forward(
                t.indptr, t.indices, order, weights, scratch[0], workspace.activations[1], 1.0, 0, 0, 0, segments,
                scratch[1], workspace.activations[0], masks,
            )  # fmt: skip
            total += np.abs(workspace.activations[0]).sum(axis=1)
    return total / len(rows)
