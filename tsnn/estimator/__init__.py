"""Estimators with scikit-learn's interface: the only package that imports scikit-learn.

The estimators check and prepare samples (``base``, ``classifier``, ``regressor``), train with
:func:`tsnn.engine.training.steps` (``fitting``), and predict.
"""

from tsnn.estimator.classifier import SparseMLPClassifier
from tsnn.estimator.regressor import SparseMLPRegressor

__all__ = ["SparseMLPClassifier", "SparseMLPRegressor"]
