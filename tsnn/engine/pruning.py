"""Pruning rules: the choice of the connections that survive an evolution.

A rule is a function ``rule(weights, zeta)``: float32[m], fraction in [0, 1). It returns bool[m], the connections that
survive, or float[m], a score: then the fraction zeta with the smallest scores is pruned. Rules with ``needs`` get
:class:`Connections` instead of the weights. To add one, decorate it with :func:`tsnn.pruning`; ``training.prune`` then
offers it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.engine.own_rules import SECONDS, call, describe, finite_scores, refuse
from tsnn.engine.topology import Int32, Int64, Topology
from tsnn.errors import ConfigError
from tsnn.registry import PRUNING, Rule

Weights = NDArray[np.float32]
Mask = NDArray[np.bool_]

POSITIVE, NEGATIVE, ANY = 0, 1, 2  # signs of :func:`drop_smallest`; zero counts as positive
_PIECE = 1 << 20  # connections whose indices are converted at a time


@dataclass(frozen=True, eq=False)
class Connections:
    """The connections of a layer that evolves, for pruning rules that need more than their weights.

    Attributes
    ----------
    weights : float32[m]
        Weights, aligned to ``topology.indices``. Not to be changed.
    topology : Topology
        The pattern: connection ``k`` leads to output neuron ``indices[k]``; those of input neuron ``i`` are
        ``indptr[i]`` to ``indptr[i + 1]``.
    progress : float
        Finished fraction of the epochs, in [0, 1].
    rng : numpy.random.Generator
        The only source of randomness of a rule.
    """

    weights: Weights
    topology: Topology
    progress: float = 1.0
    rng: np.random.Generator = field(default_factory=np.random.default_rng)
    probe: Callable[[Int64, Int32], Weights] | None = None

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """Those of the network, which rules must not change."""
        return self.weights, self.topology.indptr, self.topology.indices

    @cached_property
    def gradient(self) -> Weights:
        """Gradient of a batch at each connection, float32[m]; of rules with ``needs="gradient"`` only."""
        if self.probe is None:
            raise TypeError('the gradient was not computed: register the rule with needs="gradient"')
        return self.probe(self.topology.indptr, self.topology.indices)

    def of_inputs(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return for each connection the value of its input neuron: [n_in] -> [m]."""
        return np.repeat(values, self.topology.out_degree)

    def of_outputs(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return for each connection the value of its output neuron: [n_out] -> [m]."""
        return take(values, self.topology.indices)

    def sum_by_input(self, magnitudes: Weights) -> Weights:
        """Return the sum of ``|values|`` of each input neuron's connections, float32[m] -> float32[n_in]."""
        return kernels.row_strength(self.topology.indptr, magnitudes).astype(np.float32)

    def sum_by_output(self, magnitudes: Weights) -> Weights:
        """Return the sum of ``|values|`` of each output neuron's connections, float32[m] -> float32[n_out]."""
        t = self.topology
        return kernels.column_strength(t.indices, magnitudes, t.n_out).astype(np.float32)


def take(values: NDArray[Any], indices: Int32) -> NDArray[Any]:
    """Return ``values[indices]`` without converting all indices at once."""
    out = np.empty(len(indices), values.dtype)
    for start in range(0, len(indices), _PIECE):
        out[start : start + _PIECE] = values[indices[start : start + _PIECE]]
    return out


@PRUNING.register("signed", help="the fraction zeta of the positive weights closest to zero, and of the negative (SET)")
def prune_signed(weights: Weights, zeta: float) -> Mask:
    """Prune the fraction zeta of the positive weights closest to zero, and of the negative ones.

    SET, Nature Communications 2018, Methods. A weight of exactly zero counts as positive; numbers are rounded down.
    """
    survives = np.ones(len(weights), dtype=bool)
    positive = int(np.count_nonzero(weights >= 0))
    drop_smallest(weights, POSITIVE, int(zeta * positive), survives)
    drop_smallest(weights, NEGATIVE, int(zeta * (len(weights) - positive)), survives)
    return survives


@PRUNING.register("magnitude", help="the fraction zeta of all weights with the smallest magnitude")
def prune_magnitude(weights: Weights, zeta: float) -> Mask:
    """Prune the fraction zeta of the weights with the smallest ``|w|``; the number is rounded down."""
    survives = np.ones(len(weights), dtype=bool)
    drop_smallest(weights, ANY, int(zeta * len(weights)), survives)
    return survives


@PRUNING.register(
    "soft_magnitude", needs="layer", bytes_per_connection=16,
    help="a random fraction zeta, weights of small magnitude more probably, the more so the later (CHTs, arXiv "
    "2501.19107)",
)  # fmt: skip
def prune_soft_magnitude(layer: Connections, zeta: float) -> Weights:
    """Sample the connections to prune with probability proportional to ``1 / |w|^T``, T = 1 + 2 t.

    CHTs, arXiv 2501.19107, t the finished fraction of the epochs. Sampling without replacement takes the largest
    ``log p + Gumbel noise`` (Efraimidis and Spirakis 2006).
    """
    with np.errstate(divide="ignore"):  # log 0: such a weight is pruned first
        scores: Weights = np.log(np.abs(layer.weights))
        scores *= np.float32(1 + 2 * layer.progress)
        drawn = np.maximum(layer.rng.random(len(scores), np.float32), np.finfo(np.float32).tiny)  # 0 would give NaN
        scores += np.log(-np.log(drawn))
    return scores


@PRUNING.register(
    "relative_importance", needs="layer", bytes_per_connection=16,
    help="the fraction zeta with the smallest share in the weights of their two neurons (RI, arXiv 2410.03090)",
)  # fmt: skip
def prune_relative_importance(layer: Connections, zeta: float) -> Weights:
    """Score ``|w_ij| / sum of |w| of the row + |w_ij| / sum of |w| of the column``, the smallest go (RI)."""
    tiny, scores = np.finfo(np.float32).tiny, np.abs(layer.weights)
    rows, columns = layer.sum_by_input(scores), layer.sum_by_output(scores)
    scores *= layer.of_inputs(1 / np.maximum(rows, tiny)) + layer.of_outputs(1 / np.maximum(columns, tiny))
    return scores


@PRUNING.register(
    "mest", needs="gradient", bytes_per_connection=12,
    help="the fraction zeta with the smallest magnitude of weight + 0.01 gradient (MEST, arXiv 2110.14032)",
)  # fmt: skip
def prune_mest(layer: Connections, zeta: float) -> Weights:
    """Score ``|w| + 0.01 |g|``, the smallest go (MEST, arXiv 2110.14032, section 3.1)."""
    scores: Weights = np.abs(layer.gradient)
    scores *= np.float32(0.01)
    scores += np.abs(layer.weights)
    return scores


@PRUNING.register(
    "threshold", needs="network", bytes_per_connection=13,
    help="the fraction zeta of the weights of all layers together with the smallest magnitude; the new connections are "
    "divided among the layers in proportion to the survivors (DSR, arXiv 1902.05967)",
)  # fmt: skip
def prune_threshold(layers: Sequence[Connections], zeta: float) -> list[Weights]:
    """Score ``|w|`` of all layers that evolve: one threshold for all (DSR, arXiv 1902.05967, algorithm 1)."""
    return [np.abs(layer.weights) for layer in layers]


def choose_survivors(weights: Weights, zeta: float, prune: str = "signed") -> Mask:
    """Choose the connections that survive pruning, bool[connections].

    Parameters
    ----------
    weights : float32[connections]
        Weights of the layer.
    zeta : float
        Fraction to prune, in [0, 1).
    prune : str
        Name of a pruning rule that needs the weights only.
    """
    rule = PRUNING[prune]
    if rule.needs:
        raise ConfigError(f"The pruning rule {prune!r} needs more than weights: evolve a layer with tsnn.evolve.")
    return _mask(rule, call(rule, PRUNING.kind, weights, zeta, kept=[weights]), len(weights), zeta)


def surviving(layers: Sequence[Connections], zeta: float, rule: Rule, seconds: float = SECONDS) -> list[Mask]:
    """Choose the connections of each layer that survive a pruning rule; see :func:`tsnn.pruning`.

    Raises
    ------
    RuleError
        If a rule that is not built in fails, does not end within some seconds, or returns something else.
    """
    if rule.needs == "network":
        kept = [array for layer in layers for array in layer.arrays]
        scores = call(rule, PRUNING.kind, list(layers), zeta, seconds=seconds, kept=kept)
        return _of_network(rule, scores, layers, zeta)
    given = [layer if rule.needs else layer.weights for layer in layers]
    results = [
        call(rule, PRUNING.kind, values, zeta, seconds=seconds, kept=layer.arrays)
        for values, layer in zip(given, layers, strict=True)
    ]
    return [_mask(rule, result, len(l.weights), zeta) for result, l in zip(results, layers, strict=True)]


def _mask(rule: Rule, result: Any, count: int, zeta: float) -> Mask:
    """Return the mask of a rule's result: the survivors, or those of the largest scores."""
    if isinstance(result, np.ndarray) and result.dtype == bool:
        if result.shape != (count,):
            expected = f"bool[{count}], whether each connection survives, or scores, float32[{count}]"
            raise refuse(rule, PRUNING.kind, f"returned {describe(result)}; expected {expected}")
        return np.ascontiguousarray(result)
    survives = np.ones(count, bool)
    drop_lowest(finite_scores(rule, PRUNING.kind, result, count, "connection"), int(zeta * count), survives)
    return survives


def _of_network(rule: Rule, results: Any, layers: Sequence[Connections], zeta: float) -> list[Mask]:
    """Return the masks of the layers, of whose connections together the fraction zeta has the smallest scores."""
    if not isinstance(results, list | tuple) or len(results) != len(layers):
        expected = f"a list of {len(layers)} arrays of scores, one for each layer that evolves"
        raise refuse(rule, PRUNING.kind, f"returned {describe(results)}; expected {expected}")
    counts = [len(layer.weights) for layer in layers]
    pairs = zip(results, counts, strict=True)
    scores = [finite_scores(rule, PRUNING.kind, result, count, "connection") for result, count in pairs]
    survives = np.ones(sum(counts), bool)
    drop_lowest(np.concatenate(scores), int(zeta * sum(counts)), survives)
    return np.split(survives, np.cumsum(counts)[:-1])


def drop_smallest(weights: Weights, sign: int, count: int, survives: Mask) -> None:
    """Mark the ``count`` survivors of smallest magnitude and of this sign as pruned, in place."""
    kernels.drop_smallest(weights.view(np.uint32), sign, count, survives)


def drop_lowest(scores: Weights, count: int, survives: Mask) -> None:
    """Mark the ``count`` of the lowest scores as pruned, in place; all survive before. Equal ones in their order."""
    if not count:
        return
    negative = scores < 0
    below = int(np.count_nonzero(negative))
    bits = scores.view(np.uint32)
    if count <= below:  # the largest magnitudes of the negative ones
        bits = np.where(negative, np.uint32(0x7FFFFFFF) - (bits & np.uint32(0x7FFFFFFF)), np.uint32(0xFFFFFFFF))
        kernels.drop_smallest(bits, POSITIVE, count, survives)
        return
    survives[negative] = False
    kernels.drop_smallest(bits, POSITIVE, count - below, survives)
