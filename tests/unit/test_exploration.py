"""Measures gathered while training: ITOP rate and gradient flow; the same after resuming, and of no effect."""

import itertools

import numpy as np
import pytest

from tsnn.config import Config
from tsnn.engine import shapes
from tsnn.engine.batches import Batch, batch_gradient
from tsnn.engine.exploration import Explored, gradient_flow
from tsnn.engine.memory import memory_estimate
from tsnn.engine.network import init_network
from tsnn.engine.state import TrainingState
from tsnn.engine.training import steps, train
from tsnn.engine.workspace import Workspace
from tsnn.execution.engine import execute
from tsnn.jobs.launch import prepare_resume
from tsnn.records import EpochRecord, Progress
from tsnn.runs.export import to_csv
from tsnn.runs.forks import make_fork


@pytest.fixture
def measured(tiny):
    return tiny.replace({"run.measures": True, "training.epochs": 4, "training.zeta": 0.4})


def network_of(data, config):
    rng = np.random.default_rng(3)
    return init_network(data.n_features, data.n_outputs, config, rng=rng), rng


def explored_sets(network, union):
    for places, layer in zip(union, network.layers, strict=True):
        places |= set(layer.topology.keys().tolist())


def test_itop__is_the_size_of_the_union_of_all_patterns(blobs, measured):
    network, rng = network_of(blobs, measured)
    union = [set() for _ in network.layers]
    explored_sets(network, union)
    for record in train(network, blobs, measured, rng=rng):
        explored_sets(network, union)
        expected = [len(places) / (l.n_in * l.n_out) for places, l in zip(union, record.layers, strict=True)]
        assert [layer.itop for layer in record.layers] == expected
        assert record.seconds_measure > 0
    assert record.layers[0].itop > record.layers[0].density


def test_itop__of_many_places_is_estimated_from_every_third_row(blobs, measured, monkeypatch):
    network, _ = network_of(blobs, measured)
    places = sum(layer.topology.n_in * layer.topology.n_out for layer in network.layers)
    monkeypatch.setattr(shapes, "MAX_PLACES", places // 3 + 1)
    for rate, layer in zip(Explored(network).rates, network.layers, strict=True):
        t = layer.topology
        rows = t.out_degree[::3]
        assert rate == rows.sum() / (len(rows) * t.n_out)


def test_gradient_flow__is_the_squared_norm_of_the_batch_gradient(blobs, measured):
    network, _ = network_of(blobs, measured)
    workspace = Workspace(network.sizes, 16)
    flow = gradient_flow(network, blobs, workspace, 40, seed=5)
    rows = np.random.default_rng(5).choice(len(blobs.x_train), 40, replace=False, shuffle=False)
    batch_gradient(network, workspace, Batch.of(blobs, rows), dropout=0, key=0)
    expected = [float((layer.velocity.astype(np.float64) ** 2).sum()) for layer in network.layers]
    np.testing.assert_allclose(flow, expected, rtol=1e-4)
    assert all(flow)


@pytest.mark.parametrize("regrow", ["random", "gradient"])
def test_measures__change_no_result(blobs, measured, regrow):
    results = []
    for on in (False, True):
        config = measured.replace({"run.measures": on, "training.regrow": regrow})
        network, rng = network_of(blobs, config)
        records = list(train(network, blobs, config, rng=rng))
        assert (records[-1].layers[0].itop is not None) == on
        results.append([*(r.test_loss for r in records), *(l.weights.tobytes() for l in network.layers)])
    assert results[0] == results[1]


def test_copy_of_a_state__explores_by_itself(blobs, measured):
    network, rng = network_of(blobs, measured)
    state = TrainingState.begin(network, measured, rng=rng)
    next(item for item in steps(state, blobs) if isinstance(item, EpochRecord))
    before, copied = state.explored.rates, state.copy()
    list(steps(copied, blobs))
    assert state.explored.rates == before
    assert copied.explored.rates[0] > before[0]


MEASURED = {"run.measures": True, "training.epochs": 4, "run.checkpoint_epochs": 1, "training.zeta": 0.4}


def values(run):
    return [[(layer.itop, layer.gradient_flow) for layer in record.layers] for record in run.records()]


def test_resumed_run__has_the_same_measures(store, filed):
    config = filed.replace(MEASURED)
    whole, run = store.create(config), store.create(config)
    list(execute(whole))
    for item in execute(run):
        if isinstance(item, Progress) and item.epoch == 3:
            break
    prepare_resume(run)
    list(execute(run))
    assert values(run) == values(whole)
    assert None not in itertools.chain(*values(run)[-1])


def test_fork__that_turns_measures_on_begins_to_explore(store, filed):
    run = store.create(filed.replace({**MEASURED, "run.measures": False}))
    list(execute(run))
    fork = make_fork(run, 2, {"run.measures": True})
    list(execute(fork))
    assert [r.layers[0].itop is None for r in fork.records()] == [True, True, False, False]
    assert b"layer1_itop" not in to_csv(run)


def test_export__has_columns_of_the_measures(store, filed):
    run = store.create(filed.replace({**MEASURED, "training.epochs": 1}))
    list(execute(run))
    head, row = (line.split(",") for line in to_csv(run).decode().splitlines())
    assert float(row[head.index("layer1_itop")]) == run.records()[0].layers[0].itop
    assert float(row[head.index("layer1_gradient_flow")]) > 0


def test_checkpoint__with_bits_of_another_network_is_refused(blobs, measured):
    network, _ = network_of(blobs, measured)
    arrays = Explored(network).arrays()
    with pytest.raises(ValueError, match="explored_0"):
        Explored(network, arrays | {"explored_0": arrays["explored_0"][1:]})


def test_estimate__counts_a_bit_for_each_place():
    config = Config().replace({"network.hidden": [4000, 4000], "training.zeta": 0})
    plain, measured = (memory_estimate(config.replace({"run.measures": on}), 800, 10, 1000) for on in (False, True))
    bits = (800 * 4000 + 4000 * 4000 + 4000 * 10) // 8
    assert measured.items["measures"] == measured.checkpoint - plain.checkpoint == bits
    assert measured.items["evolution"] == 4 * 20 * 8000
    assert "measures" not in plain.items
    huge = memory_estimate(config.replace({"run.measures": True, "network.hidden": [10**6, 10**6]}), 800, 10, 1000)
    assert huge.items["measures"] < 126e6
