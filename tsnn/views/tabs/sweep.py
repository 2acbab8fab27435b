"""Plots of a sweep that fill while its trials run; a selection in one marks the others."""

# mypy: disable-error-code="no-untyped-call"
# Panel's and HoloViews' constructors are not annotated.

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import holoviews as hv
import panel as pn
import panel_material_ui as pmui

from tsnn.errors import TsnnError
from tsnn.runs.ranking import ranking, summary_lines
from tsnn.views.live import icons
from tsnn.views.live.follower import RunFollower, follow
from tsnn.views.live.sweep_follower import SweepFollower
from tsnn.views.plots import sweep_plots
from tsnn.views.plots.brushing import Brush
from tsnn.views.plots.comparison import ComparePlot, styled
from tsnn.views.plots.figures import set_title
from tsnn.views.plots.sweep_table import OTHERS, SweepTable, best_cells, runs_of, short
from tsnn.views.tabs.cards import CARD, Card, card, empty_pane, grid, say_empty
from tsnn.views.tabs.sweep_topology import live_topologies
from tsnn.views.tabs.sweep_trials import titles, trial_rows, trials_table

_HEIGHT = 340
_BEST = 3  # cells whose curves are drawn while none is chosen
_MOST_CELLS = 6  # whose curves are drawn
_MOST_RUNS = 30
_ROUNDS = (
    "Successive halving trains the best settings longer. Results after different numbers of epochs cannot be compared: "
    "the plots have those after the same number, of all trials that reached it."
)


