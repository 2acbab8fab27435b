"""Plots of a sweep as HoloViews elements: pure functions of its table, for pages and notebooks.

Each element has a column ``cells`` with the numbers of the combinations of settings that its rows are about, by which
:mod:`tsnn.views.plots.brushing` links selections.
"""

# mypy: disable-error-code="no-untyped-call"
# Constructors of HoloViews are not annotated.

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection
from typing import Any

import holoviews as hv
import numpy as np
import pandas as pd
from bokeh.models import FullscreenTool, NumeralTickFormatter
from bokeh.palettes import interp_palette

from tsnn.views.plots import palette
from tsnn.views.plots.figures import COLOR_BAR, describe, dress, log_padded, padded, set_range
from tsnn.views.plots.sweep_table import SweepTable, grid, grouped_values, importance, pareto, short
from tsnn.views.plots.tools import ROUND, add_actions

_HEIGHT = 340
_MOST_LABELS = 64  # cells of a heat map with their values as text
_PER_CENT = "0.0 %"
_ALONE = {"framewise": True, "axiswise": True}
#: Costs that a value is drawn against: labels of the axis, and numeral.js formats.
COSTS = {"connections": ("Connections", "0,0"), "seconds": ("Seconds of training", "0,0.[000]")}
_SEED = "run.seed"
_SELECTING = ["hover", "tap", "box_select"]
#: Colours of lines by the objective: each is readable on a light and on a dark page.
_LINES = list(interp_palette((palette.BLUE, palette.GREY, palette.ORANGE), 64))


def _dress(plot: Any, _element: Any) -> None:
    fig = plot.state
    dress(fig)
    fig.title.text_font_size = "13px"
    describe(fig, role="figure", tabindex="0", aria_label=str(fig.title.text))
    fig.update(background_fill_color=None, border_fill_color=None, output_backend="canvas")
    if not any(isinstance(tool, FullscreenTool) for tool in fig.tools):
        add_actions(fig)


def _fit(plot: Any, element: Any) -> None:
    """Fit the ranges to changed data: HoloViews keeps the first ranges of an overlay."""
    (left, right), (bottom, top) = (element.range(dimension) for dimension in element.get(1).kdims)
    if plot.handles.get("fitted") != (left, right, bottom, top) and np.isfinite([left, right, bottom, top]).all():
        plot.handles["fitted"] = left, right, bottom, top
        set_range(plot.state.x_range, *log_padded([np.array([left, right])]))
        set_range(plot.state.y_range, *padded([np.array([bottom, top])]))


def _style(title: str, **options: Any) -> dict[str, Any]:
    tools: dict[str, Any] = {"default_tools": ["reset"], "toolbar": "above", "hooks": [_dress], **_ALONE}
    return {"title": title, "height": _HEIGHT, "responsive": True, "fontscale": 1.0, **tools, **options}


def objective_label(table: SweepTable) -> str:
    """Return the objective as a title."""
    return table.objective[0].upper() + table.objective[1:]


def value_label(table: SweepTable) -> str:
    """Return the objective as the label of an axis, with the epochs after which trials are compared."""
    after = f" after {table.epochs} epoch{'s'[: table.epochs != 1]}" if table.epochs else ""
    return objective_label(table) + after


def _formatter(table: SweepTable) -> Any:
    return NumeralTickFormatter(format="0.[0]%" if table.is_fraction else "0.[000]")


def heat_map(table: SweepTable, x: str, y: str, others: str = "mean", selected: Collection[int] = ()) -> hv.Overlay:
    """Return the mean objective over two settings; spread and number of runs on hovering.

    Parameters
    ----------
    table, x, y, others, selected
        As in :func:`tsnn.views.plots.sweep_table.grid`.
    """
    hv.renderer("bokeh")  # loads the backend
    frame = table.with_texts(grid(table, x, y, others, selected))
    frame["count"] = [f"{n} of {runs}" for n, runs in zip(frame["n"], frame["runs"], strict=True)]
    frame = frame.astype(dict.fromkeys(("x", "y", "mean", "count", "cells"), object))  # as HoloViews expects of texts
    cells = hv.HeatMap(frame, ["x", "y"], [hv.Dimension("value", label=value_label(table)), "mean", "count", "cells"])
    low, high = _limits(frame["value"])
    tips = [(short(x), "@x"), (short(y), "@y"), (value_label(table), "@mean"), ("runs with a result", "@count")]
    cells = cells.opts(
        cmap=list(palette.IMAGE), clim=(low, high), colorbar=True, clipping_colors={"NaN": palette.GREY + "30"},
        colorbar_opts={"formatter": _formatter(table), "background_fill_alpha": 0.0, **COLOR_BAR}, clabel="",
        tools=_SELECTING, active_tools=["box_select"], hover_tooltips=tips, line_color="white", line_width=1,
        selection_line_color=palette.VERMILION, selection_line_width=3, nonselection_alpha=1.0, **_ALONE,
    )  # fmt: skip
    labels = frame[frame["value"].notna()] if len(frame) <= _MOST_LABELS else frame[:0]
    colors = [palette.text_on(_color(value, low, high)) for value in labels["value"]]
    texts = [table.text(value).removesuffix(" %") for value in labels["value"]]
    drawn = hv.Labels(labels.assign(text=texts, ink=colors), ["x", "y"], ["text", "ink"])
    drawn = drawn.opts(text_color="ink", text_font_size="12px", **_ALONE)
    note = {"mean": "", "best": ", best of the other settings", "selected": ", selected"}[others]
    title = f"{value_label(table)}{' (%)' if table.is_fraction else ''}{note}"
    return (cells * drawn).opts(**_style(title, xlabel=short(x), ylabel=short(y), show_legend=False, show_grid=False))


