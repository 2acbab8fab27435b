"""Activations: each one is ``f(z) = z`` for ``z > 0`` and ``slope * z`` otherwise.

So an activation is a slope, and the kernels know no more of it. With a negative slope ``f`` is not
monotone: its derivative cannot be read off the activation, which is why the kernels keep the sign of ``z``.
"""

from __future__ import annotations

IDENTITY_SLOPE = 1.0


def hidden_slope(activation: str, alpha: float, layer: int) -> float:
    """Return the negative slope of a hidden layer.

    Parameters
    ----------
    activation : {"all_relu", "relu", "leaky_relu"}
        All-ReLU (arXiv 2102.01732, section 3.2) has slope ``-alpha`` on hidden layers 1, 3, 5, ... and
        ``+alpha`` on 2, 4, 6, ...
    alpha : float
        Size of the slope; without effect for ``relu``.
    layer : int
        Hidden layers are counted from 1.
    """
    if activation == "relu":
        return 0.0
    if activation == "all_relu":
        return -alpha if layer % 2 == 1 else alpha
    return alpha
