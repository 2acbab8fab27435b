"""Measurement of a run's topology in a process of its own, for pages: one at a time in this process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tsnn.errors import RunError
from tsnn.files import os_error_message
from tsnn.jobs.launch import clean_environment
from tsnn.runs import Run
from tsnn.runs.measures import FILE


@dataclass(frozen=True, eq=False)
class Measurement:
    """A process that measures, and its messages."""

    run: Run
    options: tuple[str, ...]
    process: subprocess.Popen[bytes]
    output: IO[bytes]

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self.process.poll() is None

    @property
    def problem(self) -> str:
        """Why it failed; empty while it runs, and if it did not fail."""
        if not self.process.poll():
            return ""
        self.output.seek(0)
        lines = self.output.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"The measurement ended with exit code {self.process.returncode}."


_started: list[Measurement] = []


def start_measurement(run: Run, *options: str, root: Path | None = None) -> Measurement:
    """Start ``tsnn measure`` for a run.

    Parameters
    ----------
    run : Run
        The run.
    *options : str
        Those of the command.
    root : Path, optional
        Folder from which runs are named in them; default is that with the run.

    Raises
    ------
    RunError
        If another measurement is not done yet, or the run directory cannot be written.
    """
    if _started and _started[-1].running:
        raise RunError("Another topology is being measured. Try again when that is done.")
    try:
        with open(run.path / FILE, "ab"):  # fails here rather than in the process: a page may only watch
            pass
    except OSError as error:
        raise RunError(f"Measures cannot be stored. {os_error_message(error)}") from error
    output = tempfile.TemporaryFile()  # noqa: SIM115 - it is read when the process has ended
    root = (root or run.path.parent).absolute()
    name = run.path.absolute().relative_to(root).as_posix()
    command = [sys.executable, "-P", "-m", "tsnn", "measure", name, "--runs", str(root)]
    process = subprocess.Popen(
        [*command, *options], env=clean_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=output,
    )  # fmt: skip
    _started[:] = [Measurement(run, options, process, output)]
    return _started[-1]


def measurement_of(run: Run) -> Measurement | None:
    """Return the last measurement that was started in this process, if it is of a run."""
    return next((found for found in _started if found.run.path == run.path), None)
