"""The course in JupyterLab: a notebook runs in a browser, and a slider changes a plot."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.dashboard import ROOT, column
from tests.support.lab import run_all_cells, serve_lab
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(900), pytest.mark.compiled]

NOTEBOOK = "02_train_with_set.ipynb"
TITLES = """() => {
    const texts = []
    for (const document of globalThis.Bokeh?.documents ?? [])
        for (const model of document.all_models) if (model.type == "Title") texts.push(model.text)
    return texts
}"""


#: State of the live view, and the number of input pictures in the page.
LIVE = """() => {
    const badges = []
    const walk = root => {
        for (const element of root.querySelectorAll("*")) {
            if (element.classList.contains("badge")) badges.push(element.innerText)
            if (element.shadowRoot) walk(element.shadowRoot)
        }
    }
    walk(document)
    let pictures = 0
    for (const doc of globalThis.Bokeh?.documents ?? [])
        for (const model of doc.all_models) if (model.type == "ColumnDataSource" && model.data.image?.length) pictures++
    return [...badges, pictures]
}"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """Serve a copy of the notebook with JupyterLab; yields its address."""
    (tmp_path / "notebooks").mkdir()
    shutil.copy(ROOT / "notebooks" / NOTEBOOK, tmp_path / "notebooks")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TSNN_RUNS": str(tmp_path / "runs")}
    with serve_lab(tmp_path, environment, "--IdentityProvider.token=", "notebooks") as url:
        yield f"{url}/lab/tree/{NOTEBOOK}"


def pruned(page: Any) -> int:
    """Return the number of pruned connections in the first figure's title; -1 without figure."""
    found = (re.match(r"([\d,]+) of [\d,]+ connections are pruned", text) for text in page.evaluate(TITLES))
    return next((int(match[1].replace(",", "")) for match in found if match), -1)


def test_notebook__runs_and_a_slider_changes_a_plot(browser, lab):
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    run_all_cells(page, lab)

    before = wait_until(lambda: max(0, pruned(page)), 300, "the histogram is drawn")
    page.get_by_text("2.3: not done yet").wait_for(timeout=300_000)
    wait_until(lambda: len(column(page, "test_accuracy")) == 15, 120, "the run is drawn to its last epoch")
    other = 3  # pictures of another cell
    wait_until(lambda: page.evaluate(LIVE) == ["finished", other + 1], what="its state and its inputs are drawn")

    handle = page.locator(".noUi-handle").first
    handle.focus()
    handle.press("ArrowRight")
    wait_until(lambda: pruned(page) > before, 120, "a larger zeta prunes more connections")
    page.close()
