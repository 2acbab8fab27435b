"""Race: its contenders, fair threads, the sentence about its results, networks under one clock."""

from __future__ import annotations

import pytest

pytest.importorskip("panel")

from pages.compare import CompareTab
from pages.form import StartForm
from pages.welcome import Welcome

from tests.support import fake_engine
from tsnn.config import Config
from tsnn.jobs import queue, race
from tsnn.registry import REGROWTH
from tsnn.runs import RunStore
from tsnn.runs.catalog import catalog
from tsnn.runs.notes import annotate, notes
from tsnn.runs.results import RunResult
from tsnn.runs.writer import RunWriter
from tsnn.views.live.follower import RunFollower
from tsnn.views.tabs.race import MAX_LANES, RaceView
from tsnn.views.tabs.verdict import clock_text, verdict

SETTINGS = {"data.name": "fashion_mnist", "training.epochs": 12}


@pytest.fixture
def store(tmp_path, monkeypatch) -> RunStore:
    monkeypatch.setattr(queue, "advance", lambda store: [])
    return RunStore(tmp_path / "runs")


def run_of(store, method, **settings):
    return fake_engine.finished_run(store, {**SETTINGS, "training.method": method, **settings}, 12)


# --- start -----------------------------------------------------------------------------------------------


def test_contenders__methods_and_registered_rules():
    REGROWTH.register("test_hubs", help="for this test")(lambda free, count, rng: None)
    try:
        known = race.contenders()
    finally:
        REGROWTH.unregister("test_hubs")
    assert known["dense"] == {"training.method": "dense"}
    assert known["SET, regrowth test_hubs"] == {"training.method": "set", "training.regrow": "test_hubs"}
    base = Config().replace(method="two_phase", seed=3)
    raced = race.variants(base, race.default_contenders())
    assert [c.training.method for c in raced] == ["set", "fixed", "dense"]
    assert {c.replace(method="set") for c in raced} == {base.replace(method="set")}
    assert len(race.variants(Config(), ["SET (evolving)", "SET, regrowth random"])) == 1, "the default rule"


@pytest.mark.parametrize(("cores", "runs", "threads"), [(2, 3, 2), (3, 3, 1), (8, 3, 2), (4, 2, 2)])
def test_fair_threads__equal_parts_or_all_one_after_another(cores, runs, threads, monkeypatch):
    monkeypatch.setenv("TSNN_CORES", str(cores))
    assert race.fair_threads(runs) == threads


def test_start_race__ordinary_runs_with_the_same_threads_and_tag(store, monkeypatch):
    monkeypatch.setenv("TSNN_CORES", "6")
    configs = race.variants(Config.preset("digits"), race.default_contenders())
    runs = race.start_race(configs, store)
    assert [run.config() for run in runs] == [config.replace({"run.threads": 2}) for config in configs]
    tags = {notes(run)[1] for run in runs}
    assert len(tags) == 1
    assert tags.pop()[0].startswith("race ")
    assert [run.status()["state"] for run in runs] == ["queued"] * 3
    assert all(line.tags for line in catalog(store).summaries()), "the page knows the tags at once"


def test_buttons__form_and_welcome_start_a_race(store):
    raced: list[list[Config]] = []
    form = StartForm(store, lambda run: None, raced.append)
    form.race.clicks += 1
    assert [c.training.method for c in raced.pop()] == ["set", "fixed", "dense"]
    assert (form.race.label, form.race.disabled, form.start.disabled) == ("Race", False, False)
    form.buttons.contenders.value = ["dense", "SET, regrowth random"]
    form.race.clicks += 1
    assert [(c.training.method, c.training.regrow) for c in raced.pop()] == [("dense", "gradient"), ("set", "random")]
    form.buttons.contenders.value = ["dense"]
    form.race.clicks += 1
    assert not raced
    assert "two contenders" in form.error.object
    Welcome(store, lambda run: None, raced.append, lambda text: None).race.clicks += 1
    assert [c.training.method for c in raced.pop()] == ["set", "fixed", "dense"]
    assert store.list() == []


# --- the sentence ----------------------------------------------------------------------------------------


def outcome(method, accuracy, seconds, connections, *, state="finished", epochs=20, **settings):
    values = {"training.method": method, "training.epochs": 20, "data.name": "digits", "run.threads": 2, **settings}
    return RunResult(method, method, state, values, 0, epochs, 1000, accuracy, None, None, connections, seconds, None)


