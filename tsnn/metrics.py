"""Evaluation: loss and accuracy over a whole data set, and raw answers, in batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsnn.datasets import Features
from tsnn.losses import output_loss
from tsnn.network import Network, forward, take
from tsnn.workspace import Workspace


def evaluate(
    network: Network, x: Features, y: NDArray[Any], task: str, workspace: Workspace
) -> tuple[float, float | None]:
    """Return mean loss and accuracy of a network; every sample counts, also those of a last, smaller batch.

    Parameters
    ----------
    network : Network
        Not changed; dropout is off.
    x, y : arrays
        Samples and their labels or targets; see :func:`tsnn.losses.output_loss`.
    task : str
        ``classification``, ``regression`` or ``multilabel``.
    workspace : Workspace
        Buffers; overwritten.

    Returns
    -------
    loss : float
        Mean over the samples.
    accuracy : float or None
        Share of right answers; None for ``regression``.
    """
    total = right = 0.0
    for rows, z in _answers(network, x, workspace):
        loss, hits = output_loss(task, z, y[rows], 0.0, workspace.deltas[-1])
        total += loss
        right += hits
    return total / len(x), None if task == "regression" else right / len(x)


def decision_values(network: Network, x: Features, workspace: Workspace) -> NDArray[np.float32]:
    """Return the output neurons' sums for each sample, float32[n_samples, n_outputs]."""
    return np.concatenate([z[:, : len(rows)].T.copy() for rows, z in _answers(network, x, workspace)])


def _answers(
    network: Network, x: Features, workspace: Workspace
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    for start in range(0, len(x), workspace.width):
        rows = np.arange(start, min(start + workspace.width, len(x)))
        take(x, rows, workspace.activations[0])
        yield rows, forward(network, workspace)
