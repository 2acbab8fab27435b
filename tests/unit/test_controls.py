"""Controls of a live run: sliders under a hand, changes made elsewhere, the run's end."""

import param
import pytest
from pages.form import StartForm

from tests.support import fake_engine
from tsnn.config import LIVE_SETTINGS, Config
from tsnn.errors import ConfigError
from tsnn.runs import RunStore
from tsnn.runs.control import ControlReader, check_effect, request
from tsnn.runs.writer import RunWriter
from tsnn.views.live.controls import LiveControls
from tsnn.views.live.follower import RunFollower


@pytest.fixture
def run(tmp_path):
    return RunStore(tmp_path / "runs").create(Config.preset("paper/fashion_mnist").replace({"training.epochs": 99}))


@pytest.fixture
def writer(run):
    with RunWriter(run) as writer:
        writer.meta(fake_engine.meta(run.config()))
        writer.update(state="training", epochs=99)
        yield writer


@pytest.fixture
def controls(run, writer):
    controls = LiveControls(lambda text: controls.warnings.append(text))
    controls.warnings = []
    controls.open(RunFollower(run, min_interval=0))
    return controls


def record(writer, epoch, **settings):
    """Record an epoch that trained with these settings."""
    changes = {f"training.{name}": value for name, value in settings.items()}
    config = Config.preset("paper/fashion_mnist").replace(changes)
    writer.line("epoch", **fake_engine.epoch_record(epoch, config).to_dict())


def drag(controls, *values):
    """Move the slider of zeta like a browser."""
    for value in values:
        controls.widgets["zeta"].value = value


def release(controls, value):
    with param.edit_constant(controls.widgets["zeta"]):
        controls.widgets["zeta"].value_throttled = value


def acknowledge(writer, run, epoch, *, accepted=True):
    command = ControlReader(run).poll()[-1]
    writer.line("ack", command=command.id, epoch=epoch, accepted=accepted, message="")


def test_slider__is_never_moved_under_a_hand(controls, writer, run):
    zeta = controls.widgets["zeta"]
    record(writer, 1, zeta=0.3)
    controls.tick()
    drag(controls, 0.31, 0.35)
    for epoch in (2, 3):
        record(writer, epoch, zeta=0.3)
        controls.tick()
        assert zeta.value == 0.35, "while it is held"
    drag(controls, 0.4)
    release(controls, 0.4)
    record(writer, 4, zeta=0.3)
    controls.tick()
    assert zeta.value == 0.4, "until the engine has answered"
    acknowledge(writer, run, epoch=4)
    controls.tick()
    assert zeta.value == 0.4, "accepted after the last epoch: no epoch has trained with it yet"
    record(writer, 5, zeta=0.4)
    controls.tick()
    assert zeta.value == 0.4


def test_slider__five_arrow_presses_are_one_command(controls, writer, run, monkeypatch):
    later = []
    monkeypatch.setattr("tsnn.views.live.live_settings.after", lambda function, seconds: later.append(function))
    record(writer, 1, zeta=0.3)
    for value in (0.31, 0.32, 0.33, 0.34, 0.15 + 0.2):
        drag(controls, value)
        release(controls, value)
    for send in later:
        send()
    assert [command.settings for command in ControlReader(run).poll()] == [{"zeta": 0.35}], "rounded, too"


def test_slider__released_for_another_run_is_not_sent(controls, writer, run, monkeypatch):
    later = []
    monkeypatch.setattr("tsnn.views.live.live_settings.after", lambda function, seconds: later.append(function))
    record(writer, 1, zeta=0.3)
    drag(controls, 0.5)
    release(controls, 0.5)
    controls.open(RunFollower(run, min_interval=0))
    later[0]()
    assert ControlReader(run).poll() == []


def test_slider__shows_the_old_value_after_a_refusal(controls, writer, run):
    record(writer, 1, zeta=0.3)
    drag(controls, 0.5)
    release(controls, 0.5)
    acknowledge(writer, run, epoch=1, accepted=False)
    controls.tick()
    assert controls.widgets["zeta"].value == 0.3


def test_slider__follows_changes_made_elsewhere(controls, writer, run):
    zeta = controls.widgets["zeta"]
    record(writer, 1, zeta=0.3)
    drag(controls, 0.4)
    release(controls, 0.4)
    acknowledge(writer, run, epoch=1)
    record(writer, 2, zeta=0.4)
    controls.tick()
    request(run, "set", zeta=0.1)
    acknowledge(writer, run, epoch=2)
    controls.tick()
    assert zeta.value == 0.1, "at once, also while the run is paused"
    record(writer, 3, zeta=0.1)
    record(writer, 4, zeta=0.2)
    controls.tick()
    assert zeta.value == 0.2


