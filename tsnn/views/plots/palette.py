"""Colours and number formats of all views.

The colours are those of Okabe and Ito (2008), distinguishable with every common colour vision; series
also differ by dash. Neutral grey is readable on a light and on a dark page.
"""

from __future__ import annotations

import math

from bokeh.palettes import Cividis256, interp_palette

from tsnn.records import RunState

BLUE = "#0072B2"
ORANGE = "#E69F00"
GREEN = "#009E73"
VERMILION = "#D55E00"
PURPLE = "#CC79A7"
SKY = "#56B4E9"
YELLOW = "#F0E442"
GREY = "#8A8F98"
#: Of a drawn network, readable on a light and on a dark page: connections, neurons, neurons without connections.
EDGE, NEURON, CUT_OFF = "#3A86C8", "#6E7681", "#B4BAC2"

TRAIN, TEST = SKY, ORANGE
SERIES = (BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY, GREY, YELLOW)
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
