"""A report in a browser without a network: its slider shows other epochs, and nothing is loaded."""

from __future__ import annotations

import pytest

import tsnn
from tests.support import fake_engine
from tests.support.waiting import wait_until
from tsnn.runs import RunStore

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(300)]

#: Numbers of segments of the drawn network, by kind, in the page.
EPOCH = """() => {
    for (const doc of Bokeh.documents)
        for (const model of doc.all_models) if (model.text?.startsWith("Epoch: ")) return model.text
}"""


def test_report__opens_without_network(browser, tmp_path):
    run = fake_engine.finished_run(RunStore(tmp_path / "runs"), {"training.epochs": 3}, 3)
    path = tsnn.report(run, tmp_path / "report.html")
    context = browser.new_context(offline=True)
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: problems.append(str(e)))
    page.on("request", lambda r: problems.append(r.url) if r.url.startswith("http") else None)
    page.goto(path.as_uri())
    handle = page.locator(".noUi-handle").first
    handle.focus()
    assert "3" in page.evaluate(EPOCH)
    handle.press("Home")
    wait_until(
        lambda: "<b>0</b>" in page.evaluate(EPOCH).replace("&lt;", "<").replace("&gt;", ">"), 30, "epoch 0 is shown"
    )
    context.close()
    assert problems == []
