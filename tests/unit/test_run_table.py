"""Table of runs: filter by words and values, columns, settings that were changed live."""

import csv
import io
import json

import pytest
from pages import run_table
from pages.run_table import RunFilter
from pages.runs import RunsTab

from tests.support import fake_engine
from tsnn.config import describe
from tsnn.runs import RunStore
from tsnn.runs.notes import annotate
from tsnn.runs.summaries import summarise

SMALL = {"data.name": "madelon", "network.hidden": (20, 10), "training.epochs": 12}


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs")


def set_status(run, **values):
    path = run.path / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.fixture
def runs(store):
    """A plain run, and one with other rules whose zeta was changed while it trained."""
    plain = fake_engine.finished_run(store, SMALL, 12)
    set_status(plain, test_accuracy=0.7)
    changed = fake_engine.finished_run(store, {**SMALL, "training.regrow": "gradient", "training.zeta": 0.3}, 5)
    set_status(changed, test_accuracy=0.856, settings={"zeta": 0.81, "epsilon": 10.0, "regrow": "gradient"})
    annotate(changed, title="Wide", tags=["lecture"])
    return {"plain": plain, "changed": changed}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", {"plain", "changed"}),
        ("acc>80", {"changed"}),
        ("accuracy>=85.6%", {"changed"}),
        ("acc<70", set()),
        ("acc<=70", {"plain"}),
        ("zeta=0.81", {"changed"}),
        ("zeta<0.5", {"plain"}),
        ("epochs>=10", {"plain"}),
        ("regrow=gradient", {"changed"}),
        ("regrow!=gradient", {"plain"}),
        ("training.regrow=Gradient", {"changed"}),
        ("hidden=20-10 madelon", {"plain", "changed"}),
        ("tag=lecture", {"changed"}),
        ("state=finished wide", {"changed"}),
        ("workers>0", set()),
        ("lecture epochs>=10", set()),
    ],
)
def test_filter__words_and_values(runs, query, found):
    chosen = RunFilter(query)
    assert not chosen.problem
    assert {name for name, run in runs.items() if chosen.matches(summarise(run))} == found


@pytest.mark.parametrize(("query", "problem"), [("zta=0.3", "zta is not known"), ("acc>high", "needs a number")])
def test_filter__says_what_it_does_not_understand(runs, query, problem):
    assert problem in RunFilter(query).problem


def test_table__shows_what_was_changed_and_sorts_by_the_last_value(runs):
    rows = [summarise(run) for run in runs.values()]
    frame = run_table.frame(rows)
    assert frame["training_zeta"].tolist() == [0.3, 0.81]
    assert frame["training_zeta_text"].tolist() == ["0.3", "0.3 → 0.81"]
    assert frame["network_epsilon_text"].tolist() == ["10", "10"]
    assert frame["training_method"].tolist() == ["SET (evolving)"] * 2
    for name, formatter in run_table.keyed(run_table.formatters()).items():
        assert name in frame
        if hasattr(formatter, "template"):
            assert f"{name}_text" in frame
            assert f"{name}_text" in formatter.template


def test_table__describes_each_setting_once_for_any_number_of_runs(runs, monkeypatch):
    described = []
    monkeypatch.setattr(run_table, "describe", lambda name: described.append(name) or describe(name))
    run_table.frame([summarise(run) for run in runs.values()] * 20)
    assert len(described) == len(set(described)) > 5


def test_table__without_runs_has_the_same_columns(runs):
    full = run_table.frame([summarise(run) for run in runs.values()])
    assert run_table.frame([]).dtypes.to_dict() == full.dtypes.to_dict()


def test_runs__columns_are_chosen_and_empty_ones_hidden(store, runs):
    tab = RunsTab(store, lambda run: None, lambda runs: None, lambda config, name: None)
    tab.update(now=True)
    displayed = set(tab.table.value.columns) - set(tab.table.hidden_columns)
    assert {"state", "name", "training_zeta", "test_accuracy"} <= displayed
    assert "test_r2" not in displayed, "no run has one"
    assert "training_regrow" not in displayed
    tab.columns.value = ["training.regrow"]
    displayed = set(tab.table.value.columns) - set(tab.table.hidden_columns)
    assert displayed == {"state", "name", "training_regrow"}


def test_table__hides_tags_where_no_run_has_any(runs):
    tagged, untagged = (run_table.frame([summarise(runs[name])]) for name in ("changed", "plain"))
    assert "tags" not in run_table.hidden(run_table.USUAL, tagged)
    assert "tags" in run_table.hidden(run_table.USUAL, untagged)


def test_runs__list_as_csv_has_changes_and_every_column(store, runs):
    tab = RunsTab(store, lambda run: None, lambda runs: None, lambda config, name: None)
    tab.update(now=True)
    rows = {row["run"]: row for row in csv.DictReader(io.StringIO(tab._export_list().read().decode()))}
    assert rows[runs["changed"].id]["zeta"] == "0.3 → 0.81"
    assert rows[runs["plain"].id]["zeta"] == "0.3"
    assert rows[runs["changed"].id]["regrow"] == "gradient"
    assert rows[runs["changed"].id]["tags"] == "lecture"


def test_runs__filter_reports_its_problem(store, runs):
    tab = RunsTab(store, lambda run: None, lambda runs: None, lambda config, name: None)
    tab.filter.value_input = "<b>=1"
    tab.update(now=True)
    assert "No run matches" in tab._count.object
    tab.filter.value_input = "zta=1"
    tab.update(now=True)
    assert "zta is not known" in tab._count.object
