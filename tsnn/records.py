"""Records: immutable values that training yields and run directories store; states of runs, kinds of events."""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Version of everything that is written to files: run directories, checkpoints, networks, estimators.
FORMAT = 2


class RunState(StrEnum):
    """State of a run, as :meth:`tsnn.runs.Run.status` reports it."""

    QUEUED = "queued"  #: it starts when cores are free
    CREATED = "created"  #: its directory exists, its process is about to start
    STARTING = "starting"  #: it reads its data
    COMPILING = "compiling"
    TRAINING = "training"
    PAUSED = "paused"
    STALLED = "stalled"  #: its process lives, but its heartbeat is older than 10 s
    FINISHED = "finished"  #: all epochs are done
    STOPPED = "stopped"  #: on request
    FAILED = "failed"
    LOST = "lost"  #: it ended without a message: its process or supervisor is gone, or its state is unknown


#: States that a run's own processes record at its end.
ENDED = (RunState.FINISHED, RunState.STOPPED, RunState.FAILED)
#: States in which nothing runs and nothing is queued.
OVER = (*ENDED, RunState.LOST)
#: States from which a run can be resumed where it was interrupted.
INTERRUPTED = (RunState.STOPPED, RunState.FAILED, RunState.LOST)
#: States in which a run has a process, or is about to have one.
LIVE = (
    RunState.CREATED, RunState.STARTING, RunState.COMPILING, RunState.TRAINING, RunState.PAUSED, RunState.STALLED,
)  # fmt: skip


class EventKind(StrEnum):
    """Kind of an :class:`Event`. Readers map kinds of later versions to ``OTHER``."""

    DATA = "data"  #: which data the run trains on
    DATA_WARNING = "data_warning"  #: the data may not be what was meant
    DENSE_LAYER = "dense_layer"  #: epsilon or density grants a layer every connection
    SETTING = "setting"  #: a setting was changed while the run was training
    NEURONS_PRUNED = "neurons_pruned"  #: by importance pruning
    TWO_PHASE = "two_phase"  #: the dense phase ended
    EVOLUTION = "evolution"  #: a deferred evolution was run after resuming
    FORKED = "forked"  #: the run continues from an epoch of another run
    RESUMED = "resumed"
    CHECKPOINT = "checkpoint"  #: one is damaged, or could not be written
    DISK = "disk"  #: it is nearly full
    WORKERS = "workers"  #: more threads than cores
    AVERAGED = "averaged"  #: the workers' models, at the end of a parallel run
    OTHER = "other"  #: of a kind that this version does not know; never written


@dataclass(frozen=True)
class LayerRecord:
    """One layer of connections at the end of an epoch.

    Attributes
    ----------
    n_in, n_out : int
        Neurons that the layer's connections start from and end at.
    connections : int
        Stored weights, after this epoch's evolution.
    density : float
        ``connections / (n_in * n_out)``.
    pruned, grown : int
        Connections removed and added by this epoch's evolution and importance pruning.
    living : int
        Neurons at the layer's end that importance pruning has left.
    importance : tuple of float
        Minimum, quartiles and maximum of the living neurons' importance (section 3.3:
        sum of ``|weight|`` over a neuron's incoming connections).
    in_degree, out_degree : tuple of int
        Minimum, median and maximum number of incoming connections per living neuron at the layer's
        end, and of outgoing connections per neuron at its start.
    itop : float or None
        With ``run.measures``: fraction of the layer's places that have had a connection so far, this epoch's
        evolution included (:class:`tsnn.engine.exploration.Explored`).
    gradient_flow : float or None
        With ``run.measures``: squared norm of the gradient of its weights, before this epoch's evolution.
    """

    n_in: int
    n_out: int
    connections: int
    density: float
    pruned: int
    grown: int
    living: int
    importance: tuple[float, ...]
    in_degree: tuple[int, ...]
    out_degree: tuple[int, ...]
    itop: float | None = None
    gradient_flow: float | None = None


@dataclass(frozen=True)
class WorkerRecord:
    """Statistics of one worker of a parallel run in one epoch.

    Attributes
    ----------
    worker : int
        Its number, counted from 1.
    phase : int
        1: all workers train one model; 2: each trains its own.
    batches, samples : int
        Number of batches and samples trained on.
    seconds_compute, seconds_communicate, seconds_idle : float
        Parts of its time. Idle: waiting for other workers, or for the server while it evaluates, evolves or writes.
        Communicating: all other waiting, that is, the exchange itself.
    staleness : tuple of int
        Number of its gradients that were applied 0, 1, 2, ... updates after it had received the weights.
    retained : float
        Fraction of its gradients' entries that were applied; the others belonged to pruned connections.
    memory_bytes : int
        Resident memory of its process.
    """

    worker: int
    phase: int
    batches: int
    samples: int
    seconds_compute: float
    seconds_communicate: float
    seconds_idle: float
    staleness: tuple[int, ...]
    retained: float
    memory_bytes: int


