"""Tab Compare: curves, differing settings and results of several runs; starts baselines and repetitions."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import replace
from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

from pages.theme import CARD, NATURAL, html, plain
from tsnn.config import Config, describe, setting_names
from tsnn.errors import TsnnError
from tsnn.jobs.queue import enqueue
from tsnn.runs import Run, RunStore
from tsnn.runs.catalog import catalog
from tsnn.runs.cells import Column, format_cell
from tsnn.runs.comparison import baselines, find, grouped, labels, seeds, table
from tsnn.runs.export import csv_bytes
from tsnn.runs.results import ResultReader, RunResult
from tsnn.views.live.follower import RunFollower, follow
from tsnn.views.plots.comparison import compare_plots, styled
from tsnn.views.tabs.cards import card, grid

_MAX_OPTIONS = 300
_MAX_SETTINGS_FIRST = 3
_TABLE_SECONDS = 2.0
_READING_SECONDS = 0.05  # of a run's metrics, at each update of the page
_UNKNOWN: dict[str, Any] = dict.fromkeys(
    ("test_accuracy", "test_loss", "test_r2", "train_loss", "connections", "seconds", "memory_bytes",
     "best_epoch", "best_accuracy", "best_loss", "best_r2"))  # fmt: skip
_STYLE = """<style>
.compared {border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; white-space: nowrap}
.compared th {text-align: left; font-weight: 700; padding: 4px 14px 4px 0; opacity: .75}
.compared td {padding: 4px 14px 4px 0; border-top: 1px solid color-mix(in srgb, currentColor 14%, transparent)}
.compared .n {text-align: right}
.swatch {display: inline-block; width: 26px; height: 0; border-top: 3px; vertical-align: middle; margin-right: 8px}
</style>"""
_CSS_DASH = {"solid": "solid", "dashed": "dashed", "dotted": "dotted", "dashdot": "dashed", "dotdash": "dotted"}
_NOTE = (
    "Results are from the <b>last epoch</b>; picking the best test epoch would overstate accuracy. For early stopping "
    "set <b>Validation fraction</b> (Advanced)."
)
_HELP = (
    "Baselines train the first run's settings as SET (evolving), fixed random and dense; Repeat trains them with more "
    "seeds. Existing runs are not repeated."
)
_EMPTY = (
    "<b>Nothing to compare yet.</b> Choose runs above, or open a run and press <b>Run baselines</b>: the same settings "
    "as SET (evolving), fixed random and dense, trained one after another and drawn here."
)


class CompareTab:
    """Comparison of several runs.

    Parameters
    ----------
    store : RunStore
        Where runs are kept.
    open_run : callable
        Returns the id of the open run, or "".
    on_choose : callable
        Called with the ids of the chosen runs.
    """

    def __init__(self, store: RunStore, open_run: Callable[[], str], on_choose: Callable[[list[str]], None]):
        self._store, self._open_run, self._on_choose = store, open_run, on_choose
        self._catalog = catalog(store)
        self._followers: dict[str, RunFollower] = {}
        self._drawn: tuple[Any, ...] = ()
        self._tabulated_at = -float("inf")
        self._reading = False  # whether results are not complete yet
        self._rows: list[list[RunResult]] = []
        self._labels: list[str] = []
        self._columns: list[Column] = []
        self._versions: list[int] = []
        self._selection: tuple[Any, ...] = ()
        self._build()
        self.layout = pn.Column(
            pn.Column(
                self.runs, pn.FlexBox(self.axis, self.smoothing, self.seeds, align_items="center", margin=0,
                                      sizing_mode="stretch_width"),
                pn.FlexBox(self.baselines, self.more_seeds, self.count, self.download, align_items="center", margin=0,
                           sizing_mode="stretch_width"),
                pn.pane.HTML(html(_HELP, "font-size:12.5px;opacity:.75"), margin=(0, 8), sizing_mode="stretch_width"),
                self.message, styles={**CARD, "padding": "8px"}, sizing_mode="stretch_width", margin=0,
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
            description="Moving average of the curves; the measured values stay visible behind it, pale.",
        )  # fmt: skip
        self.seeds = pmui.Switch(
            label="Mean over seeds", value=False, width=230, margin=(4, 8),
            description="Runs that differ only in the seed become one curve: mean and standard deviation.",
        )  # fmt: skip
        self.baselines = pmui.Button(label="Run baselines", icon="compare_arrows", variant="contained", **style)
        self.more_seeds = pmui.Button(label="Repeat with 5 seeds", icon="casino", variant="outlined", **style)
        self.count = pmui.IntInput(label="Seeds", value=5, start=2, end=100, step=1, width=100, **style)
        self.download = pmui.FileDownload(label="Table as CSV", callback=self._csv, filename="comparison.csv",
                                          variant="outlined", **style)  # fmt: skip
        self.message = pmui.Alert(severity="info", visible=False, closeable=True, margin=(4, 8),
                               sizing_mode="stretch_width")  # fmt: skip
        stretch: dict[str, Any] = {"sizing_mode": "stretch_width", "margin": 0}
        self._empty = pn.pane.HTML(html(_EMPTY, "font-size:15px;padding:24px"), styles=CARD, **stretch)
        self._table = pn.pane.HTML("", styles={**CARD, "padding": "10px 14px", "overflow-x": "auto"}, **stretch)
        self.plots = compare_plots()
        self._cards = [card(plot.figure, f"compared_{plot.column}") for plot in self.plots]
        self._grid = grid(*self._cards)
        for part in (self._table, self._grid, self.download):
            part.visible = False
        self.runs.param.watch(lambda event: self._on_choose(list(event.new)), "value")
        for widget, name in ((self.axis, "value"), (self.smoothing, "value_throttled"), (self.seeds, "value")):
            widget.param.watch(lambda _: self.update(), name)
        self.baselines.on_click(lambda _: self._start(baselines))
        self.count.param.watch(
            lambda event: self.more_seeds.param.update(label=f"Repeat with {event.new} seeds"), "value"
        )
        self.more_seeds.on_click(
            lambda _: self._start(lambda config: seeds(config, self.count.value or 1), over_seeds=True)
        )

    def show(self, ids: list[str]) -> None:
        """Compare these runs; deleted ones are left out."""
        known = {line.run: line.name for line in self._catalog.summaries()}
        followers = {}
        for run_id in dict.fromkeys(ids):
            try:
                followers[run_id] = self._followers.get(run_id) or follow(self._store.open(run_id))
            except TsnnError as error:
                self._show_message(str(error), "warning")
        self._followers = followers
        options = [*list(known)[:_MAX_OPTIONS], *(run for run in followers if run not in list(known)[:_MAX_OPTIONS])]
        names = {_unique(known.get(run, run), run): run for run in options}
        if names != self.runs.options or self.runs.value != list(followers):
            self.runs.param.update(options=names, value=list(followers))
        self._drawn, self._selection = (), ()
        self.update()

    @pn.io.hold()
    def update(self) -> bool:
        """Show new records of the compared runs; returns whether the curves were drawn again."""
        versions = [follower.poll() for follower in self._followers.values()]
        selection = (tuple(self._followers), self.seeds.value)
        due = versions != self._versions and time.monotonic() - self._tabulated_at >= _TABLE_SECONDS
        if due or self._reading or selection != self._selection:
            self._versions, self._selection, self._tabulated_at = versions, selection, time.monotonic()
            self._tabulate()
        lengths = tuple(len(follower.history) for follower in self._followers.values())
        drawn = (lengths, self.axis.value, self.smoothing.value, self.seeds.value, tuple(map(len, self._rows)))
        if changed := drawn != self._drawn:
            self._drawn = drawn
            self._draw()
        return changed

    def _tabulate(self) -> None:
        self._reading = False
        results = [self._result(follower) for follower in self._followers.values()]
        self._rows = grouped(results) if self.seeds.value else [[r] for r in results]
        self._labels = labels(self._rows)
        self._columns = _ordered(table(results, over_seeds=self.seeds.value))
        text = self._html() if results else ""
        if text != self._table.object:
            self._table.object = text
        for part in (self._table, self._grid, self.download):
            part.visible = bool(results)
        self._empty.visible = not results

    def _result(self, follower: RunFollower) -> RunResult:
        """Return the results of a run, from a reader shared by all pages; reading a long run takes several calls."""
        reader: ResultReader = follower.shared.get("results", follower.run, lambda: ResultReader(follower.run))
        complete = reader.read(_READING_SECONDS)
        self._reading |= not complete
        found = reader.result()
        return found if complete else replace(found, name=f"{found.name} (reading …)", **_UNKNOWN)

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
                for text in [_cell(c, i)]
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

    def _start(self, variants: Callable[[Config], list[Config]], *, over_seeds: bool = False) -> None:
        base = next(iter(self._followers), "") or self._open_run()
        if not base:
            self._show_message("Open a run or choose one above: its settings are varied.", "warning")
            return
        try:
            runs, n_new = self._start_missing(variants(self._store.open(base).config()))
        except (TsnnError, OSError) as error:
            self._show_message(str(error), "error")
            return
        existing = len(runs) - n_new
        more = f"; {existing} existed already" if existing else ""
        self._show_message(f"{n_new} run{'' if n_new == 1 else 's'} queued{more}.", "info")
        self.seeds.value = over_seeds or self.seeds.value
        self._on_choose(list(dict.fromkeys([*self._followers, *runs])))

    def _start_missing(self, configs: list[Config]) -> tuple[list[str], int]:
        """Return the run of each configuration, and the number of new ones, which are queued."""
        lines, runs, n_new = self._catalog.summaries(), [], 0
        for config in configs:
            key = (config.data.name, config.training.method, config.run.seed, config.training.epochs)
            similar = (line.run for line in lines if (line.data, line.method, line.seed, line.planned) == key)
            run = find(config, (Run(self._store.root / name) for name in similar))
            n_new += run is None
            runs.append((run or enqueue(config, self._store)).id)
        return runs, n_new

    def _show_message(self, text: str, severity: str) -> None:
        self.message.param.update(object=plain(text), severity=severity, visible=True)


def _align(kind: str) -> str:
    return "" if kind == "text" else " class='n'"


def _cell(column: Column, row: int) -> str:
    text = format_cell(column.kind, column.values[row])
    return describe(column.title).display_name(text) if column.title in setting_names() else text


def _ordered(columns: list[Column]) -> list[Column]:
    """Return the columns, the settings after the results if many settings differ."""
    settings = [column for column in columns if "." in column.title]
    if len(settings) <= _MAX_SETTINGS_FIRST:
        return columns
    return [*(column for column in columns if column not in settings), *settings]


def _head(title: str) -> str:
    short = "data" if title == "data.name" else title.rpartition(".")[2].replace("_", " ")
    return f"<span title='{escape(title)}'>{escape(short)}</span>"


def _unique(name: str, run: str) -> str:
    return name if name == run else f"{name} ({run})"
