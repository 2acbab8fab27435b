"""Training: learning, reproducibility, settings changed meanwhile, divergence."""

import dataclasses

import numpy as np
import pytest

from tsnn import kernels
from tsnn.config import Config
from tsnn.datasets import load_dataset, make_dataset
from tsnn.engine.batches import Batch, probe_gradient, train_batch
from tsnn.engine.metrics import decision_values, evaluate
from tsnn.engine.network import init_network
from tsnn.engine.propagation import forward
from tsnn.engine.schedules import Rates, rates_at
from tsnn.engine.shapes import layer_shapes
from tsnn.engine.state import TrainingState
from tsnn.engine.training import steps, train
from tsnn.engine.workspace import Workspace
from tsnn.errors import DataError, DivergenceError
from tsnn.records import EpochRecord, Progress


def fresh(data, config, seed=3):
    rng = np.random.default_rng(seed)
    return init_network(data.n_features, data.n_outputs, config, rng=rng), rng


def run(data, config, seed=3):
    network, rng = fresh(data, config, seed)
    return network, list(train(network, data, config, rng=rng))


def bits(network):
    return [a.tobytes() for layer in network.layers for a in (layer.weights, layer.topology.indices, layer.bias)]


@pytest.mark.compiled
def test_training__learns_to_separate_blobs(blobs, tiny):
    _, records = run(blobs, tiny.replace({"training.epochs": 30}))
    assert records[-1].test_accuracy > 0.9
    assert records[-1].train_loss < records[0].train_loss
    assert [record.epoch for record in records] == list(range(1, 31))
    assert records[-1].samples == 30 * len(blobs.x_train)


@pytest.mark.compiled
def test_training__learns_a_regression_and_several_labels(rng, tiny):
    x = rng.normal(size=(200, 6))
    config = tiny.replace({"training.epochs": 40, "network.dropout": 0, "network.activation": "relu"})
    _, records = run(make_dataset(x, x[:, :2] @ [[1, 0.5], [0, 1]], rng=rng), config, seed=6)
    assert records[-1].test_loss < 0.6 * records[0].test_loss
    assert records[-1].test_accuracy is None
    labels = (x[:, :2] > 0).astype(int)
    _, records = run(make_dataset(x, labels, task="multilabel", rng=rng), config)
    assert records[-1].test_accuracy > 0.8


def test_validation_split__is_evaluated_and_never_trained_on(blobs, tiny):
    judged = dataclasses.replace(blobs, x_validation=blobs.x_test[:9], y_validation=blobs.y_test[:9])
    plain, without = run(blobs, tiny)
    network, records = run(judged, tiny)
    assert bits(network) == bits(plain)
    workspace = Workspace(network.sizes, 16)
    expected = evaluate(network, judged.x_validation, judged.y_validation, "classification", workspace)
    assert (records[-1].validation_loss, records[-1].validation_accuracy) == expected
    assert {record.validation_loss for record in without} == {None}


@pytest.mark.compiled
@pytest.mark.parametrize("regrow", ["random", "gradient"])
def test_same_seed__gives_the_same_bits_for_any_number_of_threads(blobs, tiny, regrow):
    config = tiny.replace({"training.regrow": regrow})
    one, records_one = run(blobs, config.replace({"run.threads": 1}))
    two, records_two = run(blobs, config.replace({"run.threads": 2}))
    other, _ = run(blobs, config, seed=4)
    assert bits(one) == bits(two)
    assert bits(one) != bits(other)
    assert [r.train_loss for r in records_one] == [r.train_loss for r in records_two]


@pytest.mark.compiled
def test_same_seed__gives_the_same_bits_on_real_data():
    data = load_dataset("fashion_mnist", size="small", rng=np.random.default_rng(0))
    config = Config.preset("fashion_mnist").replace({"training.epochs": 2})
    networks = [run(data, config.replace({"run.threads": threads}))[0] for threads in (1, 2)]
    assert bits(networks[0]) == bits(networks[1])


