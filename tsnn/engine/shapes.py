"""Shapes of layers: neurons and connections, known before any array exists."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple

from tsnn.config import Config, NetworkConfig

MAX_PLACES = 10**9  # possible connections of a network up to which those that ever existed are recorded exactly


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
    return min(round(epsilon * (n_in + n_out)), n_in * n_out)


def granted_connections(sizes: Sequence[int], config: NetworkConfig, factor: float = 1.0) -> list[int]:
    """Return the number of connections that epsilon or density, times a factor, grants each layer.

    Parameters
    ----------
    sizes : sequence of int
        Neurons of each layer, from the inputs to the outputs.
    config : NetworkConfig
        With one density the total is ``round(density * places)``, exactly, for all sets of sizes. ``allocation``
        divides it among the layers: ``erdos_renyi`` in proportion to ``n_in + n_out``, where layers that would get more
        connections than they have places become dense and the others share the rest (ERK of arXiv 1911.11134 for
        layers of neurons); ``uniform`` in proportion to the places. The sum for epsilon is divided by ``uniform``
        likewise.
    factor : float
        Multiplies epsilon or the densities, which become 1 at most.
    """
    pairs = list(itertools.pairwise(sizes))
    places = [n_in * n_out for n_in, n_out in pairs]
    densities = [min(1.0, factor * density) for density in config.density]
    if len(densities) > 1:
        return [round(density * dense) for density, dense in zip(densities, places, strict=True)]
    by_epsilon = [epsilon_to_connections(factor * config.epsilon, *pair) for pair in pairs]
    total = round(densities[0] * sum(places)) if densities else sum(by_epsilon)
    if config.allocation == "uniform":
        return _divide(total, places, places)
    return _divide(total, [sum(pair) for pair in pairs], places) if config.density else by_epsilon


def _divide(total: int, weights: Sequence[int], places: Sequence[int]) -> list[int]:
    """Divide a number of connections in proportion to weights, no layer above its places; exact sum."""
    shares = {l: Fraction(0) for l in range(len(places))}
    full: set[int] = set()
    while True:
        rest = total - sum(places[l] for l in full)
        unit = Fraction(rest, sum(weights[l] for l in shares if l not in full) or 1)
        shares = {l: Fraction(places[l]) if l in full else unit * weights[l] for l in shares}
        above = {l for l, share in shares.items() if share > places[l]}
        if not above:
            break
        full |= above
    counts = [int(share) for share in shares.values()]
    largest = sorted(shares, key=lambda l: counts[l] - shares[l])  # the largest remainders first
    for l in largest[: total - sum(counts)]:
        counts[l] += 1
    return counts


def layer_shapes(n_features: int, n_outputs: int, config: Config) -> list[LayerShape]:
    """Return the shapes of a network's layers at its start by its configuration, from the input to the output."""
    sizes = n_features, *config.network.hidden, n_outputs
    pairs = list(itertools.pairwise(sizes))
    if config.training.method in ("dense", "two_phase"):
        return [LayerShape(n_in, n_out, n_in * n_out) for n_in, n_out in pairs]
    falls = config.training.method == "set" and config.last_evolution > 0
    factor = config.training.start_factor if falls else 1.0
    counts = granted_connections(sizes, config.network, factor)
    return [LayerShape(*pair, connections) for pair, connections in zip(pairs, counts, strict=True)]


def explored_stride(shapes: Iterable[tuple[int, int]]) -> int:
    """Return of how many rows one is recorded by :class:`tsnn.engine.exploration.Explored`; shapes: (n_in, n_out)."""
    return max(1, -(-sum(n_in * n_out for n_in, n_out in shapes) // MAX_PLACES))
