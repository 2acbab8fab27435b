"""Design of panes in a notebook."""

from typing import Any

import panel as pn


def restore_design() -> None:
    """Undo in a notebook that importing panel_material_ui makes Material the design of all panes and sliders.

    With any design set, figures that a widget is bound to can no longer be updated (Panel 1.9). With its sliders
    ``hv.save`` cannot write a HoloMap: their values cannot be stored in the file.
    """
    if pn.state.served:
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
