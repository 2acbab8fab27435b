"""Compilation before training: in the order of need, with a helper, each kernel once, and the threading layer."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from tsnn import kernels
from tsnn.config import Config
from tsnn.execution.engine import execute
from tsnn.machine import available_cores
from tsnn.records import Compilation, Progress
from tsnn.runs import RunStore

TINY = {"training.epochs": 2, "network.hidden": [30, 20], "data.size": "small"}
needs_compiler = pytest.mark.skipif(not kernels.COMPILED, reason="nothing is compiled")


def test_execute__yields_the_stages_of_compilation_first(tmp_path):
    run = RunStore(tmp_path).create(Config.preset("madelon").replace(TINY))
    items = []
    for item in execute(run):
        items.append(item)
        if isinstance(item, Compilation):
            assert run.status()["state"] == "compiling"
    stages = [item for item in items if isinstance(item, Compilation)]
    assert [stage.name for stage in stages[:4]] == ["samples", "forward pass", "loss", "backward pass"]
    assert [stage.stage for stage in stages] == list(range(1, stages[0].stages + 1))
    assert items.index(stages[-1]) + 1 == next(i for i, item in enumerate(items) if isinstance(item, Progress))
    assert str(stages[2]) == f"compiling 3 of {len(stages)}: loss"
    assert run.status()["message"] == "All epochs done"


def saved(folder, *arguments):
    """Return the names of the kernels that a run compiled and saved itself, without its helper."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder / "cache"), "NUMBA_DEBUG_CACHE": "1"}
    command = [sys.executable, "-m", "tsnn", "train", "madelon", "--runs", str(folder / "runs")]
    command += ["--set", "epochs=3", "--set", "hidden=30-20", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if "data saved to" in line]


@needs_compiler
@pytest.mark.slow
def test_helper__compiles_topology_and_evolution_once(tmp_path):
    first = saved(tmp_path)
    assert any("gather_loop" in line for line in first)
    if available_cores() > 1:
        assert not [line for line in first if "sort_loop" in line or "merge_connections" in line]
    assert len(set(first)) == len(first)
    assert saved(tmp_path, "--seed", "5") == []


@needs_compiler
def test_helper__that_has_failed_is_not_waited_for():
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"])
    process.wait()
    kernels.set_helper(process)
    try:
        assert not kernels.helper_is_busy()
        kernels.sort_rows(np.array([0, 3]), values := np.array([3, 1, 2], np.int32))
    finally:
        kernels.set_helper(None)
    assert values.tolist() == [1, 2, 3]


@pytest.mark.parametrize("length", [1, 47, 48, 49, 50, 200, 5000])
@pytest.mark.parametrize("kind", ["random", "equal", "ascending", "descending", "sawtooth"])
def test_sort_rows__sorts_rows_of_any_kind(length, kind):
    rng = np.random.default_rng(length)
    numbers = np.arange(length)
    row = {
        "random": rng.integers(0, 10 * length, length), "equal": rng.integers(0, 3, length), "ascending": numbers,
        "descending": numbers[::-1], "sawtooth": numbers % 17,
    }[kind].astype(np.int32)  # fmt: skip
    values = np.concatenate([row, row[::-1], row])
    kernels.sort_rows(np.arange(4) * length, values)
    assert values.reshape(3, length).tolist() == [sorted(row.tolist())] * 3


@needs_compiler
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("tbb") is None and sys.platform != "linux", reason="there is no TBB")
@pytest.mark.parametrize(
    "first", ["tsnn.init_network(20, 2, tsnn.Config(), rng=np.random.default_rng(0))", "kernels.set_threads(1)"]
)
def test_threading_layer__is_tbb_whatever_runs_first(first):
    """OpenMP was taken when a network was drawn, or threads were set: up to 20 times slower on a busy machine."""
    script = f"import numba, numpy as np, tsnn\nfrom tsnn import kernels\n{first}\nprint(numba.threading_layer())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["tbb"]
