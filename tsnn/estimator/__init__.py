"""Estimators with scikit-learn's interface: the only package that imports scikit-learn.

The estimators check and prepare samples (``base``, ``classifier``, ``regressor``), train with
:func:`tsnn.engine.training.steps` (``fitting``), and predict. :func:`load_model` makes one of a recorded run
(``from_run``), :class:`SparseSelector` ranks features while it trains (``selector``), and ``predictions`` answers for
the samples of a file.
"""

from tsnn.estimator.classifier import SparseMLPClassifier
from tsnn.estimator.from_run import load_model
from tsnn.estimator.regressor import SparseMLPRegressor
from tsnn.estimator.selector import SparseSelector

__all__ = ["SparseMLPClassifier", "SparseMLPRegressor", "SparseSelector", "load_model"]
