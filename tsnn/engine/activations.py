"""Activations of hidden layers: ``f(z) = z`` for ``z > 0`` and ``slope * z`` otherwise, or a curve.

The kernels take an activation as its slope. With a negative slope ``f`` is not monotone: its derivative cannot be
computed from the activation, so the kernels keep the sign of ``z``.

An activation is registered as a function ``activation(alpha, layer) -> slope``, with hidden layers counted from 1.

The *curves*, :data:`CURVES`, are computed after the kernels, which get the slope 1, and keep their derivative: 4 bytes
for each hidden neuron and sample, and one more pass over the activations in each direction.

SReLU (arXiv 1512.07030, in the first programs of SET) is not built: its four learned parameters for each neuron would
need gradients, velocities, averages between workers and checkpoints of their own. All-ReLU was proposed for the same
networks without learned parameters (arXiv 2102.01732, section 3.2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tsnn.registry import ACTIVATIONS

IDENTITY_SLOPE = 1.0
CURVES = ("gelu", "tanh")


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


@ACTIVATIONS.register("gelu", label="GELU", help="z Phi(z) in the form with tanh, slower, without alpha")
def gelu(alpha: float, layer: int) -> float:
    """GELU (arXiv 1606.08415): a curve."""
    return IDENTITY_SLOPE


@ACTIVATIONS.register("tanh", help="slower, without alpha")
def tanh(alpha: float, layer: int) -> float:
    """Hyperbolic tangent: a curve."""
    return IDENTITY_SLOPE


def curve_of(activation: str) -> str:
    """Return the name of an activation that is a curve; empty for others."""
    return activation if activation in CURVES else ""


def activate(z: NDArray[np.float32], slope: float, curve: str = "") -> NDArray[np.float32]:
    """Return the activations of sums, float32 of any shape."""
    if curve == "gelu":
        inner = np.float32(np.sqrt(2 / np.pi)) * (z + np.float32(0.044715) * z**3)
        f = np.float32(0.5) * z * (1 + np.tanh(inner))
    else:
        f = np.tanh(z) if curve else np.where(z > 0, z, np.float32(slope) * z)
    return np.asarray(f, np.float32)


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
