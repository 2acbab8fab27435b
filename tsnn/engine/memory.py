"""Memory of a run, predicted from its settings and the shape of its data by arithmetic alone."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from tsnn.config import Config
from tsnn.engine.activations import curve_of
from tsnn.engine.shapes import LayerShape, explored_stride, granted_connections, layer_shapes
from tsnn.errors import ConfigError
from tsnn.machine import available_memory
from tsnn.registry import OPTIMIZERS, PRUNING, REGROWTH
from tsnn.tiling import LANES, SEGMENT, can_scatter, fast_width, padded, words

INTERPRETER = 180 << 20  # Python, the libraries, compiled code
USABLE = 0.9  # fraction of the free memory that proposed settings may take

#: Settings to lower if an item is too big.
REMEDIES = {
    "connections": "network.epsilon, network.density or network.hidden",
    "neurons": "network.hidden",
    "activations": "run.micro_batch, training.batch_size or network.hidden",
    "data": "the number of samples or features, or set data.stream=always for .npy, .npz and Parquet files",
    "evolution": "network.epsilon, network.density, training.zeta or the widest of network.hidden",
    "measures": "network.hidden, or set run.measures=false",
    "interpreter": "what else runs on this machine",
}


@dataclass(frozen=True)
class MemoryEstimate:
    """The expected peak of a run's resident memory, on one machine.

    Attributes
    ----------
    items : mapping of str to int
        Bytes by purpose: ``connections`` (weights, velocity and both index views, 20 each; 12 if compact;
        more with other optimizers than momentum SGD),
        ``neurons`` (biases, row pointers), ``activations`` (with masks, of a micro-batch), ``data``,
        ``evolution`` (extra memory while the layer that needs most evolves), ``interpreter`` (with
        libraries and compiled code). With ``run.measures`` also ``measures``, a bit for each place. Of one process.
    micro_batch : int
        Samples that are processed at a time.
    compact : bool
        Whether layers have no transposed view.
    count : int
        Number of connections.
    processes : int
        Ranks of a parallel run on this machine; each takes the same.
    streamed : int
        Bytes of features that are streamed from disk, and take none of the memory.
    state : int
        Bytes for each connection that the optimizer takes in addition to those of momentum SGD.
    """

    items: Mapping[str, int]
    micro_batch: int
    compact: bool
    count: int
    processes: int = 1
    streamed: int = 0
    state: int = 0

    @property
    def total(self) -> int:
        """The peak of all processes together, in bytes."""
        return self.processes * sum(self.items.values())

    @property
    def checkpoint(self) -> int:
        """Size of a checkpoint on the disk, in bytes: 12 or more for each connection, the neurons, and the measures."""
        return (12 + self.state) * self.count + self.items["neurons"] + self.items.get("measures", 0)

    @property
    def largest(self) -> str:
        """The largest item."""
        return max(self.items, key=lambda name: self.items[name])

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {_size(size)}" for name, size in self.items.items())
        compact = ", compact" if self.compact else ""
        disk = f"{_size(self.checkpoint)} per checkpoint"
        times = f"{self.processes} processes, each: " if self.processes > 1 else ""
        streamed = f"; {_size(self.streamed)} of features are streamed from disk" if self.streamed else ""
        samples = f"{self.micro_batch} samples at a time{compact}"
        return f"{_size(self.total)} expected ({times}{parts}); {samples}; {disk}{streamed}"


def memory_estimate(
    config: Config, n_features: int, n_outputs: int, n_samples: int, *, data_bytes: int | None = None,
    processes: int = 1,
) -> MemoryEstimate:  # fmt: skip
    """Predict the peak resident memory of a run.

    Parameters
    ----------
    config : Config
        The run's settings. If ``run.micro_batch`` is 0, a batch is cut into parts that are fast
        (:func:`tsnn.tiling.fast_width`).
    n_features, n_outputs, n_samples : int
        Shape of the data, training and test part together.
    data_bytes : int, optional
        Memory of the features; default is that of float32.
    processes : int
        Ranks of a parallel run on this machine, the server's included: each holds data, network and buffers.

    Returns
    -------
    estimate : MemoryEstimate
        For processes that do nothing else; correct within 15 % where one takes more than the interpreter.
    """
    shapes = layer_shapes(n_features, n_outputs, config)
    count = sum(shape.connections for shape in shapes)
    batch = min(config.training.batch_size, n_samples)
    width = min(config.run.micro_batch, batch) or _fast_width(config, shapes, batch)
    views = [s for s in shapes if not (config.run.compact and can_scatter(s.n_out, s.connections))]
    state = _state_bytes(config)
    items = {
        "connections": (12 + state) * count + 8 * sum(s.connections for s in views),
        "neurons": sum((9 + state) * s.n_out + 8 * s.n_in for s in shapes) + 8 * sum(s.n_out for s in views),
        "activations": _workspace(config, shapes, width),
        "data": 4 * n_samples * n_features if data_bytes is None else data_bytes,
        "evolution": _evolution(config, shapes, views, width),
        "interpreter": INTERPRETER,
    }
    if config.run.measures:
        pairs = [(s.n_in, s.n_out) for s in shapes]
        stride = explored_stride(pairs)
        items["measures"] = sum(-(-n_in // stride) * n_out // 8 for n_in, n_out in pairs)
        items["evolution"] = max(items["evolution"], 4 * max(s.connections for s in shapes))  # a layer's gradient
    return MemoryEstimate(items, width, config.run.compact, count, processes, state=state)


def fitting_estimate(
    config: Config, n_features: int, n_outputs: int, n_samples: int, *, data_bytes: int | None = None,
    processes: int = 1, budget: int | None = None,
) -> MemoryEstimate:  # fmt: skip
    """Return the estimate of the fastest ``run.micro_batch`` and ``run.compact`` that fit into a budget.

    For proposals only: training never changes these settings by itself, as they decide rounding.

    Parameters
    ----------
    config, n_features, n_outputs, n_samples, data_bytes, processes
        See :func:`memory_estimate`.
    budget : int, optional
        Bytes that the run may take; default is most of the memory that is free now.

    Returns
    -------
    estimate : MemoryEstimate
        That of the settings given if they fit; else of narrower micro-batches; else of a compact network; the
        smallest if none fits.
    """
    shape = n_features, n_outputs, n_samples
    budget = int(USABLE * free_memory()) if budget is None else budget
    estimate = memory_estimate(config, *shape, data_bytes=data_bytes, processes=processes)
    if estimate.total <= budget:
        return estimate
    shapes = layer_shapes(n_features, n_outputs, config)
    widths = [
        estimate.micro_batch,
        *_narrower(estimate.micro_batch, min(config.training.batch_size, n_samples), config, shapes),
    ]
    for compact, width in itertools.product([True] if config.run.compact else [False, True], widths):
        smaller = config.replace({"run.compact": compact, "run.micro_batch": width})
        estimate = memory_estimate(smaller, *shape, data_bytes=data_bytes, processes=processes)
        if estimate.total <= budget:
            break
    return estimate


def memory_shortage(
    config: Config, n_features: int, n_outputs: int, n_samples: int, *, data_bytes: int | None = None,
    processes: int = 1,
) -> str:  # fmt: skip
    """Return why a run does not fit into the free memory, and the settings that would fit; '' if it fits.

    Parameters are those of :func:`memory_estimate`. The memory of this process counts as part of the run.
    """
    shape, free = (n_features, n_outputs, n_samples), free_memory()
    estimate = memory_estimate(config, *shape, data_bytes=data_bytes, processes=processes)
    if estimate.total <= free:
        return ""
    name = estimate.largest
    each = f" in each of {processes} processes" if processes > 1 else ""
    text = (
        f"This run needs about {_size(estimate.total)} of memory, but {_size(free)} are free. Most is for "
        f"{name}: {_size(estimate.items[name])}{each}."
    )
    fitting = fitting_estimate(config, *shape, data_bytes=data_bytes, processes=processes)
    if fitting.total > free:
        return f"{text} Lower {REMEDIES[name]}, or set run.ignore_memory=true to try."
    settings = f"run.micro_batch={fitting.micro_batch}" + (" and run.compact=true" if fitting.compact else "")
    return f"{text} With {settings} it needs {_size(fitting.total)}. Or set run.ignore_memory=true to try."


def check_memory(
    config: Config, n_features: int, n_outputs: int, n_samples: int, *, data_bytes: int | None = None,
    processes: int = 1,
) -> None:  # fmt: skip
    """Refuse a run that does not fit into the free memory, unless ``run.ignore_memory`` is set.

    Parameters are those of :func:`memory_estimate`.

    Raises
    ------
    ConfigError
        Names the figure, the largest item, and the micro-batch that would fit or the settings to lower.
    """
    if config.run.ignore_memory:
        return
    if text := memory_shortage(config, n_features, n_outputs, n_samples, data_bytes=data_bytes, processes=processes):
        raise ConfigError(text)


def free_memory() -> int:
    """Return the bytes that a run may take now: available memory, and the memory of this process."""
    return int(available_memory() + psutil.Process().memory_info().rss)


def disk_warning(estimate: MemoryEstimate, folder: Path) -> str:
    """Return a warning if fewer than three checkpoints fit on a folder's disk, two to keep and one to write; or ''."""
    free = shutil.disk_usage(folder).free
    if free >= 3 * estimate.checkpoint:
        return ""
    return (
        f"{_size(free)} are free on the disk of {folder}, fewer than three checkpoints of {_size(estimate.checkpoint)} "
        "each take. Make room, or the run may not be resumable if it is interrupted."
    )


