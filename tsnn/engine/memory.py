"""How much memory a run takes, foretold from its settings and the shape of its data. Arithmetic only."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from tsnn.config import Config
from tsnn.engine.shapes import LayerShape, epsilon_to_connections, layer_shapes
from tsnn.errors import ConfigError
from tsnn.registry import REGROWTH
from tsnn.tiling import LANES, SEGMENT, can_scatter, fast_width

INTERPRETER = 180 << 20  # Python, the libraries, compiled code
SHARE = 0.9  # of the free memory that micro-batches are cut for

#: What to lower if an item is too big.
REMEDIES = {
    "connections": "network.epsilon or network.hidden",
    "neurons": "network.hidden",
    "activations": "run.micro_batch or network.hidden",
    "data": "the number of samples or features",
    "evolution": "network.epsilon, training.zeta or the widest of network.hidden",
    "interpreter": "what else runs on this machine",
}


@dataclass(frozen=True)
class MemoryEstimate:
    """The expected peak of a run's resident memory, on one machine.

    Attributes
    ----------
    items : mapping of str to int
        Bytes by purpose: ``connections`` (weights, velocity and both index views, 20 each; 12 if compact),
        ``neurons`` (biases, row pointers), ``activations`` (with masks, of a micro-batch), ``data``,
        ``evolution`` (what the layer that needs most takes beyond that while it evolves), ``interpreter`` (with
        libraries and compiled code). Of one process.
    micro_batch : int
        Samples that are processed at a time.
    compact : bool
        Whether layers do without the transposed view.
    count : int
        Number of connections.
    processes : int
        Ranks of a parallel run on this machine; each takes as much.
    """

    items: Mapping[str, int]
    micro_batch: int
    compact: bool
    count: int
    processes: int = 1

    @property
    def total(self) -> int:
        """The peak of all processes together, in bytes."""
        return self.processes * sum(self.items.values())

    @property
    def checkpoint(self) -> int:
        """What a checkpoint takes on the disk, in bytes: 12 for each connection, and the neurons."""
        return 12 * self.count + self.items["neurons"]

    @property
    def largest(self) -> str:
        """The item that takes most."""
        return max(self.items, key=lambda name: self.items[name])

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {_size(size)}" for name, size in self.items.items())
        compact = ", compact" if self.compact else ""
        disk = f"{_size(self.checkpoint)} per checkpoint"
        times = f"{self.processes} processes, each: " if self.processes > 1 else ""
        return f"{_size(self.total)} expected ({times}{parts}); {self.micro_batch} samples at a time{compact}; {disk}"


def memory_estimate(
    config: Config, n_features: int, n_outputs: int, n_samples: int, *, data_bytes: int | None = None,
    processes: int = 1, budget: int | None = None,
) -> MemoryEstimate:  # fmt: skip
    """Foretell the peak resident memory of a run.

    Parameters
    ----------
    config : Config
        The run's settings.
    n_features, n_outputs, n_samples : int
        Shape of the data, training and test part together.
    data_bytes : int, optional
        What the features take; default is that of float32.
    processes : int
        Ranks of a parallel run on this machine, the server's included: each holds data, network and buffers.
    budget : int, optional
        Bytes that the run should stay below. If ``run.micro_batch`` is 0, a batch is cut into parts that are fast
        (:func:`tsnn.tiling.fast_width`), or into as many as that takes; if that is not enough, the network becomes
        compact.

    Returns
    -------
    estimate : MemoryEstimate
        For processes that do nothing else; right within 15 % where one takes more than the interpreter.
    """
    shapes = layer_shapes(n_features, n_outputs, config)
    count = sum(shape.connections for shape in shapes)
    batch = min(config.training.batch_size, n_samples)
    chosen = min(config.run.micro_batch, batch)
    widths = [chosen] if chosen else list(_widths(shapes, batch))
    for compact, width in itertools.product([True] if config.run.compact else [False, True], widths):
        views = [s for s in shapes if not (compact and can_scatter(s.n_out, s.connections))]
        items = {
            "connections": 12 * count + 8 * sum(s.connections for s in views),
            "neurons": sum(9 * s.n_out + 8 * s.n_in for s in shapes) + 8 * sum(s.n_out for s in views),
            "activations": _workspace(shapes, width),
            "data": 4 * n_samples * n_features if data_bytes is None else data_bytes,
            "evolution": _evolution(config, shapes, views),
            "interpreter": INTERPRETER,
        }
        estimate = MemoryEstimate(items, width, compact, count, processes)
        if budget is None or estimate.total <= budget:
            break
    return estimate


def fitting_estimate(
    config: Config, n_features: int, n_outputs: int, n_samples: int, *, data_bytes: int | None = None,
    processes: int = 1,
) -> MemoryEstimate:  # fmt: skip
    """Return the estimate for a micro-batch that fits into the memory that is free now.

    What this process already holds is taken to be part of the run.
    """
    shape = n_features, n_outputs, n_samples
    most = memory_estimate(config, *shape, data_bytes=data_bytes, processes=processes)
    free = psutil.virtual_memory().available + min(psutil.Process().memory_info().rss, most.total)
    return memory_estimate(config, *shape, data_bytes=data_bytes, processes=processes, budget=int(SHARE * free))


def check_memory(estimate: MemoryEstimate, config: Config) -> None:
    """Refuse a run that does not fit into the free memory, unless ``run.ignore_memory`` is set.

    Raises
    ------
    ConfigError
        Names the figure, the largest item and what to lower.
    """
    free = psutil.virtual_memory().available + psutil.Process().memory_info().rss
    if estimate.total > free and not config.run.ignore_memory:
        name = estimate.largest
        each = f" in each of {estimate.processes} processes" if estimate.processes > 1 else ""
        raise ConfigError(
            f"This run needs about {_size(estimate.total)} of memory, but {_size(free)} are free. Most is for "
            f"{name}: {_size(estimate.items[name])}{each}. Lower {REMEDIES[name]}, or set "
            "run.ignore_memory=true to try."
        )


def disk_warning(estimate: MemoryEstimate, folder: Path) -> str:
    """Return a warning if fewer than three checkpoints fit on a folder's disk, two to keep and one to write; or ''."""
    free = shutil.disk_usage(folder).free
    if free >= 3 * estimate.checkpoint:
        return ""
    return (
        f"{_size(free)} are free on the disk of {folder}, fewer than three checkpoints of {_size(estimate.checkpoint)} "
        "each take. Make room, or the run may not be resumable if it is interrupted."
    )


