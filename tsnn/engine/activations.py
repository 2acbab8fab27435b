"""Activations of hidden layers: ``f(z) = z`` for ``z > 0`` and ``slope * z`` otherwise.

The kernels take an activation as its slope. With a negative slope ``f`` is not monotone: its derivative cannot be
computed from the activation, so the kernels keep the sign of ``z``.

An activation is registered as a function ``activation(alpha, layer) -> slope``, with hidden layers counted from 1.
"""

from __future__ import annotations

from tsnn.registry import ACTIVATIONS

IDENTITY_SLOPE = 1.0


@ACTIVATIONS.register(
    "all_relu",
    label="All-ReLU",
    help="slope -alpha on hidden layers 1, 3, 5, ..., +alpha on 2, 4, 6, ... (section 3.2)",
)
def all_relu(alpha: float, layer: int) -> float:
    """All-ReLU (arXiv 2102.01732, section 3.2): slope ``-alpha`` on odd hidden layers, ``+alpha`` on even ones."""
    return -alpha if layer % 2 == 1 else alpha


@ACTIVATIONS.register("relu", label="ReLU", help="slope 0, without alpha")
def relu(alpha: float, layer: int) -> float:
    """ReLU: slope 0."""
    return 0.0


@ACTIVATIONS.register("leaky_relu", label="leaky ReLU", help="slope alpha on every hidden layer")
def leaky_relu(alpha: float, layer: int) -> float:
    """Leaky ReLU: slope ``alpha``."""
    return alpha


def hidden_slope(activation: str, alpha: float, layer: int) -> float:
    """Return the negative slope of a hidden layer.

    Parameters
    ----------
    activation : str
        Name of a registered activation.
    alpha : float
        Size of the slope.
    layer : int
        Hidden layers are counted from 1.
    """
    return float(ACTIVATIONS[activation](alpha, layer))
