"""Dialogs about runs: delete, train longer, notes, download."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

from pages.theme import NATURAL, html, plain
from tsnn.errors import TsnnError
from tsnn.jobs.queue import resume
from tsnn.runs import Run
from tsnn.runs.catalog import delete
from tsnn.runs.notes import MAX_TAG, MAX_TEXT, MAX_TITLE, annotate, notes

_MAX_NAMES = 5
_RunsAction = Callable[[list[Run]], None]


def fill(place: Any, *parts: Any, **options: Any) -> Any:
    """Put parts and options into a dialog that is on the page already, or into a new one if it is None; return it.

    A dialog that comes onto a page when it is opened stays invisible there.
    """
    place = pmui.Dialog() if place is None else place
    place.objects = list(parts)
    place.param.update(close_on_click=True, **options)
    return place


class _Dialog:
    """A dialog with a text, a button that acts, and Cancel.

    Parameters
    ----------
    title, verb : str
        Title, and label of the button.
    act : callable
        Acts on runs; its errors are displayed.
    done : callable
        Called with the runs afterwards.
    *parts : Panel objects
        Fields between text and buttons.
    place : Panel dialog, optional
        Where it is put.
    **button
        Options of the button.
    """

    def __init__(
        self, title: str, verb: str, act: _RunsAction, done: _RunsAction, *parts: Any, place: Any = None, **button: Any
    ):  # fmt: skip
        self._act, self._done = act, done
        self._runs: list[Run] = []
        self._text = pn.pane.HTML("", margin=(0, 8), sizing_mode="stretch_width")
        self._error = pmui.Alert(severity="error", visible=False, margin=8, sizing_mode="stretch_width")
        confirm = pmui.Button(label=verb, margin=8, **button)
        cancel = pmui.Button(label="Cancel", variant="text", margin=8)
        buttons = pn.Row(pn.HSpacer(), cancel, confirm, margin=0, sizing_mode="stretch_width")
        self.layout = fill(place, self._text, *parts, self._error, buttons, title=title, width_option="sm")
        confirm.on_click(self._confirm)
        cancel.on_click(self._cancel)

    def open(self, runs: list[Run], text: str) -> None:
        """Open the dialog for runs, with a text in HTML."""
        self._runs = runs
        self._text.object = html(text, "font-size:15px")
        self._error.visible = False
        self.layout.open = True

    def _cancel(self, _event: Any) -> None:
        self.layout.open = False

    def _confirm(self, _event: Any) -> None:
        try:
            self._act(self._runs)
        except (TsnnError, OSError) as error:
            self._error.param.update(object=plain(str(error)), visible=True)
        else:
            self.layout.open = False
        self._done(self._runs)


class DeleteDialog:
    """Confirmation before runs are deleted."""

    def __init__(self, done: _RunsAction):
        self._dialog = _Dialog("Delete permanently?", "Delete", _delete_all, done, color="error")
        self.layout = self._dialog.layout

    def open(self, runs: list[Run]) -> None:
        """Open the dialog for these runs."""
        names = "".join(f"<li>{escape(notes(run).title or run.id)}</li>" for run in runs[:_MAX_NAMES])
        more = f"<li>… and {len(runs) - _MAX_NAMES:,} more</li>" if len(runs) > _MAX_NAMES else ""
        size = sum(f.stat().st_size for run in runs[:100] for f in run.path.rglob("*") if f.is_file())
        subject = "This run" if len(runs) == 1 else f"These {len(runs):,} runs"
        contents = f"{size / 2**20:,.1f} MiB" + (" and more" if len(runs) > 100 else "")
        text = f"{subject} with curves, snapshots and weights ({contents}) will be deleted permanently:"
        self._dialog.open(runs, f"{text}<ul>{names}{more}</ul>")


def _delete_all(runs: list[Run]) -> None:
    refused = []
    for run in runs:
        try:
            delete(run)
        except TsnnError as error:
            refused.append(str(error))
    if refused:
        raise TsnnError(" ".join(refused[:_MAX_NAMES]))


class ResumeDialog:
    """Total number of epochs of a run that continues."""

    def __init__(self, done: _RunsAction, place: Any = None):
        self.epochs = pmui.IntInput(label="Total epochs", start=1, sizing_mode="stretch_width", margin=8)
        self._dialog = _Dialog(
            "Train longer", "Continue", lambda runs: resume(runs[0], self.epochs.value), done, self.epochs,
            place=place,
        )  # fmt: skip
        self.layout = self._dialog.layout

    def open(self, run: Run) -> None:
        """Open the dialog for this run."""
        planned = run.config().training.epochs
        finished = run.status()["state"] == "finished"
        self.epochs.value = 2 * planned if finished else planned
        self._dialog.open([run], f"{escape(notes(run).title or run.id)} continues from its last checkpoint, with the "
                                 "same settings, as if it had never been interrupted.")  # fmt: skip


class NotesDialog:
    """Title, tags and text of a run."""

    def __init__(self, done: _RunsAction, place: Any = None):
        options: dict[str, Any] = {"sizing_mode": "stretch_width", "margin": 8}
        self.title = pmui.TextInput(label="Title", max_length=MAX_TITLE, **options)
        self.tags = pmui.TextInput(label="Tags, separated by commas", max_length=10 * MAX_TAG, **options)
        self.text = pmui.TextAreaInput(label="Notes", max_length=MAX_TEXT, rows=5, **options)
        self._dialog = _Dialog("Notes", "Save", self._annotate, done, self.title, self.tags, self.text, place=place)
        self.layout = self._dialog.layout

    def open(self, run: Run) -> None:
        """Open the dialog for this run."""
        present = notes(run)
        self.title.value, self.tags.value, self.text.value = present.title, ", ".join(present.tags), present.text
        self._dialog.open([run], f"The directory keeps its name: {escape(run.id)}")

    def _annotate(self, runs: list[Run]) -> None:
        annotate(runs[0], title=self.title.value, tags=self.tags.value.split(","), text=self.text.value)


class DownloadDialog:
    """Files of a run for the user's machine; a file is made when its button is pressed.

    Parameters
    ----------
    files : mapping
        By label of the button: suffix of the file, and a function that returns its content.
    *further
        Further buttons.
    place : Panel dialog, optional
        Where it is put.
    """

    def __init__(self, files: Mapping[str, tuple[str, Callable[[Run], bytes]]], *further: Any, place: Any = None):
        self._run: Run | None = None
        self._suffixes = {label: suffix for label, (suffix, _) in files.items()}
        self._error = pmui.Alert(severity="error", visible=False, margin=8, sizing_mode="stretch_width")
        self.buttons = {
            label: pmui.FileDownload(
                label=label, callback=functools.partial(self._content, make), filename="run", variant="outlined",
                margin=8, sizing_mode="stretch_width", sx=NATURAL,
            )
            for label, (_, make) in files.items()
        }  # fmt: skip
        parts = [*self.buttons.values(), *further, self._error]
        self.layout = fill(place, *parts, title="Download", width_option="xs", show_close_button=True)

    def open(self, run: Run) -> None:
        """Open the dialog for this run."""
        self._run = run
        self._error.visible = False
        for label, button in self.buttons.items():
            button.filename = f"{run.id}.{self._suffixes[label]}"
        self.layout.open = True

    def _content(self, make: Callable[[Run], bytes]) -> io.BytesIO:
        assert self._run is not None
        self._error.visible = False
        try:
            return io.BytesIO(make(self._run))
        except (TsnnError, OSError) as error:
            self._error.param.update(object=plain(str(error)), visible=True)
            return io.BytesIO(b"")