DENSE = outcome("dense", 0.85, 227.0, 2_794_000)
SPARSE = outcome("set", 0.852, 14.0, 125_680)


def test_verdict__finished_runs_against_dense():
    rows = [[DENSE], [outcome("fixed", 0.80, 200.0, 2_794_000)], [SPARSE]]
    first, second, note = verdict(rows, ["dense", "fixed random", "SET"])
    assert first == (
        "SET against dense: same accuracy within 0.5 points (85.2 % and 85.0 %), "
        "16 times less time (14 s and 3 min 47 s), 22 times fewer connections (125,680 and 2,794,000)."
    )
    assert second == (
        "fixed random against dense: 5.0 points less accuracy (80.0 % and 85.0 %), "
        "about the same time (3 min 20 s and 3 min 47 s)."
    )
    assert "One seed each" in note
    first, *others = verdict([[SPARSE, outcome("set", 0.872, 14.0, 125_680)], [DENSE, DENSE]], ["SET", "dense"])
    assert "1.2 points more accuracy (86.2 % and 85.0 %)" in first, "the mean over seeds"
    assert others == []


def test_verdict__of_regression_by_r2():
    results = [RunResult(m, m, "finished", {"training.method": m}, 0, 9, 9, None, None, None, n, s, None, test_r2=r2)
               for m, r2, n, s in (("set", 0.91, 10, 1.0), ("dense", 0.95, 40, 0.5))]  # fmt: skip
    assert verdict([[r] for r in results], ["SET", "dense"])[0] == (
        "SET against dense: 0.040 less R² (0.910 and 0.950), 2.0 times more time (1.0 s and 500 ms), "
        "4.0 times fewer connections (10 and 40)."
    )


def test_verdict__results_so_far_while_a_run_trains_or_after_one_failed():
    live = outcome("dense", 0.71, 27.0, 2_794_000, state="training", epochs=8)
    text = (
        "SET 85.2 % test accuracy after 14 s (20 of 20 epochs); dense 71.0 % test accuracy after 27 s (8 of 20 epochs"
    )
    assert verdict([[SPARSE], [live]], ["SET", "dense"]) == [f"So far: {text})."]
    failed = outcome("dense", 0.71, 27.0, 2_794_000, state="failed", epochs=8)
    assert verdict([[SPARSE], [failed]], ["SET", "dense"]) == [f"{text}, then failed)."]
    waiting = outcome("dense", None, None, None, state="queued", epochs=0)
    assert verdict([[SPARSE], [waiting]], ["SET", "dense"])[0].startswith("So far: SET 85.2 %")


def test_verdict__none_without_two_results_on_the_same_data():
    assert verdict([[SPARSE]], ["SET"]) == []
    other = outcome("dense", 0.9, 9.0, 9, **{"data.name": "madelon"})
    assert verdict([[SPARSE], [other]], ["SET", "dense"]) == []
    waiting = [[outcome(m, None, None, None, state="queued", epochs=0)] for m in ("set", "dense")]
    assert verdict(waiting, ["SET", "dense"]) == []


@pytest.mark.parametrize(
    ("threads", "cores", "text"),
    [
        (2, 2, "Each run has 2 threads: one trains after another."),
        (1, 2, "Each run has 1 thread: all can train at once."),
        (2, 4, "Each run has 2 threads: all can train at once."),
        (0, 8, "Each run has all cores: one trains after another."),
    ],
)
def test_clock_text__together_or_one_after_another(threads, cores, text, monkeypatch):
    monkeypatch.setenv("TSNN_CORES", str(cores))
    runs = [outcome(method, 0.8, 9, 9, **{"run.threads": threads}) for method in ("set", "dense")]
    assert clock_text(runs).endswith(text)


def test_clock_text__says_what_makes_times_incomparable():
    assert "different numbers of threads" in clock_text([SPARSE, outcome("dense", 0.8, 9, 9, **{"run.threads": 1})])
    hosts = [RunResult(**{**vars(r), "host": host}) for r, host in ((SPARSE, "a"), (DENSE, "b"))]
    assert "different machines" in clock_text(hosts)


# --- the view --------------------------------------------------------------------------------------------


