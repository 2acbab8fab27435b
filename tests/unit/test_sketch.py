"""Sketch of a network: the drawn part of a snapshot, against naive computations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tsnn
from tsnn.archives import npz_bytes
from tsnn.config import Config
from tsnn.engine import sketch
from tsnn.engine.snapshots import Ages, take_snapshot
from tsnn.runs import RunStore
from tsnn.snapshot import Snapshot


def network(sizes, epsilon, seed=0, **more):
    config = Config().replace({"network.hidden": sizes[1:-1], "network.epsilon": epsilon, **more})
    return tsnn.init_network(sizes[0], sizes[-1], config, rng=np.random.default_rng(seed)), config


def dense(layer):
    matrix = np.zeros((layer.topology.n_in, layer.topology.n_out), np.float32)
    matrix[layer.topology.rows(), layer.topology.indices] = layer.weights
    return matrix


def evolved(net, seed, zeta=0.4):
    """Return the network after an evolution of all its layers."""
    from tsnn.engine.evolution import evolve

    rng = np.random.default_rng(seed)
    for l, layer in enumerate(net.layers):
        net.layers[l] = evolve(layer, layer.topology.connections, zeta=zeta, initializer="normal", rng=rng).layer
    return net


def drawn_inputs(snapshot):
    return np.arange(snapshot.sizes[0]) if snapshot.drawn_inputs is None else snapshot.drawn_inputs


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=2, max_size=5),
    epsilon=st.floats(0.5, 20),
    image=st.booleans(),
    most=st.integers(10, 400),
    seed=st.integers(0, 9),
)
def test_sketch__holds_all_connections_between_its_neurons(sizes, epsilon, image, most, seed):
    net, _ = network(sizes, epsilon, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sketch, "MAX_EDGES", most)
        patch.setattr(sketch, "ABRIDGED", most // 2)
        snapshot = take_snapshot(net, image=image)
    starts, total = drawn_inputs(snapshot), 0
    for l, (layer, part) in enumerate(zip(net.layers, snapshot.layers, strict=True)):
        matrix = dense(layer)
        naive = [(i, j) for i in sorted(starts) for j in sorted(part.drawn) if matrix[i, j] != 0]
        assert part.edges.tolist() == [list(edge) for edge in naive]
        assert part.edge_weights.tolist() == [np.float16(matrix[edge]) for edge in naive]
        fan_out = (dense(net.layers[l + 1])[part.drawn] != 0).sum(1) if l + 1 < len(net.layers) else 0 * part.drawn
        assert part.drawn_degree.tolist() == np.stack([(matrix[:, part.drawn] != 0).sum(0), fan_out], 1).tolist()
        starts, total = part.drawn, total + len(naive)
    complete = sum(layer.topology.connections for layer in net.layers) <= most
    assert total <= most if complete else most // 2
    if complete:
        assert [len(part.drawn) for part in snapshot.layers] == sizes[1:], "a small network is drawn completely"


def test_sketch__takes_the_strongest_neurons_of_a_large_network():
    net, _ = network([300, 400, 400, 5], 20)
    snapshot = take_snapshot(net)
    first, second = (abs(dense(layer)) for layer in net.layers[:2])
    strength = first.sum(0) + second.sum(1)
    k = len(snapshot.layers[0].drawn)
    assert 10 < k < 200
    assert set(snapshot.layers[0].drawn) == set(np.argsort(-strength)[:k])
    assert len(snapshot.layers[2].drawn) == 5
    assert 500 < sum(len(layer.edges) for layer in snapshot.layers) <= sketch.ABRIDGED


def test_sketch__neurons_stay_in_their_places_while_they_are_strong():
    net, _ = network([300, 400, 400, 5], 20)
    before = take_snapshot(net)
    after = take_snapshot(evolved(net, 1), before=before)
    stayed, again = 0, take_snapshot(net)
    for one, two, fresh in zip(before.layers[:2], after.layers[:2], again.layers[:2], strict=True):
        kept = np.isin(one.drawn[: len(two.drawn)], two.drawn)
        assert (one.drawn[: len(two.drawn)][kept] == two.drawn[kept]).all(), "in their places"
        assert len(set(two.drawn)) == len(two.drawn)
        stayed += int(kept.sum()) - int(np.isin(one.drawn, fresh.drawn).sum())
    assert stayed > 0, "more than without the snapshot before"


def test_sketch__of_an_image_draws_more_pixels_than_neurons():
    for method in ("set", "dense"):
        net, _ = network([784, 300, 300, 10], 20, **{"training.method": method})
        snapshot = take_snapshot(net, image=True)
        k = len(snapshot.layers[0].drawn)
        assert 10 < k < len(snapshot.drawn_inputs) < 784
        assert len(snapshot.layers[2].drawn) == 10, "all outputs"
        strength = abs(dense(net.layers[0])).sum(1)
        assert set(snapshot.drawn_inputs) == set(np.argsort(-strength)[: len(snapshot.drawn_inputs)])
    net, _ = network([64, 20, 10], 3)
    assert len(take_snapshot(net, image=True).drawn_inputs) == 64, "a small network is drawn completely"


def test_sketch__of_a_huge_image_is_bounded():
    net, _ = network([60_000, 20, 2], 1)
    snapshot = take_snapshot(net, image=True)
    assert 0 < len(snapshot.drawn_inputs) <= sketch.MAX_PIXELS


def test_sketch__pruned_neurons_are_not_drawn():
    net, _ = network([20, 30, 3], 5)
    net.living[0][7] = False
    assert 7 not in take_snapshot(net).layers[0].drawn


def test_sketch__births_are_those_of_the_connections(rng, blobs, tiny, monkeypatch):
    config = tiny.replace({"training.epochs": 4, "training.zeta": 0.4})
    for most in (10**6, 10):
        monkeypatch.setattr("tsnn.engine.snapshots.MAX_AGED", most)
        net = tsnn.init_network(12, 3, config, rng=rng)
        ages, keys = Ages(net), [[set(layer.topology.keys().tolist()) for layer in net.layers]]
        for record in tsnn.train(net, blobs, config, rng=rng):
            ages.update(net, record.epoch)
            keys.append([set(layer.topology.keys().tolist()) for layer in net.layers])
        snapshot = take_snapshot(net, ages=ages)
        known = 0
        for l, part in enumerate(snapshot.layers):
            for (i, j), birth in zip(part.edges.tolist(), part.edge_births.tolist(), strict=True):
                key = i * net.layers[l].topology.n_out + j
                naive = 4 - next((n for n in range(4) if key not in keys[3 - n][l]), 4)
                known += birth >= 0
                assert birth in ({naive} if most > 10 else {naive, -1})
        assert known > 0


def test_sketch__bytes_do_not_grow_with_the_network():
    sizes = {}
    for n in (300, 3000):
        net, _ = network([n, n, n, 10], 20)
        arrays = take_snapshot(net, ages=Ages(net)).arrays()
        sizes[n] = len(npz_bytes({k: v for k, v in arrays.items() if k.startswith(("drawn", "edge"))}, compress=True))
    assert sizes[3000] < 1.5 * sizes[300] < 20_000


def test_run__continues_to_draw_the_same_neurons(tmp_path, tiny, monkeypatch):
    from tsnn.execution.engine import execute
    from tsnn.records import EpochRecord

    monkeypatch.setattr(sketch, "ABRIDGED", 60)
    store = RunStore(tmp_path)
    config = tiny.replace({"data.name": "madelon", "training.epochs": 4, "network.hidden": (40, 40)})
    whole, halves = store.create(config), store.create(config)
    list(execute(whole))
    training = execute(halves)
    next(item for item in training if isinstance(item, EpochRecord) and item.epoch == 2)
    training.close()
    list(execute(halves))
    for epoch in range(5):
        one, two = (run.snapshot(epoch).arrays() for run in (whole, halves))
        assert all(np.array_equal(one[name], two[name], equal_nan=True) for name in one)
        assert any(name.startswith("edges") for name in one)


def test_snapshot__of_an_older_version_still_opens(tmp_path):
    net, _ = network([20, 30, 3], 5)
    arrays = take_snapshot(net).arrays()
    old = Snapshot.from_arrays({k: v for k, v in arrays.items() if not k.startswith(("drawn", "edge"))})
    old.write(tmp_path / "old.npz")
    read = Snapshot.read(tmp_path / "old.npz")
    assert read.layers[0].edges is None
    assert read.layers[0].density is not None
