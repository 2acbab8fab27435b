"""Estimators that train while a ranking of features looks at them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import _num_samples

from tsnn.datasets import Features
from tsnn.engine.autoencoder import Reconstruction
from tsnn.engine.selection import Ranking
from tsnn.estimator.base import SparseMLP
from tsnn.estimator.classifier import SparseMLPClassifier


@dataclass(eq=False, repr=False)
class Autoencoder(SparseMLP):
    """A sparse network whose targets are its inputs."""

    _task: ClassVar[str] = "regression"

    def fit_ranked(self, X: Any, ranking: Ranking) -> Self:
        """Train to reproduce samples; see :func:`fit_ranked`."""
        self._inputs, numbers, weights = self._samples(X, np.arange(_num_samples(X)), None, reset=True)
        try:
            return self._fit(self._inputs, np.arange(len(numbers)), weights, resume=False, train=ranking.train)
        finally:
            del self._inputs

    def _targets(self, y: NDArray[Any]) -> Reconstruction:
        x: Features = self._scaled(self._inputs, y)
        return Reconstruction(x)

    def _class_names(self) -> tuple[str, ...]:
        return ()


def fit_ranked(model: Any, X: Any, y: Any, ranking: Ranking) -> None:
    """Train an estimator on samples while a ranking looks at it."""
    if isinstance(model, Autoencoder):
        model.fit_ranked(X, ranking)
    elif isinstance(model, SparseMLPClassifier):
        X, targets, weights = model._samples(X, y, None, reset=True)
        model._fit(X, model._encoded(targets, None), weights, resume=False, train=ranking.train)
    else:
        model._fit(*model._checked_samples(X, y, None, False), resume=False, train=ranking.train)