class SweepView:
    """Heat map, trade-offs, parallel coordinates, importance, curves and list of trials of a sweep.

    Parameters
    ----------
    follower : SweepFollower
        The sweep.
    open_run : callable, optional
        Called with the name of a trial's run that was clicked.

    Attributes
    ----------
    brush : Brush
        The chosen cells.
    layout : Panel object
        All of it.
    """

    def __init__(self, follower: SweepFollower, open_run: Callable[[str], None] | None = None):
        self.follower, self._open = follower, open_run
        self.brush = Brush(self._chosen)
        self._pipes: dict[str, hv.streams.Pipe] = {}
        self._due: list[str] = []
        self._version = -1
        self._curves: dict[str, RunFollower] = {}
        self._curves_drawn: tuple[Any, ...] = ()
        self._listed: list[str] = []
        self._drawings: dict[str, Callable[[SweepTable], Any]] = {
            "sweep_heat": self._heat_map,
            "sweep_connections": lambda table: sweep_plots.trade_off(table, "connections"),
            "sweep_seconds": lambda table: sweep_plots.trade_off(table, "seconds"),
            "sweep_parallel": sweep_plots.parallel,
            "sweep_importance": sweep_plots.importance_plot,
        }
        self._build()
        self.tick()

    @property
    def table(self) -> SweepTable:
        """The trials; with successive halving after the chosen round."""
        return self.follower.tables.get(self.round.value, self.follower.table)

    def _build(self) -> None:
        stretch: dict[str, Any] = {"sizing_mode": "stretch_width", "margin": 0}
        style: dict[str, Any] = {"size": "small", "margin": (4, 8), "width": 190}
        self.round = pmui.Select(label="Compared after", description=_ROUNDS, **{**style, "width": 260})
        self._show_rounds()
        options = {short(name): name for name in self.table.settings}
        names = list(options.values())
        self.x = pmui.Select(label="Across", options=options, value=next(iter(names), None), **style)
        self.y = pmui.Select(label="Up", options=options, value=names[1] if names[1:] else None, **style)
        self.others = pmui.Select(
            label="Other settings", options=dict(zip(("Mean", "Best", "Selected"), OTHERS, strict=True)),
            value="mean", visible=len(names) > 2, **style,
        )  # fmt: skip
        self.clear = pmui.Button(label="Clear selection", variant="outlined", size="small", margin=(4, 8),
                                 visible=False)  # fmt: skip
        self.topologies = pmui.Button(label="Show topologies", icon=icons.MAPS, variant="outlined", size="small",
                                      margin=(4, 8))  # fmt: skip
        self._axes = pn.FlexBox(self.round, self.x, self.y, self.others, self.topologies, self.clear,
                                align_items="center", margin=0)  # fmt: skip
        for part in (self.x, self.y, self.topologies):
            part.visible = len(names) > 1
        self._axes.visible = len(names) > 1 or self.round.visible
        self._head = pn.pane.HTML("", styles={**CARD, "padding": "12px 16px"}, **stretch)
        self._empty = empty_pane()
        self._places = {name: pn.Column(**stretch) for name in self._drawings}
        self._cards = {name: Card(place, name, visible=False) for name, place in self._places.items()}
        self.curve = ComparePlot(sweep_plots.objective_label(self.table), self._column(), "0.[0]%" if
                                 self.table.is_fraction else "0.00", bounds=(None, 1.0))  # fmt: skip
        self._curve_card = card(self.curve.figure, "sweep_curves", visible=False)
        self.trials = trials_table(self.table)
        self._topology = pn.Column(**stretch)
        self._topology_card = Card(self._topology, "sweep_topologies", visible=False)
        self._list = Card(self.trials, "sweep_trials", visible=False)
        self.layout = pn.Column(
            self._head, self._axes, self._empty, grid(*self._cards.values(), self._curve_card),
            self._topology_card, self._list,
            sizing_mode="stretch_width", margin=0, styles={"gap": "12px"},
        )  # fmt: skip
        for widget in (self.x, self.y, self.others):
            widget.param.watch(lambda _: self._redraw("sweep_heat"), "value")
        self.round.param.watch(lambda _: self._show_table(), "value")
        self.clear.on_click(lambda _: self._clear())
        self.topologies.on_click(lambda _: self._draw_topologies())
        self.trials.on_click(self._clicked)

    def _show_rounds(self) -> None:
        """Offer the rounds of successive halving."""
        rounds = self.follower.sweep.plan.rounds
        options = {f"{n} epoch{'s'[: n != 1]} ({points} combination{'s'[: points != 1]})": n for n, points in rounds}
        if options != self.round.options:
            kept = self.round.value if self.round.value in options.values() else next(iter(options.values()), None)
            self.round.param.update(options=options, value=kept, visible=bool(options))

    def _column(self) -> str:
        return "test_accuracy" if self.table.is_fraction else "test_r2"

    def _heat_map(self, table: SweepTable) -> Any:
        return sweep_plots.heat_map(table, self.x.value, self.y.value, self.others.value, self.brush.cells)

    @pn.io.hold()
    def tick(self) -> bool:
        """Show new results, one plot at each call; returns whether anything changed."""
        version = self.follower.poll()
        changed = version != self._version
        if changed:
            self._version = version
            self._show_rounds()
            self._show_table()
        if self._due:
            self._draw(self._due.pop(0))
            changed = True
        return self._draw_curves() or changed

    def _draw(self, name: str) -> None:
        """Draw a plot with the present table; one that has been drawn keeps its selection."""
        drawable = self.table.settings and self.table.trials["value"].notna().any()
        if not drawable or (name == "sweep_heat" and self.x.value in (None, self.y.value)):
            self._cards[name].visible = False
            return
        if name in self._pipes:
            self._pipes[name].send(self.table)
        else:
            self._pipes[name] = hv.streams.Pipe(data=self.table)
            draw, hook = self._drawings[name], self.brush.hook
            drawn = hv.DynamicMap(lambda data: sweep_plots.brushed(draw(data), hook), streams=[self._pipes[name]])
            pane = pn.pane.HoloViews(drawn, height=_HEIGHT, sizing_mode="stretch_width", margin=0)
            self._places[name].objects = [pane]
        self._cards[name].visible = True

    def _redraw(self, name: str) -> None:
        self._due = [name, *(each for each in self._due if each != name)] if self._pipes else self._due

    def _chosen(self, _cells: list[int]) -> None:
        with pn.io.hold():
            self.clear.visible = bool(self.brush.cells)
            self._show_trials()
        if self.others.value == "selected":
            self._redraw("sweep_heat")

    def _clear(self) -> None:
        self.brush.choose([])
        self._chosen([])

    def _show_table(self) -> None:
        self._head.object = head_html(self.follower)
        known = self.table.trials["value"].notna().any()
        say_empty(self._empty, "" if known else _waiting(self.follower))
        self._show_trials()
        self._due += [name for name in self._drawings if name not in self._due] if known or self._pipes else []

    def shown_cells(self) -> list[int]:
        """Return the chosen cells, or the best ones if none is chosen."""
        return self.brush.cells or best_cells(self.table, _BEST)

    def shown_runs(self) -> list[str]:
        """Return the names of the runs of the chosen cells, or of the best ones if none is chosen."""
        return runs_of(self.table, self.shown_cells(), _MOST_RUNS)

    def _draw_curves(self) -> bool:
        """Draw the learning curves of the chosen cells, if they have changed."""
        cells = self.shown_cells()[:_MOST_CELLS]
        trials = self.table.trials
        groups: dict[int, list[RunFollower]] = {}
        for cell in cells:
            runs = trials.loc[(trials["cell"] == cell) & (trials["run"] != ""), "run"]
            groups[cell] = [found for run in runs if (found := self._follower(run)) is not None]
        for followers in groups.values():
            for found in followers:
                found.poll()
        drawn = tuple((cell, tuple(len(f.history) for f in groups[cell])) for cell in cells)
        if drawn == self._curves_drawn:
            return False
        self._curves_drawn = drawn
        known = self.table.cells.set_index("cell")["settings"]
        rows = {known[cell]: [f.history for f in found] for cell, found in groups.items() if found}
        self.curve.update(styled(list(rows), list(rows.values())), "epoch", 0.0)
        kind = "chosen" if self.brush.cells else "best"
        set_title(self.curve.figure, f"{sweep_plots.objective_label(self.table)} of the {kind} settings")
        self._curve_card.visible = self.curve.visible
        return True

    def _follower(self, run: str) -> RunFollower | None:
        if run not in self._curves:
            try:
                self._curves[run] = follow(self.follower.sweep.store.open(run.rpartition("/")[2]))
            except TsnnError:  # just deleted
                return None
        return self._curves[run]

    def _draw_topologies(self) -> None:
        """Draw the present final topologies over the two settings of the heat map, with sliders."""
        try:
            drawn = live_topologies(self.follower.sweep, self.table, self.x.value, self.y.value)
            pane = pn.pane.HoloViews(drawn, widgets=dict.fromkeys(_sliders(drawn), pmui.DiscreteSlider))
            self._topology.objects = [pn.Row(*pane.widget_box, margin=(0, 8)), pane]
        except TsnnError as error:
            self._topology.objects = [pn.pane.HTML(escape(str(error)), margin=(8, 14))]
        self._topology_card.visible = True

    def _show_trials(self) -> None:
        """List the trials of the chosen cells; all of them, the best cells first, if none is chosen."""
        trials = self.table.trials
        chosen = trials[trials["cell"].isin(self.brush.cells)] if self.brush.cells else trials
        means = chosen["cell"].map(self.table.cells.set_index("cell")["value"])
        chosen = chosen.assign(mean=means).sort_values(["mean", "cell"], ascending=[False, True], kind="stable")
        self._listed = list(chosen["run"])
        self.trials.value = trial_rows(self.table, list(chosen.index), linked=self._open is not None)
        if self.trials.titles != (names := titles(self.table)):
            self.trials.titles = names
        self._list.visible = bool(len(trials))
        n = len(self.brush.cells)
        self._list.set_note(f"{len(chosen)} trials of {n} chosen combination{'s'[: n != 1]} of settings." if n else "")

    def _clicked(self, event: Any) -> None:
        if self._open is not None and event.row < len(self._listed) and (run := self._listed[event.row]):
            self._open(run)


