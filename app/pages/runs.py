"""Tab Runs: filter, open, compare, clone, continue, annotate, delete and export runs."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

from pages import run_table
from pages.dialogs import DeleteDialog, NotesDialog, ResumeDialog
from pages.readonly import is_readonly
from pages.run_table import RunFilter
from pages.theme import CARD, html, plain
from tsnn.config import Config
from tsnn.errors import TsnnError
from tsnn.runs import ENDED, Run, RunStore
from tsnn.runs.catalog import catalog
from tsnn.runs.export import FORMATS, csv_bytes
from tsnn.runs.summaries import RunSummary
from tsnn.runs.sweeps import sweeps

#: Look of a switch among buttons.
_TOGGLE = {
    "textTransform": "none",
    "color": "primary.main",
    "borderColor": "primary.main",
    "padding": "4px 9px",
    "gap": "6px",
    "& .MuiIcon-root": {"fontSize": "18px"},
}
_REFRESH_SECONDS = 2.0
_READING_SECONDS = 0.25
_MAX_SWEEPS = 10  # that are named
_TABLE = """
:host .tabulator {font-size: 12.5px; font-family: var(--bokeh-base-font)}
.tabulator-row {cursor: pointer}
:host .tabulator .tabulator-row .tabulator-cell {padding: 4px 6px}
:host .tabulator .tabulator-header .tabulator-col .tabulator-col-content {padding: 4px 6px}
.tabulator-col-title {font-weight: 700}
:host .tabulator .tabulator-footer:not(:has([data-page="2"])) {display: none}
:host .tabulator .tabulator-row.tabulator-selected, :host .tabulator .tabulator-row.tabulator-selected:hover {
    background: color-mix(in srgb, var(--panel-primary-color) 18%, transparent) !important; color: inherit !important}
