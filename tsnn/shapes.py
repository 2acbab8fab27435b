"""Shapes: how many connections each layer gets, in which units work is done. Known before any array exists."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

from tsnn.config import NetworkConfig

LANES = 16  # samples are processed in multiples of these: the floats of a vector register
WIDE = 1025  # neurons: 128 samples of such a layer leave half of an L2 cache of 1 MB
SEGMENT = 4096  # connections of one output neuron that are summed before a partial sum is stored


class LayerShape(NamedTuple):
    """Neurons on both sides of a layer, and the connections that it gets."""

    n_in: int
    n_out: int
    connections: int


def epsilon_to_connections(epsilon: float, n_in: int, n_out: int) -> int:
    """Return the number of connections that epsilon stands for: ``epsilon (n_in + n_out)``, at most dense.

    The Erdős–Rényi probability of SET is ``p = epsilon (n_in + n_out) / (n_in n_out)``
    (Nature Communications 2018, Methods); the layer gets exactly ``round(p n_in n_out)`` connections, or all.
    """
    return n_in * n_out if math.isinf(epsilon) else min(round(epsilon * (n_in + n_out)), n_in * n_out)


def fast_width(widest: int, batch: int) -> int:
    """Return how many samples of a batch to process at a time, for speed alone; all parts are about equal.

    128 are a tile. Where a layer is `WIDE`, and until it leaves the L3 cache, 64 took 0.8 to 1.0 times as long;
    1.1 times at 10 connections to a neuron.
    """
    most = 64 if WIDE <= widest < 1 << 18 else 128
    if batch <= most:
        return batch
    parts = -(-batch // most)
    return -(-batch // (parts * LANES)) * LANES


def can_scatter(n_out: int, connections: int) -> bool:
    """Tell whether a layer may do without its transposed view: not if its sums are so long that they are split."""
    return connections <= SEGMENT * n_out


def layer_shapes(n_features: int, n_outputs: int, config: NetworkConfig) -> list[LayerShape]:
    """Return the layers of the network that a configuration describes, from the input to the output."""
    epsilon = math.inf if config.topology in ("dense", "two_phase") else config.epsilon
    return [
        LayerShape(n_in, n_out, epsilon_to_connections(epsilon, n_in, n_out))
        for n_in, n_out in itertools.pairwise((n_features, *config.hidden, n_outputs))
    ]
