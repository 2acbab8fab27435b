"""The shared model of phase 1: two vectors, its topology version, and updates by current and stale gradients."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.engine.network import Network
from tsnn.engine.schedules import Rates
from tsnn.engine.topology import Int32, Topology
from tsnn.parallel.averaging import compose, flatten, retain_valid, trace_connections
from tsnn.parallel.channel import Message


class StaleGradients(NamedTuple):
    """Map of gradients of an older topology version to the current one.

    Attributes
    ----------
    sources : int32[n]
        Position of each current value in the older vector; -1 for new connections.
    size : int
        Length of the older vector.
    """

    sources: Int32
    size: int

    @property
    def retained_fraction(self) -> float:
        """Fraction of a gradient's entries that the current topology still has."""
        return int(np.count_nonzero(self.sources >= 0)) / self.size


class SharedModel:
    """Weights and velocities of a network, updated by the workers' gradients or models.

    Parameters
    ----------
    network : Network
        Its weights become parts of one vector, its velocities of another.
    rate_factor : float
        Factor of the learning rate that the velocities contain.

    Attributes
    ----------
    weights, velocity : float32[n]
        Of all connections and biases.
    version : int
        Topology version; each new topology increments it.
    updates : int
        Number of updates.
    """

    def __init__(self, network: Network, rate_factor: float):
        self.weights, self.velocity = flatten(network)
        self.rate_factor, self.version, self.updates = rate_factor, 0, 0
        self._stale: dict[int, StaleGradients] = {}  # by version

    def retained_fraction(self, version: int) -> float:
        """Return the fraction of a gradient of some version that the current topology still has."""
        return 1.0 if version == self.version else self._stale[version].retained_fraction

    def rates(self, factors: Sequence[float], rates: Rates) -> NDArray[np.float64]:
        """Return momentum and learning rate, float64[u, 2], of the next updates with these rate factors."""
        before = (self.rate_factor, *factors)
        pairs = [(rates.momentum * new / old, rates.learning_rate * new) for old, new in itertools.pairwise(before)]
        return np.array(pairs).reshape(-1, 2)

    def step(self, messages: Sequence[Message], rates: Rates, rate_factor: float) -> None:
        """Apply the mean of gradients, weighted by their samples: one step of momentum SGD."""
        ((momentum, learning_rate),) = self.rates([rate_factor], rates).tolist()
        self.rate_factor = rate_factor
        total = sum(message.gradient.samples for message in messages)
        for message in messages:
            gradient, version = message.values, int(message.gradient.version)
            if version != self.version:
                gradient = retain_valid(gradient, self._stale[version].sources)
            kernels.momentum_step(
                gradient, momentum, learning_rate * message.gradient.samples / total, rates.weight_decay,
                message is messages[-1], self.weights, self.velocity,
            )  # fmt: skip
            momentum = 1.0

    def average(self, messages: Sequence[Message], rate_factor: float) -> None:
        """Replace weights and velocities by the mean of the workers', weighted by their samples."""
        before, self.rate_factor = self.rate_factor, rate_factor
        total = sum(message.gradient.samples for message in messages)
        mean = np.zeros(2 * len(self.weights), np.float32)
        for message in messages:
            kernels.momentum_step(message.values, 1.0, -message.gradient.samples / total, 0.0, False, mean, mean)
        self.weights[:], self.velocity[:] = np.split(mean, 2)
        self.velocity *= np.float32(self.rate_factor / before)

    def change_topology(self, network: Network, before: Sequence[Topology], versions: Collection[int]) -> None:
        """Load a network after its evolution, if that changed a topology.

        Parameters
        ----------
        network : Network
            After the evolution.
        before : sequence of Topology
            Of its layers before the evolution.
        versions : collection of int
            Topology versions of which gradients may still arrive; the maps of others are dropped.
        """
        after = [layer.topology for layer in network.layers]
        if all(old is new for old, new in zip(before, after, strict=True)):
            return
        trace, size = trace_connections(before, after), len(self.weights)
        known = {self.version: StaleGradients(trace, size)}
        known |= {
            version: StaleGradients(compose(stale.sources, trace), stale.size) for version, stale in self._stale.items()
        }
        self._stale = {version: known[version] for version in set(versions) & known.keys()}
        self.version += 1
        self.weights, self.velocity = flatten(network)
