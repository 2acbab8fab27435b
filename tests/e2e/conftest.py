"""Fixtures: a dashboard server, a fake engine, a browser. Without Chromium the tests are skipped in one line."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support import fake_engine
from tests.support.dashboard import ROOT, Server, chromium
from tests.support.waiting import wait_until
from tsnn.config import Config
from tsnn.records import RunState
from tsnn.runs import LIVE, Run


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report of a test; of a failed one with the roles on the page and the end of the log of the server, which ends."""
    report = yield
    fixtures = getattr(item, "funcargs", {})
    if report.failed and "page" in fixtures and report.when == "call":
        with contextlib.suppress(Exception):
            report.sections.append(("The page", fixtures["page"].locator("body").aria_snapshot(timeout=5000)))
    if report.failed and "server" in fixtures:
        report.sections.append(("Log of the server", fixtures["server"].log.read_text()[-5000:]))
        fixtures["server"].stop()
    return report


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Dashboard server of all tests in this process."""
    server = Server(tmp_path_factory.mktemp("dashboard") / "runs")
    yield server
    server.stop()


@pytest.fixture
def server(shared_server: Server) -> Iterator[Server]:
    """Dashboard server with no runs; at the end the engines of its runs are killed, and the runs removed."""
    if shared_server.options:
        shared_server.stop()
    if shared_server.process is None:
        shared_server.start()
    yield shared_server
    states = {run: run.status() for run in shared_server.store.list()}
    for run, status in states.items():
        if status["state"] == RunState.QUEUED:  # before another ends, or it would be started
            shutil.rmtree(run.path, ignore_errors=True)
    for status in states.values():
        if status["state"] in LIVE and "pid" in status:
            with contextlib.suppress(psutil.Error):
                psutil.Process(status["pid"]).kill()
    wait_until(lambda: _is_emptied(shared_server.runs), what="all runs are removed")


def _is_emptied(folder: Path) -> bool:
    """Remove a folder's content; return whether nothing is left: a supervisor may still have been writing."""
    for path in folder.iterdir() if folder.exists() else ():
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    return not folder.exists() or not any(folder.iterdir())


@pytest.fixture
def engine(server: Server) -> Iterator[Callable[..., tuple[Run, subprocess.Popen[bytes]]]]:
    """Return a function that starts a fake engine on a new run."""
    started: list[subprocess.Popen[bytes]] = []

    def start(epochs: int = 1000, seconds: float = 0.3) -> tuple[Run, subprocess.Popen[bytes]]:
        run = server.store.create(Config.preset("paper/fashion_mnist").replace({"training.epochs": epochs}))
        command = [sys.executable, "-m", fake_engine.__name__, str(run.path), str(seconds)]
        started.append(subprocess.Popen(command, cwd=ROOT))
        wait_until(lambda: run.status()["state"] == "training", what="the fake engine trains")
        return run, started[-1]

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, started once."""
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
    """Browser window, closed before the server is; errors in its console fail the test."""
    errors: list[str] = []
    window = browser.new_page(viewport={"width": 1280, "height": 800})
    window.set_default_timeout(60_000)
    window.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    window.on("pageerror", lambda e: errors.append(str(e)))
    yield window
    window.close()
    assert errors == []
