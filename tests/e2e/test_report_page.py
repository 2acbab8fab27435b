"""A report in a browser without a network: its slider shows other epochs, and nothing is loaded."""

from __future__ import annotations

import pytest

import tsnn
from tests.support import fake_engine
from tests.support.sweeps import train_trial
from tests.support.waiting import wait_until
from tsnn.jobs.planning import plan_sweep
from tsnn.runs import RunStore
from tsnn.runs.sweeps import create_sweep

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(300)]

EPOCH = """() => {
    for (const doc of Bokeh.documents)
        for (const model of doc.all_models) if (model.text?.startsWith("Epoch: ")) return model.text
}"""


#: Cells of the heat map that are in the page's drawing, and colours in that.
HEAT_MAP = """() => {
    const drawn = new Set(), views = []
    const walk = view => { views.push(view); for (const child of view.child_views ?? []) walk(child) }
    for (const root of Bokeh.index.roots ?? Object.values(Bokeh.index)) walk(root)
    for (const view of views) {
        const source = view.model.renderers?.find?.(r => r.data_source?.data?.zvalues)?.data_source
        if (!source || !view.canvas_view) continue
        const canvas = view.canvas_view.primary.canvas
        const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", {willReadFrequently: true})
        copy.drawImage(canvas, 0, 0)
        const {data} = copy.getImageData(0, 0, canvas.width, canvas.height)
        for (let i = 0; i < data.length; i += 4) if (data[i + 3] == 255) drawn.add(data.slice(i, i + 3).join())
        return [source.data.zvalues.length, drawn.size]
    }
    return [0, 0]
}"""


def opened(context, path, problems):
    """Open a file; problems, and addresses that it asks for, are added to the list."""
    page = context.new_page()
    page.on("console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: problems.append(str(e)))
    page.on("request", lambda r: problems.append(r.url) if r.url.startswith("http") else None)
    page.goto(path.as_uri())
    return page


def test_report__opens_without_network(browser, tmp_path):
    store = RunStore(tmp_path / "runs")
    run = fake_engine.finished_run(store, {"training.epochs": 3}, 3)
    sweep = create_sweep(store, plan_sweep(run.config(), {"zeta": [0, 0.3], "epsilon": [5, 20]}))
    for number in range(4):
        train_trial(sweep, number)
    context = browser.new_context(offline=True)
    problems: list[str] = []
    page = opened(context, tsnn.report(sweep, tmp_path / "sweep.html"), problems)
    wait_until(lambda: page.evaluate(HEAT_MAP)[1] > 3, what="the heat map is drawn")
    assert page.evaluate(HEAT_MAP)[0] == 4
    page = opened(context, tsnn.report(run, tmp_path / "report.html"), problems)
    handle = page.locator(".noUi-handle").first
    handle.focus()
    assert "3" in page.evaluate(EPOCH)
    handle.press("Home")
    wait_until(
        lambda: "<b>0</b>" in page.evaluate(EPOCH).replace("&lt;", "<").replace("&gt;", ">"), 30, "epoch 0 is shown"
    )
    context.close()
    assert problems == []