def _evolution(config: Config, shapes: list[LayerShape], views: list[LayerShape]) -> int:
    """Return what the evolution of the hungriest layer takes beyond the layer at rest."""
    training = config.training
    needs = [0]
    if training.method == "two_phase":
        for shape in shapes:
            n_in, n_out, m = shape
            left = epsilon_to_connections(config.network.epsilon, n_in, n_out)
            needs.append(m + 12 * left - (8 * (m + n_out) if shape in views else 0))  # marks, the pruned layer
    if training.method != "set" or training.zeta == 0 or training.epochs == 1:
        return max(needs)
    rule = REGROWTH[training.regrow]
    for shape in shapes[:-1]:
        n_in, n_out, m = shape
        grown = int(training.zeta * m)
        need = 13 * m + 8 * grown + 16 * n_in  # survivors' marks, new connections, the merged layer
        need += rule.candidates * rule.bytes_per_candidate * grown
        if rule.needs != "gradient" and shape in views:
            need -= 8 * (m + n_out)  # the transposed view is released meanwhile
        needs.append(need)
    return max(needs)


def _workspace(shapes: list[LayerShape], samples: int) -> int:
    """Return the bytes of :class:`tsnn.engine.workspace.Workspace` for so many samples."""
    width = -(-samples // LANES) * LANES
    activations = shapes[0].n_in + sum(shape.n_out for shape in shapes)
    partial = sum(s.connections // SEGMENT for s in shapes if s.connections > SEGMENT * s.n_out)
    masks = sum(shape.n_out for shape in shapes) * width // 4
    return 4 * width * (activations + partial) + masks


def _widths(shapes: list[LayerShape], batch: int) -> Iterator[int]:
    """Yield the widths to try: the fastest, then those of more and more equal parts, down to one SIMD width."""
    fast = fast_width(max(shapes[0].n_in, *(shape.n_out for shape in shapes)), batch)
    yield fast
    stripes = -(-batch // LANES)
    for part in sorted({-(-stripes // parts) for parts in range(2, stripes + 1)}, reverse=True):
        if part * LANES < fast:
            yield part * LANES


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
