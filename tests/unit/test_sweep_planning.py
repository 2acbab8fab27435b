"""Plans of sweeps: values, ranges, draws, rounds of halving, extension; bad input."""

import math

import numpy as np
import pytest

from tsnn.config import Config
from tsnn.errors import ConfigError
from tsnn.jobs.planning import covers, extended, plan_sweep, total_epochs
from tsnn.runs.sweep_plan import Range

CONFIG = Config.preset("madelon").replace(epochs=9)


def points(plan):
    return [tuple(settings.values()) for settings, _ in plan.trials]


def test_grid__has_each_combination_with_each_seed():
    plan = plan_sweep(CONFIG.replace(seed=5), {"zeta": "0,0.3", "training.batch_size": [16, 32, 64]}, seeds=2)
    assert plan.values == {"training.zeta": (0.0, 0.3), "training.batch_size": (16, 32, 64)}
    assert points(plan)[:6] == [(0, 16), (0, 32), (0, 64), (0.3, 16), (0.3, 32), (0.3, 64)]
    assert [seed for _, seed in plan.trials] == [5] * 6 + [6] * 6
    assert (plan.kind, plan.base.run.threads, plan.objective) == ("grid", 1, "test accuracy")


def test_values__of_every_kind():
    grid = {"hidden": "100-50,[20,10],7", "prune": "signed", "zeta": np.array([0.1])}
    plan = plan_sweep(CONFIG, grid)
    assert plan.values["network.hidden"] == ((100, 50), (20, 10), (7,))
    assert points(plan)[1] == ((20, 10), "signed", 0.1)


def test_threads__that_are_set_are_kept():
    assert plan_sweep(CONFIG.replace(threads=2), {"zeta": [0.1]}).base.run.threads == 2
    assert plan_sweep(CONFIG.replace(workers=2), {"zeta": [0.1]}).base.run.threads == 0


def test_objective__is_of_the_validation_split_and_the_task():
    split = CONFIG.replace(validation_fraction=0.1)
    assert plan_sweep(split, {"zeta": [0.1]}).objective == "validation accuracy"
    assert plan_sweep(split, {"zeta": [0.1]}, task="regression").objective == "validation R²"
    assert plan_sweep(CONFIG.replace(task="regression"), {"zeta": [0.1]}).objective == "test R²"


def test_random__draws_within_ranges_and_lists_and_begins_with_the_same():
    grid = {"zeta": "0..0.5", "learning_rate": "0.001..0.1:log", "batch_size": Range(16, 64), "prune": ["signed"]}
    plan = plan_sweep(CONFIG, grid, random=200)
    names = ("training.zeta", "training.learning_rate", "training.batch_size", "training.prune")
    zeta, rate, batch, prune = ([settings[name] for settings, _ in plan.trials] for name in names)
    assert 0 <= min(zeta) < 0.05 < 0.45 < max(zeta) <= 0.5
    assert 0.4 < np.mean([math.log10(v) < -2 for v in rate]) < 0.6, "half of a logarithmic range"
    assert all(isinstance(v, int) and 16 <= v <= 64 for v in batch)
    assert set(prune) == {"signed"}
    assert len(set(points(plan))) == 200
    assert plan_sweep(CONFIG, grid, random=20).trials == plan.trials[:20]
    assert plan_sweep(CONFIG.replace(seed=1), grid, random=20).trials[0] != plan.trials[0]
    with pytest.raises(ConfigError, match="only about 2 combinations, not 3"):
        plan_sweep(CONFIG, {"zeta": [0.1, 0.2]}, random=3)


@pytest.mark.parametrize(
    ("count", "epochs", "expected"),
    [(9, 9, [(1, 9), (3, 3), (9, 1)]), (4, 100, [(33, 4), (100, 1)]), (27, 5, [(1, 27), (3, 9), (5, 3)]),
     (100, 100, [(1, 100), (3, 33), (9, 11), (27, 3), (100, 1)])],
)  # fmt: skip
def test_halving__trains_a_third_three_times_as_long(count, epochs, expected):
    plan = plan_sweep(CONFIG.replace(epochs=epochs), {"zeta": "0..0.9"}, random=count, halving=True, seeds=2)
    assert list(plan.rounds) == expected
    before = [0, *(e for e, _ in expected)]
    assert total_epochs(plan) == 2 * sum((e - b) * n for (e, n), b in zip(expected, before, strict=False))


