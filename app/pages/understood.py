"""HTML of a file as it was understood: facts, first rows, columns, classes. All text of the file is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from pages.settings import widget_value
from pages.theme import html
from tsnn.config import describe
from tsnn.datasets.inspection import Inspection
from tsnn.datasets.preview import Preview
from tsnn.views.plots import palette

_LISTED_COLUMNS, _LISTED_CLASSES, _SHORT_CLASSES = 60, 40, 5
_STYLE = (
    """<style>
.seen {font-size: 13px}
.seen .facts {display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 3px 10px; font-size: 12.5px}
.seen .facts span {opacity: .65}
.seen h4 {font-size: 13px; font-weight: 700; margin: 0 0 6px}
.seen .note {font-size: 12.5px; margin-top: 8px; padding: 4px 0 4px 10px; border-left: 4px solid WARN;
    overflow-wrap: anywhere}
.seen .note.bad {border-color: BAD}
.seen .note.plain {border-color: color-mix(in srgb, currentColor 30%, transparent)}
.seen .scroll {overflow: auto; max-height: 330px; border: 1px solid color-mix(in srgb, currentColor 14%, transparent);
    border-radius: 6px}
.seen table {border-collapse: collapse; font-size: 12px; font-variant-numeric: tabular-nums; width: 100%}
.seen th, .seen td {padding: 3px 10px; text-align: left; white-space: nowrap; max-width: 190px; overflow: hidden;
    text-overflow: ellipsis}
.seen .text {white-space: normal; max-width: 320px; overflow-wrap: anywhere}
.seen th {position: sticky; top: 0; z-index: 1; background: var(--panel-surface-color); font-weight: 700;
    box-shadow: inset 0 -1px color-mix(in srgb, currentColor 20%, transparent)}
.seen tr + tr td {border-top: 1px solid color-mix(in srgb, currentColor 8%, transparent)}
.seen .right {text-align: right}
.seen .target {background-color: color-mix(in srgb, BLUE 16%, var(--panel-surface-color))}
.seen .dropped {opacity: .65; text-decoration: line-through}
.seen .kind {display: block; font-weight: 400; opacity: .65; font-size: 11px}
.seen .parts {display: flex; flex-wrap: wrap; gap: 16px; margin-top: 14px; align-items: flex-start}
.seen .parts > * {flex: 2 1 260px; min-width: 0}
.seen .parts > .wide {flex: 3 1 420px}
.seen .bars {display: grid; grid-template-columns: minmax(0, max-content) minmax(40px, 1fr) max-content; gap: 4px 10px;
    font-size: 12.5px; font-variant-numeric: tabular-nums; align-items: center; max-width: 560px}
