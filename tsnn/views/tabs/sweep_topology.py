"""Final topologies of a sweep's runs as HoloMaps over two settings."""

# mypy: disable-error-code="no-untyped-call"
# Constructors of HoloViews are not annotated.

from __future__ import annotations

from typing import Any

import holoviews as hv
import numpy as np

from tsnn.errors import RunError
from tsnn.runs.sweeps import Sweep
from tsnn.snapshot import Snapshot
from tsnn.views.live.follower import RunFollower
from tsnn.views.plots.frames import PARTS, topology_map
from tsnn.views.plots.sweep_table import SweepTable, find_setting, grouped_values, short

#: Most networks in a map.
MAX_FRAMES = 100


def topologies(sweep: Sweep, table: SweepTable, x: str, y: str, *, network: bool = True) -> hv.Layout:
    """Return the final topology of a run with each pair of values of two settings, with a slider for each setting.

    Of the runs with a pair, the one with the best result is drawn.

    Parameters
    ----------
    sweep, table
        The sweep and its trials.
    x, y : str
        The settings, by full or short name.
    network : bool
        Whether to draw the network, too; else its inputs and degrees.

    Raises
    ------
    RunError
        If no finished run has a snapshot, or there are more than :data:`MAX_FRAMES` pairs.
    """
    x, y = find_setting(table, x), find_setting(table, y)
    chosen = _best_runs(table, x, y)
    if len(chosen) > MAX_FRAMES:
        raise RunError(f"There are {len(chosen)} pairs of values, of which at most {MAX_FRAMES} can be drawn.")
    snapshots: dict[Any, tuple[Snapshot, Snapshot | None]] = {}
    data: dict[str, Any] = {}
    names: tuple[str, ...] = ()
    for key, name in chosen.items():
        follower = RunFollower(sweep.store.open(name.rpartition("/")[2]), min_interval=0)
        last = follower.snapshots[-1:]
        found = follower.snapshot(last[0], None, PARTS) if last else None
        if found is not None:
            snapshots[key] = found, None
            data, names = data or follower.meta.get("data", {}), names or follower.feature_names
    drawn = topology_map(snapshots, data, names, (short(x), short(y)), network=network) if snapshots else None
    if drawn is None:
        raise RunError("No finished trial has a snapshot of its topology yet. Wait until one has finished.")
    return drawn


def _best_runs(table: SweepTable, x: str, y: str) -> dict[tuple[Any, Any], str]:
    """Return the best finished run of each pair of values, ascending."""
    finished = table.trials.dropna(subset="value").sort_values("value", kind="stable")
    keys = [_keys(table, finished, name) for name in (x, y)]
    found = dict(zip(zip(*keys, strict=True), finished["run"], strict=True))
    return dict(sorted(found.items(), key=lambda item: repr(item[0]) if _mixed(item[0]) else item[0]))


def _keys(table: SweepTable, rows: Any, name: str) -> list[Any]:
    """Return the value of a setting in each row as a slider has it: a number, or a text."""
    groups, labels = grouped_values(table.trials[name])
    values = rows[name]
    if all(isinstance(value, int | float) for value in values) and len(labels) == table.trials[name].nunique():
        return [float(value) for value in values]
    chosen = groups[np.asarray(rows.index)]
    return [labels[group] for group in chosen]


def _mixed(key: tuple[Any, Any]) -> bool:
    return any(isinstance(part, str) for part in key)
