"""Look of panes and figures in a notebook: they follow its theme."""

from typing import Any

import panel as pn

from tsnn.views.plots import palette
from tsnn.views.plots.figures import COLOR_BAR

#: Colours of texts, cards, figures and tables in the theme of JupyterLab or VS Code, whose names the page defines;
#: each component of Panel sets those of a light page.
_COLORS = """
:host {
    --panel-surface-color:
        var(--vscode-notebook-cellEditorBackground, var(--jp-cell-editor-background, #f3f3f3)) !important;
    --panel-on-surface-color: var(--vscode-editor-foreground, var(--jp-ui-font-color1, #1a1d21)) !important;
    --panel-on-background-color: var(--panel-on-surface-color) !important;
    --bk-text-color: var(--panel-on-surface-color);
    --bk-title-text-color: var(--panel-on-surface-color);
    --bk-axis-label-text-color: var(--panel-on-surface-color);
    --bk-major-label-text-color: var(--panel-on-surface-color);
    --bk-axis-line-color: var(--panel-on-surface-color);
    --bk-major-tick-line-color: var(--panel-on-surface-color);
    --bk-background-fill-color: transparent;
    --bk-border-fill-color: transparent;
}
.tabulator, .tabulator :is(.tabulator-header, .tabulator-col, .tabulator-row, .tabulator-cell, .tabulator-table) {
    background-color: transparent !important;
    border-color: color-mix(in srgb, currentColor 20%, transparent) !important;
    color: var(--panel-on-surface-color) !important;
}
.tabulator .tabulator-row.tabulator-row-even {
    background-color: color-mix(in srgb, currentColor 6%, transparent) !important}
.tabulator .tabulator-row:is(:hover, .tabulator-selected) {
    background-color: color-mix(in srgb, #0072B2 25%, transparent) !important}
.tabulator .tabulator-page {color: #333}
"""


def in_notebook() -> bool:
    """Return whether panes are displayed in a notebook, not by a server."""
    document = pn.state.curdoc
    return document is None or document.session_context is None


def follow_theme() -> None:
    """Let panes, figures and tables that are displayed from now on follow the theme of the notebook."""
    if in_notebook() and _COLORS not in pn.config.raw_css:
        pn.config.raw_css = [*pn.config.raw_css, _COLORS]
        COLOR_BAR["major_label_text_color"] = palette.TEXT  # Bokeh does not read that of the page


def restore_design() -> None:
    """Undo in a notebook that panel_material_ui makes Material the design of all panes.

    With any design set, figures that a widget is bound to can no longer be updated (Panel 1.9). With its sliders
    ``hv.save`` cannot write a HoloMap: their values cannot be stored in the file.
    """
    if not in_notebook():
        return
    design = pn.config.design
    if design is not None and design.__module__.startswith("panel_material_ui"):
        pn.config.design = None
    sliders: dict[str, Any] = dict(pn.pane.HoloViews.default_widgets)
    pn.pane.HoloViews.default_widgets = {
        kind: tuple(map(_plain, widgets)) if isinstance(widgets, tuple) else _plain(widgets)
        for kind, widgets in sliders.items()
    }  # type: ignore[assignment]


def _plain(widget: Any) -> Any:
    """Return Panel's widget of the same name for one of panel_material_ui."""
    material = widget.__module__.startswith("panel_material_ui")
    return getattr(pn.widgets, widget.__name__) if material else widget
