"""Install and go, from empty environments: ``python -m tests.packaging [--keep FOLDER]``.

Builds source distribution and wheel, installs the wheel into an empty environment outside the checkout, opens its
dashboard and presses Start before any kernel is compiled and afterwards, trains, runs a notebook of ``tsnn course``;
then installs the checkout as README does, and opens the page with both commands. Prints each step with its seconds, and
those of the processor: the second number depends less on what else the machine does. It downloads every dependency,
and takes minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import sync_playwright

from tests.support import wheel
from tests.support.dashboard import ROOT, await_drawn, chromium, column
from tests.support.waiting import wait_until
from tsnn.runs import RunStore

NOTEBOOK = "02_train_with_set.ipynb"
STARTS = ("nothing compiled", "compiled")


def main() -> None:
    """Try all installations; the first step that fails ends the process with its output."""
    parser = argparse.ArgumentParser(prog="python -m tests.packaging", description=__doc__)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="an empty folder that is kept, for a look")
    folder = parser.parse_args().keep
    with contextlib.nullcontext(folder) if folder else tempfile.TemporaryDirectory() as place:
        work = Path(place).resolve()
        work.mkdir(exist_ok=True)
        _try_wheel(work)
        _try_checkout(work)


def _try_wheel(work: Path) -> None:
    print("seconds     CPU")
    with timed("python -m build"):
        _, built = wheel.build(work)
    print(f"                 {built.name}: {built.stat().st_size / 2**20:.1f} MiB")
    bin_ = environment(work / "wheel-venv", f"{built}[app]", cwd=work)
    open_page(bin_, ["tsnn", "dashboard", "--port", "0", "--no-browser"], work, then=_press_start)
    settings = ["--set", "epochs=2", "--set", "hidden=100-60"]
    step(bin_, ["tsnn", "train", "fashion_mnist", *settings], work)
    assert len(RunStore(work / "runs").list()) == len(STARTS) + 1
    step(bin_, ["pip", "install", "-q", f"{built}[notebooks]"], work)
    step(bin_, ["tsnn", "course", "course", "--no-open"], work)
    step(bin_, ["jupyter", "execute", NOTEBOOK], work / "course")
    assert len(RunStore(work / "course" / "runs").list()) == 1


def _try_checkout(work: Path) -> None:
    copy = work / "checkout"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(copy)], check=True)
    bin_ = environment(copy / ".venv", "-e", ".[app]", cwd=copy)
    open_page(bin_, ["panel", "serve", "app/", "--address", "127.0.0.1", "--port", "5099"], copy)
    open_page(bin_, ["tsnn", "dashboard", "--port", "0", "--no-browser"], copy)


def environment(folder: Path, *requirement: str, cwd: Path) -> Path:
    """Create an empty environment, install a requirement, and return the folder of its commands."""
    with timed("python3 -m venv"):
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    bin_ = folder / "bin"
    step(bin_, ["pip", "install", "-q", *requirement], cwd)
    return bin_


def step(bin_: Path, command: list[str], cwd: Path) -> None:
    """Run a command of an environment, and print it with its seconds."""
    with timed(" ".join(command)):
        result = subprocess.run(
            command,
            cwd=cwd,
            env=_variables(bin_),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{result.stdout}\n{result.stderr}")


def _press_start(page: Any) -> None:
    """Start the demonstration twice, and print how long each takes until its curve has moved."""
    await_drawn(page)
    for name in STARTS:
        started, known = time.perf_counter(), page.url
        page.get_by_role("button", name="Start", exact=True).click()
        page.wait_for_function("known => location.href != known", arg=known)  # the page of the new run
        alive = time.perf_counter() - started
        wait_until(lambda: len(column(page, "test_accuracy")) > 1, what="the curve of the test accuracy moves")
        report(f"    Start, {name}: until the run's page is displayed", alive)
        report(f"    Start, {name}: until its curve has moved", time.perf_counter() - started)
        page.get_by_role("button", name="Stop", exact=True).click()
        page.locator(".head .badge", has_text="stopped").wait_for()


def open_page(bin_: Path, command: list[str], cwd: Path, then: Callable[[Any], None] = lambda page: None) -> None:
    """Start a server of the dashboard, wait until its form is displayed in a browser, and use the page."""
    log = cwd / "server.log"
    with open(log, "wb") as file:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=cwd, env=_variables(bin_), stdout=file, stderr=file)
    try:
        url = wait_until(lambda: _address(process, log), what="the server prints its address")
        with sync_playwright() as playwright:
            browser = chromium(playwright)
            page = browser.new_page()
            page.goto(url)
            page.get_by_role("button", name="Start", exact=True).wait_for(timeout=120_000)
            used = psutil.Process(process.pid).cpu_times()
            seconds = time.perf_counter() - started
            report(f"{' '.join(command)}  (until the page is displayed)", seconds, used.user + used.system)
            then(page)
            browser.close()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    text = log.read_text()
    assert process.poll() is None, text
    return next((word for word in text.split() if word.startswith("http") and word.endswith("/app")), "")


def _variables(bin_: Path) -> dict[str, str]:
    found = wheel.clean_environment()
    return found | {
        "PATH": f"{bin_}{os.pathsep}{found['PATH']}",
        "VIRTUAL_ENV": str(bin_.parent),
        "PYTHONUNBUFFERED": "1",
    }


@contextlib.contextmanager
def timed(name: str) -> Iterator[None]:
    """Print a step with its seconds."""
    started, before = time.perf_counter(), os.times()
    yield
    after = os.times()
    used = after.children_user - before.children_user + after.children_system - before.children_system
    report(name, time.perf_counter() - started, used)


def report(name: str, seconds: float, processor_seconds: float | None = None) -> None:
    """Print one line."""
    used = " " * 7 if processor_seconds is None else f"{processor_seconds:7.1f}"
    print(f"{seconds:7.1f} {used}  {name}", flush=True)


if __name__ == "__main__":
    if shutil.which("git") is None:
        sys.exit("git is not installed: the checkout is cloned with it.")
    main()
