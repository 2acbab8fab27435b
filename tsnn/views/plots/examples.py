"""Plots of single test samples: pictures with the inputs that decided, and contributions of named features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, FactorRange, HoverTool, Range1d
from numpy.typing import NDArray

from tsnn.snapshot import Snapshot
from tsnn.views.plots import palette
from tsnn.views.plots.figures import base_figure, padded, set_range, set_title
from tsnn.views.plots.mistakes import output_name
from tsnn.views.plots.topology import as_picture

PER_ROW, ROWS = 2, 3  # samples, each as two pictures
_SIDE = 86  # pixels of a picture, at most
_LETTERS = 26  # above two pictures
BARS = 12  # contributions
_COLUMNS = ("label", "name", "value", "contribution", "color")
_FOR, _AGAINST = (np.array([int(c[i : i + 2], 16) for i in (1, 3, 5)]) for c in (palette.ORANGE, palette.BLUE))


def describe_sample(snapshot: Snapshot, index: int, names: Sequence[str], *, regression: bool = False) -> str:
    """Return one of a snapshot's test samples in a few words: ``Shirt → Coat 63 %``.

    Parameters
    ----------
    snapshot : Snapshot
        With ``test_samples`` and ``test_sample_values``.
    index : int
        The sample, from 0.
    names : sequence of str
        Names of the outputs.
    regression : bool
        Whether the values are those of a target.
    """
    assert snapshot.test_samples is not None
    assert snapshot.test_sample_values is not None
    _, actual, predicted = snapshot.test_samples[index].tolist()
    first, second = map(float, snapshot.test_sample_values[index])
    if regression:
        target = f"{names[actual]}: " if actual < len(names) else ""
        return f"{target}{first:.4g} → {second:.4g}"
    return f"{output_name(names, actual)} → {output_name(names, predicted)} {palette.percent(second, 0)}"


def grey_or_colours(pixels: NDArray[np.uint8], shape: Sequence[int]) -> NDArray[np.uint8] | None:
    """Return an image as uint8[height, width, 3]; None if the shape does not fit."""
    if math.prod(shape) != len(pixels) or len(shape) not in (2, 3):
        return None
    image: Any = pixels.reshape(shape)
    if image.ndim == 3 and shape[2] >= shape[0]:
        image = np.moveaxis(image, 0, 2)  # planes first
    if image.ndim == 2 or image.shape[2] != 3:
        image = np.repeat((image if image.ndim == 2 else image.mean(axis=2).astype(np.uint8))[:, :, None], 3, axis=2)
    colours: NDArray[np.uint8] = image
    return colours


def with_contributions(
    image: NDArray[np.uint8], inputs: NDArray[Any], contributions: NDArray[Any], shape: Sequence[int]
) -> NDArray[np.uint8]:
    """Return an image, pale, with its deciding pixels coloured: orange speaks for the prediction, blue against it."""
    values = np.zeros(math.prod(shape))
    values[inputs] = contributions
    heat = as_picture(values, shape)
    assert heat is not None
    strength = np.where(heat, 0.4 + 0.6 * np.sqrt(abs(heat) / (float(abs(heat).max()) or 1.0)), 0)[:, :, None]
    color = np.where(heat[:, :, None] > 0, _FOR, _AGAINST)
    coloured: NDArray[np.uint8] = np.rint(strength * color + (1 - strength) * (90 + image * 0.4)).astype(np.uint8)
    return coloured


class ExamplePictures:
    """Test samples that are images, each beside the same image with the pixels that decided.

    Parameters
    ----------
    shape : sequence of int
        Shape of an image, see :func:`tsnn.views.plots.topology.as_picture`.
    names : sequence of str
        Names of the outputs.
    regression : bool
        Whether the outputs are values.
    """

    def __init__(self, shape: Sequence[int], names: Sequence[str] = (), *, regression: bool = False):
        self.shape, self.names, self._regression = tuple(shape), tuple(names), regression
        self.source = ColumnDataSource({"image": [], "x": [], "y": [], "dw": [], "dh": []})
        self.labels = ColumnDataSource({"x": [], "y": [], "text": []})
        self.figure = base_figure(
            "Test samples", "", "", x_range=Range1d(start=0, end=2 * PER_ROW + 0.2 * PER_ROW),
            y_range=Range1d(start=ROWS * 1.3, end=0), height=round(1.3 * ROWS * _SIDE) + 50,
            width=round(2.2 * PER_ROW * _SIDE) + 20, sizing_mode="scale_width", min_border_left=4, min_border_right=4,
        )  # fmt: skip
        self.figure.max_width = self.figure.width  # on a narrow page it shrinks
        self.figure.axis.visible = self.figure.grid.visible = False
        self.figure.image_rgba("image", x="x", y="y", dw="dw", dh="dh", source=self.source)
        self.figure.text(
            "x", "y", "text", source=self.labels, text_color=palette.TEXT, text_font_size="12px",
            text_baseline="bottom",
        )  # fmt: skip

    def update(self, snapshot: Snapshot, chosen: Sequence[int]) -> None:
        """Draw these samples of a snapshot, at most six."""
        images, labels = [], []
        pixels, inputs, values = snapshot.test_pixels, snapshot.test_inputs, snapshot.test_contributions
        shown = [] if pixels is None or inputs is None or values is None else list(chosen)[: PER_ROW * ROWS]
        for place, i in enumerate(shown):
            image = grey_or_colours(pixels[i], self.shape) if pixels is not None else None
            if image is None or inputs is None or values is None:
                continue
            row, column = divmod(place, PER_ROW)
            heat = with_contributions(image, inputs[i], values[i].astype(np.float64), self.shape)
            at = 2.2 * column, 1.3 * row + 0.28
            images += [(image, *at), (heat, at[0] + 1.02, at[1])]
            text = describe_sample(snapshot, i, self.names, regression=self._regression)
            labels.append((*at, text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"))
        height, width = images[0][0].shape[:2] if images else (1, 1)
        side = max(height, width)
        self.source.data = {
            "image": [_rgba(image) for image, _, _ in images], "x": [x for _, x, _ in images],
            "y": [y for _, _, y in images], "dw": [width / side] * len(images), "dh": [height / side] * len(images),
        }  # fmt: skip
        self.labels.data = {
            "x": [x for x, _, _ in labels], "y": [y - 0.02 for _, y, _ in labels], "text": [t for _, _, t in labels]
        }  # fmt: skip
        set_title(self.figure, f"{len(shown)} of {len(chosen)} samples" if len(chosen) > len(shown) else "Test samples")


def _rgba(image: NDArray[np.uint8]) -> NDArray[np.uint32]:
    opaque = np.concatenate([image, np.full((*image.shape[:2], 1), 255, np.uint8)], axis=2)
    return np.ascontiguousarray(opaque).view(np.uint32)[:, :, 0]


class ContributionPlot:
    """Features that decided about one test sample, with their values; ``names`` are those of the features."""

    def __init__(self, names: Sequence[str] = (), outputs: Sequence[str] = (), *, regression: bool = False):
        self.names, self.outputs, self._regression = tuple(names), tuple(outputs), regression
        self.source = ColumnDataSource({name: [] for name in _COLUMNS})
        self._factors = FactorRange()
        self.figure = base_figure("Inputs that decided", "Contribution", "", y_range=self._factors, height=340)
        bars = self.figure.hbar("label", right="contribution", height=0.75, source=self.source, color="color")
        tips = [("feature", "@name"), ("value", "@value"), ("contribution", "@contribution{0.[000]}")]
        self.figure.add_tools(HoverTool(renderers=[bars], tooltips=tips, visible=False))
        self.figure.ygrid.visible = False

    def update(self, snapshot: Snapshot, index: int | None) -> None:
        """Draw a sample of a snapshot; None draws nothing."""
        inputs, contributions = snapshot.test_inputs, snapshot.test_contributions
        if index is None or inputs is None or contributions is None:
            self._factors.factors, self.source.data = [], {name: [] for name in _COLUMNS}
            set_title(self.figure, "Inputs that decided")
            return
        numbers = inputs[index, :BARS].tolist()
        known = None if snapshot.test_features is None else snapshot.test_features[index]
        values = ["" if known is None else f"{v:.4g}" for v in ([0.0] * BARS if known is None else known.tolist())]
        names = [output_name(self.names, n) for n in numbers]
        labels = [_label(name, value) for name, value in zip(names, values, strict=False)]
        labels = (
            labels if len(set(labels)) == len(labels) else [f"{t} #{n}" for t, n in zip(labels, numbers, strict=True)]
        )
        drawn = contributions[index, :BARS].astype(np.float64)
        set_title(self.figure, describe_sample(snapshot, index, self.outputs, regression=self._regression))
        self._factors.factors = labels[::-1]
        self.source.data = {
            "label": labels, "name": names, "value": values[: len(labels)], "contribution": drawn,
            "color": [palette.ORANGE if v > 0 else palette.BLUE for v in drawn],
        }  # fmt: skip
        set_range(self.figure.x_range, *padded([np.append(drawn, 0.0)]))


def _label(name: str, value: str) -> str:
    """Return a feature with its value, cut to a length that can be read."""
    short = name if len(name) <= 18 else f"{name[:17]}…"
    return f"{short} = {value}" if value else short
