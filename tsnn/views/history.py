"""History: the finished epochs of a run as columns, and the events between them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from tsnn.config import LIVE_NUMBERS, LiveValue
from tsnn.records import EpochRecord, Event, EventKind, LayerRecord
from tsnn.runs import Run
from tsnn.views.shared import Shared


def _numbers(record: type) -> tuple[str, ...]:
    """Return the names of a record's fields that hold a number."""
    return tuple(name for name, kind in get_type_hints(record).items() if kind in (int, float, float | None))


#: Columns with one number per epoch.
SCALARS = (*_numbers(EpochRecord), *LIVE_NUMBERS)
#: More epochs than these are thinned out: a plot is 600 points wide.
MAX_EPOCHS = 20_000
#: Columns that sum up to the time of an epoch.
SECONDS = tuple(name for name in SCALARS if name.startswith("seconds_"))
#: Those by which runs are compared: what is only measured to be displayed does not count.
COMPARED_SECONDS = ("seconds_train", "seconds_evolve", "seconds_evaluate")
#: Kinds of events at the start of every run, which are not marked in the curves.
START_EVENTS = (EventKind.DATA, EventKind.DATA_WARNING, EventKind.DENSE_LAYER)
#: Columns with one number per epoch and layer.
_PER_LAYER = (*_numbers(LayerRecord), "replaced")


class History:
    """Finished epochs as columns, float64[epochs]: ``history["test_loss"]``, ``history["density_0"]`` for a layer.

    The columns are the numbers of :class:`~tsnn.records.EpochRecord` and :class:`~tsnn.records.LayerRecord`, and the
    live settings that are numbers. ``replaced_0`` is the fraction of the layer's connections that the epoch's evolution
    grew. Missing values are NaN.

    Attributes
    ----------
    layers : int
        Layers of connections.
    workers : list of list of dict
        The records of the workers of a parallel run in each epoch (:class:`tsnn.records.WorkerRecord`).
    version : int
        Grows with every epoch that is added.
    shared : Shared
        Values computed from the columns, for all views of the history.
    settings : mapping
        The live settings of the last epoch, by short name.
    scheduled : mapping
        The applied values of those that a schedule changes; the columns hold them too.
    """

    def __init__(self) -> None:
        self._columns: dict[str, array[float]] = {name: array("d") for name in SCALARS}
        self.layers = self.version = 0
        self.shared = Shared()
        self.settings: Mapping[str, LiveValue | None] = {}
        self.scheduled: Mapping[str, float] = {}
        self.workers: list[Sequence[Mapping[str, Any]]] = []

    def __len__(self) -> int:
        return len(self._columns["epoch"])

    @property
    def done(self) -> int:
        """Finished epochs: the number of the last one. A long history may lack some of those before."""
        return int(self.last("epoch") or 0)

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        return np.array(self._columns[name], dtype=np.float64)

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def last(self, name: str) -> float | None:
        """Return the newest value of a column; None if there is none."""
        values = self._columns.get(name)
        return values[-1] if values and values[-1] == values[-1] else None

    def append(self, epoch: Mapping[str, Any]) -> None:
        """Add an epoch, as :meth:`EpochRecord.to_dict` returns it; an earlier epoch drops those from it on first.

        Raises
        ------
        KeyError, TypeError, ValueError
            If a value has the wrong type; nothing is changed then.
        """
        scheduled = epoch.get("scheduled", {})
        values = {**epoch, **epoch.get("settings", {}), **scheduled}
        row = {name: _number(values.get(name)) for name in SCALARS}
        layers, workers = epoch.get("layers", ()), epoch.get("workers", ())
        n = self.layers or len(layers)
        for l in range(n):
            row |= _layer_values(l, layers[l] if l < len(layers) else {})
        self.version += 1
        self._forget_from(float(epoch["epoch"]))
        if not self.layers:
            self.layers = n
            missing = [float("nan")] * len(self)
            self._columns.update({f"{name}_{l}": array("d", missing) for name in _PER_LAYER for l in range(n)})
        self.settings, self.scheduled = epoch.get("settings", {}), scheduled
        self.workers.append(workers)
        for name, values_of in self._columns.items():
            values_of.append(row[name])
        if len(self) > MAX_EPOCHS:
            self._thin()

    def _thin(self) -> None:
        """Drop every second epoch of the older half."""
        half = MAX_EPOCHS // 2
        for name, values in self._columns.items():
            self._columns[name] = values[:half:2] + values[half:]
        self.workers = self.workers[:half:2] + self.workers[half:]

    def _forget_from(self, epoch: float) -> None:
        epochs = self._columns["epoch"]
        while epochs and epochs[-1] >= epoch:
            self.workers.pop()
            for values in self._columns.values():
                values.pop()

    @classmethod
    def of(cls, source: History | Run | Iterable[EpochRecord]) -> History:
        """Return the history of a run or of records; a history is returned as it is."""
        if isinstance(source, History):
            return source
        history = cls()
        for record in source.records() if isinstance(source, Run) else source:
            history.append(record.to_dict())
        return history


def read_events(lines: Iterable[Mapping[str, Any]]) -> Iterator[Event]:
    """Yield the events in lines of ``metrics.jsonl``; damaged ones are skipped."""
    for line in lines:
        kind = line.get("type")
        for entry in line.get("events", ()) if kind == "epoch" else [line] if kind == "event" else ():
            try:
                event = Event.from_dict(entry)
            except (KeyError, TypeError, ValueError):
                continue
            yield event


def _layer_values(l: int, layer: Mapping[str, Any]) -> dict[str, float]:
    """Return the values of a layer by column."""
    values = dict(layer)
    if layer.get("connections"):
        values["replaced"] = layer.get("grown", 0) / layer["connections"]
    return {f"{name}_{l}": _number(values.get(name)) for name in _PER_LAYER}


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
