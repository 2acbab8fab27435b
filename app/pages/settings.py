"""Widgets of settings, derived from the configuration's fields: labels, help, choices."""

from __future__ import annotations

from typing import Any

import panel_material_ui as pmui

from tsnn.config import Config, describe, setting_names

#: Settings on top of the form; the others are under "Advanced".
BASIC = (
    "data.name",
    "data.size",
    "training.method",
    "network.hidden",
    "network.epsilon",
    "training.zeta",
    "training.epochs",
    "training.learning_rate",
    "network.activation",
    "network.alpha",
    "network.dropout",
    "run.seed",
)
ADVANCED = tuple(name for name in setting_names() if name not in BASIC)

#: Selections and number fields stand side by side.
EVEN_HEIGHT = {
    "& .MuiInputBase-root, &.MuiInputBase-root": {"minHeight": "40px"},
    "& .MuiIconButton-root": {"color": "text.secondary"},
}


def widget_value(value: Any) -> Any:
    """Return the value of a setting as its widget's value."""
    if isinstance(value, tuple | list):
        return ("," if all(isinstance(v, str) for v in value) else "-").join(map(str, value))
    if isinstance(value, float):
        return float(f"{value:.6g}")
    return "" if value is None else value


def setting_widget(name: str, config: Config, *, help_below: bool = False, **options: Any) -> Any:
    """Return a widget for one setting.

    Parameters
    ----------
    name : str
        ``"section.field"``.
    config : Config
        Source of the initial value.
    help_below : bool
        Display the help text under the widget; else it appears on hovering.
    **options
        Options of the widget.
    """
    about = describe(name)
    value = widget_value(config.flat().get(name))
    options = {"label": about.label, "value": value, "size": "small", "sizing_mode": "stretch_width", **options}
    options.setdefault("margin", (12 if help_below else 6, 4, 6, 4))
    options.setdefault("sx", EVEN_HEIGHT)
    if isinstance(value, bool):
        return pmui.Switch(description=about.help, **options)
    options["helper_text" if help_below else "description"] = about.help
    if about.choices:
        return pmui.Select(options={about.display_name(choice): choice for choice in about.choices}, **options)
    if isinstance(value, int):
        return pmui.IntInput(step=1, **options)
    if isinstance(value, float):
        return pmui.FloatInput(step=about.step or 0.05, **options)
    return pmui.TextInput(**options)
