"""Attribution: how much the outputs of a network depend on each input feature, and the strength of its connections.

Connections and attribution tell which features a network uses. It may leave one of several that say the same unused:
:func:`response` tells which features its neurons follow, also through others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.datasets import Features
from tsnn.engine.network import Network
from tsnn.engine.propagation import backward, forward
from tsnn.engine.workspace import Workspace
from tsnn.tiling import words

Float64 = NDArray[np.float64]

_ENTRIES = 2**22  # of a matrix of inputs by neurons, at a time
_CONSTANT = 1e-6  # deviation of a feature that does not vary


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
    masks, total = np.empty((n_in, 2, words(width)), np.uint16), np.zeros(n_in)
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
            total += np.abs(workspace.values(0)).sum(axis=1)
    return total / len(rows)


def response(network: Network, x: Features, rows: NDArray[np.int64], workspace: Workspace) -> Float64:
    """Return how much the first hidden neurons respond to each input feature, float64[n_features].

    It is the sum over the neurons of ``|cov(x_j, z_h)| / std(x_j)``, of a neuron's sum ``z_h`` before its activation,
    times the strength of its paths to the outputs: the sum over the paths of the product of ``|w|``. These are the
    patterns of Haufe et al. (NeuroImage 2014): what a neuron's weights make of noise is not there.

    Parameters
    ----------
    network, x, rows, workspace
        As of :func:`attribution`.
    """
    paths = np.ones(network.sizes[-1])
    for layer in reversed(network.layers[1:]):
        t = layer.topology
        paths = np.asarray(np.bincount(t.rows(), np.abs(layer.weights) * paths[t.indices], t.n_in), np.float64)
    t, weights, total = network.layers[0].topology, network.layers[0].weights, np.zeros(network.sizes[0])
    step = max(1, min(t.n_out, _ENTRIES // t.n_in))
    for first in range(0, t.n_out, step):
        own = (t.indices >= first) & (t.indices < first + step)
        matrix = np.zeros((t.n_in, min(step, t.n_out - first)), np.float32)
        matrix[t.rows()[own], t.indices[own] - first] = weights[own]
        covariance, deviation = _moments(matrix, x, rows, workspace)
        strength = np.abs(covariance) @ paths[first : first + step]
        total += np.divide(strength, deviation, out=np.zeros(t.n_in), where=deviation > _CONSTANT)
    return total


def _moments(
    matrix: NDArray[np.float32], x: Features, rows: NDArray[np.int64], workspace: Workspace
) -> tuple[Float64, Float64]:
    """Return the covariance of inputs x and sums ``x matrix``, float64[n, k], and the deviation of x, float64[n]."""
    products, sums, squares = np.zeros(matrix.shape), np.zeros(matrix.shape[1]), np.zeros(len(matrix))
    mean = np.zeros(len(matrix))
    for start in range(0, len(rows), workspace.width):
        part = rows[start : start + workspace.width]
        x.gather(part, workspace.activations[0])
        values = workspace.values(0)[:, : len(part)]
        z = matrix.T @ values
        products += values @ z.T
        sums += z.sum(axis=1, dtype=np.float64)
        mean += values.sum(axis=1, dtype=np.float64) / len(rows)
        squares += np.square(values, dtype=np.float64).sum(axis=1)
    variance = np.maximum(squares / len(rows) - mean**2, 0)
    return (products - np.outer(mean, sums)) / len(rows), np.sqrt(variance)
