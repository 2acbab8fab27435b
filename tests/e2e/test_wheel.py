"""The wheel outside the checkout: it trains, its dashboard opens from Jupyter's launcher, its course runs."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import wheel
from tests.support.dashboard import ROOT, column, fill
from tests.support.lab import serve_lab
from tests.support.processes import clean_store
from tests.support.waiting import wait_until
from tsnn.runs import RunStore

pytestmark = [pytest.mark.xdist_group("wheel"), pytest.mark.timeout(900), pytest.mark.compiled]

NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*_*.ipynb"))  # lessons and solutions
NOTEBOOK = "02_train_with_set.ipynb"
PREFIX = "/user/x"
TOKEN = "for-tests"


class Installed(NamedTuple):
    """Built distributions, and the environment of processes that use the wheel."""

    sdist: Path
    wheel: Path
    environment: dict[str, str]

    def run(self, *arguments: str, cwd: Path) -> str:
        """Run Python with the wheel; returns its output."""
        result = subprocess.run(
            [sys.executable, "-P", *arguments],
            cwd=cwd, env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert result.returncode == 0, f"{arguments}\n{result.stdout}\n{result.stderr}"
        return result.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Build the wheel, and install it outside the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    sdist, built = wheel.build(folder)
    found = Installed(sdist, built, wheel.install_beside(built, folder / "site"))
    where = found.run("-c", "import tsnn; print(tsnn.__file__)", cwd=folder)
    assert Path(where.strip()).is_relative_to(folder / "site")
    return found


@pytest.fixture
def lab(installed: Installed, tmp_path: Path) -> Iterator[str]:
    """JupyterLab as a hub starts it, with the wheel; yields its address."""
    with (
        clean_store(tmp_path / "runs"),
        serve_lab(tmp_path, installed.environment, f"--IdentityProvider.token={TOKEN}", prefix=PREFIX) as url,
    ):
        yield url


def test_wheel__contains_dashboard_and_course_in_one_package(installed):
    with zipfile.ZipFile(installed.wheel) as archive:
        names = set(archive.namelist())
    assert {name.split("/")[0] for name in names} == {"tsnn", "tsnn-0.1.0.dist-info"}
    notebooks = {f"tsnn/{path.relative_to(ROOT)}" for path in NOTEBOOKS}
    assert len(notebooks) >= 16, "lessons and solutions"
    pages = {f"tsnn/{path.relative_to(ROOT)}" for path in (ROOT / "app").rglob("*.py")}
    lessons = {f"tsnn/{path.relative_to(ROOT)}" for path in (ROOT / "app" / "lessons").glob("*.toml")}
    assert len(lessons) == 5
    assert {
        *notebooks,
        *pages,
        *lessons,
        "tsnn/app/assets/digits.npz.xz",
        "tsnn/app/icon.svg",
        "tsnn/py.typed",
    } <= names
    assert not [name for name in names if "README" in name or "tests" in name]
    with tarfile.open(installed.sdist) as archive:
        names = set(archive.getnames())
    for name in ("app/main.py", f"notebooks/{NOTEBOOK}", "tests/e2e/test_wheel.py", "README.md", "CHANGELOG.md"):
        assert f"tsnn-0.1.0/{name}" in names


def test_wheel__trains(installed, tmp_path):
    settings = ["--set", "epochs=1", "--set", "hidden=20-10"]
    printed = installed.run("-m", "tsnn", "train", "madelon", *settings, cwd=tmp_path)
    (run,) = RunStore(tmp_path / "runs").list()
    assert run.id in printed
    assert run.status()["state"] == "finished"


def test_course__notebook_runs_outside_the_checkout(installed, tmp_path):
    printed = installed.run("-m", "tsnn", "course", "copies", "--no-open", cwd=tmp_path)
    assert f"({len(NOTEBOOKS) + 1} files copied)" in printed
    assert (tmp_path / "copies" / "solutions" / NOTEBOOK).exists()
    installed.run("-m", "jupyter", "execute", NOTEBOOK, cwd=tmp_path / "copies")
    (run,) = RunStore(tmp_path / "copies" / "runs").list()
    assert run.status()["state"] == "finished"


def test_tile__opens_the_dashboard_behind_the_login_and_prefix_of_a_hub(lab, browser, tmp_path):
    with urllib.request.urlopen(f"{lab}/tsnn/app", timeout=60) as answer:
        assert answer.url.startswith(f"{lab}/login")

    errors: list[str] = []
    window = browser.new_page(viewport={"width": 1280, "height": 800})
    window.set_default_timeout(120_000)
    window.goto(f"{lab}/lab?token={TOKEN}")
    tile = window.locator(".jp-LauncherCard", has_text="tsnn dashboard")
    tile.locator("svg, img").first.wait_for()
    window.screenshot(path=tmp_path / "tile.png")
    with window.expect_popup() as opened:
        tile.click()
    page = opened.value
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.set_default_timeout(120_000)
    page.get_by_role("button", name="Start", exact=True).wait_for()
    assert page.url.startswith(f"{lab}/tsnn/app")

    fill(page, "Hidden layers", "100-60")
    page.get_by_text("100 → 60").wait_for()
    fill(page, "Epochs", "2")
    page.get_by_role("button", name="Start", exact=True).click()
    page.locator(".head .badge", has_text="finished").wait_for(timeout=300_000)
    wait_until(lambda: len(column(page, "test_accuracy")) == 2, what="both epochs are drawn")
    page.screenshot(path=tmp_path / "page.png")
    (run,) = RunStore(tmp_path / "runs").list()
    assert run.status()["state"] == "finished"
    assert page.url.startswith(f"{lab}/tsnn/app")
    page.close()
    window.close()
    assert errors == []
