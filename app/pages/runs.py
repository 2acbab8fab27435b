"""The list of runs; a click opens one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pandas as pd
import panel as pn
from bokeh.models.widgets.tables import NumberFormatter

from pages.theme import CARD, html
from tsnn.runs import RunStore
from tsnn.views import palette
from tsnn.views.summaries import RunSummary, summarise

#: At most so many of the newest runs are listed.
NEWEST = 500
_SECONDS = 2.0
_TABLE = """
:host .tabulator {font-size: 12.5px; font-family: var(--bokeh-base-font)}
.tabulator-row {cursor: pointer}
:host .tabulator .tabulator-row .tabulator-cell {padding: 4px 6px}
:host .tabulator .tabulator-header .tabulator-col .tabulator-col-content {padding: 4px 6px}
.tabulator-col-title {font-weight: 700}
"""
_COLUMNS = {
    "state": "State",
    "run": "Run",
    "data": "Data set",
    "topology": "Topology",
    "epsilon": "ε",
    "zeta": "ζ",
    "epochs": "Epochs",
    "test_accuracy": "Accuracy",
    "connections": "Connections",
    "started": "Started",
}


class RunsList:
    """A table of the newest runs.

    Parameters
    ----------
    store : RunStore
        Where runs are kept.
    open_run : callable
        Called with the id of the run that is clicked.
    """

    def __init__(self, store: RunStore, open_run: Callable[[str], None]):
        self._store, self._open = store, open_run
        self._looked = -float("inf")
        self._rows: list[RunSummary] = []
        self.table = pn.widgets.Tabulator(
            table_frame([]), show_index=False, disabled=True, selectable=False, pagination="local", page_size=15,
            sizing_mode="stretch_width", layout="fit_data_fill", titles=_COLUMNS, margin=0, theme="simple",
            formatters={
                "state": "html",
                "test_accuracy": NumberFormatter(format="0.0 %", nan_format="–"),
                "connections": NumberFormatter(format="0,0", nan_format="–"),
            },
            text_align=dict.fromkeys(("epsilon", "zeta", "epochs", "test_accuracy", "connections"), "right"),
            row_height=34, stylesheets=[_TABLE],
        )  # fmt: skip
        self.table.on_click(lambda event: self._open(self._rows[event.row].run))
        self._words = pn.pane.HTML("", sizing_mode="stretch_width", margin=(4, 8))
        self.layout = pn.Column(
            self._words, self.table, sizing_mode="stretch_width", styles={**CARD, "padding": "8px"}, margin=0
        )

    def update(self, *, now: bool = False) -> None:
        """Look at the folder, at most every two seconds."""
        if not now and time.monotonic() - self._looked < _SECONDS:
            return
        self._looked = time.monotonic()
        runs = self._store.list()
        rows = [summarise(run) for run in runs[:NEWEST]]
        if not rows:
            words = "<b>No runs yet.</b> Press Start in the form on the left; every run is kept and listed here."
        elif len(runs) > NEWEST:
            words = f"The newest {NEWEST:,} of {len(runs):,} runs. Click one to open it."
        else:
            words = f"{len(runs):,} run{'s' if len(runs) > 1 else ''}. Click one to open it."
        text = html(words, "font-size:14px")
        if text != self._words.object:
            self._words.object = text
        if rows != self._rows or self.table.visible != bool(rows):
            self._rows = rows
            self.table.param.update(value=table_frame(rows), visible=bool(rows))


def table_frame(rows: list[RunSummary]) -> pd.DataFrame:
    """Return summaries as the table shows them, the newest first."""
    cells: list[dict[str, Any]] = [
        {
            "state": f"<span style='color:{palette.STATE_COLORS.get(row.state, palette.GREY)}'>●</span> {row.state}",
            "run": row.run,
            "data": row.data,
            "topology": row.topology,
            "epsilon": row.epsilon,
            "zeta": row.zeta,
            "epochs": f"{row.epochs:,} / {row.planned:,}",
            "test_accuracy": float("nan") if row.test_accuracy is None else row.test_accuracy,
            "connections": float("nan") if row.connections is None else row.connections,
            "started": row.started.strftime("%m-%d %H:%M"),
        }
        for row in rows
    ]
    return pd.DataFrame(cells, columns=list(_COLUMNS))
