"""Networks as SciPy CSR arrays, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array

from tsnn.engine.activations import IDENTITY_SLOPE, curve_of, hidden_slope
from tsnn.engine.network import Layer, Network
from tsnn.engine.topology import Topology
from tsnn.errors import TopologyError


def to_scipy(network: Network) -> list[csr_array]:
    """Return the connections as SciPy CSR arrays [n_in, n_out], one for each layer.

    They share the weights' memory. Biases are in ``network.layers[l].bias``, negative slopes in
    ``network.slopes`` (or ``network.curve``), and the scaling of features in ``network.scaling``.
    """
    return [
        csr_array((layer.weights, t.indices, t.indptr), shape=(t.n_in, t.n_out))
        for layer, t in ((layer, layer.topology) for layer in network.layers)
    ]


def from_scipy(
    matrices: Sequence[Any], biases: Sequence[ArrayLike] | None = None, *, activation: str = "relu",
    alpha: float = 0.6, initializer: str = "he_uniform",
) -> Network:  # fmt: skip
    """Make a network of SciPy sparse matrices; every stored entry becomes a connection, also a zero.

    Parameters
    ----------
    matrices : sequence of sparse arrays [n_in, n_out]
        One for each layer.
    biases : sequence of [n_out], optional
        0 if left out.
    activation : {"relu", "all_relu", "leaky_relu", "gelu", "tanh"}, alpha : float
        Of the hidden layers, as in the settings of a run.
    initializer : str
        Distribution of the weights that evolution will add.

    Raises
    ------
    TopologyError
        If the matrices do not follow each other, or biases do not fit.
    """
    matrices = [csr_array(matrix, copy=True) for matrix in matrices]
    slopes = [hidden_slope(activation, alpha, l) for l in range(1, len(matrices))]
    biases = [np.zeros(m.shape[1]) for m in matrices] if biases is None else biases
    network = assemble(matrices, biases, [*slopes, IDENTITY_SLOPE], initializer)
    network.curve = curve_of(activation)
    return network


def assemble(
    matrices: Sequence[csr_array], biases: Sequence[ArrayLike], slopes: Sequence[float], initializer: str
) -> Network:
    """Check that layers fit together, and make a network of them; the matrices are changed."""
    if not len(matrices) or len(biases) != len(matrices):
        raise TopologyError(f"Got {len(matrices)} matrices and {len(biases)} biases; expected at least one of each.")
    layers = []
    for l, (matrix, bias) in enumerate(zip(matrices, biases, strict=True)):
        matrix.sum_duplicates()
        values = np.asarray(bias, np.float32)
        if (l and matrices[l - 1].shape[1] != matrix.shape[0]) or values.shape != (matrix.shape[1],):
            raise TopologyError(
                f"Layer {l + 1} goes from {matrix.shape[0]} to {matrix.shape[1]} neurons with biases of shape "
                f"{values.shape}, after a layer that ends in {matrices[l - 1].shape[1] if l else matrix.shape[0]}. "
                "Matrices are [n_in, n_out]: try their transposes."
            )
        if not (np.isfinite(matrix.data).all() and np.isfinite(values).all()):
            raise TopologyError(f"Layer {l + 1} has weights or biases that are not finite.")
        layer = Layer.new(
            Topology.from_csr(matrix.indptr, matrix.indices, matrix.shape[1]), matrix.data.astype(np.float32)
        )
        layer.bias[:] = values
        layers.append(layer)
    return Network(layers, tuple(map(float, slopes)), initializer)
