"""Memory: estimates agree with measurements; runs that do not fit are refused with the settings that would."""

import json
import subprocess
import sys

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tsnn
from tsnn.config import Config
from tsnn.engine.memory import INTERPRETER, USABLE, check_memory, fitting_estimate, memory_estimate, memory_shortage
from tsnn.errors import ConfigError
from tsnn.tiling import LANES, fast_width

MEASURE = """
import json, resource, sys
from functools import partial
from pathlib import Path
from tsnn.config import Config
from tsnn.datasets import loading
from tsnn.execution.engine import execute
from tsnn.runs import RunStore
loading.make_artificial = partial(loading.make_artificial, n_train=700, n_test=300)  # samples take no memory
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
    """Peak and estimate of a run in a process of its own, after one with few neurons, which may compile kernels."""
    np.savez(folder / "data.npz", X=np.random.default_rng(0).normal(size=(150, 500)), y=np.arange(150) % 3)
    config = Config().replace({"data.name": str(folder / "data.npz"), "training.epochs": 2, "run.snapshots": 2})
    config = config.replace({"training.learning_rate": 1e-6, "training.batch_size": 32, **settings})
    for hidden in ([2000] * len(config.network.hidden), config.network.hidden):
        command = [sys.executable, "-c", MEASURE, json.dumps(config.replace(hidden=hidden).to_dict()), str(folder)]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    result = json.loads(output)
    return result["peak"], result["expected"]


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory):
    """Peak of a run with a tiny network; differs between versions of the libraries."""
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
        {"network.hidden": [5000], "network.epsilon": 4, "data.name": "artificial", "training.batch_size": 256},
        {"network.hidden": [300_000, 300_000], "network.epsilon": 20, "run.compact": True},
        {"network.hidden": [25_000, 25_000], "network.epsilon": 2, "run.measures": True},
    ],
    ids=["connections", "activations", "dense", "two_phase", "gradient", "artificial", "compact", "measures"],
)
def test_estimate__is_within_15_percent_of_the_peak(settings, tmp_path, interpreter):
    peak, expected = measure(settings, tmp_path)
    assert expected - INTERPRETER + interpreter == pytest.approx(peak, rel=0.15)


def test_estimate__items_follow_from_the_settings():
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


def test_proposals__cut_a_batch_into_as_few_parts_as_fit():
    config = Config().replace({"network.hidden": [10**6], "training.batch_size": 100})
    shape = 10, 2, 1000
    full = memory_estimate(config, *shape)
    sample = full.items["activations"] // 112
    for budget, width in [(full.total, 100), (full.total - 1, 64), (full.total - 70 * sample, 32)]:
        estimate = fitting_estimate(config, *shape, budget=budget)
        assert (estimate.micro_batch, estimate.compact) == (width, False)
        assert estimate.total <= budget
    narrow = memory_estimate(config.replace({"run.micro_batch": 16}), *shape)
    assert fitting_estimate(config, *shape, budget=narrow.total - 1).compact
    least = fitting_estimate(config, *shape, budget=0)
    assert (least.compact, least.micro_batch) == (True, 16)
    assert least.items["connections"] == 12 * least.count + 8 * 2 * 10**6  # the output layer keeps its view
    assert fitting_estimate(config.replace(micro_batch=48), *shape, budget=full.total).micro_batch == 48


def test_estimate__depends_on_settings_and_shape_only(monkeypatch):
    config = Config().replace({"network.hidden": [10**6], "training.batch_size": 100})
    before = memory_estimate(config, 10, 2, 1000)
    monkeypatch.setattr(psutil, "virtual_memory", little_memory(0))
    assert memory_estimate(config, 10, 2, 1000) == before
    assert (before.micro_batch, before.compact) == (100, False)
    assert memory_estimate(config.replace(compact=True), 10, 2, 1000).compact
    assert memory_estimate(config.replace(micro_batch=48), 10, 2, 1000).micro_batch == 48


def test_estimate__counts_the_ranks_of_a_parallel_run():
    config = Config().replace({"network.hidden": [1000, 1000]})
    one, three = (memory_estimate(config, 100, 2, 1000, processes=k) for k in (1, 3))
    assert three.total == 3 * one.total
    assert "3 processes, each: connections" in str(three)
    cut = fitting_estimate(config, 100, 2, 1000, processes=3, budget=three.total - 1)
    assert cut.micro_batch < three.micro_batch


def little_memory(available):
    """Stands for ``psutil.virtual_memory`` on a machine with this number of bytes free."""
    memory = psutil.virtual_memory()
    return lambda: memory._replace(available=available)


def test_check__refuses_a_run_that_cannot_fit_and_names_what_to_lower(monkeypatch):
    config, shape = Config().replace({"network.hidden": [20_000_000] * 3}), (784, 10, 70_000)
    monkeypatch.setattr(psutil, "virtual_memory", little_memory(2**30))
    with pytest.raises(ConfigError, match=r"needs about [\d.]+ GiB .* [\d.]+ GiB are.*connections.*network.epsilon"):
        check_memory(config, *shape)
    check_memory(config.replace(ignore_memory=True), *shape)


def test_check__names_the_micro_batch_that_would_fit(monkeypatch):
    config, shape = Config().replace({"network.hidden": [3_000_000], "network.epsilon": 1}), (10, 2, 1000)
    rss = psutil.Process().memory_info().rss
    narrow = memory_estimate(config.replace(micro_batch=32), *shape)
    monkeypatch.setattr(psutil, "virtual_memory", little_memory(int(1.15 * narrow.total) - rss))
    with pytest.raises(ConfigError) as error:
        check_memory(config, *shape)
    assert "Most is for activations" in str(error.value)
    assert "With run.micro_batch=32 it needs" in str(error.value)
    check_memory(config.replace(micro_batch=32), *shape)
    least, compact = (memory_estimate(config.replace(micro_batch=16, compact=c), *shape) for c in (False, True))
    between = (least.total + compact.total) / 2
    monkeypatch.setattr(psutil, "virtual_memory", little_memory(int(between / USABLE) - rss))
    assert "run.micro_batch=16 and run.compact=true" in memory_shortage(config, *shape)


def test_training__gives_the_same_bits_on_a_machine_with_little_memory_or_is_refused(blobs, tiny, monkeypatch):
    def train(config):
        rng = np.random.default_rng(3)
        network = tsnn.init_network(blobs.n_features, blobs.n_outputs, config, rng=rng)
        list(tsnn.train(network, blobs, config, rng=rng))
        return [layer.weights.tobytes() for layer in network.layers]

    config = tiny.replace(batch_size=64)
    expected = train(config)
    estimate = memory_estimate(config, blobs.n_features, blobs.n_outputs, 135, data_bytes=blobs.nbytes)
    monkeypatch.setattr(psutil, "virtual_memory", little_memory(estimate.total))
    assert train(config) == expected
    monkeypatch.setattr(psutil, "virtual_memory", little_memory(-(2**40)))
    with pytest.raises(ConfigError, match=r"run\.ignore_memory=true"):
        train(config)
    assert train(config.replace(ignore_memory=True)) == expected
    with pytest.raises(ConfigError, match="This run needs about"):
        tsnn.SparseMLPClassifier(epochs=1).fit(np.asarray(blobs.x_train), blobs.y_train)


def test_run__is_refused_before_it_starts_on_a_machine_with_little_memory(filed, tmp_path, monkeypatch):
    from tsnn.execution.engine import execute

    run = tsnn.RunStore(tmp_path / "runs").create(filed)
    monkeypatch.setattr(psutil, "virtual_memory", little_memory(-(2**40)))
    monkeypatch.setattr("tsnn.datasets.archives.refuse_if_too_big", lambda needed, path: None)
    with pytest.raises(ConfigError, match="This run needs about"):
        list(execute(run))
    assert run.status()["state"] == "failed"
    assert run.records() == []


@given(st.integers(1, 3000), st.sampled_from([1, 1024, 1025, 2**18 - 1, 2**18, 2**26]))
def test_fast_width__makes_about_equal_parts(batch, widest):
    most = 64 if 1024 < widest < 2**18 else 128
    width = fast_width(widest, batch)
    parts = -(-batch // width)
    assert width == batch if batch <= most else width <= most and width % LANES == 0
    assert parts == -(-batch // most)
    assert parts * width - batch < parts * LANES


def test_estimate__cuts_batches_for_speed_where_layers_are_wide():
    config = Config().replace({"network.hidden": [1000], "training.batch_size": 200})
    for settings, features, width in [({}, 784, 112), ({"network.hidden": [1025]}, 784, 64), ({}, 1025, 64)]:
        assert memory_estimate(config.replace(settings), features, 10, 1000).micro_batch == width
