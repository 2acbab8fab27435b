"""Training: generators of records. They write no file and print nothing; their consumers do."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np

from tsnn import kernels
from tsnn.config import Config
from tsnn.datasets import Dataset
from tsnn.datasets.augmentation import training_features
from tsnn.engine.batches import Batch, train_batch
from tsnn.engine.epochs import begin_epoch, check_finite, end_epoch, evolve_between_batches
from tsnn.engine.memory import check_memory
from tsnn.engine.network import Network
from tsnn.engine.optimizers import prepare_state
from tsnn.engine.schedules import rates_at
from tsnn.engine.state import KEYS, TrainingState
from tsnn.engine.warmup import compile_evolution, warm_up
from tsnn.engine.workspace import Workspace
from tsnn.errors import DataError
from tsnn.records import EpochRecord, Progress
from tsnn.tiling import fast_width


def train(network: Network, data: Dataset, config: Config, *, rng: np.random.Generator) -> Iterator[EpochRecord]:
    """Train a network and yield a record after every epoch.

    Parameters
    ----------
    network : Network
        Trained in place (:func:`tsnn.init_network`).
    data : Dataset
        Training and test part (:func:`tsnn.load_dataset`).
    config : Config
        Settings; of ``config.run`` the threads, the micro-batch and ``compact``.
    rng : numpy.random.Generator
        Source of all randomness; same state, same bits, for any number of threads.

    Yields
    ------
    record : EpochRecord
        The network is in the state that the last record describes, also after leaving the loop early.

    Raises
    ------
    ConfigError
        If the run is not expected to fit into the free memory; names the settings that would fit.
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
    shape = data.n_features, data.n_outputs, len(data.x_train) + len(data.x_test)
    check_memory(config, *shape, data_bytes=data.nbytes)
    state = TrainingState.begin(network, config, rng=rng)
    return (record for record in steps(state, data) if isinstance(record, EpochRecord))


def steps(state: TrainingState, data: Dataset) -> Iterator[Progress | EpochRecord]:
    """Train from any state on, and yield after every batch and every epoch.

    Yields a :class:`~tsnn.records.Progress` after each batch and an
    :class:`~tsnn.records.EpochRecord` after each epoch. Settings put into ``state.pending`` are applied
    between epochs: learning rate, dropout and percentile for the next epoch, zeta and epsilon for the
    evolution that precedes it. The record of the epoch where that happens carries an event per change.
    """
    network = state.network
    network.prepare_for_kernels()
    prepare_state(network, state.config.training.optimizer)
    _check_fit(state, data)
    kernels.set_threads(state.config.run.threads)
    n, workspace = len(data.x_train), make_workspace(state, data)
    batch = min(state.config.training.batch_size, n)
    features = training_features(data, state.config.training)
    warm_up(data, state.config, workspace.width)
    if not kernels.helper_is_busy():  # else the end of the first epoch waits for it
        compile_evolution(state.config)

    while state.epoch < state.config.training.epochs:
        started = time.perf_counter()
        if not len(state.order):
            begin_epoch(state, data, workspace)
            state.order, state.done = state.shuffle.permutation(n), 0
        epoch, config = state.epoch + 1, state.config
        while state.done < n:
            chosen = Batch.of(data, state.order[state.done : state.done + batch], features(state.key))
            trained = state.epoch + state.done / n
            loss, n_correct = train_batch(
                network, workspace, chosen, rates=rates_at(config, trained), key=state.key,
                optimizer=config.training.optimizer, seconds=config.run.rule_seconds,
            )  # fmt: skip
            check_finite(loss, f"epoch {epoch}, batch {state.done // batch + 1}", config)
            state.key = (state.key + len(network.layers)) % KEYS
            state.loss += float(loss)
            state.n_correct += float(n_correct)
            state.done = min(state.done + batch, n)
            state.seconds += time.perf_counter() - started
            if state.done < n:
                evolve_between_batches(state, data, workspace, trained)
            yield Progress(epoch, state.done, n, state.loss / state.done)
            started = time.perf_counter()

        yield end_epoch(state, data, workspace)


def make_workspace(state: TrainingState, data: Dataset) -> Workspace:
    """Return buffers for a micro-batch: ``run.micro_batch``, or the fastest number of samples.

    The width decides rounding, so it depends on settings and shapes only, never on the free memory.
    """
    width = workspace_width(state.config, state.network.sizes, len(data.x_train))
    config = state.config
    return Workspace(state.network.sizes, width, compact=config.run.compact, precision=config.training.precision)


def workspace_width(config: Config, sizes: Sequence[int], n_train: int) -> int:
    """Return the samples at a time in training, for layers of these sizes and a number of training samples."""
    batch = min(config.training.batch_size, n_train)
    return min(config.run.micro_batch, batch) or fast_width(max(sizes), batch, config.training.precision)


def _check_fit(state: TrainingState, data: Dataset) -> None:
    sizes, n = state.network.sizes, len(data.x_train)
    if sizes[0] != data.n_features or sizes[-1] != data.n_outputs:
        raise DataError(
            f"The network takes {sizes[0]} features and gives {sizes[-1]} outputs, but {data.name} "
            f"has {data.n_features} features and {data.n_outputs} outputs. Create it with those numbers."
        )
    if len(state.order) and not np.array_equal(np.sort(state.order), np.arange(n)):
        raise DataError(f"The state is that of an epoch of {len(state.order)} samples, but {data.name} has {n}.")
