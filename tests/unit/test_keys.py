"""Keys of the page, its title, and notifications."""

import pytest
from pages import keys
from pages.keys import PageKeys, end_text, page_title

from tests.support import fake_engine
from tsnn.config import Config
from tsnn.runs import RunStore
from tsnn.runs.notes import annotate
from tsnn.runs.writer import RunWriter
from tsnn.views.live.follower import RunFollower
from tsnn.views.tabs.replay import Replay

SMALL = {"data.name": "madelon", "network.hidden": (20, 10), "training.epochs": 60}


@pytest.fixture
def run(tmp_path):
    return RunStore(tmp_path / "runs").create(Config().replace(SMALL))


def press(page_keys, key):
    number = int(page_keys.pressed.value.partition(":")[0] or 0)
    page_keys.pressed.value = f"{number + 1}:{key}"


def test_keys__each_press_acts_once():
    done = []
    page_keys = PageKeys({keys.PAUSE: lambda: done.append("pause"), keys.FOLLOW: lambda: done.append("follow")})
    for key in (keys.PAUSE, keys.PAUSE, keys.FOLLOW, "x"):
        press(page_keys, key)
    assert done == ["pause", "pause", "follow"]
    assert not page_keys.dialog.open
    page_keys.pressed.value = f"7:{keys.PAUSE},x,{keys.FOLLOW},{keys.FOLLOW},{keys.PAUSE}"
    assert done[3:] == ["follow", "follow", "pause"], "three quick presses that arrive together"
    page_keys.pressed.value = "x" * 99
    page_keys.pressed.value = f"{'9' * 99}:{keys.PAUSE}"
    assert len(done) == 6, "no number of presses"
    page_keys.pressed.value = "7:"
    press(page_keys, keys.LIST)
    assert page_keys.dialog.open
    assert '" ", "f", "?"' in page_keys.script.object


def test_replay__steps_by_key():
    replay = Replay(60, lambda: None)
    replay.step(1)  # there is no snapshot yet
    assert replay.epoch is None
    replay.update([0, 5, 10])
    replay.step(-1)
    assert (replay.epoch, replay.following) == (5, False)
    replay.step(1)
    replay.step(1)
    assert replay.epoch == 10


def test_title_and_notification__follow_the_run(run):
    page_keys = PageKeys({})
    page_keys.tick(None)
    assert page_keys.title.value == "tsnn"
    follower = RunFollower(run, min_interval=0)
    with RunWriter(run) as writer:
        writer.update(state="training", epochs=60)
        for epoch in range(1, 13):
            writer.line("epoch", **fake_engine.epoch_record(epoch, run.config()).to_dict())
        follower.poll()
        page_keys.tick(follower)
        assert page_keys.title.value == "● 12/60 tsnn"
        writer.line("epoch", **fake_engine.epoch_record(13, run.config()).to_dict())
        follower.poll()
        page_keys.tick(follower)
        assert page_keys.title.value == "● 12/60 tsnn", "not at each epoch: a page without the run gets it, too"
        page_keys._since -= keys._TITLE_SECONDS
        page_keys.tick(follower)
        assert page_keys.title.value == "● 13/60 tsnn"
        writer.update(state="paused")
        follower.poll()
        assert page_title(follower) == "‖ 13/60 tsnn"
        assert page_keys.ended.value == ""
        writer.end("stopped", "")
    annotate(run, title="Wide")
    follower.poll()
    page_keys.tick(follower)
    assert page_keys.title.value == "■ 13/60 tsnn"
    assert page_keys.ended.value == end_text(follower)
    assert page_keys.ended.value.startswith("Wide: stopped, test accuracy")


def test_notification__not_for_a_run_that_had_ended_when_it_was_opened(run):
    page_keys = PageKeys({})
    with RunWriter(run) as writer:
        writer.end("finished", "")
    page_keys.tick(RunFollower(run, min_interval=0))
    page_keys.tick(RunFollower(run, min_interval=0))
    assert page_keys.ended.value == ""
