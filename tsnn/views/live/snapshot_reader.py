"""Cached reading of a run's snapshots, limited to the parts that are displayed."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence

from tsnn.errors import RunError
from tsnn.runs import Run
from tsnn.snapshot import Snapshot

#: Names of the wanted fields of a snapshot; None for all.
Parts = tuple[str, ...] | None

_CACHED = 64  # snapshots
_COLLECT_SECONDS = 0.02


class SnapshotReader:
    """Reader of a run's snapshots that keeps those it read last.

    Parameters
    ----------
    run : Run
        The run.
    """

    def __init__(self, run: Run):
        self._run = run
        self._cache: OrderedDict[tuple[int, int | None, Parts], Snapshot] = OrderedDict()
        self._collected: dict[tuple[int, Parts], dict[int, Snapshot]] = {}

    def forget(self, epoch: int = 0) -> None:
        """Drop the cached snapshots from an epoch on: their files are replaced."""
        for key in [key for key in self._cache if key[0] >= epoch]:
            del self._cache[key]
        for kept in self._collected.values():
            for later in [e for e in kept if e >= epoch]:
                del kept[later]

    def read(self, epoch: int, layer: int | None = None, parts: Parts = None) -> Snapshot | None:
        """Return the snapshot of an epoch, see :meth:`tsnn.runs.Run.snapshot`; None if it cannot be read."""
        key = epoch, layer, parts
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        try:
            snapshot = self._run.snapshot(epoch, layer, parts)
        except RunError:
            return None
        self._cache[key] = snapshot
        while len(self._cache) > _CACHED:
            self._cache.popitem(last=False)
        return snapshot

    def collect(self, layer: int, parts: Parts, epochs: Sequence[int]) -> dict[int, Snapshot]:
        """Return those of many snapshots, one layer and these parts of each, that have been read so far.

        Each call reads for 20 ms at most; the newest snapshot comes first, then the oldest.
        """
        kept = self._collected.setdefault((layer, parts), {})
        missing = [epoch for epoch in epochs if epoch not in kept]
        until = time.monotonic() + _COLLECT_SECONDS
        for epoch in [*missing[-1:], *missing[:-1]]:
            try:
                kept[epoch] = self._run.snapshot(epoch, layer, parts)
            except RunError:
                continue
            if time.monotonic() > until:
                break
        return dict(sorted(kept.items()))
