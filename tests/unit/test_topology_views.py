"""Degrees, ages, importance and single neurons: exact laws, and figures that draw the snapshots."""

from __future__ import annotations

import html
import json
import math
from dataclasses import replace

import numpy as np
import param
import pytest

pytest.importorskip("panel")

from tests.support import fake_engine
from tsnn.config import Config
from tsnn.engine.topology import erdos_renyi
from tsnn.runs import RunStore
from tsnn.snapshot import LayerSnapshot, Snapshot
from tsnn.views.history import History
from tsnn.views.live.follower import RunFollower
from tsnn.views.plots import degrees, neurons
from tsnn.views.plots.degrees import power_law_tail, random_degrees, random_survival
from tsnn.views.plots.topology import short_labels
from tsnn.views.tabs.captions import CAPTIONS
from tsnn.views.tabs.neurons import next_pruning
from tsnn.views.tabs.replay import FRAMES, Replay
from tsnn.views.tabs.run import RunView

SETTINGS = {"data.name": "fashion_mnist", "training.epochs": 12}


@pytest.fixture
def store(tmp_path) -> RunStore:
    return RunStore(tmp_path / "runs")


# --- random topologies -----------------------------------------------------------------------------------


def test_random_degrees__are_hypergeometric():
    places, space, connections = 6, 24, 9
    ways = [math.comb(places, k) * math.comb(space - places, connections - k) for k in range(7)]
    k, fraction = random_degrees(places, space, connections)
    assert k.tolist() == [1, 2, 3, 4, 5, 6]
    assert fraction == pytest.approx([sum(ways[i:]) / sum(ways) for i in range(1, 7)])


def test_random_degrees__fit_the_start(rng):
    topology = erdos_renyi(400, 300, 6000, rng=rng)
    for counts, places in ((topology.in_degree, 400), (topology.out_degree, 300)):
        k, fraction = random_degrees(places, 400 * 300, 6000)
        observed = np.array([(counts >= x).mean() for x in k])
        assert abs(observed - fraction).max() < 1.63 / math.sqrt(len(counts)), "Kolmogorov-Smirnov, 1 %"


def test_random_degrees__stay_short_for_huge_layers():
    k, fraction = random_degrees(10**6, 10**12, 2 * 10**7)
    assert len(k) < 200
    poisson = np.exp(np.cumsum(np.log(np.append(1.0, 20 / np.arange(1, 100)))) - 20)
    assert fraction[k == 30][0] == pytest.approx(poisson[30:].sum(), rel=1e-3)
    assert random_degrees(5, 50, 50)[1].tolist() == [1.0], "a dense layer: every neuron has all"


@pytest.mark.parametrize("exponent", [2.2, 3.0])
def test_power_law_tail__finds_the_exponent(exponent):
    k = np.arange(1, 20_000)
    fraction = (k - 0.5) ** (1 - exponent)
    counts = np.random.default_rng(0).multinomial(20_000, -np.diff(fraction, append=0) / fraction[0])
    counted = np.stack([k, counts], axis=1)[counts > 0]
    found, start, part = power_law_tail(counted)
    assert found == pytest.approx(exponent, rel=0.05)
    assert 0 < part <= 1
    assert start >= 1


def test_degree_plot__draws_only_heavy_tails(rng):
    topology = erdos_renyi(1000, 1000, 40_000, rng=rng)
    counts = np.bincount(topology.in_degree)
    counted = np.stack([np.flatnonzero(counts), counts[counts > 0]], axis=1)
    plot = degrees.DegreePlot()
    layer = LayerSnapshot(in_degree=counted, out_degree=counted)
    snapshot = Snapshot(np.array([1000, 1000]), (layer,))
    plot.update(snapshot)
    assert plot.tails["in_degree"].data["k"] == []
    law = [item for item in plot.figure.legend[0].items if item.label.value == "power law"]
    assert [item.visible for item in law] == [False]
    heavy = np.stack([np.arange(1, 600), np.maximum(1, 1e6 * np.arange(1, 600) ** -2.5).astype(int)], axis=1)
    plot.update(Snapshot(snapshot.sizes, (replace(layer, out_degree=heavy),)))
    assert len(plot.tails["out_degree"].data["k"]) > 0
    assert "Outgoing: up to 599, at random" in plot.note
    assert "power law with exponent" in plot.note
    assert [item.visible for item in law] == [True]