@dataclass(frozen=True)
class Event:
    """Event of a run, tied to an epoch.

    Attributes
    ----------
    epoch : int
        Last finished epoch at that time.
    kind : EventKind
        Its kind.
    message : str
        One sentence.
    """

    epoch: int
    kind: EventKind
    message: str

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Event:
        """Rebuild an event from a line of a run's metrics; an unknown kind becomes ``OTHER``."""
        try:
            kind = EventKind(values["kind"])
        except ValueError:
            kind = EventKind.OTHER
        return cls(int(values["epoch"]), kind, str(values["message"]))


@dataclass(frozen=True)
class EpochRecord:
    """One finished epoch. Losses and accuracies are means over samples.

    The training figures are measured during the epoch, with dropout; the test and validation figures at its end,
    before evolution. Those of validation are None without a validation split. Accuracies are None in regression; for
    several labels they are the fraction of labels that are correct. R2 (``1 - squared error / variance`` of the part,
    mean over the targets that are not constant there) is None except in regression. Losses of regression are in the
    targets' units.
    ``settings`` holds the values of the live settings (:data:`tsnn.config.LIVE_SETTINGS`) by short name: zeta,
    epsilon, prune and regrow of the evolution after the epoch, the others of the epoch itself. ``scheduled`` holds the
    applied values of those that a schedule made different: zeta after the epoch, the others in its middle. In phase 2
    of a parallel run the figures are means over the workers' models, each tested on its shard of the test part, and
    layers are those of the first worker. ``seconds_examine`` is the time for the mistakes in the epoch's snapshot
    (:mod:`tsnn.engine.mistakes`), ``seconds_measure`` that for the measures of ``run.measures``.
    """

    epoch: int
    samples: int
    train_loss: float
    test_loss: float
    train_accuracy: float | None
    test_accuracy: float | None
    seconds_train: float
    seconds_evolve: float
    seconds_evaluate: float
    settings: Mapping[str, float | str]
    connections: int
    memory_bytes: int
    layers: tuple[LayerRecord, ...]
    events: tuple[Event, ...] = field(default=())
    workers: tuple[WorkerRecord, ...] = field(default=())
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    train_r2: float | None = None
    test_r2: float | None = None
    validation_r2: float | None = None
    seconds_examine: float = 0.0
    seconds_measure: float = 0.0
    scheduled: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain dictionaries and lists, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EpochRecord:
        """Rebuild a record from :meth:`to_dict`; keys that this version does not know are ignored."""
        known = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        known["layers"] = tuple(LayerRecord(**_tuples(layer, LayerRecord)) for layer in values["layers"])
        known["events"] = tuple(Event.from_dict(event) for event in values.get("events", ()))
        known["workers"] = tuple(WorkerRecord(**_tuples(w, WorkerRecord)) for w in values.get("workers", ()))
        return cls(**known)


def accuracy_name(task: str) -> str:
    """Return the name of accuracies of a task: for several labels at once they count labels, not samples."""
    return "labels correct" if task == "multilabel" else "accuracy"


class SelectionRecord(NamedTuple):
    """One epoch of a selection of features.

    Attributes
    ----------
    method, trial : str, bool
        Method that ranks, and whether it trains on a part of the samples, to be compared with others.
    epoch, epochs : int
        The finished epoch, and the epochs of the training.
    seconds, memory_bytes : float, int
        Time since the training began; resident memory of the process.
    connections, scores : int32[n_features], float32[n_features]
        Connections of each feature, after the epoch's evolution, and its score: the larger, the better.
    selected, names : bool[n_features], sequence of str
        The features that are selected if the training ends here; the names of all, empty if they have none.
    """

    method: str
    trial: bool
    epoch: int
    epochs: int
    seconds: float
    memory_bytes: int
    connections: NDArray[np.int32]
    scores: NDArray[np.float32]
    selected: NDArray[np.bool_]
    names: Sequence[str]


class Compilation(NamedTuple):
    """Progress of compiling kernels, before training: yielded before every stage.

    Attributes
    ----------
    stage, stages : int
        Number of the stage, counted from 1, and of all stages.
    name : str
        What the kernels of this stage compute.
    """

    stage: int
    stages: int
    name: str

    def __str__(self) -> str:
        return f"compiling {self.stage} of {self.stages}: {self.name}"


class Progress(NamedTuple):
    """Progress of training within an epoch: yielded after every batch.

    Attributes
    ----------
    epoch : int
        The current epoch, counted from 1.
    samples : int
        Training samples of this epoch that are done.
    samples_total : int
        Training samples in an epoch.
    loss : float
        Mean training loss of this epoch so far.
    worker : int
        Worker whose gradient was applied; 0 where it is not that of a single worker.
    staleness : int
        Updates since that worker received the weights that the gradient was computed on.
    """

    epoch: int
    samples: int
    samples_total: int
    loss: float
    worker: int = 0
    staleness: int = 0


def _tuples(values: Mapping[str, Any], cls: type) -> dict[str, Any]:
    names = typing.get_type_hints(cls)
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in names}


def json_safe(value: Any) -> Any:
    """Return ``value`` with every NaN and infinity, which JSON does not have, replaced by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: json_safe(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(v) for v in value]
    return value
