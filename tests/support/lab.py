"""JupyterLab in tests: a server with its own settings, which fetches nothing from other hosts."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.waiting import wait_until

#: Render all cells at once; fetch nothing from other hosts.
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


@contextmanager
def serve_lab(
    folder: Path, environment: Mapping[str, str], *options: str, prefix: str = "",
    settings: Mapping[str, Mapping[str, object]] | None = None,
) -> Iterator[str]:  # fmt: skip
    """Run JupyterLab in a folder, with its settings and its log there; yields its address.

    Parameters
    ----------
    folder
        Working directory.
    environment
        Environment variables of the server and its kernels.
    options
        Further options, such as the folder of notebooks.
    prefix
        Path of its address, such as ``/user/x``.
    settings
        Further settings, by the part of JupyterLab's ``apputils-extension`` that they are of, such as ``themes``.
    """
    further = {f"apputils-extension/{name}": values for name, values in (settings or {}).items()}
    for name, values in {**SETTINGS, **further}.items():
        file = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime"}
    own |= {"JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces", "IPYTHONDIR": "ipython"}
    paths = {variable: str(folder / name) for variable, name in own.items()}
    fixed = ["--no-browser", "--allow-root", f"--port={port}", "--ip=127.0.0.1", "--ServerApp.port_retries=0"]
    fixed += [f"--ServerApp.base_url={prefix}/"]
    with open(folder / "lab.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "jupyterlab", *fixed, *options],
            cwd=folder, env={**environment, **paths}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}{prefix}"

    def answers() -> bool:
        assert process.poll() is None, (folder / "lab.log").read_text()
        try:
            return bool(urllib.request.urlopen(f"{url}/api", timeout=30).status == 200)
        except (OSError, urllib.error.URLError):
            return False

    try:
        wait_until(answers, 180, "JupyterLab answers")
        yield url
    finally:
        process.terminate()  # also ends its kernels
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run_all_cells(page: Any, address: str) -> None:
    """Open a notebook in a browser, and run all its cells, by the menu."""
    page.set_default_timeout(180_000)
    page.goto(address)
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