.seen .bars b {font-weight: 400; overflow: hidden; text-overflow: ellipsis; white-space: nowrap}
.seen .bars i {display: block; height: 8px; border-radius: 2px; background: BLUE}
.seen .more {font-size: 12px; opacity: .65; margin-top: 4px}
</style>""".replace("WARN", palette.ORANGE)
    .replace("BAD", palette.VERMILION)
    .replace("BLUE", palette.BLUE)
)
_KINDS = {"number": "numbers", "category": "categories", "dropped": "left out", "target": "target", "": ""}


def summary(preview: Preview) -> str:
    """Return the part for the form: facts, the largest classes, warnings."""
    found = preview.inspection
    parts = []
    if found is not None:
        facts = "".join(f"<span>{escape(label)}</span><div>{escape(text)}</div>" for label, text in found.facts)
        parts.append(f"<div class='facts'>{facts}</div>")
        if found.classes:
            parts.append(f"<div style='margin-top:8px'>{_bars(found, _SHORT_CLASSES)}</div>")
    parts.append(_notes(preview))
    return _wrapped(parts)


def page(preview: Preview) -> str:
    """Return the part for the page: the first rows, all columns, all classes."""
    found = preview.inspection
    parts = []
    if preview.problem:
        parts.append(f"<div class='note bad' style='margin:0 0 12px'>{escape(preview.problem)}</div>")
    if preview.cells:
        parts.append(_first_rows(preview))
    sections = []
    if found is not None and found.columns:
        sections.append(f"<div class='wide'><h4>Columns</h4>{_columns(found)}</div>")
    if found is not None and found.classes:
        sections.append(f"<div><h4>Classes: samples for training and test</h4>{_bars(found, _LISTED_CLASSES)}</div>")
    if sections:
        parts.append(f"<div class='parts'>{''.join(sections)}</div>")
    return _wrapped(parts)


def suggestion(preview: Preview) -> str:
    """Return the settings that suit the data, as one sentence."""
    if preview.info is None or not preview.settings:
        return ""
    samples, _ = preview.info.sizes["full"]
    texts = [f"{_name(name)} {widget_value(value)}" for name, value in preview.settings.items()]
    shape = f"{samples:,} samples of {preview.info.n_features:,} features"
    return _wrapped([f"<div class='note plain'>Suggested for {shape}: {escape(', '.join(texts))}.</div>"])


def _name(setting: str) -> str:
    label = describe(setting).label
    return label[0].lower() + label[1:]


def _wrapped(parts: Iterable[str]) -> str:
    body = "".join(parts)
    return html(f"{_STYLE}<div class='seen'>{body}</div>") if body else ""


def _notes(preview: Preview) -> str:
    warnings = preview.inspection.warnings if preview.inspection is not None else ()
    notes = "".join(f"<div class='note'>{escape(text)}</div>" for text in warnings)
    return notes + (f"<div class='note plain'>{escape(preview.note)}</div>" if preview.note else "")


def _more(count: int, what: str) -> str:
    return f"<div class='more'>and {count:,} more {what}</div>" if count > 0 else ""


def _bars(found: Inspection, listed: int) -> str:
    """Return the most frequent classes with their numbers of samples in training and test."""
    classes = sorted(found.classes, key=lambda entry: -entry[1])
    total, most = sum(entry[1] for entry in classes) or 1, classes[0][1] or 1
    bars = "".join(
        f"<b title='{escape(name)}'>{escape(name)}</b><i style='width:{100 * n / most:.1f}%'></i>"
        f"<span>{n:,} / {test:,} ({n / total:.0%})</span>"
        for name, n, test in classes[:listed]
    )
    return f"<div class='bars'>{bars}</div>{_more(len(classes) - listed, 'classes')}"


def _first_rows(preview: Preview) -> str:
    columns = preview.inspection.columns if preview.inspection is not None else ()
    kinds = {column.name: column.kind for column in columns}
    names = list(preview.cells)
    heads = "".join(
        f"<th class='{_style(kinds, name)}' title='{escape(name)}'>{escape(name)}"
        f"<span class='kind'>{_KINDS[kinds.get(name, '')]}</span></th>"
        for name in names
    )
    n_rows = max(map(len, preview.cells.values()), default=0)
    rows = "".join(f"<tr>{_row(preview.cells, kinds, names, i)}</tr>" for i in range(n_rows))
    more = _more(len(preview.names) - len(names), "columns")
    return f"<h4>First rows</h4><div class='scroll'><table><tr>{heads}</tr>{rows}</table></div>{more}"


def _row(cells: Mapping[str, Sequence[str]], kinds: Mapping[str, str], names: Sequence[str], row: int) -> str:
    found = []
    for name in names:
        text = cells[name][row] if row < len(cells[name]) else ""
        shown = escape(text) if text else "<span style='opacity:.5'>missing</span>"
        found.append(f"<td class='{_style(kinds, name)}'>{shown}</td>")
    return "".join(found)


def _style(kinds: Mapping[str, str], name: str) -> str:
    kind = kinds.get(name, "")
    return kind if kind in ("target", "dropped") else "right" if kind == "number" else ""


def _columns(found: Inspection) -> str:
    first: dict[Any, int] = {"target": 0, "dropped": 1}
    ordered = sorted(found.columns, key=lambda column: (first.get(column.kind, 2), not column.missing))
    rows = "".join(
        f"<tr><td title='{escape(column.name)}'>{escape(column.name)}</td><td>{_KINDS.get(column.kind, '')}</td>"
        f"<td class='right'>{f'{column.missing:,}' if column.missing else ''}</td>"
        f"<td class='text'>{escape(column.note)}</td></tr>"
        for column in ordered[:_LISTED_COLUMNS]
    )
    head = (
        "<tr><th>column</th><th>use</th><th class='right'>missing</th>"
        "<th class='text'>categories, or why it is left out</th></tr>"
    )
    return f"<div class='scroll'><table>{head}{rows}</table></div>{_more(len(ordered) - _LISTED_COLUMNS, 'columns')}"
