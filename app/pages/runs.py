"""The list of all runs: find, open, compare, clone, rename, tag, delete, take away."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from html import escape
from typing import Any

import pandas as pd
import panel as pn
import panel_material_ui as pmui
from bokeh.models.widgets.tables import NumberFormatter

from pages.dialogs import DeleteDialog, RenameDialog, ResumeDialog
from pages.theme import CARD, html
from tsnn.config import Config
from tsnn.errors import TsnnError
from tsnn.runs import ENDED, Run, RunStore
from tsnn.runs.catalog import RunSummary, catalog
from tsnn.runs.export import FORMATS, csv_bytes
from tsnn.views.plots import palette

_SECONDS = 2.0
_READING_SECONDS = 0.25
_TABLE = """
:host .tabulator {font-size: 12.5px; font-family: var(--bokeh-base-font)}
.tabulator-row {cursor: pointer}
:host .tabulator .tabulator-row .tabulator-cell {padding: 4px 6px}
:host .tabulator .tabulator-header .tabulator-col .tabulator-col-content {padding: 4px 6px}
.tabulator-col-title {font-weight: 700}
:host .tabulator .tabulator-row.tabulator-selected, :host .tabulator .tabulator-row.tabulator-selected:hover {
    background: color-mix(in srgb, var(--panel-primary-color) 18%, transparent) !important; color: inherit !important}
