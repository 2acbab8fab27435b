"""Plots and live views of runs, for the dashboard and for notebooks. Needs the extra ``tsnn[app]``.

>>> from tsnn import views
>>> views.watch(run)  # doctest: +SKIP
>>> views.accuracy(records)  # doctest: +SKIP
>>> views.draw(views.DegreePlot(layer=0), snapshot)  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tsnn.views.history import History
    from tsnn.views.live.follower import RunFollower
    from tsnn.views.notebook import ended, watch
    from tsnn.views.plots.charts import curves, histogram
    from tsnn.views.plots.curves import accuracy, connections, density, loss, r2, seconds
    from tsnn.views.plots.degrees import AgePlot, DegreePlot
    from tsnn.views.plots.neurons import ImportancePlot
    from tsnn.views.plots.topology import MatrixMap, draw, input_plot
    from tsnn.views.plots.workers import StalenessPlot, TimePlot

_HOMES = {
    "live.follower": ("RunFollower",),
    "history": ("History",),
    "notebook": (
        "ended",
        "watch",
    ),
    "plots.charts": (
        "curves",
        "histogram",
    ),
    "plots.curves": (
        "accuracy",
        "connections",
        "density",
        "loss",
        "r2",
        "seconds",
    ),
    "plots.degrees": (
        "AgePlot",
        "DegreePlot",
    ),
    "plots.neurons": ("ImportancePlot",),
    "plots.topology": (
        "MatrixMap",
        "draw",
        "input_plot",
    ),
    "plots.workers": (
        "StalenessPlot",
        "TimePlot",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AgePlot", "DegreePlot", "History", "ImportancePlot", "MatrixMap", "RunFollower", "StalenessPlot", "TimePlot",
    "accuracy", "connections", "curves", "density", "draw", "ended", "histogram", "input_plot", "loss", "r2",
    "seconds", "watch",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
