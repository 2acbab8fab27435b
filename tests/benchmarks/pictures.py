"""Pictures of the README and of the welcome page, from real runs: ``python -m tests.benchmarks.pictures [FOLDER]``.

Starts the dashboard, trains the network that the form offers, lowers zeta while it learns, opens the tabs and
replays the run. With ``--sweep SWEEP_DIR`` it draws that sweep instead: ``sweep.png``. Needs ``.[test]`` and a
Chromium; takes about a minute.
"""

import argparse
import io
import lzma
import re
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.support.dashboard import ROOT, Server, badge, chromium, column, fill, open_page
from tests.support.waiting import wait_until
from tsnn.archives import npz_bytes
from tsnn.config import Config
from tsnn.execution.engine import execute
from tsnn.runs import RunStore
from tsnn.snapshot import Snapshot

EPOCHS, ZETA = 500, 0.1
SIZE = {"width": 1280, "height": 800}
SWEEP_SIZE = {"width": 1280, "height": 780}
TALL = 1130  # height of the single picture, which shows the map of the inputs too
#: The animation: width in pixels, colours, milliseconds per picture.
WIDTH, COLOURS, MILLISECONDS = 880, 240, 650


class Film:
    """Collects screenshots of a page."""

    def __init__(self, page: Any):
        self.page = page
        self.pictures: list[Image.Image] = []

    def take(self, times: int = 1, seconds: float = 0.0) -> None:
        """Take pictures at intervals of some seconds."""
        for _ in range(times):
            self.page.wait_for_timeout(1000 * seconds)
            picture = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
            height = round(WIDTH * picture.height / picture.width)
            self.pictures.append(picture.resize((WIDTH, height), Image.Resampling.LANCZOS))

    def save(self, path: Path) -> None:
        """Write an animated GIF whose pictures share their colours."""
        width, height = self.pictures[0].size
        some = self.pictures[:: max(1, len(self.pictures) // 6)]
        strip = Image.new("RGB", (width, height * len(some)))
        for i, picture in enumerate(some):
            strip.paste(picture, (0, i * height))
        palette = strip.quantize(COLOURS, Image.Quantize.MEDIANCUT)
        drawn = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in self.pictures]
        drawn[0].save(path, save_all=True, append_images=drawn[1:], duration=MILLISECONDS, loop=0, optimize=True)


FRAMES, FIELDS = 40, (
    "sizes", "epoch", "ages_since", "input_degree", "drawn", "drawn_degree", "edges", "edge_weights", "edge_births",
)  # fmt: skip


def write_recording(snapshots: Mapping[int, Snapshot], path: Path) -> None:
    """Write the first snapshots of a run, only the fields that the welcome page draws."""
    arrays = {
        f"{epoch}/{name}": array
        for epoch in sorted(snapshots)[: FRAMES + 1]
        for name, array in snapshots[epoch].arrays().items()
        if re.sub("_[0-9]+$", "", name) in FIELDS
    }
    with lzma.open(path, "wb") as file:  # all together: neighbouring snapshots are alike
        file.write(npz_bytes(arrays))


def record(folder: Path) -> None:
    """Train the digits and write ``digits.npz.xz``, which the welcome page plays."""
    with tempfile.TemporaryDirectory() as runs:
        run = RunStore(Path(runs)).create(Config.preset("digits"))
        for _ in execute(run):
            pass
        write_recording({epoch: run.snapshot(epoch) for epoch in run.snapshot_epochs()}, folder / "digits.npz.xz")


def shoot(page: Any, server: Server, folder: Path) -> None:
    """Train, look at each tab, and write ``dashboard.gif`` and ``dashboard.png``."""
    film = Film(page)
    page.set_default_timeout(300_000)
    open_page(page, server)
    page.wait_for_timeout(3000)  # animations have ended
    fill(page, "Epochs", str(EPOCHS))
    film.take(2)
    page.get_by_role("button", name="Start", exact=True).click()
    wait_until(lambda: len(column(page, "test_accuracy")) >= 1, 180, "an epoch is drawn")
    film.take(5, 1.0)
    rail = page.get_by_role("slider", name="Zeta").locator("xpath=../..").bounding_box()
    page.mouse.click(rail["x"] + ZETA / 0.9 * rail["width"], rail["y"] + rail["height"] / 2)
    page.get_by_text("accepted after epoch").wait_for()
    wait_until(lambda: len(column(page, "message")) >= 1, what="the change is marked")
    wait_until(lambda: len(column(page, "test_accuracy")) >= 20, 300, "evolution is seen in the map of the inputs")
    film.take(4, 1.0)
    page.set_viewport_size({**SIZE, "height": TALL})
    page.wait_for_timeout(3000)
    page.screenshot(path=folder / "dashboard.png")
    page.set_viewport_size(SIZE)
    look_at(page, "Network", "Drawing of the network")
    film.take(5, 1.5)
    assert badge(page, "training").is_visible(), "the run has ended before its network was filmed: raise EPOCHS"
    badge(page, "finished").wait_for(timeout=600_000)
    look_at(page, "Errors", "test samples are right")
    film.take(2)
    look_at(page, "Connectivity", "replaced per epoch")
    page.get_by_role("button", name="Play").click()
    hide_tooltip(page)
    page.get_by_text("Snapshot: epoch 0").wait_for()
    film.take(10, 0.8)
    film.save(folder / "dashboard.gif")


def hide_tooltip(page: Any) -> None:
    """Move the pointer away from a button that was clicked, and close its tooltip."""
    page.mouse.move(SIZE["width"] / 2, page.viewport_size["height"] - 1)
    page.keyboard.press("Escape")


def look_at(page: Any, tab: str, title: str) -> None:
    """Open a tab, and wait until the figure with a part of its text alternative is drawn."""
    page.get_by_role("tab", name=tab).click()
    page.locator(f"[role=figure][aria-label*='{title}']:visible").first.wait_for()
    page.wait_for_timeout(2500)


def shoot_sweep(sweep: Path, folder: Path) -> None:
    """Write ``sweep.png``: the plots of a sweep, of which a copy is opened."""
    with tempfile.TemporaryDirectory() as runs, sync_playwright() as playwright:
        left_out = shutil.ignore_patterns("queued.json", "checkpoints", "weights.npz")
        shutil.copytree(sweep, Path(runs) / "runs" / sweep.name, ignore=left_out)
        server = Server(Path(runs) / "runs")
        server.start()
        browser = chromium(playwright)
        try:
            page = browser.new_page(viewport=SWEEP_SIZE)
            page.set_default_timeout(120_000)
            page.goto(f"{server.url}?tab=sweep&sweep={sweep.name}")
            page.get_by_role("button", name="Close drawer").click()
            hide_tooltip(page)
            page.get_by_role("figure", name="Importance of the settings").wait_for()
            page.wait_for_timeout(10_000)  # the other plots are drawn, animations have ended
            picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        finally:
            browser.close()
            server.stop()
    drawn = picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    drawn.save(folder / "sweep.png", optimize=True)


def main() -> None:
    """Start the dashboard and write the pictures."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.pictures")
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "app" / "assets")
    parser.add_argument("--sweep", type=Path)
    options = parser.parse_args()
    folder = options.folder
    if options.sweep is not None:
        shoot_sweep(options.sweep, folder)
        print(f"Wrote sweep.png to {folder}.")
        return
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as runs, sync_playwright() as playwright:
        server = Server(Path(runs) / "runs")
        server.start()
        browser = chromium(playwright)
        try:
            record(folder)
            shoot(browser.new_page(viewport=SIZE), server, folder)
        finally:
            browser.close()
            server.stop()
    print(f"Wrote dashboard.png and dashboard.gif to {folder} in {time.monotonic() - begun:.0f} s.")


if __name__ == "__main__":
    main()
