"""Optimizers: how a gradient changes the weights.

An optimizer is a function ``step(weights, gradient, *state, rates) -> (weights, *state)``. The arrays are float32[n],
one value for each connection of a layer, or for each of its biases, and may be changed in place; ``rates`` has
``learning_rate``, ``momentum`` and ``weight_decay`` (:class:`tsnn.engine.schedules.Rates`). The state, named by
``state=("m", "v")``, is 0 at the start. That of a connection follows it through evolution, and that of a new one is 0:
an optimizer that counts steps counts those of each connection (SMET, arXiv 2606.00888).

Momentum SGD is not called: the backward pass applies it as it forms the gradient
(:func:`tsnn.engine.propagation.backward`), which is faster and takes no further memory.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.engine.own_rules import SECONDS, describe, guard, refuse
from tsnn.registry import OPTIMIZERS, Rule

if TYPE_CHECKING:  # the configuration asks for the optimizers' names
    from tsnn.engine.network import Network
    from tsnn.engine.schedules import Rates

Float32 = NDArray[np.float32]

BETA2, EPSILON = 0.999, 1e-8  # of AdamW, as in the paper and in PyTorch
_LAST = 20_000  # steps beyond which float32 knows no correction of the biases


@OPTIMIZERS.register(
    "sgd", label="SGD", help="momentum SGD, v <- mu v - eta g, then w <- w + v", state=("velocity",), fused=True
)
def sgd(weights: Float32, gradient: Float32, velocity: Float32, rates: Rates) -> tuple[Float32, ...]:
    """Momentum SGD, as the backward pass computes it."""
    momentum, eta, decay, _ = rates
    kernels.momentum_step(gradient, momentum, eta, decay, True, weights, velocity)
    return weights, velocity


@OPTIMIZERS.register(
    "nesterov", label="Nesterov", help="v <- mu v - eta g, then w <- w + mu v - eta g", state=("velocity",)
)
def nesterov(weights: Float32, gradient: Float32, velocity: Float32, rates: Rates) -> tuple[Float32, ...]:
    """Nesterov's momentum (Sutskever et al., ICML 2013, in the form of PyTorch)."""
    momentum, eta, decay, _ = rates
    kernels.nesterov_step(gradient, momentum, eta, decay, weights, velocity)
    return weights, velocity


@OPTIMIZERS.register(
    "adamw", label="AdamW", state=("mean", "square", "steps"),
    help="Adam with beta1 = mu and beta2 = 0.999, for rates of about 0.001; 12 more bytes for each connection, whose "
    "moments and number of steps begin when it grows (SMET, arXiv 2606.00888)",
)  # fmt: skip
def adamw(
    weights: Float32, gradient: Float32, mean: Float32, square: Float32, steps: Float32, rates: Rates
) -> tuple[Float32, ...]:
    """AdamW (arXiv 1711.05101, algorithm 2): the decay is not multiplied by the learning rate."""
    momentum, eta, decay, _ = rates
    factors, epsilons = _corrections(momentum)
    table = np.float32(eta) * factors
    kernels.adamw_step(gradient, (momentum, BETA2), decay, table, epsilons, weights, mean, square, steps)
    return weights, mean, square, steps


@functools.lru_cache(maxsize=4)
def _corrections(beta1: float) -> tuple[Float32, Float32]:
    """Return the factors of the rate, and the terms of the denominator, by the steps of a weight."""
    t = np.arange(_LAST + 1.0)
    t[0] = 1.0  # never used: the first step is 1
    second = np.sqrt(1 - BETA2**t)
    return (second / (1 - beta1**t)).astype(np.float32), (EPSILON * second).astype(np.float32)


def prepare_state(network: Network, optimizer: str) -> None:
    """Give every layer the arrays of an optimizer, 0 where they are missing; those of another one are dropped."""
    rule = OPTIMIZERS[optimizer]
    names = () if rule.fused else rule.state
    for layer in network.layers:
        layer.state = {name: layer.state.get(name, np.zeros_like(layer.weights)) for name in names}
        layer.bias_state = {name: layer.bias_state.get(name, np.zeros_like(layer.bias)) for name in names}


def apply_gradient(network: Network, optimizer: str, rates: Rates, seconds: float = SECONDS) -> None:
    """Train a network by the gradient in its velocities (:func:`tsnn.engine.batches.batch_gradient`).

    Parameters
    ----------
    network : Network
        Weights, biases and the optimizer's arrays are changed in place (:func:`prepare_state`); the velocities are 0
        afterwards.
    optimizer : str
        Name of an optimizer.
    rates : Rates
        Numbers of the step.
    seconds : float
        Time after which the step of an optimizer that is not built in is interrupted; 0: never.

    Raises
    ------
    RuleError
        If an optimizer that is not built in fails, does not end in time, or returns something else than its arrays, or
        NaN for a finite gradient.
    """
    rule = OPTIMIZERS[optimizer]
    guard(rule, OPTIMIZERS.kind, lambda: _apply(rule, network, rates), seconds)


def _apply(rule: Rule, network: Network, rates: Rates) -> None:
    for layer in network.layers:
        _step(rule, layer.weights, layer.velocity, layer.state, rates)
        _step(rule, layer.bias, layer.bias_velocity, layer.bias_state, rates)


def _step(rule: Rule, weights: Float32, gradient: Float32, state: dict[str, Float32], rates: Rates) -> None:
    names, arrays = ("weights", *state), (weights, *state.values())
    is_checked = rule.is_own and bool(np.isfinite(gradient).all())  # else training has diverged by itself
    changed = rule(weights, gradient, *state.values(), rates)
    if not isinstance(changed, tuple) or len(changed) != len(arrays):
        raise refuse(rule, OPTIMIZERS.kind, f"returned {describe(changed)}; expected the tuple ({', '.join(names)},)")
    for name, array, new in zip(names, arrays, changed, strict=True):
        if new is not array:
            if not isinstance(new, np.ndarray) or new.shape != array.shape or new.dtype.kind not in "fiu":
                problem = f"returned {describe(new)} as {name}; expected float32[{len(array)}]"
                raise refuse(rule, OPTIMIZERS.kind, problem)
            array[:] = new
        if is_checked and (missing := np.count_nonzero(np.isnan(array))):
            problem = f"returned NaN for {missing} of {len(array)} {name}; expected numbers"
            raise refuse(rule, OPTIMIZERS.kind, problem)
    gradient.fill(0)
