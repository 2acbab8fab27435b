"""Regrowth rules: the choice of positions for new connections.

A rule is a function ``rule(free, count, rng) -> (indptr, indices)``: it chooses ``count`` of the free positions of a
layer (:class:`FreePositions`) and returns them as a sorted CSR pattern, int64[n_in + 1], int32[count]. To add one,
decorate it with ``REGROWTH.register(name, help=...)`` of :mod:`tsnn.registry`; ``training.regrow`` then offers it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tsnn.engine.pruning import ANY, drop_smallest
from tsnn.engine.topology import Int32, Int64, Topology, draw_free
from tsnn.registry import REGROWTH

Gradient = Callable[[Int64, Int32], NDArray[np.float32]]
Positions = tuple[Int64, Int32]


@dataclass(frozen=True, eq=False)
class FreePositions:
    """Positions of a layer where a connection may grow: between living neurons, where none survives.

    Attributes
    ----------
    topology : Topology
        The layer before pruning.
    survives : bool[connections]
        Whether each of its connections is left.
    living_in, living_out : bool[n_in], bool[n_out], or None
        Neurons that may get new connections; None: all.
    gradient : callable or None
        Returns the gradient of a batch at a CSR pattern of positions, int64[n_in + 1], int32[k] -> float32[k]. Given
        to rules that need it (``needs="gradient"``).
    """

    topology: Topology
    survives: NDArray[np.bool_]
    living_in: NDArray[np.bool_] | None = None
    living_out: NDArray[np.bool_] | None = None
    gradient: Gradient | None = None

    @cached_property
    def _rows(self) -> Int64 | None:
        return _indices_of(self.living_in)

    @cached_property
    def _columns(self) -> Int64 | None:
        return _indices_of(self.living_out)

    @cached_property
    def count(self) -> int:
        """Number of free positions."""
        rows = self.topology.n_in if self._rows is None else len(self._rows)
        columns = self.topology.n_out if self._columns is None else len(self._columns)
        return rows * columns - int(np.count_nonzero(self.survives))

    def draw(self, count: int, rng: np.random.Generator) -> Positions:
        """Draw distinct free positions uniformly; O(connections)."""
        t = self.topology
        taken = t.indptr, t.indices, self.survives
        return draw_free(t.n_in, t.n_out, count, rng=rng, taken=taken, rows=self._rows, columns=self._columns)


def _indices_of(living: NDArray[np.bool_] | None) -> Int64 | None:
    return None if living is None or living.all() else np.flatnonzero(living)


def keep_largest(candidates: Positions, scores: NDArray[np.float32], count: int) -> Positions:
    """Return the ``count`` candidates whose scores, float32[k], have the largest magnitude."""
    indptr, indices = candidates
    chosen = np.ones(len(indices), dtype=bool)
    drop_smallest(scores, ANY, len(indices) - count, chosen)
    return np.append(0, np.cumsum(chosen))[indptr], indices[chosen]


@REGROWTH.register("random", help="uniformly at random (SET)")
def grow_random(free: FreePositions, count: int, rng: np.random.Generator) -> Positions:
    """Draw positions uniformly (SET, Nature Communications 2018, Methods)."""
    return free.draw(count, rng)


CANDIDATES = 10  # of gradient regrowth, for each new connection


@REGROWTH.register(
    "gradient",
    help="where the gradient is largest, among 10 random candidates for each new connection (after RigL, arXiv "
    "1911.11134, without a dense gradient)",
    needs="gradient", candidates=CANDIDATES, bytes_per_candidate=17,
)  # fmt: skip
def grow_by_gradient(free: FreePositions, count: int, rng: np.random.Generator) -> Positions:
    """Choose those of a random candidate set with the largest gradient magnitude (RigL, arXiv 1911.11134)."""
    candidates = free.draw(min(CANDIDATES * count, free.count), rng)
    if len(candidates[1]) == count or free.gradient is None:
        return candidates
    return keep_largest(candidates, free.gradient(*candidates), count)
