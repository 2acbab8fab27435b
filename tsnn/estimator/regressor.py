"""The regressor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin

from tsnn.datasets.moments import Moments
from tsnn.datasets.preparation import apply_scaling, check_finite, measure
from tsnn.engine.network import Network
from tsnn.errors import DataError
from tsnn.estimator.base import SparseMLP
from tsnn.estimator.rollback import unchanged_on_failure
from tsnn.estimator.scaling import check_growth, known_columns, rescale_outputs, spread_of


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

    _task: ClassVar[str] = "regression"

    @unchanged_on_failure
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train on samples and their targets, [n_samples] or [n_samples, n_targets]; see the classifier's ``fit``."""
        resume = self.warm_start and hasattr(self, "_state")
        return self._fit(*self._checked_samples(X, y, sample_weight, resume), resume=resume)

    @unchanged_on_failure
    def partial_fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train on one pass over samples; each call refines the scaling of features and targets."""
        resume = hasattr(self, "_state")
        return self._fit(*self._checked_samples(X, y, sample_weight, resume), resume=resume, epochs=1)

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the predicted targets, float64[n_samples] or [n_samples, n_targets]."""
        z = self._decide(X) * self._target_spread + self._target_offset
        return z[:, 0] if self._flat else z

    def _checked_samples(self, X: Any, y: Any, sample_weight: Any, resume: bool) -> tuple[Any, Any, Any]:
        X, y, weights = self._samples(X, y, sample_weight, reset=not resume, y_numeric=True)
        check_finite(y.reshape(len(y), -1), "y")
        self._flat, y = y.ndim == 1, y.reshape(len(y), -1).astype(np.float64)
        if resume and y.shape[1] != self.network_.sizes[-1]:
            raise DataError(f"The model was fitted on {self.network_.sizes[-1]} targets, y has {y.shape[1]}.")
        return X, y, weights

    def _fit_scaling(
        self, X: Any, y: Any, rows: Any, weights: Any, preprocessing: str, network: Network | None
    ) -> None:  # fmt: skip
        super()._fit_scaling(X, y, rows, weights, preprocessing, network)
        moments = measure(y, rows, "standard", weights)
        if network is not None:
            former, moments = self._target_moments, self._target_moments.merged(moments)
        offset, scale = moments.scaling("standard")
        spread = spread_of(scale)
        if network is not None:
            before = self._target_offset, self._target_spread
            check_growth(former, before[1], spread, "target")
            rescale_outputs(network, before, (offset, spread), known_columns(former, before[1]))
        self._target_moments: Moments = moments
        self._target_offset: NDArray[np.float64] = offset
        self._target_spread: NDArray[np.float64] = spread
        self._target_scale = scale

    def _output_network(self) -> Network:
        network = self._finite_network().copy()
        last = network.layers[-1]
        last.weights *= self._target_spread[last.topology.indices].astype(np.float32)
        last.bias[:] = last.bias * self._target_spread + self._target_offset
        return network

    def _targets(self, y: NDArray[Any]) -> NDArray[Any]:
        return apply_scaling(y, None, self._target_offset, self._target_scale)

    def _class_names(self) -> tuple[str, ...]:
        return ()