def test_evolution__keeps_the_number_of_connections_and_the_output_layer(blobs, tiny):
    network, rng = fresh(blobs, tiny)
    before = [layer.topology for layer in network.layers]
    records = list(train(network, blobs, tiny, rng=rng))
    for old, layer in zip(before, network.layers, strict=True):
        assert layer.topology.connections == old.connections
    assert network.layers[-1].topology is before[-1]
    assert network.layers[0].topology is not before[0]
    assert [layer.pruned > 0 for layer in records[0].layers] == [True, True, True, False]
    assert all(layer.pruned == 0 for layer in records[-1].layers)  # none after the last epoch


@pytest.mark.parametrize("change", [{"training.method": "fixed"}, {"training.zeta": 0}])
def test_fixed__keeps_the_topology(blobs, tiny, change):
    config = tiny.replace(change)
    network, rng = fresh(blobs, config)
    before = [layer.topology for layer in network.layers]
    list(train(network, blobs, config, rng=rng))
    assert [layer.topology for layer in network.layers] == before


def test_dense__has_every_connection(blobs, tiny):
    network, records = run(blobs, tiny.replace({"training.method": "dense", "training.epochs": 1}))
    assert all(layer.topology.density == 1 for layer in network.layers)
    assert [event.kind for event in records[0].events] == ["dense_layer"] * 4


def test_two_phase__is_dense_first_then_pruned_by_magnitude_and_retrained(blobs, tiny):
    config = tiny.replace({"training.method": "two_phase", "training.epochs": 5})
    _, records = run(blobs, config)
    wanted = [shape.connections for shape in layer_shapes(12, 3, tiny)]
    assert [record.connections for record in records] == [12 * 10 + 10 * 10 * 2 + 10 * 3, *[sum(wanted)] * 4]
    assert [layer.connections for layer in records[1].layers] == wanted
    assert [layer.grown for layer in records[1].layers] == [0] * 4
    events = [event for record in records for event in record.events if event.kind == "two_phase"]
    assert [(event.epoch, "from 350 to 150" in event.message) for event in events] == [(2, True)]


def test_two_phase__keeps_the_largest_weights(blobs, tiny):
    config = tiny.replace({"training.method": "two_phase", "training.epochs": 2, "training.learning_rate": 1e-9})
    config = config.replace({"training.weight_decay": 0})
    network, rng = fresh(blobs, config)
    before = [np.sort(np.abs(layer.weights))[::-1] for layer in network.layers]
    list(train(network, blobs, config, rng=rng))
    for layer, weights in zip(network.layers, before, strict=True):
        np.testing.assert_allclose(np.sort(np.abs(layer.weights))[::-1], weights[: len(layer.weights)], rtol=1e-4)


def test_epoch__includes_the_last_smaller_batch(blobs, tiny):
    network, rng = fresh(blobs, tiny)
    state = TrainingState.begin(network, tiny, rng=rng)
    done = [item.samples for item in steps(state, blobs) if isinstance(item, Progress)]
    assert done == [32, 64, 90] * 3


def test_evaluation__counts_every_sample(blobs, tiny):
    network, _ = run(blobs, tiny)
    small, large = (Workspace(network.sizes, b) for b in (16, 64))
    answers = decision_values(network, blobs.x_test, small)
    assert answers.shape == (45, 3)
    _, accuracy = evaluate(network, blobs.x_test, blobs.y_test, "classification", large)
    assert accuracy == pytest.approx((answers.argmax(axis=1) == blobs.y_test).mean())
    one_by_one = [
        evaluate(network, blobs.x_test[i : i + 1], blobs.y_test[i : i + 1], "classification", small) for i in range(45)
    ]
    loss, accuracy = evaluate(network, blobs.x_test, blobs.y_test, "classification", small)
    assert loss == pytest.approx(np.mean([one[0] for one in one_by_one]), rel=1e-5)
    assert accuracy == pytest.approx(np.mean([one[1] for one in one_by_one]))


