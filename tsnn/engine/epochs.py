"""Epochs: evaluation, importance pruning and evolution between two passes over the training part.

One process calls this after its own pass, the server of a parallel run after those of its workers.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import psutil

from tsnn.config import LIVE_SETTINGS, Config, LiveValue, TrainingConfig
from tsnn.datasets import Dataset
from tsnn.engine.batches import Batch
from tsnn.engine.evolution import evolve_all, target_connections, thin, wanted_connections
from tsnn.engine.exploration import Explored, gradient_flow
from tsnn.engine.importance import prune_neurons
from tsnn.engine.metrics import Evaluation, evaluate_part, layer_record
from tsnn.engine.network import Network
from tsnn.engine.probe import Probe
from tsnn.engine.schedules import is_due, scheduled_at, zeta_at
from tsnn.engine.state import TrainingState
from tsnn.engine.workspace import Workspace
from tsnn.errors import DivergenceError
from tsnn.records import EpochRecord, Event, EventKind, LayerRecord
from tsnn.registry import PRUNING, REGROWTH

#: Live settings that a record holds as they were in the evolution after the epoch.
_OF_EVOLUTION = ("zeta", "epsilon", "prune", "regrow")


def dense_epochs(training: TrainingConfig) -> int:
    """Return the number of epochs of the dense phase: half of all with the method ``two_phase``, else 0."""
    return training.epochs // 2 if training.method == "two_phase" else 0


def begin_epoch(state: TrainingState, data: Dataset, workspace: Workspace) -> None:
    """Apply pending settings, and first run the evolution that was omitted because the run was to end."""
    if state.config.run.measures and state.explored is None:  # the run begins, or is a fork that turned it on
        state.explored = Explored(state.network)
    if state.evolution_due:
        _evolve(state, data, workspace)
        text = f"Resumed after epoch {state.epoch} (the pending evolution was done first)"
        state.events.append(Event(state.epoch, EventKind.EVOLUTION, text))
        _explored_rates(state)
    _apply_pending_settings(state)
    state.loss = state.n_correct = state.seconds = state.seconds_evolve = 0.0
    state.grown = []


def end_epoch(state: TrainingState, data: Dataset, workspace: Workspace) -> EpochRecord:
    """Evaluate the network, evolve it unless the run is over, and return the record of the epoch.

    Parameters
    ----------
    state : TrainingState
        At the end of an epoch's training, of which ``loss``, ``n_correct`` and ``seconds`` are the sums. Advanced to
        the next epoch.
    data : Dataset
        The test and validation parts are evaluated; of the training part, gradient regrowth uses one batch.
    workspace : Workspace
        Buffers; overwritten.

    Raises
    ------
    DivergenceError
        If the test loss is no longer finite.
    """
    network, config, epoch, n = state.network, state.config, state.epoch + 1, len(data.x_train)
    started = time.perf_counter()
    test = evaluate_on_test_part(state, network, data, workspace, f"epoch {epoch}, evaluation")
    validation = validate(network, data, workspace)
    examined = examine(state, network, epoch, workspace)
    evaluated = time.perf_counter()
    flow = _gradient_flow(state, data, workspace)
    probed = time.perf_counter()

    before = [layer.topology.connections for layer in network.layers]
    grown = [0] * len(network.layers)
    state.epoch, state.order, state.done = epoch, state.order[:0], 0
    state.evolution_due = epoch == config.training.epochs
    if state.evolution_due:
        _apply_pending_settings(state)
    else:
        grown = _evolve(state, data, workspace)
    grown = [sum(counts) for counts in zip(*filter(None, (grown, state.grown)), strict=True)]
    evolved = time.perf_counter()
    itop = _explored_rates(state)
    measuring = probed - evaluated + time.perf_counter() - evolved
    layers = [layer_record(network, l, before[l], grown[l]) for l in range(len(network.layers))]

    record = EpochRecord(
        epoch=epoch,
        samples=epoch * n,
        train_loss=state.loss / n,
        test_loss=test.loss,
        train_accuracy=None if data.task == "regression" else state.n_correct / n,
        test_accuracy=test.accuracy,
        seconds_train=state.seconds,
        seconds_evolve=evolved - probed + state.seconds_evolve,
        seconds_evaluate=evaluated - started - examined,
        settings=_live_values(config) | {name: _live_values(state.config)[name] for name in _OF_EVOLUTION},
        connections=network.connections,
        memory_bytes=psutil.Process().memory_info().rss,
        layers=tuple(map(_with_measures, layers, itop, flow)),
        events=tuple(state.events),
        validation_loss=validation.loss,
        validation_accuracy=validation.accuracy,
        train_r2=None if data.target_scale is None else state.n_correct / n,
        test_r2=test.r2,
        validation_r2=validation.r2,
        seconds_examine=examined,
        seconds_measure=measuring if state.explored else 0.0,
        scheduled=_scheduled(config, state.config, epoch),
    )
    state.events = []
    return record


def evaluate_on_test_part(
    state: TrainingState, network: Network, data: Dataset, workspace: Workspace, where: str
) -> Evaluation:  # fmt: skip
    """Return the results of a network on the test part, with its answers for the state's examiner.

    Raises
    ------
    DivergenceError
        If the loss is not finite; ``where`` is said in the message.
    """
    answers = None if state.examiner is None else state.examiner.answers
    test = evaluate_part(network, data, "test", workspace, answers)
    if len(data.x_test):
        check_finite(test.loss, where, state.config)
    return test


def examine(state: TrainingState, network: Network, epoch: int, workspace: Workspace) -> float:
    """Let the state's examiner look at the last test; return the seconds that it took."""
    return 0.0 if state.examiner is None else state.examiner.examine(network, epoch, workspace)