def _state_bytes(config: Config) -> int:
    """Return the bytes for each connection that an optimizer takes in addition to those of momentum SGD."""
    rule = OPTIMIZERS.find(config.training.optimizer)
    return 0 if rule.fused else 4 * len(rule.state)


def _evolution(config: Config, shapes: list[LayerShape], views: list[LayerShape], width: int) -> int:
    """Return the extra memory of evolution, for the layer that needs most."""
    training = config.training
    needs = [0]
    if training.method == "two_phase":
        sizes = shapes[0].n_in, *(shape.n_out for shape in shapes)
        for shape, left in zip(shapes, granted_connections(sizes, config.network), strict=True):
            n_out, m = shape.n_out, shape.connections
            needs.append(m + 12 * left - (8 * (m + n_out) if shape in views else 0))  # marks, the pruned layer
    falls = training.start_factor > 1
    if training.method != "set" or not (training.zeta or falls) or training.epochs == 1:
        return max(needs)
    prune, regrow = PRUNING.find(training.prune), REGROWTH.find(training.regrow)
    evolving = shapes if falls else shapes[:-1]
    count = sum(shape.connections for shape in evolving)
    probed = bool({prune.needs, regrow.needs} & {"gradient", "activations"})
    for shape in evolving:
        n_in, n_out, m = shape
        grown = int(training.zeta * m)
        need = (12 + _state_bytes(config)) * m + 8 * grown + 16 * n_in  # the merged layer, new connections
        need += regrow.candidates * regrow.bytes_per_candidate * grown + regrow.bytes_per_connection * m
        need += 4 * 64 * n_out if regrow.needs == "activations" else 0  # a copy of activations
        need += 4 * width * (n_in + n_out) if probed and config.training.precision == "bfloat16" else 0  # widened
        pruning = prune.bytes_per_connection * (count if prune.needs == "network" else m)
        released = 8 * (m + n_out) if shape in views and not probed else 0  # the transposed view, meanwhile
        needs.append(max(need, pruning) + count - released)  # and the survivors' marks
    return max(needs)


