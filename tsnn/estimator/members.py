"""Members: several networks, each with its own topology, put together to one (truly sparse ensembles, ECML 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from tsnn.engine.network import Layer, Network
from tsnn.engine.topology import Topology


def put_together(networks: Sequence[Network]) -> Network:
    """Return one network whose output sums are the means of those of several networks.

    Their hidden neurons lie side by side, without connections from one member to another: the network is sparse, takes
    as much memory as its members, and is trained, saved and exported as any other.

    Parameters
    ----------
    networks : sequence of Network
        Of equal numbers of layers, features and outputs, with the same scaling. Not changed; a single one is returned
        as it is.
    """
    if len(networks) == 1:
        return networks[0]
    first, count = networks[0], len(networks[0].layers)
    layers = [_side_by_side([n.layers[l] for n in networks], l == 0, l == count - 1) for l in range(count)]
    living = [np.concatenate([n.living[l] for n in networks]) for l in range(count - 1)] + [first.living[-1].copy()]
    return Network(layers, first.slopes, first.initializer, living, first.scaling, first.curve)


def _side_by_side(parts: Sequence[Layer], is_first: bool, is_last: bool) -> Layer:
    """Return a layer with the connections of all parts, which share inputs if first, and outputs if last."""
    arrays = [
        sparse.csr_array(
            (part.weights, part.topology.indices, part.topology.indptr), (part.topology.n_in, part.topology.n_out)
        )
        for part in parts
    ]
    stack = sparse.hstack if is_first else sparse.vstack if is_last else sparse.block_diag
    together = stack(arrays, format="csr")
    together.sort_indices()
    weights, bias = together.data.astype(np.float32), np.concatenate([part.bias for part in parts])
    if is_last:
        weights /= np.float32(len(parts))
        bias = np.asarray(np.mean([part.bias for part in parts], axis=0), np.float32)
    layer = Layer.new(Topology.from_csr(together.indptr, together.indices, together.shape[1]), weights)
    layer.bias[:] = bias
    return layer
