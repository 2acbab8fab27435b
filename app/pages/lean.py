"""Pages without the memory and time that Bokeh and Panel take for features which they do not use."""

from __future__ import annotations

from typing import Any

import panel as pn
import panel_material_ui as pmui
import param
from bokeh.core.property.wrappers import PropertyValueContainer
from bokeh.document import Document
from bokeh.themes import Theme
from panel.io.resources import get_dist_path

#: Models that the page is not to restyle when its theme changes, which would lay out all figures again, several times.
_UNTOUCHED = ("Axis", "Legend", "Title", "Grid", "Figure")


def drop_empty_defaults(document: Document) -> None:
    """Delete the empty lists and dictionaries that Bokeh makes for each property of each model of a page.

    They take two megabytes of six. Bokeh makes those that it needs again when they are read.
    """
    for model in document.models:
        for name, value in list(vars(model).get("_unstable_default_values", {}).items()):
            if isinstance(value, PropertyValueContainer) and not value:
                delattr(model, name)


def unlinked_page(**options: Any) -> Any:
    """Return a page that does not follow the busy state of the process, which changes twice at every event of any page.

    The link would cost each page time at every event of all others, and keep closed pages in memory. Style sheets are
    those of this server, also where the browser connects so late that its page is made a second time.
    """
    if (document := pn.state.curdoc) is not None:
        document.template_variables["dist_url"] = get_dist_path(cdn=False)
        document.theme = Theme(json={"attrs": {name: {} for name in _UNTOUCHED}})
    before = _busy_watchers()
    page = pmui.Page(**options)
    for watcher in _busy_watchers():
        if watcher not in before:
            pn.state.param.unwatch(watcher)
    with param.edit_constant(page):
        page.param.update(busy=False)
    return page


def _busy_watchers() -> list[Any]:
    return list(pn.state.param.watchers.get("busy", {}).get("value", ()))
