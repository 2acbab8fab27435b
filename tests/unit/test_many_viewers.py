"""Many pages of one run share their drawings, and cost each other nothing."""

import gc
import weakref

import numpy as np
import panel as pn
import pytest
from bokeh.core.property.wrappers import PropertyValueContainer
from bokeh.document import Document
from bokeh.models import ColumnDataSource, ImportedStyleSheet
from pages.dashboard import Dashboard
from pages.lean import drop_empty_defaults, unlinked_page
from panel.io.state import set_curdoc

from tests.support import fake_engine
from tsnn.config import Config
from tsnn.runs import RunStore
from tsnn.views.history import History
from tsnn.views.live import ticker
from tsnn.views.live.follower import RunFollower
from tsnn.views.plots import curve_plot, curves, figures
from tsnn.views.tabs import run as run_views


@pytest.fixture
def store(tmp_path) -> RunStore:
    return RunStore(tmp_path / "runs")


def history_of(epochs: int) -> History:
    history = History()
    for epoch in range(1, epochs + 1):
        history.append(fake_engine.epoch_record(epoch, Config.preset("madelon")).to_dict())
    return history


def test_curves__of_all_pages_share_their_points(monkeypatch):
    drawn = []
    monkeypatch.setattr(curve_plot, "decimate", lambda columns: drawn.append(1) or figures.decimate(columns))
    history, pages = history_of(3), [curves.loss_plot() for _ in range(5)]
    for page in pages:
        page.update(history)
    assert len(drawn) == 1
    assert all(page.source.data["test_loss"] is pages[0].source.data["test_loss"] for page in pages)
    history.append(fake_engine.epoch_record(4, Config.preset("madelon")).to_dict())
    for page in pages:
        page.update(history)
        assert list(page.source.data["epoch"]) == [1, 2, 3, 4]
    assert len(drawn) == 2


def test_curves__long_ones_are_sent_as_arrays():
    plot, history = curves.loss_plot(), history_of(figures.SHORT + 1)
    plot.update(history)
    assert isinstance(plot.source.data["test_loss"], np.ndarray)
    assert plot.source.data["test_loss"] == pytest.approx(history["test_loss"])


def test_summary__is_written_once_for_all_pages(store, monkeypatch):
    run = fake_engine.finished_run(store, {"data.name": "fashion_mnist"}, 3)
    written = []
    monkeypatch.setattr(run_views, "summary_parts", lambda follower, cost: written.append(1) or ("title", "numbers"))
    follower = RunFollower(run, min_interval=0)
    for view in [run_views.RunView(follower) for _ in range(3)]:
        view.tick()
    assert len(written) == 1


def test_page__leaves_no_link_to_the_busy_state_of_the_process(store):
    def watchers():
        return list(pn.state.param.watchers.get("busy", {}).get("value", ()))

    before = watchers()
    page = Dashboard(store).page()
    assert watchers() == before, "each event of any page would walk this one, and keep it after it is closed"
    assert page.busy is False


