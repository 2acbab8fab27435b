"""Free positions of a layer, the interface of regrowth rules (:func:`tsnn.regrowth`), and the call of a rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.engine.own_rules import SECONDS, call, describe, finite_scores, refuse
from tsnn.engine.pruning import drop_lowest
from tsnn.engine.topology import Int32, Int64, Topology, draw_free
from tsnn.registry import REGROWTH, Rule

Float32 = NDArray[np.float32]
Gradient = Callable[[Int64, Int32], Float32]
Positions = tuple[Int64, Int32]


class Activations(NamedTuple):
    """Activations and deltas on both sides of a layer of connections, of at most 64 samples of a batch.

    Attributes
    ----------
    below : float32[n_in, s]
        Activations of the input neurons: features, or outputs of a hidden layer; dropout is off.
    above : float32[n_out, s]
        Activations of the output neurons.
    deltas : float32[n_out, s]
        Gradient of the batch's loss with respect to the sums of the output neurons.
    """

    below: Float32
    above: Float32
    deltas: Float32


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
    progress : float
        Finished fraction of the epochs, in [0, 1].
    rng : numpy.random.Generator
        The only source of randomness of a rule.
    """

    topology: Topology
    survives: NDArray[np.bool_]
    living_in: NDArray[np.bool_] | None = None
    living_out: NDArray[np.bool_] | None = None
    gradient: Gradient | None = None
    progress: float = 1.0
    rng: np.random.Generator = field(default_factory=np.random.default_rng)
    probe: Callable[[], Activations] | None = None

    @cached_property
    def _rows(self) -> Int64 | None:
        return _indices_of(self.living_in)

    @cached_property
    def _columns(self) -> Int64 | None:
        return _indices_of(self.living_out)

    @property
    def _taken(self) -> tuple[Int64, Int32, NDArray[np.bool_]]:
        return self.topology.indptr, self.topology.indices, self.survives

    @cached_property
    def count(self) -> int:
        """Number of free positions."""
        rows = self.topology.n_in if self._rows is None else len(self._rows)
        columns = self.topology.n_out if self._columns is None else len(self._columns)
        return rows * columns - int(np.count_nonzero(self.survives))

    @cached_property
    def _activations(self) -> Activations:
        if self.probe is None:
            raise TypeError('activations were not computed: register the rule with needs="activations"')
        return self.probe()

    @property
    def activations(self) -> tuple[Float32, Float32]:
        """Activations of the neurons on both sides for samples of a batch, float32[n_in, s], float32[n_out, s]."""
        return self._activations.below, self._activations.above

    @property
    def deltas(self) -> Float32:
        """Gradient of the batch's loss with respect to the sums of the output neurons, float32[n_out, s]."""
        return self._activations.deltas

    def gradient_at(self, rows: Int32, columns: Int32) -> Float32:
        """Return the gradient of a batch at positions, whose rows ascend: int32[k], int32[k] -> float32[k]."""
        if self.gradient is None:
            raise TypeError('the gradient was not computed: register the rule with needs="gradient"')
        return self.gradient(self._indptr(rows), columns)

    def draw(self, count: int, rng: np.random.Generator) -> Positions:
        """Draw distinct free positions uniformly, as a sorted CSR pattern; O(connections)."""
        t = self.topology
        return draw_free(t.n_in, t.n_out, count, rng=rng, taken=self._taken, rows=self._rows, columns=self._columns)

    def pattern(self, rows: NDArray[Any], columns: NDArray[Any]) -> Positions:
        """Return positions, int[k], int[k] in any order, as a sorted CSR pattern; those that are not free are left out.

        So are repetitions, and neurons that are not living.
        """
        if self.living_in is not None or self.living_out is not None:
            alive = np.ones(len(rows), bool)
            alive &= True if self.living_in is None else self.living_in[rows]
            alive &= True if self.living_out is None else self.living_out[columns]
            rows, columns = rows[alive], columns[alive]
        order = np.argsort(rows, kind="stable")
        indptr, indices = self._indptr(rows.astype(np.int32, copy=False)), columns[order].astype(np.int32, copy=False)
        return self.only_free(indptr, indices)

    def only_free(self, indptr: Int64, indices: Int32) -> Positions:
        """Return a CSR pattern sorted, without repetitions and positions that are taken; its arrays are overwritten."""
        kernels.sort_rows(indptr, indices)
        kept = kernels.keep_free(indptr, indices, *self._taken)
        return indptr, indices[:kept]

    def filled(self, indptr: Int64, indices: Int32, count: int) -> Positions:
        """Return a pattern of free positions with random ones added, up to ``count`` in all."""
        missing = count - len(indices)
        if missing <= 0:
            return indptr, indices
        t = self.topology
        rows, columns = pairs(*self.draw(min(self.count, missing + len(indices)), self.rng))
        keys = rows.astype(np.int64) * t.n_out + columns
        present = np.repeat(np.arange(t.n_in), np.diff(indptr)) * t.n_out + indices
        new = self.rng.permutation(np.setdiff1d(keys, present, assume_unique=True))[:missing]
        keys = np.sort(np.concatenate([present, new]))
        return self._indptr((keys // t.n_out).astype(np.int32)), (keys % t.n_out).astype(np.int32)

    def _indptr(self, rows: Int32) -> Int64:
        indptr = np.zeros(self.topology.n_in + 1, np.int64)
        kernels.count(rows, indptr[1:])
        return np.cumsum(indptr, out=indptr)


def _indices_of(living: NDArray[np.bool_] | None) -> Int64 | None:
    return None if living is None or living.all() else np.flatnonzero(living)


def pairs(indptr: Int64, indices: Int32) -> tuple[Int32, Int32]:
    """Return the rows and columns of a CSR pattern, int32[k], int32[k]."""
    return np.repeat(np.arange(len(indptr) - 1, dtype=np.int32), np.diff(indptr)), indices


def keep_largest(candidates: Positions, scores: Float32, count: int) -> Positions:
    """Return the ``count`` candidates with the largest scores, float32[k]."""
    indptr, indices = candidates
    chosen = np.ones(len(indices), dtype=bool)
    drop_lowest(scores, len(indices) - count, chosen)
    return np.append(0, np.cumsum(chosen))[indptr], indices[chosen]


def grow(rule: Rule, free: FreePositions, count: int, seconds: float = SECONDS) -> Positions:
    """Return the ``count`` positions that a rule chooses; see :func:`tsnn.regrowth`.

    Raises
    ------
    RuleError
        If a rule that is not built in fails, does not end within some seconds, or returns something else.
    """
    kind, kept = REGROWTH.kind, (*free._taken, free.living_in, free.living_out)
    if not rule.candidates:
        result = call(rule, kind, free, count, free.rng, seconds=seconds, kept=kept)
        return _checked(rule, result, free, count) if rule.is_own else result
    candidates = free.draw(min(rule.candidates * count, free.count), free.rng)
    if len(candidates[1]) == count:
        return candidates
    scores = call(rule, kind, free, *pairs(*candidates), seconds=seconds, kept=(*kept, *candidates))
    return keep_largest(candidates, finite_scores(rule, kind, scores, len(candidates[1]), "candidate"), count)


def _checked(rule: Rule, result: Any, free: FreePositions, count: int) -> Positions:
    """Return the positions of a rule that is not built in; raises a RuleError if they are not ``count`` free ones."""
    t, kind = free.topology, REGROWTH.kind
    expected = f"a sorted CSR pattern, int64[{t.n_in + 1}] and int32[{count}], as free.draw and free.pattern return it"
    if not isinstance(result, tuple) or len(result) != 2 or not all(isinstance(part, np.ndarray) for part in result):
        raise refuse(rule, kind, f"returned {describe(result)}; expected {expected}")
    indptr, indices = result
    shapes = f"{describe(indptr)} and {describe(indices)}"
    if indptr.shape != (t.n_in + 1,) or indptr.dtype.kind not in "iu" or indices.dtype.kind not in "iu":
        raise refuse(rule, kind, f"returned {shapes}; expected {expected}")
    if indices.ndim != 1 or indptr[0] != 0 or indptr[-1] != len(indices) or (np.diff(indptr) < 0).any():
        raise refuse(rule, kind, f"returned {shapes} that do not fit together; expected {expected}")
    if len(indices) != count:
        raise refuse(rule, kind, f"returned {len(indices)} positions; expected {count} of {free.count} free ones")
    if count and not 0 <= indices.min() <= indices.max() < t.n_out:
        raise refuse(rule, kind, f"returned output neuron {indices.max()}; expected 0 to {t.n_out - 1}")
    indptr, indices = indptr.astype(np.int64), indices.astype(np.int32)
    rows, _ = pairs(indptr, indices)
    dead = free.living_in is not None and not free.living_in[rows].all()
    if dead or (free.living_out is not None and not free.living_out[indices].all()):
        raise refuse(rule, kind, "returned positions of pruned neurons; expected living ones (free.living_in, _out)")
    indptr, indices = free.only_free(indptr, indices)
    if len(indices) != count:
        problem = f"{count - len(indices)} of {count} positions that are taken or repeated"
        raise refuse(rule, kind, f"returned {problem}; expected distinct free ones, such as free.pattern returns")
    return indptr, indices
