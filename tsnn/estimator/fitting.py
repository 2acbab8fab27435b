"""Fitting: a consumer of training that keeps the records, stops early and shows a progress bar."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tqdm import tqdm

from tsnn.datasets import Dataset
from tsnn.engine.epochs import dense_epochs
from tsnn.engine.network import Network
from tsnn.engine.state import TrainingState
from tsnn.engine.training import steps
from tsnn.records import EpochRecord, Progress

#: Trains a state on data, as :func:`tsnn.engine.training.steps`.
Train = Callable[[TrainingState, Dataset], Iterator[Progress | EpochRecord]]


@dataclass(frozen=True)
class Patience:
    """Early stopping: training ends after ``epochs`` epochs that do not lower the validation loss by over ``tol``."""

    epochs: int
    tol: float


def fit_network(
    state: TrainingState, data: Dataset, *, patience: Patience | None = None, samples: int = 0, progress: bool = False,
    train: Train = steps,
) -> tuple[list[EpochRecord], int]:  # fmt: skip
    """Train a network to the end, or until the loss on the test part no longer improves.

    Parameters
    ----------
    state : TrainingState
        Advanced. If it ends early its network is that of the lowest loss.
    data : Dataset
        Its test part is the validation split of early stopping; it may be empty.
    patience : Patience, optional
        When to stop early. With the method ``two_phase`` it counts after the dense phase, as does the lowest loss.
    samples : int
        Samples seen in the epochs that are finished already.
    progress : bool
        Show a progress bar on standard error.
    train : callable
        Generator that trains.

    Returns
    -------
    records, best_epoch : list of EpochRecord, int
        A record of each epoch, and the epoch whose network was kept.
    """
    records: list[EpochRecord] = []
    best = candidate = state.network
    best_loss = reference = math.inf
    best_epoch = waited = 0
    epochs = state.config.training.epochs - state.epoch
    with tqdm(total=epochs, desc="compiling (once)", unit="epoch", disable=not progress) as bar:
        for item in train(state, data):
            if isinstance(item, Progress):
                bar.set_description("training", refresh=False)
                if patience is not None and item.samples == item.samples_total:
                    candidate = state.network.copy()  # evaluated now, before it evolves
                continue
            samples += len(data.x_train)
            records.append(dataclasses.replace(item, samples=samples))
            bar.set_postfix_str(f"loss {item.train_loss:.4f}", refresh=False)
            bar.update()
            if patience is None or item.epoch <= dense_epochs(state.config.training):
                continue
            if item.test_loss < best_loss:
                best, best_loss, best_epoch = candidate, item.test_loss, item.epoch
            if item.test_loss < reference - patience.tol:
                reference, waited = item.test_loss, 0
            else:
                waited += 1
            if waited >= patience.epochs:
                break
    if best_epoch:
        _restore(state, best)
    return records, best_epoch or state.epoch


def _restore(state: TrainingState, network: Network) -> None:
    """Continue a state from a network as it was at the end of an epoch, before it evolved."""
    state.network = network
    state.evolution_due = True
