"""Tab Sweep: values to try, estimates, start, stop and continue; sweeps in the address, under Compare and Runs."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("panel")

from pages import sweep_form
from pages.compare import CompareTab
from pages.dashboard import Dashboard
from pages.runs import RunsTab
from pages.sweep import SweepTab
from pages.sweep_form import SweepForm, choices, suggested

from tests.support import fake_engine
from tsnn.config import Config
from tsnn.datasets import known_datasets
from tsnn.errors import ConfigError
from tsnn.jobs import queue, sweeps
from tsnn.jobs.planning import plan_sweep
from tsnn.runs import RunStore
from tsnn.runs.sweep_plan import trial_name
from tsnn.runs.sweeps import create_sweep, open_sweep

BASE = Config.preset("fashion_mnist").replace({"data.size": "small", "training.epochs": 2, "network.hidden": [20]})
INFO = next(info for info in known_datasets() if info.name == "fashion_mnist")


@pytest.fixture
def store(tmp_path, monkeypatch) -> RunStore:
    for module in (queue, sweeps):
        monkeypatch.setattr(module, "advance", lambda store: [])
    monkeypatch.setattr(sweeps, "start_queue_thread", lambda store: None)
    return RunStore(tmp_path / "runs")


def new_sweep(store, done=(), state="finished"):
    sweep = create_sweep(store, plan_sweep(BASE, {"zeta": [0, 0.3], "epsilon": [2, 10]}, seeds=2))
    for number in done:
        settings, seed = sweep.plan.trials[number]
        settings = {**sweep.base.flat(), **settings, "run.seed": seed}
        fake_engine.finished_run(sweep.store, settings, 2, state, name=trial_name(number))
    return sweep


def new_tab(store, opened=None, compared=None) -> SweepTab:
    ignore = [].append
    return SweepTab(store, lambda: (BASE, INFO), opened or ignore, compared or ignore, ignore)


def settle(tab):
    while tab.update():
        pass


# --- form ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", choices().values())
def test_suggested__values_are_those_of_a_sweep(name):
    values = suggested(name, BASE)
    plan = plan_sweep(BASE, {name: values})
    assert len(plan.trials) >= 2, values


def test_suggested__values_around_the_present_one():
    assert suggested("network.epsilon", BASE) == "2,5,10,20"
    assert suggested("training.zeta", BASE) == "0,0.1,0.3,0.5,0.7"
    assert suggested("network.hidden", BASE.replace(hidden=[100, 50])) == "50-25,100-50,200-100"
    assert suggested("training.batch_size", BASE) == "32,64,128,256"
    assert suggested("training.learning_rate", BASE.replace(learning_rate=0.1)) == "0.01,0.025,0.05,0.1"


def test_form__tells_the_number_of_runs_before_it_starts_them(store):
    started: list[str] = []
    form = SweepForm(store, lambda: (BASE, INFO), started.append)
    form.show_estimate()
    assert "<b>60 runs</b>: 20 combinations of settings with 3 seeds each." in form.estimate.object
    assert re.search(r"at a time, with up to \d+ MiB of memory", form.estimate.object)
    assert "after a first run" in form.estimate.object
    fake_engine.finished_run(store, BASE.flat(), 2)
    form.seeds.value = 1
    assert re.search(r"<b>20 runs</b>.*one seed each.*Takes about <b>\d", form.estimate.object)
    form.rows[0].values.value = "0.1,2"
    assert "training.zeta must be at least 0 and less than 1; got 2" in form.estimate.object
    assert form.start.disabled
    form.rows[0].values.value = "0..0.5"
    assert "draw combinations" in form.estimate.object
    form.drawn.value = 5
    assert "<b>5 runs</b>" in form.estimate.object
    form.rows[1].setting.value = "training.regrow"
    assert form.rows[1].values.value == suggested("training.regrow", BASE)
    assert not store.root.exists() or len(list(store.root.iterdir())) == 1, "no sweep yet"
    form.start.clicks += 1
    assert len(started) == 1
    sweep = open_sweep(store, started[0])
    assert (sweep.kind, len(sweep.trials), sweep.queued) == ("random", 5, True)
    assert list(sweep.settings) == ["training.regrow", "training.zeta"] or set(sweep.settings) == {
        "training.regrow", "training.zeta"}  # fmt: skip
    form.start.clicks += 1
    assert started == [sweep.id] * 2, "the same sweep is continued"


def test_form__rows_are_added_and_removed(store):
    form = SweepForm(store, lambda: (BASE, INFO), [].append)
    form.add.clicks += 1
    assert [row.setting.value for row in form.rows][2] == "training.learning_rate"
    form.rows[0].remove.clicks += 1
    form.rows[0].remove.clicks += 1
    assert len(form._rows) == len(form.rows) == 1
    form.rows[0].remove.clicks += 1
    assert "A sweep needs settings to vary" in form.estimate.object


def test_form__shows_the_error_of_the_other_form(store):
    def refused():
        raise ConfigError("No file is <chosen>.")

    form = SweepForm(store, refused, [].append)
    form.tick()
    assert "No file is &lt;chosen&gt;." in form.estimate.object
    assert form.start.disabled
    form = SweepForm(store, lambda: (BASE, None), [].append)
    form.tick()
    assert "not known before the file has been read" in form.estimate.object
    assert not form.start.disabled


# --- tab -------------------------------------------------------------------------------------------------


def test_tab__without_sweeps_shows_the_form(store):
    tab = new_tab(store)
    tab.show("")
    assert tab._empty.visible
    assert tab.form.layout.visible
    assert not any(button.visible for button in (tab.stop, tab.continue_button, tab.compare, tab.download, tab.choice))
    sweep = new_sweep(store)
    tab._listed = -float("inf")
    tab.update()
    assert tab.choice.options == {"fashion_mnist: zeta, epsilon": sweep.id}
    assert tab.view is not None
    assert not tab._empty.visible


def test_tab__stops_continues_and_compares(store):
    sweep = new_sweep(store, done=(0, 1, 2, 4))
    compared: list[list[str]] = []
    tab = new_tab(store, compared=compared.append)
    tab.show(sweep.id)
    settle(tab)
    assert (tab.stop.visible, tab.continue_button.visible) == (False, True)
    tab.continue_button.clicks += 1
    assert sweep.queued
    assert (tab.stop.visible, tab.continue_button.visible) == (True, False)
    tab.stop.clicks += 1
    assert not sweep.queued
    assert tab.continue_button.visible
    tab.view.brush.choose([0])
    tab.update()
    assert tab.compare.label == "Compare the chosen"
    tab.compare.clicks += 1
    assert compared == [[f"{sweep.id}/trial-00000", f"{sweep.id}/trial-00004"]]
    lines = tab._csv().read().decode().splitlines()
    assert len(lines) == 9
    assert "training.zeta" in lines[0]


def test_tab__unknown_and_damaged_sweeps_are_told(store):
    sweep = new_sweep(store)
    tab = new_tab(store)
    tab.show("nonsense")
    assert "There is no sweep" in tab.problem.object.replace("&#32;", " ").replace("&#39;", "'")
    (sweep.path / "sweep.json").write_text("{")
    tab.show(sweep.id)
    assert tab.problem.visible
    assert tab.view is None


def test_tab__read_only_has_no_controls(store, monkeypatch):
    sweep = new_sweep(store, done=(0, 1))
    monkeypatch.setenv("TSNN_READONLY", "1")
    tab = new_tab(store)
    tab.show(sweep.id)
    settle(tab)
    parts = [*tab.layout.select(lambda part: part in (tab.form.layout, tab.new, tab.stop, tab.continue_button))]
    assert parts == []
    assert tab.view._cards["sweep_heat"].visible


# --- page ------------------------------------------------------------------------------------------------


def test_page__opens_a_sweep_and_its_runs_by_address(store):
    sweep = new_sweep(store, done=(0, 1, 2, 4))
    page = Dashboard(store)
    page.tab, page.sweep = "sweep", sweep.id
    page.page()
    while page.tick():
        pass
    assert page.many.sweeps.view.follower.sweep is sweep
    assert "4 of 8 trials finished" in page.many.sweeps.view._head.object
    page.many.sweeps.view._clicked(type("Click", (), {"row": 0}))
    assert page.tab == "overview"
    assert page.run_id.startswith(f"{sweep.id}/trial-0")
    assert page.view is not None
    page.tick()


def test_compare__runs_of_a_sweep_over_their_seeds(store):
    sweep = new_sweep(store, done=range(8))
    runs = [f"{sweep.id}/{trial_name(n)}" for n in (0, 4, 1, 5)]
    tab = CompareTab(store, lambda: "", [].append)
    tab.show(runs)
    settle(tab)
    assert tab.seeds.value
    assert tab._labels == ["epsilon 2", "epsilon 10"]
    assert "and 1 more seed" in tab._table.object


def test_runs__list_a_sweep_as_one_link(store):
    sweep = new_sweep(store, done=range(8))
    tab = RunsTab(store, [].append, [].append, lambda config, name: None)
    tab.update(now=True)
    assert f"href='?tab=sweep&sweep={sweep.id}'" in tab._sweeps.object
    assert "(8 trials)" in tab._sweeps.object
    assert len(tab.table.value) == 0


def test_estimate__large_sweeps_are_estimated_from_some_of_their_combinations(store, monkeypatch):
    measured: list[Config] = []
    monkeypatch.setattr(sweep_form, "memory_bytes", lambda config, info: measured.append(config) or 2**20)
    plan = plan_sweep(BASE, {"zeta": "0..0.5", "epsilon": "1..20"}, random=500)
    assert "<b>500 runs</b>" in sweep_form.estimate_text(plan, INFO, store)
    assert len(measured) <= 40
