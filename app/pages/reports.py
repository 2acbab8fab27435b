"""Button that downloads a report of runs. A process of its own writes it, since that takes seconds of computation."""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import panel_material_ui as pmui

from tsnn.errors import TsnnError
from tsnn.runs import Run


class ReportButton:
    """Button that writes and downloads a report.

    Parameters
    ----------
    runs : callable
        Returns the runs that it is about.
    warn : callable
        Called with the text of an error.
    **options
        Options of the button.

    Attributes
    ----------
    button : Panel object
        The button; it is disabled while the report is written.
    """

    def __init__(self, runs: Callable[[], Sequence[Run]], warn: Callable[[str], None], **options: Any):
        self._runs, self._warn = runs, warn
        self.button = pmui.FileDownload(
            label="Report", icon="description", callback=self._content, filename="report.html",
            description="One HTML file: results, curves, topology over the epochs, how to repeat it.", **options,
        )  # fmt: skip

    async def _content(self) -> io.BytesIO:
        self.button.param.update(disabled=True, label="Writing the report …")
        try:
            content = await write(self._runs())
        except (TsnnError, OSError) as error:
            self._warn(str(error))
            raise  # nothing is downloaded
        finally:
            self.button.param.update(disabled=False, label="Report")
        return io.BytesIO(content)


async def write(runs: Sequence[Run]) -> bytes:
    """Return the report of runs of one folder, written by another process.

    Raises
    ------
    TsnnError
        If it cannot be written.
    """
    if not runs:
        raise TsnnError("Choose the runs that the report is about.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        command = [
            "-m",
            "tsnn",
            "report",
            *(run.id for run in runs),
            "--runs",
            str(runs[0].path.parent),
            "-o",
            str(path),
        ]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        _, errors = await process.communicate()
        if process.returncode:
            lines = errors.decode(errors="replace").strip().splitlines()
            raise TsnnError(f"The report was not written. {lines[-1] if lines else ''}")
        return path.read_bytes()
