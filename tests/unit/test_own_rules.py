"""Rules of one's own: recording of their source, processes that find it, damage, forks, viewing without execution."""

from __future__ import annotations

import importlib.util
import json
import math
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
from numpy import sqrt

import tsnn
from tests.support.waiting import wait_until
from tsnn.cli import main
from tsnn.engine.own_rules import finite_scores
from tsnn.errors import ConfigError, DivergenceError, RuleError, RunError
from tsnn.execution.engine import execute
from tsnn.jobs.launch import resume
from tsnn.registry import PRUNING, REGROWTH, SCHEDULES, recorded_registries
from tsnn.rule_source import rule_source
from tsnn.runs import ENDED, Run
from tsnn.runs.comparison import find, table
from tsnn.runs.control import ControlReader, request
from tsnn.runs.forks import make_fork
from tsnn.runs.results import result
from tsnn.runs.rules import recorded_rules
from tsnn.runs.writer import RunWriter

RATE = 0.5
TABLE = np.array([1, 2, 4], np.float32) / 3
NESTED = {"a": (1, math.inf), "b": [np.float32(0.1), {2, 3}, b"x"]}
GENERATOR = np.random.default_rng(0)


class Scale:
    """A helper class."""

    factor: float = RATE

    def times(self, x):
        return self.factor * x


def twice(x, scale=2 * RATE):
    return sqrt(4 * x * x) * scale * Scale().times(2)


double = twice


@pytest.fixture(autouse=True)
def _clean():
    """Remove the rules that a test registers."""
    yield
    for registry in recorded_registries().values():
        for name in [name for name, rule in registry.items() if rule.is_own]:
            registry.unregister(name)
        registry._recorded.clear()


def define_rules():
    @tsnn.regrowth("gentle")
    def gentle(free, count, rng):
        """Anywhere."""
        return free.draw(count, rng)

    @tsnn.pruning("halving", help="by halves")
    def halving(weights, zeta):
        order = np.argsort(double(np.abs(weights)), kind="stable")
        survives = np.ones(len(weights), bool)
        survives[order[: int(zeta * len(weights))]] = False
        return survives

    @tsnn.schedule("halves")
    def halves(progress):
        return 1.0 if progress < RATE else float(TABLE[0]) * NESTED["a"][0]


@pytest.fixture
def own(filed):
    """Settings with three rules that are not built in."""
    define_rules()
    return filed.replace(regrow="gentle", prune="halving", zeta_schedule="halves", epochs=4)


def test_source__is_complete(own):
    """The recorded text alone registers a rule with the same results."""
    weights = np.random.default_rng(1).normal(size=50).astype(np.float32)
    text, before = rule_source(PRUNING, PRUNING["halving"]), PRUNING["halving"](weights, 0.3)
    schedule, factors = rule_source(SCHEDULES, SCHEDULES["halves"]), [SCHEDULES["halves"](t) for t in (0, 0.7)]
    PRUNING.unregister("halving")
    SCHEDULES.unregister("halves")
    for source in (text, schedule):
        exec(compile(source, "recorded", "exec"), {"__name__": "alone"})
    assert (PRUNING["halving"](weights, 0.3) == before).all()
    assert PRUNING["halving"].help == "by halves"
    assert [SCHEDULES["halves"](t) for t in (0, 0.7)] == factors
    assert "GENERATOR" not in text + schedule


def test_source__is_that_of_the_recorded_text(own, tmp_path):
    """Recording a recorded rule gives the same text: its hash does not change from run to run."""
    text = rule_source(PRUNING, PRUNING["halving"])
    (tmp_path / "again.py").write_text(text)
    spec = importlib.util.spec_from_file_location("again", tmp_path / "again.py")
    sys.modules["again"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["again"])
    assert PRUNING["halving"].function.__module__ == "again"
    assert rule_source(PRUNING, PRUNING["halving"]) == text


def refuse(function, message):
    tsnn.schedule("bad")(function)
    with pytest.raises(RuleError, match=message):
        rule_source(SCHEDULES, SCHEDULES["bad"])


def test_source__names_the_part_that_cannot_be_recorded():
    factor = 0.5

    def closure(t):
        return factor * t

    def random(t):
        return GENERATOR.random()

    def undefined(t):
        return nothing * t  # noqa: F821

    def remembering(t):
        global RATE
        RATE = t
        return t

    refuse(closure, "uses factor of the function around it")
    refuse(lambda t: t, "is a lambda. Write it as a function, with def")
    refuse(random, "random uses GENERATOR, a Generator")
    refuse(undefined, "uses nothing, which is not defined")
    refuse(remembering, "changes the global RATE")
    refuse(Scale().times, "is a method")


