"""Reading the snapshots of a run once, and only what is looked at."""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from tsnn.errors import RunError
from tsnn.runs import Run

Snapshot = Mapping[str, NDArray[Any]]

_CACHED = 64
_COLLECT_SECONDS = 0.02


class SnapshotReader:
    """Keeps what was read last.

    Parameters
    ----------
    run : Run
        The run.
    """

    def __init__(self, run: Run):
        self._run = run
        self._cache: OrderedDict[tuple[int, int | None, tuple[str, ...]], Snapshot] = OrderedDict()
        self._collected: dict[tuple[str, int], dict[int, Snapshot]] = {}

    def forget(self, epoch: int = 0) -> None:
        """Forget the snapshots from an epoch on: they are about to be written again."""
        for key in [key for key in self._cache if key[0] >= epoch]:
            del self._cache[key]
        for kept in self._collected.values():
            for later in [e for e in kept if e >= epoch]:
                del kept[later]

    def read(self, epoch: int, layer: int | None = None, parts: tuple[str, ...] = ("",)) -> Snapshot | None:
        """Return the snapshot of an epoch, or of it one layer and names that begin so; None if it cannot be read."""
        key = epoch, layer, parts
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        try:
            arrays = self._run.snapshot(
                epoch, lambda name: name.startswith(parts) and (layer is None or layer_of(name) in (layer, None))
            )
        except RunError:
            return None
        self._cache[key] = arrays
        while len(self._cache) > _CACHED:
            self._cache.popitem(last=False)
        return arrays

    def collect(self, name: str, layer: int, epochs: Sequence[int]) -> dict[int, Snapshot]:
        """Return a layer's arrays whose names begin with ``name``, of these epochs as far as they have been read.

        Each call reads for some milliseconds at most; the newest and the oldest come first.
        """
        kept = self._collected.setdefault((name, layer), {})
        missing = [epoch for epoch in epochs if epoch not in kept]
        until = time.monotonic() + _COLLECT_SECONDS
        for epoch in [*missing[-1:], *missing[:-1]]:
            try:
                kept[epoch] = self._run.snapshot(epoch, lambda n: n.startswith(name) and layer_of(n) == layer)
            except RunError:
                continue
            if time.monotonic() > until:
                break
        return dict(sorted(kept.items()))


def layer_of(name: str) -> int | None:
    """Return the layer that an array of a snapshot belongs to; None if it tells of the whole network."""
    found = re.search(r"_(\d+)$", name)
    return int(found[1]) if found else None
