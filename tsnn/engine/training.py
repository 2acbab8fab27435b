"""Training: generators of records. They write nothing and print nothing; consumers do."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import psutil

from tsnn import kernels
from tsnn.config import LIVE_SETTINGS, Config
from tsnn.datasets import Dataset
from tsnn.engine.evolution import evolve, evolve_all, target_connections
from tsnn.engine.importance import importance, prune_neurons
from tsnn.engine.memory import fitting_estimate
from tsnn.engine.metrics import evaluate
from tsnn.engine.network import Network, batch_gradient, init_network, probe_gradient, train_batch
from tsnn.engine.state import KEYS, TrainingState
from tsnn.engine.workspace import Workspace
from tsnn.errors import DataError, DivergenceError
from tsnn.records import EpochRecord, Event, EventKind, LayerRecord, Progress
from tsnn.registry import REGROWTH
from tsnn.tiling import LANES, WIDE, fast_width


def train(network: Network, data: Dataset, config: Config, *, rng: np.random.Generator) -> Iterator[EpochRecord]:
    """Train a network and yield a record after every epoch.

    Parameters
    ----------
    network : Network
        Trained in place (:func:`tsnn.init_network`).
    data : Dataset
        Training and test part (:func:`tsnn.load_dataset`).
    config : Config
        Settings; of ``config.run`` only the threads matter here.
    rng : numpy.random.Generator
        Source of all randomness; same state, same bits, whatever the number of threads.

    Yields
    ------
    record : EpochRecord
        Leave the loop whenever you like: the network is as the last record says.

    Raises
    ------
    DivergenceError
        If the loss is no longer finite; names the epoch and the learning rate.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> data = load_dataset("madelon", size="small", rng=rng)
    >>> config = Config.preset("madelon").replace(epochs=3)
    >>> network = init_network(data.n_features, data.n_outputs, config, rng=rng)
    >>> [record.epoch for record in train(network, data, config, rng=rng)]
    [1, 2, 3]
    """
    state = TrainingState.begin(network, config, rng=rng)
    return (record for record in steps(state, data) if isinstance(record, EpochRecord))


def steps(state: TrainingState, data: Dataset) -> Iterator[Progress | EpochRecord]:
    """Train like :func:`train`, but from any state on, and yield after every batch.

    Yields a :class:`~tsnn.records.Progress` after each batch and an
    :class:`~tsnn.records.EpochRecord` after each epoch. Settings put into ``state.pending`` come into force
    between epochs: learning rate, dropout and percentile for the next epoch, zeta and epsilon for the
    evolution that precedes it. The record of the epoch where that happens carries an event per change.
    """
    network = state.network
    _check_fit(state, data)
    kernels.set_threads(state.config.run.threads)
    n, workspace = len(data.x_train), make_workspace(state, data)
    batch = min(state.config.training.batch_size, n)
    warm_up(state, data, workspace)

    while state.epoch < state.config.training.epochs:
        started = time.perf_counter()
        if not len(state.order):
            begin_epoch(state, data, workspace)
            state.order, state.done = state.shuffle.permutation(n), 0
        epoch, config = state.epoch + 1, state.config
        while state.done < n:
            loss, n_correct = train_batch(
                network, workspace, data.x_train, data.y_train, state.order[state.done : state.done + batch],
                task=data.task, config=config.training, dropout=config.network.dropout, key=state.key,
                weights=data.weights_train,
            )  # fmt: skip
            check_finite(loss, f"epoch {epoch}, batch {state.done // batch + 1}", config)
            state.key = (state.key + len(network.layers)) % KEYS
            state.loss += float(loss)
            state.n_correct += float(n_correct)
            state.done = min(state.done + batch, n)
            state.seconds += time.perf_counter() - started
            yield Progress(epoch, state.done, n, state.loss / state.done)
            started = time.perf_counter()

        yield end_epoch(state, data, workspace)


def make_workspace(state: TrainingState, data: Dataset) -> Workspace:
    """Return buffers for a batch, or for as much of it as fits into the memory."""
    shape = data.n_features, data.n_outputs, len(data.x_train)
    estimate = fitting_estimate(state.config, *shape, data_bytes=data.nbytes)
    return Workspace(state.network.sizes, estimate.micro_batch, compact=estimate.compact)


def warm_up(state: TrainingState, data: Dataset, workspace: Workspace) -> None:
    """Compile what training needs: pass through and evolve a network of a few neurons. The state is not touched.

    So compiling, which happens once on a machine, counts as nobody's time; and of several processes that start
    together one can compile while the others wait, and then find it on the disk.
    """
    few = state.config.replace({"network.hidden": [LANES, LANES], "network.epsilon": 1, "training.method": "set"})
    rng = np.random.default_rng(0)
    network = init_network(data.n_features, data.n_outputs, few, rng=rng)
    x, y = data.x_train, data.y_train
    batch = min(len(x), state.config.training.batch_size)
    for width in {fast_width(1, batch), fast_width(WIDE, batch), workspace.width}:  # other sizes shall compile nothing
        small = Workspace(network.sizes, width, compact=workspace.compact)
        chosen = np.arange(min(len(x), width))
        batch_gradient(network, small, x, y, chosen, task=data.task, dropout=few.network.dropout, key=0)
    probe = functools.partial(probe_gradient, network, small, x, y, chosen, data.task)
    evolve_all(network, few, True, probe if _needs_gradient(few) else None, rng)


def begin_epoch(state: TrainingState, data: Dataset, workspace: Workspace) -> None:
    """Take up changed settings, and make up for the evolution that a run left out because it was to end."""
    if state.evolution_due:
        _evolve(state, data, workspace)
        text = f"The run goes on: evolution after epoch {state.epoch} made up for"
        state.events.append(Event(state.epoch, EventKind.EVOLUTION, text))
    _apply_pending_settings(state)
    state.loss = state.n_correct = state.seconds = 0.0


def end_epoch(state: TrainingState, data: Dataset, workspace: Workspace) -> EpochRecord:
    """Evaluate the network, evolve it unless the run is over, and return the record of the epoch.

    Whoever has trained: one process here, or the workers of :mod:`tsnn.parallel`.

    Parameters
    ----------
    state : TrainingState
        At the end of an epoch's training; ``loss``, ``right`` and ``seconds`` tell of it. Advanced to the next.
    data : Dataset
        The test and validation parts are evaluated; of the training part, gradient regrowth looks at one batch.
    workspace : Workspace
        Buffers; overwritten.

    Raises
    ------
    DivergenceError
        If the test loss is no longer finite.
    """
    network, config, epoch, n = state.network, state.config, state.epoch + 1, len(data.x_train)
    started = time.perf_counter()
    test_loss, test_accuracy = evaluate(network, data.x_test, data.y_test, data.task, workspace, data.weights_test)
    if len(data.x_test):
        check_finite(test_loss, f"epoch {epoch}, evaluation", config)
    validation_loss, validation_accuracy = validate(network, data, workspace)
    evaluated = time.perf_counter()

    before = [layer.topology.connections for layer in network.layers]
    grown = [0] * len(network.layers)
    state.epoch, state.order, state.done = epoch, state.order[:0], 0
    state.evolution_due = epoch == config.training.epochs
    if state.evolution_due:
        _apply_pending_settings(state)
    else:
        grown = _evolve(state, data, workspace)
    evolved = time.perf_counter()

    record = EpochRecord(
        epoch=epoch,
        samples=epoch * n,
        train_loss=state.loss / n,
        test_loss=test_loss,
        train_accuracy=None if data.task == "regression" else state.n_correct / n,
        test_accuracy=test_accuracy,
        seconds_train=state.seconds,
        seconds_evolve=evolved - evaluated,
        seconds_evaluate=evaluated - started,
        settings=_live_values(config) | {name: _live_values(state.config)[name] for name in ("zeta", "epsilon")},
        connections=network.connections,
        memory_bytes=psutil.Process().memory_info().rss,
        layers=tuple(layer_record(network, l, before[l], grown[l]) for l in range(len(network.layers))),
        events=tuple(state.events),
        validation_loss=validation_loss,
        validation_accuracy=validation_accuracy,
    )
    state.events = []
    return record


def validate(network: Network, data: Dataset, workspace: Workspace) -> tuple[float | None, float | None]:
    """Return loss and accuracy on the samples held back; None where there are none."""
    if data.x_validation is None or data.y_validation is None:
        return None, None
    return evaluate(network, data.x_validation, data.y_validation, data.task, workspace)


def _apply_pending_settings(state: TrainingState) -> None:
    """Put changed settings into force; one event for each that differs."""
    old, new = state.config.flat(), state.pending.flat()
    state.events += [
        Event(state.epoch, EventKind.SETTING, f"{short} changed from {old[name]:g} to {new[name]:g}")
        for short, name in LIVE_SETTINGS.items()
        if old[name] != new[name]
    ]
    state.config = state.pending


def _evolve(state: TrainingState, data: Dataset, workspace: Workspace) -> list[int]:
    """Prune neurons, take up changed settings, evolve: what comes after an epoch, as far as it is due.

    Returns the connections grown in each layer.
    """
    network = state.network
    if _importance_due(state.config, state.epoch):
        state.events += _prune_neurons(network, state.config, state.epoch)
    _apply_pending_settings(state)
    state.evolution_due = False
    config = state.config
    if config.training.method == "two_phase":
        if state.epoch == config.training.epochs // 2:
            _end_dense_phase(state)
        return [0] * len(network.layers)
    new_epsilon = config.network.epsilon != state.applied_epsilon
    due = state.epoch % state.evolution_every == 0
    if config.training.method != "set" or not due or not (config.training.zeta > 0 or new_epsilon):
        return [0] * len(network.layers)
    state.applied_epsilon = config.network.epsilon
    probe = None
    if _needs_gradient(config):
        chosen = state.evolution.permutation(len(data.x_train))[: config.training.batch_size]
        probe = functools.partial(
            probe_gradient, network, workspace, data.x_train, data.y_train, chosen, data.task,
            weights=data.weights_train,
        )  # fmt: skip
    return evolve_all(network, config, new_epsilon, probe, state.evolution)


def _live_values(config: Config) -> dict[str, float]:
    flat = config.flat()
    return {short: flat[name] for short, name in LIVE_SETTINGS.items()}


def _needs_gradient(config: Config) -> bool:
    return REGROWTH[config.training.regrow].needs == "gradient"


def _importance_due(config: Config, epoch: int) -> bool:
    schedule = config.importance
    return schedule.percentile > 0 and epoch >= schedule.start and (epoch - schedule.start) % schedule.every == 0


def _prune_neurons(network: Network, config: Config, epoch: int) -> list[Event]:
    pruned = prune_neurons(network, config.importance.percentile)
    return [
        Event(
            epoch, EventKind.NEURONS_PRUNED, f"{count} neurons pruned from hidden layer {l}, {int(living.sum())} left"
        )
        for l, (count, living) in enumerate(zip(pruned, network.living, strict=False), start=1)
        if count
    ]


def _end_dense_phase(state: TrainingState) -> None:
    """Prune every layer by magnitude to the number of connections that epsilon stands for."""
    network, before = state.network, state.network.connections
    for l, layer in enumerate(network.layers):
        connections = target_connections(network, l, state.config.network.epsilon)
        if connections < layer.topology.connections:
            layer.topology.release()
            network.layers[l] = evolve(
                layer, connections, zeta=0, prune="magnitude", initializer=network.initializer, rng=state.evolution
            ).layer
    if network.connections < before:
        text = (
            f"The dense phase is over: pruned from {before:,} to {network.connections:,} connections, to be retrained"
        )
        state.events.append(Event(state.epoch, EventKind.TWO_PHASE, text))


def layer_record(network: Network, l: int, before: int, grown: int) -> LayerRecord:
    """Return what there is to know of a layer that had ``before`` connections and then got ``grown`` new ones."""
    layer, t, living = network.layers[l], network.layers[l].topology, network.living[l]
    return LayerRecord(
        n_in=t.n_in,
        n_out=t.n_out,
        connections=t.connections,
        density=t.density,
        pruned=before + grown - t.connections,
        grown=grown,
        living=int(living.sum()),
        importance=tuple(float(q) for q in np.percentile(importance(layer)[living], (0, 25, 50, 75, 100))),
        in_degree=_spread(t.in_degree[living]),
        out_degree=_spread(t.out_degree[network.living_inputs(l)]),
    )


def _spread(degrees: Any) -> tuple[int, ...]:
    return int(degrees.min()), int(np.median(degrees)), int(degrees.max())


def check_finite(loss: float, where: str, config: Config) -> None:
    """Raise a :class:`~tsnn.errors.DivergenceError` if a loss is not finite."""
    if not math.isfinite(loss):
        raise DivergenceError(
            f"Training diverged in {where}: the loss is no longer finite at learning rate "
            f"{config.training.learning_rate:g}. Everything recorded before stays. Try a smaller learning rate."
        )


def _check_fit(state: TrainingState, data: Dataset) -> None:
    sizes, n = state.network.sizes, len(data.x_train)
    if sizes[0] != data.n_features or sizes[-1] != data.n_outputs:
        raise DataError(
            f"The network takes {sizes[0]} features and gives {sizes[-1]} outputs, but {data.name} "
            f"has {data.n_features} features and {data.n_outputs} outputs. Create it with those numbers."
        )
    if len(state.order) and not np.array_equal(np.sort(state.order), np.arange(n)):
        raise DataError(f"The state is that of an epoch of {len(state.order)} samples, but {data.name} has {n}.")
