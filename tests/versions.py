"""Oldest and newest versions of dependencies, in fresh environments: ``python -m tests.versions [PYTHON ...]``.

For every Python that uv can find or install, and for the oldest versions that ``pyproject.toml`` allows and the newest:
install with the extras, train on the command line, with workers and with an estimator, read a table, predict, sweep,
export, and build the dashboard's page with every tab. Needs the package uv.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
RESOLUTIONS = {"oldest": "lowest-direct", "newest": "highest"}
EXTRAS = ("app", "datashader", "excel", "mpi", "onnx", "sweep")

PROGRAM = """
import sys, numpy as np, tsnn
from tsnn.cli import main

rng = np.random.default_rng(0)
x = rng.normal(size=(300, 12)); y = (x[:, 0] > 0).astype(int)
score = tsnn.SparseMLPClassifier(hidden=(20,), epochs=30).fit(x, y).score(x, y)
assert score > 0.8, score
with open("table.csv", "w") as file:
    file.write("a,b,kind,label\\n")
    for row, label in zip(x, y):
        file.write(f"{row[0]:.3f},{row[1]:.3f},{'xy'[label]},{'no' if label else 'yes'}\\n")
assert main(["train", "table.csv", "--set", "epochs=2", "--set", "hidden=8"]) == 0
assert main(["train", "madelon", "--set", "epochs=2"]) == 0
assert main(["runs"]) == 0
(run,) = (run for run in tsnn.RunStore().list() if "table" in run.id)
assert main(["predict", run.id, "table.csv", "-o", "answers.csv"]) == 0
assert main(["doctor", "--quick"]) == 0
assert main(["train", "digits", "--set", "epochs=2", "--set", "workers=1"]) == 0
assert main(["sweep", "digits", "--optuna", "2", "--grid", "zeta=0.1,0.3", "--set", "epochs=1"]) == 0
assert main(["export", run.id, "--format", "onnx", "-o", "network.onnx"]) == 0
assert main(["report", run.id, "-o", "report.html"]) == 0

from pages.address import TABS
from pages.dashboard import Dashboard
page = Dashboard(tsnn.RunStore())
page.page()
page.run_id = run.id
for page.tab in TABS:
    page.tick()
"""


def attempt(python: str, resolution: str, folder: Path) -> str:
    """Return the result of one attempt as text: the versions, or why it failed."""
    environment = os.environ | {"VIRTUAL_ENV": str(folder / "venv"), "NUMBA_CACHE_DIR": str(folder / "cache")}
    environment["PYTHONPATH"] = os.pathsep.join((str(ROOT), str(ROOT / "app")))
    made = _run(["uv", "venv", "--quiet", "--python", python, str(folder / "venv")], environment, folder)
    if made:
        return f"no Python {python}: {made}"
    interpreter = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    install = ["uv", "pip", "install", "--quiet", "--resolution", RESOLUTIONS[resolution]]
    for command in (
        [*install, "-r", str(ROOT / "pyproject.toml"), *(f"--extra={extra}" for extra in EXTRAS)],
        [str(interpreter), "-c", PROGRAM],
    ):
        if failed := _run(command, environment, folder):
            return f"FAILED: {failed}"
    listed = subprocess.run(
        ["uv", "pip", "list", "--format", "freeze"], env=environment, capture_output=True, text=True, check=False
    ).stdout
    kept = ("numpy", "scipy", "numba", "pandas", "pyarrow", "scikit-learn", "panel", "panel-material-ui", "bokeh")
    return ", ".join(line for line in listed.split() if line.partition("==")[0] in kept)


def _run(command: list[str], environment: dict[str, str], folder: Path) -> str:
    """Run a command; returns the end of its errors, empty if it succeeds."""
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return " / ".join(lines[-3:]) if done.returncode else ""


def main() -> int:
    """Try every combination; the exit code is 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.versions")
    parser.add_argument("python", nargs="*", default=PYTHONS)
    failed = False
    for python in parser.parse_args().python:
        for resolution in RESOLUTIONS:
            with tempfile.TemporaryDirectory() as folder:
                result = attempt(python, resolution, Path(folder))
            failed |= result.startswith("FAILED")
            print(f"Python {python}, {resolution}: {result}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
