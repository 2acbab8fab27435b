"""Pruning rules: the choice of the connections that survive an evolution.

A rule is a function ``rule(weights, zeta) -> survives``: float32[m], fraction in [0, 1) -> bool[m]. To add one,
decorate it with ``PRUNING.register(name, help=...)`` of :mod:`tsnn.registry`; ``training.prune`` then offers it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.registry import PRUNING

Weights = NDArray[np.float32]
Mask = NDArray[np.bool_]

POSITIVE, NEGATIVE, ANY = 0, 1, 2  # signs of :func:`drop_smallest`; zero counts as positive


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


def choose_survivors(weights: Weights, zeta: float, prune: str = "signed") -> Mask:
    """Choose the connections that survive pruning, bool[connections].

    Parameters
    ----------
    weights : float32[connections]
        Weights of the layer.
    zeta : float
        Fraction to prune, in [0, 1).
    prune : str
        Name of a pruning rule.
    """
    survives: Mask = PRUNING[prune](weights, zeta)
    return survives


def drop_smallest(weights: Weights, sign: int, count: int, survives: Mask) -> None:
    """Mark the ``count`` survivors of smallest magnitude and of this sign as pruned, in place."""
    kernels.drop_smallest(weights.view(np.uint32), sign, count, survives)
