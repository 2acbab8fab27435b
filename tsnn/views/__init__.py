"""What is seen of a run, in the dashboard and in notebooks alike. Needs the extra ``tsnn[app]``.

>>> from tsnn import views
>>> views.watch(run)  # doctest: +SKIP
>>> views.accuracy(records)  # doctest: +SKIP
>>> views.draw(views.DegreePlot(layer=0), snapshot)  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tsnn.views.charts import curves, histogram
    from tsnn.views.degree_plots import AgePlot, DegreePlot
    from tsnn.views.follow import History, RunFollower
    from tsnn.views.neuron_plots import ImportancePlot
    from tsnn.views.plots import accuracy, connections, density, loss, seconds
    from tsnn.views.topology_plots import MatrixMap, draw, input_plot
    from tsnn.views.watching import ended, watch

_HOMES = {
    "charts": ("curves", "histogram"),
    "degree_plots": ("AgePlot", "DegreePlot"),
    "follow": ("History", "RunFollower"),
    "neuron_plots": ("ImportancePlot",),
    "plots": ("accuracy", "connections", "density", "loss", "seconds"),
    "topology_plots": ("MatrixMap", "draw", "input_plot"),
    "watching": ("ended", "watch"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AgePlot", "DegreePlot", "History", "ImportancePlot", "MatrixMap", "RunFollower", "accuracy", "connections",
    "curves", "density", "draw", "ended", "histogram", "input_plot", "loss", "seconds", "watch",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
