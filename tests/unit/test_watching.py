"""Following a run in a notebook: in one line, beside widgets of one's own, until it ends."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import panel as pn
import pytest
from bokeh.models import Title

from tests.e2e import fake_engine
from tsnn import views
from tsnn.config import Config
from tsnn.errors import RunError
from tsnn.runs import RunStore
from tsnn.views.watching import LivePane


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


def test_a_page_counts_as_drawn_once_it_has_answered():
    pane = LivePane("a run")
    assert not pane.is_drawn()
    assert not pane.is_drawn()
    assert pane._asked.value == 2, "what was asked is asked again: it may be lost"
    pane._answer.value = pane._asked.value  # what the link does in the page
    assert pane.is_drawn()


def test_waiting_for_a_run_ends_with_it_or_with_patience(finished, store):
    assert await_it(views.ended(finished)) == "finished"
    run = store.create(Config())
    with pytest.raises(RunError, match=r"still created after 0.2 s"):
        await_it(views.ended(run, seconds=0.2))


def await_it(coroutine):
    """Run it in a thread: the browser tests leave this one with an event loop that runs."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
