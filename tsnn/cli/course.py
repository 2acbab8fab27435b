"""Command ``tsnn course``: a copy of the notebooks in the learner's folder, opened in JupyterLab."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path

from tsnn.cli.places import folder
from tsnn.extras import require
from tsnn.files import write_atomic

FOLDER = "tsnn-course"
_COPIED = ("*.ipynb", "solutions/*.ipynb", "INSTRUCTOR.md")


def course(options: argparse.Namespace) -> int:
    """Copy the notebooks that are not there yet, and open JupyterLab."""
    target = Path(options.folder).expanduser().resolve()
    if not options.no_open:
        require("jupyterlab", "tsnn course without --no-open")
    _copy(target)
    if options.no_open:
        print(f"Open them with: jupyter lab {target}")
        return 0
    from jupyterlab.labapp import LabApp

    os.chdir(target)
    os.environ.setdefault("TSNN_RUNS", str(target / "runs"))  # one folder for all notebooks, and for the dashboard
    chosen = [*(["--no-browser"] if options.no_browser else []), *shlex.split(options.lab_options)]
    LabApp.launch_instance([*chosen, str(target)])
    return 0


def _copy(target: Path) -> None:
    """Copy the notebooks; files that are there stay as they are."""
    source = folder("notebooks")
    kept, n_copied = [], 0
    for path in [path for pattern in _COPIED for path in sorted(source.glob(pattern))]:
        name, content = path.relative_to(source), path.read_bytes()
        copy = target / name
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(copy, content)
            n_copied += 1
        elif copy.read_bytes() != content:
            kept.append(str(name))
    print(f"Course: {target} ({n_copied} {'file' if n_copied == 1 else 'files'} copied)")
    if kept:
        print(
            f"Kept, since they differ from this version's: {', '.join(kept)}. To start one again, delete or rename it."
        )
