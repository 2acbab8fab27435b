"""Measures on the page: curves of those gathered, the table of those computed, its button, and its refusals."""

import numpy as np
import pytest

pytest.importorskip("panel")

from tests.support import fake_engine
from tests.support.waiting import wait_until
from tsnn.config import Config
from tsnn.errors import RunError
from tsnn.execution.engine import execute
from tsnn.files import append_line
from tsnn.jobs import measurement
from tsnn.runs import RunStore
from tsnn.runs.measures import FILE, known_distance, read_measures
from tsnn.views.live.follower import RunFollower
from tsnn.views.tabs.distances import DistanceCard
from tsnn.views.tabs.measures import MeasureCards
from tsnn.views.tabs.replay import Replay
from tsnn.views.tabs.run import RunView


def cards_of(run):
    follower = RunFollower(run, 0)
    replay = Replay(4, lambda: None)
    replay.update(follower.snapshots)
    cards = MeasureCards(follower, replay)
    cards.update()
    return cards


@pytest.fixture
def run(store, filed):
    """Run of four epochs whose measures were gathered."""
    run = store.create(filed.replace({"training.epochs": 4, "run.checkpoint_epochs": 1, "run.measures": True}))
    list(execute(run))
    return run


def test_card__measures_in_a_process_and_displays_the_table(run):
    cards = cards_of(run)
    assert [card.visible for card in cards.cards] == [True, True, True]
    assert cards._curves["itop"]._text.object.count("Cost: ") == 1
    assert len(cards.plots["itop"].source.data["itop_0"]) == 4
    assert not cards.table.visible
    assert cards.button.label.startswith("Measure epoch 4 (about ")
    cards._start()
    assert (cards.button.label, cards.button.disabled) == ("Measuring …", True)
    with pytest.raises(RunError, match="Another topology is being measured"):
        measurement.start_measurement(run)
    wait_until(lambda: not measurement.measurement_of(run).running, 120, "the measurement ends")
    cards.update()
    assert not cards.problem.visible
    assert (cards.button.label, cards.button.disabled) == ("Epoch 4 is measured", True)
    values = read_measures(run).topologies[4]["layers"]
    assert cards.table.object.count("<th scope='col'") == len(values) == 4
    assert f"{values[0]['path_length']:,.4g} <small>({values[0]['random_path_length']:,.4g})" in cards.table.object
    assert cards.table.object.count("Distance to epoch") == 4


def test_distances__of_compared_runs_are_measured_and_listed_once_for_each_pair(store, filed):
    runs = [store.create(filed.replace({"training.epochs": 2, "run.seed": seed})) for seed in (1, 2)]
    sweep = store.root / "20250101-000000-sweep"
    runs.append(RunStore(sweep).create(filed.replace({"training.epochs": 2, "run.seed": 3}), name="trial-00000"))
    (sweep / "sweep.json").write_text("{}")
    other = store.create(filed.replace({"training.epochs": 2, "network.hidden": [7]}))
    for run in [*runs, other]:
        list(execute(run))
    rows = [(f"<run> {n}", RunFollower(run, 0)) for n, run in enumerate([*runs, other])]
    distances = DistanceCard(store.root)
    distances.show([rows[0], rows[3]])
    assert not distances.card.visible, "the sizes differ"
    distances.show(rows)
    assert (distances.button.label, distances.table.visible) == ("Measure 3 distances", False)
    distances._start()
    assert (distances.button.label, distances.button.disabled) == ("Measuring …", True)
    wait_until(lambda: distances.update() or not distances.button.visible, 240, "all are measured")
    assert not distances.problem.visible
    assert "&lt;run&gt; 2" in distances.table.object
    for a, b in ((0, 1), (0, 2), (1, 2)):
        line = known_distance(runs[a], runs[b])
        text = f"{np.mean(line['layers']):.1%} <small>({np.mean(line['random']):.1%})"
        assert distances.table.object.count(text) >= 1
    assert distances.table.object.count("<small>") == 3
    assert read_measures(runs[0]).distances.keys() == {(2, runs[1].id, 2), (2, f"{sweep.name}/trial-00000", 2)}


def test_distances__failures_are_reported(store, filed, run):
    other = store.create(run.config().replace({"run.seed": 9}))
    list(execute(other))
    distances = DistanceCard(store.root)
    distances.show([("a", RunFollower(run, 0)), ("b", RunFollower(other, 0))])
    for path in other.checkpoints():
        path.write_bytes(b"damaged")
    distances._start()
    wait_until(lambda: distances.update() or distances.problem.visible, 240, "the measurement fails")
    assert "damaged" in distances.problem.object
    assert distances.button.label == "Measure 1 distance"


def test_card__follows_the_timeline_and_reports_failures(run):
    cards = cards_of(run)
    cards._replay.slider.value = 2
    cards._replay.follow.value = False
    cards.update()
    assert cards.button.label.startswith("Measure epoch 2 (")
    (run.checkpoint_folder / "0000002-000000000000.npz").write_bytes(b"x")
    cards._start()
    wait_until(lambda: not measurement.measurement_of(run).running, 120, "the measurement ends")
    cards.update()
    assert cards.problem.visible
    assert "is damaged" in cards.problem.object


def test_card__without_gathered_measures_has_no_curves_and_tolerates_damage(store):
    run = fake_engine.finished_run(store, {"data.name": "fashion_mnist", "training.epochs": 4}, 4, "finished")
    append_line(run.path / FILE, {"type": "topology", "epoch": 2, "seconds": 1.0, "layers": [{"n_in": "<b>"}]})
    cards = cards_of(run)
    assert [card.visible for card in cards.cards] == [False, False, True]
    assert not cards.table.visible
    assert "Nothing has been measured yet." in cards.card._text.object


def test_card__of_pages_that_only_watch_has_no_button(store, monkeypatch):
    monkeypatch.setenv("TSNN_READONLY", "1")
    run = fake_engine.finished_run(store, {"data.name": "fashion_mnist", "training.epochs": 4}, 4, "finished")
    assert not cards_of(run).button.visible


def test_measurement__is_refused_where_runs_are_only_watched(store, monkeypatch):
    from pages import readonly

    run = store.create(Config())
    readonly.enforce()
    monkeypatch.setenv("TSNN_RUNS", str(store.root))
    monkeypatch.setenv("TSNN_READONLY", "1")
    with pytest.raises(RunError, match="read-only"):
        measurement.start_measurement(run)
    assert not (run.path / FILE).exists()


def test_connectivity_tab__contains_the_card(run):
    view = RunView(RunFollower(run, 0))
    view.tick("connectivity")
    assert "Nothing has been measured yet." in view.tabs["connectivity"].measures.card._text.object
