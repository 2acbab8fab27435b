"""The regressor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin

from tsnn.datasets.preparation import apply_scaling, fit_scaling
from tsnn.engine.network import Network
from tsnn.errors import DataError
from tsnn.estimator.base import SparseMLP


@dataclass(eq=False, repr=False)
class SparseMLPRegressor(RegressorMixin, SparseMLP):
    """A truly sparse neural network that predicts one number, or several.

    Targets are brought to mean 0 and variance 1 for training, and predictions back; losses in ``history_`` are
    those of the scaled targets.

    {parameters}

    Attributes
    ----------
    {attributes}

    Examples
    --------
    >>> model = SparseMLPRegressor(epochs=50, random_state=0).fit(X_train, y_train)
    >>> model.score(X_test, y_test)
    """

    learning_rate: float = 0.001  # the squared error of wide layers is steep
    _task: ClassVar[str] = "regression"

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train on samples and their targets, [n_samples] or [n_samples, n_targets]; see the classifier's ``fit``."""
        resume = self.warm_start and hasattr(self, "_state")
        return self._fit(*self._checked_samples(X, y, sample_weight, resume), resume=resume)

    def partial_fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train on one pass over samples; the first call fits the scaling of features and targets."""
        resume = hasattr(self, "_state")
        return self._fit(*self._checked_samples(X, y, sample_weight, resume), resume=resume, epochs=1)

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the predicted targets, float64[n_samples] or [n_samples, n_targets]."""
        z = self._decide(X) * self._target_spread + self._target_offset
        return z[:, 0] if self._flat else z

    def _checked_samples(self, X: Any, y: Any, sample_weight: Any, resume: bool) -> tuple[Any, Any, Any]:
        X, y, weights = self._samples(X, y, sample_weight, reset=not resume, y_numeric=True)
        self._flat, y = y.ndim == 1, y.reshape(len(y), -1).astype(np.float64)
        if resume and y.shape[1] != self.network_.sizes[-1]:
            raise DataError(f"The model was fitted on {self.network_.sizes[-1]} targets, y has {y.shape[1]}.")
        return X, y, weights

    def _fit_scaling(self, X: Any, y: Any, rows: Any, weights: Any, preprocessing: str) -> None:
        super()._fit_scaling(X, y, rows, weights, preprocessing)
        self._target_offset, self._target_scale = fit_scaling(y, rows, "standard", weights)
        self._target_spread = np.divide(1, self._target_scale, out=np.zeros(y.shape[1]), where=self._target_scale > 0)

    def _output_network(self) -> Network:
        network = self.network_.copy()
        last = network.layers[-1]
        last.weights *= self._target_spread[last.topology.indices].astype(np.float32)
        last.bias[:] = last.bias * self._target_spread + self._target_offset
        return network

    def _targets(self, y: NDArray[Any]) -> NDArray[Any]:
        return apply_scaling(y, None, self._target_offset, self._target_scale)

    def _class_names(self) -> tuple[str, ...]:
        return ()
