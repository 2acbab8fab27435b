"""Connectivity and neurons in a browser: timeline, address, single neurons, live pruning."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.support import fake_engine
from tests.support.dashboard import address, await_drawn, badge, column, fill, open_page
from tests.support.waiting import wait_until
from tsnn.runs.notes import annotate

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(600), pytest.mark.compiled]

SETTINGS = {"data.name": "fashion_mnist", "training.epochs": 12}
#: Number of visible models of a type.
VISIBLE = """(type) => Bokeh.documents.flatMap((document) => [...document.all_models])
    .filter((model) => model.type == type && model.visible).length"""
#: Title of the figure on the page whose title begins with an argument.
TITLE = """start => {
    for (const document of Bokeh.documents)
        for (const model of document.all_models)
            if (model.type == "Title" && model.text.startsWith(start)) return model.text
    return ""
}"""
THRESHOLD = """() => {
    for (const document of Bokeh.documents)
        for (const model of document.all_models)
            if (model.type == "Figure" && /importance of [0-9,]+ of/.test(model.title.text))
                for (const mark of model.center)
                    if (mark.type == "Span" && mark.visible) return mark.location
    return null
}"""


def tab(page: Any, name: str) -> None:
    page.get_by_role("tab", name=name).click()


WHOLE = "text => text.getRootNode().host.getBoundingClientRect().bottom >= text.getBoundingClientRect().bottom"


def oldest(page: Any) -> float:
    """Return the age of the oldest connection drawn: the epoch of the snapshot, with the fake engine."""
    ages = column(page, "older") and column(page, "age")
    return ages[-1] if ages else -1


def test_timeline__slider_changes_maps_and_address(page, server):
    run = fake_engine.finished_run(server.store, SETTINGS, 12)
    open_page(page, server, run.id)
    tab(page, "Connectivity")
    wait_until(lambda: oldest(page) == 12, what="the newest snapshot is drawn")
    page.get_by_role("slider", name="Snapshot").press("Home")
    wait_until(lambda: oldest(page) == 0, what="the first snapshot is drawn")
    wait_until(lambda: "epoch=0" in address(page), what="the address names the epoch")
    page.get_by_role("button", name="Next snapshot").click()
    wait_until(lambda: oldest(page) == 1, what="the next one")
    page.get_by_label("Follow newest").check()
    wait_until(lambda: oldest(page) == 12, what="the newest again")
    wait_until(lambda: "epoch=newest" in address(page), what="the address follows, too")


def test_address__link_opens_the_same_view(page, server):
    run = fake_engine.finished_run(server.store, SETTINGS, 12)
    page.goto(f"{server.url}?run={run.id}&tab=connectivity&epoch=5&layer=3")
    page.get_by_text("Snapshot: epoch 5").wait_for()
    wait_until(lambda: oldest(page) == 5, what="the epoch of the link")
    assert page.evaluate(TITLE, "Layer 3: neurons with")
    tab(page, "Neurons")
    wait_until(lambda: page.evaluate(TITLE, "Layer 3: importance of"), what="the other tab shows the same layer")


def test_timeline__plays_and_pauses(page, server):
    run = fake_engine.finished_run(server.store, {**SETTINGS, "training.epochs": 300}, 300)
    open_page(page, server, run.id)
    tab(page, "Connectivity")
    wait_until(lambda: oldest(page) == 300, what="the newest snapshot is drawn")
    page.get_by_role("button", name="Play").click()
    wait_until(lambda: 0 < oldest(page) < 300, what="it plays from the start")
    seen = oldest(page)
    wait_until(lambda: seen < oldest(page) < 300, what="it continues")
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Play").wait_for()
    stopped = wait_until(lambda: "epoch=" in (at := address(page)) and "newest" not in at and at, what="an address")
    page.wait_for_timeout(1500)
    assert address(page) == stopped
    assert oldest(page) < 300
    page.get_by_label("Follow newest").focus()
    note = page.get_by_text("Moving the slider or a plot turns this off.")
    wait_until(lambda: note.evaluate(WHOLE), what="the note of the control is seen, all its lines")


def test_timeline__live_run_is_followed_again(page, server, engine):
    engine()
    open_page(page, server)
    tab(page, "Connectivity")
    wait_until(lambda: oldest(page) >= 2, what="some epochs are drawn")
    page.get_by_role("slider", name="Snapshot").press("Home")
    wait_until(lambda: oldest(page) == 0, what="the first snapshot is drawn")
    page.wait_for_timeout(1500)
    assert oldest(page) == 0, "it stays while the run continues"
    page.get_by_label("Follow newest").check()
    wait_until(lambda: oldest(page) > 3, what="the newest is shown")
    now = oldest(page)
    wait_until(lambda: oldest(page) > now, what="and the next")
    page.get_by_role("slider", name="Snapshot").press("Home")
    wait_until(lambda: oldest(page) == 0, what="the first again, where the slider has been put before")


def test_timeline__slow_browser_keeps_up(page, server, engine):
    run, _ = engine(seconds=0.05)
    open_page(page, server, run.id)
    wait_until(lambda: len(column(page, "test_accuracy")) >= 1, what="an epoch is drawn")
    machine = page.context.new_cdp_session(page)
    machine.send("Emulation.setCPUThrottlingRate", {"rate": 12})
    page.wait_for_timeout(8_000)
    done = run.status()["epoch"]
    drawn = len(column(page, "test_accuracy"))
    machine.send("Emulation.setCPUThrottlingRate", {"rate": 1})
    assert drawn > 0.6 * done, "the drawn epochs are recent"
    page.wait_for_timeout(2_000)
    assert page.get_by_label("Follow newest").is_checked(), "it is still on"


def test_neurons__clicked_neuron_shows_its_connections(page, server):
    run = fake_engine.finished_run(server.store, SETTINGS, 12)
    page.goto(f"{server.url}?run={run.id}&tab=neurons")
    neurons = [int(n) for n in run.snapshot(12).layers[0].neurons]
    wait_until(lambda: page.evaluate(TITLE, f"Neuron {neurons[-1]:,}: weights that come in"), what="the first one")
    page.get_by_role("gridcell", name=f"{neurons[-4]:,}", exact=True).first.click()
    wait_until(lambda: page.evaluate(TITLE, f"Neuron {neurons[-4]:,}: weights that come in"), what="the one clicked")
    page.get_by_role("combobox", name="Neuron").press("ArrowDown")
    wait_until(
        lambda: page.get_by_role("combobox", name="Neuron").get_attribute("aria-expanded") == "true", what="open"
    )
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    wait_until(lambda: page.evaluate(TITLE, f"Neuron {neurons[0]:,}: weights that go out"), what="chosen by keyboard")


def test_neurons__threshold_follows_percentile(page, server, engine):
    run, _ = engine(seconds=1.0)
    page.goto(f"{server.url}?run={run.id}&tab=neurons")
    page.get_by_text("Importance pruning is off").wait_for()
    assert page.evaluate(THRESHOLD) is None
    slider = page.get_by_role("slider", name="percentile")
    slider.press("PageUp")
    page.get_by_text("accepted after epoch").wait_for()
    first = wait_until(lambda: page.evaluate(THRESHOLD), what="a threshold is drawn")
    slider.press("End")
    wait_until(lambda: (page.evaluate(THRESHOLD) or 0) > first + 1, what="the threshold moves up")


def test_neurons__pruned_neurons_disappear(page, server):
    open_page(page, server)
    fill(page, "Hidden layers", "60-40")
    fill(page, "Epochs", "6")
    page.get_by_role("button", name="Advanced").click()
    fill(page, "Percentile", "20")
    fill(page, "First epoch", "2")
    fill(page, re.compile("^Every"), "1")
    page.get_by_role("button", name="Start", exact=True).click()
    tab(page, "Neurons")  # within moments of the start, while nothing is there yet
    badge(page, "finished").wait_for(timeout=300_000)
    living = wait_until(lambda: len(drawn := column(page, "living_0")) == 6 and drawn, what="all epochs are drawn")
    assert living == [record.layers[0].living for record in server.store.list()[0].records()]
    assert living[0] == 60 > living[-1]


def test_plots__full_screen_logarithm_and_keys(page, server):
    run = fake_engine.finished_run(server.store, {"data.name": "madelon", "training.epochs": 12}, 12)
    page.set_viewport_size({"width": 1440, "height": 900})  # on a narrower page the last tools are in a menu
    open_page(page, server, run.id)
    plot = page.locator("[role=figure][aria-label^='Loss']")
    plot.hover()
    logarithmic = page.evaluate(VISIBLE, "LogAxis")
    plot.get_by_title("Logarithmic axis, or linear again").click()
    wait_until(lambda: page.evaluate(VISIBLE, "LogAxis") == logarithmic + 1, what="the logarithmic axis is drawn")
    before = plot.bounding_box()
    plot.get_by_title("Full screen").click()
    width = page.viewport_size["width"]
    canvas = plot.locator("canvas").first
    wait_until(lambda: canvas.bounding_box()["width"] > width - 200, what="the plot fills the screen")
    page.evaluate("document.exitFullscreen()")
    wait_until(lambda: plot.bounding_box()["width"] == before["width"], what="it has its size again")
    page.get_by_role("tab", name="Overview").click()
    page.keyboard.press("?")
    page.get_by_text("Pause or resume the run").wait_for()


def test_keys__quick_presses_each_act(page, server):
    run = fake_engine.finished_run(server.store, SETTINGS, 12)
    open_page(page, server, run.id)
    page.get_by_text("Snapshot: epoch 12").wait_for()
    page.evaluate("""() => {
        for (const key of ["ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowRight"])
            document.body.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true, composed: true}))
    }""")
    page.get_by_text("Snapshot: epoch 9").wait_for()


def test_race__keeps_its_drawings_when_a_run_is_renamed(page, server):
    runs = [fake_engine.finished_run(server.store, {**SETTINGS, "training.method": m}, 12) for m in ("set", "fixed")]
    page.goto(f"{server.url}?tab=compare&compare={','.join(run.id for run in runs)}")
    networks = page.get_by_role("figure", name=re.compile("^Drawing of the network"))
    wait_until(lambda: networks.count() == 2, what="both networks are drawn")
    for figure in networks.all():
        figure.evaluate("(figure) => { figure.kept = true }")
    annotate(runs[0], title="A new name")
    page.locator("div", has_text=re.compile("^A new name$")).first.wait_for()
    kept = [figure.evaluate("(figure) => figure.kept === true") for figure in networks.all()]
    assert kept == [True, True], "they were not made again"


def test_lesson__waits_for_an_answer(page, server):
    page.goto(f"{server.url}?lesson=zeta")
    await_drawn(page)
    page.get_by_text("Lesson 2 of 5").wait_for()
    choices = page.get_by_role("radio")
    assert [choice.is_checked() for choice in choices.all()] == [False] * 3
    run = page.get_by_role("button", name="Run", exact=True)
    assert run.is_disabled()
    choices.nth(1).check()
    wait_until(run.is_enabled, what="the answer allows the run")
    assert server.store.list() == []
