"""Following a run in a notebook: in one line, beside widgets of one's own, until it ends."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import panel as pn
import param
import pytest
from bokeh.models import Title

from tests.support import fake_engine
from tsnn import views
from tsnn.config import Config
from tsnn.errors import RunError
from tsnn.runs import RunStore
from tsnn.views.live import browser
from tsnn.views.live.browser import Throttle, on_release
from tsnn.views.notebook import Ticker


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs")


@pytest.fixture
def finished(store):
    return fake_engine.finished_run(store, {"data.name": "fashion_mnist", "training.epochs": 12}, 12)


def test_a_figure_bound_to_a_widget_follows_it_beside_a_watched_run(finished):
    views.watch(finished)
    widget = pn.widgets.IntSlider(value=1, start=1, end=3)
    bound = pn.bind(lambda k: views.histogram(f"{k} values", "x", "y", {"": range(k)}), widget)
    root = pn.Column(bound).get_root()
    widget.value = 3
    assert [title.text for title in root.select({"type": Title})] == ["3 values"]


def answer(pace):
    """Do what the link does in the page."""
    pace.parts[1].value = pace.parts[0].value


def test_nothing_is_sent_before_the_page_has_answered(monkeypatch):
    monkeypatch.setattr(browser, "PATIENCE", 0.0)
    pace, done = Throttle(), []
    ticker = Ticker(lambda: done.append(1) or True, pace, start=False)
    ticker._tick()
    ticker._tick()
    assert not done
    assert pace.parts[0].value == 2, "what was asked is asked again: it may be lost"
    answer(pace)
    ticker._tick()
    ticker._tick()
    assert len(done) == 1, "the page is given time to draw"
    answer(pace)
    ticker._tick()
    assert len(done) == 2


def test_a_page_is_not_asked_where_nothing_is_new():
    pace, done = Throttle(), []
    ticker = Ticker(lambda: done.append(1), pace, start=False)
    ticker._tick()
    answer(pace)
    for _ in range(3):
        ticker._tick()
    assert len(done) == 3
    assert pace.parts[0].value == 1


def test_letting_go_is_heard_twice_at_the_same_place_and_never_sent_back():
    slider, heard = pn.widgets.IntSlider(start=0, end=9, value=3), []
    on_release(slider, heard.append)
    for place in (0, 3, 3):
        slider.value = 5  # as the server does
        with param.edit_constant(slider):
            slider.value_throttled = place
    assert heard == [0, 3, 3]
    assert slider.value_throttled == -1, "all that a late browser can send back"


def test_waiting_for_a_run_ends_with_it_or_with_patience(finished, store):
    assert await_it(views.ended(finished)) == "finished"
    run = store.create(Config())
    with pytest.raises(RunError, match=r"still created after 0.2 s"):
        await_it(views.ended(run, seconds=0.2))


def await_it(coroutine):
    """Run it in a thread: the browser tests leave this one with an event loop that runs."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
