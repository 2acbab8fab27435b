"""Menu of the open run: its entries by state, and their actions."""

import tomllib

import pytest
from pages.actions import RunActions

from tests.support import fake_engine
from tsnn.config import Config
from tsnn.execution.engine import execute
from tsnn.files import read_json
from tsnn.runs import RunStore
from tsnn.runs.notes import notes
from tsnn.runs.writer import RunWriter
from tsnn.views.live.follower import RunFollower
from tsnn.views.tabs.run import RunView
from tsnn.views.tabs.summary import summary_html

SMALL = {"data.name": "madelon", "network.hidden": (20, 10), "training.epochs": 3}


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs")


@pytest.fixture
def run(store):
    return fake_engine.finished_run(store, SMALL, 3)


@pytest.fixture
def actions(run):
    actions = RunActions(
        lambda config, name: actions.copied.append((config, name)), lambda text: actions.warnings.append(text),
        lambda run_id: actions.opened.append(run_id),
    )  # fmt: skip
    actions.copied, actions.warnings, actions.opened = [], [], []
    actions.open(RunView(RunFollower(run, min_interval=0)))
    return actions


def offered(actions):
    return [item["label"] for item in actions.menu.items]


def confirm(dialog):
    dialog._dialog._confirm(None)
    assert not dialog.layout.open, dialog._dialog._error.object


def test_menu__offers_more_training_only_to_ended_runs(actions, store):
    usual = ["Continue from here …", "Copy settings", "Notes …", "Download or report …"]
    assert offered(actions) == ["Train longer …", *usual]
    live = store.create(Config().replace(SMALL))
    with RunWriter(live) as writer:
        writer.update(state="training", epochs=3)
        actions.open(RunView(RunFollower(live, min_interval=0)))
        assert offered(actions) == usual
        writer.end("stopped", "")
        actions.view.tick()
        actions.tick()
        assert offered(actions)[0] == "Train longer …"


def test_train_longer__queues_the_run_with_more_epochs(actions, run, monkeypatch):
    monkeypatch.setattr("tsnn.jobs.queue.advance", lambda store: [])
    actions.choose("Train longer …")
    assert actions.resume.epochs.value == 6, "twice the epochs of a finished run"
    actions.resume.epochs.value = 8
    confirm(actions.resume)
    assert read_json(run.path / "resume.json")["epochs"] == 8
    assert run.status()["state"] == "queued"


def test_copy_settings__gives_them_to_the_form(actions, run):
    actions.choose("Copy settings")
    assert actions.copied == [(run.config(), run.id)]


def test_notes__are_kept_and_appear_in_the_head_escaped(actions, run):
    actions.choose("Notes …")
    actions.notes.title.value, actions.notes.tags.value = "First <b>try</b>", "thesis, final"
    actions.notes.text.value = "Zeta was <i>raised</i>."
    confirm(actions.notes)
    assert notes(run) == ("First <b>try</b>", ("thesis", "final"), "Zeta was <i>raised</i>.")
    actions.view.tick()
    head = actions.view.title.object + actions.view.head.object
    assert "First &lt;b&gt;try&lt;/b&gt;" in head
    assert "<span class='tag'>final</span>" in head
    assert "Zeta was &lt;i&gt;raised&lt;/i&gt;." in head


def test_download__makes_each_file_when_it_is_asked_for(actions, run):
    (run.path / "weights.npz").write_bytes(b"weights")
    actions.choose("Download or report …")
    made = {label: button.callback().read() for label, button in actions.download.buttons.items()}
    assert tomllib.loads(made["Settings (TOML)"].decode())["network"]["hidden"] == [20, 10]
    assert len(made["Epochs (CSV)"].splitlines()) == 4
    assert made["Weights (npz)"] == b"weights"
    assert [b.filename for b in actions.download.buttons.values()] == [f"{run.id}.{s}" for s in ("toml", "csv", "npz")]


def test_download__says_why_there_is_no_file(actions, run):
    (run.path / "weights.npz").unlink(missing_ok=True)
    actions.choose("Download or report …")
    assert actions.download.buttons["Weights (npz)"].callback().read() == b""
    assert "no weights yet" in actions.download._error.object.replace("&#32;", " ")


def test_choose__shows_why_an_action_fails(actions, run):
    (run.path / "config.toml").write_text("broken")
    actions.choose("Copy settings")
    assert len(actions.warnings) == 1
    assert "not valid TOML" in actions.warnings[0]


def test_continue_from_here__proposes_the_checkpoint_at_the_timeline_and_opens_the_fork(
    actions, store, filed, monkeypatch
):
    monkeypatch.setattr("tsnn.jobs.launch.start_supervisor", lambda run: None)
    actions.choose("Continue from here …")
    assert "no checkpoint" in actions.warnings[0]
    parent = store.create(filed.replace({"training.epochs": 6, "run.checkpoint_epochs": 2, "run.checkpoint_mb": 99}))
    list(execute(parent))
    actions.open(RunView(RunFollower(parent, min_interval=0)))
    actions.view.tick()
    actions.view.replay.go(5)
    actions.choose("Continue from here …")
    dialog = actions.fork
    assert dialog.layout.open
    assert list(dialog.epoch.options.values()) == parent.fork_epochs()
    assert dialog.epoch.value == max(epoch for epoch in parent.fork_epochs() if epoch <= 5)
    assert dialog.settings["zeta"].value == filed.training.zeta
    assert dialog.epochs.value == 6
    dialog.epoch.value = 6
    assert dialog.epochs.value == 12, "more than are done"
    dialog.settings["zeta"].value = 2.0
    dialog._start()
    assert dialog.layout.open
    assert "zeta" in dialog._error.object
    dialog.epoch.value = 4
    dialog.settings["zeta"].value = 0.1
    dialog._start()
    assert not dialog.layout.open
    fork = store.open(actions.opened[0])
    assert fork.meta()["fork"] == {"parent": parent.id, "epoch": 4, "settings": {"training.zeta": 0.1}}
    head = summary_html(RunFollower(fork, min_interval=0))
    assert f"forked from {parent.id} after epoch 4" in head
