"""History: the finished epochs of a run as columns."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsnn.config import LIVE_SETTINGS
from tsnn.records import EpochRecord
from tsnn.runs import Run

SCALARS = (
    "epoch",
    "samples",
    "train_loss",
    "test_loss",
    "train_accuracy",
    "test_accuracy",
    "validation_loss",
    "validation_accuracy",
    "seconds_train",
    "seconds_evolve",
    "seconds_evaluate",
    *LIVE_SETTINGS,
    "connections",
    "memory_bytes",
)
_PER_LAYER = ("connections", "density", "pruned", "grown", "living", "replaced")


class History:
    """Finished epochs as columns: ``history["test_loss"]``, ``history["density_0"]`` for a layer.

    ``replaced_0`` is the share of the layer's connections that the epoch's evolution grew.
    Missing values are NaN. Columns are float64[epochs].

    Attributes
    ----------
    layers : int
        Layers of connections.
    workers : list of list of dict
        For each epoch, what the workers of a parallel run did (:class:`tsnn.records.WorkerRecord`).
    """

    def __init__(self) -> None:
        self._columns: dict[str, array[float]] = {name: array("d") for name in SCALARS}
        self.layers = 0
        self.workers: list[Sequence[Mapping[str, Any]]] = []

    def __len__(self) -> int:
        return len(self._columns["epoch"])

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        return np.array(self._columns[name], dtype=np.float64)

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def last(self, name: str) -> float | None:
        """Return the newest value of a column; None if there is none."""
        values = self._columns.get(name)
        return values[-1] if values and values[-1] == values[-1] else None

    def append(self, epoch: Mapping[str, Any]) -> None:
        """Add an epoch, as :meth:`EpochRecord.to_dict` gives it; one that comes again replaces what followed."""
        self._forget_from(float(epoch["epoch"]))
        values = {**epoch, **epoch.get("settings", {})}
        for name in SCALARS:
            self._columns[name].append(_number(values.get(name)))
        self.workers.append(epoch.get("workers", ()))
        layers = epoch.get("layers", ())
        if not self.layers:
            self.layers = len(layers)
            self._columns.update({f"{name}_{l}": array("d") for name in _PER_LAYER for l in range(self.layers)})
        for l in range(self.layers):
            layer = layers[l] if l < len(layers) else {}
            if layer.get("connections"):
                layer = {**layer, "replaced": layer.get("grown", 0) / layer["connections"]}
            for name in _PER_LAYER:
                self._columns[f"{name}_{l}"].append(_number(layer.get(name)))

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


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
