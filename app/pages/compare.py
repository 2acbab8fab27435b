"""Tab Compare: curves, differing settings and results of several runs; starts baselines and repetitions."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import panel as pn
import panel_material_ui as pmui

from pages.readonly import is_readonly
from pages.reports import ReportButton
from pages.theme import CARD, NATURAL, html, plain
from tsnn.config import Config
from tsnn.errors import TsnnError
from tsnn.jobs.queue import enqueue
from tsnn.jobs.race import RACE, find_runs
from tsnn.runs import RunStore
from tsnn.runs.catalog import catalog
from tsnn.runs.cells import Column
from tsnn.runs.comparison import baselines, grouped, labels, more_seeds, seeds, table
from tsnn.runs.export import csv_bytes
from tsnn.runs.results import ResultReader, RunResult
from tsnn.views.live.follower import RunFollower, follow
from tsnn.views.plots.comparison import compare_plots, styled
from tsnn.views.plots.curves import fork_epoch
from tsnn.views.tabs.captions import CAPTIONS
from tsnn.views.tabs.cards import card, grid
from tsnn.views.tabs.distances import DistanceCard
from tsnn.views.tabs.race import RaceView
from tsnn.views.tabs.results import comparison_html, ordered
from tsnn.views.tabs.verdict import verdict_html

_MAX_OPTIONS = 300
_TABLE_SECONDS = 2.0
_READING_SECONDS = 0.05  # of a run's metrics, at each update of the page
_UNKNOWN: dict[str, Any] = dict.fromkeys(
    ("test_accuracy", "test_loss", "test_r2", "train_loss", "connections", "seconds", "memory_bytes",
     "best_epoch", "best_accuracy", "best_loss", "best_r2"))  # fmt: skip
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
        self._turn = False  # whether the networks are to be drawn next
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
                pn.FlexBox(self.baselines, self.more_seeds, self.count, self.download, self.report.button,
                           align_items="center", margin=0, sizing_mode="stretch_width"),
                self._help, self.message, styles={**CARD, "padding": "8px"}, sizing_mode="stretch_width", margin=0,
            ),
            self._empty, self._verdict, self.race.layout, self._table, self._grid, sizing_mode="stretch_width",
            margin=0, styles={"gap": "12px"},
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
            description=CAPTIONS["smoothing"],
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
        self.report = ReportButton(
            lambda: [follower.run for follower in self._followers.values()],
            lambda text: self._show_message(text, "error"), variant="outlined", **style,
        )  # fmt: skip
        self.message = pmui.Alert(severity="info", visible=False, closeable=True, margin=(4, 8),
                               sizing_mode="stretch_width")  # fmt: skip
        stretch: dict[str, Any] = {"sizing_mode": "stretch_width", "margin": 0}
        self._empty = pn.pane.HTML(html(_EMPTY, "font-size:15px;padding:24px"), styles=CARD, **stretch)
        self._help = pn.pane.HTML(html(_HELP, "font-size:12.5px;opacity:.75"), **{**stretch, "margin": (0, 8)})
        self._verdict = pn.pane.HTML("", visible=False, styles={**CARD, "padding": "12px 16px"}, **stretch)
        self.race = RaceView(self._mark)
        self.distances = DistanceCard(self._store.root)
        self._table = pn.pane.HTML("", styles={**CARD, "padding": "10px 14px", "overflow-x": "auto"}, **stretch)
        self.plots = compare_plots()
        for plot in self.plots:
            plot.clicked = self._hide_or_show
        self._cards = [card(plot.figure, f"compared_{plot.column}") for plot in self.plots]
        self._grid = grid(*self._cards, self.distances.card)
        starts = [self.baselines, self.more_seeds, self.count, self._help] if is_readonly() else []
        for part in (self._table, self._grid, self.download, self.report.button, *starts):
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
        known = {line.run: line.label for line in self._catalog.summaries()}
        followers = {}
        for run_id in dict.fromkeys(ids):
            try:
                followers[run_id] = self._followers.get(run_id) or follow(self._store.open(run_id))
            except TsnnError as error:
                self._show_message(str(error), "warning")
        before, self._followers = self._followers, followers
        options = [*list(known)[:_MAX_OPTIONS], *(run for run in followers if run not in list(known)[:_MAX_OPTIONS])]
        found = Counter(known.get(run, run) for run in options)
        names = {name if found[name := known.get(run, run)] == 1 else f"{name} ({run})": run for run in options}
        if names != self.runs.options or self.runs.value != list(followers):
            self.runs.param.update(options=names, value=list(followers))
        if list(followers) != list(before) and self._is_race(followers):
            self.axis.value = "seconds"
        if list(followers) != list(before) and followers and all("/" in run for run in followers):  # of a sweep
            self.seeds.value = True
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
        rows = tuple(map(len, self._rows)), tuple(self._labels)
        drawn = (lengths, self.axis.value, self.smoothing.value, self.seeds.value, rows)
        changed = drawn != self._drawn
        if changed and not (self._turn and drawn[1:] == self._drawn[1:]):  # curves and networks take turns
            self._drawn, self._turn = drawn, self.race.layout.visible
            self._draw()
        else:
            self._turn = False
            changed = self.race.update(self.axis.value == "seconds") or changed
        self.distances.update()
        self._mark()
        return changed

    def _mark(self) -> None:
        """Mark the moment of the clock in the curves."""
        for plot in self.plots:
            plot.show_cursor(None if self.axis.value == "samples" else self.race.moment)

    def _is_race(self, runs: Iterable[str]) -> bool:
        """Return whether runs have a common tag of a race."""
        tags = [set(line.tags) for line in self._catalog.summaries() if line.run in runs]
        return bool(tags) and any(tag.startswith(RACE) for tag in set.intersection(*tags))

    def _tabulate(self) -> None:
        self._reading = False
        results = [self._result(name, follower) for name, follower in self._followers.items()]
        self._rows = grouped(results) if self.seeds.value else [[r] for r in results]
        self._labels = labels(self._rows)
        self._columns = ordered(table(results, over_seeds=self.seeds.value))
        shown = [(label, self._followers[row[0].run]) for label, row in zip(self._labels, self._rows, strict=True)]
        self.race.show(shown)
        self.distances.show(shown)
        self._show_verdict()
        parts = [self._grid, self._table] if self.race.layout.visible else [self._table, self._grid]
        if self.layout.objects[-2:] != parts:  # of a race, networks and curves are seen together
            self.layout.objects = [*self.layout.objects[:-2], *parts]
        titles = [label + more_seeds(row) for label, row in zip(self._labels, self._rows, strict=True)]
        text = html(comparison_html(self._columns, titles)) if results else ""
        if text != self._table.object:
            self._table.object = text
        for part in (self._table, self._grid, self.download, self.report.button):
            part.visible = bool(results)
        self._empty.visible = not results

    def _hide_or_show(self, label: str) -> None:
        """Hide a curve in all plots, or show it again."""
        self.plots[0].hidden.symmetric_difference_update([label])
        self._drawn = ()
        self.update()

    def _show_verdict(self) -> None:
        text = verdict_html(self._rows, self._labels)
        if text != self._verdict.object or self._verdict.visible != bool(text):
            self._verdict.param.update(object=text, visible=bool(text))

    def _result(self, name: str, follower: RunFollower) -> RunResult:
        """Return the results of a run, by its name in the folder, from a reader shared by all pages.

        Reading a long run takes several calls.
        """
        reader: ResultReader = follower.shared.get("results", follower.run, lambda: ResultReader(follower.run))
        complete = reader.read(_READING_SECONDS)
        self._reading |= not complete
        found = reader.result()
        found = replace(found, run=name, name=name if found.name == found.run else found.name)
        return found if complete else replace(found, name=f"{found.name} (reading …)", **_UNKNOWN)

    def _draw(self) -> None:
        histories = [[self._followers[r.run].history for r in row] for row in self._rows]
        forks = [fork_epoch(self._followers[row[0].run].meta) for row in self._rows]
        rows = styled(self._labels, histories, forks)
        for plot, shell in zip(self.plots, self._cards, strict=True):
            plot.update(rows, self.axis.value, self.smoothing.value)
            if plot.column == "test_accuracy":
                data = [follower.meta.get("data", {}) for follower in self._followers.values()]
                plot.show_levels(d["baseline_accuracy"] for d in data if d.get("baseline_accuracy") is not None)
            if shell.visible != plot.visible:
                shell.visible = plot.visible

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
        found = find_runs(configs, self._store)
        runs = [run or enqueue(config, self._store) for run, config in zip(found, configs, strict=True)]
        return [run.id for run in runs], found.count(None)

    def _show_message(self, text: str, severity: str) -> None:
        self.message.param.update(object=plain(text), severity=severity, visible=True)
