"""Runs beside each other: curves, settings that differ, results; baselines and seeds in one click."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

from pages.theme import CARD, NATURAL, html
from tsnn.config import Config
from tsnn.errors import TsnnError
from tsnn.jobs.queue import enqueue
from tsnn.runs import Run, RunStore
from tsnn.runs.catalog import catalog
from tsnn.runs.comparison import Column, RunResult, baselines, find, format_cell, grouped, labels, result, seeds, table
from tsnn.runs.export import csv_bytes
from tsnn.views.live.follower import RunFollower, follow
from tsnn.views.plots.comparison import compare_plots, styled
from tsnn.views.tabs.cards import card, grid

_OFFERED = 300
_SETTINGS_IN_FRONT = 3
_TABLE_SECONDS = 2.0
_STYLE = """<style>
.compared {border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; white-space: nowrap}
.compared th {text-align: left; font-weight: 700; padding: 4px 14px 4px 0; opacity: .75}
.compared td {padding: 4px 14px 4px 0; border-top: 1px solid color-mix(in srgb, currentColor 14%, transparent)}
.compared .n {text-align: right}
.swatch {display: inline-block; width: 26px; height: 0; border-top: 3px; vertical-align: middle; margin-right: 8px}
</style>"""
_CSS_DASH = {"solid": "solid", "dashed": "dashed", "dotted": "dotted", "dashdot": "dashed", "dotdash": "dotted"}
_NOTE = (
    "Results are those of the <b>last epoch</b>. The best of many test epochs would be chosen with the very samples "
    "that are to judge it; to see a best one, hold samples back: <b>Validation fraction</b> under Advanced."
)
_HELP = (
    "Baselines train the first run's settings as SET (connections move), fixed (the random start is kept) and dense; "
    "more seeds train them with other random numbers. What exists already is not repeated."
)
_EMPTY = (
    "<b>Nothing to compare yet.</b> Choose runs above, or open a run and press <b>Run baselines</b>: the same settings "
    "as SET (evolving), fixed (the random start is kept) and dense, trained one after another and drawn here."
)


class CompareTab:
    """The tab that compares.

    Parameters
    ----------
    store : RunStore
        Where runs are kept.
    opened : callable
        Returns the id of the run that is open, or "".
    chosen : callable
        Called with the ids when other runs are compared.
    """

    def __init__(self, store: RunStore, opened: Callable[[], str], chosen: Callable[[list[str]], None]):
        self._store, self._opened, self._chosen = store, opened, chosen
        self._catalog = catalog(store)
        self._followers: dict[str, RunFollower] = {}
        self._drawn: tuple[Any, ...] = ()
        self._tabled = -float("inf")
        self._results: dict[str, tuple[int, RunResult]] = {}
        self._rows: list[list[RunResult]] = []
        self._labels: list[str] = []
        self._columns: list[Column] = []
        self._versions: list[int] = []
        self._options: tuple[Any, ...] = ()
        self._build()
        self.layout = pn.Column(
            pn.Column(
                self.runs, pn.FlexBox(self.axis, self.smoothing, self.seeds, align_items="center", margin=0,
                                      sizing_mode="stretch_width"),
                pn.FlexBox(self.baselines, self.more_seeds, self.count, self.download, align_items="center", margin=0,
                           sizing_mode="stretch_width"),
                pn.pane.HTML(html(_HELP, "font-size:12.5px;opacity:.75"), margin=(0, 8), sizing_mode="stretch_width"),
                self.said, styles={**CARD, "padding": "8px"}, sizing_mode="stretch_width", margin=0,
            ),
            self._empty, self._table, self._grid, sizing_mode="stretch_width", margin=0, styles={"gap": "12px"},
        )  # fmt: skip

    def _build(self) -> None:
        style: dict[str, Any] = {"size": "small", "margin": (4, 8)}
        self.runs = pmui.MultiChoice(
            label="Runs", options={}, value=[], sizing_mode="stretch_width", placeholder="Choose runs", searchable=True,
            visual_size="small", margin=(4, 8),
        )  # fmt: skip
        self.axis = pmui.RadioButtonGroup(
            options={"Epochs": "epoch", "Samples": "samples", "Time": "seconds"}, value="epoch", sx=NATURAL, **style
        )
        self.smoothing = pmui.FloatSlider(
            label="Smoothing", start=0, end=0.98, step=0.02, value=0, width=220, margin=(4, 20), size="small",
            description="Moving average of the curves; what was measured stays visible behind it, pale.",
        )  # fmt: skip
        self.seeds = pmui.Switch(
            label="Mean over seeds", value=False, width=230, margin=(4, 8),
            description="Runs that differ in nothing but the seed become one curve: mean and standard deviation.",
        )  # fmt: skip
        self.baselines = pmui.Button(label="Run baselines", icon="compare_arrows", variant="contained", **style)
        self.more_seeds = pmui.Button(label="Run more seeds", icon="casino", variant="outlined", **style)
        self.count = pmui.IntInput(label="Seeds", value=5, start=2, end=100, step=1, width=100, **style)
        self.download = pmui.FileDownload(label="Table as CSV", callback=self._csv, filename="comparison.csv",
                                          variant="outlined", **style)  # fmt: skip
        self.said = pmui.Alert(severity="info", visible=False, closeable=True, margin=(4, 8),
                               sizing_mode="stretch_width")  # fmt: skip
        whole: dict[str, Any] = {"sizing_mode": "stretch_width", "margin": 0}
        self._empty = pn.pane.HTML(html(_EMPTY, "font-size:15px;padding:24px"), styles=CARD, **whole)
        self._table = pn.pane.HTML("", styles={**CARD, "padding": "10px 14px", "overflow-x": "auto"}, **whole)
        self.plots = compare_plots()
        self._cards = [card(plot.figure, f"compared_{plot.column}") for plot in self.plots]
        self._grid = grid(*self._cards)
        for part in (self._table, self._grid, self.download):
            part.visible = False
        self.runs.param.watch(lambda event: self._chosen(list(event.new)), "value")
        for widget, name in ((self.axis, "value"), (self.smoothing, "value_throttled"), (self.seeds, "value")):
            widget.param.watch(lambda _: self.update(), name)
        self.baselines.on_click(lambda _: self._start(baselines, "method"))
        self.more_seeds.on_click(lambda _: self._start(lambda config: seeds(config, self.count.value), "seed"))

    def show(self, ids: list[str]) -> None:
        """Compare these runs; those that are gone are left out."""
        known = {line.run: line.name for line in self._catalog.summaries()}
        followers = {}
        for run_id in dict.fromkeys(ids):
            try:
                followers[run_id] = self._followers.get(run_id) or follow(self._store.open(run_id))
            except TsnnError as error:
                self._say(str(error), "warning")
        self._followers = followers
        offered = [*list(known)[:_OFFERED], *(run for run in followers if run not in list(known)[:_OFFERED])]
        names = {_unique(known.get(run, run), run): run for run in offered}
        if names != self.runs.options or self.runs.value != list(followers):
            self.runs.param.update(options=names, value=list(followers))
        self._drawn, self._options = (), ()
        self.update()

    @pn.io.hold()
    def update(self) -> bool:
        """Show what is new in the runs that are compared; returns whether the curves have been drawn anew."""
        versions = [follower.poll() for follower in self._followers.values()]
        options = (tuple(self._followers), self.seeds.value)
        due = versions != self._versions and time.monotonic() - self._tabled >= _TABLE_SECONDS
        if due or options != self._options:
            self._versions, self._options, self._tabled = versions, options, time.monotonic()
            self._tabulate()
        lengths = tuple(len(follower.history) for follower in self._followers.values())
        drawn = (lengths, self.axis.value, self.smoothing.value, self.seeds.value, tuple(map(len, self._rows)))
        if changed := drawn != self._drawn:
            self._drawn = drawn
            self._draw()
        return changed

    def _tabulate(self) -> None:
        results = [self._result(follower) for follower in self._followers.values()]
        self._rows = grouped(results) if self.seeds.value else [[r] for r in results]
        self._labels = labels(self._rows)
        self._columns = _results_in_sight(table(results, over_seeds=self.seeds.value))
        text = self._html() if results else ""
        if text != self._table.object:
            self._table.object = text
        for part in (self._table, self._grid, self.download):
            part.visible = bool(results)
        self._empty.visible = not results

    def _result(self, follower: RunFollower) -> RunResult:
        version, known = self._results.get(follower.run.id, (-1, None))
        if known is None or version != follower.version:
            known = result(follower.run)
            self._results[follower.run.id] = follower.version, known
        return known

    def _draw(self) -> None:
        histories = [[self._followers[r.run].history for r in row] for row in self._rows]
        rows = styled(self._labels, histories)
        for plot, shell in zip(self.plots, self._cards, strict=True):
            plot.update(rows, self.axis.value, self.smoothing.value)
            if shell.visible != plot.visible:
                shell.visible = plot.visible

    def _html(self) -> str:
        styles = styled(self._labels, [[]] * len(self._labels))
        head = "".join(f"<th{_align(c.kind)}>{_head(c.title)}</th>" for c in self._columns)
        body = ""
        for i, row in enumerate(styles):
            swatch = (
                f"<span class='swatch' style='border-color:{row.color};border-top-style:{_CSS_DASH[row.dash]}'></span>"
            )
            cells = [
                f"<td{_align(c.kind)}>{swatch if c.title == 'run' else ''}{escape(text)}</td>"
                for c in self._columns
                for text in [format_cell(c.kind, c.values[i])]
            ]
            body += f"<tr>{''.join(cells)}</tr>"
        return html(f"{_STYLE}<table class='compared'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
                    f"<div style='font-size:12.5px;opacity:.75;margin-top:8px'>{_NOTE}</div>")  # fmt: skip

    def _csv(self) -> io.BytesIO:
        columns: dict[str, list[Any]] = {}
        for column in self._columns:
            columns[column.title] = [getattr(value, "mean", value) for value in column.values]
            if any(hasattr(value, "deviation") for value in column.values):
                columns[f"{column.title} (deviation)"] = [getattr(value, "deviation", None) for value in column.values]
        return io.BytesIO(csv_bytes(columns))

    def _start(self, variants: Callable[[Config], list[Config]], what: str) -> None:
        base = next(iter(self._followers), "") or self._opened()
        if not base:
            self._say("Open a run or choose one above: its settings are the ones to vary.", "warning")
            return
        try:
            runs, begun = self._start_missing(variants(self._store.open(base).config()))
        except (TsnnError, OSError) as error:
            self._say(str(error), "error")
            return
        there = len(runs) - begun
        self._say(
            f"{begun} run{'' if begun == 1 else 's'} put in line; they train as there is room. "
            + (f"{there} with these settings {'is' if there == 1 else 'are'} there already." if there else ""),
            "info",
        )
        self.seeds.value = what == "seed" or self.seeds.value
        self._chosen(list(dict.fromkeys([*self._followers, *runs])))

    def _start_missing(self, wanted: list[Config]) -> tuple[list[str], int]:
        """Return the run of each configuration, and how many had to be put in line: nobody had carried them out."""
        lines, runs, begun = self._catalog.summaries(), [], 0
        for config in wanted:
            key = (config.data.name, config.training.method, config.run.seed, config.training.epochs)
            alike = (line.run for line in lines if (line.data, line.method, line.seed, line.planned) == key)
            run = find(config, (Run(self._store.root / name) for name in alike))
            begun += run is None
            runs.append((run or enqueue(config, self._store)).id)
        return runs, begun

    def _say(self, text: str, severity: str) -> None:
        self.said.param.update(object=escape(text), severity=severity, visible=True)


def _align(kind: str) -> str:
    return "" if kind == "text" else " class='n'"


def _results_in_sight(columns: list[Column]) -> list[Column]:
    """Return the columns with the settings behind the results where there are so many that they would push them out."""
    settings = [column for column in columns if "." in column.title]
    if len(settings) <= _SETTINGS_IN_FRONT:
        return columns
    return [*(column for column in columns if column not in settings), *settings]


def _head(title: str) -> str:
    short = "data" if title == "data.name" else title.rpartition(".")[2].replace("_", " ")
    return f"<span title='{escape(title)}'>{escape(short)}</span>"


def _unique(name: str, run: str) -> str:
    return name if name == run else f"{name} ({run})"
