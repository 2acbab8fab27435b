"""Tab Report: the report that ``python -m tests.benchmarks.reproduce`` writes into a folder of runs, linked to them.

``report.json`` holds ``text``, in the part of Markdown that these tables need, and ``figures`` by the names of their
pictures there. Nothing of it reaches the page but as text, numbers and links to this page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import numpy as np
import panel as pn

from pages.theme import CARD, html
from tsnn.files import file_mark, load_json
from tsnn.runs import RunStore
from tsnn.views.plots.charts import curves
from tsnn.views.plots.figures import describe
from tsnn.views.tabs.cards import figure_pane

FILE = "report.json"
_MOST_BYTES = 200_000  # some ten times those of a complete report
_MOST_FIGURES, _MOST_CURVES = 10, 40
_MOST = 1e9  # of the numbers in a figure
_MISSING = "<b>No report in this folder.</b> <code>python -m tests.benchmarks.reproduce</code> writes one."
_LINK = re.compile(r"\[([^\[\]]*)\]\((\?(?:[\w.=/-]|&amp;)*)\)")  # in escaped text
_PICTURE = re.compile(r"!\[([^\[\]]*)\]\(([\w.-]+)\)")
_STYLE = """<style>
.report {border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums}
.report th, .report td {text-align: right; padding: 4px 14px 4px 0; white-space: nowrap}
.report thead th {white-space: normal; vertical-align: bottom}
.report th:first-child {
    text-align: left; position: sticky; left: 0; background: var(--panel-surface-color); white-space: normal;
    min-width: 8.5em}
.report tbody th {font-weight: 400}
.report tbody > tr > * {border-top: 1px solid color-mix(in srgb, currentColor 14%, transparent)}
p, h2, h3 {max-width: 75em; overflow-wrap: anywhere}
a {color: var(--panel-primary-color)}
</style>"""


def has_report(store: RunStore) -> bool:
    """Return whether a folder of runs has a report."""
    return file_mark(store.root / FILE) != (0, 0)


class ReportTab:
    """Report of a folder of runs; it is read again when it has changed.

    Parameters
    ----------
    store : RunStore
        The folder.
    """

    def __init__(self, store: RunStore):
        self._path = store.root / FILE
        self._mark: tuple[int, int] | None = None
        styles = {**CARD, "padding": "4px 16px 12px", "max-height": "none", "flex-shrink": "0"}
        self.layout = pn.Column(sizing_mode="stretch_width", margin=0, styles=styles)

    def update(self) -> bool:
        """Show the report; returns whether it has changed."""
        mark = file_mark(self._path)
        if mark == self._mark:
            return False
        self._mark = mark
        try:
            if mark[1] > _MOST_BYTES:
                raise ValueError(f"it is larger than {_MOST_BYTES:,} bytes")
            self.layout.objects = [*_parts(load_json(self._path))]
        except FileNotFoundError:
            self.layout.objects = [_pane(f"<p>{_MISSING}</p>")]
        except (OSError, ValueError) as error:
            self.layout.objects = [_pane(f"<p><b>{FILE} cannot be displayed:</b> {escape(str(error))}</p>")]
        return True


def _parts(report: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the texts and figures of a report."""
    text, figures = report.get("text"), report.get("figures")
    if not isinstance(text, str):
        raise ValueError("it holds no text")
    blocks = re.split(r"\n{2,}", text.strip())
    if sum(map(bool, map(_PICTURE.fullmatch, blocks))) > _MOST_FIGURES:
        raise ValueError(f"it has more than {_MOST_FIGURES} figures")
    body, title = "", "Report"
    for block in blocks:
        if picture := _PICTURE.fullmatch(block):
            yield _pane(body)
            body = ""
            yield _figure(figures.get(picture[2]) if isinstance(figures, dict) else None, picture[1])
        elif heading := re.fullmatch("(##?) (.*)", block):
            title = heading[2]
            level = 1 + len(heading[1])
            body += f"<h{level}>{_inline(title)}</h{level}>"
        else:
            body += _table(block.split("\n"), title) if block.startswith("|") else f"<p>{_inline(block)}</p>"
    yield _pane(body)


def _pane(body: str) -> Any:
    return pn.pane.HTML(_STYLE + html(body, "font-size:14px"), sizing_mode="stretch_width", margin=0)


def _inline(text: str) -> str:
    """Return a line as HTML, with its links to this page and its code."""
    linked = _LINK.sub(r"<a href='\2'>\1</a>", escape(text))
    return re.sub("`([^`]*)`", r"<code>\1</code>", linked)


def _table(lines: list[str], title: str) -> str:
    """Return a table as HTML; its first column stays where it is when the others are scrolled."""
    head, *rows = [[_inline(cell.strip()) for cell in line.strip().strip("|").split("|")] for line in lines]
    names = "".join(f"<th scope='col'>{cell}</th>" for cell in head)
    body = "".join(
        f"<tr><th scope='row'>{first}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        for first, *cells in rows[1:]
    )
    return (
        f"<div tabindex='0' role='region' aria-label='{escape(title, quote=True)}' style='overflow-x: auto'>"
        f"<table class='report'><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _figure(values: Any, description: str) -> Any:
    """Return a figure; a sentence where its values are none."""
    try:
        title, x_label, y_label = (_label(values[name]) for name in ("title", "x_label", "y_label"))
        lowest = float(values["lowest"])
        series: dict[str, Any] = {
            _label(name): np.array(points, np.float64) for name, points in values["series"].items()
        }
        if len(series) > _MOST_CURVES or any(a.ndim != 2 or len(a) != 2 for a in series.values()):
            raise ValueError("a curve is a list of x and one of y")
        if not all((abs(a) < _MOST).all() for a in [np.array(lowest), *series.values()]):
            raise ValueError("a number is too large, or none")
        fig = curves(title, x_label, y_label, series, log="x")
        fig.y_range.start = lowest
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return _pane(f"<p>{escape(description)}: the figure is damaged.</p>")
    fig.height = 420
    for legend in fig.legend:
        legend.ncols = 2  # fit into a narrow page
    fig.margin = (12, 0, 0, 0)
    describe(fig, aria_description=description)
    return figure_pane(fig)


def _label(text: Any) -> str:
    """Return a text without the characters that mean something in Bokeh's tooltips and titles."""
    return re.sub(r"[@$<>{}\\]", "", str(text))
