"""State of a page in its address: tabs, open run, epoch, comparison, sweep."""

from __future__ import annotations

import contextlib
from typing import Any

import param

#: Tabs by name, with their icons; the last one only where the folder of runs has a report.
TABS = {
    "overview": "show_chart", "network": "polyline", "connectivity": "hub", "neurons": "scatter_plot",
    "errors": "rule", "workers": "lan", "sweep": "grid_on", "compare": "stacked_line_chart", "runs": "list",
    "report": "article",
}  # fmt: skip
#: Tabs about many runs; the others are about the open run.
MULTI_RUN_TABS = ("sweep", "compare", "runs", "report")
RUN_TABS = tuple(tab for tab in TABS if tab not in MULTI_RUN_TABS)
NEWEST = "newest"
#: Parts of the state in the address: names of parameters and of values there.
ADDRESS = {
    "run_id": "run", "tab": "tab", "epoch": "epoch", "layer": "layer", "compared": "compare", "columns": "columns",
    "sweep": "sweep", "lesson": "lesson", "large": "large",
}  # fmt: skip
#: In place of a run's id in the address: the newest run, and each newer one as soon as it starts.
LATEST = "latest"


class Address(param.Parameterized):
    """State of a page that its address holds."""

    run_id = param.String(default="", doc="Id of the open run, or 'latest'; empty for none.")
    tab: Any = param.Selector(default="overview", objects=list(TABS), doc="Open tab.")
    epoch = param.Parameter(default=NEWEST, doc="Epoch of the displayed snapshot; 'newest' follows the run.")
    layer = param.Integer(default=1, doc="Displayed layer of connections, from 1.")
    compared = param.String(default="", doc="Ids of the compared runs, separated by commas.")
    sweep = param.String(default="", doc="Name of the displayed sweep; empty for the newest.")
    columns = param.String(
        default="", doc="Columns of the list of runs, separated by commas; empty for the usual ones."
    )
    lesson = param.String(default="", doc="Name of the open lesson; empty for none.")
    large = param.Integer(default=0, doc="1: large type, for a projector.")

    def restore(self, location: Any) -> None:
        """Take the state of an address, and keep it there; values that are impossible are left out."""

        def restore_each(values: dict[str, Any]) -> None:
            for name, value in values.items():
                with contextlib.suppress(ValueError):
                    setattr(self, name, value)

        location.sync(self, ADDRESS, on_error=restore_each)
