"""Sweeps on the disk: their trials, states and results, read again and again; damaged files."""

import itertools
import json
import os

import pytest

from tests.support import fake_engine
from tsnn.config import Config
from tsnn.errors import RunError
from tsnn.records import RunState
from tsnn.runs import RunStore
from tsnn.runs.catalog import Catalog
from tsnn.runs.ranking import ranking, summary_lines
from tsnn.runs.sweep_plan import FILE, Plan, Range, Trial, read_plan, trial_name, write_plan
from tsnn.runs.sweeps import Sweep, create_sweep, open_sweep, sweeps

GRID = {"training.zeta": (0.0, 0.3), "network.epsilon": (2.0, 5.0, 10.0)}
BASE = Config.preset("madelon").replace({"training.epochs": 2, "data.validation_fraction": 0.1})


def grid_plan(seeds=(0, 1), **changes):
    points = [dict(zip(GRID, values, strict=True)) for values in itertools.product(*GRID.values())]
    trials = tuple((point, seed) for point in points for seed in seeds)
    known = {"name": "Madelon: zeta, epsilon", "kind": "grid", "base": BASE, "values": GRID, "ranges": {}}
    return Plan(**{**known, "seeds": seeds, "trials": trials, "objective": "validation accuracy", **changes})


@pytest.fixture
def store(tmp_path) -> RunStore:
    return RunStore(tmp_path / "runs")


def finish(sweep, number, state="finished"):
    settings, seed = sweep.plan.trials[number]
    base = {"data.name": "madelon", "training.epochs": 2, "data.validation_fraction": 0.1}
    settings = {**base, **settings, "run.seed": seed}
    return fake_engine.finished_run(sweep.store, settings, 2, state, name=trial_name(number))


def test_plan__survives_writing_and_reading(tmp_path):
    ranges = {"training.learning_rate": Range(0.001, 0.1, log=True)}
    trials = (({"network.hidden": (10, 20), "training.learning_rate": 0.02}, 7), ({}, 8))
    plan = grid_plan(
        kind="optuna", values={"network.hidden": ((10, 20), (5,))}, ranges=ranges, trials=trials, seeds=(7, 8)
    )
    write_plan(tmp_path, plan)
    assert read_plan(tmp_path) == plan
    halving = grid_plan(kind="halving", first_epochs=2, keep=4)
    write_plan(tmp_path, halving)
    assert read_plan(tmp_path) == halving


def test_sweep__has_a_trial_for_each_combination_and_seed(store):
    sweep = create_sweep(store, grid_plan())
    assert sweep.settings == GRID
    assert [trial.number for trial in sweep.trials] == list(range(12))
    assert all(trial.run is None and trial.state == RunState.QUEUED for trial in sweep.trials)
    assert sweep.results() == [(trial, None) for trial in sweep.trials]
    assert sweep.trials[3] == Trial(3, {"training.zeta": 0.0, "network.epsilon": 5.0}, 1)
    assert sweep.trials[2].point == sweep.trials[3].point != sweep.trials[4].point


def test_sweep__shows_states_and_results_of_its_runs(store):
    sweep = create_sweep(store, grid_plan())
    run = finish(sweep, 1)
    finish(sweep, 2, "failed")
    trials = sweep.trials
    assert [trial.state for trial in trials[:4]] == ["queued", "finished", "failed", "queued"]
    assert trials[1].run == run
    found = sweep.results()[1][1]
    assert (found.state, found.settings["network.epsilon"]) == ("finished", 2.0)
    assert sweep.value(found) == run.records()[-1].validation_accuracy != sweep.test_value(found) == found.best_accuracy
    assert not sweep.caveat


def test_sweep__without_validation_split_warns_that_the_best_is_overstated(store):
    sweep = create_sweep(store, grid_plan(objective="test accuracy"))
    finish(sweep, 0)
    found = sweep.results()[0][1]
    assert sweep.value(found) == found.test_accuracy
    assert "overstates" in sweep.caveat
    trials = tuple(({"training.zeta": 0.1}, seed) for seed in (0, 1))
    values = {"training.zeta": (0.1,)}
    alone = create_sweep(store, grid_plan(objective="test accuracy", values=values, trials=trials))
    finish(alone, 0)
    assert not alone.caveat, "nothing is chosen"
    assert next(summary_lines(alone, ranking(alone))).startswith("Test accuracy with zeta 0.1: ")


def test_sweep__reads_runs_that_are_over_once(store, monkeypatch):
    sweep = create_sweep(store, grid_plan())
    for number in range(6):
        finish(sweep, number)
    before = sweep.results()
    for name in ("status", "config", "meta", "each_line"):
        monkeypatch.setattr("tsnn.runs.run.Run." + name, lambda *_: pytest.fail("read again"))
    assert sweep.results() == before
    monkeypatch.undo()
    run = before[3][0].run
    status = json.loads((run.path / "status.json").read_text())
    (run.path / "status.json").write_text(json.dumps({**status, "state": "stopped"}))
    os.utime(run.path, ns=(1, 1))
    assert sweep.results()[3][1].state == "stopped", "a run that was resumed is read again"