def test_random_survival__declines_at_the_rate_of_zeta(store):
    history = History()
    for epoch in range(1, 11):
        line = fake_engine.epoch_record(epoch, Config().replace({"training.zeta": 0.25})).to_dict()
        history.append(line)
    age, fraction = random_survival(history, 0, 8)
    assert age.tolist() == list(range(9))
    assert fraction == pytest.approx(0.75 ** np.arange(9), rel=1e-3)


def test_age_plot__draws_fractions_and_notes_the_turnover():
    plot = degrees.AgePlot()
    sizes, layer = np.array([9, 9]), LayerSnapshot(age=np.array([[0, 30], [2, 20], [4, 50]]))
    plot.update(Snapshot(sizes, (layer,), epoch=np.int64(4), ages_since=np.int64(0)), before=3)
    assert plot.source.data["age"] == [0, 2, 4]
    assert plot.source.data["older"] == [1.0, 0.7, 0.5]
    assert plot.note == "Replaced since the start: 50.0 %; since the snapshot before, of epoch 3: 30.0 %."
    plot.update(Snapshot(sizes, (LayerSnapshot(),)))
    assert "not recorded" in plot.note


# --- importance ------------------------------------------------------------------------------------------


def test_importance_map__consists_of_the_histograms():
    edges = np.linspace(0, 3, 61, dtype=np.float32)
    snapshots = {}
    for epoch, low in ((0, 0), (2, 40), (5, 20)):
        counts = np.zeros(60, int)
        counts[low : low + 20] = 7
        layer = LayerSnapshot(importance=counts, importance_edges=edges)
        snapshots[epoch] = Snapshot(np.array([9, 140]), (layer,))
    image, top = neurons.importance_map(snapshots, 0)
    assert top == 3.0
    assert image.shape == (neurons.ROWS, 6)
    bright = [np.flatnonzero(column > 0.5) / neurons.ROWS for column in image.T]
    assert [round(3 * float(b[0])) for b in bright] == [0, 0, 2, 2, 2, 1], (
        "each epoch from the latest snapshot up to it"
    )
    assert all(len(b) == pytest.approx(neurons.ROWS / 3, abs=1) for b in bright)
    assert image.max() == pytest.approx(1.0)
    one = neurons.ImportanceHistory()
    one.update({5: snapshots[5]})
    assert one.source.data["dw"] == [6], "a single snapshot is enough"
    unread, _ = neurons.importance_map(snapshots, 0, [0, 2, 3, 5, 7])
    assert unread.any(axis=0).tolist() == [True, True, True, False, False, True, True, False], "nothing is invented"


def test_next_pruning__is_on_the_schedule():
    config = Config().replace({"importance.start": 20, "importance.every": 10, "training.epochs": 100})
    for done, due in ((0, 20), (19, 20), (20, 30), (25, 30), (30, 40)):
        assert f"after epoch {due}," in next_pruning(config, done)
    assert next_pruning(config, 90) == "", "it is off"
    assert "No pruning" in next_pruning(config.replace({"importance.percentile": 5}), 90)


# --- the tabs --------------------------------------------------------------------------------------------


def drag(widget, value):
    """Move and release a slider like a user."""
    with param.edit_constant(widget):
        widget.value = value
        widget.value_throttled = value


def test_connectivity_tab__draws_the_epoch_of_the_slider(store):
    run = fake_engine.finished_run(store, SETTINGS, 12)
    view = RunView(RunFollower(run))
    view.tick("connectivity")
    tab = view.tabs["connectivity"]
    assert tab.ages.source.data["age"][-1] == 12
    drag(view.replay.slider, 5)
    assert tab.ages.source.data["age"][-1] == 5, "at once, without a tick"
    counts = run.snapshot(5).layers[0].density.astype(float) * 6 / 255
    assert np.array_equal(tab.matrix.source.data["image"][0], np.rint(counts))
    assert view.replay.before == 4
    assert len(tab.replaced.source.data["epoch"]) == 12


def test_replay__draws_while_the_slider_is_dragged(store):
    view = RunView(RunFollower(fake_engine.finished_run(store, SETTINGS, 12)))
    view.tick("connectivity")
    view.replay.slider.value = 7  # not released yet
    assert view.replay.epoch == 7
    assert not view.replay.following
    assert view.tabs["connectivity"].ages.source.data["age"][-1] == 7


def test_replay__ignores_late_echoes_while_following_or_playing():
    moves = []
    replay = Replay(100, lambda: None, lambda: moves.append(replay.epoch))
    for last in range(2, 90):
        replay.update(list(range(last)))
    replay.slider.value = 25
    assert replay.following, "however late it is"
    assert replay.epoch == replay.slider.value == 88
    assert not moves
    replay.start()
    replay.slider.value = 12
    replay.tick()
    assert replay.epoch == replay.slider.value == 1, "playing continues where it was"
    assert moves == [0], "where it started"


