"""Measures gathered while a network trains: ITOP rate and gradient flow. Training does not depend on them.

ITOP, in-time over-parameterisation: a network whose topology evolves explores more places than it has connections (Liu
et al., ICML 2021, arXiv 2102.02887, section 3). Gradient flow: Evci et al., AAAI 2022, arXiv 2010.03533, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.datasets import Dataset
from tsnn.engine.batches import Batch, probe_gradient
from tsnn.engine.network import Network
from tsnn.engine.shapes import explored_stride
from tsnn.engine.topology import Topology
from tsnn.engine.workspace import Workspace


class Explored:
    """Places of each layer that have ever had a connection: the union of all patterns, one bit for each place.

    Of a network with more than 1e9 places (:data:`tsnn.engine.shapes.MAX_PLACES`) only evenly spread rows are
    recorded, and rates are estimates, so the memory stays below 125 MB at any size.

    Parameters
    ----------
    network : Network
        The network, whose connections are the first.
    known : mapping of str to array, optional
        The value of :meth:`arrays` for the same network in an earlier process.

    Raises
    ------
    ValueError
        If ``known`` does not fit the network.
    """

    def __init__(self, network: Network, known: Mapping[str, NDArray[Any]] | None = None):
        topologies = [layer.topology for layer in network.layers]
        self._stride = explored_stride([(t.n_in, t.n_out) for t in topologies])
        self._places = [-(-t.n_in // self._stride) * t.n_out for t in topologies]
        self._bits = [np.zeros(-(-places // 8), np.uint8) for places in self._places]
        self._counts = [0] * len(topologies)
        self._marked: list[Topology | None] = [None] * len(topologies)
        for l in range(len(topologies) if known else 0):
            bits = known[f"explored_{l}"] if known else self._bits[l]
            if bits.shape != self._bits[l].shape or bits.dtype != np.uint8:
                raise ValueError(f"explored_{l} is {bits.dtype}{list(bits.shape)}")
            self._bits[l], self._counts[l] = bits.copy(), int(np.bitwise_count(bits).sum(dtype=np.int64))
        self.update(network)

    def update(self, network: Network) -> None:
        """Add the present connections; a layer whose topology has not changed costs nothing."""
        for l, layer in enumerate(network.layers):
            t = layer.topology
            if self._marked[l] is not t:
                self._marked[l] = t
                self._counts[l] += kernels.mark_places(t.indptr, t.indices, t.n_out, self._stride, self._bits[l])

    @property
    def rates(self) -> list[float]:
        """ITOP rate of each layer: |union of all patterns so far| / places."""
        return [count / places for count, places in zip(self._counts, self._places, strict=True)]

    def arrays(self) -> dict[str, NDArray[np.uint8]]:
        """Return the bits as arrays for a checkpoint, not copied."""
        return {f"explored_{l}": bits for l, bits in enumerate(self._bits)}

    def copy(self, network: Network) -> Explored:
        """Return a copy for a copy of the network."""
        return Explored(network, self.arrays())


def gradient_flow(network: Network, data: Dataset, workspace: Workspace, batch_size: int, seed: int) -> list[float]:
    """Return the squared norm ||g||^2 of the gradient of each layer's existing weights.

    Parameters
    ----------
    network : Network
        Not changed.
    data : Dataset
        The gradient is that of a batch of the training part, drawn by the seed: the same at each epoch of a run.
    workspace : Workspace
        Buffers; overwritten.
    batch_size, seed : int
        Samples of the batch, and its seed.
    """
    n = len(data.x_train)
    rows = np.random.default_rng(seed).choice(n, min(batch_size, n), replace=False, shuffle=False)
    batch, flow = Batch.of(data, rows), []
    for l, layer in enumerate(network.layers):
        gradient = probe_gradient(network, workspace, batch, l, layer.topology.indptr, layer.topology.indices)
        flow.append(float(np.square(gradient, out=gradient).sum(dtype=np.float64)))
    return flow
