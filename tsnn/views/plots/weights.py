"""Weights of a whole layer as an image that is computed for the visible part: zoom from all to single connections.

HoloViews asks for an image whenever the ranges change, and Datashader draws it: a million connections take 25 ms, of
which only the visible rows are looked at. Both are imported when the first image is drawn; needs ``tsnn[datashader]``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from bokeh.models import CustomJSHover, HoverTool, NumeralTickFormatter

from tsnn.extras import require
from tsnn.runs.checkpoints import LayerWeights
from tsnn.views.plots import palette
from tsnn.views.plots.figures import HEIGHT, describe, dress

WIDTH = 500  # pixels, until the browser has told its own
_PURPOSE = "Zooming to single weights"
_TIPS = [("Neuron at its start", "$y{custom}"), ("Neuron at its end", "$x{custom}"), ("Weight", "@image{0.0000}")]
_NEURON = "return Math.floor(value).toLocaleString('en')"  # whose square is there
Range = tuple[float, float] | None


class WeightImage:
    """Image of the weights of a layer.

    Parameters
    ----------
    layer : LayerWeights
        The layer (:func:`tsnn.runs.checkpoints.read_layer`).
    title : str
        Title of the figure.

    Raises
    ------
    MissingPackageError
        If Datashader is not installed; the message names the extra.
    """

    def __init__(self, layer: LayerWeights, title: str = "Weights"):
        self._datashader = require("datashader", _PURPOSE)
        self._holoviews = require("holoviews", _PURPOSE)
        self._holoviews.renderer("bokeh")  # loads the backend
        self._rasterize = require("holoviews.operation.datashader", _PURPOSE).rasterize
        self._layer, self._title = layer, title
        sample = abs(layer.weights[:: max(1, len(layer.weights) // 100_000)])
        self.limit = float(np.quantile(sample, 0.99)) if len(sample) else 1.0
        self.image()  # compiles

    def image(self, x_range: Range = None, y_range: Range = None, width: int | None = None, height: int | None = None,
              **_: Any) -> Any:  # fmt: skip
        """Return the image of a part: the means of the weights in squares of neurons, one neuron where it is zoomed in.

        Parameters
        ----------
        x_range, y_range : (float, float), optional
            Neurons at the layer's end and at its start; default is all.
        width, height : int, optional
            Pixels.
        """
        n_in = len(self._layer.indptr) - 1
        x0, x1, columns = _squares(x_range, self._layer.n_out, width or WIDTH)
        y0, y1, rows = _squares(y_range, n_in, height or HEIGHT)
        points = self._holoviews.Points(self._visible(x0, x1, y0, min(y1, n_in)), ["x", "y"], "weight")
        return self._rasterize(
            points, aggregator=self._datashader.mean("weight"), x_range=(x0, x1), y_range=(y0, y1), width=columns,
            height=rows, dynamic=False, vdim_prefix="",
        )  # fmt: skip

    def _visible(self, x0: int, x1: int, y0: int, y1: int) -> tuple[Any, Any, Any]:
        """Return the positions of the connections in a part, in the middle of their squares, and their weights."""
        indptr = self._layer.indptr[y0 : y1 + 1]
        part = slice(int(indptr[0]), int(indptr[-1]))
        x, weights = self._layer.indices[part], self._layer.weights[part]
        y = np.repeat(np.arange(y0, y1, dtype=np.float32), np.diff(indptr))
        if (x0, x1) != (0, self._layer.n_out):
            seen = (x >= x0) & (x < x1)
            x, y, weights = x[seen], y[seen], weights[seen]
        return x + np.float32(0.5), y + np.float32(0.5), weights

    def plot(self) -> Any:
        """Return the image as a HoloViews object that follows the ranges and the size of its figure."""
        streams = self._holoviews.streams
        return self._holoviews.DynamicMap(self._drawn, streams=[streams.RangeXY(), streams.PlotSize()])

    def _drawn(self, **view: Any) -> Any:
        """Return the image of the visible part with its style."""
        return self.image(**view).opts(
            cmap=list(palette.SIGNED), clim=(-self.limit, self.limit), colorbar=True, responsive=True,
            height=HEIGHT + 60, invert_yaxis=True, xlabel="Neuron at its end", ylabel="Neuron at its start",
            title=self._title, fontscale=1.0,
            default_tools=["pan", "wheel_zoom", "box_zoom", "reset", "save"], active_tools=["box_zoom"],
            tools=["hover"], hover_tooltips=_TIPS, hooks=[self._style],
        )  # fmt: skip

    def _style(self, plot: Any, _element: Any) -> None:
        """Give the figure the look of the others."""
        fig = plot.state
        dress(fig)
        fig.update(background_fill_color=None, border_fill_color=None)
        fig.grid.visible = False
        for axis in fig.axis:
            axis.formatter = NumeralTickFormatter(format="0,0.[0]")
        for hover in fig.select({"type": HoverTool}):
            hover.formatters = {"$x": CustomJSHover(code=_NEURON), "$y": CustomJSHover(code=_NEURON)}
        for bar in fig.right:
            bar.update(background_fill_alpha=0.0, width=10)
        describe(fig, role="figure", tabindex="0", aria_label=self._title)


def _squares(wanted: Range, n: int, pixels: int) -> tuple[int, int, int]:
    """Return the first and last neuron and the number of squares that cover a range: of whole neurons each."""
    low, high = sorted(wanted) if wanted and all(map(math.isfinite, wanted)) else (0.0, float(n))
    first = min(max(math.floor(low), 0), n - 1)
    last = max(min(math.ceil(high), n), first + 1)
    side = -(-(last - first) // max(pixels, 1))
    first -= first % side
    count = -(-(last - first) // side)
    return first, first + count * side, count
