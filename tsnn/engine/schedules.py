"""Schedules: how the learning rate, zeta, dropout and the weight decay change while a run trains.

A schedule is a function ``schedule(progress) -> factor``: the finished fraction of the epochs, in [0, 1], -> the factor
of a setting, in [0, 1]. To add one, decorate it with :func:`tsnn.schedule`; ``training.learning_rate_schedule`` and the
other schedules then offer it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from tsnn.engine.own_rules import call, checked_factor
from tsnn.registry import SCHEDULES

if TYPE_CHECKING:  # the configuration asks for the schedules' names
    from tsnn.config import Config


_ROUNDING = 1e-9  # of a number of epochs divided by the epochs between two evolutions


@SCHEDULES.register("constant", help="no change")
def constant(progress: float) -> float:
    """Return 1."""
    return 1.0


@SCHEDULES.register("cosine", help="half a cosine from 1 to 0 (arXiv 1608.03983, without restarts)")
def cosine(progress: float) -> float:
    """Return ``(1 + cos(pi t)) / 2`` (SGDR, arXiv 1608.03983, equation 5, one cycle)."""
    return 0.5 * (1 + math.cos(math.pi * progress))


@SCHEDULES.register("linear", help="a straight line from 1 to 0")
def linear(progress: float) -> float:
    """Return ``1 - t``."""
    return 1.0 - progress


@SCHEDULES.register("step", help="1, a tenth from half of the epochs on, a hundredth from three quarters on")
def step(progress: float) -> float:
    """Return 1, 0.1 from t = 1/2 on, 0.01 from t = 3/4 on (the steps of ResNet, arXiv 1512.03385, section 4.2)."""
    return 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01


@SCHEDULES.register("coslog4", help="four waves from 0 to 1 and back, each twice as long as the one before (RealMLP)")
def coslog4(progress: float) -> float:
    """Return ``1/2 - 1/2 cos(2 pi log2(1 + 15 t))`` (RealMLP, arXiv 2407.04491, section 3)."""
    return 0.5 - 0.5 * math.cos(2 * math.pi * math.log2(1 + 15 * progress))


class Rates(NamedTuple):
    """Numbers of one training step: v <- momentum v - learning_rate g, then w <- w + v - weight_decay w.

    Attributes
    ----------
    momentum, learning_rate, weight_decay : float
        See :func:`tsnn.engine.propagation.backward`.
    dropout : float
        See :func:`tsnn.engine.propagation.forward`.
    """

    momentum: float
    learning_rate: float
    weight_decay: float
    dropout: float


def rates_at(config: Config, epochs: float) -> Rates:
    """Return the rates of a training step after a number of epochs, which may be a fraction."""
    training, network = config.training, config.network
    progress = min(1.0, epochs / training.epochs)
    rising = min(1.0, epochs / training.warmup_epochs) if training.warmup_epochs else 1.0
    return Rates(
        training.momentum,
        training.learning_rate * _factor(config, training.learning_rate_schedule, progress) * rising,
        training.weight_decay * _factor(config, training.weight_decay_schedule, progress),
        network.dropout * _factor(config, network.dropout_schedule, progress),
    )


def is_due(every: float, before: float, after: float) -> bool:
    """Return whether a batch, between two numbers of epochs, completes a multiple of ``every`` epochs."""
    return math.floor(after / every + _ROUNDING) > math.floor(before / every + _ROUNDING)


def scheduled_at(config: Config, epoch: int) -> dict[str, float]:
    """Return the live settings that a schedule or the warm-up makes different in an epoch, from 1, by short name.

    Zeta is that of the evolution after the epoch; learning rate and dropout are those of its middle.
    """
    training, rates = config.training, rates_at(config, epoch - 0.5)
    values = {
        "learning_rate": (rates.learning_rate, training.learning_rate),
        "dropout": (rates.dropout, config.network.dropout),
        "zeta": (zeta_at(config, epoch), training.zeta),
    }
    return {name: now for name, (now, base) in values.items() if now != base}


def zeta_at(config: Config, epochs: float) -> float:
    """Return the fraction of the connections that an evolution after a number of epochs replaces."""
    training = config.training
    progress = epochs / training.epochs
    return (
        training.zeta * _factor(config, training.zeta_schedule, progress) if progress <= training.evolve_until else 0.0
    )


def surplus_at(config: Config, epochs: float) -> float:
    """Return the fraction of ``training.start_factor``'s surplus that an evolution after a number of epochs leaves.

    ``(1 - t / t_last)^3`` (Zhu and Gupta, arXiv 1710.01878, equation 1): 1 at the start, 0 at the last evolution.
    """
    last = config.last_evolution
    return (1 - epochs / last) ** 3 if epochs < last else 0.0


def _factor(config: Config, schedule: str, progress: float) -> float:
    """Return the factor of a schedule; a RuleError if one that is not built in returns none."""
    rule = SCHEDULES[schedule]
    if not rule.is_own:
        return float(rule(progress))
    return checked_factor(rule, call(rule, SCHEDULES.kind, progress, seconds=config.run.rule_seconds))