def _gradient_flow(state: TrainingState, data: Dataset, workspace: Workspace) -> Sequence[float | None]:
    """Return the gradient flow of each layer; None without ``run.measures``."""
    if state.explored is None:
        return [None] * len(state.network.layers)
    config = state.config
    return gradient_flow(state.network, data, workspace, config.training.batch_size, config.run.seed)


def _explored_rates(state: TrainingState) -> Sequence[float | None]:
    """Return the ITOP rate of each layer, its present connections included; None without ``run.measures``."""
    if state.explored is None:
        return [None] * len(state.network.layers)
    state.explored.update(state.network)
    return state.explored.rates


def _with_measures(layer: LayerRecord, itop: float | None, flow: float | None) -> LayerRecord:
    return layer if itop is None else dataclasses.replace(layer, itop=itop, gradient_flow=flow)


class Validation(NamedTuple):
    """Results on the validation split; None without one."""

    loss: float | None = None
    accuracy: float | None = None
    r2: float | None = None


def validate(network: Network, data: Dataset, workspace: Workspace) -> Validation:
    """Return the results of a network on the validation split."""
    if data.x_validation is None or data.y_validation is None:
        return Validation()
    return Validation(*evaluate_part(network, data, "validation", workspace))


def _apply_pending_settings(state: TrainingState) -> None:
    """Make the pending settings the current ones, with one event for each that differs."""
    old, new = state.config.flat(), state.pending.flat()
    state.events += [
        Event(state.epoch, EventKind.SETTING, f"{short} changed from {_text(old[name])} to {_text(new[name])}")
        for short, name in LIVE_SETTINGS.items()
        if old[name] != new[name]
    ]
    state.config = state.pending


def _evolve(state: TrainingState, data: Dataset, workspace: Workspace) -> list[int]:
    """Prune neurons, apply pending settings and evolve, as far as each is due after this epoch.

    Returns the connections grown in each layer.
    """
    network = state.network
    if _importance_due(state.config, state.epoch):
        state.events += _prune_neurons(network, state.config, state.epoch)
    _apply_pending_settings(state)
    state.evolution_due = False
    if state.epoch == dense_epochs(state.config.training):
        _end_dense_phase(state)
    training, n, nothing = state.config.training, len(data.x_train), [0] * len(network.layers)
    if training.method != "set" or state.epoch % state.evolution_every:
        return nothing
    new_epsilon = state.config.network.epsilon != state.applied_epsilon
    before = state.epoch - ((n - 1) % training.batch_size + 1) / n  # the last batch
    due = is_due(training.evolve_every * state.evolution_every, before, state.epoch)
    zeta = zeta_at(state.config, state.epoch) if due else 0.0
    wanted = wanted_connections(network, state.config, state.epoch, new_epsilon) if due or new_epsilon else None
    if not (zeta or wanted):
        return nothing
    state.applied_epsilon = state.config.network.epsilon
    return _evolve_layers(state, data, workspace, zeta, wanted)


