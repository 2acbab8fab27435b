"""The dashboard in a browser, with the real engine and with a fake one that obeys at once."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pages.address import TABS
from playwright.sync_api import expect

from tests.support import fake_engine
from tests.support.dashboard import Server, address, await_drawn, badge, column, fill, open_page
from tests.support.fake_engine import worker
from tests.support.waiting import wait_until
from tsnn.config import Config
from tsnn.runs.control import request
from tsnn.runs.writer import RunWriter

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(600), pytest.mark.compiled]

TABLES = """() => Bokeh.documents.flatMap(document => [...document.all_models])
    .filter(model => model.type.includes("Tabulator")).length"""

DRAWER_IS_OPEN = """() => Bokeh.documents.some(
    (document) => [...document.all_models].some((model) => model.data?.sidebar_open))"""


def start_small_run(page: Any, server: Server, epochs: int) -> str:
    """Start the first preset with a small network; returns the id of the run."""
    fill(page, "Hidden layers", "100-60")
    page.get_by_text("100 → 60").wait_for()
    fill(page, "Epochs", str(epochs))
    page.get_by_role("button", name="Start", exact=True).click()
    run = wait_until(server.store.list, what="a run directory")[0]
    wait_until(lambda: run.config().training.epochs == epochs, 1, "the number of epochs arrived")
    page.locator(".head .id", has_text=run.id).wait_for()
    return run.id


def test_run__start_to_finish_and_after_a_server_restart(page, server):
    open_page(page, server)
    page.get_by_text("Watch a sparse network learn").wait_for()
    page.get_by_text("125,680 connections").wait_for()
    run_id = start_small_run(page, server, epochs=6)
    wait_until(lambda: len(column(page, "test_accuracy")) >= 2, 300, "two epochs are drawn")
    badge(page, "finished").wait_for(timeout=300_000)
    wait_until(lambda: len(column(page, "test_accuracy")) == 6, what="all epochs are drawn")
    assert page.get_by_label("Follow newest").is_checked()
    page.get_by_text("estimated from earlier runs").wait_for()
    records = server.store.open(run_id).records()
    assert column(page, "test_accuracy") == [r.test_accuracy for r in records]
    assert column(page, "connections_1") == [r.layers[1].connections for r in records]
    assert f"run={run_id}" in address(page)
    assert page.evaluate(TABLES) == 0, "a table that has never been seen keeps the browser busy"

    page.goto("about:blank")
    server.stop()
    server.start()
    open_page(page, server)
    page.get_by_role("tab", name="Runs").click()
    page.get_by_role("gridcell", name=run_id).click()
    assert page.evaluate(TABLES) == 1
    badge(page, "finished").wait_for()
    wait_until(lambda: len(column(page, "test_accuracy")) == 6, what="the curves are back")
    page.get_by_role("tab", name="Connectivity").click()
    wait_until(lambda: len(column(page, "fraction")) > 1, what="degrees are drawn")


def test_layout__tablet_shows_all_tabs_and_theme_switch(page, server):
    page.set_viewport_size({"width": 820, "height": 1100})
    page.goto(server.url)
    page.get_by_role("tab", name="Runs").wait_for()
    places = [tab.bounding_box() for tab in page.get_by_role("tab").all()]
    switch = page.get_by_label("Toggle theme").bounding_box()
    assert len(places) == len(TABS) - 1  # there is no report
    assert places[-1]["x"] + places[-1]["width"] <= switch["x"]
    assert switch["x"] + switch["width"] <= 820


def test_theme__is_that_of_the_last_page(page, server):
    def brightness():
        color = page.locator(".MuiAppBar-root").first.evaluate("(bar) => getComputedStyle(bar).backgroundColor")
        return sum(map(int, re.findall(r"\d+", color)[:3]))

    open_page(page, server)
    assert brightness() > 600
    page.get_by_label("Toggle theme").click()
    wait_until(lambda: "tsnn_theme=dark" in page.evaluate("document.cookie"), what="the theme is kept")
    page.reload()
    await_drawn(page)
    wait_until(lambda: brightness() < 200, what="the page is dark again")


def test_layout__drawer_closed_at_once_stays_closed_and_follows_the_width(page, server):
    open_page(page, server)
    form = page.get_by_role("textbox", name="Epochs")
    page.get_by_role("button", name="Close drawer").click()
    form.wait_for(state="hidden")
    page.wait_for_function(f"() => !({DRAWER_IS_OPEN})()")
    page.wait_for_timeout(2000)  # some updates of the page
    assert form.is_hidden()
    page.get_by_role("button", name="Open drawer").click()
    form.wait_for()
    page.wait_for_function(DRAWER_IS_OPEN)  # which is on its way to the server
    for width, state in ((820, "hidden"), (1280, "visible")):
        page.set_viewport_size({"width": width, "height": 800})
        form.wait_for(state=state)


def test_server__password_is_required(browser, server):
    server.stop()
    server.start("--basic-auth", "open sesame", "--cookie-secret", "tests only")
    page = browser.new_page()
    for password, lets_in in (("guess", False), ("open sesame", True)):
        page.goto(server.url)
        page.locator("input[name=username]").fill("user")
        page.locator("input[name=password]").fill(password)
        page.locator("[type=submit]").click()
        page.wait_for_load_state()
        page.goto(server.url)
        start = page.get_by_role("button", name="Start", exact=True)
        if lets_in:
            start.wait_for()
        else:
            assert "/login" in address(page)
    page.close()


def test_controls__live_changes_are_acknowledged_and_marked(page, server, engine):
    run, _ = engine()
    open_page(page, server, run.id)
    wait_until(lambda: len(column(page, "test_accuracy")) >= 1, what="an epoch is drawn")
    page.get_by_role("slider", name="Zeta").press("ArrowRight")
    page.get_by_text("zeta 0.31: accepted after epoch").wait_for()
    wait_until(lambda: len(column(page, "message")) == 1, what="the change is marked")
    page.get_by_role("button", name="Pause").click()
    badge(page, "paused").wait_for()
    drawn = len(column(page, "test_accuracy"))
    page.get_by_role("button", name="Resume").click()
    badge(page, "training").wait_for()
    wait_until(lambda: len(column(page, "test_accuracy")) > drawn, what="it continues")
    page.get_by_role("button", name="Stop").click()
    badge(page, "stopped").wait_for()
    page.get_by_role("button", name="Stop").wait_for(state="hidden")


def test_controls__slider_stays_under_the_hand_and_follows_others(page, server, engine):
    run, _ = engine()
    open_page(page, server, run.id)
    wait_until(lambda: len(column(page, "test_accuracy")) >= 1, what="an epoch is drawn")
    slider = page.get_by_role("slider", name="Zeta")
    box = slider.locator("xpath=..").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 40, y, steps=5)
    held = wait_until(lambda: float(slider.input_value()) > 0.3 and slider.input_value(), what="the slider moves")
    drawn = len(column(page, "test_accuracy"))
    wait_until(lambda: len(column(page, "test_accuracy")) > drawn + 1, what="more epochs are drawn")
    assert slider.input_value() == held
    page.mouse.up()
    page.get_by_text(re.compile(r"zeta .*: accepted after epoch")).wait_for()
    assert slider.input_value() == held
    request(run, "set", zeta=0.1)
    wait_until(lambda: float(slider.input_value()) == 0.1, what="the slider shows the change made elsewhere")


def test_controls__leave_on_every_tab_when_the_run_ends(page, server, engine):
    run, _ = engine(epochs=1000)
    open_page(page, server, run.id)
    page.get_by_text("Change while it trains").wait_for()
    page.get_by_role("tab", name="Compare").click()
    request(run, "stop")
    page.get_by_text("Change while it trains").wait_for(state="hidden")
    page.get_by_role("tab", name="Overview").click()
    badge(page, "stopped").wait_for()
    assert not page.get_by_role("button", name="Pause").is_visible()


def test_form__quick_clicks_start_one_run(page, server, engine):
    engine()  # the next one is queued
    open_page(page, server)
    page.evaluate("""() => {
        const find = (root) => [...root.querySelectorAll("*")].flatMap(e =>
            e.tagName == "BUTTON" && e.innerText.endsWith("Start") ? [e] : e.shadowRoot ? find(e.shadowRoot) : [])
        for (let i = 0; i < 4; i++) find(document)[0].click()
    }""")
    badge(page, "queued").wait_for()
    page.get_by_text("The plots appear when the run starts.").first.wait_for()
    page.get_by_role("button", name="Start", exact=True).wait_for()
    assert len(server.store.list()) == 2
    page.get_by_role("button", name="Cancel", exact=True).click()


def test_controls__each_slider_and_selection_sets_its_value(page, server, engine):
    run, _ = engine()
    open_page(page, server, run.id)
    wait_until(lambda: len(column(page, "test_accuracy")) >= 1, what="an epoch is drawn")
    for name, answer in (
        ("Zeta", "zeta 0.31"),
        ("Epsilon", "epsilon 21"),
        ("Learning rate", "learning rate 0.02"),
        ("Dropout", "dropout 0.35"),
        ("percentile", "percentile 1"),
    ):
        page.get_by_role("slider", name=name).press("ArrowRight")
        page.get_by_text(f"{answer}: accepted after epoch").wait_for()
    for name, choice, answer in (
        ("Pruning", "magnitude", "prune magnitude"),
        ("Regrowth", "gradient", "regrow gradient"),
    ):
        page.get_by_role("combobox", name=name).click()
        drawn = len(column(page, "test_accuracy"))
        wait_until(lambda drawn=drawn: len(column(page, "test_accuracy")) > drawn, what="an epoch with the list open")
        page.get_by_role("listbox").get_by_text(choice, exact=True).click()
        page.get_by_text(f"{answer}: accepted after epoch").wait_for()
        assert page.get_by_role("combobox", name=name).inner_text() == choice
    assert run.records()[-1].settings["zeta"] == 0.31


def test_controls__stopped_run_continues(page, server):
    open_page(page, server)
    run = server.store.open(start_small_run(page, server, epochs=9000))
    wait_until(lambda: len(column(page, "test_accuracy")) >= 2, 300, "two epochs are drawn")
    stop = page.get_by_role("button", name="Stop")
    stop.click()
    badge(page, "stopped").wait_for()
    done = len(run.records())
    page.get_by_role("button", name="Continue").click()
    badge(page, "training").wait_for()
    wait_until(lambda: len(column(page, "test_accuracy")) > done, what="more epochs are drawn")
    assert [record.epoch for record in run.records()][: done + 1] == list(range(1, done + 2)), "from where it was"
    stop.click()
    badge(page, "stopped").wait_for()


def test_queue__second_run_is_queued_and_cancelled(page, server, engine):
    run, _ = engine()
    open_page(page, server)
    page.locator(".head .id", has_text=run.id).wait_for()
    page.get_by_role("button", name="Start", exact=True).click()
    badge(page, "queued").wait_for()
    page.get_by_text("Queued (1st of 1): all cores are busy. Starts automatically.").wait_for()
    page.get_by_role("button", name="Cancel", exact=True).click()
    badge(page, "stopped").wait_for()
    page.get_by_text("Cancelled before it started.").wait_for()
    assert run.status()["state"] == "training"


def test_head__killed_run_is_lost_and_shows_its_log(page, server, engine):
    run, process = engine()
    (run.path / "log.txt").write_text("the last lines <of> the engine")
    open_page(page, server, run.id)
    badge(page, "training").wait_for()
    process.kill()
    badge(page, "lost").wait_for()
    page.get_by_text("ended without a message").wait_for()
    page.get_by_text("the last lines <of> the engine").wait_for()


def test_form__errors_are_displayed(page, server):
    open_page(page, server, "no-such-run")
    page.get_by_text("There is no run 'no-such-run'").wait_for()
    fill(page, "Zeta", "1.5")
    page.get_by_text("training.zeta must be at least 0 and less than 1; got 1.5.").first.wait_for()
    page.get_by_role("button", name="Start", exact=True).click()
    page.get_by_role("alert").get_by_text("training.zeta must be").wait_for()
    fill(page, "Zeta", "0.3")
    page.get_by_role("button", name="Advanced").click()
    fill(page, "Snapshots", "0")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("alert").get_by_text("run.snapshots must be")).to_be_in_viewport(timeout=60_000)
    assert server.store.list() == []


def test_timeline__home_key_shows_first_snapshot(page, server):
    run = fake_engine.finished_run(server.store, {"data.name": "fashion_mnist", "training.epochs": 12}, 12)
    open_page(page, server, run.id)
    wait_until(lambda: len(column(page, "test_accuracy")) == 12, what="the curves are drawn")
    page.get_by_text("Snapshot: epoch 12").wait_for()
    slider = page.get_by_role("slider", name="Snapshot")

    def rewound() -> bool:
        slider.press("End")
        slider.press("Home")
        return bool(page.get_by_text("Snapshot: epoch 0").count())

    wait_until(rewound, what="the first snapshot is shown")


def test_workers__figures_appear_side_by_side(page, server):
    run = server.store.create(Config.preset("paper/fashion_mnist").replace({"parallel.workers": 2}))
    with RunWriter(run) as writer:
        writer.update(state="training", epochs=9, samples_total=100)
        open_page(page, server, run.id)
        page.get_by_role("tab", name="Workers").click()
        page.get_by_text("The workers report after their first epoch").wait_for()
        record = fake_engine.epoch_record(1, run.config()).to_dict()
        writer.line("epoch", **record | {"workers": [worker(1), worker(2)]})
        captions = ("Batches that each worker trains", "How each worker spends its time")
        speed, time_ = (page.get_by_text(text) for text in captions)
        time_.wait_for()
        wait_until(lambda: speed.bounding_box()["x"] < time_.bounding_box()["x"], what="speed stands left of time")
        assert speed.bounding_box()["y"] == time_.bounding_box()["y"]
        writer.end("stopped", "")  # the fixture kills the process of a live run, which is this one


def test_head__failed_run_shows_its_message(page, server):
    run = fake_engine.finished_run(server.store, {"data.name": "madelon", "training.epochs": 9}, 3, "failed")
    open_page(page, server, run.id)
    badge(page, "failed").wait_for()
    page.get_by_text("The loss is no longer finite.").wait_for()
    wait_until(lambda: len(column(page, "feature")) == 30, what="the top inputs are drawn")
