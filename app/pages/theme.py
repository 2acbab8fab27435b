"""Look of the page: Material palette, frames, shared styles."""

from __future__ import annotations

import re
from typing import Any

import panel as pn
import panel_material_ui as pmui

from tsnn.views.plots import palette

THEME: dict[str, Any] = {
    "light": {
        "palette": {
            "primary": {"main": palette.BLUE},
            "secondary": {"main": palette.VERMILION},
            "background": {"default": "#f4f6f8", "paper": "#ffffff"},
        },
    },
    "dark": {
        "palette": {
            "primary": {"main": "#56B4E9"},
            "secondary": {"main": "#E69F00"},
            "default": {"main": "#d5dae0", "contrastText": "#101418"},
            "background": {"default": "#101418", "paper": "#1a1f25"},
        },
    },
}

_TEXTS = {"axis-label-": ("1em", "surface"), "major-label-": ("0.925em", "secondary"), "": ("1.05em", "surface")}
#: Colours and fonts of figures and tables, which follow the theme; Bokeh reads them whenever it paints.
_FOLLOWING: dict[str, str] = {
    "--bk-axis-line-color": "var(--panel-on-surface-color)",
    "--bk-major-tick-line-color": "var(--panel-on-surface-color)",
    "--mdc-theme-background": "var(--panel-surface-color)",
    "--mdc-theme-surface": "color-mix(in srgb, var(--panel-on-surface-color) 5%, var(--panel-surface-color))",
}
for _part, (_size, _color) in _TEXTS.items():
    _FOLLOWING[f"--bk-{_part}text-font"] = "var(--bokeh-base-font)"
    _FOLLOWING[f"--bk-{_part}text-font-size"] = _size
    _FOLLOWING[f"--bk-{_part}text-color"] = f"var(--panel-on-{_color}-color)"
#: Paints figures again when the theme has changed, those that are hidden when they appear, and keeps the theme in a
#: cookie. Tables keep their style sheets, to which each change of the theme would add one and lay out the page.
_REPAINT = """
if (!window.tsnnRepaints) {
    window.tsnnRepaints = true
    const tables = Bokeh.Models.get("panel.models.tabulator.DataTabulator")?.prototype
    if (tables)
        Object.defineProperty(tables, "stylesheets", {
            get() { return this.properties.stylesheets.get_value() },
            set() {},
        })
    const hidden = new ResizeObserver((entries) => {
        for (const {target, contentRect} of entries)
            if (contentRect.width) { hidden.unobserve(target); target.tsnnView?.request_repaint() }
    })
    const repaint = () => {
        for (const view of Bokeh.index.query((view) => view.model.type == "Figure"))
            if (view.el.offsetParent) view.request_repaint()
            else { view.el.tsnnView = view; hidden.observe(view.el) }
    }
    const keep = () => {
        const page = [...Bokeh.documents[0].all_models].find((model) => model.class_name == "Page")
        const theme = page?.data.dark_theme ? "dark" : "light"
        if (page) document.cookie = `tsnn_theme=${theme}; max-age=31536000; SameSite=Lax`
    }
    new MutationObserver((records) => {
        if (!records.some((record) => record.target.id == "global-styles-panel-mui")) return
        requestAnimationFrame(repaint)
        keep()
    }).observe(document.head, {childList: true, subtree: true})
}
"""

PAGE: dict[str, Any] = {
    "& .MuiAppBar-root": {
        "backgroundColor": "background.paper",
        "backgroundImage": "none",
        "color": "text.primary",
        "boxShadow": "none",
        "borderBottom": "1px solid",
        "borderColor": "divider",
    },
    "& .MuiAppBar-root .MuiTypography-root": {"color": "primary.main", "fontWeight": 700},
    "& .MuiToolbar-root": {"minHeight": "56px !important", "margin": "0 4px !important"},
    # Tabs that do not fit scroll; the progress bar never moves.
    "& .MuiAppBar-root .MuiToolbar-root > .MuiBox-root:not(:has(.title))": {"minWidth": 0},
    "& .MuiAppBar-root .MuiLinearProgress-root": {"display": "none"},
    "& main": {"backgroundColor": "background.default", **_FOLLOWING},
}

MENU: dict[str, Any] = {
    "& .MuiTab-root": {
        "textTransform": "none",
        "minHeight": "48px",
        "@media (max-width: 1000px)": {"minWidth": 0, "padding": "12px 6px", "& .MuiTab-icon": {"display": "none"}},
    },
    "& .MuiTab-root.Mui-selected": {"color": "var(--panel-primary-color) !important"},
    "& .MuiTabs-indicator": {"backgroundColor": "var(--panel-primary-color) !important"},
}

#: Buttons of a group without upper-case labels.
NATURAL: dict[str, Any] = {"& .MuiButtonBase-root": {"textTransform": "none"}}

CARD: dict[str, str] = {
    "border": "1px solid color-mix(in srgb, currentColor 16%, transparent)",
    "border-radius": "8px",
    "background": "var(--panel-surface-color)",
}


#: Style of enlarged content, for a projector; plots have their own zoom (:func:`tsnn.views.tabs.cards.figure_pane`).
LARGE = {"zoom": "1.35", "--large": "1.35"}


def is_dark() -> bool:
    """Return whether this browser chose the dark theme on an earlier page."""
    return bool(pn.state.cookies.get("tsnn_theme") == "dark")


def repaint() -> Any:
    """Return the invisible part of a page that paints its figures again when the theme changes, and keeps it."""
    return pn.pane.HTML(f"<script>{_REPAINT}</script>", width=0, height=0, margin=0)


def plain(text: str) -> str:
    """Escape a text for an alert, which takes Markdown: links, pictures and emphasis in it stay text."""
    return re.sub(r"[^\w ]|_", lambda match: f"&#{ord(match[0])};", text) or " "


def html(body: str, style: str = "") -> str:
    """Wrap HTML in the page's font."""
    return f"<div style='font-family:var(--bokeh-base-font);line-height:1.45;{style}'>{body}</div>"


def heading(text: str, level: int, **options: Any) -> Any:
    """Return a heading of a level, in the look of a small title."""
    return pmui.Typography(text, variant=f"h{level}", sx={"typography": "subtitle2"}, **options)
