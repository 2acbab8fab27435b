"""Following a run in a notebook: in one line, next to other widgets, until it ends."""

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


def test_watch__leaves_bound_figures_live(finished):
    views.watch(finished)
    widget = pn.widgets.IntSlider(value=1, start=1, end=3)
    bound = pn.bind(lambda k: views.histogram(f"{k} values", "x", "y", {"": range(k)}), widget)
    root = pn.Column(bound).get_root()
    widget.value = 3
    assert [title.text for title in root.select({"type": Title})] == ["3 values"]


def answer(throttle):
    """Answer like the page."""
    throttle.parts[1].value = throttle.parts[0].value


def test_ticker__waits_for_the_answer_of_the_page(monkeypatch):
    monkeypatch.setattr(browser, "RETRY_SECONDS", 0.0)
    throttle, done = Throttle(), []
    ticker = Ticker(lambda: done.append(1) or True, throttle, start=False)
    ticker._tick()
    ticker._tick()
    assert not done
    assert throttle.parts[0].value == 2, "asked again, as the first message may be lost"
    answer(throttle)
    ticker._tick()
    ticker._tick()
    assert len(done) == 1, "the page is given time to draw"
    answer(throttle)
    ticker._tick()
    assert len(done) == 2


def test_throttle__late_answer_of_a_slow_page_is_enough(monkeypatch):
    monkeypatch.setattr(browser, "RETRY_SECONDS", 0.0)
    throttle = Throttle()
    throttle.ask()
    asked = throttle.parts[0].value
    for _ in range(5):
        assert not throttle.is_free()
    assert throttle.parts[0].value > asked, "asked again"
    throttle.parts[1].value = asked  # the answer to the first question
    assert throttle.is_free()
    throttle.ask()
    assert not throttle.is_free(), "the next update has not been processed"


def test_throttle__asks_less_and_less_often(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(browser.time, "monotonic", lambda: now[0])
    throttle, asked = Throttle(), []
    throttle.ask()
    for step in range(400):
        now[0] = step / 4
        throttle.is_free()
        asked.append(throttle.parts[0].value)
    assert asked[-1] < 15


def test_ticker__asks_only_after_a_change():
    throttle, done = Throttle(), []
    ticker = Ticker(lambda: done.append(1), throttle, start=False)
    ticker._tick()
    answer(throttle)
    for _ in range(3):
        ticker._tick()
    assert len(done) == 3
    assert throttle.parts[0].value == 1


def test_on_release__notices_two_releases_at_the_same_value():
    slider, released = pn.widgets.IntSlider(start=0, end=9, value=3), []
    on_release(slider, released.append)
    for value in (0, 3, 3):
        slider.value = 5  # like the server
        with param.edit_constant(slider):
            slider.value_throttled = value
    assert released == [0, 3, 3]
    assert slider.value_throttled == -1, "the only value that a late browser can echo"


def test_ended__returns_the_state_or_times_out(finished, store):
    assert await_it(views.ended(finished)) == "finished"
    run = store.create(Config())
    with pytest.raises(RunError, match=r"still created after 0.2 s"):
        await_it(views.ended(run, seconds=0.2))


def await_it(coroutine):
    """Run a coroutine in a thread: the browser tests leave a running event loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
