"""The selector of features: trains a sparse network and keeps the features that it ranks first."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import _safe_indexing
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import _num_samples, check_is_fitted

from tsnn.config.schema import nearest
from tsnn.datasets.raw import check_choice
from tsnn.engine.selection import Ranking
from tsnn.errors import DataError, DivergenceError
from tsnn.estimator.base import SparseMLP
from tsnn.estimator.classifier import SparseMLPClassifier
from tsnn.estimator.fitting import Train
from tsnn.estimator.ranked import Autoencoder, connections_of, fit_ranked, recorded
from tsnn.estimator.regressor import SparseMLPRegressor
from tsnn.estimator.rollback import unchanged_on_failure
from tsnn.estimator.selection_methods import METHODS, RECIPES, UNSUPERVISED
from tsnn.records import SelectionRecord

AUTO = "auto"
_INPUTS = 128  # of a neuron; with more, a method's own learning rate is smaller
_CANDIDATES = ("elimination", "products")
_FEW, _COMPARED = 50, 5000  # samples
_FIRST, _NEIGHBOURS = 50, 10  # features and neighbours by which two rankings are compared


@dataclass(eq=False, repr=False)
class SparseSelector(SelectorMixin, BaseEstimator):
    """A selector of features by a truly sparse neural network.

    Supervised methods need ``y``: classes of any kind, 0 and 1 for several labels, or numbers.

    Parameters
    ----------
    n_features_to_select : int, float or None
        Number of features, or their fraction. None: those above the ``threshold``, or half of them without one.
    method : str
        - ``auto``: ``elimination`` or ``products``, by whose first features nearest neighbours predict a held-out fifth
          of the samples better;
        - ``strength``: strength of the inputs' connections, ``sum |w|``, summed over the epochs of SET;
        - ``attribution``: sum over the outputs of mean ``|d f_c / d x_j|``, summed over the epochs of SET;
        - ``elimination``: the weakest inputs are removed during training, until as many are left as are selected: those
          complement each other, also where neighbouring features say the same;
        - ``products``: attribution, and response of the first neurons, of a network of folded activations: finds
          features whose products decide, also redundant ones;
        - ``neurofs``: inputs are removed and regrown during training (NeuroFS, TMLR 2023);
        - ``entryprune``: random features enter, judged by the gradient of their first batches (arXiv 2410.02344);
        - ``quickselection``, without ``y``: strength of a denoising autoencoder's inputs (arXiv 2012.00560);
        - ``wast``, without ``y``: importance of the inputs of an autoencoder that evolves with every batch (NeurIPS
          2022).
    threshold : float, "mean", "median" or None
        Smallest score of a selected feature; of ``n_features_to_select`` features at most.
    hidden : sequence of int or None
        Neurons of the hidden layers. None here and below: the method's own
        (``tsnn.estimator.selection_methods.RECIPES``).
    epsilon, epochs, batch_size, learning_rate : float, int, int, float, or None
        Settings of training, as of :class:`tsnn.SparseMLPClassifier`. The learning rate of ``quickselection`` and
        ``wast`` is that of the squared error summed over the outputs.
    preprocessing : {"standard", "minmax", "none"}
        Scaling of the features: ``minmax`` for images and counts, where a feature that hardly varies tells little.
    random_state : int, RandomState or None
        Same number, same bits: on one machine, for any number of threads.
    threads : int
        Threads; 0: all cores.
    progress : bool
        Show a progress bar.

    Attributes
    ----------
    scores_ : float64[n_features]
        The larger, the better; comparable within one fit.
    ranking_ : int64[n_features]
        1 for the best feature; of equal scores the first is better.
    support_ : bool[n_features]
        The selected features.
    method_ : str
        The method that ranked; with ``method="auto"`` the chosen one.
    estimator_ : SparseMLPClassifier, SparseMLPRegressor or Autoencoder
        The network that was trained; ``estimator_.history_`` has a record of each epoch.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : array of str
        Their names, if the features came as a table.

    Examples
    --------
    >>> selector = SparseSelector(50, random_state=0).fit(X_train, y_train)
    >>> selector.get_support(indices=True), selector.transform(X_test)
    """

    n_features_to_select: float | None = None
    _: KW_ONLY
    method: str = AUTO
    threshold: float | str | None = None
    hidden: Sequence[int] | None = None
    epsilon: float | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    preprocessing: str = "standard"
    random_state: int | np.random.RandomState | None = None
    threads: int = 0
    progress: bool = False

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = False
        tags.target_tags.required = self.method not in UNSUPERVISED
        tags.target_tags.multi_output = True
        return tags

    @unchanged_on_failure
    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Rank the features, and select some.

        Parameters
        ----------
        X : [n_samples, n_features]
            Array, table or SciPy sparse matrix; sparse ones are never made dense.
        y : [n_samples] or [n_samples, n_outputs]
            Classes, labels or numbers; not used by unsupervised methods.

        Raises
        ------
        DataError
            If the method is unknown, needs ``y``, or more features are to be selected than there are.
        """
        if self.method != AUTO and self.method not in METHODS:
            raise DataError(f"Unknown method {self.method!r}{nearest(str(self.method), (AUTO, *METHODS))}")
        if y is None and self.method not in UNSUPERVISED:
            raise DataError(
                f"y is missing: the method {self.method!r} requires y to be passed, but the target y is None. "
                f"Without targets, use one of: {', '.join(UNSUPERVISED)}."
            )
        shape = X.shape if hasattr(X, "shape") else np.asarray(X).shape
        n_features = int(shape[1]) if len(shape) == 2 else 1  # else the estimator refuses X
        count = self._count(n_features)
        method = self._chosen(X, y, count) if self.method == AUTO else self.method
        model, ranking = self._ranked(method, X, y, count)
        self.estimator_, self.method_ = model, method
        self.n_features_in_: int = model.n_features_in_
        if hasattr(model, "feature_names_in_"):
            self.feature_names_in_ = model.feature_names_in_
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        self.scores_ = ranking.scores
        self.ranking_ = rankdata(-self.scores_, "ordinal").astype(np.int64)
        self.support_ = self._selected(self.scores_, count)
        return self

    def record(self) -> list[SelectionRecord]:
        """Return a list that each fit from now on fills with a record of every epoch, for :func:`tsnn.views.selection`.

        A training empties it first; ``auto`` trains three times. If the selector is fitted already, the list holds the
        result. It takes 9 bytes for each feature and epoch.
        """
        if not hasattr(self, "_records"):
            self._records: list[SelectionRecord] = []
            if hasattr(self, "support_"):
                last, seconds = (history := self.estimator_.history_)[-1], sum(each.seconds_train for each in history)
                self._records.append(SelectionRecord(
                    self.method_, False, last.epoch, last.epoch, seconds, last.memory_bytes,
                    connections_of(self.estimator_.network_), self.scores_.astype(np.float32), self.support_,
                    getattr(self, "feature_names_in_", ()),
                ))  # fmt: skip
        return self._records

    def _get_support_mask(self) -> NDArray[np.bool_]:
        check_is_fitted(self)
        return self.support_

    def _count(self, n_features: int) -> int:
        """Return the largest number of features to select."""
        given: Any = self.n_features_to_select
        if given is None:
            return n_features if self.threshold is not None else max(n_features // 2, 1)
        if isinstance(given, int | np.integer) and not isinstance(given, bool) and 1 <= given <= n_features:
            return int(given)
        if isinstance(given, float | np.floating) and 0 < given <= 1:
            return max(int(given * n_features), 1)
        raise DataError(
            f"n_features_to_select is {given!r}; expected 1 to {n_features}, the number of features, or a fraction "
            "above 0 and up to 1.0."
        )

    def _selected(self, scores: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
        """Return the features to select, bool[n_features]."""
        return np.asarray((rankdata(-scores, "ordinal") <= count) & (scores >= self._smallest(scores)))

    def _smallest(self, scores: NDArray[np.float64]) -> float:
        """Return the smallest score of a selected feature."""
        given: Any = self.threshold
        if given is None:
            return -np.inf
        if isinstance(given, int | float | np.number) and not isinstance(given, bool):
            return float(given)
        if given in ("mean", "median"):
            return float(getattr(np, given)(scores))
        raise DataError(f"threshold is {given!r}; expected a number, 'mean', 'median' or None.")

    def _chosen(self, X: Any, y: Any, count: int) -> str:
        """Return the method whose first features tell more of held-out samples; of few samples, "elimination"."""
        n = _num_samples(X)
        if n < _FEW:
            return _CANDIDATES[0]
        rows = np.random.default_rng(0).permutation(n)[:_COMPARED]
        if np.ndim(targets := np.asarray(y)) == 1:  # every class in both parts
            rows = rows[np.argsort(targets[rows], kind="stable")]
        held_out, rest = np.sort(rows[2::5]), np.sort(np.delete(rows, np.s_[2::5]))
        X = X if hasattr(X, "shape") else np.asarray(X)
        (x, x_held), (y, y_held) = ([_safe_indexing(part, r) for r in (rest, held_out)] for part in (X, y))
        kind, scores = KNeighborsRegressor if _are_numbers(y) else KNeighborsClassifier, {}
        for method in _CANDIDATES:
            ranking = self._ranked(method, x, y, count, trial=True)[1]
            first = np.argsort(-ranking.scores, kind="stable")[: min(count, _FIRST)]
            neighbours = make_pipeline(StandardScaler(with_mean=False), kind(_NEIGHBOURS))
            neighbours.fit(_safe_indexing(x, first, axis=1), y)
            scores[method] = neighbours.score(_safe_indexing(x_held, first, axis=1), y_held)
        return max(scores, key=lambda method: scores[method])

    def _ranked(self, method: str, X: Any, y: Any, count: int, trial: bool = False) -> tuple[SparseMLP, Ranking]:
        """Train a network for a method, and return it with the ranking.

        The method's own learning rate is a tenth, then a hundredth, where training diverges.
        """
        n, n_features = X.shape if hasattr(X, "shape") and len(X.shape) == 2 else (_num_samples(X), 1)
        for slower in (1, 10, 100):
            ranking = METHODS[method](count, np.random.default_rng(0))
            model = self._model(method, y, n, n_features, slower)
            train: Train = ranking.train
            if hasattr(self, "_records"):
                selected = functools.partial(self._selected, count=count)
                train = recorded(ranking, model, self._records, method, trial, selected)
            try:
                fit_ranked(model, X, y, train)
                break
            except DivergenceError:
                if slower == 100 or self.learning_rate is not None:
                    raise
        return model, ranking

    def _model(self, method: str, y: Any, n: int, n_features: int, slower: int) -> SparseMLP:
        """Return the estimator to train on n samples."""
        check_choice("preprocessing", self.preprocessing, ("standard", "minmax", "none"))
        given = {name: getattr(self, name) for name in ("hidden", "epsilon", "epochs", "batch_size", "learning_rate")}
        chosen = RECIPES[method] | {name: value for name, value in given.items() if value is not None}
        if self.epsilon is not None:
            chosen["density"] = ()
        shrinkage = chosen.pop("shrinkage", 0.0)
        # Values that are not numbers are refused by the estimator.
        with contextlib.suppress(TypeError, ValueError, LookupError, ArithmeticError):
            if method in UNSUPERVISED:
                chosen["learning_rate"] *= n_features / 2  # the engine's error is the mean over the outputs
            elif self.learning_rate is None:
                first = int(np.atleast_1d(chosen["hidden"])[0])
                n_inputs = min(chosen["epsilon"] * (n_features + first) / first, n_features)
                chosen["learning_rate"] *= min(1.0, _INPUTS / n_inputs)
            if self.learning_rate is None:
                chosen["learning_rate"] /= slower
            if shrinkage:
                batches = chosen["epochs"] * max(n / chosen["batch_size"], 1)
                chosen["weight_decay"] = min(shrinkage / batches, 0.5)
        own = {name: getattr(self, name) for name in ("preprocessing", "random_state", "threads", "progress")}
        own |= {"learning_rate_schedule": "constant", "early_stopping": False}  # as the papers rank
        model = Autoencoder
        if method not in UNSUPERVISED:
            model = SparseMLPRegressor if _are_numbers(y) else SparseMLPClassifier
        return model(**(chosen | METHODS[method].settings | own))


def _are_numbers(y: Any) -> bool:
    return bool(type_of_target(y).startswith("continuous"))
