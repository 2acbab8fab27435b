"""Report of runs or of a sweep: one HTML file with results, plots and topology, without a server or a network."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import panel as pn
from bokeh.core.templates import get_env
from bokeh.document import Document
from bokeh.models import ImportedStyleSheet, InlineStyleSheet, Range1d
from bokeh.models.ui import UIElement
from bokeh.resources import Resources
from panel.io.embed import embed_state
from panel.io.resources import DIST_DIR
from panel.io.save import save
from pyviz_comms import Comm

from tsnn._version import __version__
from tsnn.errors import RunError
from tsnn.files import os_error_message, write_atomic
from tsnn.records import EventKind
from tsnn.runs import Run, RunStore
from tsnn.runs.comparison import labels, table
from tsnn.runs.notes import notes
from tsnn.runs.repeat import code, command
from tsnn.runs.results import result
from tsnn.runs.rules import recorded_rules
from tsnn.runs.sweeps import Sweep, is_sweep, open_sweep
from tsnn.snapshot import Snapshot
from tsnn.views import sweep_report
from tsnn.views.history import START_EVENTS
from tsnn.views.live.follower import RunFollower
from tsnn.views.plots.comparison import compare_plots, styled
from tsnn.views.plots.curves import describe_accuracy, fit_epochs, run_plots
from tsnn.views.plots.figures import EventMarks
from tsnn.views.plots.frames import PARTS, choose_epochs, topology_map
from tsnn.views.tabs.cards import card, grid
from tsnn.views.tabs.results import comparison_html, ordered
from tsnn.views.tabs.summary import summary_html

#: Most bytes of a report. With more, its topology is drawn at fewer epochs.
MAX_BYTES = 5_000_000
FRAMES = 40  # epochs at which the topology is drawn, at most
MAX_RUNS = 20  # compared in a report
_MAX_EVENTS = 200
_MAX_CHARACTERS = 20_000  # of the settings

#: Panel's script needs the other two. Nothing is loaded: what is not in the file is forbidden.
_RESOURCES: list[Any] = ["bokeh", "bokeh-widgets", "bokeh-tables"]
#: Style sheets of widgets that a report does not have, where this process has loaded them.
_SERVED = re.compile(r'\s*<link rel="stylesheet" href="static/[^>]*>')
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' blob:; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:"
)
_TEMPLATE = get_env().from_string("""{% from macros import embed %}<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}"><title>{{ heading }}</title>
{{ bokeh_css }}{{ bokeh_js }}<style>
body {margin: 0 auto; max-width: 1180px; padding: 20px; font: 15px/1.45 system-ui, sans-serif; color: #1d2329}
body {overflow-x: clip}
h1 {font-size: 24px; overflow-wrap: anywhere} h2 {font-size: 18px; margin: 28px 0 8px}
pre {background: #f4f6f8; padding: 10px 12px; border-radius: 6px; overflow-x: auto; font-size: 13px}
.scroll {overflow-x: auto} .quiet {opacity: .75; font-size: 13px} summary {cursor: pointer}
.notes {white-space: pre-wrap; overflow-wrap: anywhere}
</style></head><body><main><h1>{{ heading }}</h1>{{ head }}
{% for root in doc.roots|list|reverse %}{{ embed(root) }}{% endfor %}
{{ tail }}<p class="quiet">Made with tsnn {{ version }}.</p></main>{{ plot_script }}</body></html>""")


def report(runs: Run | Sweep | str | Sequence[Run | Sweep | str], output: str | Path = "report.html") -> Path:
    """Write a report of a run, a comparison of several, or the map of a sweep, as one HTML file of at most 5 MB.

    It holds the result, the command and the Python code that repeat the run, its curves, its topology with a slider
    over the epochs, settings and notes; of a sweep the ranking, linked plots and topologies with a slider for each of
    its first two settings. It opens in any browser without a server or a network.

    Parameters
    ----------
    runs : Run, Sweep, name of one, or sequence of runs
        The runs; several are compared.
    output : path
        The file; an existing one is replaced.

    Returns
    -------
    path : Path
        The file.

    Raises
    ------
    RunError
        If there are no or too many runs, one is not there, or the file cannot be written.

    Examples
    --------
    >>> tsnn.report(run, "run.html")  # doctest: +SKIP
    """
    store = RunStore()
    given = [runs] if isinstance(runs, Run | Sweep | str) else list(runs)
    chosen = [_opened(store, run) if isinstance(run, str) else run for run in given]
    if not 0 < len(chosen) <= MAX_RUNS:
        raise RunError(f"A report is about 1 to {MAX_RUNS} runs, got {len(chosen)}. Choose some of them.")
    if (swept := [run for run in chosen if isinstance(run, Sweep)]) and len(chosen) > 1:
        raise RunError(f"Sweep {swept[0].id} has a report of its own, got {len(chosen)} names. Give only this one.")
    path, design = Path(output), pn.config.design
    pn.config.design = None  # that of the dashboard, where this process has it, would be another megabyte
    try:
        page = _sweep(swept[0]) if swept else _runs([run for run in chosen if isinstance(run, Run)])
    finally:
        pn.config.design = design
    try:
        write_atomic(path.resolve(), page.encode())
    except OSError as error:
        raise RunError(f"The report cannot be written. {os_error_message(error, path)}") from error
    return path


def _opened(store: RunStore, name: str) -> Run | Sweep:
    return open_sweep(store, name) if is_sweep(store.root / name) else store.open(name)


def _runs(runs: Sequence[Run]) -> str:
    """Return the page about a run, or about several."""
    followers = [RunFollower(run, min_interval=0) for run in runs]
    for follower in followers:
        follower.finish()
    return _single(followers[0]) if len(followers) == 1 else _comparison(followers)


def _sweep(sweep: Sweep) -> str:
    """Return the page about a sweep, with its topologies if they fit."""
    head, settings = sweep_report.head_html(sweep), f"<pre>{escape(sweep.base.to_toml())}</pre>"
    tail = (
        f"<details><summary>Settings of all trials, but for those that are swept (TOML)</summary>{settings}</details>"
    )
    for drawn in (sweep_report.topology(sweep, FRAMES), []):
        text = (
            "Of the runs with a pair of values, the one with the best result. Drag the sliders, or use the arrow keys."
        )
        topology = [_heading("Topology", text), *drawn] if drawn else []
        page = _page(sweep.name or sweep.id, head, sweep_report.plots(sweep), topology, tail)
        if len(page.encode()) <= MAX_BYTES:
            break
    return page


def _single(follower: RunFollower) -> str:
    """Return the page about one run, with the epochs of its topology that fit."""
    columns = ordered(table([result(follower.run)]))
    head = f"{summary_html(follower)}{_notes(follower.run)}<h2>Result</h2>{_scrolling(comparison_html(columns, []))}"
    tail = f"<h2>Repeat this run</h2>{_repeat(follower)}{_events(follower)}"
    title = notes(follower.run)[0] or follower.run.id
    frames = min(FRAMES, len(follower.snapshots))
    while frames > 0:
        page = _page(title, head, _curves(follower), _topology(follower, frames), tail)
        if (excess := len(page.encode()) - MAX_BYTES) <= 0:
            return page
        left = MAX_BYTES - len(_page(title, head, _curves(follower), [], tail).encode())
        frames = min(frames - 1, int(frames * left / max(1, left + excess)))
    return _page(title, head, _curves(follower), [], tail)


def _comparison(followers: Sequence[RunFollower]) -> str:
    """Return the page about several runs."""
    results = [result(follower.run) for follower in followers]
    names = labels([[r] for r in results])
    rows = styled(names, [[follower.history] for follower in followers])
    plots = compare_plots()
    for plot in plots:
        plot.update(rows, "epoch", 0.0)
    cards = [card(plot.figure, f"compared_{plot.column}") for plot in plots if plot.visible]
    tail = "<h2>Repeat these runs</h2>" + "".join(
        f"<details><summary>{escape(name)}</summary>{_notes(follower.run)}{_repeat(follower)}</details>"
        for name, follower in zip(names, followers, strict=True)
    )
    head = _scrolling(comparison_html(ordered(table(results)), names))
    return _page(f"Comparison of {len(followers)} runs", head, [grid(*cards)], [], tail)


def _page(heading: str, head: str, curves: Sequence[Any], topology: Sequence[Any], tail: str) -> str:
    """Return the file; ``head`` and ``tail`` are HTML around the plots."""
    buffer, document = io.StringIO(), Document()
    texts = {"heading": escape(heading), "head": head, "tail": tail, "policy": _POLICY, "version": __version__}
    if topology:  # before the curves are there: each epoch takes time in proportion to the document
        column = pn.Column(*topology, sizing_mode="stretch_width")
        model = column.get_root(document, Comm())
        embed_state(column, model, document, max_states=FRAMES, max_opts=FRAMES, progress=False)
    document.add_root(pn.Column(*curves, sizing_mode="stretch_width").get_root(document, Comm()))
    _inline_styles(document)
    resources = Resources(mode="inline", components=_RESOURCES)
    save(document, buffer, resources=resources, template=_TEMPLATE, template_variables=texts, title="tsnn")
    return _SERVED.sub("", buffer.getvalue())


def _inline_styles(document: Document) -> None:
    """Put the contents of Panel's style sheets into a document, which names their addresses on the web."""
    with document.models.freeze():
        for model in document.models:
            if isinstance(model, UIElement):
                model.stylesheets = [_inline(sheet) for sheet in model.stylesheets]


def _inline(sheet: Any) -> Any:
    if not isinstance(sheet, ImportedStyleSheet):
        return sheet
    file = DIST_DIR / sheet.url.partition("/dist/")[2].partition("?")[0]
    return InlineStyleSheet(css=file.read_text(encoding="utf-8") if file.is_file() else "")


def _curves(follower: RunFollower) -> list[Any]:
    """Return the curves of a run that have values, with their heading."""
    history, marks, x_range = follower.history, EventMarks(), Range1d(start=0, end=2)
    marks.update([event for event in follower.events if event.kind not in START_EVENTS], history.last("epoch") or 0)
    fit_epochs(x_range, history)
    validation = follower.config.data.validation_fraction > 0
    cards = []
    for name, (column, make) in run_plots(history.layers, validation=validation, x_range=x_range, marks=marks).items():
        if history.last(column) is None:
            continue
        plot = make()
        if name == "accuracy":
            describe_accuracy(plot, follower.meta.get("data", {}))
        plot.update(history)
        cards.append(card(plot.figure, name))
    return [_heading("Curves"), grid(*cards)] if cards else []


def _topology(follower: RunFollower, frames: int) -> list[Any]:
    """Return the topology of a run at some of its epochs, with its heading; nothing if its snapshots hold none."""
    snapshots: dict[int, tuple[Snapshot, Snapshot | None]] = {}
    known = list(follower.snapshots)
    for epoch in choose_epochs(known, frames):
        before = next((e for e in reversed(known) if e < epoch), None)
        if (now := follower.snapshot(epoch, None, PARTS)) is not None:
            snapshots[epoch] = now, None if before is None else follower.snapshot(before, None, PARTS)
    try:
        drawn = topology_map(snapshots, follower.meta.get("data", {}), follower.feature_names) if snapshots else None
    except (IndexError, TypeError, ValueError) as error:
        return [_heading("Topology", f"The snapshots are damaged: {escape(str(error))}")]
    if drawn is None:
        return []
    text = f"{len(snapshots)} of {len(known)} snapshots. Drag the slider, or use the arrow keys."
    pane = pn.pane.HoloViews(drawn, widgets={"Epoch": pn.widgets.DiscreteSlider})  # not Material's, as on a page
    for slider in pane.widget_box:
        slider.param.update(value=max(snapshots), width=600, margin=(0, 8))
    return [_heading("Topology", text), *pane.widget_box, pane]


def _heading(title: str, text: str = "") -> Any:
    return pn.pane.HTML(f"<h2 style='font-size:18px;margin:20px 0 0'>{title}</h2>{text}", margin=0)


def _scrolling(html: str) -> str:
    return f"<div class='scroll'>{html}</div>"


def _notes(run: Run) -> str:
    """Return tags and notes."""
    found: tuple[Any, ...] = notes(run)
    lines = [", ".join(found[1]), *found[2:]]
    return "".join(f"<p class='notes'>{escape(line)}</p>" for line in lines if line)


def _repeat(follower: RunFollower) -> str:
    """Return the section on repeating a run: versions, data, command, code, all settings; and the limits of that."""
    if follower.problem:
        return f"<p>{escape(follower.problem)}</p>"
    config = follower.config
    toml = config.to_toml()
    shown = toml if len(toml) <= _MAX_CHARACTERS else f"{toml[:_MAX_CHARACTERS]}\n…"
    return (
        f"<p>{'<br>'.join(map(escape, _circumstances(follower)))}</p>"
        f"<pre>{escape(command(config))}</pre><pre>{escape(code(config))}</pre>"
        f"<details><summary>All settings (TOML, for <code>tsnn train FILE.toml</code>)</summary>"
        f"<pre>{escape(shown)}</pre></details>"
    )


def _circumstances(follower: RunFollower) -> list[str]:
    """Return sentences about seed, versions, machine and data, and about changes that the command does not repeat."""
    config, meta = follower.config, follower.meta
    versions, data = _mapping(meta, "versions"), _mapping(meta, "data")
    lines = [f"Seed {config.run.seed}. " + ", ".join(f"{name} {version}" for name, version in versions.items()) + "."]
    lines.append(f"Trained on: {_mapping(meta, 'machine').get('processor', 'unknown')}. The same seed gives the same "
                 "bits on the same machine; on another one the last digits may differ.")  # fmt: skip
    if data.get("digest"):
        path = f", file {data['path']}" if data.get("path") else ""
        lines.append(f"Data: {data.get('name')}{path}, digest {data['digest']}.")
    lines += [
        f"The {rule.kind} {rule.short} is the run's own: add --rules {rule.file}, from its directory, to the command."
        for rule in recorded_rules(follower.run.path)
    ]
    changes = [event for event in follower.events if event.kind == EventKind.SETTING]
    if changes:
        lines.append(f"Settings were changed while it trained ({len(changes)} times, below): the command repeats the "
                     f"run up to epoch {changes[0].epoch}.")  # fmt: skip
    if config.parallel.workers > 1 and config.parallel.mode == "wasap":
        lines.append("Asynchronous workers: the order of their gradients, and so the result, differs from run to run.")
    return lines


def _mapping(meta: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = meta.get(name)
    return part if isinstance(part, Mapping) else {}


def _events(follower: RunFollower) -> str:
    """Return the events of a run, the first ones if there are many."""
    items = [f"<li>Epoch {event.epoch}: {escape(event.message)}</li>" for event in follower.events[:_MAX_EVENTS]]
    more = len(follower.events) - len(items)
    return f"<h2>Events</h2><ul>{''.join(items)}</ul>{f'<p>… and {more:,} more.</p>' if more else ''}" if items else ""