class Loop:
    """Thread of a server with pages that take some CPU time at each update, at the period that they are given."""

    def __init__(self, monkeypatch):
        self.now = self.used = 0.0
        monkeypatch.setattr(ticker.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(ticker.time, "thread_time", lambda: self.used)
        self.period = ticker.SharedPeriod()

    def run(self, pages: int, cost: float, seconds: float) -> int:
        """Update the pages for some time, and return the period then."""
        until = self.now + seconds
        while self.now < until:
            self.now += self.period.milliseconds(ticker.PERIOD) / 1000 / pages
            self.used += cost
            self.period.note()
        return self.period.milliseconds(ticker.PERIOD)


def test_period__follows_the_load(monkeypatch):
    loop = Loop(monkeypatch)
    assert loop.run(1, 0.012, 9) == ticker.PERIOD, "a page alone is updated as often as it may"
    assert loop.run(50, 0.004, 30) == pytest.approx(1000 * 50 * 0.004 / ticker.SHARE, rel=0.1)
    assert loop.run(50, 0.1, 60) == ticker.MAX_PERIOD
    assert loop.run(2, 0.001, 60) == ticker.PERIOD, "the other pages were closed"


def test_period__recovers_when_a_page_was_made(monkeypatch):
    loop = Loop(monkeypatch)
    before = loop.run(4, 0.012, 20)
    loop.now, loop.used = loop.now + 2.0, loop.used + 2.0
    assert loop.run(4, 0.012, 0.1) <= ticker._LARGEST_STEP * before
    assert loop.run(4, 0.012, 5) == pytest.approx(before, rel=0.1)


def test_page__makes_tabs_when_they_are_opened(store):
    run = fake_engine.finished_run(store, {"data.name": "fashion_mnist"}, 3)
    dashboard = Dashboard(store)
    dashboard.run_id = run.id
    dashboard.page()
    filled = {name for name, container in dashboard._tabs.items() if len(container)}
    assert filled == {"overview"}
    dashboard.tab = "neurons"
    assert list(dashboard._tabs["neurons"]) == [dashboard.view.tabs["neurons"].layout]
    dashboard.run_id = ""
    assert not any(len(container) for container in dashboard._tabs.values())


def test_page__makes_dialogs_and_cards_when_they_are_opened(store):
    run = fake_engine.finished_run(store, {"data.name": "fashion_mnist"}, 3)
    dashboard = Dashboard(store)
    dashboard.run_id = run.id
    dashboard.page()
    assert len(dashboard.actions.dialogs) == 4, "one that comes later stays invisible"
    assert not any(map(len, (*dashboard.actions.dialogs, dashboard.strip.layout, dashboard._welcome)))
    dashboard.actions.choose("Notes …")
    assert [len(dialog) > 0 for dialog in dashboard.actions.dialogs].count(True) == 1
    assert dashboard.actions.notes.layout in list(dashboard.actions.dialogs)
    assert dashboard.actions.notes.layout.open
    dashboard.lesson = next(iter(dashboard.strip.lessons))
    assert dashboard.strip.layout.visible
    assert dashboard.strip.button in list(dashboard.strip.layout)
    dashboard.run_id = ""
    assert dashboard._welcome.visible
    assert list(dashboard._welcome) == [dashboard.welcome.layout]


def test_page__keeps_no_empty_defaults(store):
    run = fake_engine.finished_run(store, {"data.name": "fashion_mnist"}, 3)
    dashboard, document = Dashboard(store), Document()
    dashboard.run_id = run.id
    with set_curdoc(document):
        dashboard.page().server_doc(document)
        before, kept = contents(document), count_empty(document)
        drop_empty_defaults(document)
        assert count_empty(document) == 0
        assert contents(document) == before
        assert kept > 1000, "else this is not needed any more"
        dashboard.tab = "neurons"
        dashboard.tick()
        assert 10 * count_empty(document) < kept, "also those of a tab that was opened"
    source = next(iter(document.select({"type": ColumnDataSource})))
    source.tags.append("still works")
    assert source.tags[-1] == "still works"


def test_page__takes_its_style_sheets_from_this_server(store):
    run = fake_engine.finished_run(store, {"data.name": "fashion_mnist"}, 3)
    dashboard, document = Dashboard(store), Document()
    dashboard.run_id = run.id
    with set_curdoc(document):
        dashboard.page().server_doc(document)
    addresses = {sheet.url for sheet in document.select({"type": ImportedStyleSheet})}
    assert len(addresses) > 2
    assert {address for address in addresses if "//" in address} == set(), "the page may not load them"


def contents(document):
    """Properties of all models that are sent to a browser."""
    return {model.id: repr(model.properties_with_values(include_defaults=False)) for model in document.models}


def count_empty(document):
    """Number of empty containers that are kept as defaults."""
    values = [value for model in document.models for value in model._unstable_default_values.values()]
    return sum(isinstance(value, PropertyValueContainer) and not value for value in values)


def test_page__is_forgotten_when_it_is_closed():
    page = unlinked_page(title="tsnn")
    closed = weakref.ref(page)
    del page
    gc.collect()
    assert closed() is None