def _limits(values: pd.Series) -> tuple[float, float]:
    known = values.dropna()
    if not len(known):
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _color(value: float, low: float, high: float) -> str:
    place = int((value - low) / (high - low) * (len(palette.IMAGE) - 1))
    return str(palette.IMAGE[place])


def trade_off(table: SweepTable, cost: str = "connections") -> hv.Overlay:
    """Return the objective of each combination of settings against its cost, and the Pareto front; dense as a star.

    Parameters
    ----------
    table : SweepTable
        The trials.
    cost : {"connections", "seconds"}
        What the combination takes, as the mean over seeds.
    """
    hv.renderer("bokeh")
    label, form = COSTS[cost]
    cells = table.cells
    frame = cells[cells["value"].notna() & (cells[cost] > 0)]
    dense = table.dense(frame)
    tips = [("", "@settings"), (value_label(table), "@mean"), ("runs", "@n"), (label, f"@{cost}{{{form}}}")]
    columns = ["settings", "mean", "n", "cells"]
    axes = [hv.Dimension(cost, label=label), hv.Dimension("value", label=value_label(table))]
    points = hv.Points(frame[~dense], axes, columns).opts(
        size=8, color=palette.BLUE, line_color=None, alpha=0.85, nonselection_alpha=0.12,
        tools=_SELECTING, active_tools=["box_select"], hover_tooltips=tips, **_ALONE,
    )  # fmt: skip
    stars = hv.Points(frame[dense], axes, columns, label="dense").opts(
        marker="star", size=18, color=palette.VERMILION, line_color=None, tools=["hover", "tap"], hover_tooltips=tips,
        **_ALONE,
    )  # fmt: skip
    front = frame.iloc[pareto(frame[cost].to_numpy(), frame["value"].to_numpy())]
    line = hv.Curve(front, axes[0], axes[1], label="Pareto front").opts(
        color=palette.GREEN, line_dash="dashed", line_width=2, interpolation="steps-post", **_ALONE
    )
    style = _style(
        f"{value_label(table)} against {label.lower()}", logx=True, xformatter=NumeralTickFormatter(format=form),
        yformatter=_formatter(table), show_legend=False, xticks=ROUND,
    ) | {"hooks": [_dress, _fit]}  # fmt: skip
    return (line * points * stars).opts(**style)


def parallel(table: SweepTable) -> hv.Overlay:
    """Return parallel coordinates: a line for each combination of settings, coloured by the objective."""
    hv.renderer("bokeh")
    frame = table.cells.dropna(subset="value").sort_values("value", kind="stable")
    places, marks = [], []
    for i, name in enumerate(table.settings):
        groups, labels = grouped_values(frame[name])
        places.append(np.where(groups < 0, np.nan, groups) / max(1, len(labels) - 1))
        marks += [(i, at / max(1, len(labels) - 1), text) for at, text in enumerate(labels)]
    low, high = _limits(frame["value"])
    last = len(table.settings)
    places.append(((frame["value"] - low) / (high - low)).to_numpy())
    marks += [(last, 0.0, table.text(low)), (last, 1.0, table.text(high))] if len(frame) else []
    rows = frame[["value", "settings", "mean", "cells"]]
    parts = [rows.assign(x0=i, y0=a, x1=i + 1, y1=b)
             for i, (a, b) in enumerate(itertools.pairwise(places))]  # fmt: skip
    lines = hv.Segments(pd.concat(parts), ["x0", "y0", "x1", "y1"], ["value", "settings", "mean", "cells"]).opts(
        color="value", cmap=_LINES, clim=(low, high), line_width=2, alpha=0.8, nonselection_alpha=0.06,
        tools=_SELECTING, active_tools=["box_select"], **_ALONE,
        hover_tooltips=[("", "@settings"), (value_label(table), "@mean")],
    )  # fmt: skip
    names = hv.Labels(marks, ["x", "y"], "text").opts(
        text_font_size="11px", text_align="left", xoffset=0.03, text_color=palette.TEXT, **_ALONE
    )
    ticks = [*enumerate(short(name) for name in table.settings), (last, value_label(table))]
    style = _style("Parallel coordinates", xticks=ticks, yaxis=None, xlabel="", xlim=(-0.1, last + 0.35),
                   ylim=(-0.08, 1.08), show_legend=False)  # fmt: skip
    return (lines * names).opts(**style)


def importance_plot(table: SweepTable) -> hv.Bars:
    """Return the fraction of the variance of the objective that each setting, and the seed, explains by itself."""
    hv.renderer("bokeh")
    found = sorted(importance(table).items(), key=lambda item: item[1])
    rows = [("seed (chance)" if name == _SEED else short(name), fraction) for name, fraction in found]
    bars = hv.Bars(rows, "Setting", hv.Dimension("fraction", label="Explained fraction of the variance"))
    tips = [("", "@Setting"), ("explains", f"@fraction{{{_PER_CENT}}}")]
    style = _style("Importance of the settings", invert_axes=True, ylim=(0, 1), xlabel="", show_grid=True)
    return bars.opts(
        color=palette.BLUE, line_color=None, bar_width=0.6, tools=["hover"], hover_tooltips=tips,
        xformatter=NumeralTickFormatter(format="0%"), **style,
    )  # fmt: skip


def brushed(plot: Any, hook: Callable[[Any, Any], None]) -> Any:
    """Return a plot whose selectable elements have a hook, such as :meth:`tsnn.views.plots.brushing.Brush.hook`."""
    if not isinstance(plot, hv.Overlay):
        return plot
    selectable = (hv.HeatMap, hv.Points, hv.Segments)
    return plot.clone([part.opts(hooks=[hook], clone=True) if isinstance(part, selectable) else part for part in plot])
