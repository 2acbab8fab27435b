"""Table of the results of compared runs, as HTML. Text from files is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tsnn.config import describe, setting_names
from tsnn.runs.cells import Column, format_cell
from tsnn.views.plots import palette

_MAX_SETTINGS_FIRST = 3
_STYLE = """<style>
.compared {border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; white-space: nowrap}
.compared th {text-align: left; font-weight: 700; padding: 4px 14px 4px 0; opacity: .75}
.compared td {padding: 4px 14px 4px 0; border-top: 1px solid color-mix(in srgb, currentColor 14%, transparent)}
.compared .n {text-align: right}
</style>"""
_CSS_DASH = {"solid": "solid", "dashed": "dashed", "dotted": "dotted", "dashdot": "dashed", "dotdash": "dotted"}
_NOTE = (
    "Results are from the <b>last epoch</b>; picking the best test epoch would overstate accuracy. For early stopping "
    "set <b>Validation fraction</b> (Advanced)."
)


def comparison_html(columns: Sequence[Column], labels: Sequence[str], note: str = _NOTE) -> str:
    """Return the table of a comparison (:func:`tsnn.runs.comparison.table`).

    Parameters
    ----------
    columns : sequence of Column
        The columns.
    labels : sequence of str
        Labels of the curves, one for each row; without labels rows have no sample of their curves.
    note : str
        HTML below the table.
    """
    head = "".join(f"<th{_align(c.kind)}>{_head(c.title)}</th>" for c in columns)
    body = ""
    for i in range(len(columns[0].values)):
        cells = [
            f"<td title='{escape(_cell(c, i))}'>{swatch(*palette.series_style(i))}{escape(labels[i])}</td>"
            if labels and c.title == "run"
            else f"<td{_align(c.kind)}>{escape(_cell(c, i))}</td>"
            for c in columns
        ]
        body += f"<tr>{''.join(cells)}</tr>"
    below = f"<div style='font-size:12.5px;opacity:.75;margin-top:8px'>{note}</div>" if note else ""
    return f"{_STYLE}<table class='compared'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"


def ordered(columns: Sequence[Column]) -> list[Column]:
    """Return the columns, the settings after the results if many settings differ."""
    settings = [column for column in columns if "." in column.title]
    if len(settings) <= _MAX_SETTINGS_FIRST:
        return list(columns)
    return [*(column for column in columns if column not in settings), *settings]


def swatch(color: str, dash: str) -> str:
    """Return a sample of a curve."""
    line = f"border-top:3px {_CSS_DASH[dash]} {color}"
    return f"<span style='display:inline-block;width:26px;{line};vertical-align:middle;margin-right:8px'></span>"


def _align(kind: str) -> str:
    return "" if kind == "text" else " class='n'"


def _cell(column: Column, row: int) -> str:
    text = format_cell(column.kind, column.values[row])
    return describe(column.title).display_name(text) if column.title in setting_names() else text


def _head(title: str) -> str:
    short = "data" if title == "data.name" else title.rpartition(".")[2].replace("_", " ")
    return f"<span title='{escape(title)}'>{escape(short)}</span>"
