"""Density instead of epsilon: from settings and command line to the layers of runs, estimators and estimates."""

import itertools

import numpy as np
import pytest

import tsnn
from tsnn.cli import main
from tsnn.config import Config
from tsnn.engine.epochs import dense_epochs
from tsnn.engine.evolution import target_connections
from tsnn.engine.importance import prune_neurons
from tsnn.engine.memory import memory_estimate
from tsnn.engine.network import init_network
from tsnn.engine.training import train
from tsnn.errors import ConfigError
from tsnn.execution.engine import execute
from tsnn.runs.control import changed_config, check_effect
from tsnn.runs.forks import make_fork


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (0.05, (0.05,)), ("0.05", (0.05,)), ("0.1,0.2,0.3,1", (0.1, 0.2, 0.3, 1)), ([0.1, 0.2, 1, 1], (0.1, 0.2, 1, 1)),
        ("[0.5]", (0.5,)), (1, (1.0,)), ("1", (1.0,)), ("", ()), ([], ()), (np.array([0.5]), (0.5,)),
        (np.float32(0.5), (0.5,)),
    ],
)  # fmt: skip
def test_density__is_read_in_every_usual_notation(given, value):
    assert Config().replace(density=given).network.density == value


@pytest.mark.parametrize(
    ("settings", "fragment"),
    [
        ({"density": 0}, "network.density must be greater than 0 and at most 1; got 0"),
        ({"density": "1.5"}, "at most 1; got 1.5"),
        ({"density": "some"}, "network.density must be numbers such as 0.05 or 0.1,0.2; got 'some'"),
        ({"density": float("nan")}, "must be numbers"),
        ({"density": [True]}, "must be numbers"),
        ({"density": (0.1, 0.2)}, "one number, or one for each of the 4 layers of connections; got 2"),
        ({"density": (0.1, 0.2), "hidden": 9, "allocation": "uniform"}, "has nothing to divide"),
    ],
)
def test_density__names_the_fault_of_bad_values(settings, fragment):
    with pytest.raises(ConfigError) as error:
        Config().replace(settings)
    assert fragment in str(error.value)


def test_density__is_kept_in_toml(tmp_path):
    config = Config().replace(density=(0.02, 0.05, 0.05, 1.0))
    (tmp_path / "a.toml").write_text(config.to_toml())
    assert Config.from_toml(tmp_path / "a.toml") == config


def test_density__of_1000_neurons_has_the_connections_that_the_papers_count(tiny):
    config = Config().replace(density=0.05)
    network = init_network(784, 10, config, rng=np.random.default_rng(0))
    assert network.connections == round(0.05 * 2_794_000)
    assert network.layers[-1].topology.density == 1  # by Erdős–Rényi it would get 13,000 of 10,000 connections
    uniform = init_network(784, 10, config.replace(allocation="uniform"), rng=np.random.default_rng(0))
    assert [layer.topology.density for layer in uniform.layers] == pytest.approx([0.05] * 4)


def test_density__is_kept_by_evolution_and_reached_by_the_end_of_a_dense_phase(blobs, tiny):
    config = tiny.replace({"network.density": 0.3, "training.epochs": 4})
    for method in ("set", "two_phase"):
        rng = np.random.default_rng(0)
        settings = config.replace(method=method)
        network = init_network(12, 3, settings, rng=rng)
        records = list(train(network, blobs, settings, rng=rng))
        places = 12 * 10 + 2 * 10 * 10 + 10 * 3
        wanted = [
            places if record.epoch < dense_epochs(settings.training) else round(0.3 * places) for record in records
        ]
        assert [record.connections for record in records] == wanted


def test_density__after_importance_pruning_is_that_between_living_neurons(tiny, rng):
    config = tiny.replace({"network.density": 0.4})
    network = init_network(12, 3, config, rng=rng)
    prune_neurons(network, 30)
    sizes = [12, *(int(living.sum()) for living in network.living)]
    assert sizes[1:-1] != [10, 10, 10]
    places = sum(a * b for a, b in itertools.pairwise(sizes))
    assert sum(target_connections(network, config)) == round(0.4 * places)


@pytest.mark.parametrize("method", ["set", "two_phase"])
def test_density__is_in_the_memory_estimate(method):
    thin, thick = (Config().replace(density=d, method=method) for d in (0.01, 0.2))
    estimates = [memory_estimate(config, 784, 10, 1000) for config in (thin, thick)]
    assert estimates[0].total < estimates[1].total
    assert estimates[0].count == (round(0.01 * 2_794_000) if method == "set" else 2_794_000)


def test_density__makes_a_changed_epsilon_an_error():
    config = Config().replace(density=0.1)
    with pytest.raises(ConfigError, match=r"epsilon has no effect here: network\.density decides"):
        check_effect(config, ["zeta", "epsilon"])
    assert changed_config(config, {"zeta": 0.1}).training.zeta == 0.1


def test_density__of_a_run_by_the_command_line_and_its_fork(filed, tmp_path, capsys):
    store = tsnn.RunStore(tmp_path / "runs")
    run = store.create(filed.replace({"network.density": 0.3, "training.epochs": 2, "run.checkpoint_epochs": 1}))
    list(execute(run))
    assert {record.connections for record in run.records()} == {105}
    with pytest.raises(ConfigError, match=r"network\.density decides"):
        make_fork(run, settings={"epsilon": 3, "epochs": 4})
    assert main(["train", filed.data.name, "--set", "density=0.1,0.2", "--runs", str(tmp_path)]) == 1
    assert "one for each of the" in capsys.readouterr().err


def test_density__of_an_estimator():
    x, y = np.random.default_rng(0).normal(size=(60, 10)), np.arange(60) % 2
    model = tsnn.SparseMLPClassifier(hidden=(20, 10), density=0.25, epochs=2, random_state=0).fit(x, y)
    assert model.network_.connections == round(0.25 * (200 + 200 + model.network_.sizes[-1] * 10))
