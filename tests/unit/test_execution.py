"""Execution of a run: records, commands, failures; snapshots."""

import json
import time

import numpy as np
import pytest

import tsnn
from tsnn.config import Config
from tsnn.engine.importance import prune_neurons
from tsnn.engine.snapshots import EXTREME, STRONGEST, Ages, density_map, snapshot_epochs, take_snapshot
from tsnn.errors import DivergenceError, RunError
from tsnn.execution.engine import execute
from tsnn.records import EpochRecord, Progress
from tsnn.runs import RunStore
from tsnn.runs.control import request


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs")


@pytest.fixture
def config(filed):
    return filed


def lines_of(run, kind):
    return [line for line in run.lines()[0] if line["type"] == kind]


def test_execute__records_everything_in_the_run_directory(store, config):
    run = store.create(config)
    yielded = [item for item in execute(run) if isinstance(item, EpochRecord)]
    assert [r.to_dict() | {"events": ()} for r in run.records()] == [r.to_dict() | {"events": ()} for r in yielded]
    assert run.status()["state"] == "finished"
    lines = run.lines()[0]
    assert [line["seq"] for line in lines] == list(range(len(lines)))
    assert {"test_accuracy", "train_loss"} <= lines_of(run, "epoch")[0].keys()
    assert lines[-1]["type"] == "end"
    assert "epoch 3: train loss" in run.log()
    meta = run.meta()
    assert meta["seed"] == 0
    assert meta["data"]["n_features"] == 12
    assert meta["versions"]["tsnn"] == tsnn.__version__
    assert meta["machine"]["cores"] >= 1
    assert Config.from_dict(meta["config"]) == config == run.config()
    assert run.snapshot_epochs() == [0, 1, 2, 3]
    network = tsnn.load_network(run.path / "weights.npz")
    assert [layer.topology.connections for layer in network.layers] == [
        layer["connections"] for layer in lines_of(run, "epoch")[-1]["layers"]
    ]


def test_execute__same_seed_same_weights(store, config):
    runs = [store.create(config.replace({"run.threads": threads})) for threads in (1, 2)]
    for run in runs:
        list(execute(run))
    one, two = (np.load(run.path / "weights.npz") for run in runs)
    assert all((one[name] == two[name]).all() for name in one.files)


def test_execute__divergence_is_recorded(store, config):
    run = store.create(config.replace({"training.learning_rate": 1e3, "training.epochs": 50}))
    with pytest.raises(DivergenceError):
        list(execute(run))
    assert run.status()["state"] == "failed"
    assert "learning rate 1000" in run.status()["message"]
    assert lines_of(run, "end")[0]["message"] == run.status()["message"]


def test_execute__missing_data_set_is_recorded_with_a_message(store, config):
    run = store.create(config.replace({"data.name": "fashion_minst"}))
    with pytest.raises(tsnn.errors.DataError):
        list(execute(run))
    assert run.status()["state"] == "failed"
    assert "fashion_mnist" in run.status()["message"]


def test_execute__closing_stops_the_run_and_keeps_its_weights(store, config):
    run = store.create(config)
    execution = execute(run)
    next(item for item in execution if isinstance(item, Progress))
    execution.close()
    assert run.status()["state"] == "stopped"
    assert tsnn.load_network(run.path / "weights.npz").connections > 0


def test_commands__are_executed_and_acknowledged(store, config):
    run = store.create(config.replace({"training.epochs": 100_000}))
    execution = execute(run)

    def advance(condition):
        deadline = time.monotonic() + 25
        while not condition():
            next(execution)
            assert time.monotonic() < deadline

    def acked(command):
        return any(line["command"] == command.id and line["accepted"] for line in lines_of(run, "ack"))

    advance(lambda: len(run.records()) > 0)
    command = request(run, "set", zeta=0.7, learning_rate=0.011)
    advance(lambda: acked(command))
    messages = [line["message"] for line in lines_of(run, "event")]
    assert "zeta changed from 0.3 to 0.7" in messages
    advance(lambda: run.records()[-1].settings["zeta"] == 0.7 and run.records()[-1].settings["learning_rate"] == 0.011)

    request(run, "pause")
    advance(lambda: run.status()["state"] == "paused")
    epochs = len(run.records())
    for _ in range(5):
        next(execution)
    assert len(run.records()) == epochs

    request(run, "step")
    advance(lambda: len(run.records()) > epochs)
    advance(lambda: run.status()["state"] == "paused")
    assert len(run.records()) == epochs + 1

    request(run, "resume")
    advance(lambda: len(run.records()) > epochs + 3)
    request(run, "stop")
    list(execution)
    assert run.status()["state"] == "stopped"


