"""scikit-learn's side of tsnn: the only room that imports scikit-learn.

The estimators check and prepare what they are given (``base``, ``classifier``, ``regressor``), train with
:func:`tsnn.engine.training.steps` (``fitting``), and answer.
"""

from tsnn.estimator.classifier import SparseMLPClassifier
from tsnn.estimator.regressor import SparseMLPRegressor

__all__ = ["SparseMLPClassifier", "SparseMLPRegressor"]