def test_replay__ignores_late_echoes_after_a_release():
    replay = Replay(100, lambda: None)
    replay.update(list(range(90)))
    drag(replay.slider, 40)
    replay.slider.value = 89
    assert replay.epoch == replay.slider.value == 40
    replay.slider.value = 30
    assert replay.epoch == 30, "the server has not sent this position"


def test_replay__is_released_at_the_first_snapshot_every_time():
    replay = Replay(100, lambda: None)
    for last in range(1, 4):
        replay.update(list(range(last)))
    for last in range(4, 6):
        drag(replay.slider, 0)
        assert not replay.following
        assert replay.epoch == replay.slider.value == 0
        replay.follow_newest()
        replay.update(list(range(last)))
        assert replay.epoch == last - 1


def test_replay__plays_from_the_first_snapshot_to_the_last(store):
    view = RunView(RunFollower(fake_engine.finished_run(store, SETTINGS, 12)))
    view.tick("connectivity")
    view.replay.start()
    seen = []
    for _ in range(20):
        seen.append(view.replay.epoch)
        view.tick()
    assert seen[:13] == list(range(13))
    assert not view.replay.playing
    assert view.replay.epoch == 12
    view.replay.start()
    view.tick()
    drag(view.replay.slider, 4)
    assert not view.replay.playing, "moving the slider stops it"
    view.tick()
    assert view.replay.epoch == 4


def test_replay__plays_long_runs_in_a_hundred_steps():
    replay = Replay(1000, lambda: None)
    replay.update(list(range(1001)))
    replay.start()
    ticks = 0
    while replay.playing:
        replay.tick()
        ticks += 1
    assert FRAMES <= ticks <= FRAMES + 1


def test_neurons_tab__draws_importance_and_the_chosen_neuron(store):
    run = fake_engine.finished_run(store, {**SETTINGS, "importance.percentile": 20}, 12)
    view = RunView(RunFollower(run))
    for _ in range(20):
        view.tick("neurons")
    tab, layer = view.tabs["neurons"], run.snapshot(12).layers[0]
    assert tab.importance.threshold.location == pytest.approx(float(layer.importance_threshold))
    assert f"percentile 20, {layer.to_prune:,} of " in tab.importance.note
    assert tab.history.source.data["dw"] == [13]
    assert tab.history.line.data["epoch"] == list(range(13))
    best = int(layer.neurons[-1])
    assert tab.neuron.value == best
    assert tab.table.value["neuron"][0] == f"{best:,}"
    picture = tab.picture.source.data["image"][0]
    inputs, weights = layer.connections(best, "incoming")
    assert np.array_equal(np.flatnonzero(np.isfinite(picture)), inputs)
    assert np.allclose(picture.ravel()[inputs], weights)
    other = int(layer.neurons[0])
    tab.neuron.value = other
    inputs, _ = layer.connections(other, "incoming")
    assert np.array_equal(np.flatnonzero(np.isfinite(tab.picture.source.data["image"][0])), inputs)
    view.replay.layer.value = 2
    assert not tab._cards["picture"].visible
    assert tab._cards["outcome"].visible
    weights = tab.outcome.source.data["weight"]
    assert weights == sorted(weights, reverse=True)


def test_neurons_tab__keeps_a_chosen_neuron_that_stays_listed(store):
    run = fake_engine.finished_run(store, SETTINGS, 3)
    view = RunView(RunFollower(run))
    view.tick("neurons")
    tab = view.tabs["neurons"]
    view.replay.layer.value = 3
    listed = set(run.snapshot(3).layers[3].neurons.tolist())
    chosen = sorted(listed)[4]
    tab.neuron.value = chosen
    view.replay.go(1)
    view.tick()
    assert tab.neuron.value == chosen
    view.replay.layer.value = 1
    view.tick()
    assert tab.neuron.value == run.snapshot(1).layers[1].neurons[-1], "another layer, other neurons"


def test_follower__collects_snapshots_gradually_and_reads_each_once(store, monkeypatch):
    run = fake_engine.finished_run(store, SETTINGS, 12)
    follower, parts = RunFollower(run), ("importance", "importance_edges", "importance_threshold")
    monkeypatch.setattr("tsnn.views.live.snapshot_reader._COLLECT_SECONDS", 0.0)
    assert list(follower.collect(1, parts)) == [12], "the newest first"
    for _ in range(12):
        found = follower.collect(1, parts)
    assert list(found) == list(range(13))
    assert set(found[3].arrays()) == {"sizes", *(f"{name}_1" for name in parts)}
    monkeypatch.setattr(type(run), "snapshot", lambda *_: pytest.fail("read twice"))
    assert follower.collect(1, parts).keys() == found.keys()