def _sliders(drawn: hv.Layout) -> list[str]:
    return [dimension.name for dimension in next(iter(drawn)).kdims]


def head_html(follower: SweepFollower) -> str:
    """Return name, progress and best settings of a sweep as HTML."""
    sweep, table = follower.sweep, follower.table
    counts = table.counts()
    total, done = len(table.trials), counts.pop("finished", 0)
    states = "".join(f", {n:,} {state}" for state, n in counts.items())
    title = f"<b style='font-size:17px;overflow-wrap:anywhere'>{escape(sweep.name or sweep.id)}</b>"
    text = f"{title}<div>{done:,} of {total:,} trials finished{states}.</div>"
    if best_cells(table, 1):
        best, *notes = summary_lines(sweep, ranking(sweep, sweep.results(0.0)))
        text += f"<div><b>{escape(best)}</b></div>"
        text += "".join(f"<div style='opacity:.75;font-size:12.5px'>{escape(note)}</div>" for note in notes)
    return f"<div style='font-family:var(--bokeh-base-font);font-size:14px;line-height:1.5'>{text}</div>"


def _waiting(follower: SweepFollower) -> str:
    if follower.sweep.problem:
        return escape(follower.sweep.problem)
    if follower.over:
        return "No trial has finished. Continue the sweep, or open a trial below to see its log."
    return "The plots fill as trials finish."
