"""Brushing: a selection in one plot of a sweep marks the same combinations of settings in all others.

It happens in the browser. HoloViews' ``link_selections`` draws each linked plot two or three times again for every
selection, on the server, where all pages wait for it; here a selection costs the server one message.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from bokeh.models import BoxSelectTool, ColumnDataSource, CustomJS, LassoSelectTool, TapTool

from tsnn.views.plots.tools import DECORATION

#: Rows of a source whose cells are among the chosen ones.
_ROWS = """
const chosen = new Set(hub.data.cells)
const cells = source.data.cells ?? []
const rows = []
if (chosen.size)
    for (let i = 0; i < cells.length; i++)
        if (cells[i].split(" ").some((cell) => chosen.has(cell))) rows.push(i)
const same = rows.length == source.selected.indices.length && rows.every((row, i) => row == source.selected.indices[i])
"""
_APPLY = _ROWS + "if (!same) source.selected.indices = rows"
#: A selection that is not the one of the hub was made by a person.
_PICK = (
    _ROWS
    + """
const sorted = [...source.selected.indices].sort((a, b) => a - b)
if (!same && (sorted.length != rows.length || sorted.some((row, i) => row != rows[i]))) {
    const found = new Set()
    for (const row of sorted) for (const cell of cells[row].split(" ")) if (cell) found.add(cell)
    hub.data = {cells: [...found]}
}
"""
)


class Brush:
    """The chosen combinations of settings of one view, shared by its plots.

    Parameters
    ----------
    changed : callable
        Called with the numbers of the cells that a person has chosen; empty for none.
    """

    def __init__(self, changed: Callable[[list[int]], None]):
        self._changed = changed
        self._hub = ColumnDataSource({"cells": []}, tags=[DECORATION])
        self._hub.on_change("data", lambda _name, _old, new: self._chosen(new))
        self._linked: weakref.WeakSet[ColumnDataSource] = weakref.WeakSet()
        self.cells: list[int] = []

    def hook(self, plot: Any, _element: Any) -> None:
        """Link a plot: a hook of the HoloViews element whose rows can be selected."""
        source = plot.handles["source"]
        if source in self._linked:
            return
        self._linked.add(source)
        code: dict[str, Any] = {"hub": self._hub, "source": source}
        source.selected.js_on_change("indices", CustomJS(args=code, code=_PICK))
        for changing in (source, self._hub):
            changing.js_on_change("data", CustomJS(args=code, code=_APPLY))
        for tool in plot.state.tools:
            if isinstance(tool, TapTool | BoxSelectTool | LassoSelectTool):
                tool.renderers = [plot.handles["glyph_renderer"]]

    def choose(self, cells: list[int]) -> None:
        """Choose cells in all plots; empty for none."""
        self.cells = cells
        self._hub.data = {"cells": [str(cell) for cell in cells]}

    def _chosen(self, data: Any) -> None:
        cells = sorted(int(cell) for cell in data.get("cells", ()) if str(cell).isdecimal())
        if cells != self.cells:
            self.cells = cells
            self._changed(cells)