def test_race_view__one_network_for_each_tick_then_nothing(store):
    runs = [run_of(store, method) for method in ("set", "dense")]
    view = RaceView(lambda: None)
    view.show([(run.id, RunFollower(run, min_interval=0)) for run in runs])
    assert view.layout.visible
    assert [view.update(True) for _ in range(4)] == [True, True, False, False]
    assert [lane.drawn for lane in view.lanes] == [(12, 11), (12, 11)]
    assert [lane.plot.figure.title.text for lane in view.lanes] == ["Epoch 12"] * 2
    drawings = [lane.plot for lane in view.lanes]
    view.show([(name, lane.follower) for name, lane in zip(("SET", "dense"), view.lanes, strict=True)])
    assert [lane.plot for lane in view.lanes] == drawings, "another name, the same drawing"
    assert [view.update(True) for _ in range(3)] == [True, True, False]
    assert [drawing.text.split(",")[0] for drawing in drawings] == [
        f"Drawing of the network {n}" for n in ("SET", "dense")
    ]
    assert "SET" in view.lanes[0].title.object
    view.show([])
    assert not view.layout.visible
    view.show([(run.id, RunFollower(runs[0])) for run in runs * MAX_LANES])
    assert not view.layout.visible, "too many"


def test_race_view__shows_all_networks_at_the_moment_of_the_clock(store):
    slow, fast = run_of(store, "dense"), store.create(Config().replace(SETTINGS))
    with RunWriter(fast) as writer:
        writer.meta(fake_engine.meta(fast.config()))
        for epoch in range(1, 13):
            record = fake_engine.epoch_record(epoch, fast.config()).to_dict()
            writer.line("epoch", **record | {"seconds_train": 0.1, "seconds_evolve": 0.0, "seconds_evaluate": 0.1})
            writer.snapshot(epoch, fake_engine.snapshot(epoch, fast.config()))
    moves: list[float | None] = []
    view = RaceView(lambda: moves.append(view.moment))
    view.show([("slow", RunFollower(slow, min_interval=0)), ("fast", RunFollower(fast, min_interval=0))])
    view.update(True)
    assert view.moment is None
    assert view.clock.slider.end == pytest.approx(12 * 1780, rel=0.02), "milliseconds of the slower run"
    view.clock.go(2000)
    assert [lane.drawn for lane in view.lanes] == [(1, 0), (9, 8)], "epochs of 1.8 s and of 0.2 s"
    assert moves == [view.moment] == [pytest.approx(2.0, abs=0.2)]
    assert view.clock.slider.label.startswith("Clock: 1.9 s")
    view.update(False)
    assert view.moment is None, "another unit"
    view.clock.go(4)
    assert [lane.drawn for lane in view.lanes] == [(4, 3), (4, 3)]
    assert view.clock.slider.label == "Clock: epoch 4"
    view.clock.start()
    while view.clock.playing:
        view.update(False)
    assert view.clock.epoch == 12


def test_compare__a_race_shows_the_sentence_networks_and_seconds(store):
    runs = [run_of(store, method) for method in ("set", "fixed", "dense")]
    chosen: list[list[str]] = []
    tab = CompareTab(store, lambda: "", chosen.append)
    tab._catalog.refresh()
    tab.show([run.id for run in runs])
    assert tab.axis.value == "epoch", "not tagged as a race"
    for run in runs:
        annotate(run, tags=("race 1",))
        tab._catalog.refresh_run(run.id)
    tab.show([])
    assert not tab.race.layout.visible
    tab.show([run.id for run in reversed(runs)])
    assert tab.axis.value == "seconds"
    assert [lane.label for lane in tab.race.lanes] == ["dense", "fixed random", "SET (evolving)"]
    assert "SET (evolving) against dense: " in tab._verdict.object
    names = list(tab.runs.options)
    assert not any(run.id in name for run in runs for name in names), "their names are unique without ids"
    while tab.update():
        pass
    tab.race.clock.go(5000)
    assert tab.plots[0].cursor.visible
    assert tab.plots[0].cursor.location == tab.race.moment
    tab.axis.value = "samples"
    assert not tab.plots[0].cursor.visible
    while tab.update():
        pass
    assert not tab.update(), "nothing new"
    annotate(runs[0], title="Another name")
    tab._followers[runs[0].id]._min_interval = 0
    tab._tabulated_at = -10.0

    def legend():
        return [item.label.value for item in tab.plots[0].figure.legend[0].items]

    before = legend()
    while tab.update():
        pass
    assert (before[-1], legend()[-1]) == ("SET (evolving)", "Another name"), "the legend follows"