def test_snapshots__are_taken_at_pauses_steps_and_changes(store, config):
    run = store.create(config.replace({"training.epochs": 100_000, "run.snapshots": 2}))
    execution = execute(run)

    def advance(condition):
        deadline = time.monotonic() + 25
        while not condition():
            next(execution)
            assert time.monotonic() < deadline

    advance(lambda: len(run.records()) > 0)
    request(run, "set", zeta=0.7)
    advance(lambda: any(record.settings["zeta"] == 0.7 for record in run.records()))
    changed = next(record.epoch for record in run.records() if record.settings["zeta"] == 0.7)
    request(run, "pause")
    advance(lambda: run.status()["state"] == "paused")
    paused = len(run.records())
    assert {changed, paused} <= set(run.snapshot_epochs())
    request(run, "step")
    advance(lambda: len(run.records()) > paused)
    advance(lambda: run.snapshot_epochs()[-1] == paused + 1)
    advance(lambda: run.status()["state"] == "paused")
    assert len(run.snapshot(paused + 1).layers) == len(run.snapshot(0).layers)
    execution.close()


def test_request__run_that_is_not_live_is_refused(store, config):
    run = store.create(config)
    list(execute(run))
    with pytest.raises(
        RunError, match=f"Run {run.id} is finished: it cannot obey the command 'set'. Continue it first"
    ):
        request(run, "set", zeta=0.5)
    assert not (run.path / "control.jsonl").exists()


def test_commands__invalid_one_is_refused(store, config):
    run = store.create(config.replace({"training.epochs": 100_000}))
    with open(run.path / "control.jsonl", "w") as file:
        file.write(json.dumps({"action": "set", "settings": {"zeta": 0.1}, "id": "good", "time": 0}) + "\n")
        file.write(json.dumps({"action": "set", "settings": {"zeta": 2}, "id": "bad", "time": 0}) + "\n")
    execution = execute(run)
    deadline = time.monotonic() + 25
    while len(lines_of(run, "ack")) < 2:
        next(execution)
        assert time.monotonic() < deadline
    execution.close()
    answers = {line["command"]: line for line in lines_of(run, "ack")}
    assert answers["good"]["accepted"]
    assert not answers["bad"]["accepted"]
    assert "training.zeta must be" in answers["bad"]["message"]


def test_execute__unexpected_error_leaves_its_traceback_in_the_log(store, config, monkeypatch):
    monkeypatch.setattr("tsnn.execution.engine.take_snapshot", lambda *_: 1 / 0)
    run = store.create(config)
    with pytest.raises(ZeroDivisionError):
        list(execute(run))
    assert run.status()["message"] == "ZeroDivisionError: division by zero"
    assert "Traceback" in run.log()


def test_snapshot_epochs__spaced_geometrically_in_long_runs():
    assert snapshot_epochs(5, 200) == {0, 1, 2, 3, 4, 5}
    epochs = sorted(snapshot_epochs(10_000, 50))
    assert len(epochs) <= 51
    assert epochs[0] == 0
    assert epochs[-1] == 10_000
    assert np.diff(epochs)[-1] > 100 * np.diff(epochs)[0]