"""
_EMPTY = "<b>No runs yet.</b> Press Start in the form (☰ opens it); every run is kept and listed here."


class RunsTab:
    """Table of all runs, and actions on the selected ones.

    Parameters
    ----------
    store : RunStore
        Where runs are kept.
    open_run : callable
        Called with the id of the clicked run.
    compare : callable
        Called with the ids of runs to compare.
    clone : callable
        Called with the settings for the form, and the name of their run.
    """

    def __init__(
        self,
        store: RunStore,
        open_run: Callable[[str], None],
        compare: Callable[[list[str]], None],
        clone: Callable[[Config, str], None],
    ):
        self._store, self._open, self._compare, self._copy = store, open_run, compare, clone
        self._catalog = catalog(store)
        self._refreshed = -float("inf")
        self._displayed: tuple[Any, ...] = ()
        self._rows: list[RunSummary] = []
        self._updating = False
        self.selected: list[str] = []
        self.filter = pmui.TextInput(
            label="Filter", placeholder="name, tag, acc>80, zeta=0.3, regrow=gradient …", size="small",
            margin=(4, 8), width=320,
            description="Words of names, tags, data set, method or state; conditions such as acc>80 (per cent), "
            "epochs>=10, loss<0.5, or on any setting: zeta=0.3, regrow=gradient, hidden=400-100-400.",
        )  # fmt: skip
        self.columns = pmui.CheckBoxGroup(
            options={title: name for name, title in run_table.COLUMNS.items() if name not in run_table.FIXED},
            value=[name for name in run_table.USUAL if name not in run_table.FIXED], inline=True, visible=False,
            margin=(0, 8), sizing_mode="stretch_width",
        )  # fmt: skip
        empty = run_table.frame([])
        self.table = pn.widgets.Tabulator(
            empty, show_index=False, disabled=True, selectable="checkbox", pagination="remote", page_size=15,
            sizing_mode="stretch_width", layout="fit_data_fill", titles=run_table.titles(), margin=0, theme="simple",
            formatters=run_table.keyed(run_table.formatters()), text_align=run_table.alignment(), row_height=34,
            hidden_columns=run_table.hidden(self.columns.value or (), empty), stylesheets=[_TABLE], visible=False,
        )  # fmt: skip
        self._count = pn.pane.HTML("", margin=(4, 8), styles={"flex": "1 1 240px"})
        self.problem = pmui.Alert(severity="error", visible=False, closeable=True, margin=(4, 8),
                                  sizing_mode="stretch_width")  # fmt: skip
        self._sweeps = pn.pane.HTML("", margin=(2, 8), visible=False, sizing_mode="stretch_width")
        self._notes, self._delete = NotesDialog(self._changed), DeleteDialog(self._changed)
        self._resume = ResumeDialog(self._changed)
        self._build_actions()
        dialogs = [] if is_readonly() else [self._notes.layout, self._delete.layout, self._resume.layout]
        self.layout = pn.Column(
            pn.FlexBox(self.filter, self._count, self.choose_columns, self._list_csv, align_items="center", margin=0,
                       sizing_mode="stretch_width"),
            self._sweeps, self.columns, self.actions, self.problem, self.table, *dialogs,
            sizing_mode="stretch_width", styles={**CARD, "padding": "8px"}, margin=0,
        )  # fmt: skip
        self.table.on_click(self._clicked)
        self.table.param.watch(self._selection_changed, "selection")
        self.filter.param.watch(lambda _: self.update(now=True), "value_input")
        self.columns.param.watch(lambda _: self._hide_columns(), "value")
        self.choose_columns.param.watch(lambda event: self.columns.param.update(visible=event.new), "value")

    def _build_actions(self) -> None:
        style: dict[str, Any] = {"size": "small", "variant": "outlined", "margin": (2, 4), "align": "center"}
        self.open = pmui.Button(label="Open", icon="open_in_new", **style)
        self.compare = pmui.Button(label="Compare", icon="stacked_line_chart", **style)
        self.clone = pmui.Button(label="Copy settings", icon="content_copy", **style)
        self.continue_button = pmui.Button(label="Continue", icon="restart_alt", **style)
        self.notes = pmui.Button(label="Notes", icon="edit_note", **style)
        self.delete = pmui.Button(label="Delete", icon="delete", color="error", **style)
        self.downloads = {
            name: pmui.FileDownload(label=name.upper(), callback=lambda name=name: self._export(name),
                                    filename=f"run.{name}", **style)
            for name in FORMATS
        }  # fmt: skip
        self._list_csv = pmui.FileDownload(
            label="List as CSV", callback=self._export_list, filename="runs.csv", **style
        )
        self.choose_columns = pmui.Toggle(label="Columns", icon="view_column", sx=_TOGGLE, **style)
        self._selected_text = pn.pane.HTML("", margin=(6, 8), align="center")
        changing = [] if is_readonly() else [self.clone, self.continue_button, self.notes, self.delete]
        self.actions = pn.FlexBox(
            self._selected_text, self.open, self.compare, *changing, *self.downloads.values(),
            align_items="center", margin=0, sizing_mode="stretch_width", visible=False,
        )  # fmt: skip
        self.open.on_click(lambda _: self._open(self.selected[0]))
        self.compare.on_click(lambda _: self._compare(list(self.selected)))
        self.clone.on_click(self._clone)
        self.continue_button.on_click(self._open_resume)
        self.notes.on_click(lambda _: self._notes.open(self._selected_runs()[0]))
        self.delete.on_click(lambda _: self._delete.open(self._selected_runs()))

    def update(self, *, now: bool = False) -> None:
        """Refresh from the folder of runs, at most every two seconds."""
        if not now and self._catalog.complete and time.monotonic() - self._refreshed < _REFRESH_SECONDS:
            return
        self._refreshed = time.monotonic()
        self._list_sweeps()
        version = self._catalog.refresh(seconds=_READING_SECONDS)
        query = self.filter.value_input or ""
        state = (version, self._catalog.complete, query)
        if state == self._displayed:
            return
        self._displayed = state
        lines = self._catalog.summaries()
        chosen = RunFilter(query)
        rows = [line for line in lines if chosen.matches(line)]
        text = html(escape(chosen.problem) or self._count_text(len(lines), len(rows)), "font-size:14px")
        if text != self._count.object:
            self._count.object = text
        if rows != self._rows or self.table.visible != bool(rows):
            self._rows = rows
            self._show_rows()
        self._show_actions()

    def _list_sweeps(self) -> None:
        """Show a link to each sweep; its runs are not in the list."""
        found = sweeps(self._store)
        links = [f"<a href='?tab=sweep&sweep={sweep.id}' style='color:inherit'>{escape(sweep.name or sweep.id)}</a> "
                 f"({len(sweep.plan.trials):,} trials)" for sweep in found[:_MAX_SWEEPS]]  # fmt: skip
        more = f", and {len(found) - _MAX_SWEEPS} more" if len(found) > _MAX_SWEEPS else ""
        text = html(f"<b>Sweeps</b>: {', '.join(links)}{more}", "font-size:13px") if links else ""
        if text != self._sweeps.object:
            self._sweeps.param.update(object=text, visible=bool(text))

    def _count_text(self, known: int, matching: int) -> str:
        if not self._catalog.complete:
            return f"Reading … {known:,} of {self._catalog.total:,} runs so far."
        if not known:
            return _EMPTY
        if matching < known:
            return (
                f"{matching:,} of {known:,} runs match." if matching else "No run matches. Clear the filter to see all."
            )
        return f"{known:,} run{'s' if known > 1 else ''}. Click one to open it, tick some to compare them."

    def _show_rows(self) -> None:
        places = {row.run: i for i, row in enumerate(self._rows)}
        self.selected = [run for run in self.selected if run in places]
        self._updating = True
        try:
            self.table.param.update(value=run_table.frame(self._rows), visible=bool(self._rows))
            self._hide_columns()
            self.table.selection = [places[run] for run in self.selected]
        finally:
            self._updating = False

    def _hide_columns(self) -> None:
        hidden = run_table.hidden(self.columns.value or (), self.table.value)
        if hidden != self.table.hidden_columns:
            self.table.hidden_columns = hidden

    def _clicked(self, event: Any) -> None:
        if event.column in self.table.value:
            self._open(self._rows[event.row].run)

    def _selection_changed(self, event: Any) -> None:
        if not self._updating:
            self.selected = [self._rows[i].run for i in event.new if i < len(self._rows)]
            self._show_actions()

    def _show_actions(self) -> None:
        n = len(self.selected)
        self.actions.visible = n > 0
        self._selected_text.object = html(f"<b>{n:,} selected</b>", "font-size:13px;white-space:nowrap")
        for part in (self.open, self.clone, self.notes, *self.downloads.values()):
            part.visible = n == 1
        self.continue_button.visible = n == 1 and any(
            r.run in self.selected and r.state in (*ENDED, "lost") for r in self._rows
        )
        for name, download in self.downloads.items():
            download.filename = f"{self.selected[0]}.{name}" if n else f"run.{name}"

    def _selected_runs(self) -> list[Run]:
        return [Run(self._store.root / run) for run in self.selected]

    def _changed(self, runs: list[Run]) -> None:
        for run in runs:
            self._catalog.refresh_run(run.id)
        self.update(now=True)

    @contextlib.contextmanager
    def _showing_errors(self) -> Iterator[None]:
        self.problem.visible = False
        try:
            yield
        except (TsnnError, OSError) as error:
            self.problem.param.update(object=plain(str(error)), visible=True)

    def _clone(self, _event: Any) -> None:
        with self._showing_errors():
            run = self._store.open(self.selected[0])
            self._copy(run.config(), run.id)

    def _open_resume(self, _event: Any) -> None:
        with self._showing_errors():
            self._resume.open(self._selected_runs()[0])

    def _export(self, name: str) -> io.BytesIO:
        content = b""
        with self._showing_errors():
            content = FORMATS[name](self._store.open(self.selected[0]))
        return io.BytesIO(content)

    def _export_list(self) -> io.BytesIO:
        names = ["run", "title", *(name for name in run_table.COLUMNS if name != "name")]
        columns = {name.rpartition(".")[2]: [run_table.text(row, name) for row in self._rows] for name in names}
        return io.BytesIO(csv_bytes(columns))