def _workspace(config: Config, shapes: list[LayerShape], samples: int) -> int:
    """Return the bytes of :class:`tsnn.engine.workspace.Workspace` for this number of samples."""
    width = padded(samples, config.training.precision)
    hidden = sum(shape.n_out for shape in shapes[:-1])
    activations = (shapes[0].n_in + hidden) * (2 if config.training.precision == "bfloat16" else 4)
    partial = sum(s.connections // SEGMENT for s in shapes if s.connections > SEGMENT * s.n_out)
    derivatives = hidden if curve_of(config.network.activation) else 0
    masks = 4 * words(width) * sum(shape.n_out for shape in shapes)
    return width * (activations + 4 * (shapes[-1].n_out + partial + derivatives)) + masks


def _fast_width(config: Config, shapes: list[LayerShape], batch: int) -> int:
    return fast_width(max(shapes[0].n_in, *(shape.n_out for shape in shapes)), batch, config.training.precision)


def _narrower(width: int, batch: int, config: Config, shapes: list[LayerShape]) -> Iterator[int]:
    """Yield narrower micro-batches: the fastest, then those of more and more equal parts, down to one SIMD width."""
    stripes = -(-batch // LANES)
    parts = {-(-stripes // k) * LANES for k in range(2, stripes + 1)} | {_fast_width(config, shapes, batch)}
    yield from sorted((part for part in parts if part < width), reverse=True)


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
