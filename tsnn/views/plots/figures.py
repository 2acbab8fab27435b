"""Common parts of all plots: style of a figure, its ranges, thinning of curves, marks of events."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from bokeh.models import CDSView, ColumnDataSource, Range, Range1d
from bokeh.models.annotations import Title
from bokeh.models.labeling import AllLabels, NoOverlap
from bokeh.models.renderers import GlyphRenderer
from bokeh.plotting import figure
from numpy.typing import ArrayLike, NDArray

from tsnn.records import Event
from tsnn.views.plots import palette, tools
from tsnn.views.plots.tools import add_actions

HEIGHT = 270
_BLOCK = 256
MAX_POINTS = 600  # for a plot about 400 pixels wide
#: Text of a legend; its colour follows the theme of a page.
_LEGEND = """
:host {font-size: 12.5px}
.bk-label {
    color: var(--panel-on-surface-color, #444) !important; font: 0.95em var(--bokeh-base-font, sans-serif) !important}
"""
#: Further options of all colour bars.
COLOR_BAR: dict[str, Any] = {}
SHORT = 100  #: Most values of a column that are sent as a list.

#: Setting and new value in the message of an event that is a live change.
_CHANGE = re.compile(r"(\w+) changed from \S+ to (\S+)")
_SYMBOLS = {"zeta": "ζ", "epsilon": "ε", "learning_rate": "η"}


def decimate(columns: Sequence[ArrayLike], limit: int = MAX_POINTS) -> NDArray[np.intp]:
    """Choose at most ``limit`` rows that keep the minimum and maximum of every curve in each stretch.

    Parameters
    ----------
    columns : sequence of array_like [n]
        The curves; NaN counts as absent.
    limit : int
        Most rows to keep; at least ``2 * len(columns) + 2``.

    Returns
    -------
    rows : ndarray of int
        Rows to draw, ascending, with the first and the last.
    """
    curves = [np.asarray(c, dtype=np.float64) for c in columns]
    n = len(curves[0]) if curves else 0
    if n <= limit:
        return np.arange(n)
    stretches = max(1, (limit - 2) // (2 * len(curves)))
    starts = np.arange(stretches) * n // stretches
    kept = [np.array([0, n - 1])]
    for curve in curves:
        for fill, choose in ((np.inf, np.argmin), (-np.inf, np.argmax)):
            filled = np.where(np.isnan(curve), fill, curve)
            kept.append(_choose_in_stretches(filled, starts, choose))
    return np.unique(np.concatenate(kept))


def _choose_in_stretches(values: NDArray[np.float64], starts: NDArray[np.intp], choose: Any) -> NDArray[np.intp]:
    """Return the row of each stretch that ``choose`` picks; stretches differ in length by at most one."""
    ends = np.append(starts[1:], len(values))
    width = int((ends - starts).max())
    rows = np.minimum(starts[:, None] + np.arange(width), ends[:, None] - 1)
    best: NDArray[np.intp] = choose(values[rows], axis=1)
    return starts + np.minimum(best, ends - starts - 1)


def sent(values: NDArray[np.float64]) -> list[float] | NDArray[np.float64]:
    """Return the values of a column as a list or array, depending on which takes less time to send.

    Each number of a list takes a microsecond, an array the time of a hundred numbers.
    """
    return values.tolist() if len(values) <= SHORT else values


def padded(
    values: Sequence[NDArray[Any]], floor: float | None = None, ceiling: float | None = None
) -> tuple[float, float]:
    """Return the range of all finite values with a margin, within floor and ceiling."""
    finite = [v[np.isfinite(v)] for v in values]
    joined = np.concatenate(finite) if finite else np.empty(0)
    if not joined.size:
        return (floor or 0.0), (1.0 if ceiling is None else ceiling)
    low, high = float(joined.min()), float(joined.max())
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
    low, high = low - margin, high + margin
    low = low if floor is None else max(floor, low)
    return low, high if ceiling is None else min(ceiling, high)


def log_padded(
    values: Sequence[NDArray[Any]], floor: float | None = None, ceiling: float | None = None
) -> tuple[float, float]:
    """Return the range of all positive values with a margin on a logarithmic scale."""
    finite = np.concatenate([v[np.isfinite(v) & (v > 0)] for v in values] or [np.empty(0)])
    if not finite.size:
        return 0.01, 1.0
    low, high = float(finite.min()) / 1.5, float(finite.max()) * 1.5
    return max(low, floor or 0.0), high if ceiling is None else min(high, ceiling)


def smoothed(values: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
    """Return an exponential moving average without the bias of its start; ``weight`` 0 changes nothing.

    Parameters
    ----------
    values : ndarray of float64 [n]
        A curve; NaN is skipped.
    weight : float
        Fraction of the past in each value, below 1.
    """
    if not weight:
        return values
    known = np.isfinite(values)
    found, means = values[known], np.empty(int(known.sum()))
    distance = np.arange(_BLOCK)[:, None] - np.arange(_BLOCK)
    kernel = np.where(distance >= 0, (1 - weight) * weight ** np.maximum(distance, 0), 0)
    total = 0.0
    for start in range(0, len(found), _BLOCK):  # a product with a matrix is 100 times as fast as a loop over values
        block = found[start : start + _BLOCK]
        n = len(block)
        means[start : start + n] = kernel[:n, :n] @ block + total * weight ** np.arange(1, n + 1)
        total = means[start + n - 1]
    means /= 1 - weight ** np.arange(1, len(means) + 1)
    count = np.cumsum(known)
    return np.append(means, np.nan)[np.where(count > 0, count - 1, len(means))]


def base_figure(title: str, x_label: str, y_label: str, **options: Any) -> figure:
    """Return an empty figure in the common style; ranges are set by the server, never by the browser."""
    options = {
        "x_range": Range1d(start=0, end=1),
        "y_range": Range1d(start=0.01, end=1),
        "height": HEIGHT,
        "sizing_mode": "stretch_width",
        "min_border_left": 12,
        "min_border_right": 16,
        **options,
    }
    fig = figure(
        title=Title(text=title, text_font_style="bold"),
        x_axis_label=x_label,
        y_axis_label=y_label,
        tools="pan,box_zoom,reset,save",
        toolbar_location="above",
        stylesheets=[tools.FULL_SCREEN],
        **options,
    )
    add_actions(fig)
    describe(fig, role="figure", tabindex="0", aria_label=title)
    dress(fig)
    return fig


def dress(fig: figure) -> None:
    """Give a figure the common look."""
    fig.toolbar.logo = None
    fig.toolbar.autohide = True
    fig.axis.axis_label_text_font_style = "normal"
    fig.axis.minor_tick_line_color = None
    fig.axis.major_label_policy = NoOverlap()
    fig.axis.axis_line_alpha = fig.axis.major_tick_line_alpha = 0.4
    fig.grid.grid_line_color = palette.GREY
    fig.grid.grid_line_alpha = 0.2
    fig.outline_line_color = None


def show_all_labels(axis: Any) -> None:
    """Show every label of an axis, of which there are few enough: Bokeh takes slanted ones for overlapping."""
    axis.major_label_policy = AllLabels()


def make_lean(fig: figure) -> None:
    """Drop the parts of the curves that are never displayed, in a figure of which every page has its own.

    Bokeh makes two more glyphs for each curve, for selected and muted data, and a view of the source.
    """
    views: dict[str, CDSView] = {}
    for curve in fig.renderers:
        if isinstance(curve, GlyphRenderer):
            curve.update(nonselection_glyph=None, muted_glyph=None)
            curve.view = views.setdefault(curve.data_source.id, curve.view)


def add_legend(fig: figure, columns: int = 6) -> None:
    """Put the figure's legend above the plot; a click hides a curve."""
    legend = fig.legend[0]
    fig.add_layout(legend, "above")
    legend.orientation = "horizontal"
    legend.ncols = columns
    legend.click_policy = "hide"
    legend.update(margin=0, padding=0, spacing=14)
    legend.border_line_color = None
    legend.background_fill_alpha = 0.0
    legend.glyph_width = 24
    legend.stylesheets = [_LEGEND]


_LABEL_WIDTH = 0.03  # of the epochs so far: the height of a letter in a narrow figure


class EventMarks:
    """Vertical lines with a handle on top, one for each epoch with events; a live change is labelled: ``ζ 0.81``.

    They are shared by the figures of a view, and so is the crosshair. The tooltips of the curves tell the events.
    """

    def __init__(self) -> None:
        self.source = ColumnDataSource(
            {"x": [], "message": [], "label": [], "top": [], "bottom": []}, tags=[tools.DECORATION]
        )
        self._crosshair = tools.crosshair()

    def draw_on(self, fig: figure) -> None:
        """Add the marks to a figure, on a separate vertical scale."""
        fig.extra_y_ranges["marks"] = Range1d(start=0, end=1)
        style: dict[str, Any] = {"source": self.source, "y_range_name": "marks"}
        fig.segment("x", "bottom", "x", "top", color=palette.GREY, line_dash="dashed", line_alpha=0.7, **style)
        fig.scatter("x", "top", marker="inverted_triangle", size=9, color=palette.VERMILION, **style)
        fig.text(
            "x", "top", text="label", angle=math.pi / 2, text_align="right", text_baseline="bottom", x_offset=-2,
            y_offset=10, text_font_size="11px", text_color=palette.VERMILION, **style,
        )  # fmt: skip
        tools.add_crosshair(fig, self._crosshair)

    def update(self, events: Sequence[Event], last: float = 0.0) -> None:
        """Draw these events, up to the last epoch of the curves; several in one epoch share a mark."""
        messages: dict[int, list[str]] = {}
        for event in events:
            messages.setdefault(event.epoch, []).append(event.message)
        n = len(messages)
        labels = [", ".join(filter(None, map(_label, texts))) for texts in messages.values()]
        data: dict[str, Any] = {
            "x": list(messages),
            "message": [" · ".join(texts) for texts in messages.values()],
            "label": _spaced(list(messages), labels, _LABEL_WIDTH * max(last, *messages, 0.0)),
            "top": [0.98] * n,
            "bottom": [0.0] * n,
        }
        if data != dict(self.source.data):
            self.source.data = data

    @property
    def messages(self) -> dict[int, str]:
        """Texts by epoch."""
        return dict(zip(self.source.data["x"], self.source.data["message"], strict=True))


def _spaced(epochs: list[int], labels: list[str], width: float) -> list[str]:
    """Return labels without those that the next one would cover: of changes that follow each other the last is left."""
    following, kept = math.inf, []
    for epoch, label in zip(reversed(epochs), reversed(labels), strict=True):
        covered = following - epoch < width
        kept.append("" if covered else label)
        if label and not covered:
            following = epoch
    return kept[::-1]


def _label(message: str) -> str:
    """Return the label of an event: setting and new value of a live change, else nothing."""
    found = _CHANGE.fullmatch(message)
    return f"{_SYMBOLS.get(found[1], found[1].replace('_', ' '))} {found[2]}" if found else ""


def set_range(target: Range, start: float, end: float) -> None:
    """Set a figure's range, a Range1d, if it differs."""
    assert isinstance(target, Range1d)
    if math.isfinite(start) and math.isfinite(end) and (target.start, target.end) != (start, end):
        target.update(start=start, end=end)


def title_of(fig: figure) -> str:
    """Return a figure's title."""
    assert isinstance(fig.title, Title)
    return str(fig.title.text)


def set_title(fig: figure, text: str) -> None:
    """Set a figure's title, if it differs."""
    assert isinstance(fig.title, Title)
    if fig.title.text != text:
        fig.title.text = text
        describe(fig, aria_label=text)


def describe(fig: figure, **attributes: str) -> None:
    """Set attributes of a figure's element, such as its text alternative, ``aria_label``; nothing if they are the same.

    A screen reader reads the label, the title and the last values, and then ``aria_description``, the caption.
    """
    named = {**fig.html_attributes, **{name.replace("_", "-"): text for name, text in attributes.items()}}
    if named != fig.html_attributes:
        fig.html_attributes = named