"""
_COLUMNS = {
    "state": "State",
    "name": "Run",
    "data": "Data set",
    "method": "Method",
    "epochs": "Epochs",
    "test_accuracy": "Accuracy",
    "epsilon": "ε",
    "zeta": "ζ",
    "seed": "Seed",
    "tags": "Tags",
    "connections": "Connections",
    "test_loss": "Loss",
    "started": "Started",
}
_NUMBERS = ("epsilon", "zeta", "seed", "epochs", "test_accuracy", "test_loss", "connections")
_EMPTY = "<b>No runs yet.</b> Press Start in the form on the left; every run is kept and listed here."


class RunsList:
    """A table of all runs, and what can be done with those that are selected.

    Parameters
    ----------
    store : RunStore
        Where runs are kept.
    open_run : callable
        Called with the id of the run that is clicked.
    compare : callable
        Called with the ids of runs to compare.
    clone : callable
        Called with settings that the form is to take up, and the name of their run.
    """

    def __init__(
        self,
        store: RunStore,
        open_run: Callable[[str], None],
        compare: Callable[[list[str]], None],
        clone: Callable[[Config, str], None],
    ):
        self._store, self._open, self._compare, self._take_up = store, open_run, compare, clone
        self._catalog = catalog(store)
        self._looked = -float("inf")
        self._seen: tuple[Any, ...] = ()
        self._rows: list[RunSummary] = []
        self._showing = False
        self.selected: list[str] = []
        self.filter = pmui.TextInput(
            label="Filter", placeholder="name, tag, data set, method, state …", size="small", margin=(4, 8),
            width=320,
        )  # fmt: skip
        self.table = pn.widgets.Tabulator(
            table_frame([]), show_index=False, disabled=True, selectable="checkbox", pagination="remote", page_size=15,
            sizing_mode="stretch_width", layout="fit_data_fill", titles=_COLUMNS, margin=0, theme="simple",
            formatters={
                "state": "html",
                "test_accuracy": NumberFormatter(format="0.0 %", nan_format="–"),
                "test_loss": NumberFormatter(format="0.000", nan_format="–"),
                "connections": NumberFormatter(format="0,0", nan_format="–"),
                **{name: NumberFormatter(format="0.[0000]", nan_format="–") for name in ("epsilon", "zeta", "seed")},
            },
            text_align=dict.fromkeys(_NUMBERS, "right"), row_height=34, stylesheets=[_TABLE], visible=False,
        )  # fmt: skip
        self._words = pn.pane.HTML("", sizing_mode="stretch_width", margin=(4, 8), align="center")
        self.problem = pmui.Alert(severity="error", visible=False, closeable=True, margin=(4, 8),
                                  sizing_mode="stretch_width")  # fmt: skip
        self._rename, self._delete = RenameDialog(self._changed), DeleteDialog(self._changed)
        self._resume = ResumeDialog(self._changed)
        self._build_actions()
        self.layout = pn.Column(
            pn.Row(self.filter, self._words, self._list_csv, margin=0, sizing_mode="stretch_width"),
            self.actions, self.problem, self.table, self._rename.layout, self._delete.layout, self._resume.layout,
            sizing_mode="stretch_width", styles={**CARD, "padding": "8px"}, margin=0,
        )  # fmt: skip
        self.table.on_click(self._clicked)
        self.table.param.watch(self._selection_changed, "selection")
        self.filter.param.watch(lambda _: self.update(now=True), "value_input")

    def _build_actions(self) -> None:
        style: dict[str, Any] = {"size": "small", "variant": "outlined", "margin": (2, 4), "align": "center"}
        self.compare = pmui.Button(label="Compare", icon="stacked_line_chart", **style)
        self.clone = pmui.Button(label="Settings into the form", icon="content_copy", **style)
        self.go_on = pmui.Button(label="Go on", icon="restart_alt", **style)
        self.rename = pmui.Button(label="Rename, tag", icon="edit", **style)
        self.delete = pmui.Button(label="Delete", icon="delete", color="error", **style)
        self.downloads = {
            name: pmui.FileDownload(label=name.upper(), callback=lambda name=name: self._export(name),
                                    filename=f"run.{name}", **style)
            for name in FORMATS
        }  # fmt: skip
        self._list_csv = pmui.FileDownload(
            label="List as CSV", callback=self._export_list, filename="runs.csv", **style
        )
        self._selected_words = pn.pane.HTML("", margin=(6, 8), align="center")
        self.actions = pn.FlexBox(
            self._selected_words, self.compare, self.clone, self.go_on, self.rename, self.delete,
            *self.downloads.values(),
            align_items="center", margin=0, sizing_mode="stretch_width", visible=False,
        )  # fmt: skip
        self.compare.on_click(lambda _: self._compare(list(self.selected)))
        self.clone.on_click(self._clone)
        self.go_on.on_click(self._ask_to_resume)
        self.rename.on_click(lambda _: self._rename.ask(self._chosen()[0]))
        self.delete.on_click(lambda _: self._delete.ask(self._chosen()))

    def update(self, *, now: bool = False) -> None:
        """Look at the folder, at most every two seconds."""
        if not now and self._catalog.complete and time.monotonic() - self._looked < _SECONDS:
            return
        self._looked = time.monotonic()
        version = self._catalog.refresh(seconds=_READING_SECONDS)
        seen = (version, self._catalog.complete, self.filter.value_input)
        if seen == self._seen:
            return
        self._seen = seen
        lines = self._catalog.summaries()
        rows = [line for line in lines if matches(line, self.filter.value_input)]
        text = html(self._counted(len(lines), len(rows)), "font-size:14px")
        if text != self._words.object:
            self._words.object = text
        if rows != self._rows or self.table.visible != bool(rows):
            self._rows = rows
            self._show_rows()
        self._show_actions()

    def _counted(self, known: int, shown: int) -> str:
        if not self._catalog.complete:
            return f"Reading … {known:,} of {self._catalog.total:,} runs so far."
        if not known:
            return _EMPTY
        if shown < known:
            return f"{shown:,} of {known:,} runs match." if shown else "No run matches. Clear the filter to see all."
        return f"{known:,} run{'s' if known > 1 else ''}. Click one to open it, tick some to compare them."

    def _show_rows(self) -> None:
        places = {row.run: i for i, row in enumerate(self._rows)}
        self.selected = [run for run in self.selected if run in places]
        self._showing = True
        try:
            self.table.param.update(value=table_frame(self._rows), visible=bool(self._rows))
            self.table.selection = [places[run] for run in self.selected]
        finally:
            self._showing = False

    def _clicked(self, event: Any) -> None:
        if event.column in _COLUMNS:
            self._open(self._rows[event.row].run)

    def _selection_changed(self, event: Any) -> None:
        if not self._showing:
            self.selected = [self._rows[i].run for i in event.new if i < len(self._rows)]
            self._show_actions()

    def _show_actions(self) -> None:
        n = len(self.selected)
        self.actions.visible = n > 0
        self._selected_words.object = html(f"<b>{n:,} selected</b>", "font-size:13px;white-space:nowrap")
        for part in (self.clone, self.rename, *self.downloads.values()):
            part.visible = n == 1
        self.go_on.visible = n == 1 and any(r.run in self.selected and r.state in (*ENDED, "lost") for r in self._rows)
        for name, download in self.downloads.items():
            download.filename = f"{self.selected[0]}.{name}" if n else f"run.{name}"

    def _chosen(self) -> list[Run]:
        return [Run(self._store.root / run) for run in self.selected]

    def _changed(self, runs: list[Run]) -> None:
        for run in runs:
            self._catalog.refresh_run(run.id)
        self.update(now=True)

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        self.problem.visible = False
        try:
            yield
        except (TsnnError, OSError) as error:
            self.problem.param.update(object=escape(str(error)), visible=True)

    def _clone(self, _event: Any) -> None:
        with self._telling():
            run = self._store.open(self.selected[0])
            self._take_up(run.config(), run.id)

    def _ask_to_resume(self, _event: Any) -> None:
        with self._telling():
            self._resume.ask(self._chosen()[0])

    def _export(self, name: str) -> io.BytesIO:
        content = b""
        with self._telling():
            content = FORMATS[name](self._store.open(self.selected[0]))
        return io.BytesIO(content)

    def _export_list(self) -> io.BytesIO:
        fields = ["run", "title", *(name for name in _COLUMNS if name != "name"), "host"]
        columns = {name: [_plain(getattr(row, name)) for row in self._rows] for name in fields}
        return io.BytesIO(csv_bytes(columns))


def matches(line: RunSummary, wanted: str) -> bool:
    """Tell whether every word of ``wanted`` occurs in what is shown of a run."""
    text = " ".join((line.run, line.title, *line.tags, line.data, line.method, line.state)).lower()
    return all(word in text for word in wanted.lower().split())


def table_frame(rows: list[RunSummary]) -> pd.DataFrame:
    """Return summaries as the table shows them, the newest first."""
    words: dict[str, list[str]] = {
        "state": [_state(row) for row in rows],
        "name": [row.name for row in rows],
        "tags": [", ".join(row.tags) for row in rows],
        "data": [row.data for row in rows],
        "method": [row.method for row in rows],
        "epochs": [f"{row.epochs:,} / {row.planned:,}" for row in rows],
        "started": [row.started.strftime("%m-%d %H:%M") for row in rows],
    }
    ids = pd.Index([row.run for row in rows], name="id", dtype=object)
    columns = {
        name: pd.Series(words[name], ids, dtype=object)  # also where there is none: the table looks at the types once
        if name in words
        else pd.Series([_or_nan(getattr(row, name)) for row in rows], ids, dtype=float)
        for name in _COLUMNS
    }
    return pd.DataFrame(columns, index=ids)


def _state(row: RunSummary) -> str:
    color = palette.STATE_COLORS.get(row.state, palette.GREY)
    return f"<span title='{escape(row.problem, quote=True)}'><span style='color:{color}'>●</span> {row.state}</span>"


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _plain(value: Any) -> Any:
    return ", ".join(value) if isinstance(value, tuple) else value
