"""The wheel of tsnn: built from the source distribution, installed outside the checkout, used there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.dashboard import ROOT

#: Variables that would make a process use the checkout, or the user's runs.
_FOREIGN = ("PYTHONPATH", "TSNN_RUNS", "TSNN_DATA", "TSNN_PASSWORD", "DISPLAY", "WAYLAND_DISPLAY", "BROWSER")


def build(folder: Path) -> tuple[Path, Path]:
    """Build the source distribution of the checkout, and from it the wheel; returns the two files."""
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT), cwd=folder)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def install_beside(wheel: Path, folder: Path) -> dict[str, str]:
    """Install a wheel into a folder, without its dependencies.

    Returns the environment in which this Python uses it, with its own packages as dependencies: where tsnn is
    installed as well, this folder comes first.
    """
    options = ["--quiet", "--no-deps", "--no-compile", "--no-index", "--disable-pip-version-check"]
    _run(sys.executable, "-m", "pip", "install", *options, "--target", str(folder), str(wheel), cwd=folder.parent)
    return clean_environment() | {"PYTHONPATH": str(folder)}


def clean_environment() -> dict[str, str]:
    """Return this process's environment without the variables that lead to the checkout or to the user's runs."""
    return {name: value for name, value in os.environ.items() if name not in _FOREIGN}


def _run(*command: str, cwd: Path) -> None:
    result = subprocess.run(command, cwd=cwd, env=clean_environment(), capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
