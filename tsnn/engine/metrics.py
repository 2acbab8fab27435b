"""Evaluation: loss, accuracy, R2, decision values and gradients of a network on samples; records of its layers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsnn.datasets import Dataset, Features, as_features
from tsnn.engine.batches import Batch, batch_gradient
from tsnn.engine.importance import importance
from tsnn.engine.losses import output_loss, squared_errors
from tsnn.engine.mistakes import Answers
from tsnn.engine.network import Network
from tsnn.engine.propagation import forward
from tsnn.engine.workspace import Workspace
from tsnn.records import LayerRecord


class Evaluation(NamedTuple):
    """Results of a network on one part of a data set, see :class:`tsnn.records.EpochRecord`."""

    loss: float
    accuracy: float | None
    r2: float | None


def evaluate_part(
    network: Network, data: Dataset, part: Literal["train", "test", "validation"], workspace: Workspace,
    answers: Answers | None = None,
) -> Evaluation:  # fmt: skip
    """Return the results of a network on a part of a data set, the loss of regression in the targets' units.

    Parameters
    ----------
    network : Network
        Not changed; dropout is off.
    data : Dataset
        Of the validation split, only where there is one.
    part : str
        The part; its samples count with their weights in loss and R2.
    workspace : Workspace
        Buffers; overwritten.
    answers : Answers, optional
        Gets the outputs for all samples.
    """
    weights = getattr(data, f"weights_{part}", None)
    x, y = getattr(data, f"x_{part}"), getattr(data, f"y_{part}")
    return _evaluate(network, Batch(x, y, np.arange(0), weights, data.task, data.squared_units), workspace, answers)


def evaluate(
    network: Network, x: Features | NDArray[Any], y: NDArray[Any], task: str, workspace: Workspace,
    weights: NDArray[np.float32] | None = None,
) -> tuple[float, float | None]:  # fmt: skip
    """Return mean loss and accuracy of a network; every sample counts, also those of a last, smaller batch.

    Parameters
    ----------
    network : Network
        Not changed; dropout is off.
    x : Features or [n_samples, n_features]
        The samples.
    y : int64[n_samples] or float32[n_samples, n_outputs]
        Their labels or targets; see :func:`tsnn.engine.losses.output_loss`.
    task : str
        ``classification``, ``regression`` or ``multilabel``.
    workspace : Workspace
        Buffers; overwritten.
    weights : float32[n_samples], optional
        Weight of each sample in the loss, 1 on average.

    Returns
    -------
    loss : float
        Mean over the samples; NaN if there are none.
    accuracy : float or None
        Fraction of correct answers; None for ``regression``, or without samples.
    """
    loss, accuracy, _ = _evaluate(network, Batch(as_features(x), y, np.arange(0), weights, task), workspace)
    return loss, accuracy


def _evaluate(network: Network, batch: Batch, workspace: Workspace, answers: Answers | None = None) -> Evaluation:
    """Return the results on all samples of a batch's features; its rows are not used."""
    x, y, _, weights, task, squared_units = batch
    if len(x) == 0:
        return Evaluation(math.nan, None, None)
    regression = task == "regression"
    total = n_correct = 0.0
    residual = np.zeros(y.shape[1] if regression else 0)
    for rows, z in _outputs(network, x, workspace):
        w = None if weights is None else weights[rows]
        if answers is not None:
            answers.add(slice(int(rows[0]), int(rows[-1]) + 1), z)
        if regression:
            residual += (np.ones(len(rows)) if w is None else w) @ squared_errors(z, y[rows])
        loss, part_correct = output_loss(task, z, y[rows], 0.0, w, squared_units)
        total += loss
        n_correct += part_correct
    if regression:
        return Evaluation(total / len(x), None, _r2(residual, y, weights))
    return Evaluation(total / len(x), n_correct / len(x), None)


def _r2(residual: NDArray[np.float64], y: NDArray[Any], weights: NDArray[np.float32] | None) -> float | None:
    """Return ``1 - residual / total`` sum of squares, mean over the targets that vary; None if none does."""
    varies = y.min(axis=0) < y.max(axis=0)
    if not varies.any():
        return None
    w = np.ones(len(y)) if weights is None else weights.astype(np.float64)
    total = w @ np.square(y - np.average(y, axis=0, weights=w))
    return float(np.mean(1 - residual[varies] / total[varies]))


def decision_values(network: Network, x: Features | NDArray[Any], workspace: Workspace) -> NDArray[np.float32]:
    """Return the output neurons' sums for each sample, float32[n_samples, n_outputs]."""
    return np.concatenate([z[:, : len(rows)].T.copy() for rows, z in _outputs(network, as_features(x), workspace)])


def _outputs(
    network: Network, x: Features, workspace: Workspace
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    network.prepare_for_kernels()
    for start in range(0, len(x), workspace.width):
        rows = np.arange(start, min(start + workspace.width, len(x)))
        x.gather(rows, workspace.activations[0])
        yield rows, forward(network, workspace)


def gradients(
    network: Network, x: Features | NDArray[Any], y: NDArray[Any], task: str, workspace: Workspace
) -> list[NDArray[np.float32]]:
    """Return the gradient of the mean loss at every connection; nothing is trained.

    Parameters
    ----------
    network, x, y, task, workspace
        See :func:`evaluate`.

    Returns
    -------
    gradients : list of float32[connections]
        For each layer, aligned to its weights.
    """
    network.prepare_for_kernels()
    layers = [
        dataclasses.replace(layer, velocity=np.zeros_like(layer.velocity), bias_velocity=np.zeros_like(layer.bias))
        for layer in network.layers
    ]
    probe = dataclasses.replace(network, layers=layers)
    batch = Batch(as_features(x), y, np.arange(len(x)), None, task)
    batch_gradient(probe, workspace, batch, dropout=0, key=0)
    return [layer.velocity for layer in layers]


def layer_record(network: Network, l: int, before: int, grown: int) -> LayerRecord:
    """Return the record of a layer that had ``before`` connections and of which evolution grew ``grown``."""
    layer, t, living = network.layers[l], network.layers[l].topology, network.living[l]
    return LayerRecord(
        n_in=t.n_in,
        n_out=t.n_out,
        connections=t.connections,
        density=t.density,
        pruned=before + grown - t.connections,
        grown=grown,
        living=int(living.sum()),
        importance=tuple(float(q) for q in np.percentile(importance(layer)[living], (0, 25, 50, 75, 100))),
        in_degree=_spread(t.in_degree[living]),
        out_degree=_spread(t.out_degree[network.living_inputs(l)]),
    )


def _spread(degrees: Any) -> tuple[int, ...]:
    return int(degrees.min()), int(np.median(degrees)), int(degrees.max())