def test_snapshot__summarises_the_network(rng):
    network = tsnn.init_network(300, 4, Config().replace({"network.hidden": [250, 9]}), rng=rng)
    snapshot = take_snapshot(network, percentile=50)
    layer = snapshot.layers[0]
    first = network.layers[0].topology
    matrix = np.zeros((300, 250), int)
    matrix[first.rows(), first.indices] = 1
    assert (snapshot.input_degree == matrix.sum(axis=1)).all()
    assert snapshot.input_strength.sum() == pytest.approx(abs(network.layers[0].weights).sum(), rel=1e-4)
    assert layer.in_degree.tolist() == [[d, n] for d, n in enumerate(np.bincount(matrix.sum(axis=0))) if n]
    assert layer.out_degree[:, 1].sum() == 300
    assert layer.importance.sum() == 250
    assert layer.density.shape == (200, 200)
    assert snapshot.layers[2].density.shape == (9, 4)
    cells, largest = density_map(first)
    expected = np.zeros((200, 200))
    np.add.at(expected, (first.rows() * 200 // 300, first.indices * 200 // 250), 1)
    np.testing.assert_allclose(cells * (largest / 255), expected, atol=largest / 255)
    assert layer.importance_edges[0] <= layer.importance_threshold <= layer.importance_edges[-1]
    assert [layer.to_prune for layer in snapshot.layers] == [125, 5, 0], "the output layer keeps all"
    together = take_snapshot(network, percentile=50, scope="network").layers
    assert together[0].importance_threshold == together[1].importance_threshold
    assert [layer.to_prune for layer in together] == [*prune_neurons(network, 50, "network"), 0]


def test_ages__count_epochs_since_connections_exist(rng, blobs, tiny):
    config = tiny.replace({"training.epochs": 6, "training.zeta": 0.4})
    network = tsnn.init_network(12, 3, config, rng=rng)
    ages, keys = Ages(network), [[layer.topology.keys() for layer in network.layers]]
    for record in tsnn.train(network, blobs, config, rng=rng):
        ages.update(network, record.epoch)
        keys.append([layer.topology.keys() for layer in network.layers])
    for l in range(4):
        lived = [
            next(age for age in range(8) if age == 6 or key not in keys[5 - age][l]) for key in keys[6][l].tolist()
        ]
        present, counts = np.unique(lived, return_counts=True)
        assert np.array_equal(ages.counts(l), np.stack([present, counts], axis=1))
    assert ages.counts(3).tolist() == [[6, len(keys[0][3])]], "the output layer does not evolve"


def test_ages__of_wide_layers_are_sampled(rng, monkeypatch):
    network = tsnn.init_network(300, 3, Config().replace({"network.hidden": [200]}), rng=rng)
    total = network.layers[0].topology.connections
    monkeypatch.setattr("tsnn.engine.snapshots.MAX_AGED", 1000)
    followed = Ages(network).counts(0)[:, 1].sum()
    assert 0 < followed <= 1200 < total


def test_snapshot__lists_extreme_neurons_with_their_connections(rng):
    config = Config().replace({"network.hidden": [100, 50], "network.epsilon": 40})
    network = tsnn.init_network(700, 3, config, rng=rng)
    network.living[0][7] = False
    first, second, last = take_snapshot(network).layers
    dense = [np.zeros((layer.topology.n_in, layer.topology.n_out)) for layer in network.layers]
    for matrix, layer in zip(dense, network.layers, strict=True):
        matrix[layer.topology.rows(), layer.topology.indices] = layer.weights
    score = np.where(network.living[0], abs(dense[0]).sum(axis=0), np.nan)
    order = np.argsort(score)[:99]
    neurons = first.neurons
    assert neurons.tolist() == [*order[:EXTREME], *order[-EXTREME:]]
    assert np.allclose(first.neuron_values[:, 0], score[neurons], rtol=1e-5)
    for at, j in enumerate(neurons):
        assert first.neuron_values[at, 1:].tolist() == [(dense[0][:, j] != 0).sum(), (dense[1][j] != 0).sum()]
        into = slice(*first.incoming_indptr[at : at + 2])
        assert np.array_equal(first.incoming_indices[into], np.flatnonzero(dense[0][:, j]))
        assert np.allclose(first.incoming_weights[into], dense[0][dense[0][:, j] != 0, j], rtol=1e-3)
        out = slice(*first.outgoing_indptr[at : at + 2])
        assert np.array_equal(first.outgoing_indices[out], np.flatnonzero(dense[1][j]))
    into = slice(*second.incoming_indptr[:2])
    weakest = abs(second.incoming_weights[into].astype(float)).min()
    all_of_it = dense[1][:, second.neurons[0]]
    assert into.stop == min(STRONGEST, (all_of_it != 0).sum())
    assert (abs(all_of_it) > 1.01 * weakest).sum() <= STRONGEST
    assert len(last.outgoing_indices) == 0


@pytest.mark.compiled
def test_snapshot__summarises_wide_inputs_in_blocks(rng):
    network = tsnn.init_network(250_000, 2, Config().replace({"network.hidden": [3]}), rng=rng)
    snapshot = take_snapshot(network)
    assert len(snapshot.input_degree) <= 100_000
    assert snapshot.input_degree.mean() == pytest.approx(network.layers[0].topology.connections / 250_000, rel=1e-3)
