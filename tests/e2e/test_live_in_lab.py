"""A live run in JupyterLab, in its dark theme: a rule is chosen, and all texts can be read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import fake_engine
from tests.support.dashboard import ROOT
from tests.support.lab import run_all_cells, serve_lab
from tests.support.waiting import wait_until
from tsnn.config import Config
from tsnn.files import read_lines
from tsnn.records import RunState
from tsnn.runs import Run, RunStore

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(900)]

#: A widget of Panel with a figure of tsnn; then the live run.
CELLS = (
    "import panel as pn\nimport tsnn\nfrom tsnn import views\n\npn.extension(inline=True)",
    "slider = pn.widgets.IntSlider(label='houses', start=1, end=3)\n"
    "pn.Column(slider, pn.bind(lambda n: views.histogram('Sums', 'x', 'y', {'': range(n)}), slider))",
    "from pathlib import Path\n\nviews.watch(tsnn.runs.Run(Path('{run}')), controls=True)",
)
#: Contrasts of the elements with a text of their own in the outputs, by the text; of the page's background.
CONTRASTS = """() => {
    const parts = (color) => color.match(/[\\d.]+/g).map(Number)
    const light = (color) => {
        const [r, g, b] = parts(color).slice(0, 3).map((v) => v / 255)
            .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b
    }
    const under = (element) => {
        for (let e = element; e; e = e.assignedSlot ?? e.parentElement ?? e.getRootNode().host) {
            const color = getComputedStyle(e).backgroundColor
            if ((parts(color)[3] ?? 1) > 0.9) return color
        }
        return "rgb(255, 255, 255)"
    }
    const found = {}
    const walk = (root) => {
        for (const element of root.querySelectorAll("*")) {
            if (element.shadowRoot) walk(element.shadowRoot)
            const text = [...element.childNodes].filter((n) => n.nodeType == 3).map((n) => n.data.trim()).join("")
            if (!/\\p{L}/u.test(text) || !element.checkVisibility() || element.matches("style, script")) continue
            const [high, low] = [light(getComputedStyle(element).color), light(under(element))].sort((a, b) => b - a)
            found[text] = (high + 0.05) / (low + 0.05)
        }
    }
    for (const output of document.querySelectorAll(".jp-OutputArea-output")) walk(output)
    return found
}"""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Run that trains until the test is over."""
    run = RunStore(tmp_path / "runs").create(Config.preset("fashion_mnist").replace(epochs=10_000))
    process = subprocess.Popen([sys.executable, "-m", fake_engine.__name__, str(run.path), "1"], cwd=ROOT)
    wait_until(lambda: run.status()["state"] == RunState.TRAINING, what="the fake engine trains")
    yield run
    process.kill()
    process.wait()


@pytest.fixture
def notebook(tmp_path: Path, run: Run) -> Iterator[str]:
    """Serve a notebook with JupyterLab in its dark theme; yields its address."""
    cells: list[dict[str, Any]] = [
        {"cell_type": "code", "execution_count": None, "id": f"cell{i}", "metadata": {}, "outputs": [],
         "source": source.replace("{run}", str(run.path))}
        for i, source in enumerate(CELLS)
    ]  # fmt: skip
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "live.ipynb").write_text(json.dumps(content))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    options = "--IdentityProvider.token=", "notebooks"
    with serve_lab(tmp_path, environment, *options, settings={"themes": {"theme": "JupyterLab Dark"}}) as url:
        yield f"{url}/lab/tree/live.ipynb"


def rules(run: Run) -> list[str]:
    """Return the rules that were asked for."""
    path = run.path / "control.jsonl"
    lines = read_lines(path)[0] if path.exists() else []
    return [line["settings"]["regrow"] for line in lines if "regrow" in line.get("settings", {})]


def test_live_run__takes_a_rule_that_is_chosen_in_a_dark_notebook(browser, notebook, run):
    page = browser.new_page(viewport={"width": 1400, "height": 1600})
    run_all_cells(page, notebook)

    page.locator(".badge", has_text="training").wait_for()
    rule = page.get_by_role("combobox", name="Regrowth")
    for chosen in ("gradient", "gse", "random"):
        rule.click()
        page.get_by_role("menuitem", name=chosen, exact=True).click()
        wait_until(lambda chosen=chosen: rules(run)[-1:] == [chosen], what=f"{chosen} is asked for")
        page.get_by_role("menuitem", name=chosen, exact=True).wait_for(state="hidden")
        wait_until(lambda: page.get_by_text("requested").count() == 0, what="it is answered")
        assert rule.inner_text() == chosen
    assert rules(run) == ["gradient", "gse", "random"], "each once"

    page.get_by_text("Smoothing").wait_for()
    contrasts = page.evaluate(CONTRASTS)
    assert {"houses:", "Change while it trains", "One epoch", "Connections"} <= contrasts.keys()
    assert {text: value for text, value in contrasts.items() if value < 4.5} == {}
    page.close()
