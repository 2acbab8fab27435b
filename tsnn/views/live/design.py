"""Design of panes in a notebook."""

import panel as pn


def restore_design() -> None:
    """Undo in a notebook that importing panel_material_ui makes Material the design of all panes.

    With any design set, figures that a widget is bound to can no longer be updated (Panel 1.9).
    """
    design = pn.config.design
    if not pn.state.served and design is not None and design.__module__.startswith("panel_material_ui"):
        pn.config.design = None
