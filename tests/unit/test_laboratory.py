"""Reproduction of the papers' comparisons: learning rates by validation samples, nothing is trained twice."""

import dataclasses
import json

import pytest

from tests.benchmarks import reproduce
from tests.benchmarks.laboratory import VALIDATION, Laboratory, Row
from tests.benchmarks.time_to_accuracy import levels_reached
from tsnn.config import Config
from tsnn.files import write_atomic
from tsnn.runs import RunStore
from tsnn.runs.sweeps import sweeps


@pytest.fixture
def row():
    config = Config.preset("digits").replace(hidden=(10,), epochs=2)
    return Row("tiny", config, rates=(1e-6, 0.1), seeds=2, search_epochs=2)


def test_result__is_that_of_the_rate_with_the_best_validation_accuracy(tmp_path, row):
    result = Laboratory(RunStore(tmp_path), training=True).result(row)
    assert (result.rate, len(result.scores), result.epochs) == (0.1, 2, 2)
    configs = [run.config() for run in result.runs]
    assert [(c.run.seed, c.data.validation_fraction) for c in configs] == [(0, 0), (1, 0)]
    assert result.scores == tuple(100 * run.records()[-1].test_accuracy for run in result.runs)
    searched = [t.run.config() for sweep in sweeps(RunStore(tmp_path)) for t in sweep.trials if len(sweep.trials) == 2]
    assert {c.training.learning_rate for c in searched if c.data.validation_fraction == VALIDATION} == {1e-6, 0.1}


def test_result__passes_over_a_rate_at_which_training_diverges(tmp_path, row, monkeypatch):
    monkeypatch.setattr(Laboratory, "rates", lambda self, row: (1e9, 0.1))
    diverging = Row("too fast", row.config.replace(method="dense"), rates=(1e9, 0.1), seeds=1, search_epochs=0)
    assert Laboratory(RunStore(tmp_path), training=True).result(diverging).rate == 0.1


def test_result__passes_over_a_rate_at_which_one_seed_diverges(tmp_path, row, monkeypatch):
    monkeypatch.setattr(Laboratory, "rates", lambda self, row: (0.1, 0.05))
    first = Laboratory(RunStore(tmp_path), training=True).result(row)
    path = first.runs[1].path / "status.json"
    write_atomic(path, json.dumps(json.loads(path.read_text()) | {"state": "failed", "diverged": True}).encode())
    assert first.rate == 0.1
    assert Laboratory(RunStore(tmp_path), training=False).result(row) is None, "the next one was not run"


def test_result__trains_only_what_is_missing(tmp_path, row):
    store = RunStore(tmp_path)
    assert Laboratory(store, training=False).result(row) is None
    first = Laboratory(store, training=True).result(row)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("metrics.jsonl")}
    more = Row(row.name, row.config, row.rates, seeds=3, search_epochs=row.search_epochs)
    second = Laboratory(store, training=True).result(more)
    assert second.scores[:2] == first.scores
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("metrics.jsonl")}
    assert before.items() < after.items()
    assert len(after) == len(before) + 1
    assert Laboratory(store, training=False).result(row).text == first.text


def test_levels_reached__are_the_first_seconds():
    curve = [(1.0, 84.0), (2.0, 88.5), (3.0, 87.0), (4.0, 89.0)]
    assert levels_reached(curve) == [2.0, 2.0, 4.0, None]


def test_problem__tells_divergence_from_runs_that_are_missing(tmp_path, row):
    diverging = Row("too fast", row.config.replace(method="dense"), rates=(1e9,), seeds=1, search_epochs=0)
    laboratory = Laboratory(RunStore(tmp_path), training=True)
    assert laboratory.problem(diverging) == "not run"
    assert laboratory.result(diverging) is None
    assert laboratory.problem(diverging) == "diverged"


def test_report__keeps_the_tables_whose_runs_are_not_in_the_folder(tmp_path, row, monkeypatch):
    def table(lab, scale):
        result = lab.result(row)
        yield from ["## Digits", "", f"| tiny | {result.text if result else lab.problem(row)} |"]

    report = tmp_path / "REPORT.md"
    monkeypatch.setattr(reproduce, "REPORT", report)
    monkeypatch.setattr(reproduce, "TABLES", {"digits": table, "other": lambda lab, scale: ["## Other", "", "not run"]})
    reproduce.write(tmp_path / "empty", reproduce.QUICK)
    assert "##" not in report.read_text(), "tables without runs are left out"
    report.write_text("# Report\n\n## Digits\n\n| tiny | 96.1 |\n\n## Other\n\n98.0\n")
    list(table(Laboratory(RunStore(tmp_path / "runs"), training=True), reproduce.QUICK))
    reproduce.write(tmp_path / "runs", reproduce.QUICK)
    found = reproduce.sections(report.read_text())
    assert "96.1" not in found["## Digits"]
    assert "`python -m tests.benchmarks.reproduce digits --quick`, 20" in found["## Digits"]
    assert found["## Other"] == "## Other\n\n98.0"
    page = json.loads((tmp_path / "runs" / "report.json").read_text())["text"]
    assert "(?tab=sweep&sweep=" in page
    assert "## Other" not in page
    report.write_text(report.read_text().replace("`, 20", "`, 19"))  # an earlier day
    reproduce.write(tmp_path / "runs", reproduce.QUICK)
    assert "`, 19" in report.read_text(), "a table that has not changed keeps its date"
    missing = dataclasses.replace(row, config=row.config.replace(epochs=99))
    more = {"digits": lambda lab, scale: [*table(lab, scale), f"| more | {lab.problem(missing)} |"]}
    monkeypatch.setattr(reproduce, "TABLES", more)
    reproduce.write(tmp_path / "runs", reproduce.QUICK)
    assert "| more | not run |" in (tmp_path / "runs" / "report.json").read_text()
    assert "`, 19" in report.read_text(), "a part does not take the place of a complete table"
