"""The dashboard in tests: its server, a browser, and functions that read and operate the page."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.waiting import wait_until
from tsnn.runs import RunStore

ROOT = Path(__file__).parents[2]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

COLUMN = """name => {
    for (const document of Bokeh.documents)
        for (const model of document.all_models)
            if (model.type == "ColumnDataSource" && model.data[name] !== undefined && model.data.started === undefined)
                return Array.from(model.data[name])
    return []
}"""

SENT = """(box, text) => Bokeh.documents.some((document) => [...document.all_models].some((model) =>
    model.data?.label && box.labels[0].textContent.startsWith(model.data.label) && String(model.data.value) == text))
"""


class Server:
    """``panel serve app/`` on a free port, with its own folder of runs.

    Parameters
    ----------
    runs
        Folder of runs; the server's log is written next to it.
    page
        What is served instead of ``app/``.
    """

    def __init__(self, runs: Path, page: Path = ROOT / "app"):
        self.runs, self.page = runs, page
        self.log = runs.parent / "server.log"
        self.store = RunStore(runs)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None
        self.options: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://127.0.0.1:{self.port}/{self.page.stem}"

    def start(self, *options: str) -> None:
        """Start the server with further options of ``panel serve``, and wait for its first answer."""
        command = [sys.executable, "-m", "panel", "serve", str(self.page)]
        command += ["--address", "127.0.0.1", "--port", str(self.port)]
        command += options
        self.options = options
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=log, env=os.environ | {"TSNN_RUNS": str(self.runs)}
            )
        wait_until(self.answers, what="the server answers")

    def answers(self) -> bool:
        """Report whether the server answers; fail with its log if it has ended."""
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        with contextlib.suppress(OSError):
            return bool(urllib.request.urlopen(self.url, timeout=30).status == 200)
        return False

    def stop(self) -> None:
        """Terminate the server; kill it after 10 s."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None


def chromium(playwright: Any, *flags: str) -> Any:
    """Start Chromium; None if it is not installed."""
    own = playwright.chromium.executable_path
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
    found = [os.environ.get("TSNN_CHROMIUM"), *map(shutil.which, names), own if Path(own).exists() else None]
    path = next((p for p in found if p), None)
    return playwright.chromium.launch(executable_path=path, args=[*FLAGS, *flags]) if path else None


def column(page: Any, name: str) -> list[Any]:
    """Column of the first data source with this name in the page, except the list of runs (which has ``started``)."""
    return list(page.evaluate(COLUMN, name))


def address(page: Any) -> str:
    """Current address of the page; ``page.url`` can be outdated until the next request to the browser."""
    return str(page.evaluate("location.href"))


def open_page(page: Any, server: Server, run: str = "") -> None:
    """Open the dashboard, with a run if given, and wait until it is drawn."""
    page.goto(server.url + (f"?run={run}" if run else ""))
    await_drawn(page)


def await_drawn(page: Any) -> None:
    """Wait until the page is drawn: before, it drops messages of the server."""
    page.get_by_role("button", name="Start", exact=True).wait_for()
    page.wait_for_function("Bokeh.documents.length > 0 && Bokeh.documents.every((document) => document.is_idle)")


def badge(page: Any, state: str) -> Any:
    """Badge with this text in the head of the page."""
    return page.locator(".head .badge", has_text=state)


def fill(page: Any, label: str | re.Pattern[str], text: str) -> None:
    """Type a text into a field, as a user does."""
    box = page.get_by_role("textbox", name=label, exact=False).first
    box.click()
    box.press("Control+a")
    box.press_sequentially(text)  # a value that appears within the event that gives focus can be lost
    box.press("Tab")
    wait_until(lambda: box.evaluate(SENT, text), what=f"{text!r} is on its way to the server")