def test_source__refuses_modules_that_are_not_installed(tmp_path, monkeypatch):
    (tmp_path / "own_helpers.py").write_text("def f(t):\n    return t\n")
    (tmp_path / "own_rules.py").write_text(
        "import tsnn, own_helpers\n@tsnn.schedule('bad')\ndef g(t):\n    return own_helpers.f(t)\n"
        "from own_helpers import f\n@tsnn.schedule('good')\ndef h(t):\n    return f(t)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import own_rules  # noqa: F401

    with pytest.raises(RuleError, match="uses the module own_helpers, which is not installed"):
        rule_source(SCHEDULES, SCHEDULES["bad"])
    assert "def f(t)" in rule_source(SCHEDULES, SCHEDULES["good"])
    (tmp_path / "own_rules.py").write_text(
        "import tsnn, own_helpers\n@tsnn.schedule('bad')\ndef g(t):\n    return 0\n" * 3
    )
    with pytest.raises(RuleError, match="has changed since it was imported"):
        rule_source(SCHEDULES, SCHEDULES["bad"])
    del sys.modules["own_rules"], sys.modules["own_helpers"]


def test_decorators__refuse_bad_names_and_needs():
    with pytest.raises(ConfigError, match=r'as in @tsnn.pruning\("my_rule"\); got'):
        tsnn.pruning(lambda weights, zeta: weights > 0)
    with pytest.raises(ConfigError, match="at most 40 of a-z"):
        tsnn.regrowth("../evil")
    with pytest.raises(ConfigError, match="can need one of"):
        tsnn.regrowth("fine", needs="luck")
    with pytest.raises(ConfigError, match="from 0 to 1000"):
        tsnn.regrowth("fine", candidates=-1)
    with pytest.raises(ConfigError, match="There is a schedule 'cosine' already"):
        tsnn.schedule("cosine")


def test_rule__may_be_defined_again():
    tsnn.schedule("again")(lambda t: 0.0)
    tsnn.schedule("again")(lambda t: 1.0)
    assert SCHEDULES["again"](0) == 1.0


def test_run__is_trained_by_a_process_that_has_only_its_directory(own, store):
    run = tsnn.start(own, store)
    wait_until(lambda: run.status()["state"] in ENDED)
    assert run.status()["state"] == "finished", run.log()
    recorded = recorded_rules(run.path)
    assert {(r.kind, r.rule.name) for r in recorded} == {
        ("regrowth", "gentle"), ("pruning", "halving"), ("schedule", "halves"),
    }  # fmt: skip
    assert [r["sha256"] for r in run.meta()["rules"]] == [r.sha256 for r in recorded]
    for registry, name in ((REGROWTH, "gentle"), (PRUNING, "halving"), (SCHEDULES, "halves")):
        registry.unregister(name)
    resume(run, epochs=6)
    wait_until(lambda: run.status()["state"] in ENDED and len(run.records()) == 6)


def trained(store, config):
    run = store.create(config)
    list(execute(run))
    return run


@pytest.mark.parametrize("damage", ["missing", "changed", "other", "none"])
def test_resume__refuses_a_rule_that_is_not_the_recorded_one(own, store, damage):
    run = trained(store, own)
    file = run.path / "rules" / "pruning-halving.py"
    if damage == "missing":
        file.unlink()
    elif damage == "changed":
        file.write_text(file.read_text().replace("stable", "quicksort"))
    elif damage == "other":  # together with its hash
        values = json.loads((run.path / "rules.json").read_text())
        values["rules"][0]["sha256"] = "0" * 64
        (run.path / "rules.json").write_text(json.dumps(values))
    else:
        (run.path / "rules.json").unlink()
        for registry in (REGROWTH, PRUNING, SCHEDULES):
            registry._recorded.clear()
            registry.unregister({"r": "gentle", "p": "halving", "s": "halves"}[registry.kind[0]])
    before = len(list(run.path.rglob("*")))
    with pytest.raises(RunError, match=r"rule '[a-z]*' of run .*(cannot be read|has changed|missing in rules.json)"):
        resume(run, epochs=6)
    assert len(list(run.path.rglob("*"))) == before


def test_fork__takes_its_parents_rules_along(own, store):
    parent = trained(store, own.replace({"run.checkpoint_epochs": 1}))
    REGROWTH.unregister("gentle")
    fork = make_fork(parent, 2)
    shutil.rmtree(parent.path)
    list(execute(fork))
    assert [r.sha256 for r in recorded_rules(fork.path)] == [r["sha256"] for r in fork.meta()["rules"]]


def test_fork__records_a_new_rule(own, store):
    parent = trained(store, own.replace({"run.checkpoint_epochs": 1}))

    @tsnn.regrowth("other")
    def other(free, count, rng):
        return free.draw(count, rng)

    fork = make_fork(parent, 2, {"regrow": "other"})
    assert {r.rule.name for r in recorded_rules(fork.path)} == {"gentle", "halving", "halves", "other"}
    list(execute(fork))
    assert fork.records()[-1].settings["regrow"] == "other"


def test_request__switches_only_to_rules_that_the_run_records(own, store):
    run = store.create(own)
    with RunWriter(run) as writer:
        writer.update(state="training")
        REGROWTH.register("later")(lambda free, count, rng: free.draw(count, rng))
        with pytest.raises(ConfigError, match=r"without the regrowth rule 'later' .* tsnn.fork\(run, regrow='later'\)"):
            request(run, "set", zeta=0.1, regrow="later")
        request(run, "set", regrow="random")
        assert request(run, "set", regrow="gentle").settings == {"regrow": "gentle"}
        assert [command.settings["regrow"] for command in ControlReader(run).poll()] == ["random", "gentle"]


def test_viewing__executes_nothing_and_knows_the_names(own, store, tmp_path):
    run = trained(store, own)
    text = f"open({str(tmp_path / 'executed')!r}, 'w')\n" + (run.path / "rules" / "regrowth-gentle.py").read_text()
    (run.path / "rules" / "regrowth-gentle.py").write_text(text)
    code = (
        "import sys; from pathlib import Path; from tsnn.runs import Run; from tsnn.runs.results import result\n"
        "from tsnn.views.report import report\n"
        "run = Run(Path(sys.argv[1])); print(run.config().replace(zeta=0.1).training.regrow, run.problem() == '')\n"
        "print(result(run).setting_text('training.regrow')); report([run], sys.argv[2])\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(run.path), str(tmp_path / "report.html")], capture_output=True, text=True,
        check=True,
    ).stdout.splitlines()  # fmt: skip
    short = next(r for r in recorded_rules(run.path) if r.kind == "regrowth").sha256[:8]
    assert found == ["gentle True", f"gentle ({short})"]
    assert f"gentle ({short})" in (tmp_path / "report.html").read_text()
    assert not (tmp_path / "executed").exists()


def test_comparison__tells_rules_of_one_name_apart(own, store):
    one = trained(store, own)
    assert find(own, [one]) == one

    @tsnn.regrowth("gentle")
    def gentle(free, count, rng):
        return free.draw(count, np.random.default_rng(int(rng.integers(9))))

    assert find(own, [one]) is None
    other = store.create(own)
    column = next(c for c in table([result(one), result(other)]) if c.title == "training.regrow")
    assert len(set(column.values)) == 2


def test_new_run__needs_the_code_of_a_rule_that_is_known_by_name(own, store):
    run = trained(store, own)
    REGROWTH.unregister("gentle")
    config = Run(run.path).config()
    with pytest.raises(RuleError, match="regrowth rule 'gentle' is known by name only"):
        store.create(config)
    assert len(store.list()) == 1


def test_command_line__takes_rules_from_a_file(store, filed, tmp_path, capsys):
    rules = tmp_path / "my_rules.py"
    rules.write_text(
        "import tsnn\n\n@tsnn.regrowth('mine')\ndef mine(free, count, rng):\n    return free.draw(count, rng)\n"
    )
    train = ["train", str(filed.data.name), "--set", "epochs=2", "--set", "hidden=10", "--runs", str(store.root)]
    assert main([*train, "--rules", str(rules), "--set", "regrow=mine"]) == 0
    assert [r.rule.name for r in recorded_rules(store.list()[0].path)] == ["mine"]
    assert main([*train, "--rules", str(tmp_path / "none.py")]) == 1
    assert "There is no file" in capsys.readouterr().err
    rules.write_text("import tsnn\n\n1 / 0\n")
    assert main([*train, "--rules", str(rules)]) == 1
    assert "my_rules.py, line 3 cannot be loaded: ZeroDivisionError" in capsys.readouterr().err


def test_estimator__accepts_a_rule_and_predicts_without_it(own, blobs):
    x = np.asarray(blobs.x_train)
    model = tsnn.SparseMLPClassifier(hidden=(20,), epsilon=3, epochs=3, regrow="gentle", random_state=0)
    saved = pickle.dumps(model.fit(x, blobs.y_train))
    REGROWTH.unregister("gentle")
    loaded = pickle.loads(saved)
    assert (loaded.predict(x) == model.predict(x)).all()
    with pytest.raises(ConfigError, match=r"got 'gentle'\. Define one of your own first: @tsnn.regrowth"):
        loaded.fit(x, blobs.y_train)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "reader"}, {"name": "../../x"}, {"sha256": "0"}, {"candidates": "many"}, {"candidates": -1},
        {"needs": 3}, {"help": ["x"]}, {"state": "m"}, {"state": ["m v"]},
    ],
)  # fmt: skip
def test_damaged_description__is_a_problem_of_the_run(own, store, change):
    run = trained(store, own)
    values = json.loads((run.path / "rules.json").read_text())
    values["rules"][0] |= change
    (run.path / "rules.json").write_text(json.dumps(values))
    assert "rules.json" in run.problem()
    (run.path / "rules.json").write_text("{")
    assert "rules.json" in run.problem()
    assert "rules.json" in result(run).problem


def test_scores__of_a_built_in_rule_that_are_not_finite_mean_that_training_diverged():
    with pytest.raises(DivergenceError, match="Try a smaller learning rate"):
        finite_scores(REGROWTH["gradient"], "regrowth rule", np.full(3, np.nan), 3, "candidate")
