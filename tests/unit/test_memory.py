"""The foretold memory is what runs take; what does not fit is cut into parts or refused."""

import json
import subprocess
import sys

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsnn.config import Config
from tsnn.engine.memory import INTERPRETER, check_memory, fitting_estimate, memory_estimate
from tsnn.errors import ConfigError
from tsnn.tiling import LANES, fast_width

MEASURE = """
import json, resource, sys
from pathlib import Path
from tsnn.config import Config
from tsnn.execution.engine import execute
from tsnn.runs import RunStore
run = RunStore(Path(sys.argv[2])).create(Config.from_dict(json.loads(sys.argv[1])))
list(execute(run))
status = Path("/proc/self/status")
if status.exists():  # ru_maxrss would contain that of the process which started this one
    peak = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) * 1024
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"peak": peak, **run.meta()["memory"]}))
"""


def measure(settings, folder):
    """Peak and estimate of a run in a process of its own; the second of two, as the first may compile."""
    np.savez(folder / "data.npz", X=np.random.default_rng(0).normal(size=(150, 500)), y=np.arange(150) % 3)
    config = Config().replace({"data.name": str(folder / "data.npz"), "training.epochs": 2, "run.snapshots": 2})
    config = config.replace({"training.learning_rate": 1e-6, "training.batch_size": 32, **settings})
    words = [sys.executable, "-c", MEASURE, json.dumps(config.to_dict()), str(folder)]
    for _ in range(2):
        output = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    result = json.loads(output)
    return result["peak"], result["expected"]


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory):
    """What a run of almost nothing takes; differs between versions of the libraries."""
    peak, _ = measure({"network.hidden": [10]}, tmp_path_factory.mktemp("small"))
    assert peak == pytest.approx(INTERPRETER, rel=0.5)
    return peak


@pytest.mark.slow
@pytest.mark.compiled
@pytest.mark.xdist_group("memory")
@pytest.mark.parametrize(
    "settings",
    [
        {"network.hidden": [300_000, 300_000], "network.epsilon": 20},
        {"network.hidden": [400_000] * 3, "network.epsilon": 2, "training.batch_size": 64},
        {"network.hidden": [3000, 3000], "training.method": "dense"},
        {"network.hidden": [3000, 3000], "training.method": "two_phase"},
        {"network.hidden": [200_000] * 2, "training.regrow": "gradient"},
        {"network.hidden": [5000], "data.name": "artificial"},
        {"network.hidden": [300_000, 300_000], "network.epsilon": 20, "run.compact": True},
    ],
    ids=["connections", "activations", "dense", "two_phase", "gradient", "artificial", "compact"],
)
def test_the_estimate_is_within_15_percent_of_the_peak(settings, tmp_path, interpreter):
    peak, expected = measure(settings, tmp_path)
    assert expected - INTERPRETER + interpreter == pytest.approx(peak, rel=0.15)


def test_items_follow_from_the_settings():
    config = Config().replace({"network.hidden": [1000, 1000], "network.epsilon": 10, "training.batch_size": 100})
    estimate = memory_estimate(config, 784, 10, 70_000)
    assert estimate.count == 17_840 + 20_000 + 10_000  # the last layer is dense
    assert estimate.items["connections"] == 20 * estimate.count
    assert estimate.items["data"] == 4 * 784 * 70_000
    assert estimate.largest == "data"
    assert estimate.micro_batch == 100
    fixed = memory_estimate(config.replace({"training.method": "fixed"}), 784, 10, 70_000)
    assert fixed.items["evolution"] == 0 < estimate.items["evolution"]
    dense = memory_estimate(config.replace({"training.method": "dense"}), 784, 10, 70_000)
    assert dense.count == 784_000 + 1_000_000 + 10_000


def test_a_batch_is_cut_into_as_few_parts_as_fit():
    config = Config().replace({"network.hidden": [10**6], "training.batch_size": 100})
    whole = memory_estimate(config, 10, 2, 1000)
    sample = whole.items["activations"] // 112
    least = memory_estimate(config, 10, 2, 1000, budget=0)
    assert least.compact
    for budget, width in [(whole.total, 100), (whole.total - 1, 64), (whole.total - 70 * sample, 32)]:
        estimate = memory_estimate(config, 10, 2, 1000, budget=budget)
        assert (estimate.micro_batch, estimate.compact) == (width, False)
        assert estimate.total <= budget
    narrow = memory_estimate(config.replace({"run.micro_batch": 16}), 10, 2, 1000)
    assert memory_estimate(config, 10, 2, 1000, budget=narrow.total - 1).compact
    assert least.items["connections"] == 12 * least.count + 8 * 2 * 10**6  # the output layer keeps its view
    assert memory_estimate(config.replace({"run.compact": True}), 10, 2, 1000).micro_batch == 100
    chosen = memory_estimate(config.replace({"run.micro_batch": 48}), 10, 2, 1000, budget=0)
    assert chosen.micro_batch == 48


def test_the_ranks_of_a_parallel_run_are_counted():
    config = Config().replace({"network.hidden": [1000, 1000]})
    one, three = (memory_estimate(config, 100, 2, 1000, processes=k) for k in (1, 3))
    assert three.total == 3 * one.total
    assert "3 processes, each: connections" in str(three)
    cut = memory_estimate(config, 100, 2, 1000, processes=3, budget=three.total - 1)
    assert cut.micro_batch < three.micro_batch


def test_what_cannot_fit_is_refused_with_the_way_out(monkeypatch):
    config = Config().replace({"network.hidden": [20_000_000] * 3})
    estimate = fitting_estimate(config, 784, 10, 70_000)
    memory = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory._replace(available=2**30))
    with pytest.raises(ConfigError, match=r"needs about [\d.]+ GiB .* 1\.\d GiB are.*connections.*network.epsilon"):
        check_memory(estimate, config)
    check_memory(estimate, config.replace({"run.ignore_memory": True}))
    assert fitting_estimate(config, 784, 10, 70_000).micro_batch == 16


@given(st.integers(1, 3000), st.sampled_from([1, 1024, 1025, 2**18 - 1, 2**18, 2**26]))
def test_parts_are_about_equal_and_no_wider_than_is_fast(batch, widest):
    most = 64 if 1024 < widest < 2**18 else 128
    width = fast_width(widest, batch)
    parts = -(-batch // width)
    assert width == batch if batch <= most else width <= most and width % LANES == 0
    assert parts == -(-batch // most)
    assert parts * width - batch < parts * LANES


def test_batches_are_cut_for_speed_where_layers_are_wide():
    config = Config().replace({"network.hidden": [1000], "training.batch_size": 200})
    for settings, features, width in [({}, 784, 112), ({"network.hidden": [1025]}, 784, 64), ({}, 1025, 64)]:
        assert memory_estimate(config.replace(settings), features, 10, 1000).micro_batch == width
