"""Shapes of layers: neurons and connections, known before any array exists."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

from tsnn.config import Config


class LayerShape(NamedTuple):
    """Neurons on both sides of a layer, and its number of connections."""

    n_in: int
    n_out: int
    connections: int


def epsilon_to_connections(epsilon: float, n_in: int, n_out: int) -> int:
    """Return the number of connections that epsilon grants: ``epsilon (n_in + n_out)``, at most dense.

    The Erdős–Rényi probability of SET is ``p = epsilon (n_in + n_out) / (n_in n_out)``
    (Nature Communications 2018, Methods); the layer gets exactly ``round(p n_in n_out)`` connections, or all.
    """
    return n_in * n_out if math.isinf(epsilon) else min(round(epsilon * (n_in + n_out)), n_in * n_out)


def layer_shapes(n_features: int, n_outputs: int, config: Config) -> list[LayerShape]:
    """Return the shapes of a network's layers by its configuration, from the input to the output."""
    epsilon = math.inf if config.training.method in ("dense", "two_phase") else config.network.epsilon
    return [
        LayerShape(n_in, n_out, epsilon_to_connections(epsilon, n_in, n_out))
        for n_in, n_out in itertools.pairwise((n_features, *config.network.hidden, n_outputs))
    ]