def test_results__continue_where_the_time_was_up(store):
    sweep = create_sweep(store, grid_plan())
    for number in range(3):
        finish(sweep, number)
    assert [found for _, found in sweep.results(seconds=-1)] == [None] * 12
    assert sum(found is not None for _, found in sweep.results()) == 3


def test_sweep__that_is_extended_keeps_its_trials(store):
    sweep = create_sweep(store, grid_plan())
    finish(sweep, 11)
    longer = sweep.plan.trials + tuple((settings, 2) for settings, seed in sweep.plan.trials if seed == 0)
    write_plan(sweep.path, grid_plan(trials=longer, seeds=(0, 1, 2)))
    os.utime(sweep.path / FILE, ns=(1, 1))
    assert [len(sweep.trials), sweep.trials[11].state, sweep.trials[12].seed] == [18, "finished", 2]


def test_optuna__settings_are_those_of_the_run(store):
    ranges = {"training.zeta": Range(0.0, 0.5)}
    plan = grid_plan(kind="optuna", values={}, ranges=ranges, trials=(({}, 0), ({}, 1)))
    sweep = create_sweep(store, plan)
    assert sweep.settings == {"training.zeta": ()}
    fake_engine.finished_run(sweep.store, {"data.name": "madelon", "training.zeta": 0.125}, 2, name=trial_name(1))
    assert [trial.settings for trial in sweep.trials] == [{}, {"training.zeta": 0.125}]
    assert sweep.settings == {"training.zeta": (0.125,)}


def test_sweeps__are_no_runs_and_their_runs_open_by_both_names(store):
    ordinary = fake_engine.finished_run(store, {"data.name": "madelon"}, 1)
    sweep = create_sweep(store, grid_plan())
    run = finish(sweep, 4)
    assert store.list() == [ordinary]
    known = Catalog(store)
    known.refresh()
    assert [summary.run for summary in known.summaries()] == [ordinary.id]
    assert sweeps(store) == [sweep] == [open_sweep(store, sweep.id)]
    assert store.open(f"{sweep.id}/trial-00004").path == run.path
    for name in (f"{sweep.id}/../{ordinary.id}", f"{ordinary.id}/snapshots", f"../runs/{sweep.id}/trial-00004"):
        with pytest.raises(RunError, match="is not the name of a run"):
            store.open(name)
    with pytest.raises(RunError, match=f"no sweep 'other'.*{sweep.id}"):
        open_sweep(store, "other")


DAMAGES = {
    "no file": None,
    "no object": "[]",
    "other format": {"format": 99},
    "no trials": {"trials": None},
    "seed as text": {"seeds": ["0"]},
    "unknown kind": {"kind": "guess"},
    "unknown setting": {"settings": {"training.zetta": {"values": [1]}}},
    "no values": {"settings": {"training.zeta": {"values": []}}},
    "range without end": {"settings": {"training.zeta": {"low": 0, "log": True}}},
    "value out of range": {"settings": {"training.zeta": {"values": [7]}, "network.epsilon": {"values": [1]}}},
    "trial without setting": {"trials": [{"settings": {"training.zeta": 0.1}, "seed": 0}]},
    "trial without seed": {"trials": [{"settings": {"training.zeta": 0.1, "network.epsilon": 2}}]},
    "trial with huge number": {"trials": [{"settings": {"training.zeta": 0.1, "network.epsilon": 10**400}, "seed": 0}]},
    "objective as list": {"objective": []},
    "kind as table": {"kind": {}},
    "damaged base": {"base": {"training": {"zeta": "much"}}},
    "halving as text": {"halving": "3"},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_file__is_a_sweep_with_a_problem(store, damage):
    sweep = create_sweep(store, grid_plan())
    finish(sweep, 0)
    content = DAMAGES[damage]
    if content is None:
        (sweep.path / FILE).unlink()
    else:
        whole = json.loads((sweep.path / FILE).read_text())
        (sweep.path / FILE).write_text(content if isinstance(content, str) else json.dumps({**whole, **content}))
    os.utime(sweep.path, ns=(1, 1))
    read = Sweep(sweep.path)
    assert (read.trials, read.results(), read.settings) == ((), [], {})
    assert read.problem.startswith(("sweep.json of sweep", "Sweep ")), read.problem
    with pytest.raises(RunError, match=r"sweep.json|format|There is no sweep"):
        open_sweep(store, sweep.id)


def test_damaged_runs__are_trials_with_a_problem(store):
    sweep = create_sweep(store, grid_plan())
    for number, name in enumerate(("meta.json", "config.toml", "metrics.jsonl", "status.json")):
        (finish(sweep, number).path / name).write_bytes(b"\x00\xff")
    finish(sweep, 4).path.joinpath("config.toml").unlink()
    (sweep.path / trial_name(5)).write_text("a file")
    found = sweep.results()
    assert all(found[number][1].problem for number in range(2))
    assert found[3][0].state == "lost"
    assert [found[number] for number in (4, 5)] == [(sweep.trials[number], None) for number in (4, 5)]
