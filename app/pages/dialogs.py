"""Questions that are asked before something is changed for good."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

from pages.theme import html
from tsnn.errors import TsnnError
from tsnn.jobs.queue import resume
from tsnn.runs import Run
from tsnn.runs.catalog import delete
from tsnn.runs.notes import MAX_TAG, MAX_TITLE, annotate, notes

_NAMED = 5
_OnRuns = Callable[[list[Run]], None]


class _Dialog:
    """A dialog with a text, a button that does it, and one that does not.

    Parameters
    ----------
    title, verb : str
        Words on top, and on the button.
    act : callable
        Does it to runs; what it raises is told.
    done : callable
        Called with the runs afterwards.
    """

    def __init__(self, title: str, verb: str, act: _OnRuns, done: _OnRuns, *parts: Any, **button: Any):
        self._act, self._done = act, done
        self._runs: list[Run] = []
        self._words = pn.pane.HTML("", margin=(0, 8), sizing_mode="stretch_width")
        self._error = pmui.Alert(severity="error", visible=False, margin=8, sizing_mode="stretch_width")
        do = pmui.Button(label=verb, margin=8, **button)
        leave = pmui.Button(label="Cancel", variant="text", margin=8)
        self.layout = pmui.Dialog(
            self._words, *parts, self._error, pn.Row(pn.HSpacer(), leave, do, margin=0, sizing_mode="stretch_width"),
            title=title, close_on_click=True, width_option="sm",
        )  # fmt: skip
        do.on_click(self._do)
        leave.on_click(lambda _: self.layout.param.update(open=False))

    def show(self, runs: list[Run], words: str) -> None:
        """Open with these words."""
        self._runs = runs
        self._words.object = html(words, "font-size:15px")
        self._error.visible = False
        self.layout.open = True

    def _do(self, _event: Any) -> None:
        try:
            self._act(self._runs)
        except (TsnnError, OSError) as error:
            self._error.param.update(object=escape(str(error)), visible=True)
        else:
            self.layout.open = False
        self._done(self._runs)


class DeleteDialog:
    """Asks before runs are deleted."""

    def __init__(self, done: _OnRuns):
        self._dialog = _Dialog("Delete permanently?", "Delete", _delete_all, done, color="error")
        self.layout = self._dialog.layout

    def ask(self, runs: list[Run]) -> None:
        """Ask whether these runs may go."""
        names = "".join(f"<li>{escape(notes(run)[0] or run.id)}</li>" for run in runs[:_NAMED])
        more = f"<li>… and {len(runs) - _NAMED:,} more</li>" if len(runs) > _NAMED else ""
        size = sum(f.stat().st_size for run in runs[:100] for f in run.path.rglob("*") if f.is_file())
        what = "This run" if len(runs) == 1 else f"These {len(runs):,} runs"
        held = f"{size / 2**20:,.1f} MiB" + (" and more" if len(runs) > 100 else "")
        words = f"{what} with curves, snapshots and weights ({held}) will be deleted permanently:<ul>{names}{more}</ul>"
        self._dialog.show(runs, words)


def _delete_all(runs: list[Run]) -> None:
    refused = []
    for run in runs:
        try:
            delete(run)
        except TsnnError as error:
            refused.append(str(error))
    if refused:
        raise TsnnError(" ".join(refused[:_NAMED]))


class ResumeDialog:
    """Asks how many epochs a run is to have when it goes on."""

    def __init__(self, done: _OnRuns):
        self.epochs = pmui.IntInput(label="Total epochs", start=1, sizing_mode="stretch_width", margin=8)
        self._dialog = _Dialog(
            "Continue training", "Continue", lambda runs: resume(runs[0], self.epochs.value), done, self.epochs
        )
        self.layout = self._dialog.layout

    def ask(self, run: Run) -> None:
        """Ask how far this run is to go."""
        planned = run.config().training.epochs
        finished = run.status()["state"] == "finished"
        self.epochs.value = 2 * planned if finished else planned
        self._dialog.show([run], f"{escape(notes(run)[0] or run.id)} continues from its last checkpoint, with the same "
                                 "settings, as if it had never been interrupted.")  # fmt: skip


class RenameDialog:
    """Asks for a title and tags."""

    def __init__(self, done: _OnRuns):
        options: dict[str, Any] = {"sizing_mode": "stretch_width", "margin": 8}
        self.title = pmui.TextInput(label="Title", max_length=MAX_TITLE, **options)
        self.tags = pmui.TextInput(label="Tags, separated by commas", max_length=10 * MAX_TAG, **options)
        self._dialog = _Dialog("Rename and tag", "Save", self._annotate, done, self.title, self.tags)
        self.layout = self._dialog.layout

    def ask(self, run: Run) -> None:
        """Ask what this run is to be called."""
        title, tags = notes(run)
        self.title.value, self.tags.value = title, ", ".join(tags)
        self._dialog.show([run], f"The directory keeps its name: {escape(run.id)}")

    def _annotate(self, runs: list[Run]) -> None:
        annotate(runs[0], title=self.title.value, tags=self.tags.value.split(","))
