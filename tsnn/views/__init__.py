"""Plots and live views of runs, for the dashboard and for notebooks. Needs the extra ``tsnn[app]``.

>>> from tsnn import views
>>> views.watch(run)  # doctest: +SKIP
>>> views.sweep(sweep)  # doctest: +SKIP
>>> views.selection(selector)  # doctest: +SKIP
>>> views.accuracy(records)  # doctest: +SKIP
>>> views.draw(views.DegreePlot(layer=0), snapshot)  # doctest: +SKIP
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from tsnn import lazy

if TYPE_CHECKING:
    from tsnn.views.exercises import Exercises
    from tsnn.views.history import History
    from tsnn.views.live.follower import RunFollower
    from tsnn.views.notebook import ended, watch
    from tsnn.views.plots.charts import curves, histogram
    from tsnn.views.plots.curves import accuracy, connections, density, loss, r2, seconds
    from tsnn.views.plots.degrees import AgePlot, DegreePlot
    from tsnn.views.plots.mistakes import ClassPlot, ConfusionPlot, ScatterPlot, mistakes
    from tsnn.views.plots.network import NetworkPlot
    from tsnn.views.plots.neurons import ImportancePlot
    from tsnn.views.plots.ranking import ranking
    from tsnn.views.plots.topology import MatrixMap, draw, input_plot
    from tsnn.views.plots.workers import StalenessPlot, TimePlot
    from tsnn.views.selections import SelectionPane, selection
    from tsnn.views.sweeps import SweepPane, sweep
    from tsnn.views.trials import trials

__all__ = [
    "AgePlot", "ClassPlot", "ConfusionPlot", "DegreePlot", "Exercises", "History", "ImportancePlot", "MatrixMap",
    "NetworkPlot", "RunFollower", "ScatterPlot", "SelectionPane", "StalenessPlot", "SweepPane", "TimePlot", "accuracy",
    "connections", "curves", "density", "draw", "ended", "histogram", "input_plot", "loss", "mistakes", "r2", "ranking",
    "seconds", "selection", "sweep", "trials", "watch",
]  # fmt: skip

_load, __dir__ = lazy.attach(
    __name__,
    {
        "live.follower": "RunFollower",
        "exercises": "Exercises",
        "history": "History",
        "notebook": "ended watch",
        "plots.charts": "curves histogram",
        "plots.curves": "accuracy connections density loss r2 seconds",
        "plots.degrees": "AgePlot DegreePlot",
        "plots.network": "NetworkPlot",
        "plots.mistakes": "ClassPlot ConfusionPlot ScatterPlot mistakes",
        "plots.neurons": "ImportancePlot",
        "plots.ranking": "ranking",
        "plots.topology": "MatrixMap draw input_plot",
        "plots.workers": "StalenessPlot TimePlot",
        "selections": "SelectionPane selection",
        "sweeps": "SweepPane sweep",
        "trials": "trials",
    },
)


def __getattr__(name: str) -> Any:
    """Return a public name; in a notebook that uses Panel, all that is displayed follows the theme from then on."""
    value = _load(name)
    if "panel" in sys.modules:
        from tsnn.views.live.design import follow_theme

        follow_theme()
    return value
