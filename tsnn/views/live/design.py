"""Design of panes in a notebook."""

from typing import Any

import panel as pn
from panel.theme.native import Native
from panel.viewable import Viewable

#: Colours of texts, cards and figures in the theme of JupyterLab or VS Code; Panel's own are those of a light page.
_COLORS = """
:host {
    --panel-surface-color: var(--vscode-notebook-cellEditorBackground, var(--jp-cell-editor-background, #f3f3f3));
    --panel-on-surface-color: var(--vscode-editor-foreground, var(--jp-ui-font-color1, #1a1d21));
    --panel-on-background-color: var(--panel-on-surface-color);
    --bk-text-color: var(--panel-on-surface-color);
    --bk-axis-label-text-color: var(--panel-on-surface-color);
    --bk-major-label-text-color: var(--panel-on-surface-color);
    --bk-axis-line-color: var(--panel-on-surface-color);
    --bk-major-tick-line-color: var(--panel-on-surface-color);
    --bk-background-fill-color: transparent;
    --bk-border-fill-color: transparent;
}
.tabulator .tabulator-page {color: #333}
"""


def restore_design() -> None:
    """Let panes in a notebook follow its theme; undo that panel_material_ui makes Material the design of all panes.

    With any design set, figures that a widget is bound to can no longer be updated (Panel 1.9). With its sliders
    ``hv.save`` cannot write a HoloMap: their values cannot be stored in the file.
    """
    if pn.state.served:
        return
    design = pn.config.design
    if design is not None and design.__module__.startswith("panel_material_ui"):
        pn.config.design = None
    sheets: list[Any] = Native.modifiers[Viewable]["stylesheets"]
    if _COLORS not in sheets:
        sheets.append(_COLORS)
        Native._resolve_modifiers.cache_clear()
    sliders: dict[str, Any] = dict(pn.pane.HoloViews.default_widgets)
    pn.pane.HoloViews.default_widgets = {
        kind: tuple(map(_plain, widgets)) if isinstance(widgets, tuple) else _plain(widgets)
        for kind, widgets in sliders.items()
    }  # type: ignore[assignment]


def _plain(widget: Any) -> Any:
    """Return Panel's widget of the same name for one of panel_material_ui."""
    material = widget.__module__.startswith("panel_material_ui")
    return getattr(pn.widgets, widget.__name__) if material else widget