def test_slider__late_echo_of_the_browser_is_no_hand(controls, writer, run):
    record(writer, 1, zeta=0.5)
    controls.tick()
    record(writer, 2, zeta=0.6)
    controls.tick()
    drag(controls, 0.5)  # the echo of the first
    record(writer, 3, zeta=0.7)
    controls.tick()
    assert controls.widgets["zeta"].value == 0.7


def test_slider__shows_the_value_that_a_schedule_applies(controls, writer, run):
    rate, label = controls.widgets["learning_rate"], controls.widgets["learning_rate"].label
    line = fake_engine.epoch_record(1, run.config()).to_dict()
    writer.line("epoch", **{**line, "scheduled": {"learning_rate": 0.00123456}})
    controls.tick()
    assert rate.value == 0.01, "the schedule multiplies this one"
    assert rate.label == f"{label} · scheduled, now 0.001235"
    record(writer, 2)
    controls.tick()
    assert rate.label == label


def test_choice__sends_one_command_and_shows_the_current_rule(controls, writer, run):
    regrow = controls.widgets["regrow"]
    record(writer, 1)
    controls.tick()
    assert regrow.value == "random"
    regrow.value = "gradient"
    record(writer, 2)
    controls.tick()
    assert regrow.value == "gradient", "until the engine has answered"
    acknowledge(writer, run, epoch=2)
    controls.tick()
    assert regrow.value == "gradient"
    assert "regrow gradient: accepted after epoch 2" in controls._messages.object
    record(writer, 3, regrow="gradient")
    record(writer, 4, regrow="random")  # changed elsewhere
    controls.tick()
    assert regrow.value == "random"
    assert [command.settings for command in ControlReader(run).poll()] == [{"regrow": "gradient"}]


def test_choice__shows_the_old_rule_after_a_refusal(controls, writer, run):
    record(writer, 1)
    controls.widgets["prune"].value = "magnitude"
    acknowledge(writer, run, epoch=1, accepted=False)
    controls.tick()
    assert controls.widgets["prune"].value == "signed"
    assert len(ControlReader(run).poll()) == 1


def test_choice__shows_a_rule_that_only_the_engine_knows(controls, writer, run):
    line = fake_engine.epoch_record(1, Config.preset("paper/fashion_mnist")).to_dict()
    line["settings"]["regrow"] = "hubs"
    writer.line("epoch", **line)
    controls.tick()
    assert controls.widgets["regrow"].value == "hubs"
    assert ControlReader(run).poll() == []


def test_controls__leave_with_the_run(controls, writer, run):
    record(writer, 1, zeta=0.3)
    controls.tick()
    assert controls.settings.visible
    writer.end("finished", "")
    controls._follower.poll()  # another view of the run was first
    controls.tick()
    assert not controls.settings.visible
    assert not controls.buttons.visible
    release(controls, 0.8)
    assert controls.warnings == [f"Run {run.id} is finished: it cannot obey the command 'set'. "
                                 f"Continue it first: tsnn resume {run.id}."]  # fmt: skip
    assert not (run.path / "control.jsonl").exists()


def test_start__quick_clicks_start_one_run(tmp_path, monkeypatch):
    later = []
    monkeypatch.setattr("pages.start_buttons.after", lambda function, _seconds: later.append(function))
    store, opened = RunStore(tmp_path / "runs"), []
    monkeypatch.setattr("pages.form.enqueue", lambda config, store: store.create(config))
    form = StartForm(store, opened.append)
    for _ in range(4):
        form.start.clicks += 1
    assert (form.start.disabled, form.start.label) == (True, "Starting …")
    assert store.list() == [], "the page is told first"
    later.pop(0)()
    form.start.clicks += 1  # arrived while the run was started
    assert [run.id for run in store.list()] == opened
    assert len(opened) == 1
    later.pop(0)()
    assert (form.start.disabled, form.start.label) == (False, "Start")


@pytest.mark.parametrize(
    ("settings", "unused"),
    [
        ({"training.method": "set"}, set()),
        ({"training.method": "dense"}, {"zeta", "epsilon", "prune", "regrow"}),
        ({"training.method": "fixed"}, {"zeta", "epsilon", "prune", "regrow"}),
        ({"training.method": "two_phase"}, {"zeta", "prune", "regrow"}),
        ({"network.density": 0.1}, {"epsilon"}),
    ],
)
def test_controls__without_effect_are_hidden_and_refused(tmp_path, settings, unused):
    config = Config.preset("paper/fashion_mnist").replace(settings)
    run = RunStore(tmp_path / "runs").create(config)
    with RunWriter(run) as writer:
        writer.meta(fake_engine.meta(config))
        writer.update(state="training", epochs=99)
        controls = LiveControls(print)
        controls.open(RunFollower(run, min_interval=0))
    assert {name for name, widget in controls.widgets.items() if not widget.visible} == unused
    for name in unused:
        with pytest.raises(ConfigError, match=f"{name} has no effect here"):
            check_effect(config, [name])
    check_effect(config, set(LIVE_SETTINGS) - unused)
