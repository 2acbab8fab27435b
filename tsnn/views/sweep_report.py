"""Parts of the report of a sweep: its ranking, its linked plots, the topologies over its first two settings."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import panel as pn

from tsnn.errors import RunError
from tsnn.runs import ranking
from tsnn.runs.sweeps import Sweep
from tsnn.views.plots import sweep_plots
from tsnn.views.plots.brushing import Brush
from tsnn.views.plots.sweep_table import SweepTable, sweep_table
from tsnn.views.tabs.cards import Card, grid
from tsnn.views.tabs.results import comparison_html
from tsnn.views.tabs.sweep_topology import topologies

_MAX_ROWS = 100  # of the ranking


def head_html(sweep: Sweep) -> str:
    """Return the best settings of a sweep, whether others differ from them, and its ranking as HTML."""
    results = sweep.results()
    ranked = ranking.ranking(sweep, results)
    states = [str(trial.state) for trial, _ in results]
    done = f"{states.count('finished')} of {len(states)} trials finished."
    lines = "".join(f"<p>{escape(line)}</p>" for line in (done, *ranking.summary_lines(sweep, ranked)))
    listed = comparison_html(ranking.table(sweep, ranked[:_MAX_ROWS]), [], note="")
    more = f"<p>… and {len(ranked) - _MAX_ROWS} more.</p>" if len(ranked) > _MAX_ROWS else ""
    return f"{lines}<h2>Ranking</h2><div class='scroll'>{listed}</div>{more}"


def plots(sweep: Sweep) -> list[Any]:
    """Return the plots of a sweep as cards; a selection in one marks the others."""
    table = sweep_table(sweep)
    if not table.trials["value"].notna().any():
        return [pn.pane.HTML("The plots need a finished trial.", margin=0)]
    drawings: dict[str, Callable[[SweepTable], Any]] = {
        "sweep_connections": sweep_plots.trade_off,
        "sweep_seconds": lambda table: sweep_plots.trade_off(table, "seconds"),
        "sweep_parallel": sweep_plots.parallel,
        "sweep_importance": sweep_plots.importance_plot,
    }
    if len(table.settings) > 1:
        x, y = table.settings[:2]
        drawings = {"sweep_heat": lambda table: sweep_plots.heat_map(table, x, y), **drawings}
    brush = Brush(lambda _cells: None)  # the browser links them
    cards = [Card(pn.pane.HoloViews(sweep_plots.brushed(draw(table), brush.hook), sizing_mode="stretch_width"), name)
             for name, draw in drawings.items()]  # fmt: skip
    return [grid(*cards)]


def topology(sweep: Sweep, most: int) -> list[Any]:
    """Return final inputs and degrees over the first two settings with sliders; nothing if there are none.

    Parameters
    ----------
    sweep : Sweep
        The sweep.
    most : int
        Most pairs of values that are drawn.
    """
    try:
        drawn = topologies(sweep, sweep_table(sweep), *list(sweep.settings)[:2], network=False)
    except (RunError, TypeError):
        return []
    first = next(iter(drawn))
    if len(first) > most:
        return []
    widgets = {dimension.name: pn.widgets.DiscreteSlider for dimension in first.kdims}
    pane = pn.pane.HoloViews(drawn, widgets=widgets)  # not Material's, as on a page
    for slider in pane.widget_box:
        slider.param.update(width=400, margin=(0, 8))
    return [*pane.widget_box, pane]
