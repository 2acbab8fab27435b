"""Final topologies of a sweep's runs as HoloMaps over two settings."""

# mypy: disable-error-code="no-untyped-call"
# Constructors of HoloViews are not annotated.

from __future__ import annotations

import functools
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
MAX_FRAMES = 64
_NONE = "No finished trial has a snapshot of its topology yet. Wait until one has finished."


def topologies(sweep: Sweep, table: SweepTable, x: str, y: str, *, network: bool = True) -> hv.Layout:
    """Return the final topology of a run with each pair of values of two settings, with a slider for each setting.

    Of the runs with a pair, the one with the best result is drawn, with successive halving after the table's epochs.

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
    found = {key: _final(sweep, name, table.epochs) for key, name in chosen.items()}
    return _drawn({key: final for key, final in found.items() if final is not None}, (x, y), network)


def live_topologies(sweep: Sweep, table: SweepTable, x: str, y: str) -> hv.Layout:
    """Return the final inputs and degrees over two settings, each drawn when its sliders are moved there.

    Raises
    ------
    RunError
        If no finished run has a snapshot.
    """
    x, y = find_setting(table, x), find_setting(table, y)
    chosen = _best_runs(table, x, y)
    first = next((key for key, name in chosen.items() if _final(sweep, name, table.epochs) is not None), None)
    if first is None:
        raise RunError(_NONE)
    last: dict[tuple[Any, Any], hv.Layout] = {}

    def part(index: int, *key: Any) -> Any:
        if key not in last:
            final = _final(sweep, chosen[key], table.epochs) if key in chosen else None
            last.clear()
            last[key] = None if final is None else _drawn({key: final}, (x, y), network=False)
        layout = last[key]
        return hv.Empty() if layout is None else list(layout)[index].last

    values = [sorted({key[i] for key in chosen}, key=lambda v: (isinstance(v, str), v)) for i in (0, 1)]
    kdims = [hv.Dimension(short(name), values=known, default=start)
             for name, known, start in zip((x, y), values, first, strict=True)]  # fmt: skip
    n_parts = len(_drawn({first: _require(_final(sweep, chosen[first], table.epochs))}, (x, y), network=False))
    maps = [hv.DynamicMap(functools.partial(part, index), kdims=kdims) for index in range(n_parts)]
    return hv.Layout(maps).opts(shared_axes=False, toolbar=None, show_title=False).cols(2)


_Final = tuple[Snapshot, Any, tuple[str, ...]]


def _final(sweep: Sweep, name: str, epochs: int) -> _Final | None:
    """Return the last snapshot of a run, the section ``data`` of its metadata, and the names of its features.

    With ``epochs``, other than 0, the last one within these.
    """
    follower = RunFollower(sweep.store.open(name.rpartition("/")[2]), min_interval=0)
    last = [epoch for epoch in follower.snapshots if not epochs or epoch <= epochs][-1:]
    found = follower.snapshot(last[0], None, PARTS) if last else None
    return None if found is None else (found, follower.meta.get("data", {}), follower.feature_names)


def _require(final: _Final | None) -> _Final:
    if final is None:  # just deleted
        raise RunError(_NONE)
    return final


def _drawn(finals: dict[Any, _Final], names: tuple[str, str], network: bool) -> hv.Layout:
    snapshots = {key: (final[0], None) for key, final in finals.items()}
    _, data, features = next(iter(finals.values()), (None, {}, ()))
    sliders = [short(name) for name in names]
    drawn = topology_map(snapshots, data, features, sliders, network=network) if snapshots else None
    if drawn is None:
        raise RunError(_NONE)
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
