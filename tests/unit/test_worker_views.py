"""Workers tab of parallel and sequential runs."""

import dataclasses

import pytest

from tests.support.fake_engine import epoch_record, worker
from tsnn.config import Config
from tsnn.records import Event, EventKind
from tsnn.runs import RunStore
from tsnn.runs.writer import RunWriter
from tsnn.views.live.follower import RunFollower
from tsnn.views.plots.workers import StalenessPlot
from tsnn.views.tabs.replay import Replay
from tsnn.views.tabs.workers import WorkersTab, summary


@pytest.fixture
def run(tmp_path):
    return RunStore(tmp_path).create(Config().replace({"parallel.workers": 2}))


def write(run, *epochs):
    with RunWriter(run) as writer:
        for epoch, workers in enumerate(epochs, start=1):
            writer.line("epoch", **epoch_record(epoch, run.config()).to_dict() | {"workers": workers})
        writer.line("event", **dataclasses.asdict(Event(1, EventKind.RESUMED, "Worker <2> was lost")))
        writer.end("stopped", "")


def tab(run):
    follower = RunFollower(run)
    replay = Replay(follower.config.training.epochs, lambda: None)
    view = WorkersTab(follower, replay)
    view.update()
    return view


def test_workers_tab__draws_the_newest_epoch_with_the_events(run):
    write(run, [worker(1)], [worker(1), worker(2, batches=50)])
    view = tab(run)
    speed, time, staleness = (plot.source.data for plot in view.plots)
    assert list(speed["speed"]) == [pytest.approx(100), pytest.approx(50)]
    assert list(time["communicate"]) == [pytest.approx(0.1)] * 2
    assert list(staleness["count"]) == [100, 60, 40]
    history = view.speeds.source.data
    assert history["worker"] == ["worker 1", "worker 2"]
    assert history["epochs"] == [[1, 2], [2]]
    assert history["speeds"][1] == [pytest.approx(50)]
    assert "Epoch 2, phase 1: 2 workers, 150 batches per second" in view.text.object
    assert "Worker &lt;2&gt; was lost" in view.text.object


def test_workers_tab__draws_no_staleness_in_phase_2(run):
    write(run, [worker(1)], [worker(1, phase=2, staleness=())])
    view = tab(run)
    assert [card.visible for card in view.layout[1]] == [True, True, False, True]
    view._replay.update([1, 2])
    view._replay.go(1)
    view.update()
    assert [card.visible for card in view.layout[1]] == [True, True, True, True]


def test_workers_tab__has_a_text_without_workers(tmp_path):
    store = RunStore(tmp_path)
    sequential, parallel = store.create(Config()), store.create(Config().replace({"parallel.workers": 2}))
    assert "trains in one process" in tab(sequential).text.object
    assert "after their first epoch" in tab(parallel).text.object


def test_summary__has_fractions_and_staleness():
    text = summary([worker(1), worker(2)], 7)
    assert "10.0 % of their time communicating, 10.0 % waiting for others" in text
    assert "mean staleness 0.7, 99.0 % of the gradients' entries applied" in text
    phase2 = summary([worker(1, phase=2, staleness=())], 8)
    assert "staleness" not in phase2
    assert "phase 2" in phase2


def test_staleness_plot__counts_extremes_in_the_last_bar():
    plot = StalenessPlot()
    plot.update([worker(1, staleness=(0,) * 1000 + (5,))])
    assert plot.source.data["count"][-1] == 5
    assert len(plot.source.data["count"]) <= 33
