"""Falling density: runs that begin with more connections than epsilon or density grants."""

import numpy as np
import pytest

import tsnn
from tests.support.ranks import Threads
from tsnn.config import Config
from tsnn.engine.evolution import evolve_all
from tsnn.engine.memory import memory_estimate
from tsnn.engine.network import init_network
from tsnn.engine.serialization import pack, unpack
from tsnn.engine.state import TrainingState
from tsnn.engine.training import steps, train
from tsnn.records import EpochRecord, Progress

FALLING = {"training.epochs": 7, "training.evolve_until": 0.75, "training.start_factor": 3}


@pytest.fixture
def falling(tiny):
    return tiny.replace(FALLING)


def records_of(data, config, seed=0):
    rng = np.random.default_rng(seed)
    return list(train(init_network(12, 3, config, rng=rng), data, config, rng=rng))


@pytest.mark.parametrize("zeta", [0, 0.2])
@pytest.mark.parametrize("settings", [{}, {"network.density": 0.2}, {"network.density": (0.1, 0.2, 0.3, 0.5)}])
def test_start_factor__lets_every_layer_fall_by_a_cubic(blobs, falling, settings, zeta):
    config = falling.replace(settings).replace(zeta=zeta)
    thin = init_network(12, 3, config.replace(start_factor=1), rng=np.random.default_rng(0))
    thick = init_network(12, 3, config, rng=np.random.default_rng(0))
    few, many = ([layer.topology.connections for layer in network.layers] for network in (thin, thick))
    assert sum(many) > 2 * sum(few)
    records = records_of(blobs, config)
    for record in records[:-1]:
        left = (1 - min(record.epoch, 5) / 5) ** 3  # the last evolution is after epoch 5, 0.75 of 7
        assert [layer.connections for layer in record.layers] == [
            a + round(left * (b - a)) for a, b in zip(few, many, strict=True)
        ]
    assert [record.connections for record in records[5:]] == [sum(few)] * 2
    assert any(layer.grown for record in records for layer in record.layers) == (zeta > 0)


def test_start_factor__prunes_the_smallest_weights(falling, rng):
    network = init_network(12, 3, falling, rng=rng)
    before = [dict(zip(layer.topology.keys(), layer.weights, strict=True)) for layer in network.layers]
    wanted = [len(weights) // 2 for weights in before]
    assert sum(evolve_all(network, falling.replace(zeta=0), wanted, None, rng)) == 0
    for weights, layer, count in zip(before, network.layers, wanted, strict=True):
        largest = sorted(weights, key=lambda key: -abs(weights[key]))[:count]
        assert layer.topology.keys().tolist() == sorted(largest)
        assert layer.weights.tolist() == [weights[key] for key in sorted(largest)]


@pytest.mark.parametrize("settings", [{"prune": "threshold"}, {"regrow": "gradient"}, {"evolve_every": 1 / 3}])
def test_start_factor__ends_at_the_granted_number_with_any_rule(blobs, falling, settings):
    config = falling.replace(settings)
    granted = init_network(12, 3, config.replace(start_factor=1), rng=np.random.default_rng(0)).connections
    counts = [record.connections for record in records_of(blobs, config)]
    assert counts[0] > granted
    assert counts == sorted(counts, reverse=True)
    assert counts[5:] == [granted] * 2


def test_start_factor__of_workers_falls_in_phase_1(blobs, falling):
    config = falling.replace({"parallel.workers": 2, "parallel.phase1_fraction": 0.6, "training.batch_size": 16})
    granted = init_network(12, 3, config.replace(start_factor=1), rng=np.random.default_rng(0)).connections
    counts = [item.connections for item in Threads(blobs, config) if isinstance(item, EpochRecord)]
    assert counts[0] > granted
    assert counts[3:] == [granted] * 4  # four of seven epochs


@pytest.mark.parametrize("samples", [32, 90])
def test_start_factor__continues_from_a_checkpoint_with_the_same_bits(blobs, falling, samples):
    config, rng = falling.replace(evolve_every=0.5, regrow="gradient"), np.random.default_rng(0)
    state = TrainingState.begin(init_network(12, 3, config, rng=rng), config, rng=rng)
    stepping = steps(state, blobs)
    for item in stepping:
        if isinstance(item, Progress) and (item.epoch, item.samples) == (3, samples):
            break
    values, arrays = pack(state)
    other = unpack(values, {name: np.array(array) for name, array in arrays.items()})
    results = [
        [(r.test_loss, r.connections) for r in s if isinstance(r, EpochRecord)] for s in (stepping, steps(other, blobs))
    ]
    assert results[0] == results[1] != []


def test_start_factor__is_in_the_memory_estimate():
    thin = Config().replace(density=0.01, zeta=0)
    estimates = [memory_estimate(c, 784, 10, 1000) for c in (thin, thin.replace(start_factor=20))]
    assert [estimate.count for estimate in estimates] == [round(0.01 * 2_794_000), round(0.2 * 2_794_000)]
    assert estimates[1].items["evolution"] > 0 == estimates[0].items["evolution"]


@pytest.mark.parametrize("settings", [{"epochs": 1}, {"evolve_until": 0}, {"evolve_every": 9}])
def test_start_factor__has_no_effect_without_an_evolution(blobs, falling, settings):
    config = falling.replace(settings)
    granted = init_network(12, 3, config.replace(start_factor=1), rng=np.random.default_rng(0)).connections
    assert {record.connections for record in records_of(blobs, config)} == {granted}


@pytest.mark.parametrize("method", ["fixed", "dense", "two_phase"])
def test_start_factor__is_that_of_set(falling, method):
    counts = [
        init_network(12, 3, c, rng=np.random.default_rng(0)).connections
        for c in (falling.replace(method=method), falling.replace(method=method, start_factor=1))
    ]
    assert counts[0] == counts[1]


def test_start_factor__of_an_estimator():
    x, y = np.random.default_rng(0).normal(size=(60, 10)), np.arange(60) % 2
    model = tsnn.SparseMLPClassifier(hidden=(20, 10), density=0.1, start_factor=5, epochs=4, random_state=0).fit(x, y)
    assert model.network_.connections < model.history_[0].connections + 1
    assert model.network_.connections == round(0.1 * (200 + 200 + model.network_.sizes[-1] * 10))
