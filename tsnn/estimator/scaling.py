"""Change of scaling: a network takes another scaling of features or targets, and stays the same function."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.datasets.moments import Moments
from tsnn.engine.network import Layer, Network
from tsnn.errors import DivergenceError

Float64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

FEW = 20.0  # samples; the spread of fewer says little
HARDLY = 1e-3  # of its magnitude: a column that varies less is nearly constant
LARGEST_GROWTH = 2.0  # of the weights of columns that were hardly known
TOO_FAR = 1e4  # a spread that grows by more, beyond the column's magnitude, is another unit or an outlier


def known_columns(moments: Moments, spread: Float64) -> Bools:
    """Return which columns are known well: from more than a few samples, and not nearly constant there."""
    return (moments.weight >= FEW) & (spread > HARDLY * _magnitude(moments))


def check_growth(moments: Moments, spread: Float64, new_spread: Float64, what: str) -> None:
    """Raise a DivergenceError if further samples spread a column far beyond the samples before.

    Parameters
    ----------
    moments : Moments
        Of the samples before; columns that were constant there may grow to anything.
    spread, new_spread : float64[width]
        Of the samples before, and of all.
    what : str
        Name of a column in the message.
    """
    largest = TOO_FAR * np.maximum(spread, _magnitude(moments))
    far = (moments.weight >= FEW) & (spread > 0) & (new_spread > largest)
    if far.any():
        j = int(far.argmax())
        raise DivergenceError(
            f"Training would diverge: {what} {j} (counted from 0) varied by {spread[j]:.3g} so far, and by "
            f"{new_spread[j]:.3g} with these samples. Look for a wrong unit or an outlier, or start again with fit."
        )


def rescale_inputs(network: Network, offset: Float64, scale: Float64, known: Bools | bool = True) -> None:
    """Replace the scaling of the features; weights and biases of the first layer make up the difference.

    Features that were constant until now, of scale 0, keep their weights: nothing was learned about them. Weights of
    features that were hardly known grow at most by 2: to keep the function would make it steep at values that it was
    never trained on. In all cases it stays the same at the former offset.

    Parameters
    ----------
    network : Network
        Changed in place; its ``scaling`` is set.
    offset, scale : float64[n_features]
        Inputs become ``(x - offset) * scale``.
    known : bool[n_features] or bool
        See :func:`known_columns`.
    """
    assert network.scaling is not None
    before, old_scale = network.scaling
    growth = _growth(old_scale, scale, known)
    shift = ((offset - before) * scale).astype(np.float32)
    layer, t = network.layers[0], network.layers[0].topology
    _multiply(layer, np.repeat(growth, t.out_degree))
    layer.bias += kernels.column_sums(t.indptr, t.indices, layer.weights, shift, t.n_out).astype(np.float32)
    network.scaling = offset, scale


def rescale_outputs(
    network: Network, before: tuple[Float64, Float64], after: tuple[Float64, Float64], known: Bools
) -> None:
    """Replace the scaling of the targets; weights and biases of the last layer make up the difference.

    Parameters
    ----------
    network : Network
        Changed in place.
    before, after : (float64[n_outputs], float64[n_outputs])
        Offset and spread: predictions are ``z * spread + offset``. A spread of 0 is that of a constant target.
    known : bool[n_outputs]
        See :func:`known_columns`; the weights of others grow at most by 2.
    """
    layer = network.layers[-1]
    growth = _growth(before[1], after[1], known)
    shift = np.divide(before[0] - after[0], after[1], out=np.zeros(len(growth)), where=after[1] > 0)
    _multiply(layer, growth[layer.topology.indices])
    layer.bias_velocity *= growth
    layer.bias *= growth
    layer.bias += shift.astype(np.float32)


def spread_of(scale: Float64) -> Float64:
    """Return the spread of columns of this scale; 0 where it is 0, of constant columns."""
    return np.divide(1, scale, out=np.zeros(len(scale)), where=scale > 0)


def _magnitude(moments: Moments) -> Float64:
    return np.maximum(abs(moments.low), abs(moments.high))


def _growth(old: Float64, new: Float64, known: Bools | bool) -> NDArray[np.float32]:
    """Return the factors ``old / new`` of weights; 1 where one of them is 0."""
    growth = np.divide(old, new, out=np.ones(len(old)), where=(old > 0) & (new > 0))
    return np.where(known, growth, np.minimum(growth, LARGEST_GROWTH)).astype(np.float32)


def _multiply(layer: Layer, factors: NDArray[np.float32]) -> None:
    layer.weights *= factors
    layer.velocity *= factors
