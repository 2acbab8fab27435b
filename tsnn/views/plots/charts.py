"""Charts of arrays instead of runs: curves with their spread, and stacked histograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, NumeralTickFormatter
from bokeh.plotting import figure
from numpy.typing import ArrayLike

from tsnn.views.plots import palette
from tsnn.views.plots.figures import add_legend, base_figure, log_padded, padded, set_range
from tsnn.views.plots.tools import ROUND

MAX_MARKERS = 60  # curves with more points are drawn without markers


def curves(
    title: str, x_label: str, y_label: str, series: Mapping[str, Sequence[ArrayLike]], *,
    log: str = "", x_format: str = "0,0.[00]", y_format: str = "0,0.[00]", zero: bool = False,
) -> figure:  # fmt: skip
    """Return a figure with curves.

    Parameters
    ----------
    title, x_label, y_label : str
        Texts of the figure, with units.
    series : mapping of str to (x, y) or (x, y, spread)
        Points of each curve, float[n], by label; ``spread`` is drawn as a band around it.
    log : {"", "x", "y", "xy"}
        Axes with a logarithmic scale.
    x_format, y_format : str
        Numeral.js formats.
    zero : bool
        Start the vertical axis at 0.
    """
    x_log, y_log = "x" in log, "y" in log
    scale = {"x_axis_type": "log" if x_log else "linear", "y_axis_type": "log" if y_log else "linear"}
    fig = base_figure(title, x_label, y_label, **scale)
    across, up = [], []
    for i, (label, (x, y, *spread)) in enumerate(series.items()):
        x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        color, dash = palette.series_style(i)
        across.append(x)
        up.append(y)
        if spread:
            band = y - np.asarray(spread[0]), y + np.asarray(spread[0])
            fig.varea(x, *band, color=color, alpha=0.18, legend_label=label)
            up.extend(band)
        source = ColumnDataSource({"x": x, "y": y, "label": [label] * len(x)})
        style: dict[str, Any] = {"source": source, "color": color, "legend_label": label}
        line = fig.line("x", "y", line_dash=dash, line_width=2, **style)
        drawn = fig.scatter("x", "y", size=5, **style) if len(x) <= MAX_MARKERS else line
        tips = [("", "@label"), (x_label, f"@x{{{x_format}}}"), (y_label, f"@y{{{y_format}}}")]
        fig.add_tools(HoverTool(renderers=[drawn], tooltips=tips, visible=False))
    _finish(fig, (x_format, y_format), (x_log, y_log), len(series))
    set_range(fig.x_range, *(log_padded(across) if x_log else padded(across)))
    low, high = log_padded(up) if y_log else padded(up)
    set_range(fig.y_range, 0.0 if zero and not y_log else low, high)
    return fig


def histogram(
    title: str, x_label: str, y_label: str, parts: Mapping[str, ArrayLike], *, bins: int = 60, x_format: str = "0.[00]"
) -> figure:
    """Return a figure with a histogram whose bars are stacked from parts.

    Parameters
    ----------
    title, x_label, y_label : str
        Texts of the figure, with units.
    parts : mapping of str to float[n]
        Values of each part, by label.
    bins : int
        Bars over the range of all values.
    x_format : str
        Numeral.js format of the values.
    """
    values = {label: np.asarray(part, dtype=np.float64) for label, part in parts.items()}
    edges = np.histogram_bin_edges(np.concatenate(list(values.values())), bins)
    fig = base_figure(title, x_label, y_label)
    bottom = np.zeros(len(edges) - 1)
    for i, (label, part) in enumerate(values.items()):
        top = bottom + np.histogram(part, edges)[0]
        columns = {"left": edges[:-1], "right": edges[1:], "bottom": bottom, "top": top, "count": top - bottom}
        columns["label"] = [label] * len(top)
        style: dict[str, Any] = {"source": ColumnDataSource(columns), "line_alpha": 0.0, "legend_label": label}
        bars = fig.quad("left", "right", "top", "bottom", color=palette.SERIES[i], **style)
        tips = [("", "@label"), (x_label, f"@left{{{x_format}}} to @right{{{x_format}}}"), (y_label, "@count{0,0}")]
        fig.add_tools(HoverTool(renderers=[bars], tooltips=tips, visible=False))
        bottom = top
    _finish(fig, (x_format, "0,0"), (False, False), len(values))
    set_range(fig.x_range, *padded([edges]))
    set_range(fig.y_range, 0.0, 1.06 * float(bottom.max()) or 1.0)
    return fig


def _finish(fig: figure, formats: tuple[str, str], logs: tuple[bool, bool], labels: int) -> None:
    for axis, form, log in zip((fig.xaxis, fig.yaxis), formats, logs, strict=True):
        axis.formatter = NumeralTickFormatter(format=form)
        if log:
            axis.ticker = FixedTicker(ticks=ROUND)
    if labels:
        add_legend(fig)
        fig.legend[0].visible = labels > 1
