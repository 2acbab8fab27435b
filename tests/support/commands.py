"""Commands written into the directory of a run that is not live, as if they had been sent while it was."""

from __future__ import annotations

from dataclasses import asdict

from tsnn.files import append_line
from tsnn.runs import Run
from tsnn.runs.control import Command


def leave_command(run: Run, action: str, **settings: float | str) -> None:
    """Append a command that the run has not read before it ended."""
    append_line(run.path / "control.jsonl", asdict(Command(action, dict(settings))))
