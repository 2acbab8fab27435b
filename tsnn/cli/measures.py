"""Command about the measures of a run's topology."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from tsnn.runs import Run, RunStore
from tsnn.runs.export import csv_bytes
from tsnn.runs.measures import Measures, format_layer, read_measures

_TITLES = {
    "hubs_in": "hubs at the end", "hubs_out": "hubs at the start", "cut_off": "cut off", "clustering": "clustering",
    "modularity": "modularity", "path_length": "path length", "small_world": "small-world index",
}  # fmt: skip


def measure(options: argparse.Namespace) -> int:
    """Measure the topology of a run after an epoch, store the measures and print them, or write them as CSV."""
    from tsnn.execution import measuring  # imports Numba

    store = RunStore(options.runs)
    run = store.open(options.run)
    if options.distance is not None:
        for other in [store.open(name) for name in options.distance]:
            layers = measuring.distance(run, other, options.epoch, options.other_epoch)
            print(f"Distance of the topologies of {run.id} and {other.id}, neurons matched: {_fractions(layers)}")
        return 0
    layers_measured = measuring.measure(run, options.epoch)
    if options.output is not None:
        columns = {name: [layer[name] for layer in layers_measured] for name in layers_measured[0]}
        options.output.write_bytes(csv_bytes(columns))
        return 0
    found = read_measures(run)
    epoch = options.epoch if options.epoch is not None else list(found.topologies)[-1]
    print("\n".join(_lines(run, found, epoch)))
    return 0


def _lines(run: Run, found: Measures, epoch: int) -> Iterator[str]:
    line = found.topologies[epoch]
    layers = line["layers"]
    yield f"Topology of {run.id} after epoch {epoch} (measured in {line['seconds']:.1f} s; in brackets: random twin)"
    yield f"{'':<18}" + "".join(f"{layer['n_in']} to {layer['n_out']}".rjust(20) for layer in layers)
    for name, title in _TITLES.items():
        yield f"{title:<18}" + "".join(_cell(layer, name).rjust(20) for layer in layers)
    for (measured, other, other_epoch), distance in sorted(found.distances.items()):
        if measured == epoch and not other:
            title = f"distance to {other_epoch}"
            pairs = zip(distance["layers"], distance["random"], strict=False)
            yield f"{title:<18}" + "".join(f"{own:.3f} ({chance:.3f})".rjust(20) for own, chance in pairs)


def _cell(layer: Mapping[str, Any], name: str) -> str:
    value, chance = format_layer(layer, name)
    return f"{value} ({chance})" if chance else value


def _fractions(layers: list[float]) -> str:
    return ", ".join(f"layer {l}: {value:.3f}" for l, value in enumerate(layers, start=1))
