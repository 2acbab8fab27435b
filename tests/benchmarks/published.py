"""The training step of the papers' published code, rewritten as a peer.

`PublishedNetwork` is a rewrite of the sequential training step from its description (arXiv 2102.01732):
activations are batch-major [batch, n]; weights are SciPy CSR matrices of float64; z and the activations of all
layers are kept, the derivative is found from z; gradients of the stored connections come from a Numba loop that
takes strided columns of both activations; momentum is a second sparse matrix, and each update makes new matrices
by SciPy's arithmetic. It does only the work that this design requires.
"""

import numba
import numpy as np
from scipy import sparse

from tests.benchmarks.workloads import DECAY, DROPOUT, MOMENTUM, RATE


@numba.njit(parallel=True, fastmath=True, cache=True)
def connection_gradients(activation, delta, rows, columns, out):
    """Mean over the batch of activation * delta, for each stored connection."""
    samples = activation.shape[0]
    for k in numba.prange(out.shape[0]):
        total = 0.0
        for s in range(samples):
            total += activation[s, rows[k]] * delta[s, columns[k]]
        out[k] = total / samples


@numba.njit(fastmath=True, cache=True)
def dropped(values, p):
    """Inverted dropout: the values and the mask."""
    keep = np.random.uniform(0.0, 1.0, values.shape) >= p  # noqa: NPY002 (as published)
    return values * np.float32(1 / (1 - p)) * keep, keep


class PublishedNetwork:
    """The weights and one training step of the published design."""

    def __init__(self, network):
        self.weights, self.slopes = [], network.slopes
        for layer in network.layers:
            t = layer.topology
            arrays = (layer.weights.astype(float), t.indices.copy(), t.indptr.astype(np.int32))
            self.weights.append(sparse.csr_array(arrays, shape=(t.n_in, t.n_out)))
        self.biases = [np.zeros(layer.topology.n_out, np.float32) for layer in network.layers]
        self.velocities, self.bias_velocities = {}, {}

    def step(self, x, onehot):
        """Train on float32[batch, features] and float32[batch, classes]."""
        sums, activations, keeps = [], [x], []
        for l, (weights, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            z = activations[l] @ weights + bias
            sums.append(z)
            if l == len(self.weights) - 1:
                e = np.exp(z - z.max(axis=1, keepdims=True))
                activations.append(e / e.sum(axis=1, keepdims=True))
            else:
                a, keep = dropped(np.where(z < 0, self.slopes[l] * z, z), DROPOUT)
                activations.append(a)
                keeps.append(keep)
        delta = activations[-1] - onehot
        gradients = []
        for l in reversed(range(len(self.weights))):
            pattern = self.weights[l].tocoo()
            values = np.empty(pattern.nnz, np.float32)
            connection_gradients(activations[l], delta, pattern.row, pattern.col, values)
            gradient = sparse.coo_array((values, (pattern.row, pattern.col)), shape=pattern.shape).tocsr()
            gradients.append((l, gradient, delta.mean(axis=0)))
            if l:
                slope = np.where(sums[l - 1] < 0, self.slopes[l - 1], 1)
                delta = (delta @ self.weights[l].T) * slope * keeps[l - 1] / np.float32(1 - DROPOUT)
        for l, gradient, bias_gradient in gradients:
            self.update(l, gradient, bias_gradient)

    def update(self, l, gradient, bias_gradient):
        """Momentum SGD; every sum of sparse matrices makes a new one."""
        if l in self.velocities:
            self.velocities[l] = MOMENTUM * self.velocities[l] - RATE * gradient
            self.bias_velocities[l] = MOMENTUM * self.bias_velocities[l] - RATE * bias_gradient
        else:
            self.velocities[l], self.bias_velocities[l] = -RATE * gradient, -RATE * bias_gradient
        self.weights[l] += self.velocities[l] - DECAY * self.weights[l]
        self.biases[l] += self.bias_velocities[l] - DECAY * self.biases[l]
