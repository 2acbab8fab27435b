"""Plot of curves over the epochs of a run, which live views update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, NumeralTickFormatter, Range1d
from bokeh.models.annotations import Span

from tsnn.views.history import History
from tsnn.views.plots import palette
from tsnn.views.plots.figures import (
    EventMarks,
    add_legend,
    base_figure,
    decimate,
    describe,
    log_padded,
    make_lean,
    padded,
    sent,
    set_range,
    smoothed,
    title_of,
)
from tsnn.views.plots.tools import DECORATION, ROUND, add_log_switch


class _Drawing(NamedTuple):
    """Columns of the sources of a plot, ranges of the values, and the text alternative."""

    points: dict[str, Any]
    trunk: dict[str, Any]
    ghost: dict[str, Any]
    measured: dict[str, Any]
    heads: dict[str, Any]
    limits: tuple[float, float]
    log_limits: tuple[float, float]
    text: str


@dataclass(frozen=True)
class Curve:
    """One curve of a plot: a column of the history, its label and its style."""

    column: str
    label: str
    color: str
    dash: str = "solid"


class CurvePlot:
    """Figure with columns of a history over the epochs.

    Parameters
    ----------
    title, y_label : str
        Texts of the figure, with units.
    curves : sequence of Curve
        The curves.
    y_format : str
        Numeral.js format of the values.
    bounds : (float or None, float or None)
        Floor and ceiling that the vertical range never crosses.
    log : bool
        Draw the values on a logarithmic scale.
    x_range : Range1d, optional
        Range shared with other plots, moved by its owner (:func:`fit_epochs`).
    marks : EventMarks, optional
        Events to draw.

    Attributes
    ----------
    from_zero : bool
        Whether the vertical range begins at 0.
    """

    def __init__(
        self,
        title: str,
        y_label: str,
        curves: Sequence[Curve],
        *,
        y_format: str,
        bounds: tuple[float | None, float | None] = (None, None),
        log: bool = False,
        x_range: Range1d | None = None,
        marks: EventMarks | None = None,
    ):
        self.curves = tuple(curves)
        self._bounds, self._log, self._marks, self._format = bounds, log, marks, y_format
        self.from_zero = False
        self.source = ColumnDataSource({"epoch": [], **{c.column: [] for c in curves}, "event": []})
        self._head = ColumnDataSource({"epoch": [], "y": [], "color": []}, tags=[DECORATION])
        self._measured = ColumnDataSource({"xs": [], "ys": [], "color": []}, tags=[DECORATION])
        self.figure = base_figure(title, "Epoch", y_label, x_range=x_range or Range1d(start=0, end=1),
                                  y_axis_type="log" if log else "linear")  # fmt: skip
        self.figure.yaxis.formatter = NumeralTickFormatter(format=y_format)
        self.figure.xaxis.formatter = NumeralTickFormatter(format="0,0.[0]")
        if log:
            self.figure.yaxis.ticker = FixedTicker(ticks=ROUND)
        self.cursor = Span(dimension="height", line_color=palette.GREY, line_width=1.5, visible=False)
        self.level = Span(dimension="width", line_color=palette.GREY, line_dash="dashed", visible=False)
        self.figure.add_layout(self.cursor)
        self.figure.add_layout(self.level)
        if marks is not None:
            marks.draw_on(self.figure)
        self.figure.multi_line("xs", "ys", source=self._measured, color="color", line_alpha=0.3, line_width=1)
        lines = [
            self.figure.line(
                "epoch",
                curve.column,
                source=self.source,
                color=curve.color,
                line_dash=curve.dash,
                line_width=2,
                legend_label=curve.label,
            )
            for curve in curves
        ]
        self._trunk: ColumnDataSource | None = None
        self._ghost: ColumnDataSource | None = None
        self._fork_epoch = 0
        heads = self.figure.scatter("epoch", "y", source=self._head, color="color", size=6)
        heads.level = "overlay"
        rows = [("epoch", "@epoch")] + [(c.label, f"@{{{c.column}}}{{{y_format}}}") for c in curves]
        rows += [("", "@event")]
        self.figure.add_tools(HoverTool(renderers=[lines[0]], tooltips=rows, mode="vline", visible=False))
        add_legend(self.figure)
        make_lean(self.figure)
        floor = bounds[0]
        switchable = not log and floor is not None and floor >= 0
        self._log_range = add_log_switch(self.figure, y_format) if switchable else None

    def update(
        self, history: History, *, follow: bool = True, smoothing: float = 0.0, parent: History | None = None
    ) -> None:  # fmt: skip
        """Draw a history; with ``follow`` the vertical range is fitted to it.

        ``smoothing`` is the weight of a moving average (:func:`tsnn.views.plots.figures.smoothed`), in front of the
        measured values. ``parent`` is the history of the run that a fork continues (:meth:`show_trunk`).
        """
        if not len(history) or any(c.column not in history for c in self.curves):
            return
        messages = self._marks.messages if self._marks else {}
        key = self.curves, self._log, self._bounds, self.from_zero, self._fork_epoch, smoothing
        state = history.version, tuple(messages.items()), None if parent is None else parent.version
        drawn: _Drawing = history.shared.get(key, state, lambda: self._drawing(history, smoothing, messages, parent))
        self.source.data, self._head.data = drawn.points, drawn.heads
        if self._trunk is not None:
            self._trunk.data = drawn.trunk
        if self._ghost is not None and drawn.ghost:
            self._ghost.data = drawn.ghost
        if drawn.measured["xs"] or self._measured.data["xs"]:
            self._measured.data = drawn.measured
        describe(self.figure, aria_label=f"{title_of(self.figure)}. {drawn.text}")
        if follow:
            set_range(self.figure.y_range, *drawn.limits)
            if self._log_range is not None:
                set_range(self._log_range, *drawn.log_limits)

    def _drawing(
        self, history: History, smoothing: float, messages: Mapping[int, str], parent: History | None
    ) -> _Drawing:  # fmt: skip
        """Return the columns, ranges and text for a history."""
        columns = {c.column: history[c.column] for c in self.curves}
        epochs, values = history["epoch"], list(columns.values())
        means = {name: smoothed(column, smoothing) for name, column in columns.items()}
        rows = decimate(list(means.values()))
        if messages:
            rows = np.union1d(rows, np.flatnonzero(np.isin(epochs, list(messages))))
        own, trunk = rows[epochs[rows] >= self._fork_epoch], rows[epochs[rows] <= self._fork_epoch]
        curves = {"epoch": epochs, **means}
        measured = decimate(values) if smoothing else rows[:0]
        ghost = self._later(parent, smoothing)
        fitted = [*values, *(np.asarray(ghost[c.column]) for c in self.curves if ghost)]
        text = ", ".join(f"{c.label} {palette.formatted(columns[c.column][-1], self._format)}" for c in self.curves)
        return _Drawing(
            points={name: sent(column[own]) for name, column in curves.items()}
            | {"event": [messages.get(int(epoch), "") for epoch in epochs[own]]},
            trunk={name: sent(column[trunk]) for name, column in curves.items()} if self._fork_epoch else {},
            ghost=ghost,
            measured={
                "xs": [epochs[measured].tolist() for _ in values] if smoothing else [],
                "ys": [column[measured].tolist() for column in values] if smoothing else [],
                "color": [c.color for c in self.curves] if smoothing else [],
            },
            heads={
                "epoch": [epochs[-1]] * len(self.curves),
                "y": [means[c.column][-1] for c in self.curves],
                "color": [c.color for c in self.curves],
            },
            limits=(log_padded if self._log else padded)([*fitted, np.zeros(int(self.from_zero))], *self._bounds),
            log_limits=log_padded(fitted, None, self._bounds[1]),
            text=f"Epoch {epochs[-1]:,.0f}: {text}.",
        )

    def _later(self, parent: History | None, smoothing: float) -> dict[str, Any]:
        """Return the curves of a fork's parent from the epoch of the fork on; empty without a parent."""
        if parent is None or not len(parent) or any(c.column not in parent for c in self.curves):
            return {}
        curves = {c.column: smoothed(parent[c.column], smoothing) for c in self.curves}
        rows = decimate(list(curves.values()))
        rows = rows[parent["epoch"][rows] >= self._fork_epoch]
        return {name: sent(column[rows]) for name, column in [("epoch", parent["epoch"]), *curves.items()]}

    def show_trunk(self, epoch: int, *, ghost: bool = False) -> None:
        """Draw the epochs up to that of a fork pale: they are those of its parent.

        With ``ghost`` the later curves of the parent are drawn too, dotted: how it went on without the fork's changes.
        """
        if self._trunk is not None or not epoch:
            return
        self._fork_epoch = epoch
        empty: dict[str, Any] = {"epoch": [], **{c.column: [] for c in self.curves}}
        self._trunk = ColumnDataSource(empty, tags=[DECORATION])
        self._ghost = ColumnDataSource(empty, tags=[DECORATION]) if ghost else None
        for curve in self.curves:
            style: dict[str, Any] = {"color": curve.color, "line_width": 2, "line_alpha": 0.35}
            self.figure.line("epoch", curve.column, source=self._trunk, line_dash=curve.dash, **style)
            if self._ghost is not None:
                style |= {"line_dash": [2, 3], "line_alpha": 0.8, "legend_label": "parent"}
                self.figure.line("epoch", curve.column, source=self._ghost, **style)

    def show_cursor(self, epoch: int | None) -> None:
        """Mark an epoch; None removes the mark."""
        self.cursor.update(location=epoch, visible=epoch is not None)

    def show_level(self, value: float | None) -> None:
        """Draw a dashed line at a value, to compare with; None removes it."""
        if self.level.location != value:
            self.level.update(location=value, visible=value is not None)
