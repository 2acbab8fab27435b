"""The classifier."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, softmax
from sklearn.base import ClassifierMixin
from sklearn.utils import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from tsnn.errors import DataError
from tsnn.estimator.base import SparseMLP
from tsnn.estimator.rollback import unchanged_on_failure


@dataclass(eq=False, repr=False)
class SparseMLPClassifier(ClassifierMixin, SparseMLP):
    """A truly sparse neural network that predicts a class, or which of several labels apply.

    {parameters}
    class_weight : dict, "balanced" or None
        Weight of the samples of each class in the loss; ``balanced`` gives all classes the same.

    Attributes
    ----------
    classes_ : array
        The classes; for several labels at once 0 to their number - 1.
    {attributes}

    Examples
    --------
    >>> model = SparseMLPClassifier(epochs=50, random_state=0).fit(X_train, y_train)
    >>> model.score(X_test, y_test)
    """

    class_weight: dict[Any, float] | str | None = None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    @unchanged_on_failure
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train on labelled samples.

        Parameters
        ----------
        X : [n_samples, n_features]
            Array, table or SciPy sparse matrix; sparse ones are never made dense.
        y : [n_samples] or [n_samples, n_labels]
            Labels of any kind, or 0 and 1 for each of several labels.
        sample_weight : [n_samples], optional
            Weight of each sample in the loss. Where all samples fit into one batch, a sample of weight 3 is the same
            as three samples, to the bit; else it is the same on average.
        """
        resume = self.warm_start and hasattr(self, "_state")
        X, targets, weights = self._samples(X, y, sample_weight, reset=not resume)
        codes = self._encoded(targets, self.classes_ if resume else None)
        return self._fit(X, codes, self._class_weighted(targets, weights), resume=resume)

    @unchanged_on_failure
    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train on one pass over samples; the topology evolves between two calls.

        The first call must name all ``classes`` (unless there are several labels), and later ones the same or none.
        Each call refines the scaling.
        """
        resume = hasattr(self, "_state")
        X, targets, weights = self._samples(X, y, sample_weight, reset=not resume)
        if not resume and classes is None and targets.ndim == 1:
            raise DataError("The first call of partial_fit needs classes: all labels of all calls.")
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            raise DataError("class_weight='balanced' needs all samples at once. Give partial_fit a dict, or use fit.")
        known = self.classes_ if resume else None
        if classes is not None:
            known = _distinct(classes)
            if resume and not np.array_equal(known, self.classes_):
                raise DataError(
                    f"classes are {_few(known)}, but the model was fitted on {_few(self.classes_)}. "
                    "Leave classes out, or start again with another model: classes cannot be added later."
                )
        codes = self._encoded(targets, known)
        return self._fit(X, codes, self._class_weighted(targets, weights), resume=resume, epochs=1)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the most likely class of each sample, or 0 and 1 for each label."""
        z = self._decide(X)
        if self._task == "multilabel":
            return (z > 0).astype(np.int64)
        return np.asarray(self.classes_[z.argmax(axis=1)])

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the probability of each class or label, float64[n_samples, n_classes]."""
        z = self._decide(X)
        return np.asarray(expit(z) if self._task == "multilabel" else softmax(z, axis=1))

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the output neurons' sums, float64[n_samples, n_classes]; of two classes their difference."""
        z = self._decide(X)
        return z[:, 1] - z[:, 0] if self._task == "classification" and z.shape[1] == 2 else z

    def _encoded(self, y: NDArray[Any], known: NDArray[Any] | None) -> NDArray[Any]:
        """Decide on the task and the classes; return class indices int64[n], or float32[n, labels]."""
        check_classification_targets(y)
        if y.ndim == 2:
            if type_of_target(y) != "multilabel-indicator":
                raise DataError(f"y has {y.shape[1]} columns with other values than 0 and 1. Fit one model for each.")
            if known is not None and len(known) != y.shape[1]:
                raise DataError(f"The model was fitted on {len(known)} labels, y has {y.shape[1]}.")
            self._task, self.classes_ = "multilabel", np.arange(y.shape[1])
            return y.astype(np.float32)
        classes, codes = np.unique(y, return_inverse=True)
        if known is not None:
            if (unknown := ~np.isin(classes, known)).any():
                raise DataError(f"y has labels that the model was not fitted on, such as {classes[unknown][0]!s}.")
            codes, classes = np.searchsorted(known, classes)[codes], known
        if len(classes) < 2:
            raise DataError(f"y has 1 class, {classes[0]!s}; expected at least two.")
        self._task, self.classes_ = "classification", classes
        return codes.astype(np.int64)

    def _targets(self, y: NDArray[Any]) -> NDArray[Any]:
        return y

    def _class_names(self) -> tuple[str, ...]:
        return tuple(map(str, self.classes_)) if self._task == "classification" else ()

    def _class_weighted(self, y: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the samples' weights times those of their classes."""
        if self.class_weight is None:
            return weights
        _check_class_weight(self.class_weight)
        if isinstance(self.class_weight, dict) and y.ndim == 1:
            by_class = _weight_of_classes(self.class_weight, self.classes_)
            weighted: NDArray[np.float64] = weights * by_class[np.searchsorted(self.classes_, y)]
        else:
            weighted = weights * compute_sample_weight(self.class_weight, y)
        if not weighted.any():
            raise DataError("class_weight and sample_weight leave no sample a weight above 0. Give some class more.")
        return weighted


def _weight_of_classes(class_weight: dict[Any, float], classes: NDArray[Any]) -> NDArray[np.float64]:
    """Return the weight of each class: 1 for those that are not named."""
    names = classes.tolist()
    unknown = [name for name in class_weight if name not in names]
    if unknown and any(name not in class_weight for name in names):
        raise DataError(f"class_weight names {unknown[0]!r}, which is no class; classes are {_few(classes)}.")
    return np.array([class_weight.get(name, 1.0) for name in names], np.float64)


def _check_class_weight(class_weight: Any) -> None:
    """Raise a DataError if a weight of a class is not a finite number of at least 0."""
    given = class_weight if isinstance(class_weight, list) else [class_weight]
    if not all(isinstance(part, dict) or (isinstance(part, str) and part == "balanced") for part in given):
        raise DataError(
            f"class_weight is {class_weight!r}; expected a dict such as {{0: 1, 1: 5}}, 'balanced' or None."
        )
    for name, weight in (item for part in given if isinstance(part, dict) for item in part.items()):
        if not isinstance(weight, Real) or not 0 <= float(weight) < np.inf:
            raise DataError(f"class_weight of {name!r} is {weight!r}; expected a finite number of at least 0.")


def _distinct(classes: ArrayLike) -> NDArray[Any]:
    """Return the sorted classes without repeats."""
    try:
        return np.unique(np.asarray(classes))
    except TypeError as error:
        raise DataError(f"classes cannot be sorted ({error}). Give all of one kind: numbers, or text.") from error


def _few(classes: NDArray[Any]) -> str:
    """Return the first classes, for messages."""
    return ", ".join(map(str, classes[:10].tolist())) + (f" and {len(classes) - 10} more" if len(classes) > 10 else "")
