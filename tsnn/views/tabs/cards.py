"""Cards: frames around figures and controls, with their captions."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

from html import escape
from typing import Any

import panel as pn
from bokeh.plotting import figure

from tsnn.records import RunState
from tsnn.views.live.follower import RunFollower
from tsnn.views.plots.figures import describe
from tsnn.views.tabs.captions import CAPTIONS

CARD = {
    "border": "1px solid color-mix(in srgb, currentColor 16%, transparent)",
    "border-radius": "8px",
    "height": "auto",  # of all cards of a row the same
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
    "max-height": "none",  # not that of the window, or what comes after it would cover the last cards
    "gap": "12px",
}
#: Style of a picture of fixed width that has the texts of its card beside it.
_BESIDE = {"flex": "0 1 310px", "min-width": "0"}
#: Style of a table in a card.
TABLE = """
:host .tabulator {font-size: 12.5px; font-family: var(--bokeh-base-font)}
:host .tabulator .tabulator-row .tabulator-cell, :host .tabulator .tabulator-col-content {padding: 3px 6px}
.tabulator-col-title {font-weight: 700}
"""
#: Hides the scroll button of a column, which would take a cell of the grid.
_GRID_SHEET = ".scroll-button {display: none !important}"
_EMPTY_STYLE = "font-size:15px;opacity:.75;padding:40px 24px;text-align:center"
_CAPTION_STYLE = "font-family:var(--bokeh-base-font);font-size:12.5px;line-height:1.4;padding:0 12px 6px"
#: Caption of a control: always there for screen readers, visible while the control or a part of it has the focus.
_CAPTION_SHEET = """
:host {position: relative}
.note {position: absolute !important; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%)}
:host(:focus-within) .note {
    width: max-content; height: auto; max-width: 340px; max-height: none; clip-path: none; z-index: 20; top: 100%;
    left: 8px; padding: 6px 10px; border-radius: 6px; background: #2b3138; color: #fff; pointer-events: none}
"""


def grid(*cards: Any, **options: Any) -> pn.Column:
    """Return cards in a grid with as many columns as fit; options are those of the column."""
    style = {"styles": _GRID, "stylesheets": [_GRID_SHEET], "sizing_mode": "stretch_width", "margin": 0}
    return pn.Column(*cards, **style, **options)


def card(fig: Any, caption: str, *below: Any, **options: Any) -> Card:
    """Return a figure in a frame, with its caption below."""
    return Card(figure_pane(fig), caption, *below, **options)


class Card(pn.Column):
    """Frame with a figure or control, a note about the displayed data, and a caption.

    Parameters
    ----------
    content : Panel object
        The figure or control.
    caption : str
        Name of the caption in :data:`tsnn.views.tabs.captions.CAPTIONS`.
    *below : Panel objects
        Objects between the content and the texts.
    beside : bool
        Put the texts on the right of the content where there is room, instead of below it.
    **options
        Options of the column.

    Attributes
    ----------
    figure : Bokeh figure or None
        The figure in the card.
    place : Panel row
        Place of a content that has the texts beside it.
    """

    def __init__(self, content: Any, caption: str, *below: Any, beside: bool = False, **options: Any):
        self._caption = CAPTIONS[caption]
        self.figure = getattr(content, "object", None)
        self._text = pn.pane.HTML("", sizing_mode="stretch_width", margin=0)
        parts = [content, *below, self._text]
        if beside:
            stretch = {"sizing_mode": "stretch_width", "margin": 0}
            self.place = pn.Row(content, **stretch, styles=_BESIDE)
            texts = pn.Column(*parts[1:], **stretch, styles={"flex": "1 1 150px"})
            centred = {"flex-flow": "row wrap", "align-items": "center", "justify-content": "center"}
            parts = [pn.Row(self.place, texts, **stretch, styles=centred)]
        super().__init__(*parts, styles=CARD, margin=0, sizing_mode="stretch_width", name=caption, **options)
        self.set_note("")

    def set_note(self, note: str) -> None:
        """Set the note above the caption."""
        head = f"<div>{escape(note)}</div>" if note else ""
        text = f"<div style='{_CAPTION_STYLE}'>{head}<div style='opacity:.72'>{escape(self._caption)}</div></div>"
        if text != self._text.object:
            self._text.object = text
            self.describe(note)

    def describe(self, note: str = "") -> None:
        """Give the figure the texts of the card as its description."""
        if isinstance(self.figure, figure):
            describe(self.figure, aria_description=f"{note} {self._caption}".strip())


def with_caption(widget: Any, caption: str) -> Any:
    """Return a control with its caption, which is visible while the control has the focus."""
    text = f"<span style='font-family:var(--bokeh-base-font);font-size:12.5px'>{escape(CAPTIONS[caption])}</span>"
    note = pn.pane.HTML(text, css_classes=["note"], margin=0)
    return pn.Column(widget, note, stylesheets=[_CAPTION_SHEET], margin=0, sizing_mode=widget.sizing_mode)


def figure_pane(fig: Any) -> Any:
    """Return a pane with a figure, sized by the figure and in the colour of its card."""
    fig.update(background_fill_color=None, border_fill_color=None)
    # Bokeh takes no account of zoom when it looks what is under the pointer
    styles = {"font-size": "12.5px", "zoom": "calc(1 / var(--large, 1))"}
    return pn.pane.Bokeh(fig, sizing_mode=fig.sizing_mode, margin=0, styles=styles)


def empty_pane() -> Any:
    """Return the frame for the message of a tab without data."""
    return pn.pane.HTML("", sizing_mode="stretch_width", styles=CARD | {"grid-column": "1 / -1"}, margin=0)


def update_empty_pane(pane: Any, follower: RunFollower, *, empty: bool = True) -> None:
    """Set the message of a tab without data; hide the frame if there are data."""
    if follower.state == RunState.QUEUED:
        text = "The plots appear when the run starts."
    elif follower.live:
        text = "Plots appear once the data are loaded, curves after the first epoch."
    else:
        text = "This run ended before its first epoch. Change the settings and start again."
    say_empty(pane, text if empty else "")


def say_empty(pane: Any, text: str) -> None:
    """Set the message of a tab without data; hide the frame if there is none."""
    html, empty = f"<div style='{_EMPTY_STYLE}'>{text}</div>" if text else "", bool(text)
    if html != pane.object or pane.visible != empty:
        pane.param.update(object=html, visible=empty)
