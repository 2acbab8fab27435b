"""Estimators that train while a ranking of features looks at them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import _num_samples

from tsnn.datasets import Dataset, Features
from tsnn.engine.autoencoder import Reconstruction
from tsnn.engine.network import Network
from tsnn.engine.selection import Ranking
from tsnn.engine.state import TrainingState
from tsnn.engine.training import steps
from tsnn.estimator.base import SparseMLP
from tsnn.estimator.classifier import SparseMLPClassifier
from tsnn.estimator.fitting import Train
from tsnn.records import EpochRecord, Progress, SelectionRecord


@dataclass(eq=False, repr=False)
class Autoencoder(SparseMLP):
    """A sparse network whose targets are its inputs."""

    _task: ClassVar[str] = "regression"

    def fit(self, X: Any, y: Any = None, *, train: Train = steps) -> Self:
        """Train to reproduce samples; ``y`` is not used."""
        self._inputs, numbers, weights = self._samples(X, np.arange(_num_samples(X)), None, reset=True)
        try:
            return self._fit(self._inputs, np.arange(len(numbers)), weights, resume=False, train=train)
        finally:
            del self._inputs

    def _targets(self, y: NDArray[Any]) -> Reconstruction:
        x: Features = self._scaled(self._inputs, y)
        return Reconstruction(x)

    def _class_names(self) -> tuple[str, ...]:
        return ()


def fit_ranked(model: Any, X: Any, y: Any, train: Train) -> None:
    """Train an estimator on samples by the ``train`` of a :class:`~tsnn.engine.selection.Ranking`."""
    if isinstance(model, Autoencoder):
        model.fit(X, train=train)
    elif isinstance(model, SparseMLPClassifier):
        X, targets, weights = model._samples(X, y, None, reset=True)
        model._fit(X, model._encoded(targets, None), weights, resume=False, train=train)
    else:
        model._fit(*model._checked_samples(X, y, None, False), resume=False, train=train)


def recorded(
    ranking: Ranking, model: SparseMLP, records: list[SelectionRecord], method: str, trial: bool,
    selected: Callable[[NDArray[np.float64]], NDArray[np.bool_]],
) -> Train:  # fmt: skip
    """Return the ``train`` of a ranking that empties a list and adds a record of each epoch.

    Parameters
    ----------
    ranking, model : Ranking, SparseMLP
        The ranking, and the estimator that is trained.
    records : list of SelectionRecord
        The list.
    method, trial : str, bool
        As in the records.
    selected : callable
        Returns the selected features for their scores.
    """

    def train(state: TrainingState, data: Dataset) -> Iterator[Progress | EpochRecord]:
        records.clear()
        started = time.perf_counter()
        for item in ranking.train(state, data):
            if isinstance(item, EpochRecord):
                records.append(SelectionRecord(
                    method, trial, item.epoch, state.config.training.epochs, time.perf_counter() - started,
                    item.memory_bytes, connections_of(state.network), ranking.scores.astype(np.float32),
                    selected(ranking.scores), getattr(model, "feature_names_in_", ()),
                ))  # fmt: skip
            yield item

    return train


def connections_of(network: Network) -> NDArray[np.int32]:
    """Return the number of connections of each feature, int32[n_features]."""
    return np.asarray(network.layers[0].topology.out_degree, np.int32)
