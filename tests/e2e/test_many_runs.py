"""Many runs in a browser: compare, filter, several sessions, restarted servers, deleted runs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import Any

import pytest

from tests.support import fake_engine
from tests.support.dashboard import ROOT, Server, address, badge, column, open_page
from tests.support.waiting import wait_until
from tsnn.config import Config
from tsnn.runs.notes import annotate, notes

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(900), pytest.mark.compiled]

SMALL = {"data.name": "madelon", "network.hidden": [20, 10], "training.epochs": 3}


def show_tab(page: Any, server: Server, tab: str, **address: str) -> None:
    """Open a tab by its address."""
    query = "&".join(f"{name}={value}" for name, value in {"tab": tab, **address}.items())
    page.goto(f"{server.url}?{query}")
    page.get_by_role("button", name="Start", exact=True).wait_for()


def states(server: Server) -> list[str]:
    return sorted(run.status()["state"] for run in server.store.list())


def tick_row(page: Any, name: str) -> None:
    """Tick the box of a run in the list."""
    page.locator(".tabulator-row", has_text=name).locator("input[type=checkbox]").click()


def test_runs__empty_folder_shows_hints(page, server):
    show_tab(page, server, "runs")
    page.get_by_text("No runs yet.").wait_for()
    page.get_by_role("tab", name="Compare").click()
    page.get_by_text("Nothing to compare yet.").wait_for()
    page.get_by_role("button", name="Run baselines").click()
    page.get_by_text("Open a run or choose one above").wait_for()


def test_compare__baselines_are_trained_once(page, server):
    run = fake_engine.finished_run(server.store, SMALL, 3)
    show_tab(page, server, "compare", run=run.id)
    page.get_by_role("button", name="Run baselines").click()
    page.get_by_text("2 runs queued; 1 existed already.").wait_for()
    wait_until(lambda: len(server.store.list()) == 3, what="two more runs")
    wait_until(lambda: states(server) == ["finished"] * 3, 400, "both have been trained")
    wait_until(lambda: len(column(page, "ys")) == 3, what="three curves are drawn")
    wait_until(lambda: [len(ys) for ys in column(page, "ys")] == [3, 3, 3], what="all of their epochs")
    results = page.locator(".compared")
    assert {"SET (evolving)", "fixed random", "dense"} <= set(results.locator("td").all_inner_texts())
    results.locator("tr", has_text="dense").get_by_text("10,220").wait_for()
    page.get_by_text("Results are from the last epoch").wait_for()

    again = wait_until(  # the run that is open, and three to compare
        lambda: (at := address(page)).count("madelon") == 4 and at, what="the address names them all"
    )
    page.goto("about:blank")
    page.goto(again)
    wait_until(lambda: len(column(page, "ys")) == 3, what="the address shows the same comparison")
    page.get_by_role("button", name="Run baselines").click()
    page.get_by_text("0 runs queued").wait_for()
    assert len(server.store.list()) == 3


def test_compare__seeds_become_a_mean(page, server):
    runs = [fake_engine.finished_run(server.store, {**SMALL, "run.seed": seed}, 3) for seed in range(3)]
    show_tab(page, server, "compare", compare=",".join(run.id for run in runs))
    wait_until(lambda: len(column(page, "ys")) == 3, what="three curves are drawn")
    page.get_by_label("Mean over seeds").click()
    page.locator(".compared", has_text="and 2 more seeds").get_by_text("±").first.wait_for()
    losses = [[record.test_accuracy for record in run.records()] for run in runs]
    means = [sum(values) / 3 for values in zip(*losses, strict=True)]
    wait_until(lambda: len(column(page, "ys")) == 1, what="one curve is drawn")
    assert column(page, "ys")[0] == pytest.approx(means)
    plot = page.locator(".bk-Figure").first
    plot.hover()
    with page.expect_download() as download:
        plot.get_by_title("Save as SVG").click()
    assert download.value.suggested_filename == "Test accuracy.svg"
    assert download.value.path().read_text().startswith("<svg ")


def test_runs__filter_annotate_copy_delete(page, server):
    runs = [fake_engine.finished_run(server.store, {**SMALL, "training.zeta": z}, 3) for z in (0.1, 0.25)]
    annotate(runs[0], title="First try")
    show_tab(page, server, "runs")
    page.get_by_text("2 runs.").wait_for()
    page.get_by_role("textbox", name="Filter").press_sequentially("first madelon")
    page.get_by_text("1 of 2 runs match.").wait_for()
    page.get_by_role("textbox", name="Filter").fill("")
    page.get_by_text("2 runs.").wait_for()

    tick_row(page, runs[1].id)
    page.get_by_role("button", name="Notes", exact=True).click()
    page.get_by_role("textbox", name="Title").fill("Second <b>try</b>")
    page.get_by_role("textbox", name="Tags").fill("thesis, final")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("gridcell", name="Second <b>try</b>").wait_for()
    assert notes(runs[1])[:2] == ("Second <b>try</b>", ("thesis", "final"))

    with page.expect_download() as download:
        page.get_by_role("button", name="CSV", exact=True).click()
    assert len(download.value.path().read_text().splitlines()) == 4

    page.get_by_role("button", name="Copy settings").click()
    page.get_by_text("are in the form").wait_for()
    assert page.get_by_role("textbox", name="Zeta").first.input_value() == "0.25"
    assert page.get_by_role("textbox", name="Hidden layers").input_value() == "20-10"

    page.get_by_role("button", name="Delete", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("will be deleted permanently").wait_for()
    dialog.get_by_role("button", name="Cancel").click()
    dialog.wait_for(state="hidden")
    assert runs[1].path.exists()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    wait_until(lambda: not runs[1].path.exists(), what="the run is gone")
    page.get_by_text("1 run.").wait_for()
    assert runs[0].path.exists()


def test_runs__damaged_runs_are_tolerated(page, server):
    newer, unreadable = (fake_engine.finished_run(server.store, SMALL, 2) for _ in range(2))
    meta = json.loads((newer.path / "meta.json").read_text())
    (newer.path / "meta.json").write_text(json.dumps(meta | {"format": 99}))
    (unreadable.path / "config.toml").write_text("nonsense")
    (unreadable.path / "meta.json").unlink()
    (server.store.root / "half-made").mkdir()
    show_tab(page, server, "runs")
    page.get_by_text("2 runs.").wait_for()
    page.get_by_role("gridcell", name="unreadable", exact=True).click()
    page.get_by_text("is not valid TOML").wait_for()
    open_page(page, server, newer.id)
    page.get_by_text("this version of tsnn reads format 2. Try a newer version of tsnn.").wait_for()
    open_page(page, server, "half-made")
    page.get_by_text("There is no run 'half-made'").wait_for()


def test_runs__open_run_is_deleted(page, server):
    run = fake_engine.finished_run(server.store, SMALL, 3)
    open_page(page, server, run.id)
    badge(page, "finished").wait_for()
    wait_until(lambda: len(column(page, "test_accuracy")) == 3, what="the curves are drawn")
    shutil.rmtree(run.path)
    page.get_by_text("has been deleted").wait_for()
    page.get_by_text("Watch a sparse network learn").wait_for()


def test_sessions__two_sessions_steer_one_run(page, server, engine, browser):
    run, _ = engine()
    other = browser.new_page(viewport={"width": 1280, "height": 800})
    other.set_default_timeout(60_000)
    try:
        for window in (page, other):
            open_page(window, server, run.id)
            badge(window, "training").wait_for()
        page.get_by_role("button", name="Pause").click()
        badge(other, "paused").wait_for()
        done = len(run.records())
        other.get_by_role("button", name="One epoch").click()
        wait_until(lambda: len(column(page, "test_accuracy")) == done + 1, what="one more epoch is drawn")
        wait_until(lambda: column(page, "test_accuracy") == column(other, "test_accuracy"), what="both show the same")
        badge(other, "paused").wait_for()
        assert len(run.records()) == done + 1
        other.get_by_role("button", name="Resume").click()
        badge(page, "training").wait_for()
    finally:
        other.close()


def test_latest__follows_newer_runs_until_another_is_opened(page, server, engine):
    open_page(page, server, "latest")
    page.get_by_text("Watch a sparse network learn").wait_for()
    first, process = engine(epochs=1000)
    page.locator(".head .id", has_text=first.id).wait_for()
    wait_until(lambda: len(column(page, "test_accuracy")) >= 2, what="its epochs are drawn")
    process.kill()
    second, _ = engine(epochs=1000)
    page.locator(".head .id", has_text=second.id).wait_for()
    assert "run=latest" in address(page)
    page.get_by_role("tab", name="Runs").click()
    page.get_by_role("gridcell", name=first.id).click()
    page.locator(".head .id", has_text=first.id).wait_for()
    wait_until(lambda: f"run={first.id}" in address(page), what="the address names the opened run")


def test_server__run_continues_during_a_restart(page, server, engine):
    run, _ = engine()
    open_page(page, server, run.id)
    badge(page, "training").wait_for()
    page.goto("about:blank")
    server.stop()
    before = len(run.records())
    wait_until(lambda: len(run.records()) > before + 2, what="it trains without a server")
    server.start()
    open_page(page, server)
    page.locator(".head .id", has_text=run.id).wait_for()
    badge(page, "training").wait_for()
    wait_until(lambda: len(column(page, "test_accuracy")) > before + 2, what="the missed epochs are drawn")


def test_queue__survives_a_server_restart(page, server):
    first = server.store.create(Config.preset("madelon").replace({**SMALL, "training.epochs": 200}))
    process = subprocess.Popen([sys.executable, "-m", fake_engine.__name__, str(first.path), "0.3"], cwd=ROOT)
    try:
        wait_until(lambda: first.status()["state"] == "training", what="the fake engine trains")
        show_tab(page, server, "compare", run=first.id)
        page.get_by_role("button", name="Run baselines").click()
        page.get_by_text("2 runs queued").wait_for()
        page.goto("about:blank")
        server.stop()
    finally:
        process.kill()
        process.wait()
    assert states(server) == ["lost", "queued", "queued"]
    server.start()
    open_page(page, server, first.id)
    badge(page, "lost").wait_for()
    wait_until(lambda: "queued" not in states(server), 400, "both begin in turn, the second when the first has ended")
