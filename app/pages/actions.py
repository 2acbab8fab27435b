"""Menu of the open run: train longer, continue from an epoch, copy settings, notes, download."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import panel as pn
import panel_material_ui as pmui

from pages.dialogs import DownloadDialog, NotesDialog, ResumeDialog
from pages.fork import ForkDialog
from pages.readonly import is_readonly
from pages.reports import ReportButton
from pages.theme import NATURAL
from tsnn.config import Config
from tsnn.errors import TsnnError
from tsnn.records import OVER, RunState
from tsnn.runs import Run
from tsnn.runs.catalog import catalog
from tsnn.runs.export import final_weights, to_csv, to_toml
from tsnn.runs.store import RunStore
from tsnn.views.tabs.run import RunView

#: Downloads by label: suffix of the file, and what makes its content.
DOWNLOADS: dict[str, tuple[str, Callable[[Run], bytes]]] = {
    "Settings (TOML)": ("toml", to_toml),
    "Epochs (CSV)": ("csv", to_csv),
    "Weights (npz)": ("npz", final_weights),
}


class Action(NamedTuple):
    """Entry of the menu: its icon, the function that it calls with the run, and the states that offer it."""

    icon: str
    act: Callable[[Run], None]
    states: Collection[str] = tuple(RunState)


class RunActions:
    """Menu of the open run, and the dialogs of its entries, each filled when it is first opened.

    Parameters
    ----------
    copy_settings : callable
        Called with the settings of a run for the form, and the name of the run.
    warn : callable
        Called with the text of an error.
    open_run : callable
        Called with the id of a new run.

    Attributes
    ----------
    actions : dict
        Entries by label; a new entry is one line.
    view : RunView or None
        The open run, with its timeline.
    menu, dialogs : Panel objects
        Belong into the head and onto the page.
    """

    def __init__(
        self, copy_settings: Callable[[Config, str], None], warn: Callable[[str], None],
        open_run: Callable[[str], None],
    ):  # fmt: skip
        self._copy_settings, self._warn = copy_settings, warn
        self.view: RunView | None = None
        self._open_run = open_run
        self.actions: dict[str, Action] = {
            "Train longer …": Action("restart_alt", lambda run: self.resume.open(run), OVER),
            "Continue from here …": Action("call_split", self._open_fork),
            "Copy settings": Action("content_copy", self._copy),
            "Notes …": Action("edit_note", lambda run: self.notes.open(run)),
            "Download or report …": Action("download", lambda run: self.download.open(run)),
        }
        if is_readonly():
            self.actions = {"Download or report …": self.actions["Download or report …"]}
        self.menu = pmui.MenuButton(
            label="More", icon="more_horiz", variant="outlined", size="small", margin=(0, 4), sx=NATURAL,
            on_click=lambda item: self.choose(item["label"]),
        )  # fmt: skip
        names = ["download"] if is_readonly() else ["resume", "fork", "notes", "download"]
        self._places = {name: pmui.Dialog() for name in names}
        self.dialogs = pn.Row(*self._places.values(), width=0, height=0, margin=0)

    @functools.cached_property
    def resume(self) -> ResumeDialog:
        """Dialog to train longer."""
        return ResumeDialog(self._changed, self._places["resume"])

    @functools.cached_property
    def notes(self) -> NotesDialog:
        """Dialog of title, tags and text."""
        return NotesDialog(self._changed, self._places["notes"])

    @functools.cached_property
    def fork(self) -> ForkDialog:
        """Dialog to continue from an epoch."""
        return ForkDialog(self._open_run, self._places["fork"])

    @functools.cached_property
    def download(self) -> DownloadDialog:
        """Dialog of the run's files."""
        report = ReportButton(self._open_runs, self._warn, variant="outlined", margin=8, sizing_mode="stretch_width")
        return DownloadDialog(DOWNLOADS, report.button, place=self._places["download"])

    def open(self, view: RunView | None) -> None:
        """Offer the actions for another run."""
        self.view = view
        self.tick()

    def tick(self) -> None:
        """Offer the actions that the state of the run allows."""
        if self.view is None:
            return
        state = self.view.follower.state
        offered: list[dict[str, Any]] = [
            {"label": label, "icon": action.icon} for label, action in self.actions.items() if state in action.states
        ]
        if offered != self.menu.items:
            self.menu.items = offered

    def choose(self, label: str) -> None:
        """Call the action with this label."""
        if self.view is not None:
            try:
                self.actions[label].act(self.view.follower.run)
            except (TsnnError, OSError) as error:
                self._warn(str(error))

    def _open_runs(self) -> list[Run]:
        return [] if self.view is None else [self.view.follower.run]

    def _copy(self, run: Run) -> None:
        self._copy_settings(run.config(), run.id)

    def _open_fork(self, run: Run) -> None:
        """Open the dialog at the epoch of the timeline."""
        self.fork.open(run, 0 if self.view is None else self.view.replay.epoch or 0)

    def _changed(self, runs: list[Run]) -> None:
        for run in runs:
            catalog(RunStore(run.path.parent)).refresh_run(run.id)