def test_follower__reads_only_the_displayed_layer(store):
    follower = RunFollower(fake_engine.finished_run(store, SETTINGS, 2))
    names = set(follower.snapshot(2, 1).arrays())
    assert {"sizes", "input_degree", "density_1", "neurons_1"} <= names
    assert not any(name.endswith(("_0", "_2", "_3")) for name in names)


def test_every_card__has_its_caption(store):
    view = RunView(RunFollower(fake_engine.finished_run(store, SETTINGS, 2)))
    for tab in ("connectivity", "neurons"):
        view.tick(tab)
        for card in view.tabs[tab]._cards.values():
            assert CAPTIONS[card.name] in html.unescape(card._text.object)


# --- names -----------------------------------------------------------------------------------------------


def named_run(store, names=(), classes=()):
    """A finished run whose data have names."""
    run = fake_engine.finished_run(store, {"data.name": "madelon", "training.epochs": 2}, 2)
    path = run.path / "meta.json"
    meta = json.loads(path.read_bytes())
    meta["data"] |= {"feature_names": list(names), "class_names": list(classes)}
    path.write_text(json.dumps(meta))
    return run


GENES = tuple(f"gene {i}" for i in range(500))


def test_connectivity_tab__lists_named_features(store):
    run = named_run(store, GENES)
    view = RunView(RunFollower(run))
    view.tick("connectivity")
    tab, snapshot = view.tabs["connectivity"], run.snapshot(2)
    order = np.lexsort((-snapshot.input_degree, -snapshot.input_strength))
    assert tab.features.layout.visible
    assert tab.features.table.value["feature"].tolist() == [GENES[i] for i in order[:100]]
    assert "The 100 strongest of 500" in tab.features.layout._text.object
    top = np.argsort(-snapshot.input_degree, kind="stable")[:30]
    assert tab.input.plot.source.data["feature"] == [GENES[i] for i in top]
    lines = tab.features._csv().getvalue().decode().splitlines()
    assert lines[0] == "rank,feature,strength,importance,connections"
    assert lines[1].startswith(f"1,{GENES[order[0]]},")
    assert len(lines) == 501


def test_connectivity_tab__numbers_features_without_names(store):
    view = RunView(RunFollower(named_run(store)))
    view.tick("connectivity")
    tab = view.tabs["connectivity"]
    assert tab.features.table.value["feature"].str.isdecimal().all()
    assert all(name.isdecimal() for name in tab.input.plot.source.data["feature"])
    images = RunView(RunFollower(fake_engine.finished_run(store, SETTINGS, 1)))
    images.tick("connectivity")
    assert not images.tabs["connectivity"].features.layout.visible, "an image has its own plot"


def test_neurons_tab__shows_the_name_of_the_target(store):
    run = named_run(store)
    meta = json.loads((run.path / "meta.json").read_bytes())
    meta["data"] |= {"target": "price", "n_outputs": 1}
    (run.path / "meta.json").write_text(json.dumps(meta))
    view = RunView(RunFollower(run))
    view.tick("neurons")
    outcome = view.tabs["neurons"].outcome
    assert (outcome.names, outcome.figure.xaxis.axis_label) == (("price",), "To target")


def test_neurons_tab__shows_names_of_inputs_and_classes(store):
    run = named_run(store, GENES, ("healthy", "ill"))
    view = RunView(RunFollower(run))
    view.tick("neurons")
    tab = view.tabs["neurons"]
    assert tab._cards["inputs"].visible
    inputs, _ = run.snapshot(2).layers[0].connections(tab.neuron.value, "incoming")
    assert set(tab.inputs.source.data["neuron"]) <= {GENES[i] for i in inputs}
    view.replay.layer.value = len(view.follower.sizes) - 2
    view.tick()
    assert sorted(tab.table.value["neuron"]) == ["healthy", "ill"]
    assert not tab._cards["inputs"].visible
    assert tab._cards["incoming"].visible


def test_short_labels__are_different_and_readable():
    names = ["a" * 30 + "1", "a" * 30 + "2", "b"]
    labels = short_labels([0, 1, 2], names)
    assert len(set(labels)) == 3
    assert max(map(len, labels)) < 32
    assert short_labels([2, 7], names) == ["b", "7"]
