"""State of training: everything that the next batch depends on."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tsnn.config import Config
from tsnn.engine.exploration import Explored
from tsnn.engine.mistakes import Examiner
from tsnn.engine.network import Network
from tsnn.engine.topology import Topology
from tsnn.records import Event, EventKind

KEYS = 2**62  # number of sets of dropout masks


@dataclass(eq=False)
class TrainingState:
    """All that training needs to continue with the same bits.

    :func:`tsnn.engine.training.steps` advances it in place; it is consistent at every yield.

    Attributes
    ----------
    network : Network
        Trained in place.
    config : Config
        Current settings.
    pending : Config
        Settings that are applied between epochs; may be replaced at any time.
    shuffle, evolution : numpy.random.Generator
        Sources of the order of the samples, and of the evolution's randomness.
    key : int
        Number of the next step's dropout masks (:func:`tsnn.engine.propagation.forward`).
    applied_epsilon : float
        The epsilon of the last evolution: that of the present number of connections.
    epoch : int
        Finished epochs.
    order : int64[n] or int64[0]
        Order of the samples in the epoch under way; empty between epochs.
    done : int
        How many of them have been trained on.
    loss, n_correct, seconds : float
        Sums over those.
    grown : list of int
        New connections of each layer in this epoch so far; empty before its first evolution.
    seconds_evolve : float
        Seconds of those evolutions.
    evolution_due : bool
        Whether the evolution after the last epoch was omitted because the run was to end there.
    events : list of Event
        Events for the next record.
    evolution_every : int
        Epochs from one evolution to the next. A worker that trains on one of K shards evolves after every K-th
        pass: new connections get the same number of updates as on all samples.
    copies : list of Network
        In phase 2 of a parallel run (:mod:`tsnn.parallel`) the workers' models, as last received.
    resumable : bool
        False while workers hold models that are not here: training could not continue from this state.
    examiner : Examiner, optional
        Looks at the mistakes on the test part, for viewers; training does not depend on it.
    explored : Explored, optional
        Places that have ever had a connection, with ``run.measures``; training does not depend on it.
    """

    network: Network
    config: Config
    pending: Config
    shuffle: np.random.Generator
    evolution: np.random.Generator
    key: int
    applied_epsilon: float
    epoch: int = 0
    order: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    done: int = 0
    loss: float = 0.0
    n_correct: float = 0.0
    seconds: float = 0.0
    grown: list[int] = field(default_factory=list)
    seconds_evolve: float = 0.0
    evolution_due: bool = False
    evolution_every: int = 1
    events: list[Event] = field(default_factory=list)
    copies: list[Network] = field(default_factory=list)
    resumable: bool = True
    examiner: Examiner | None = None
    explored: Explored | None = None

    @property
    def displayed(self) -> Network:
        """The network that snapshots describe: the first worker's where each worker trains its own."""
        return self.copies[0] if self.copies else self.network

    def copy(self) -> TrainingState:
        """Return a copy that trains independently of this state; topologies are shared."""
        network = self.network.copy()
        return dataclasses.replace(
            self, network=network, shuffle=copy.deepcopy(self.shuffle), order=self.order.copy(),
            evolution=copy.deepcopy(self.evolution), events=[*self.events], copies=[c.copy() for c in self.copies],
            explored=None if self.explored is None else self.explored.copy(network),
        )  # fmt: skip

    @classmethod
    def begin(cls, network: Network, config: Config, *, rng: np.random.Generator) -> TrainingState:
        """Return the state before the first epoch."""
        state = cls(network, config, config, *random_streams(rng), config.network.epsilon)
        topologies = [layer.topology for layer in network.layers]
        state.events = [_dense_event(l, t) for l, t in enumerate(topologies) if t.density == 1]
        return state


def random_streams(rng: np.random.Generator) -> tuple[np.random.Generator, np.random.Generator, int]:
    """Return new values of :class:`TrainingState`'s ``shuffle``, ``evolution`` and ``key``."""
    shuffle, dropout, evolution = rng.spawn(3)
    return shuffle, evolution, int(dropout.integers(KEYS))


def _dense_event(l: int, t: Topology) -> Event:
    return Event(0, EventKind.DENSE_LAYER, f"Layer {l + 1} ({t.n_in} to {t.n_out}) is dense: it has every connection")
