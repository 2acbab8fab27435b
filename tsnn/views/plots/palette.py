"""Colours and number formats of all views.

The colours are those of Okabe and Ito (2008), distinguishable with every common colour vision, with orange and sky blue
darkened and violet for yellow: each has a contrast of 3 on a white and on a dark page. Series also differ by dash.
"""

from __future__ import annotations

import math

from bokeh.palettes import Cividis256, interp_palette

from tsnn.records import RunState

BLUE = "#0072B2"
ORANGE = "#BF8300"
GREEN = "#009E73"
VERMILION = "#D55E00"
PURPLE = "#CC79A7"
SKY = "#2693F2"
VIOLET = "#774BFA"
GREY = "#8A8F98"
#: Of texts in a plot: a contrast of 4 on a white and on a dark page.
TEXT = "#7A8089"
#: Of a drawn network, readable on a light and on a dark page: connections, neurons, neurons without connections.
EDGE, NEURON, CUT_OFF = "#3A86C8", "#6E7681", "#B4BAC2"

TRAIN, TEST = SKY, ORANGE
SERIES = (BLUE, ORANGE, GREEN, PURPLE, VIOLET, SKY, GREY, VERMILION)
DASHES = ("solid", "dashed", "dotted", "dashdot", "dotdash")
IMAGE = Cividis256
SIGNED = interp_palette((BLUE, "#E8E8E8", ORANGE), 256)  # negative, 0, positive

#: Colour of each state of a run.
STATE_COLORS: dict[str, str] = {
    RunState.QUEUED: PURPLE,
    RunState.CREATED: GREY,
    RunState.STARTING: SKY,
    RunState.COMPILING: SKY,
    RunState.TRAINING: GREEN,
    RunState.PAUSED: ORANGE,
    RunState.STALLED: VERMILION,
    RunState.FINISHED: BLUE,
    RunState.STOPPED: GREY,
    RunState.FAILED: VERMILION,
    RunState.LOST: VERMILION,
}


def series_style(index: int) -> tuple[str, str]:
    """Return colour and dash of the ``index``-th series; curves that coincide stay visible through the dashes."""
    return SERIES[index % len(SERIES)], DASHES[index % len(DASHES)]


def luminance(color: str) -> float:
    """Return the relative luminance of a colour ``#rrggbb``, after WCAG 2: 0 for black, 1 for white."""
    parts = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, after WCAG 2: from 1 to 21; text needs 4.5, curves need 3."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def text_on(color: str) -> str:
    """Return the colour of text on a background: white, or nearly black."""
    return max("#ffffff", "#101418", key=lambda text: contrast(text, color))


def count(value: float) -> str:
    """Format a count with thousands separators: ``125,680``."""
    return f"{value:,.0f}"


def percent(fraction: float | None, digits: int = 1) -> str:
    """Format a fraction as per cent, or a missing one as a dash."""
    return "–" if fraction is None or not math.isfinite(fraction) else f"{100 * fraction:.{digits}f} %"


def small_percent(fraction: float) -> str:
    """Format a fraction as per cent, small ones with more digits: ``45.8 %``, ``0.36 %``."""
    digits = 1 if fraction >= 0.1 else 2 if fraction >= 0.001 else 4
    return percent(fraction, digits)


def formatted(value: float, form: str) -> str:
    """Format a value as about a Numeral.js format does: per cent, whole numbers, or four digits."""
    if not math.isfinite(value):
        return "–"
    return percent(value) if form.endswith("%") else count(value) if form == "0,0" else f"{value:.4g}"


def duration(seconds: float) -> str:
    """Format a time span by its two largest units: ``45 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours / 24:.1f} days"


def setting(value: float | str) -> str:
    """Format the value of a setting: ``0.05``, ``20``, ``1e-05``, ``gradient``."""
    return value if isinstance(value, str) else f"{value:.4g}"
