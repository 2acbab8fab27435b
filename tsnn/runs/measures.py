"""Measures of a run's topology: those gathered while it trained, and those computed afterwards.

The latter are lines of ``measures.jsonl`` in the run directory, which :mod:`tsnn.execution.measuring` appends:

- ``topology``: ``epoch``, ``seconds`` that it took, ``layers``: the values of :func:`tsnn.engine.measures.measure` with
  ``n_in``, ``n_out`` and ``connections``;
- ``distance``: between the topologies after ``epoch`` and after ``other_epoch`` of ``run`` (empty: the same run), in
  ``layers`` of each layer, and in ``random`` that of random twins. Between two runs neurons are matched. A run of
  another folder, such as a sweep, is named by ``FOLDER/RUN``.

Of two lines about the same the later one counts. Lines that are damaged are left out, as foreign content may be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from tsnn.files import MAX_FILE_BYTES, append_line, read_lines
from tsnn.runs.checks import Kind, is_count, is_number, is_text, mismatch, optional
from tsnn.runs.run import Run, checkpoint_place

FILE = "measures.jsonl"

#: Measures of a run as columns: title and kind of value (:func:`tsnn.runs.cells.format_cell`). Those of layers are
#: means over the layers that are not dense, hubs and gradient flow sums, cut-off inputs those of the first layer.
COLUMNS: Mapping[str, tuple[str, str]] = {
    "itop": ("ITOP rate", "fraction"),
    "gradient_flow": ("gradient flow", "number"),
    "hubs": ("hubs", "count"),
    "cut_off": ("cut-off inputs", "fraction"),
    "clustering": ("clustering", "number"),
    "modularity": ("modularity", "number"),
    "path_length": ("path length", "number"),
    "small_world": ("small-world index", "number"),
}
_OF_GRAPHS = ("clustering", "modularity", "path_length")
#: Values of a layer that are computed afterwards; None where one is not defined.
LAYER_VALUES = ("hubs_in", "hubs_out", "cut_off", *_OF_GRAPHS, *(f"random_{n}" for n in _OF_GRAPHS), "small_world")

_LAYER: Mapping[str, Kind] = {
    **dict.fromkeys(("n_in", "n_out", "connections"), is_count),
    **dict.fromkeys(LAYER_VALUES, optional(is_number)),
}
_LINES: Mapping[str, Mapping[str, Kind]] = {
    "topology": {"epoch": is_count, "seconds": is_number, "layers": [_LAYER]},
    "distance": {
        "epoch": is_count, "run": is_text, "other_epoch": is_count, "seconds": is_number,
        "layers": [is_number], "random": [is_number],
    },
}  # fmt: skip
_SECONDS_PER_CONNECTION = 1e-5  # python -m tests.benchmarks.measures
_START_SECONDS = 3.0


@dataclass(frozen=True)
class Measures:
    """Measures of a run's topology that were computed afterwards.

    Attributes
    ----------
    topologies : dict of int to dict
        Lines of type ``topology`` by epoch, ascending.
    distances : dict of (int, str, int) to dict
        Lines of type ``distance`` by epoch, other run and epoch of that.
    """

    topologies: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    distances: Mapping[tuple[int, str, int], Mapping[str, Any]] = field(default_factory=dict)


def read_measures(run: Run) -> Measures:
    """Return the measures of a run that were computed afterwards; damaged lines are left out."""
    try:
        path = run.path / FILE
        lines = read_lines(path)[0] if path.stat().st_size <= MAX_FILE_BYTES else []
    except OSError:
        lines = []
    topologies, distances = {}, {}
    for line in lines:
        kinds = _LINES.get(str(line.get("type")), {})
        if not kinds or any(name not in line for name in kinds) or mismatch(kinds, line):
            continue
        if line["type"] == "distance":
            distances[line["epoch"], line["run"], line["other_epoch"]] = line
        elif all(layer.keys() >= _LAYER.keys() for layer in line["layers"]):
            topologies[line["epoch"]] = line
    return Measures(dict(sorted(topologies.items())), distances)


def name_seen_from(run: Run, other: Run) -> str:
    """Return how a line of type ``distance`` names another run: by its id, with the sweep's of a trial elsewhere."""
    same = run.path.resolve().parent == other.path.resolve().parent
    return other.id if same else f"{other.path.resolve().parent.name}/{other.id}"


def known_distance(run: Run, other: Run) -> Mapping[str, Any] | None:
    """Return the line with the distance between the last measured topologies of two runs; None if none is known."""
    found = []
    for own, its in ((run, other), (other, run)):
        name = name_seen_from(own, its)
        found += [(sum((key[0], key[2])), line) for key, line in read_measures(own).distances.items() if key[1] == name]
    return max(found, key=lambda item: item[0])[1] if found else None


def store_line(run: Run, kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Append a line of one of the types to the measures of a run, and return it."""
    line = {"type": kind, **values}
    append_line(run.path / FILE, line)
    return line


def measurable_epochs(run: Run) -> list[int]:
    """Return the epochs whose topology can be measured: the start, and those with a checkpoint; empty without data."""
    saved = {checkpoint_place(path)[0] for path in run.checkpoints()}
    return sorted({0, *saved}) if run.meta().get("network") else []


def expected_seconds(connections: int) -> float:
    """Return the seconds that measuring a topology is expected to take."""
    return _START_SECONDS + _SECONDS_PER_CONNECTION * connections


def summary(line: Mapping[str, Any]) -> dict[str, float]:
    """Return the measures of a run, those of :data:`COLUMNS` that are known, of a line of type ``topology``."""
    layers: Sequence[Mapping[str, Any]] = line["layers"]
    sparse = [layer for layer in layers if layer["connections"] < layer["n_in"] * layer["n_out"]]
    found = {
        "hubs": [sum(layer["hubs_in"] + layer["hubs_out"] for layer in layers)],
        "cut_off": [layers[0]["cut_off"]] if layers else [],
        **{name: [layer[name] for layer in sparse] for name in (*_OF_GRAPHS, "small_world")},
    }
    known = {name: [value for value in values if value is not None] for name, values in found.items()}
    return {name: fmean(values) for name, values in known.items() if values}


def format_layer(layer: Mapping[str, Any], name: str) -> tuple[str, str]:
    """Return one of :data:`LAYER_VALUES` of a layer as text, and that of its random twin; empty if it has none."""
    value, chance = layer[name], layer.get(f"random_{name}")
    if value is None:
        return "–", ""
    return (f"{value:.2%}" if name == "cut_off" else f"{value:,.4g}"), "" if chance is None else f"{chance:,.4g}"


def newest_summary(run: Run) -> dict[str, float]:
    """Return :func:`summary` for the last epoch of a run that was measured; empty without one."""
    topologies = read_measures(run).topologies
    return summary(topologies[max(topologies)]) if topologies else {}


def gathered(layers: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the measures of a run that were gathered while it trained, from the layers of an epoch's line."""
    known = [layer for layer in layers if layer.get("itop") is not None and layer.get("gradient_flow") is not None]
    if not known or len(known) < len(layers):
        return {}
    places = [layer["n_in"] * layer["n_out"] for layer in known]
    explored = sum(layer["itop"] * n for layer, n in zip(known, places, strict=True))
    return {"itop": explored / max(sum(places), 1), "gradient_flow": sum(layer["gradient_flow"] for layer in known)}
