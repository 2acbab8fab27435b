"""A sweep in a browser: started by clicks, filling, brushed, its runs opened; the report that links to sweeps."""

from __future__ import annotations

import contextlib
import itertools
import json

import pytest
from playwright import sync_api

from tests.benchmarks import reproduce
from tests.benchmarks.laboratory import Laboratory, Row
from tests.benchmarks.scales import QUICK
from tests.e2e.test_axe import TOO_WIDE, violations
from tests.support.dashboard import address, await_drawn, badge, fill, open_page
from tests.support.waiting import wait_until
from tsnn.config import Config
from tsnn.runs.sweeps import sweeps

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(900), pytest.mark.compiled]

#: Selected rows of the sources of linked plots, by the names of their columns.
SELECTED = """() => {
    const found = {}
    for (const document of Bokeh.documents)
        for (const model of document.all_models)
            if (model.type == "ColumnDataSource" && model.data.cells !== undefined && model.selected.indices.length)
                found[Object.keys(model.data).sort().join()] =
                    model.selected.indices.map((row) => model.data.cells[row]).sort()
    return Object.values(found)
}"""
VALUES = """() => {
    for (const document of Bokeh.documents)
        for (const model of document.all_models)
            if (model.type == "ColumnDataSource" && model.data.zvalues !== undefined)
                return Array.from(model.data.zvalues).filter((value) => isFinite(value)).length
    return 0
}"""

#: Number of pictures of inputs.
PICTURES = """() => {
    let found = 0
    for (const document of Bokeh.documents)
        for (const model of document.all_models)
            if (model.type == "ColumnDataSource" && model.data.image?.length) found++
    return found
}"""


def test_sweep__is_started_by_clicks_fills_and_opens_its_runs(page, server):
    page.set_viewport_size({"width": 1280, "height": 1700})
    page.emulate_media(reduced_motion="reduce")
    open_page(page, server)
    fill(page, "Hidden layers", "20-10")
    fill(page, "Epochs", "2")
    page.get_by_role("tab", name="Sweep").click()
    page.get_by_text("No sweep yet.").wait_for()
    values = page.get_by_role("textbox", name="Values")
    for field, text in ((0, "0,0.3"), (1, "2,4")):
        values.nth(field).click()
        values.nth(field).press("Control+a")
        values.nth(field).press_sequentially(text)
        values.nth(field).press("Tab")
    page.get_by_role("textbox", name="Seeds").fill("1")
    page.get_by_role("textbox", name="Seeds").press("Tab")
    page.get_by_text("4 combinations of settings, one seed each.").wait_for()
    assert violations(page) == [], "form"
    page.get_by_role("button", name="Start the sweep").click()
    page.get_by_text("of 4 trials finished").wait_for()
    (sweep,) = sweeps(server.store)
    wait_until(lambda: f"sweep={sweep.id}" in address(page), what="the address names the sweep")
    wait_until(lambda: page.evaluate(VALUES) == 4, 400, "the heat map is complete")
    page.get_by_role("figure", name="Parallel coordinates").wait_for()
    wait_until(lambda: not sweep.queued, what="the sweep is over")
    page.get_by_role("button", name="Stop").wait_for(state="hidden")

    box = page.get_by_role("figure", name="Test accuracy (%)").bounding_box()
    page.mouse.click(box["x"] + 0.3 * box["width"], box["y"] + 0.7 * box["height"])
    page.get_by_text("1 trials of 1 chosen combination").wait_for()
    found = page.evaluate(SELECTED)
    assert len(found) >= 2, "also in other plots"
    assert len({cell for cells in found for cell in cells}) == 1
    page.get_by_role("button", name="Compare the chosen").wait_for()
    assert violations(page) == [], "plots"

    chosen = found[0][0]
    page.get_by_role("button", name="Show topologies").click()
    for name in ("Zeta", "Epsilon"):
        page.get_by_role("slider", name=name).wait_for()
    wait_until(lambda: page.evaluate(PICTURES) == 1, what="the connections of the inputs are drawn")
    assert violations(page) == [], "topologies"
    link = page.locator(".tabulator-row").first.get_by_role("link")
    opened = page.locator(".head .id", has_text=f"trial-{int(chosen):05d}")

    def opens():  # a table that is drawn again meanwhile loses a click
        with contextlib.suppress(sync_api.TimeoutError):
            link.click(timeout=5_000)
            opened.wait_for(timeout=15_000)
        return opened.is_visible()

    wait_until(opens, what="a click opens the run")

    page.goto(f"{server.url}?tab=sweep&sweep={sweep.id}")
    wait_until(lambda: page.evaluate(VALUES) == 4, what="the address opens the sweep")
    page.set_viewport_size({"width": 390, "height": 844})
    wait_until(lambda: page.evaluate(TOO_WIDE) == [], what="it fits into 390 pixels")


