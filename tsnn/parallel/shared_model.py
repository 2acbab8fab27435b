"""The model that the workers of phase 1 train together: two vectors, its version, and gradients that come late."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.config import TrainingConfig
from tsnn.engine.network import Network
from tsnn.engine.topology import Int32, Topology
from tsnn.parallel.averaging import compose, flatten, retain_valid, trace_connections
from tsnn.parallel.channel import Message


class Late(NamedTuple):
    """What becomes of gradients of an older version: where today's values were then, and how many there were."""

    sources: Int32
    size: int

    @property
    def left(self) -> float:
        """Share of such a gradient's entries that still have a place."""
        return int(np.count_nonzero(self.sources >= 0)) / self.size


class SharedModel:
    """Weights and velocities of a network, which take up what workers send.

    Parameters
    ----------
    network : Network
        Its weights become parts of one vector, its velocities of another.
    factor : float
        Of the learning rate: the velocities contain it.

    Attributes
    ----------
    weights, velocity : float32[n]
        Of the topology's connections and of the biases.
    version : int
        Goes up with every new topology.
    """

    def __init__(self, network: Network, factor: float):
        self.weights, self.velocity = flatten(network)
        self.factor, self.version = factor, 0
        self._late: dict[int, Late] = {}  # by version

    def left(self, version: int) -> float:
        """Return the share of a gradient of some version that still has a place."""
        return 1.0 if version == self.version else self._late[version].left

    def rates(self, factors: Sequence[float], training: TrainingConfig) -> NDArray[np.float64]:
        """Return momentum and learning rate, float64[u, 2], of coming updates with these factors of the rate."""
        before = (self.factor, *factors)
        pairs = [
            (training.momentum * new / old, training.learning_rate * new) for old, new in itertools.pairwise(before)
        ]
        return np.array(pairs).reshape(-1, 2)

    def step(self, messages: Sequence[Message], training: TrainingConfig, factor: float) -> None:
        """Apply the mean of gradients, each weighted by its samples: momentum SGD. `factor` multiplies the rate."""
        ((momentum, learning_rate),) = self.rates([factor], training).tolist()
        self.factor = factor
        total = sum(message.numbers[2] for message in messages)
        for message in messages:
            gradient, version = message.values, int(message.numbers[0])
            if version != self.version:
                gradient = retain_valid(gradient, self._late[version].sources)
            kernels.momentum_step(
                gradient, momentum, learning_rate * message.numbers[2] / total, training.weight_decay,
                message is messages[-1], self.weights, self.velocity,
            )  # fmt: skip
            momentum = 1.0

    def average(self, messages: Sequence[Message], factor: float) -> None:
        """Replace weights and velocities by the mean of the workers', weighted by their samples."""
        before, self.factor = self.factor, factor
        total = sum(message.numbers[2] for message in messages)
        mean = np.zeros(2 * len(self.weights), np.float32)
        for message in messages:
            kernels.momentum_step(message.values, 1.0, -message.numbers[2] / total, 0.0, False, mean, mean)
        self.weights[:], self.velocity[:] = np.split(mean, 2)
        self.velocity *= np.float32(self.factor / before)

    def renew(self, network: Network, before: Sequence[Topology], held: Collection[int]) -> None:
        """Take up a network that may have evolved; gradients of the versions still held will find their places."""
        after = [layer.topology for layer in network.layers]
        if all(old is new for old, new in zip(before, after, strict=True)):
            return
        trace, size = trace_connections(before, after), len(self.weights)
        known = {self.version: Late(trace, size)}
        known |= {version: Late(compose(late.sources, trace), late.size) for version, late in self._late.items()}
        self._late = {version: known[version] for version in set(held) & known.keys()}
        self.version += 1
        self.weights, self.velocity = flatten(network)