@pytest.mark.parametrize("width", [16, 32, 48])
def test_batch__in_parts_gives_the_same_up_to_rounding(blobs, tiny, width):
    config = tiny.replace({"network.dropout": 0.4})
    full, parts = (fresh(blobs, config)[0] for _ in range(2))
    batch = Batch.of(blobs, np.random.default_rng(1).permutation(90)[:70])
    for key in range(4):
        results = [
            train_batch(network, Workspace(network.sizes, w), batch, rates=rates_at(config, 0), key=100 * key)
            for network, w in ((full, 70), (parts, width))
        ]
        np.testing.assert_allclose(results[1], results[0], rtol=1e-4)
    for one, other in zip(full.layers, parts.layers, strict=True):
        for name in ("weights", "velocity", "bias", "bias_velocity"):
            np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("regrow", ["random", "gradient"])
def test_micro_batches__change_rounding_only(blobs, tiny, regrow):
    config = tiny.replace({"training.regrow": regrow, "training.zeta": 0.1})
    full, records = run(blobs, config)
    parts, records_of_parts = run(blobs, config.replace({"run.micro_batch": 16}))
    for one, other in zip(full.layers, parts.layers, strict=True):
        assert (one.topology.indices == other.topology.indices).all()
        np.testing.assert_allclose(one.weights, other.weights, rtol=1e-2, atol=1e-4)
    assert [r.train_loss for r in records] == pytest.approx([r.train_loss for r in records_of_parts], rel=1e-4)


def test_compact_network__learns_the_same_without_a_transposed_view(blobs, tiny):
    usual, records = run(blobs, tiny)
    compact, same = run(blobs, tiny.replace({"run.compact": True}))
    for one, other in zip(usual.layers, compact.layers, strict=True):
        assert one.weights.tobytes() == other.weights.tobytes()
        assert "transposed" not in vars(other.topology)
        assert "transposed" in vars(one.topology)
    assert [r.test_loss for r in records] == [r.test_loss for r in same]


@pytest.mark.compiled
def test_large_network__is_computed_by_scatter_on_one_thread_with_the_same_bits(rng, monkeypatch):
    network = init_network(600, 3, Config().replace({"network.hidden": (600,), "network.density": (0.8,)}), rng=rng)
    workspace = Workspace(network.sizes, 5)
    workspace.activations[0][:] = rng.normal(size=(600, 8))
    used, results = [], []
    monkeypatch.setattr(kernels, "scatter", lambda *a, scatter=kernels.scatter: (used.append(len(a[0])), scatter(*a)))
    for threads in (1, 2):
        monkeypatch.setattr("numba.get_num_threads", lambda threads=threads: threads)
        results.append(forward(network, workspace).copy())
    assert used == [601]  # the first layer, on one thread; the other is small
    np.testing.assert_array_equal(*results)


def test_one_sample__takes_one_column_and_has_the_bits_that_it_has_among_others(rng):
    network = init_network(70, 3, Config().replace({"network.hidden": (60, 50), "network.epsilon": 5}), rng=rng)
    x = rng.normal(size=(9, 70)).astype(np.float32)
    single = Workspace(network.sizes, 1)
    assert single.width == 1
    alone = [decision_values(network, row, single) for row in x[:, None]]
    assert "transposed" not in vars(network.layers[0].topology)
    np.testing.assert_array_equal(np.concatenate(alone), decision_values(network, x, Workspace(network.sizes, 9)))


def test_probe_gradient__is_that_of_a_dense_layer(blobs, tiny):
    network, rng = fresh(blobs, tiny.replace({"training.method": "dense"}))
    layer, chosen = 1, rng.permutation(90)[:40]
    t, workspace = network.layers[layer].topology, Workspace(network.sizes, 16)
    batch = Batch.of(blobs, chosen)
    probed = probe_gradient(network, workspace, batch, layer, t.indptr, t.indices)
    before = network.layers[layer].weights.copy()
    train_batch(network, workspace, batch, rates=Rates(0, 1e-3, 0, 0), key=0)
    np.testing.assert_allclose((before - network.layers[layer].weights) / 1e-3, probed, rtol=0.01, atol=1e-3)


