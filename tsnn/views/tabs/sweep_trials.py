"""Table of a sweep's trials, with settings, results and measures as text."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import pandas as pd
import panel as pn

from tsnn.runs.cells import format_cell, format_value
from tsnn.runs.measures import COLUMNS
from tsnn.views.plots.sweep_plots import value_label
from tsnn.views.plots.sweep_table import SweepTable, short
from tsnn.views.tabs.cards import TABLE

_DIGITS = {"connections": 0, "seconds": 1}
_RIGHT = ("value", *_DIGITS, *COLUMNS)
_STYLE = """
.tabulator-row {cursor: pointer}
:host .tabulator .tabulator-footer:not(:has([data-page="2"])) {display: none}
"""


def trials_table(table: SweepTable) -> Any:
    """Return the widget, without rows."""
    return pn.widgets.Tabulator(
        trial_rows(table, [], linked=False), show_index=False, disabled=True, pagination="remote", page_size=10,
        theme="simple", sizing_mode="stretch_width", layout="fit_data_fill", margin=0, stylesheets=[TABLE, _STYLE],
        formatters={"trial": "html"}, titles=titles(table), text_align=dict.fromkeys(_RIGHT, "right"),
    )  # fmt: skip


def titles(table: SweepTable) -> dict[str, str]:
    """Return the title of each column."""
    return {
        "trial": "Trial", **{name.rpartition(".")[2]: short(name) for name in table.settings}, "seed": "Seed",
        "state": "State", "value": value_label(table), "connections": "Connections", "seconds": "Seconds",
        **{name: title[0].upper() + title[1:] for name, (title, _) in COLUMNS.items()},
    }  # fmt: skip


def trial_rows(table: SweepTable, chosen: Sequence[int], *, linked: bool) -> pd.DataFrame:
    """Return the rows of these trials as text.

    Parameters
    ----------
    table : SweepTable
        The trials.
    chosen : sequence of int
        Numbers of the trials, in the order of the rows.
    linked : bool
        Whether the numbers of trials with a run are links to it.
    """
    rows = table.trials.loc[list(chosen)]
    columns: dict[str, Any] = {
        "trial": [
            f"<a href='?run={escape(run)}'>{number}</a>" if run and linked else str(number)
            for number, run in rows["run"].items()
        ],
        **{name.rpartition(".")[2]: rows[name].map(format_value) for name in table.settings},
        "seed": rows["seed"],
        "state": rows["state"],
        "value": [table.text(value) for value in rows["value"]],
        **{name: [f"{v:,.{digits}f}" if v == v else "–" for v in rows[name]] for name, digits in _DIGITS.items()},
        **{name: [format_cell(COLUMNS[name][1], v if v == v else None) for v in rows[name]] for name in table.measures},
    }
    return pd.DataFrame({name: list(column) for name, column in columns.items()}, dtype=object)
