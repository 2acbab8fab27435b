"""Lessons: their files, the steps of the strip, values that come from the runs."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("panel")

from pages.lesson_strip import LessonStrip
from pages.lessons import LESSONS, known_lessons, outcome, read_lesson

from tests.support import fake_engine
from tsnn.config import Config
from tsnn.errors import ConfigError
from tsnn.jobs import queue
from tsnn.runs import RunStore
from tsnn.runs.catalog import catalog
from tsnn.runs.notes import notes
from tsnn.runs.writer import RunWriter

OWN = """
title = "Own"
order = 0
[settings]
"data.name" = "fashion_mnist"
"training.epochs" = 2
[runs.a]
settings = {"training.zeta" = 0.1}
[runs.b]
settings = {"training.zeta" = 0.2}
[predict]
question = "How large is <it>?"
run = "a"
minus = "b"
choices = [{text = "small", below = 5}, {text = "large", at_least = 5}]
[explain]
text = ["It is $a_accuracy against $b_accuracy %.", "$a_connections, $a_seconds"]
"""


@pytest.fixture
def store(tmp_path, monkeypatch) -> RunStore:
    monkeypatch.setattr(queue, "advance", lambda store: [])
    (tmp_path / "lessons").mkdir()
    (tmp_path / "lessons" / "own.toml").write_text(OWN)
    monkeypatch.setenv(LESSONS, str(tmp_path / "lessons"))
    return RunStore(tmp_path / "runs")


def finish(run, accuracy, connections=1000):
    """Write the epochs of a queued run."""
    config = run.config()
    with RunWriter(run) as writer:
        writer.meta(fake_engine.meta(config))
        for epoch in range(1, config.training.epochs + 1):
            record = fake_engine.epoch_record(epoch, config).to_dict()
            writer.line("epoch", **record | {"test_accuracy": accuracy, "connections": connections})
        writer.end("finished", "")
    (run.path / "queued.json").unlink(missing_ok=True)


@pytest.fixture
def strip(store):
    strip = LessonStrip(store, lambda ids: strip.compared.append(ids), lambda name: strip.chosen.append(name),
                        lambda text: strip.warnings.append(text))  # fmt: skip
    strip.compared, strip.chosen, strip.warnings = [], [], []
    return strip


def text(strip):
    return strip._text.object


# --- files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sparse", "zeta", "epsilon", "regrow", "pruning"])
def test_lesson__is_complete_and_exactly_one_choice_is_right(name):
    found, problems = known_lessons()
    lesson = found[name]
    assert problems == []
    assert len(lesson.configs) >= 2
    assert len({c.run.seed for c in lesson.configs.values()}) == 1
    assert lesson.choices or lesson.value[0] < lesson.value[1]
    for value in np.linspace(-100, 100, 81):
        outcomes = {key: {"accuracy": 50.0, "centre": 1.0} for key in lesson.configs}
        outcomes[lesson.run][lesson.measure] += value
        right = [c for c in lesson.choices if not c.best and c.at_least <= lesson.measured(outcomes) < c.below]
        assert len(right) == (0 if any(c.best for c in lesson.choices) or not lesson.choices else 1)


def test_lessons__of_a_folder_and_their_problems(store, tmp_path):
    (tmp_path / "lessons" / "bad.toml").write_text("title = ")
    found, problems = known_lessons()
    assert next(iter(found)) == "own", "by order"
    assert {"sparse", "zeta"} < set(found)
    assert len(problems) == 1
    assert problems[0].startswith("Lesson bad.toml: it cannot be read")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "Own"', "", "'title' is missing"),
        ('minus = "b"', 'minus = "c"', "no run 'c'"),
        ("$a_seconds", "$c_seconds", "c_seconds"),
        ("training.zeta", "training.zetta", "zetta"),
        ('run = "a"', 'measure = "beauty"', "expected one of accuracy"),
        ("order = 0", "ordr = 0", "'ordr'"),
    ],
)
def test_read_lesson__names_what_is_wrong(tmp_path, old, new, message):
    path = tmp_path / "x.toml"
    path.write_text(OWN.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        read_lesson(path)


def test_outcome__centre_over_border_of_the_last_snapshot(store):
    run = fake_engine.finished_run(store, {"data.name": "fashion_mnist"}, 3)
    degree = run.snapshot(3, None, ("input_degree",)).input_degree.reshape(28, 28)
    border = np.ones((28, 28), bool)
    border[3:-3, 3:-3] = False
    values = outcome(run)
    assert values["centre"] == pytest.approx(degree[7:21, 7:21].mean() / degree[border].mean())
    assert values["accuracy"] == pytest.approx(100 * run.records()[-1].test_accuracy)
    assert np.isnan(outcome(fake_engine.finished_run(store, {"data.name": "madelon"}, 1))["centre"])


# --- the strip -------------------------------------------------------------------------------------------


def test_strip__predict_run_reveal_explain_next(strip, store):
    strip.layout.get_root()  # it is on a page
    strip.show("own")
    assert strip.layout.visible
    assert "How large is &lt;it&gt;?" in text(strip)
    assert (strip.button.label, strip.button.disabled) == ("Run", True), "first an answer"
    strip.choices.value = "small"
    strip.button.clicks += 1
    runs = sorted(store.list(), key=lambda run: run.config().training.zeta)
    assert strip.compared == [[run.id for run in runs]]
    assert [run.config().training.zeta for run in runs] == [0.1, 0.2]
    assert {notes(run)[1] for run in runs} == {("race lesson own",)}
    assert strip.choices.disabled
    assert (strip.button.label, strip.button.disabled) == ("Reveal", True)
    for run, accuracy in zip(runs, (0.8, 0.7), strict=True):
        finish(run, accuracy)
    for follower in strip._followers.values():
        follower._min_interval = 0
    strip.tick()
    assert not strip.button.disabled
    strip.button.clicks += 1
    assert "You predicted “small”. Not this time: 10.0 points." in text(strip)
    assert "It is" not in text(strip)
    strip.button.clicks += 1
    assert "It is 80.0 against 70.0 %." in text(strip)
    assert "1,000, " in text(strip)
    assert strip.button.label == "Next lesson"
    strip.button.clicks += 1
    assert strip.chosen == ["sparse"]
    assert strip.compared[1:] == [[]], "the next one begins without these runs"
    strip.show("sparse")
    assert (strip.choices.value, strip.button.disabled) == (None, True), "none is chosen yet"


def test_strip__existing_runs_answer_at_once(strip, store):
    for config in strip.lessons["own"].configs.values():
        finish(store.create(config), 0.5)
    catalog(store).refresh()
    strip.show("own")
    strip.choices.value = "small"
    strip.button.clicks += 1
    strip.button.clicks += 1
    assert len(store.list()) == 2
    assert "Right: 0.0 points." in text(strip)


def test_strip__a_value_and_the_best_run(strip):
    strip.show("epsilon")
    assert strip.value.visible
    assert not strip.button.disabled, "a slider has a value"
    strip.value.value = 3.0
    strip._outcomes = {key: {"accuracy": a} for key, a in (("one", 60.0), ("five", 80.0), ("twenty", 81.5))}
    assert strip._answer(strip.lesson) == "You predicted 3; measured: 1.5 points."
    strip.show("zeta")
    strip._outcomes = {key: {"accuracy": a} for key, a in (("none", 60.0), ("some", 80.0), ("most", 70.0))}
    strip.choices.value = strip.choices.options[1]
    assert strip._answer(strip.lesson).endswith(f"“{strip.choices.options[1]}”. Right.")
    strip.choices.value = strip.choices.options[0]
    assert strip._answer(strip.lesson).endswith(f"Not this time: the best is “{strip.choices.options[1]}”.")


def test_strip__unknown_lesson_and_a_run_that_failed(strip, store):
    strip.show("../own")
    assert not strip.layout.visible
    assert "no lesson '../own'" in strip.warnings[0]
    strip.show("own")
    strip.choices.value = "small"
    strip.button.clicks += 1
    for run in store.list():
        with RunWriter(run) as writer:
            writer.end("failed", "diverged")
        (run.path / "queued.json").unlink()
    for follower in strip._followers.values():
        follower._min_interval = 0
    strip.tick()
    assert strip.button.disabled
    assert "ended early" in strip.button.label


def test_config__of_lessons_is_that_of_the_files(store):
    lesson = known_lessons()[0]["own"]
    assert lesson.configs["b"] == Config.preset("fashion_mnist").replace(epochs=2, zeta=0.2)
