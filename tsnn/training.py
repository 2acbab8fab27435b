"""Training: generators of records. They write nothing and print nothing; consumers do."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np
import psutil

from tsnn import kernels
from tsnn.config import LIVE_SETTINGS, Config
from tsnn.datasets import Dataset
from tsnn.errors import DataError, DivergenceError
from tsnn.evolution import evolve, importance, prune_neurons, target_connections
from tsnn.memory import fitting_estimate
from tsnn.metrics import evaluate
from tsnn.network import Network, probe_gradient, train_batch
from tsnn.records import EpochRecord, Event, LayerRecord, Progress
from tsnn.workspace import Workspace


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
    >>> config = Config.preset("madelon").replace({"training.epochs": 3})
    >>> network = init_network(data.n_features, data.n_outputs, config.network, rng=rng)
    >>> [record.epoch for record in train(network, data, config, rng=rng)]
    [1, 2, 3]
    """
    return (record for record in steps(network, data, config, rng=rng) if isinstance(record, EpochRecord))


def steps(
    network: Network, data: Dataset, config: Config, *, rng: np.random.Generator
) -> Generator[Progress | EpochRecord, Config | None, None]:
    """Train like :func:`train`, but yield after every batch, and accept changed settings.

    Yields a :class:`~tsnn.records.Progress` after each batch and an
    :class:`~tsnn.records.EpochRecord` after each epoch. A configuration that is sent in comes into force
    between epochs: learning rate, dropout and percentile for the next epoch, zeta and epsilon for the
    evolution that precedes it. The record of the epoch where that happens carries an event per change.
    """
    _check_fit(network, data)
    kernels.set_threads(config.run.threads)
    shuffle_rng, dropout_rng, evolution_rng = rng.spawn(3)
    keys = _key_counter(dropout_rng, len(network.layers))
    n = len(data.x_train)
    batch = min(config.training.batch_size, n)
    nbytes = data.x_train.nbytes + data.x_test.nbytes
    estimate = fitting_estimate(config, data.n_features, data.n_outputs, n, data_bytes=nbytes)
    workspace = Workspace(network.sizes, estimate.micro_batch)
    pending, epsilon_met = config, config.network.epsilon
    events = [_dense_event(l, network) for l in range(len(network.layers)) if network.layers[l].topology.density == 1]

    for epoch in range(1, config.training.epochs + 1):
        started = time.perf_counter()
        config, changes = _take_up(config, pending, epoch - 1)
        events += changes
        loss = right = 0.0
        order = shuffle_rng.permutation(n)
        for start in range(0, n, batch):
            batch_loss, batch_right = train_batch(
                network, workspace, data.x_train, data.y_train, order[start : start + batch], task=data.task,
                config=config.training, dropout=config.network.dropout, key=next(keys),
            )  # fmt: skip
            loss += batch_loss
            right += batch_right
            if not math.isfinite(batch_loss):
                raise DivergenceError(_divergence_text(epoch, start // batch + 1, config))
            done = min(start + batch, n)
            pending = (yield Progress(epoch, done, n, loss / done)) or pending
        trained = time.perf_counter()

        test_loss, test_accuracy = evaluate(network, data.x_test, data.y_test, data.task, workspace)
        if not math.isfinite(test_loss):
            raise DivergenceError(_divergence_text(epoch, None, config))
        evaluated = time.perf_counter()

        in_force = config.training.learning_rate, config.network.dropout
        before = [layer.topology.connections for layer in network.layers]
        grown = [0] * len(network.layers)
        last = epoch == config.training.epochs
        if _importance_due(config, epoch) and not last:
            events += _prune_neurons(network, config, epoch)
        config, changes = _take_up(config, pending, epoch)
        events += changes
        new_epsilon = config.network.epsilon != epsilon_met
        if not last and config.network.topology == "set" and (config.training.zeta > 0 or new_epsilon):
            probe = None
            if config.training.regrow == "gradient":
                chosen = evolution_rng.permutation(n)[:batch]
                probe = functools.partial(
                    probe_gradient, network, workspace, data.x_train, data.y_train, chosen, data.task
                )
            grown = _evolve_all(network, config, new_epsilon, probe, evolution_rng)
            epsilon_met = config.network.epsilon
        evolved = time.perf_counter()

        record = EpochRecord(
            epoch=epoch,
            samples=epoch * n,
            train_loss=loss / n,
            test_loss=test_loss,
            train_accuracy=None if data.task == "regression" else right / n,
            test_accuracy=test_accuracy,
            seconds_train=trained - started,
            seconds_evolve=evolved - evaluated,
            seconds_evaluate=evaluated - trained,
            learning_rate=in_force[0],
            zeta=config.training.zeta,
            epsilon=config.network.epsilon,
            dropout=in_force[1],
            connections=network.connections,
            memory_bytes=psutil.Process().memory_info().rss,
            layers=tuple(_layer_record(network, l, before[l], grown[l]) for l in range(len(network.layers))),
            events=tuple(events),
        )
        events = []
        pending = (yield record) or pending


def _take_up(config: Config, pending: Config, epoch: int) -> tuple[Config, list[Event]]:
    """Put changed settings into force; one event for each that differs."""
    old, new = config.flat(), pending.flat()
    changes = [
        Event(epoch, "setting", f"{short} changed from {old[name]:g} to {new[name]:g}")
        for short, name in LIVE_SETTINGS.items()
        if old[name] != new[name]
    ]
    return pending, changes


def _importance_due(config: Config, epoch: int) -> bool:
    schedule = config.importance
    return schedule.percentile > 0 and epoch >= schedule.start and (epoch - schedule.start) % schedule.every == 0


def _prune_neurons(network: Network, config: Config, epoch: int) -> list[Event]:
    pruned = prune_neurons(network, config.importance.percentile)
    return [
        Event(epoch, "neurons_pruned", f"{count} neurons pruned from hidden layer {l}, {int(living.sum())} left")
        for l, (count, living) in enumerate(zip(pruned, network.living, strict=False), start=1)
        if count
    ]


def _evolve_all(
    network: Network, config: Config, new_epsilon: bool, probe: Callable[..., Any] | None, rng: np.random.Generator
) -> list[int]:
    """Evolve every layer but the output layer, one after the other; returns the connections grown in each.

    Only one layer exists twice at a time, and then without transposed view. ``probe`` tells the gradient, for
    gradient regrowth: that of the network as it is by then, its lower layers evolved.
    """
    grown = [0] * len(network.layers)
    for l in range(len(network.layers) - 1):
        connections = network.layers[l].topology.connections
        if probe is None:
            network.layers[l].topology.release()
        evolved = evolve(
            network.layers[l],
            target_connections(network, l, config.network.epsilon) if new_epsilon else connections,
            zeta=config.training.zeta,
            rule=config.training.prune,
            initializer=network.initializer,
            rng=rng,
            living_in=network.living_inputs(l),
            living_out=network.living[l],
            gradient=None if probe is None else functools.partial(probe, l),
        )
        network.layers[l] = evolved.layer
        grown[l] = evolved.grown
        del evolved
    return grown


def _layer_record(network: Network, l: int, before: int, grown: int) -> LayerRecord:
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


def _key_counter(rng: np.random.Generator, n_layers: int) -> Iterator[int]:
    """Yield a number for each step; it and the ``n_layers - 1`` that follow select that step's dropout masks."""
    key = int(rng.integers(2**62))
    while True:
        yield key
        key = (key + n_layers) % 2**62


def _dense_event(l: int, network: Network) -> Event:
    t = network.layers[l].topology
    return Event(0, "dense_layer", f"Layer {l + 1} ({t.n_in} to {t.n_out}) is dense: epsilon grants every connection")


def _divergence_text(epoch: int, batch: int | None, config: Config) -> str:
    where = f"epoch {epoch}" + (f", batch {batch}" if batch else ", evaluation")
    return (
        f"Training diverged in {where}: the loss is no longer finite at learning rate "
        f"{config.training.learning_rate:g}. Everything recorded before stays. Try a smaller learning rate."
    )


def _check_fit(network: Network, data: Dataset) -> None:
    if network.sizes[0] != data.n_features or network.sizes[-1] != data.n_outputs:
        raise DataError(
            f"The network takes {network.sizes[0]} features and gives {network.sizes[-1]} outputs, but {data.name} "
            f"has {data.n_features} features and {data.n_outputs} outputs. Create it with those numbers."
        )