def evolve_between_batches(state: TrainingState, data: Dataset, workspace: Workspace, before: float) -> None:
    """Evolve within an epoch if that is due (``training.evolve_every``); the record of the epoch counts it.

    Parameters
    ----------
    state : TrainingState
        After a batch that is not the last of its epoch.
    data, workspace
        See :func:`end_epoch`.
    before : float
        Epochs trained before the batch.
    """
    training, after = state.config.training, state.epoch + state.done / len(data.x_train)
    if training.method != "set" or not is_due(training.evolve_every * state.evolution_every, before, after):
        return
    zeta, started = zeta_at(state.config, after), time.perf_counter()
    wanted = wanted_connections(state.network, state.config, after)
    if not (zeta or wanted):
        return
    grown = _evolve_layers(state, data, workspace, zeta, wanted)
    state.grown = [sum(counts) for counts in zip(*filter(None, (grown, state.grown)), strict=True)]
    state.seconds_evolve += time.perf_counter() - started
    _explored_rates(state)


def _evolve_layers(
    state: TrainingState, data: Dataset, workspace: Workspace, zeta: float, wanted: list[int] | None
) -> list[int]:
    """Replace the fraction zeta of the connections; return the connections grown in each layer."""
    network, config = state.network, state.config
    if zeta != config.training.zeta:  # else nothing is checked again in every evolution
        config = config.replace({"training.zeta": zeta})
    probe = None
    if needs_probe(config):
        rows = state.evolution.permutation(len(data.x_train))[: config.training.batch_size]
        probe = Probe(network, workspace, Batch.of(data, rows))
    progress = (state.epoch + state.done / len(data.x_train)) / config.training.epochs
    return evolve_all(network, config, wanted, probe, state.evolution, progress)


def _live_values(config: Config) -> dict[str, LiveValue]:
    flat = config.flat()
    return {short: flat[name] for short, name in LIVE_SETTINGS.items()}


def _scheduled(before: Config, after: Config, epoch: int) -> dict[str, float]:
    """Return the scheduled values of an epoch, and of the evolution after it, which has its own settings."""
    of_epoch, of_evolution = scheduled_at(before, epoch), scheduled_at(after, epoch)
    return {**{name: value for name, value in of_epoch.items() if name not in _OF_EVOLUTION},
            **{name: value for name, value in of_evolution.items() if name in _OF_EVOLUTION}}  # fmt: skip


def _text(value: LiveValue) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def needs_probe(config: Config) -> bool:
    """Return whether a rule of evolution needs the gradient or the activations of a batch."""
    needs = {REGROWTH[config.training.regrow].needs, PRUNING[config.training.prune].needs}
    return bool(needs & {"gradient", "activations"})


def _importance_due(config: Config, epoch: int) -> bool:
    schedule = config.importance
    return schedule.percentile > 0 and epoch >= schedule.start and (epoch - schedule.start) % schedule.every == 0


def _prune_neurons(network: Network, config: Config, epoch: int) -> list[Event]:
    pruned = prune_neurons(network, config.importance.percentile, config.importance.scope)
    return [
        Event(
            epoch, EventKind.NEURONS_PRUNED, f"{count} neurons pruned from hidden layer {l}, {int(living.sum())} left"
        )
        for l, (count, living) in enumerate(zip(pruned, network.living, strict=False), start=1)
        if count
    ]


def _end_dense_phase(state: TrainingState) -> None:
    """Prune every layer by magnitude to the number of connections that epsilon or density grants."""
    network, before = state.network, state.network.connections
    wanted = target_connections(network, state.config)
    for l, connections in enumerate(wanted):
        thin(network, l, connections, state.evolution)
    if network.connections < before:
        text = f"Dense phase ended: pruned from {before:,} to {network.connections:,} connections"
        state.events.append(Event(state.epoch, EventKind.TWO_PHASE, text))


def check_finite(loss: float, where: str, config: Config) -> None:
    """Raise a :class:`~tsnn.errors.DivergenceError` if a loss is not finite."""
    if not math.isfinite(loss):
        rate = config.training.learning_rate
        dense = " Dense networks need smaller steps than sparse ones." if config.training.method == "dense" else ""
        raise DivergenceError(
            f"Training diverged in {where}: the loss is no longer finite at learning rate {rate:g}. Try a smaller "
            f"learning rate, such as {rate / 10:g}.{dense}"
        )
