# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

"""Frames around figures and controls, with the words that explain them."""

from __future__ import annotations

from html import escape
from typing import Any

import panel as pn

from tsnn.views.tabs.captions import CAPTIONS

CARD = {
    "border": "1px solid color-mix(in srgb, currentColor 16%, transparent)",
    "border-radius": "8px",
    "background": "var(--panel-surface-color, transparent)",
    "padding": "8px 4px 4px",
    "min-width": "0",
    "align-self": "stretch",
}
_GRID = {
    "display": "grid",
    "grid-template-columns": "repeat(auto-fill, minmax(min(400px, 100%), 1fr))",
    "grid-auto-rows": "max-content",
    "flex-shrink": "0",
    "gap": "12px",
}
#: A column has a button to scroll with: it would take a cell, the first one if the cards come later.
_GRID_SHEET = ".scroll-button {display: none !important}"
_CAPTION = "font-family:var(--bokeh-base-font);font-size:12.5px;line-height:1.4;padding:0 12px 6px"
#: The note of a control: read by screen readers always, seen while the control or something in it has the focus.
_NOTE = """
:host {position: relative}
.note {position: absolute !important; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%)}
:host(:focus-within) .note {
    width: max-content; height: auto; max-width: 340px; max-height: none; clip-path: none; z-index: 20; top: 100%;
    left: 8px; padding: 6px 10px; border-radius: 6px; background: #2b3138; color: #fff; pointer-events: none}
"""


def grid(*cards: Any, **options: Any) -> pn.Column:
    """Return cards side by side, as many as there is room for; options are the column's."""
    style = {"styles": _GRID, "stylesheets": [_GRID_SHEET], "sizing_mode": "stretch_width", "margin": 0}
    return pn.Column(*cards, **style, **options)


def card(fig: Any, caption: str, *beside: Any, **options: Any) -> Card:
    """Return a figure in a frame, with its caption under it."""
    return Card(figure_pane(fig), caption, *beside, **options)


class Card(pn.Column):
    """Something in a frame: a note that changes with it, and a caption that teaches.

    Parameters
    ----------
    shown : Panel object
        What is framed.
    caption : str
        Name of the caption in :data:`tsnn.views.tabs.captions.CAPTIONS`.
    *beside : Panel objects
        What stands under it, above the words.
    **options
        Of the column.
    """

    def __init__(self, shown: Any, caption: str, *beside: Any, **options: Any):
        self._caption = escape(CAPTIONS[caption])
        self._words = pn.pane.HTML("", sizing_mode="stretch_width", margin=0)
        super().__init__(
            shown, *beside, self._words, styles=CARD, margin=0, sizing_mode="stretch_width", name=caption, **options
        )
        self.say("")

    def say(self, note: str) -> None:
        """Change the note."""
        head = f"<div>{escape(note)}</div>" if note else ""
        text = f"<div style='{_CAPTION}'>{head}<div style='opacity:.72'>{self._caption}</div></div>"
        if text != self._words.object:
            self._words.object = text


def explained(widget: Any, caption: str) -> Any:
    """Return a control with its explanation, which shows while it has the focus."""
    text = f"<span style='font-family:var(--bokeh-base-font);font-size:12.5px'>{escape(CAPTIONS[caption])}</span>"
    note = pn.pane.HTML(text, css_classes=["note"], margin=0)
    return pn.Column(widget, note, stylesheets=[_NOTE], margin=0, sizing_mode=widget.sizing_mode)


def figure_pane(fig: Any) -> Any:
    """Return a pane with a figure, as wide as the figure wants to be."""
    return pn.pane.Bokeh(fig, sizing_mode=fig.sizing_mode, margin=0, styles={"font-size": "12.5px"})
