"""Provenance of a run: random generators, data, versions, machine."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tsnn._version import __version__
from tsnn.config import Config
from tsnn.datasets import Dataset, load_dataset
from tsnn.datasets.archives import holds_arrays
from tsnn.engine.memory import MemoryEstimate
from tsnn.engine.shapes import layer_shapes
from tsnn.machine import available_cores, processor_name


def generators(config: Config) -> list[np.random.Generator]:
    """Return a run's random generators: for the data, the initial network, the training."""
    return [np.random.default_rng(s) for s in np.random.SeedSequence(config.run.seed).spawn(3)]


def data_path(config: Config, meta: Mapping[str, Any]) -> str:
    """Return the absolute path of a run's data, if they are a file or folder; empty if they have a name.

    A relative path is relative to this process's folder. If nothing is there, it is the path at the run's start.
    """
    name = Path(config.data.name)
    if ((name.suffix or len(name.parts) > 1) and name.exists()) or holds_arrays(name):
        return str(name.absolute())
    return str(meta.get("data", {}).get("path") or "")


def load_data(config: Config, rng: np.random.Generator, path: str = "") -> Dataset:
    """Load a run's data set, from the given path if there is nothing at the one in its settings."""
    d = config.data
    name = path if path and not Path(d.name).exists() else d.name
    return load_dataset(
        name, size=d.size, target=d.target, task=d.task, test_fraction=d.test_fraction,
        validation_fraction=d.validation_fraction, preprocessing=d.preprocessing, rng=rng,
        header=d.header, drop=d.drop, missing=d.missing, missing_marks=d.missing_marks, transpose=d.transpose,
        separator=d.separator, stream=d.stream, processes=1 + config.parallel.workers,
    )  # fmt: skip


def provenance(config: Config, data: Dataset, estimate: MemoryEstimate, path: str = "") -> dict[str, Any]:
    """Return the content of ``meta.json``: versions, machine, settings, data (and their path), network, memory."""
    shapes = layer_shapes(data.n_features, data.n_outputs, config)
    packages = ("numpy", "scipy", "numba", "llvmlite")
    versions = {"tsnn": __version__, "python": platform.python_version()}
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seed": config.run.seed,
        "config": config.to_dict(),
        "versions": {**versions, **{p: importlib.metadata.version(p) for p in packages}},
        "machine": {
            "system": platform.platform(),
            "processor": processor_name(),
            "cores": available_cores(),
            "memory_bytes": psutil.virtual_memory().total,
        },
        "data": {
            "name": data.name,
            "source": data.source,
            "path": path or None,
            "digest": data.digest,
            "task": data.task,
            "n_train": len(data.x_train),
            "n_test": len(data.x_test),
            "n_validation": 0 if data.x_validation is None else len(data.x_validation),
            "n_features": data.n_features,
            "n_outputs": data.n_outputs,
            "image_shape": data.image_shape,
            "class_names": data.class_names,
            "baseline_accuracy": data.baseline_accuracy,
            "target_offset": None if data.target_offset is None else data.target_offset.tolist(),
            "target_scale": None if data.target_scale is None else data.target_scale.tolist(),
            "feature_names": data.feature_names,
            "medians": None if data.medians is None else data.medians.tolist(),
            "target": next((column.name for column in data.columns if column.kind == "target"), ""),
        },
        "network": {
            "sizes": (data.n_features, *(shape.n_out for shape in shapes)),
            "connections": [shape.connections for shape in shapes],
        },
        "memory": {
            "expected": estimate.total,
            "items": dict(estimate.items),
            "micro_batch": estimate.micro_batch,
            "streamed": estimate.streamed,
        },
    }
