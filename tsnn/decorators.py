"""Decorators that make a function a rule: a pruning or regrowth rule, a schedule, an optimizer, an activation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tsnn.errors import ConfigError
from tsnn.registry import ACTIVATIONS, OPTIMIZERS, PRUNING, REGROWTH, SCHEDULES, Function


def pruning(name: str, *, help: str = "", needs: str = "", **facts: Any) -> Callable[[Function], Function]:
    """Register a pruning rule, a choice of ``training.prune``: which connections of a layer evolution prunes.

    The rule is ``rule(weights, zeta)``: float32[m], fraction in [0, 1). It returns bool[m], the connections that
    survive, or float[m], a score: then the fraction zeta with the smallest scores is pruned.

    Parameters
    ----------
    name : str
        Its name: a-z, 0-9 and _.
    help : str, optional
        Description; default is the first line of its docstring.
    needs : {"", "layer", "gradient", "network"}
        With ``"layer"`` the rule gets a :class:`tsnn.engine.pruning.Connections` instead of the weights: weights,
        topology, progress, rng; with ``"gradient"`` also the gradient of a batch. With ``"network"`` it gets a list of
        them, one for each layer that evolves, and returns a list of scores: the fraction zeta of all connections with
        the smallest scores is pruned, and the new ones are divided among the layers in proportion to the survivors.
    **facts
        Further attributes of :class:`Rule`.

    Examples
    --------
    >>> @tsnn.pruning("small_steps", needs="gradient")  # doctest: +SKIP
    ... def small_steps(layer, zeta):
    ...     return abs(layer.weights) + 0.1 * abs(layer.gradient)
    """
    return PRUNING.register(name, help=help, takes=("weights", "zeta"), needs=needs, **facts)


def regrowth(
    name: str, *, help: str = "", needs: str = "", candidates: int = 0, **facts: Any
) -> Callable[[Function], Function]:
    """Register a regrowth rule, a choice of ``training.regrow``: where evolution puts new connections of a layer.

    With ``candidates`` the rule is a score ``rule(free, rows, columns)`` of random free positions: int32[k] input
    neurons, int32[k] output neurons. It returns float[k]; connections grow where it is largest.
    Without, the rule is ``rule(free, count, rng)`` and returns ``count`` distinct free positions itself, as
    ``free.pattern(rows, columns)`` does. ``free`` is a :class:`tsnn.engine.regrowth.FreePositions`.

    Parameters
    ----------
    name : str
        Its name: a-z, 0-9 and _.
    help : str, optional
        Description; default is the first line of its docstring.
    needs : {"", "gradient", "activations"}
        What ``free`` has in addition to the topology: the gradient of a batch at any positions, or the activations and
        deltas of its samples.
    candidates : int
        Random free positions for each new connection, of which the rule returns scores.
    **facts
        Further attributes of :class:`Rule`.

    Examples
    --------
    >>> @tsnn.regrowth("cosine", needs="activations", candidates=10)  # doctest: +SKIP
    ... def cosine(free, rows, columns):
    ...     a, b = (x / (np.linalg.norm(x, axis=1, keepdims=True) + 1e-9) for x in free.activations)
    ...     return abs(np.einsum("ks,ks->k", a[rows], b[columns]))
    """
    if not isinstance(candidates, int) or not 0 <= candidates <= 1000:
        raise ConfigError(f"candidates must be a whole number from 0 to 1000, got {candidates!r}.")
    takes = ("free", "rows", "columns") if candidates else ("free", "count", "rng")
    return REGROWTH.register(name, help=help, takes=takes, needs=needs, candidates=candidates, **facts)


def schedule(name: str, *, help: str = "", **facts: Any) -> Callable[[Function], Function]:
    """Register a schedule, a choice of ``training.zeta_schedule`` and the other schedules.

    It is ``schedule(progress) -> factor``: the finished fraction of the epochs, in [0, 1], -> the factor of a setting,
    in [0, 1].

    Examples
    --------
    >>> @tsnn.schedule("half")  # doctest: +SKIP
    ... def half(progress):
    ...     return 1.0 if progress < 0.5 else 0.5
    """
    return SCHEDULES.register(name, help=help, takes=("progress",), **facts)


def optimizer(
    name: str, *, help: str = "", state: tuple[str, ...] = (), **facts: Any
) -> Callable[[Function], Function]:
    """Register an optimizer, a choice of ``training.optimizer``: how a gradient changes the weights.

    It is ``step(weights, gradient, *state, rates) -> (weights, *state)``: float32[n], one value for each connection of
    a layer, or for each of its biases. ``rates`` has ``learning_rate``, ``momentum``, ``weight_decay``.

    Parameters
    ----------
    name, help : str
        Its name: a-z, 0-9 and _; its description: by default the first line of its docstring.
    state : tuple of str
        Names of further arrays, which training keeps: 0 at the start and for each new connection.
    **facts
        Further attributes of :class:`Rule`.

    Examples
    --------
    >>> @tsnn.optimizer("adagrad", state=("sums",))  # doctest: +SKIP
    ... def adagrad(weights, gradient, sums, rates):
    ...     sums = sums + gradient**2
    ...     return weights - rates.learning_rate * gradient / (np.sqrt(sums) + 1e-8), sums
    """
    if not isinstance(state, tuple) or not all(isinstance(part, str) and part.isidentifier() for part in state):
        raise ConfigError(f"state must be a tuple of names such as ('m', 'v'), got {state!r}.")
    takes = ("weights", "gradient", *state, "rates")
    return OPTIMIZERS.register(name, help=help, takes=takes, state=state, **facts)


def activation(name: str, *, help: str = "", **facts: Any) -> Callable[[Function], Function]:
    """Register an activation, a choice of ``network.activation``: see :mod:`tsnn.engine.activations`."""
    return ACTIVATIONS.register(name, help=help, takes=("alpha", "layer"), **facts)
