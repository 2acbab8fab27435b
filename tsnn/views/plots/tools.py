"""Tools of every figure: full screen, its data as CSV, the picture as SVG; a logarithmic axis, a shared crosshair."""

from __future__ import annotations

from typing import Any

from bokeh.models import (
    CrosshairTool,
    CustomAction,
    CustomJS,
    FixedTicker,
    Grid,
    LogAxis,
    LogScale,
    NumeralTickFormatter,
    Range1d,
)
from bokeh.models.annotations import Span
from bokeh.plotting import figure

from tsnn.views.plots import palette

#: Round numbers as ticks of logarithmic axes.
ROUND = [m * 10.0**e for e in range(-7, 9) for m in (1, 2, 5)]
#: Tag of a source that only decorates a figure: it is not part of the figure's data.
DECORATION = "decoration"
_LOG = "log"  # name of the logarithmic range

_SAVE = """
const save = (blob, suffix) => {
    const link = document.createElement("a")
    link.href = URL.createObjectURL(blob)
    link.download = fig.title.text.replace(/[^A-Za-z0-9]+/g, " ").trim() + suffix
    link.click()
    URL.revokeObjectURL(link.href)
}
"""
_SVG = f'{_SAVE} Bokeh.index.find_one(fig).export("svg").to_blob().then((blob) => save(blob, ".svg"))'
#: A table for each source; a curve that is one row of its source becomes a row for each point. Text that a spreadsheet
#: would read as a formula is preceded by an apostrophe.
_CSV = (
    _SAVE
    + r"""
const cell = (value) => {
    let text = value == null || Number.isNaN(value) ? "" : String(value)
    if (typeof value == "string" && /^[=+\-@\t\r]/.test(text)) text = "'" + text
    return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text
}
const nested = (column) => column.length > 0 && (Array.isArray(column[0]) || ArrayBuffer.isView(column[0]))
const table = (data) => {
    const names = Object.keys(data), lines = [names]
    const long = names.filter((name) => nested(data[name]))
    for (let i = 0; i < Math.max(...names.map((name) => data[name].length)); i++) {
        const points = long.length == 0 ? 1 : Math.max(...long.map((name) => data[name][i].length))
        for (let j = 0; j < points; j++)
            lines.push(names.map((name) => long.includes(name) ? data[name][i][j] : data[name][i]))
    }
    return lines.map((line) => line.map(cell).join(",")).join("\n") + "\n"
}
const sources = new Set(fig.renderers.map((renderer) => renderer.data_source).filter((source) => source != null))
const tables = []
for (const source of sources) {
    const data = source.data instanceof Map ? Object.fromEntries(source.data) : source.data
    if (!source.tags.includes("decoration") && Object.values(data).some((column) => column.length > 0))
        tables.push(table(data))
}
save(new Blob([tables.join("\n")], {type: "text/csv"}), ".csv")
"""
)
_SWITCH = """
const on = !log_axis.visible
for (const part of [...fig.renderers, ...fig.center])
    if (part.y_range_name == (on ? "default" : "log")) part.y_range_name = on ? "log" : "default"
for (const part of log_parts) part.visible = on
for (const part of linear_parts) part.visible = !on
"""
#: Bokeh's own tool keeps the size of a figure. Pictures keep their proportions.
_FULL = """
const stage = Bokeh.index.find_one(fig).el
if (document.fullscreenElement) document.exitFullscreen()
else {
    const {width, height, max_width, sizing_mode} = fig
    const fit = () => {
        const [wide, high] = [window.innerWidth, window.innerHeight]
        const scale = Math.min(wide / width, high / height)
        const size = sizing_mode == "stretch_width" ? [wide, high] : [scale * width, scale * height]
        const full = document.fullscreenElement != null
        fig.setv(full ? {width: size[0], height: size[1], max_width: null, sizing_mode: "fixed"}
                      : {width, height, max_width, sizing_mode}, {sync: false})
        if (!full) document.removeEventListener("fullscreenchange", fit)
    }
    document.addEventListener("fullscreenchange", fit)
    stage.requestFullscreen()
}
"""
_CORNERS = (
    "data:image/svg+xml;utf8,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24'><path d='M5 9V5h4M15 5h4v4M19 "
    "15v4h-4M9 19H5v-4' fill='none' stroke='gray' stroke-width='1.8'/></svg>"
)
FULL_SCREEN = ":host(:fullscreen) {background: var(--panel-surface-color, white)}"


def _icon(text: str) -> str:
    """Return a short text as the icon of a tool."""
    return (
        "data:image/svg+xml;utf8,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24'><text x='12' y='16' fill='"
        f"gray' font-family='sans-serif' font-size='10' font-weight='bold' text-anchor='middle'>{text}</text></svg>"
    )


def add_actions(fig: figure) -> None:
    """Add the actions of every figure: full screen, CSV, SVG."""
    args = {"fig": fig}
    fig.add_tools(
        CustomAction(description="Full screen", icon=_CORNERS, callback=CustomJS(args=args, code=_FULL)),
        CustomAction(description="Save the data as CSV", icon=_icon("CSV"), callback=CustomJS(args=args, code=_CSV)),
        CustomAction(description="Save as SVG", icon=_icon("SVG"), callback=CustomJS(args=args, code=_SVG)),
    )


def add_log_switch(fig: figure, y_format: str) -> Range1d:
    """Add a switch to a logarithmic vertical axis, which works in the browser alone; returns the range of that axis.

    Its owner keeps the range up to date. To be called when the figure has its other parts.
    """
    log_range = Range1d(start=0.01, end=1)
    fig.extra_y_ranges[_LOG] = log_range
    fig.extra_y_scales[_LOG] = LogScale()
    linear_parts: list[Any] = [fig.yaxis[0], fig.ygrid[0]]
    parts: dict[str, Any] = {"ticker": FixedTicker(ticks=ROUND), "formatter": NumeralTickFormatter(format=y_format)}
    parts |= {"axis_label": fig.yaxis[0].axis_label, "axis_label_text_font_style": "normal"}
    axis = LogAxis(y_range_name=_LOG, visible=False, **parts)
    fig.add_layout(axis, "left")
    lines = Grid(axis=axis, dimension=1, visible=False, grid_line_color=palette.GREY, grid_line_alpha=0.2)
    fig.add_layout(lines)
    args = {"fig": fig, "log_axis": axis, "log_parts": [axis, lines], "linear_parts": linear_parts}
    fig.add_tools(
        CustomAction(
            description="Logarithmic axis, or linear again",
            icon=_icon("log"),
            callback=CustomJS(args=args, code=_SWITCH),
        )
    )
    return log_range


def crosshair() -> Span:
    """Return a vertical line for :func:`add_crosshair`; figures that share it show the pointer's position together."""
    return Span(dimension="height", line_color=palette.GREY, line_width=1, line_dash="dotted")


def add_crosshair(fig: figure, line: Span) -> None:
    """Add a crosshair to a figure: the line of :func:`crosshair`."""
    fig.add_tools(CrosshairTool(overlay=line, description="Crosshair", visible=False))