def digits(lab, _scale):
    """A table of the report, a figure, and text that must stay text."""
    yield from ["## Digits", "", "<img src=x onerror='window.hacked = true'>", "", "| method | accuracy |", "|---|---|"]
    config = Config.preset("digits").replace(hidden=(10,), epochs=2)
    for name, seeds in (("several seeds", 2), ("one seed", 1)):
        result = lab.result(Row(name, config.replace(epochs=1 + seeds), (0.1,), seeds, 0))
        yield f"| {name} | {result.text} |"
    lab.figures["density.png"] = {
        "title": "Accuracy", "x_label": "density", "y_label": "accuracy", "lowest": 50,
        "series": {f"method number {i}@x{{safe}}<img src=x onerror='window.hacked = true'>":
                   [[*range(1, 101)], [70 + i] * 100] for i in range(9)},
    }  # fmt: skip
    yield from ["", "![Accuracy](density.png)"]


def test_report__leads_from_an_accuracy_to_its_sweep_and_run(page, server, monkeypatch, tmp_path):
    page.emulate_media(reduced_motion="reduce")
    open_page(page, server)
    assert page.get_by_role("tab", name="Report").count() == 0
    monkeypatch.setattr(reproduce, "TABLES", {"digits": digits})
    monkeypatch.setattr(reproduce, "REPORT", tmp_path / "REPORT.md")
    monkeypatch.setattr(reproduce, "write_figure", lambda path, **figure: None)  # it starts a browser
    list(digits(Laboratory(server.store, training=True), QUICK))
    reproduce.write(server.runs, QUICK)

    page.get_by_role("tab", name="Runs").click()
    page.get_by_role("tab", name="Report").click()
    figure = page.get_by_role("figure", name="Accuracy")
    figure.wait_for()
    page.get_by_text("<img src=x onerror='window.hacked = true'>", exact=True).wait_for()
    box = figure.bounding_box()
    tooltip = page.locator(".bk-Tooltip", has_text="method number").first
    heights = itertools.cycle([0.4 + 0.01 * i for i in range(50)])

    def is_told() -> bool:
        page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + next(heights) * box["height"])
        return tooltip.is_visible()

    wait_until(is_told, what="the tooltip of a curve appears")
    assert page.evaluate("window.hacked") is None
    assert violations(page) == [], "light"
    page.get_by_label("Toggle theme").click()
    wait_until(lambda: violations(page, ["color-contrast"]) == [], what="dark")
    page.set_viewport_size({"width": 390, "height": 844})
    wait_until(lambda: page.evaluate(TOO_WIDE) == [], what="the report fits into 390 pixels")

    page.goto(f"{server.url}?tab=report")
    results = json.loads((server.runs / "report.json").read_text())["text"]
    page.get_by_role("row", name="several seeds").get_by_role("link").click()
    page.get_by_text("2 of 2 trials finished").wait_for()
    assert address(page).partition("?")[2] in results
    page.goto(f"{server.url}?tab=report")
    page.get_by_role("row", name="one seed").get_by_role("link").click()
    badge(page, "finished").wait_for()
    await_drawn(page)
