"""Widgets of settings, derived from the configuration's fields: labels, help, choices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import panel_material_ui as pmui

from pages.theme import heading
from tsnn.config import SECTIONS, Config, describe, setting_names

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
        return ("-" if all(isinstance(v, int) for v in value) else ",").join(map(str, value))
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
        known = dict.fromkeys([*about.choices, value])  # also a rule that only a run knows
        return pmui.Select(options={about.display_name(choice): choice for choice in known}, **options)
    if isinstance(value, int):
        return pmui.IntInput(step=1, **options)
    if isinstance(value, float):
        return pmui.FloatInput(step=about.step or 0.05, **options)
    return pmui.TextInput(**options)


def by_section(widgets: Mapping[str, Any]) -> list[Any]:
    """Return the widgets of settings below the titles of their sections."""
    fields: list[Any] = []
    for section, cls in SECTIONS.items():
        fields.append(heading(cls.title, 4, margin=(8, 4, 0, 4)))
        fields += [widget for name, widget in widgets.items() if name.startswith(f"{section}.")]
    return fields


class LazyWidgets(dict[str, Any]):
    """Widgets of settings by name; those of a part of the form that has not been displayed are made when asked for."""

    def __init__(self, make: Callable[[str], object]):
        super().__init__()
        self._make = make

    def __missing__(self, name: str) -> Any:
        self._make(name)
        return dict(self)[name]


def show_value(name: str, widget: Any, value: Any) -> None:
    """Set a widget to the value of its setting."""
    value = form_value(name, value)
    if name == "data.drop":
        widget.options = [*dict.fromkeys([*widget.options, *value])]
    elif isinstance(widget, pmui.Select) and value not in widget.options.values():
        widget.options = {**widget.options, value: value}  # a rule that only a run knows
    widget.value = value


def form_value(name: str, value: Any) -> Any:
    """Return the value of a setting as that of its widget in the form."""
    if name == "data.target":
        return value or None
    return list(value or ()) if name == "data.drop" else widget_value(value)
