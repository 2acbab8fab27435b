"""Records: plain, immutable values that training yields and run directories store; states of runs, kinds of events."""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, NamedTuple

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
    STALLED = "stalled"  #: its process lives but has been silent for 10 s
    FINISHED = "finished"  #: all epochs are done
    STOPPED = "stopped"  #: on request
    FAILED = "failed"
    LOST = "lost"  #: its process, or its supervisor, is gone


#: States that a run ends in by itself.
ENDED = (RunState.FINISHED, RunState.STOPPED, RunState.FAILED)
#: States in which a run has a process, or is about to have one.
LIVE = (
    RunState.CREATED, RunState.STARTING, RunState.COMPILING, RunState.TRAINING, RunState.PAUSED, RunState.STALLED,
)  # fmt: skip


class EventKind(StrEnum):
    """Kind of an :class:`Event`."""

    DATA = "data"  #: which data the run trains on
    DENSE_LAYER = "dense_layer"  #: epsilon grants a layer every connection
    SETTING = "setting"  #: a setting was changed while the run trains
    NEURONS_PRUNED = "neurons_pruned"  #: by importance pruning
    TWO_PHASE = "two_phase"  #: the dense phase ended
    EVOLUTION = "evolution"  #: a deferred evolution was run after resuming
    RESUMED = "resumed"
    CHECKPOINT = "checkpoint"  #: one is damaged, or could not be written
    DISK = "disk"  #: it is nearly full
    WORKERS = "workers"  #: more threads than cores
    AVERAGED = "averaged"  #: the workers' models, at the end of a parallel run


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


@dataclass(frozen=True)
class WorkerRecord:
    """What one worker of a parallel run did in an epoch.

    Attributes
    ----------
    worker : int
        Its number, counted from 1.
    phase : int
        1: all train one model; 2: each its own.
    batches, samples : int
        What it trained on.
    seconds_compute, seconds_communicate, seconds_idle : float
        Where its time went. Idle is waiting for other workers, and for the server while that evaluates, evolves
        and writes; communicating is all other waiting: the exchange itself.
    staleness : tuple of int
        How many of its gradients met weights that had been updated 0, 1, 2, ... times since it got them.
    retained : float
        Share of its gradients' entries that were applied; the others belonged to pruned connections.
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
    """Something that a reader of the curves should know, tied to an epoch.

    Attributes
    ----------
    epoch : int
        Last finished epoch when it happened.
    kind : EventKind
        What happened.
    message : str
        One sentence.
    """

    epoch: int
    kind: EventKind
    message: str

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Event:
        """Rebuild an event from a line of a run's metrics."""
        return cls(int(values["epoch"]), EventKind(values["kind"]), str(values["message"]))


@dataclass(frozen=True)
class EpochRecord:
    """One finished epoch. Losses and accuracies are means over samples.

    The training figures are gathered while the weights still change and dropout is on; the test
    and validation figures are taken once at the end of the epoch, before evolution. Those of validation are None
    where no samples are held back for it.
    Accuracies are None where nothing is classified. ``settings`` holds the values of the live settings
    (:data:`tsnn.config.LIVE_SETTINGS`) by short name: zeta and epsilon of the evolution after the epoch, the others of
    the epoch itself. In phase 2 of a parallel run they are means over the workers'
    models, of which each is tested on its share of the test part, and layers are those of the first worker.
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
    settings: Mapping[str, float]
    connections: int
    memory_bytes: int
    layers: tuple[LayerRecord, ...]
    events: tuple[Event, ...] = field(default=())
    workers: tuple[WorkerRecord, ...] = field(default=())
    validation_loss: float | None = None
    validation_accuracy: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain dictionaries and lists that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EpochRecord:
        """Rebuild a record from :meth:`to_dict`; keys that this version does not know are ignored."""
        known = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        known["layers"] = tuple(LayerRecord(**_tuples(layer, LayerRecord)) for layer in values["layers"])
        known["events"] = tuple(Event.from_dict(event) for event in values.get("events", ()))
        known["workers"] = tuple(WorkerRecord(**_tuples(w, WorkerRecord)) for w in values.get("workers", ()))
        return cls(**known)


class Progress(NamedTuple):
    """Where training stands within an epoch: yielded after every batch.

    Attributes
    ----------
    epoch : int
        The epoch under way, counted from 1.
    samples : int
        Training samples of this epoch that are done.
    samples_total : int
        Training samples in an epoch.
    loss : float
        Mean training loss of this epoch so far.
    worker : int
        Whose gradient was applied; 0 for a step that no single worker made.
    staleness : int
        Updates since that worker got the weights that the gradient was computed on.
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
    """Return ``value`` with every float that JSON cannot hold (NaN, infinity) replaced by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: json_safe(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(v) for v in value]
    return value
