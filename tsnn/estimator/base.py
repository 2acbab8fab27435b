"""Base class of the classifier and the regressor: parameters, checks, preparation, training, outputs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, Self
from weakref import WeakSet

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from tsnn import kernels
from tsnn.config import Config
from tsnn.datasets import Dataset, Features
from tsnn.datasets.moments import Moments
from tsnn.datasets.preparation import check_finite, draw_split, merge_identical
from tsnn.datasets.relevance import fit_features, moments_of
from tsnn.datasets.sparse import SparseFeatures
from tsnn.datasets.stored import leave_in_file
from tsnn.datasets.streamed import scaled
from tsnn.engine.memory import check_memory
from tsnn.engine.metrics import decision_values
from tsnn.engine.network import Network, init_network
from tsnn.engine.state import TrainingState
from tsnn.engine.training import steps
from tsnn.engine.workspace import Workspace
from tsnn.errors import DataError, DivergenceError
from tsnn.estimator.files import load_estimator, save_estimator
from tsnn.estimator.fitting import Train, fit_network
from tsnn.estimator.members import put_together
from tsnn.estimator.parameters import attributes_doc, check_continues, parameters_doc
from tsnn.estimator.planning import Plan, make_plan
from tsnn.estimator.scaling import check_growth, known_columns, rescale_inputs, spread_of
from tsnn.formats import to_onnx, to_scipy, to_torch
from tsnn.records import EpochRecord
from tsnn.tiling import fast_width

#: Networks whose weights were found to be finite; training makes another network.
_FINITE: WeakSet[Network] = WeakSet()


@dataclass(eq=False, repr=False)
class SparseMLP(BaseEstimator):
    """A sparse network behind scikit-learn's interface; subclasses define the meaning of targets."""

    hidden: Sequence[int] | str = "auto"
    _: KW_ONLY
    method: str = "set"
    epsilon: float = 20.0
    density: float | Sequence[float] = ()
    allocation: str = "erdos_renyi"
    activation: str = "relu"
    alpha: float = 0.6
    initializer: str = "xavier_uniform"
    dropout: float | str = "auto"
    dropout_schedule: str = "constant"
    epochs: int | str = "auto"
    batch_size: int | str = "auto"
    optimizer: str = "sgd"
    learning_rate: float | str = "auto"
    learning_rate_schedule: str = "auto"
    warmup_epochs: int = 0
    momentum: float = 0.9
    weight_decay: float | str = "auto"
    weight_decay_schedule: str = "constant"
    zeta: float = 0.3
    zeta_schedule: str = "constant"
    evolve_every: float = 1.0
    evolve_until: float = 1.0
    start_factor: float = 1.0
    prune: str = "signed"
    regrow: str = "random"
    new_weights: str = "drawn"
    chain_removal: bool = False
    precision: str = "float32"
    importance_percentile: float = 0.0
    importance_scope: str = "layer"
    importance_start: int = 200
    importance_every: int = 10
    preprocessing: str = "auto"
    n_members: int | str = "auto"
    early_stopping: bool | str = "auto"
    validation_fraction: float = 0.1
    n_iter_no_change: int = 20
    tol: float = 1e-4
    warm_start: bool = False
    random_state: int | np.random.RandomState | None = None
    threads: int = 0
    micro_batch: int = 0
    compact: bool = False
    progress: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__doc__:
            text = cls.__doc__.replace("{parameters}", parameters_doc())
            cls.__doc__ = text.replace("{attributes}", attributes_doc())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True
        return tags

    @property
    def feature_importances_(self) -> NDArray[np.float64]:
        """Strength of each feature's connections, float64[n_features], sum 1.

        The strength of an input neuron is the sum of ``|w|`` over its outgoing connections. SET prunes weak
        connections, so useful features end with more and stronger ones. The values are comparable
        only if features are on one scale: see ``preprocessing``.
        """
        network = self._finite_network()
        network.prepare_for_kernels()
        strength = kernels.row_strength(network.layers[0].topology.indptr, network.layers[0].weights)
        return np.asarray(strength / max(strength.sum(), np.finfo(float).tiny))

    def _checked(self, X: Any, *y: Any, **check: Any) -> Any:
        """Return features, and targets if given, as scikit-learn checks them; CSR without stored zeros if sparse."""
        checked = validate_data(self, X, *y, accept_sparse="csr", ensure_all_finite=False, **check)
        x = checked[0] if y else checked
        if _is_sparse(x):
            x = csr_array(x, copy=True)
            x.sum_duplicates()
            x.eliminate_zeros()
            check_finite(x.data.reshape(-1, 1), "X, of which the stored values are counted,")
        else:
            x = leave_in_file(x)
            check_finite(x, "X", tuple(getattr(self, "feature_names_in_", ())), remedy=" (as SimpleImputer does)")
        return (x, checked[1]) if y else x

    def _samples(self, X: Any, y: Any, sample_weight: Any, *, reset: bool, **check: Any) -> tuple[Any, Any, Any]:
        """Return checked features, targets [n] or [n, outputs], and weights; samples of weight 0 are left out."""
        X, y = self._checked(X, y, reset=reset, multi_output=True, **check)
        y = y.toarray() if _is_sparse(y) else y
        y = column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        counts = weights > 0
        if not counts.any():
            raise DataError("All sample weights are zero. Leave sample_weight out, or give some sample more.")
        return (X, y, weights) if counts.all() else (X[counts], y[counts], weights[counts])

    def _fit(
        self, X: Any, y: Any, weights: Any, *, resume: bool, epochs: int | None = None, train: Train = steps
    ) -> Self:  # fmt: skip
        """Train on checked samples; ``resume`` continues with the present network, ``epochs`` are fixed if given."""
        plan = make_plan(
            self.get_params(), self._task, *X.shape, present=self._state.config if resume else None,
            one_pass=epochs is not None,
        )  # fmt: skip
        config, states = plan.config, list[TrainingState]()
        if resume:  # on copies: a call that fails leaves the present state as it is
            check_continues(self._state.config, config)
            states.append(self._state.copy())
            self._rng: np.random.Generator = copy.deepcopy(self._rng)
            states[0].network.prepare_for_kernels()
        else:
            self._rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31 - 1))
            self.history_: list[EpochRecord] = []
        if max(len(y), weights.sum()) <= config.training.batch_size:
            kept, weights = merge_identical(X, y, weights)
            X, y = X[kept], y[kept]
        splits = [self._split(y, config, plan) for _ in range(plan.members)]
        rows = splits[0][0] if plan.members == 1 else np.arange(len(y))  # one scaling for all members
        self._fit_scaling(X, y, rows, weights[rows], config.data.preprocessing, states[0].network if resume else None)
        for k, (rows, validation) in enumerate(splits):
            data = Dataset(
                name="samples", x_train=self._scaled(X, rows), y_train=self._targets(y[rows]),
                x_test=self._scaled(X, validation), y_test=self._targets(y[validation]), task=self._task,
                class_names=self._class_names(), feature_names=(), image_shape=None, source="arrays in memory",
                digest="", weights_train=_mean_one(weights[rows]), weights_test=_mean_one(weights[validation]),
            )  # fmt: skip
            if not resume:
                states.append(self._begin(data, config))
            while True:
                try:
                    records, best = self._train(states[k], data, config, plan, epochs, train)
                    break
                except DivergenceError:
                    slower = None if resume else plan.slower(config)
                    if slower is None:
                        raise
                    config, states[k] = slower, self._begin(data, slower)
            if k == 0:
                history, self.best_epoch_ = self.history_ + records, best
        self.history_ = history
        states[0].network = put_together([state.network for state in states])
        if not resume:  # factors of relevance move from the scaling to the weights
            self._offset, self._scale = self._moments.scaling(config.data.preprocessing, centred=self._centred)
            rescale_inputs(states[0].network, self._offset, self._scale)
        self._state: TrainingState = states[0]
        return self

    def _train(
        self, state: TrainingState, data: Dataset, config: Config, plan: Plan, epochs: int | None, train: Train
    ) -> tuple[list[EpochRecord], int]:  # fmt: skip
        """Train one network, and return its records and the epoch that was kept."""
        last = state.epoch + (epochs or config.training.epochs)
        state.config = state.pending = config.replace({"training.epochs": last})
        samples = self.history_[-1].samples if self.history_ else 0
        found = fit_network(state, data, patience=plan.patience, samples=samples, progress=self.progress, train=train)
        state.network.check_finite()  # the loss of the last batch was computed before its update
        return found

    def _split(self, y: Any, config: Config, plan: Plan) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows to train on, and those of the validation split, which is drawn for early stopping."""
        if plan.patience is None:
            return np.arange(len(y)), np.empty(0, np.int64)
        stratified = self._task == "classification"
        return draw_split(y, config.data.test_fraction, self._rng, stratified=stratified, part="validation")

    def _begin(self, data: Dataset, config: Config) -> TrainingState:
        """Return the state before the first epoch, if it fits into memory."""
        check_memory(config, data.n_features, data.n_outputs, len(data.x_train), data_bytes=data.x_train.nbytes)
        network = init_network(data.n_features, data.n_outputs, config, rng=self._rng.spawn(1)[0])
        network.scaling = self._offset, self._scale
        return TrainingState.begin(network, config, rng=self._rng)

    @property
    def network_(self) -> Network:
        """The connections, layer by layer."""
        check_is_fitted(self)
        return self._state.network

    def to_scipy(self) -> list[csr_array]:
        """Return the connections as SciPy CSR arrays, see :func:`tsnn.to_scipy`."""
        return to_scipy(self._finite_network())

    def to_torch(self) -> Any:
        """Return a PyTorch module from features as given to the output neurons' sums; see :func:`tsnn.to_torch`."""
        return to_torch(self._output_network())

    def to_onnx(self) -> Any:
        """Return an ONNX model with the same outputs, from features as given; see :func:`tsnn.to_onnx`.

        To write it: ``open("model.onnx", "wb").write(model.to_onnx().SerializeToString())``.
        """
        names = tuple(getattr(self, "feature_names_in_", ()))
        return to_onnx(self._output_network(), task=self._task, class_names=self._class_names(), feature_names=names)

    def save(self, path: str | Path) -> None:
        """Write the fitted model to one file, see :func:`tsnn.estimator.files.save_estimator`."""
        self._finite_network()
        save_estimator(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a model that :meth:`save` wrote; a damaged file or another version raises a RunError."""
        model: Self = load_estimator(cls, path)
        return model

    def _output_network(self) -> Network:
        """Return a network whose output neurons' sums are the decision values."""
        return self._finite_network()

    def _finite_network(self) -> Network:
        """Return the network; a DivergenceError if its weights are not finite, which is checked once."""
        network = self.network_
        if network not in _FINITE:
            network.check_finite()
            _FINITE.add(network)
        return network

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_state")

    def _fit_scaling(
        self, X: Any, y: Any, rows: Any, weights: Any, preprocessing: str, network: Network | None
    ) -> None:  # fmt: skip
        """Fit the scaling; of a network to continue with, refine it by these samples and adapt the network."""
        if network is None:
            self._centred = not _is_sparse(X)
            moments, self._offset, self._scale = fit_features(X, rows, y[rows], self._task, preprocessing, weights)
            self._moments: Moments = moments
        elif preprocessing != "none":
            before, spread = self._moments, spread_of(self._scale)
            self._moments = before.merged(moments_of(X, rows, weights, preprocessing))
            self._offset, self._scale = self._moments.scaling(preprocessing, centred=self._centred)
            check_growth(before, spread, spread_of(self._scale), "feature")
            rescale_inputs(network, self._offset, self._scale, known_columns(before, spread))

    def _scaled(self, X: Any, rows: NDArray[np.int64] | None = None) -> Features:
        if not _is_sparse(X):
            return scaled(X, rows, self._offset, self._scale)
        if self._offset.any():
            raise DataError("The model was fitted on dense features, but got sparse ones. Try X.toarray().")
        return SparseFeatures.of(X if rows is None else X[rows], self._scale)

    def _decide(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the output neurons' sums, float64[n_samples, n_outputs]."""
        network = self._finite_network()
        x = self._scaled(self._checked(X, reset=False))
        kernels.set_threads(self.threads)
        workspace = Workspace(network.sizes, fast_width(max(network.sizes), min(len(x), 128)))
        z = decision_values(network, x, workspace).astype(np.float64)
        if not (finite := np.isfinite(z).all(axis=1)).all():
            network.check_finite()
            raise DataError(
                f"X: the network's outputs for {(~finite).sum():,} of {len(z):,} samples are not finite, the first for "
                f"row {finite.argmin()} (counted from 0): its values are too far from those of training. Check them."
            )
        return z


def _is_sparse(values: Any) -> bool:
    return hasattr(values, "tocsr")


def _mean_one(weights: NDArray[np.float64]) -> NDArray[np.float32] | None:
    """Return weights scaled to a mean of 1; None if they are all the same."""
    if not len(weights) or (weights == weights[0]).all():
        return None
    return np.asarray(weights / weights.mean(), np.float32)
