"""A dashboard server and a browser for the tests; where no Chromium is found, they are skipped in one line."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tsnn.runs import LIVE, Run, RunStore

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


def wait_until(condition: Callable[[], Any], seconds: float = 60.0, what: str = "") -> Any:
    """Return what ``condition`` returns once it is true; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.1)
    pytest.fail(f"After {seconds:g} s still not: {what or condition.__name__}")


class Server:
    """``panel serve app/`` on a free port, with its own folder of runs."""

    def __init__(self, runs: Path):
        self.runs = runs
        self.store = RunStore(runs)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/app"

    def start(self, *options: str) -> None:
        command = [sys.executable, "-m", "panel", "serve", "app/", "--address", "127.0.0.1", "--port", str(self.port)]
        command += options
        with open(self.runs.parent / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=log, env=os.environ | {"TSNN_RUNS": str(self.runs)}
            )
        wait_until(self.answers, what="the server answers")

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.runs.parent / "server.log").read_text()
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(self.url, timeout=30).status == 200
        return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Serve the dashboard; afterwards neither it nor any run of the test is left."""
    server = Server(tmp_path / "runs")
    server.start()
    yield server
    server.stop()
    for run in server.store.list():
        status = run.status()
        if status["state"] in LIVE and "pid" in status:
            with contextlib.suppress(psutil.Error):
                psutil.Process(status["pid"]).kill()


@pytest.fixture
def engine(server: Server) -> Iterator[Callable[..., tuple[Run, subprocess.Popen[bytes]]]]:
    """Return a function that starts a stand-in for the engine on a new run."""
    from tests.e2e import fake_engine
    from tsnn.config import Config

    started: list[subprocess.Popen[bytes]] = []

    def start(epochs: int = 1000, seconds: float = 0.3) -> tuple[Run, subprocess.Popen[bytes]]:
        run = server.store.create(Config.preset("fashion_mnist").replace({"training.epochs": epochs}))
        command = [sys.executable, "-m", fake_engine.__name__, str(run.path), str(seconds)]
        started.append(subprocess.Popen(command, cwd=ROOT))
        wait_until(lambda: run.status()["state"] == "training", what="the stand-in trains")
        return run, started[-1]

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        process.wait()


def chromium(playwright: Any, *flags: str) -> Any:
    """Return a Chromium that is started, or None where there is none."""
    own = playwright.chromium.executable_path
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = [os.environ.get("TSNN_CHROMIUM"), *map(shutil.which, names), own if Path(own).exists() else None]
    path = next((p for p in found if p), None)
    return playwright.chromium.launch(executable_path=path, args=[*FLAGS, *flags]) if path else None


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Start Chromium once."""
    missing = pytest.fail if os.environ.get("TSNN_REQUIRE_BROWSER") == "1" else pytest.skip
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("no browser test: playwright is not installed")
    with sync_playwright() as playwright:
        browser = chromium(playwright)
        if browser is None:
            missing("no browser test: Chromium is neither on PATH nor TSNN_CHROMIUM nor Playwright's own")
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    """Open a window, closed before the server is; errors in its console fail the test."""
    errors: list[str] = []
    window = browser.new_page(viewport={"width": 1280, "height": 800})
    window.set_default_timeout(60_000)
    window.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    window.on("pageerror", lambda e: errors.append(str(e)))
    yield window
    window.close()
    assert errors == []
