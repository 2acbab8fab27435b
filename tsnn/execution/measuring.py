"""Measures of a run's topology, computed after the fact from its checkpoints and stored in the run directory."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import numpy as np

from tsnn.archives import read_archive
from tsnn.engine import measures
from tsnn.engine.measures import distances, random_twin
from tsnn.engine.network import init_network
from tsnn.engine.serialization import network_of
from tsnn.engine.topology import Topology
from tsnn.errors import RunError
from tsnn.execution.provenance import generators
from tsnn.files import check_format
from tsnn.machine import available_memory
from tsnn.runs import Run
from tsnn.runs.measures import measurable_epochs, name_seen_from, store_line
from tsnn.runs.run import checkpoint_place

BYTES_OF_ONE = 120  #: of memory for each connection of the layer that is measured
BYTES_OF_ALL = 32  #: and for each of all layers, with the random twins


def measure(run: Run, epoch: int | None = None) -> list[dict[str, Any]]:
    """Measure the topology of a run after an epoch, and its distance from those of its other checkpoints.

    The values are stored in the run directory: the command line, the dashboard and comparisons display them. Their
    randomness is seeded: the same topology has the same measures.

    Parameters
    ----------
    run : Run
        A run, in any state.
    epoch : int, optional
        One of :func:`tsnn.runs.measures.measurable_epochs`: 0, the start, or that of a checkpoint. Default: the last.

    Returns
    -------
    layers : list of dict
        The values of :func:`tsnn.engine.measures.measure` for each layer, with ``layer`` (from 1), ``n_in``, ``n_out``
        and ``connections``: ``pandas.DataFrame(tsnn.measure(run))``.

    Raises
    ------
    RunError
        If the topology of that epoch is not known, or damaged, or does not fit into the free memory.
    """
    epoch = _known_epoch(run, epoch)
    started, topologies, rng = time.perf_counter(), topologies_after(run, epoch), np.random.default_rng(0)
    twins = [random_twin(t, rng=rng) for t in topologies]
    values = measures.measure(topologies, twins, rng=rng)
    facts = [{"n_in": t.n_in, "n_out": t.n_out, "connections": t.connections} for t in topologies]
    layers = [{**fact, **value} for fact, value in zip(facts, values, strict=True)]
    store_line(run, "topology", {"epoch": epoch, "seconds": time.perf_counter() - started, "layers": layers})
    for other in measurable_epochs(run):
        if other != epoch:
            with contextlib.suppress(RunError):  # that of another epoch is damaged, or cannot be drawn again
                _store_distance(run, epoch, topologies, twins, run, other)
    return [{"layer": l, **layer} for l, layer in enumerate(layers, start=1)]


def distance(run: Run, other: Run, epoch: int | None = None, other_epoch: int | None = None) -> list[float]:
    """Return the distance of each layer between the topologies of two runs, or of two epochs of one, and store it.

    Parameters
    ----------
    run, other : Run
        The runs, of networks of the same sizes. Neurons of different runs are matched (NNSTD,
        :func:`tsnn.engine.measures.distances`), those of one run are the same neurons.
    epoch, other_epoch : int, optional
        As in :func:`measure`.

    Raises
    ------
    RunError
        If the topology of an epoch is not known, or damaged.
    TopologyError
        If the sizes differ, or layers are too wide to be matched.
    """
    epoch, other_epoch = _known_epoch(run, epoch), _known_epoch(other, other_epoch)
    topologies, rng = topologies_after(run, epoch), np.random.default_rng(0)
    twins = [random_twin(t, rng=rng) for t in topologies]
    return list(_store_distance(run, epoch, topologies, twins, other, other_epoch)["layers"])


def _store_distance(
    run: Run, epoch: int, topologies: list[Topology], twins: list[Topology], other: Run, other_epoch: int
) -> dict[str, Any]:  # fmt: skip
    """Store the distance to the topologies of another epoch or run, and that of random twins."""
    started = time.perf_counter()
    others, match = topologies_after(other, other_epoch), other.path != run.path
    layers, chance = (distances(own, others, match=match) for own in (topologies, twins))
    values = {"epoch": epoch, "run": name_seen_from(run, other) if match else "", "other_epoch": other_epoch}
    values |= {"seconds": time.perf_counter() - started, "layers": layers, "random": chance}
    return store_line(run, "distance", values)


def _check_memory(run: Run) -> None:
    connections = run.meta()["network"].get("connections", [0])
    need, free = BYTES_OF_ALL * sum(connections) + BYTES_OF_ONE * max(connections), available_memory()
    if need > free:
        raise RunError(
            f"Measuring the topology of run {run.id} needs about {need / 2**30:.1f} GiB of memory, but "
            f"{free / 2**30:.1f} GiB are free. Close other programs, or measure it on a larger machine."
        )


def _known_epoch(run: Run, epoch: int | None) -> int:
    known = measurable_epochs(run)
    if not known:
        raise RunError(f"Run {run.id} is {run.status()['state']} and has no topology yet. Try again when it trains.")
    if epoch is not None and epoch not in known:
        listed = ", ".join(map(str, known))
        raise RunError(
            f"The topology of run {run.id} after epoch {epoch} is not known. It is after: {listed}. "
            "run.checkpoint_epochs=1 and run.checkpoint_mb keep those of more epochs."
        )
    _check_memory(run)
    return known[-1] if epoch is None else epoch


def topologies_after(run: Run, epoch: int) -> list[Topology]:
    """Return the topologies of a run's layers after an epoch: from a checkpoint, or the start, drawn from the seed.

    Raises
    ------
    RunError
        If there is none, or it is damaged.
    """
    if not epoch:
        return _start(run)
    path = next((p for p in run.checkpoints() if checkpoint_place(p)[0] == epoch), None)
    if path is None:
        raise RunError(f"Run {run.id} has no checkpoint of epoch {epoch} any more. Choose another epoch.")
    try:
        header, arrays = read_archive(path)
        check_format(f"Checkpoint {path.name} of run {run.id}", header.get("format"))
        return [layer.topology for layer in network_of(arrays).layers]
    except RunError:
        raise
    except Exception as error:  # zipfile and numpy raise many types for a damaged file
        raise RunError(f"Checkpoint {path.name} of run {run.id} is damaged: {error}. Choose another epoch.") from error


def _start(run: Run) -> list[Topology]:
    """Return the topologies that a run started with, drawn again; compared with the facts that it recorded."""
    network, config = run.meta()["network"], run.config()
    sizes = network["sizes"]
    drawn = init_network(sizes[0], sizes[-1], config, rng=generators(config)[1])
    topologies = [layer.topology for layer in drawn.layers]
    recorded = network.get("connections")
    if (
        list(drawn.sizes) != list(sizes)
        or [t.connections for t in topologies] != recorded
        or not _is_recorded(run, topologies[0])
    ):
        raise RunError(
            f"The start of run {run.id} cannot be drawn again: its settings or the version of tsnn have changed since. "
            "Choose an epoch with a checkpoint."
        )
    return topologies


def _is_recorded(run: Run, first: Topology) -> bool:
    """Return whether the snapshot of the start has the input neurons' connections of a layer; also without one."""
    if 0 not in run.snapshot_epochs():
        return True
    degree = run.snapshot(0, 0, ("input_degree",)).input_degree
    return degree is None or len(degree) != first.n_in or np.array_equal(degree, first.out_degree)