def test_batch__may_be_larger_than_the_data(blobs, tiny):
    _, records = run(blobs, tiny.replace({"training.batch_size": 5000}))
    assert len(records) == 3


def drive(data, config, change, after):
    """Train, and change the pending configuration after this number of epochs."""
    network, rng = fresh(data, config)
    state, records = TrainingState.begin(network, config, rng=rng), []
    for item in steps(state, data):
        if isinstance(item, EpochRecord):
            records.append(item)
            if item.epoch == after:
                state.pending = config.replace(change)
    return network, records


def test_zeta__changed_while_training_counts_from_the_next_evolution(blobs, tiny):
    config = tiny.replace({"training.epochs": 4})
    _, records = drive(blobs, config, {"training.zeta": 0.8}, after=1)
    assert [record.settings["zeta"] for record in records] == [0.3, 0.8, 0.8, 0.8]
    assert records[1].layers[0].pruned > 2 * records[0].layers[0].pruned
    assert [event.message for event in records[1].events] == ["zeta changed from 0.3 to 0.8"]


@pytest.mark.parametrize("epsilon", [1.0, 3.0])
def test_epsilon__changed_while_training_is_reached_by_the_next_evolution(blobs, tiny, epsilon):
    config = tiny.replace({"training.epochs": 3})
    _, records = drive(blobs, config, {"network.epsilon": epsilon}, after=1)
    assert [layer.connections for layer in records[0].layers] == [44, 40, 40, 26]
    wanted = [round(epsilon * n) for n in (22, 20, 20)]
    assert [layer.connections for layer in records[1].layers] == [*wanted, 26]
    assert [layer.connections for layer in records[2].layers] == [*wanted, 26]


def test_learning_rate_and_dropout__change_between_epochs(blobs, tiny):
    _, records = drive(blobs, tiny, {"training.learning_rate": 0.2, "network.dropout": 0.4}, after=1)
    assert [(r.settings["learning_rate"], r.settings["dropout"]) for r in records] == [
        (0.05, 0.1),
        (0.2, 0.4),
        (0.2, 0.4),
    ]


def test_importance_pruning__follows_its_schedule(blobs, tiny):
    config = tiny.replace({"training.epochs": 6, "importance.percentile": 20})
    config = config.replace({"importance.start": 2, "importance.every": 2})
    _, records = run(blobs, config)
    assert [record.layers[0].living for record in records] == [10, 8, 8, 6, 6, 6]
    assert records[1].connections < records[0].connections
    assert records[2].connections == records[1].connections  # evolution keeps what is left
    assert [e.kind for e in records[1].events] == ["neurons_pruned"] * 3
    assert "2 neurons pruned from hidden layer 1, 8 left" in records[1].events[0].message


def test_settings__have_their_effect(blobs, tiny):
    base, _ = run(blobs, tiny)
    for change in ({"training.weight_decay": 0.1}, {"training.momentum": 0.0}, {"network.alpha": 0.1}):
        assert bits(run(blobs, tiny.replace(change))[0]) != bits(base)


def test_divergence__is_named(blobs, tiny):
    network, rng = fresh(blobs, tiny.replace({"training.learning_rate": 1e30}))
    with pytest.raises(DivergenceError, match=r"epoch \d+.* learning rate 1e\+30"):
        list(train(network, blobs, tiny.replace({"training.learning_rate": 1e30}), rng=rng))


def test_network__of_another_width_is_refused(blobs, tiny, rng):
    network = init_network(5, 3, tiny, rng=rng)
    with pytest.raises(DataError, match="takes 5 features"):
        next(train(network, blobs, tiny, rng=rng))


def test_records__are_read_back_from_json(blobs, tiny):
    _, records = run(blobs, tiny)
    assert [EpochRecord.from_dict(record.to_dict()) for record in records] == records
    assert EpochRecord.from_dict({**records[0].to_dict(), "new_field": 1}) == records[0]
    assert dataclasses.is_dataclass(records[0].layers[0])
