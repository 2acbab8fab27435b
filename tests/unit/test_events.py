"""Events of the browser: none is lost where it follows a change of a widget."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import panel.models.layout  # noqa: F401  for the client
import pytest
from bokeh.client import pull_session
from bokeh.document.events import MessageSentEvent
from bokeh.events import ButtonClick
from bokeh.models import Button, Slider

from tests.support.dashboard import ROOT, Server
from tests.support.waiting import wait_until

PAGE = """
import panel as pn
from bokeh.models import Div
from tsnn.views.live import browser

figure, width, start = pn.pane.Bokeh(Div(text="")), pn.widgets.IntSlider(end=9), pn.widgets.Button(name="Start")
width.param.watch(lambda event: (figure.object.update(text="9"), print("drawn", flush=True)), "value")
start.on_click(lambda _: print("started", flush=True))
pn.Column(figure, width, start).servable()
"""


@pytest.mark.slow
@pytest.mark.compiled
def test_click__just_after_a_change_that_updates_a_figure_is_not_lost(tmp_path):
    (tmp_path / "page.py").write_text(PAGE)
    server = Server(tmp_path / "runs", tmp_path / "page.py")
    server.start()
    try:
        with ThreadPoolExecutor(1) as pool:  # in this thread the browser of other tests may have a running loop
            pool.submit(change_and_click, server.url).result(60)
        wait_until(lambda: "started" in server.log.read_text(), 30, "the click is handled")
    finally:
        server.stop()
    assert "drawn" in server.log.read_text()
    assert "Error" not in server.log.read_text()


def change_and_click(url):
    session = pull_session(url=url)
    document = session.document
    (width,), (start,) = (document.select({"type": kind}) for kind in (Slider, Button))
    width.value = 3
    document.callbacks.trigger_on_change(MessageSentEvent(document, "bokeh_event", ButtonClick(start)))
    session.force_roundtrip()
    session.close()


LOG = """
import logging
import app_hooks
from tornado.websocket import WebSocketClosedError

for error in (WebSocketClosedError(), ValueError("another")):
    logging.getLogger("asyncio").error("Task exception was never retrieved", exc_info=error)
"""


@pytest.mark.compiled
def test_log__has_no_traceback_of_a_page_that_closed():
    found = subprocess.run([sys.executable, "-c", LOG], cwd=ROOT / "app", capture_output=True, text=True, check=True)
    assert "ValueError: another" in found.stderr
    assert "WebSocketClosedError" not in found.stderr
