"""Features of a run: their names and medians, and their ranking by the strength of their connections.

Names and medians are in ``meta.json`` as ``feature_names`` and ``medians`` of ``data``. Where they would exceed
:data:`INLINE_BYTES` they are in ``features.json`` instead, because ``meta.json`` is read for every run of a list.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsnn.files import read_json, write_atomic
from tsnn.records import FORMAT
from tsnn.runs.store import Run

#: Lists with one entry for each feature.
_LISTS = ("feature_names", "medians")
#: Size of these lists in ``meta.json``, at most.
INLINE_BYTES = 2**16


def store_features(run: Run, meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of ``meta.json`` without long lists about features, which are written to ``features.json``.

    Parameters
    ----------
    run : Run
        The run.
    meta : mapping
        Content of ``meta.json`` with ``feature_names`` and ``medians`` in ``data``.
    """
    lists = {name: meta["data"].get(name) for name in _LISTS}
    content = json.dumps({"format": FORMAT, **lists}).encode()
    if len(content) <= INLINE_BYTES:
        return dict(meta)
    write_atomic(_file(run), content)
    return {**meta, "data": {**meta["data"], **dict.fromkeys(_LISTS), "in_file": True}}


def feature_names(run: Run, meta: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """Return the names of a run's features, one-hot ones as ``column=level``; empty if its data had none.

    Parameters
    ----------
    run : Run
        The run.
    meta : mapping, optional
        Content of its ``meta.json``, if that has been read already.
    """
    return tuple(map(str, _one_for_each(run, run.meta() if meta is None else meta, "feature_names")))


def feature_medians(run: Run) -> NDArray[np.float64] | None:
    """Return the values by which missing features were filled; None if missing values were refused."""
    medians = _one_for_each(run, run.meta(), "medians")
    return np.array(medians, dtype=np.float64) if medians else None


def _one_for_each(run: Run, meta: Mapping[str, Any], name: str) -> Sequence[Any]:
    """Return a list with one entry for each feature; empty if there is none, or it is damaged."""
    data = meta.get("data")
    if not isinstance(data, Mapping):
        return ()
    values = (read_json(_file(run)) if data.get("in_file") else data).get(name)
    complete = isinstance(values, list | tuple) and len(values) == data.get("n_features")
    return values if complete and values is not None else ()


def _file(run: Run) -> Path:
    return run.path / "features.json"


def rank_features(
    strength: NDArray[Any], connections: NDArray[Any], names: Sequence[str] = (), n_features: int | None = None,
    *, first: int | None = None,
) -> dict[str, list[Any]]:  # fmt: skip
    """Return a table of the features as columns, the strongest first.

    Parameters
    ----------
    strength : float[n]
        Sum of ``|weight|`` over each feature's connections, or its mean over blocks of features.
    connections : number[n]
        Number of each feature's connections, or its mean over the same blocks.
    names : sequence of str
        One for each feature; without names, and for blocks, features are numbered from 0.
    n_features : int, optional
        Number of features, where ``n`` is that of blocks.
    first : int, optional
        Number of rows, the strongest features; default is all.

    Returns
    -------
    columns : dict of list
        ``rank`` (from 1), ``feature``, ``strength``, ``importance`` (strength as a fraction of the sum over all
        features, as ``feature_importances_``) and ``connections``.
    """
    strength, connections = np.asarray(strength, np.float64), np.asarray(connections, np.float64)
    block = -(-(n_features or len(strength)) // max(len(strength), 1))
    order = np.lexsort((-connections, -strength))[:first]
    total = float(strength.sum()) or 1.0
    if block > 1:
        labels = [f"{i * block}+" for i in order.tolist()]
    else:
        labels = [names[i] if names else str(i) for i in order.tolist()]
    whole = not (connections % 1).any()
    return {
        "rank": list(range(1, len(order) + 1)),
        "feature": labels,
        "strength": strength[order].tolist(),
        "importance": (strength[order] / total).tolist(),
        "connections": connections[order].astype(np.int64).tolist() if whole else connections[order].tolist(),
    }