def test_extended__keeps_the_numbers_of_trials():
    plan = plan_sweep(CONFIG, {"zeta": "0,0.3", "epsilon": "5"}, seeds=2)
    more = extended(plan, {"zeta": "0.3,0.5", "epsilon": "5,20"}, seeds=3)
    assert more.trials[:4] == plan.trials
    assert (len(more.trials), len(set(map(str, more.trials)))) == (18, 18)
    assert more.values == {"training.zeta": (0.0, 0.3, 0.5), "network.epsilon": (5.0, 20.0)}
    assert covers(more, plan)
    assert not covers(plan, more)
    assert extended(more) == more
    drawn = plan_sweep(CONFIG, {"zeta": "0..0.5"}, random=5)
    assert extended(drawn, count=8, seeds=2).trials[:5] == drawn.trials
    assert len(extended(drawn, count=8, seeds=2).trials) == 16
    chosen = plan_sweep(CONFIG, {"zeta": "0..0.5"}, optuna=5, seeds=2)
    assert len(extended(chosen, count=7).trials) == 14
    halved = plan_sweep(CONFIG.replace(epochs=9), {"zeta": "0..0.9"}, random=9, halving=True)
    assert extended(halved, count=18, seeds=2).rounds == ((1, 18), (3, 6), (9, 2))
    assert len(extended(halved, count=18, seeds=2).trials) == 36


def test_extended__refuses_other_settings_and_kinds():
    plan = plan_sweep(CONFIG, {"zeta": "0,0.3,0.5"})
    with pytest.raises(ConfigError, match=r"no listed values of network.epsilon; it has: training.zeta"):
        extended(plan, {"epsilon": "5"})
    with pytest.raises(ConfigError, match="'halving' cannot get more combinations"):
        extended(plan_sweep(CONFIG, {"zeta": "0,0.3,0.5"}, halving=True), count=9)
    with pytest.raises(ConfigError, match="'halving' cannot get more values"):
        extended(plan_sweep(CONFIG, {"zeta": "0,0.1,0.3,0.5,0.7"}, random=4, halving=True), {"zeta": "0.9"})
    with pytest.raises(ConfigError, match="'grid' cannot get more combinations"):
        extended(plan, count=9)


BAD = {
    "unknown name": ({"zetta": "0"}, {}, "Did you mean 'training.zeta'"),
    "fixed name": ({"threads": "1,2"}, {}, "run.threads changes no results, so.*--set run.threads="),
    "seed": ({"seed": "1,2"}, {}, "--seeds 3"),
    "data set": ({"data.name": "digits,madelon"}, {}, "one data set"),
    "no settings": ({}, {}, "needs settings to vary"),
    "empty text": ({"zeta": ""}, {}, "no values to sweep"),
    "only commas": ({"zeta": ",,"}, {}, "no values to sweep"),
    "empty list": ({"zeta": []}, {}, "no values to sweep"),
    "number": ({"zeta": 0.5}, {}, "no values to sweep, got 0.5"),
    "no number": ({"zeta": "0,much"}, {}, "must be a number, got 'much'"),
    "not finite": ({"learning_rate": [float("nan")]}, {}, "must be greater than 0"),
    "huge number": ({"epochs": [10**400]}, {}, "must be at most"),
    "out of range": ({"zeta": [0.1, 1.5]}, {}, "less than 1; got 1.5"),
    "twice": ({"zeta": "0.1,0.10"}, {}, "the value 0.1 twice"),
    "name twice": ({"zeta": "0.1", "training.zeta": "0.2"}, {}, "given twice"),
    "range in a grid": ({"zeta": "0..0.5"}, {}, "has a range.*--random"),
    "range of words": ({"prune": "a..b"}, {"random": 3}, "is no number"),
    "range without end": ({"zeta": "0.."}, {"random": 3}, "must be a number"),
    "range backwards": ({"zeta": "0.5..0.1"}, {"random": 3}, "larger upper one, got 0.5..0.1"),
    "logarithm of 0": ({"zeta": "0..0.5:log"}, {"random": 3}, "above 0"),
    "unknown scale": ({"zeta": "0..0.5:lin"}, {"random": 3}, "low..high:log"),
    "no seeds": ({"zeta": "0"}, {"seeds": 0}, "seeds must be a whole number of at least 1"),
    "seeds as text": ({"zeta": "0"}, {"seeds": "3"}, "seeds must be a whole number"),
    "negative": ({"zeta": "0"}, {"random": -1}, "random must be a whole number"),
    "both": ({"zeta": "0..1"}, {"random": 3, "optuna": 3}, "Give one of them"),
    "halving of two": ({"zeta": "0,0.1"}, {"halving": True}, "at least 3 combinations"),
    "halving of epochs": ({"epochs": "1,2,3"}, {"halving": True}, "chooses training.epochs itself"),
    "too many": ({"zeta": [i / 1001 for i in range(1000)], "epsilon": [*range(1, 1001)]}, {}, "1,000,000"),
}


@pytest.mark.parametrize("case", BAD)
def test_plan__refuses(case):
    grid, options, message = BAD[case]
    with pytest.raises(ConfigError, match=message):
        plan_sweep(CONFIG, grid, **options)
