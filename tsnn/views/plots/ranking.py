"""Plots of a selection of features: their ranking, and the selected ones in the image that they form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, FactorRange, HoverTool
from bokeh.plotting import figure
from numpy.typing import NDArray

from tsnn.records import SelectionRecord
from tsnn.snapshot import Snapshot
from tsnn.views.plots import palette
from tsnn.views.plots.figures import add_legend, base_figure, padded, set_range, set_title
from tsnn.views.plots.topology import InputPicture, as_picture, short_labels

BARS = 50
SELECTED, DROPPED, OTHER = "selected", "dropped out", "not selected"
COLORS = {SELECTED: palette.BLUE, DROPPED: palette.ORANGE, OTHER: palette.GREY}
_SIDE = 330  # of the picture, in pixels


class RankingPlot:
    """The first features by score, as bars of a measure: selected ones, those that dropped out, and others.

    Parameters
    ----------
    measure : str
        Label of the height of the bars.
    """

    def __init__(self, measure: str = "Score"):
        self.source = ColumnDataSource({name: [] for name in ("feature", "name", "rank", "value", "state", "color")})
        self._factors = FactorRange()
        self.figure = base_figure(measure, "Feature, by rank", measure, x_range=self._factors)
        style: dict[str, Any] = {"source": self.source, "color": "color", "legend_field": "state"}
        bars = self.figure.vbar("feature", top="value", width=0.8, **style)
        tips = [("feature", "@name"), ("rank", "@rank"), (measure.lower(), "@value{0,0.[000]}"), ("", "@state")]
        self.figure.add_tools(HoverTool(renderers=[bars], tooltips=tips, visible=False))
        self.figure.xaxis.major_label_orientation = math.pi / 2
        self.figure.xgrid.visible = False
        add_legend(self.figure)
        self.figure.legend[0].click_policy = "none"

    def update(
        self, scores: NDArray[Any], values: NDArray[Any], selected: NDArray[np.bool_],
        dropped: NDArray[np.bool_], names: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """Draw the first features by score.

        Parameters
        ----------
        scores, values : float[n_features]
            They rank the features, and are the height of the bars.
        selected, dropped : bool[n_features]
            The features that are selected, and those that were.
        names : sequence of str
            Names of the features; numbers without them.
        """
        top = np.argsort(-scores, kind="stable")[:BARS]
        states = np.select([selected, dropped], [SELECTED, DROPPED], OTHER)[top].tolist()
        heights = values[top].astype(float)
        labels = short_labels(top.tolist(), names)
        which = f"First {len(top)} of {len(scores):,} features" if len(top) < len(scores) else f"{len(top)} features"
        set_title(self.figure, f"{which}: {self.figure.yaxis.axis_label.lower()}")
        self._factors.factors = labels
        self.source.data = {
            "feature": labels, "name": [names[i] if len(names) else str(i) for i in top],
            "rank": list(range(1, len(top) + 1)), "value": heights.tolist(), "state": states,
            "color": [COLORS[state] for state in states],
        }  # fmt: skip
        low, high = padded([heights])
        set_range(self.figure.y_range, min(low, 0.0) if heights.min() < 0 else 0.0, max(high, 0.0) or 1.0)


class SelectedPixels:
    """Connections of each pixel, with the selected ones outlined and those that dropped out crossed."""

    def __init__(self, shape: Sequence[int]):
        self._picture = InputPicture(shape)
        self.figure = self._picture.figure
        self.figure.update(width=self.figure.width + _SIDE - self.figure.height, height=_SIDE)
        self.selected, self.dropped = (ColumnDataSource({"x": [], "y": []}) for _ in range(2))
        style: dict[str, Any] = {"line_color": palette.VERMILION, "line_width": 2}
        self.figure.rect("x", "y", width=1, height=1, source=self.selected, fill_alpha=0, **style)
        self.figure.scatter("x", "y", marker="x", size=7, source=self.dropped, **style)

    def update(self, record: SelectionRecord, dropped: NDArray[np.bool_]) -> None:
        """Draw an epoch."""
        n = np.array([len(record.connections)])
        self._picture.update(Snapshot(n, (), input_degree=record.connections.astype(np.float32)))
        for source, features in ((self.selected, record.selected), (self.dropped, dropped & ~record.selected)):
            picture = as_picture(features, self._picture.shape)
            rows, columns = np.nonzero(np.empty((0, 0)) if picture is None else picture)
            source.data = {"x": (columns + 0.5).tolist(), "y": (rows + 0.5).tolist()}


def ranking(selector: Any) -> figure:
    """Return a figure of the features that a fitted selector ranks first, with their names.

    Parameters
    ----------
    selector : SparseSelector
        Fitted; or another selector of scikit-learn with ``scores_``, such as ``SelectKBest``.

    Examples
    --------
    >>> ranking(tsnn.SparseSelector(20).fit(X, y))  # doctest: +SKIP
    """
    plot = RankingPlot()
    scores, selected = np.asarray(selector.scores_), selector.get_support()
    plot.update(scores, scores, selected, np.zeros_like(selected), getattr(selector, "feature_names_in_", ()))
    return plot.figure
