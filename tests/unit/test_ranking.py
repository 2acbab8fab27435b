"""Rankings of sweeps: mean and spread over seeds, paired tests that do not overclaim, rows of trials."""

import json

import numpy as np
import pytest
import scipy.stats

from tests.support.sweeps import train_trial
from tsnn.config import Config
from tsnn.jobs.planning import plan_sweep
from tsnn.runs import RunStore
from tsnn.runs.ranking import Combination, paired_p_value, ranking, significance, summary_lines, table, trial_rows
from tsnn.runs.sweeps import Sweep, create_sweep

CONFIG = Config.preset("madelon").replace(epochs=3, validation_fraction=0.1)


@pytest.fixture
def store(tmp_path) -> RunStore:
    return RunStore(tmp_path / "runs")


def combination(*values, epochs=3, name=0.0):
    return Combination({"training.zeta": name}, dict(enumerate(values)), {}, 0, len(values), epochs, 10.0, 1.0)


def test_ranking__best_mean_first_and_failed_trials_counted(store):
    sweep = create_sweep(store, plan_sweep(CONFIG, {"zeta": [0.6, 0.0, 0.3, 0.1]}, seeds=2))
    for number in (0, 1, 2, 4, 5, 6):
        train_trial(sweep, number)
    train_trial(sweep, 3, "failed")
    ranked = ranking(sweep)
    assert [c.settings["training.zeta"] for c in ranked] == [0.0, 0.3, 0.6, 0.1]
    results = [sweep.results()[n][1] for n in (1, 5)]
    assert ranked[0].value.mean == pytest.approx(np.mean([r.best_validation_accuracy for r in results]))
    assert ranked[0].test.deviation == pytest.approx(np.std([r.best_accuracy for r in results], ddof=1))
    assert (ranked[3].failed, ranked[3].value.n) == (1, 0)
    columns = {column.title: column.values for column in table(sweep, ranked)}
    assert columns["zeta"] == ("0", "0.3", "0.6", "0.1")
    assert columns["seeds"] == ("2", "2", "2", "0, 1 failed")
    assert "test accuracy then" in columns


def test_ranking__of_a_sweep_without_results(store):
    sweep = create_sweep(store, plan_sweep(CONFIG, {"zeta": [0.6]}))
    assert ranking(sweep) == []
    assert list(summary_lines(sweep, [])) == ["No trial has finished yet."]
    train_trial(sweep, 0, "failed")
    assert list(summary_lines(sweep, ranking(sweep))) == ["No trial has finished yet."]


def test_summary__without_validation_split_says_so(store):
    sweep = create_sweep(store, plan_sweep(CONFIG.replace(validation_fraction=0), {"zeta": [0.6, 0.0]}))
    for number in range(2):
        train_trial(sweep, number)
    text = "\n".join(summary_lines(sweep, ranking(sweep)))
    assert "Best by test accuracy: zeta 0" in text
    assert "overstates it" in text
    assert "which did not choose it" not in text
    assert "One seed says nothing about chance" in text


def test_p_value__is_that_of_a_paired_t_test():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=5), rng.normal(0.3, size=5)
    expected = scipy.stats.ttest_rel(first, second).pvalue
    assert paired_p_value(dict(enumerate(first)), dict(enumerate(second))) == pytest.approx(expected)
    assert paired_p_value({0: 1.0, 1: 2.0}, {0: 1.0, 1: 2.0}) == 1.0
    assert paired_p_value({0: 1.0, 1: 2.0}, {1: 2.0}) is None
    assert paired_p_value({0: 1.0, 1: 2.0}, {0: 0.5, 1: 1.5}) is None, "equal differences estimate no error"


def test_significance__does_not_overclaim():
    best = combination(0.90, 0.91, 0.92)
    close = combination(0.89, 0.92, 0.90)
    far = combination(0.10, 0.12, 0.11)
    text = "\n".join(significance([best, close, far]))
    assert "Not distinguishable from the best with 3 seeds: 1 of 2" in text
    assert "Holm's correction for 2 comparisons" in text
    assert "luckiest" in text
    assert "All 1 other" in "\n".join(significance([best, far]))
    assert list(significance([best])) == []
    assert "One seed says nothing" in "\n".join(significance([combination(0.9), combination(0.1)]))


def test_significance__is_rare_where_nothing_differs():
    """Of sweeps whose 10 combinations are equally good, at most a few call any of them different."""
    rng, called = np.random.default_rng(1), 0
    for _ in range(200):
        found = [combination(*rng.normal(size=5)) for _ in range(10)]
        found.sort(key=lambda c: -c.value.mean)
        called += "9 of 9 other" not in "".join(significance(found))
    assert called < 30


def test_significance__compares_only_equal_epochs():
    text = "\n".join(significance([combination(0.9, 0.8, epochs=9), combination(0.1, 0.2, epochs=3)]))
    assert text == ""


def test_measures__are_columns_of_the_ranking_and_the_rows(store):
    sweep = create_sweep(store, plan_sweep(CONFIG, {"zeta": [0.6, 0.0]}))
    train_trial(sweep, 0)
    assert not {"ITOP rate", "modularity"} & {column.title for column in table(sweep, ranking(sweep))}
    run = train_trial(sweep, 1)
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        for layer in line.get("layers", []):
            layer |= {"itop": 0.5, "gradient_flow": 2.0}
    (run.path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    sweep = Sweep(sweep.path)
    columns = {column.title: column.values for column in table(sweep, ranking(sweep))}
    assert 0.5 in columns["ITOP rate"]
    assert [row["itop"] for row in trial_rows(sweep)][:2] == [None, 0.5]


def test_rows__of_all_trials(store):
    sweep = create_sweep(store, plan_sweep(CONFIG, {"zeta": [0.6, 0.0]}))
    train_trial(sweep, 1)
    rows = trial_rows(sweep)
    assert [(row["trial"], row["zeta"], row["state"], row["epochs"]) for row in rows] == [
        (0, 0.6, "queued", 0), (1, 0.0, "finished", 3),
    ]  # fmt: skip
    assert rows[0]["validation accuracy"] is None
    assert rows[1]["validation accuracy"] > 0
