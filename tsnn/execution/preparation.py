"""Preparation of a run: its data, its checkpoint or initial network, and its memory estimate."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tsnn import kernels
from tsnn.config import Config
from tsnn.datasets import Dataset
from tsnn.engine.memory import MemoryEstimate, check_memory, memory_estimate
from tsnn.engine.network import init_network
from tsnn.engine.serialization import unpack
from tsnn.engine.state import TrainingState
from tsnn.engine.training import workspace_width
from tsnn.engine.warmup import EVOLUTION_SETTINGS, compile_evolution, topology_stages, training_stages
from tsnn.errors import DataError, RunError
from tsnn.execution.provenance import data_path, generators, load_data, provenance
from tsnn.execution.rules import load_rules
from tsnn.jobs.launch import clean_environment
from tsnn.machine import available_cores
from tsnn.parallel.schedule import Phase1Schedule
from tsnn.records import Compilation
from tsnn.runs import Run
from tsnn.runs.checkpoints import Checkpoint, read_checkpoint
from tsnn.runs.features import store_features
from tsnn.runs.rules import own_rules, rules_meta
from tsnn.runs.writer import RunWriter

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preparation:
    """Starting point of training.

    Attributes
    ----------
    data : Dataset
        The run's data.
    state : TrainingState
        That of the checkpoint, or the initial one.
    checkpoint : Checkpoint or None
        Checkpoint that the run is resumed from.
    estimate : MemoryEstimate
        Memory estimate, with the micro-batch.
    resumed : bool
        Whether the run has been started before.
    check_change : callable
        Called with the configuration before and after a live change: raises a ConfigError if the change needs memory
        that is not there, and compiles kernels for other rules of evolution.
    previous : mapping
        Status at the end of the previous attempt; empty if there was none.
    warnings : tuple of str
        Warnings about the data.
    """

    data: Dataset
    state: TrainingState
    checkpoint: Checkpoint | None
    estimate: MemoryEstimate
    resumed: bool
    check_change: Callable[[Config, Config], None]
    previous: Mapping[str, Any]
    warnings: tuple[str, ...] = ()


def prepare(run: Run, writer: RunWriter, kind: str, processes: int) -> Generator[Compilation, None, Preparation]:
    """Load the data and the state that training starts from; writes the run's ``meta.json`` at its first start.

    The kernels of a sequential run are compiled meanwhile; yields the stages of that.

    Parameters
    ----------
    run : Run
        The run.
    writer : RunWriter
        Its writer.
    kind : {"sequential", "parallel"}
        Kind of engine.
    processes : int
        Number of ranks on this machine.

    Raises
    ------
    TsnnError
        If the data cannot be loaded or have changed, no checkpoint can be read, or memory is short.
    """
    load_rules(run)
    config, meta = run.wanted_config(), run.meta()
    previous = run.previous_status()
    data_rng, init_rng, rng = generators(config)
    path = data_path(config, meta)
    with _collecting_warnings() as warnings:
        data = load_data(config, data_rng, path)
    _check_digest(run, meta, data)
    checkpoint = read_checkpoint(run, kind)
    state = _restore(run, checkpoint, config) if checkpoint else None
    if state is not None:
        config = state.config
    shape = data.n_features, data.n_outputs, len(data.x_train) + len(data.x_test)
    estimate = memory_estimate(config, *shape, data_bytes=data.nbytes, processes=processes)
    estimate = dataclasses.replace(estimate, streamed=data.stored_bytes)
    log.info("Memory: %s", estimate)
    if not meta:
        writer.meta(store_features(run, provenance(config, data, estimate, path) | rules_meta(run.path)))
    check = functools.partial(
        check_memory, n_features=shape[0], n_outputs=shape[1], n_samples=shape[2], data_bytes=data.nbytes,
        processes=processes,
    )  # fmt: skip
    check(config if state is None else state.pending)
    config = config.replace({"run.micro_batch": estimate.micro_batch}) if state is None else config
    if kind == "sequential":
        yield from _compile(config, data)
    if state is None:
        network = init_network(data.n_features, data.n_outputs, config, rng=init_rng)
        state = TrainingState.begin(network, config, rng=rng)
    run.accept_epochs()
    warnings = list(dict.fromkeys((*warnings, *data.warnings)))
    change = functools.partial(_check_change, check, data)
    return Preparation(data, state, checkpoint, estimate, bool(meta), change, previous, tuple(warnings))


def _check_change(check: Callable[[Config], None], data: Dataset, before: Config, after: Config) -> None:
    """Check the memory for a live change that takes more of it; compile kernels for other rules of evolution.

    ``check`` raises a ConfigError if there is too little memory for a configuration.
    """
    shape = data.n_features, data.n_outputs, len(data.x_train) + len(data.x_test)
    if memory_estimate(after, *shape).total > memory_estimate(before, *shape).total:
        check(after)
    if (before.training.prune, before.training.regrow) != (after.training.prune, after.training.regrow):
        compile_evolution(after)


def check_workers(run: Run) -> None:
    """Refuse a parallel run that has too few batches or too little memory for its workers.

    Raises
    ------
    TsnnError
        The message names how many workers there may be.
    """
    config = run.wanted_config()
    data = load_data(config, generators(config)[0], data_path(config, run.meta()))
    workers, samples = config.parallel.workers, len(data.x_train)
    Phase1Schedule.plan([len(range(rank, samples, workers)) for rank in range(workers)], config)
    n_samples = samples + len(data.x_test)
    check_memory(
        config, data.n_features, data.n_outputs, n_samples, data_bytes=data.nbytes, processes=1 + workers
    )  # fmt: skip


def _compile(config: Config, data: Dataset) -> Iterator[Compilation]:
    """Compile the kernels that are needed until the first batch is done, the first of them first."""
    sizes = data.n_features, *config.network.hidden, data.n_outputs
    width = workspace_width(config, sizes, len(data.x_train))
    kernels.set_threads(config.run.threads)
    stages = [*training_stages(data, config, width), *topology_stages(config)]
    for number, (name, run) in enumerate(stages, start=1):
        yield Compilation(number, len(stages), name)
        run()


@contextlib.contextmanager
def compilation_helper(config: Config) -> Iterator[None]:
    """Compile some of the kernels in a second process, if a sequential run needs them and a core is free."""
    if config.parallel.workers or available_cores() < 2 or kernels.is_cached(kernels.merge_connections):
        yield
        return
    own = {name for _, name in own_rules(config)}  # unknown to the second process
    flat = config.flat()
    settings = {name: flat[name] for name in EVOLUTION_SETTINGS if flat[name] not in own}
    command = [sys.executable, "-m", "tsnn.engine.warmup", json.dumps(settings)]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, env=clean_environment(), stdin=quiet, stdout=quiet, stderr=quiet)
    kernels.set_helper(process)
    try:
        yield
    finally:
        kernels.set_helper(None)
        process.kill()
        process.wait()


@contextlib.contextmanager
def _collecting_warnings() -> Iterator[list[str]]:
    """Collect the warnings that tsnn logs, as sentences."""
    handler = _Collector(logging.WARNING)
    logger = logging.getLogger("tsnn")
    logger.addHandler(handler)
    try:
        yield handler.messages
    finally:
        logger.removeHandler(handler)


class _Collector(logging.Handler):
    """Handler that keeps messages."""

    def __init__(self, level: int):
        super().__init__(level)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def _check_digest(run: Run, meta: Mapping[str, Any], data: Dataset) -> None:
    before = meta.get("data", {}).get("digest", data.digest)
    if before != data.digest:
        raise DataError(
            f"The data of run {run.id} have changed since it began: {data.name} from {data.source} now has "
            f"the content hash {data.digest}, not {before}. Restore the old data, or start a new run."
        )


def _restore(run: Run, checkpoint: Checkpoint, config: Config) -> TrainingState:
    """Return the state of a checkpoint, with the settings of ``config`` that may differ when a run is resumed."""
    try:
        state = unpack(checkpoint.values["state"], checkpoint.arrays)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise RunError(
            f"Run {run.id} cannot be resumed: the content of its newest checkpoint is damaged "
            f"({type(error).__name__}: {error}). Remove that file to resume from the one before."
        ) from error
    config = _resumed_config(state.config, config)
    state.pending = _resumed_config(state.pending, config)
    state.config = config
    return state


def _resumed_config(saved: Config, config: Config) -> Config:
    """Return the settings of a checkpoint with the number of epochs and the section ``run`` of ``config``."""
    run = dataclasses.replace(config.run, micro_batch=saved.run.micro_batch)
    return dataclasses.replace(saved.replace({"training.epochs": config.training.epochs}), run=run)
