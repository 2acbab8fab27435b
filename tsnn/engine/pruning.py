"""Pruning rules: which connections of a layer survive."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.engine.network import Float32

POSITIVE, NEGATIVE, ANY = 0, 1, 2  # which weights are meant; zero counts as positive


def prune_smallest(weights: Float32, zeta: float, rule: str) -> NDArray[np.bool_]:
    """Choose the connections that survive pruning, bool[connections].

    Parameters
    ----------
    weights : float32[connections]
        Weights of the layer.
    zeta : float
        Share to prune, in [0, 1); the number is rounded down.
    rule : {"signed", "magnitude"}
        ``signed`` prunes the share zeta of the positive weights closest to zero and of the negative ones
        (SET; a weight of exactly zero counts as positive); ``magnitude`` the share zeta with the smallest ``|w|``.
    """
    survives = np.ones(len(weights), dtype=bool)
    if rule == "magnitude":
        drop_smallest(weights, ANY, int(zeta * len(weights)), survives)
    else:
        positive = int(np.count_nonzero(weights >= 0))
        drop_smallest(weights, POSITIVE, int(zeta * positive), survives)
        drop_smallest(weights, NEGATIVE, int(zeta * (len(weights) - positive)), survives)
    return survives


def drop_smallest(weights: Float32, sign: int, count: int, survives: NDArray[np.bool_]) -> None:
    """Mark the ``count`` survivors of smallest magnitude and of this sign as dropped."""
    kernels.drop_smallest(weights.view(np.uint32), sign, count, survives)
