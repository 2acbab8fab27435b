"""Pictures of the dashboard to look at: every tab in every state of a run, light and dark, in three widths.

Run ``python -m tests.benchmarks.states FOLDER [--state NAME ...] [--width PIXELS ...] [--scheme NAME ...]``. A fake
engine writes the runs, but ``trained``, which has errors to show and a sweep. Each picture shows the whole tab, and
with it whether anything leaves its card. Needs ``.[test]`` and a Chromium; all pictures take about ten minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.support import fake_engine
from tests.support.dashboard import ROOT, Server, chromium
from tests.support.sweeps import train_trial
from tests.support.waiting import wait_until
from tsnn.config import Config
from tsnn.execution.engine import execute
from tsnn.jobs.planning import plan_sweep
from tsnn.jobs.queue import enqueue
from tsnn.runs import RunStore
from tsnn.runs.notes import annotate
from tsnn.runs.sweeps import create_sweep

STATES = ("empty", "form", "queued", "live", "finished", "trained", "failed")
TABS = ("overview", "network", "connectivity", "neurons", "errors", "workers", "sweep", "compare", "runs")
WIDTHS = {1440: 900, 820: 1100, 390: 844}
SCHEMES = ("light", "dark")
#: Tabs of the other states: those that depend on the open run.
_OF_RUN = dict.fromkeys(("queued", "live", "failed"), TABS[:-3]) | {"trained": ("network", "errors", "sweep")}
_DRAWN = ("live", "finished", "trained", "failed")
_MOST = 6000  # pixels of a picture's height
#: Height that the page would need to show its tab without scrolling; the form counts where it is open.
_HEIGHT = """() => {
    const root = document.querySelector(".bk-panel-models-esm-ReactComponent").shadowRoot
    const drawer = root.querySelector("nav .MuiDrawer-paper")
    const open = drawer && drawer.getBoundingClientRect().right > 0
    return Math.max(root.querySelector(".main-content").scrollHeight + 64, open ? drawer.scrollHeight : 0)
}"""


#: Whether the server has opened a tab: its name is in the address then.
_OPEN = "(tab) => tab === 'overview' || new URLSearchParams(location.search).get('tab')?.includes(tab)"
#: A figure of a tab, by a part of its title.
_FIGURES = {"network": "network", "connectivity": "replaced", "neurons": "Active neurons",
            "errors": "Accuracy per class", "sweep": "Parallel"}  # fmt: skip


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[tuple[Server, dict[str, str]]]:
    """Serve a dashboard with a run in each state; yields the server, and the address of the page by state."""
    os.environ["TSNN_CORES"] = "1"  # the second run is queued
    server = Server(folder / "runs")
    server.start()
    store = server.store
    settings: dict[str, Any] = {"data.name": "fashion_mnist", "training.epochs": 40}
    finished = [
        fake_engine.finished_run(store, {**settings, "training.method": method, "parallel.workers": 2}, 40)
        for method in ("set", "fixed", "dense")
    ]
    annotate(finished[1], title="Without evolution", tags=["lecture 1", "baseline"])
    failed = fake_engine.finished_run(store, {"data.name": "madelon", "training.epochs": 30}, 12, "failed")
    live = store.create(Config.preset("fashion_mnist").replace({"training.epochs": 2000}))
    engine = subprocess.Popen([sys.executable, "-m", fake_engine.__name__, str(live.path), "1", "25"], cwd=ROOT)
    try:
        wait_until(lambda: live.status().get("epoch", 0) > 25, what="the fake engine trains")
        trained, sweep = store.create(Config.preset("digits").replace(epochs=20)), swept(store)
        for _ in execute(trained):
            pass
        runs = {"queued": enqueue(Config.preset("digits"), store), "live": live, "finished": finished[0],
                "trained": trained, "failed": failed}  # fmt: skip
        compared = ",".join(run.id for run in finished)
        yield server, {state: f"run={run.id}&compare={compared}&sweep={sweep}" for state, run in runs.items()}
    finally:
        engine.kill()
        engine.wait()
        server.stop()


def swept(store: RunStore) -> str:
    """Write a sweep; returns its id."""
    grid: dict[str, list[Any]] = {"training.zeta": [0.1, 0.2, 0.3, 0.5], "network.epsilon": [2.0, 5.0, 20.0]}
    base = Config.preset("fashion_mnist").replace(epochs=10)
    sweep = create_sweep(store, plan_sweep(base, grid, seeds=2))
    for number in range(len(sweep.plan.trials)):
        train_trial(sweep, number)
    return sweep.id


def settle(page: Any) -> None:
    """Wait until the page has drawn all that it has received."""
    page.wait_for_timeout(1200)
    page.wait_for_function("Bokeh.documents.every((document) => document.is_idle)")


def shoot(page: Any, width: int, path: Path) -> None:
    """Write a picture of the whole tab."""
    for _ in range(2):  # a taller page may have a wider column: no scroll bar
        page.set_viewport_size({"width": width, "height": min(_MOST, max(WIDTHS[width], page.evaluate(_HEIGHT)))})
        page.wait_for_timeout(500)
    page.screenshot(path=path)
    page.set_viewport_size({"width": width, "height": WIDTHS[width]})


def visit(page: Any, address: str, state: str, width: int, folder: Path, scheme: str) -> None:
    """Open every tab in a state of a run, and write the pictures."""
    page.goto(address)
    page.get_by_role("tab", name="Runs").wait_for()
    page.wait_for_function("Bokeh.documents.length > 0")
    settle(page)
    if scheme == "dark":
        page.get_by_label("Toggle theme").click()
    name = f"{state}-{{}}-{width}-{scheme}.png"
    if state == "form":
        if not page.get_by_role("button", name="Start", exact=True).is_visible():
            page.get_by_role("button", name="Open drawer").click()
        page.get_by_role("button", name="Advanced").click()
        settle(page)
        shoot(page, width, folder / name.format("advanced"))
        return
    for tab in TABS if state in ("empty", "finished") else _OF_RUN[state]:  # the others do not depend on the open run
        page.get_by_role("tab", name=tab.capitalize()).click()
        page.wait_for_function(_OPEN, arg=tab)
        if tab in _FIGURES and state in (("trained",) if tab in ("errors", "sweep") else _DRAWN):
            page.locator(f"[role=figure][aria-label*='{_FIGURES[tab]}']").first.wait_for()
        settle(page)
        shoot(page, width, folder / name.format(tab))


def main() -> None:
    """Start the dashboard and write the pictures."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.states", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--state", action="append", choices=STATES)
    parser.add_argument("--width", action="append", choices=WIDTHS, type=int)
    parser.add_argument("--scheme", action="append", choices=SCHEMES)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = chromium(playwright)
        empty = Server(Path(folder) / "none" / "runs")
        empty.runs.mkdir(parents=True)
        empty.start()
        (Path(folder) / "some").mkdir()
        with contextlib.closing(browser), staged(Path(folder) / "some") as (server, queries):
            try:
                for scheme in options.scheme or SCHEMES:
                    for width in options.width or WIDTHS:
                        page = browser.new_page(viewport={"width": width, "height": WIDTHS[width]})
                        page.set_default_timeout(120_000)
                        for state in options.state or STATES:
                            address = f"{server.url}?{queries[state]}" if state in queries else empty.url
                            visit(page, address, state, width, options.folder, scheme)
                        page.close()
            finally:
                empty.stop()


if __name__ == "__main__":
    main()
