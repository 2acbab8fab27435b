"""The view of a selection of features in a browser: it follows a fit, and shows any epoch again."""

from __future__ import annotations

import re

import pytest

from tests.support.dashboard import Server, column
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(600), pytest.mark.compiled]

#: A page whose button fits a selector in a thread, as a notebook does; features 3 and 7 tell the classes apart.
PAGE = """
import asyncio

import numpy as np
import pandas as pd
import panel as pn

import tsnn

rng = np.random.default_rng(0)
y = np.arange(240) % 3
x = rng.normal(size=(240, 30)).astype(np.float32)
x[:, [3, 7]] += 3 * rng.normal(size=(3, 2))[y]
table = pd.DataFrame(x, columns=[f"gene {i}" for i in range(30)])
selector = tsnn.SparseSelector(
    2, method="strength", hidden=(20,), epsilon=6, epochs=5, random_state=0, threads=1
)

async def fit(event):
    await asyncio.to_thread(selector.fit, table, y)

button = pn.widgets.Button(name="Fit")
button.on_click(fit)
pn.Column(button, tsnn.views.selection(selector, period=100)).servable()
"""


@pytest.fixture
def served(tmp_path):
    """Server of the page."""
    script = tmp_path / "selection_page.py"
    script.write_text(PAGE)
    server = Server(tmp_path / "runs", page=script)
    server.start()
    yield server
    server.stop()


def test_selection__follows_a_fit_and_shows_earlier_epochs(page, served):
    page.goto(served.url)
    page.get_by_text("Not fitted yet").wait_for()
    assert not page.get_by_role("figure").count()
    page.get_by_role("button", name="Fit").click()
    page.get_by_text("epoch 5 of 5").wait_for()
    page.get_by_text("2 of 30 features selected").wait_for()
    figures = page.get_by_role("figure")
    wait_until(lambda: figures.count() == 2 and all(f.is_visible() for f in figures.all()), what="both are drawn")
    assert len(column(page, "name")) == 30
    assert set(column(page, "name")[:2]) == {"gene 3", "gene 7"}
    last = column(page, "value")
    page.get_by_role("button", name="First frame").click()
    page.get_by_text("epoch 1 of 5").wait_for()
    wait_until(lambda: column(page, "value") != last, what="the connections of the first epoch are drawn")
    first, second = column(page, "name")[:2]
    page.get_by_text(re.compile(f"2 \\((?=.*{first}\\b)(?=.*{second}\\b).*\\) entered, 0 dropped out")).wait_for()
