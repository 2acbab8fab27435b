"""Places of a drawn network's neurons: the inputs as their image or a column, then one column per layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsnn.snapshot import Snapshot

#: Ends of the columns, as fractions of the figure; y grows downwards.
COLUMNS_Y = (0.0, 1.0)
FIRST, LAST = 0.06, 0.97
_LEFT, _AFTER_PICTURE = 0.015, 0.165  # of the picture of the inputs
_MOST = (0.4, 0.8)  # fractions of the figure's width and height that it takes
#: Columns of :func:`bands`.
BANDS = ("x0", "y0", "x1", "y1", "alpha")
_HAZE = 0.07  # opacity of the fullest band
BLOCKS = 8  # of a layer's neurons, whose undrawn connections are drawn as one grey band
MOST_CELLS = 32  # of a picture's row or column
_DENSE = 60  # neurons of a column, from which on they are staggered
_STAGGER = 0.006

Floats = NDArray[np.float64]


class Picture(NamedTuple):
    """Cells of an image of the inputs: pixels, or blocks of them; colour planes lie on each other.

    Attributes
    ----------
    height, width : int
        Cells.
    pixels : int
        Pixels along the side of a cell.
    cells : int32[n]
        Cell of each input, row by row.
    x, y : (float, float)
        Its ends in the figure.
    """

    height: int
    width: int
    pixels: int
    cells: NDArray[np.int32]
    x: tuple[float, float] = (0.0, 1.0)
    y: tuple[float, float] = (0.0, 1.0)

    @classmethod
    def of(cls, shape: Sequence[int]) -> Picture:
        """Divide an image of a shape: (height, width), (planes, height, width) or (height, width, planes)."""
        planes_last = len(shape) == 3 and shape[2] < shape[0]
        height, width = shape[:2] if planes_last else shape[-2:]
        pixels = math.ceil(max(height, width) / MOST_CELLS)
        rows, columns = np.arange(height) // pixels, np.arange(width) // pixels
        across = int(columns[-1]) + 1
        cells = (rows[:, None] * across + columns).astype(np.int32)
        planes = math.prod(shape) // (height * width)
        spread = np.repeat(cells[..., None], planes, -1) if planes_last else np.tile(cells, (planes, 1, 1))
        return cls(int(rows[-1]) + 1, across, pixels, spread.ravel())

    def fitted(self, aspect: float) -> Picture:
        """Return the picture with square cells in a figure that is ``aspect`` times as wide as high."""
        cell = min(_MOST[0] * aspect / self.width, _MOST[1] / self.height)  # of the figure's height
        width, height = cell * self.width / aspect, cell * self.height
        return self._replace(x=(_LEFT, _LEFT + width), y=(0.5 - height / 2, 0.5 + height / 2))

    def sums(self, values: NDArray[Any], inputs: int) -> Floats:
        """Return the sum over each cell of one value per input, or per block of inputs (means)."""
        each = np.repeat(values, -(-inputs // len(values)))[:inputs]
        return np.bincount(self.cells, weights=each, minlength=self.height * self.width).astype(np.float64)

    def places(self) -> tuple[Floats, Floats]:
        """Return the centres of the cells."""
        row, column = np.divmod(np.arange(self.height * self.width), self.width)
        return _between(self.x, (column + 0.5) / self.width), _between(self.y, (row + 0.5) / self.height)


def column_positions(layers: int, picture: Picture | None) -> Floats:
    """Return the positions from left to right of the layers of neurons, without that of a picture."""
    if picture is not None:
        first = picture.x[1] + _AFTER_PICTURE
        return np.linspace(first, LAST, layers - 1) if layers > 2 else np.array([LAST - 0.15])
    return np.linspace(FIRST, LAST, layers)


def column_places(count: int, x: float) -> tuple[Floats, Floats]:
    """Return the places of neurons in a column, from top to bottom; many are staggered."""
    at = np.arange(count, dtype=np.float64)
    stagger = (at % 3 - 1) * _STAGGER if count > _DENSE else 0 * at
    return x + stagger, _between(COLUMNS_Y, (at + 0.5) / max(count, 1))


def _between(ends: tuple[float, float], fraction: Floats) -> Floats:
    return ends[0] + (ends[1] - ends[0]) * fraction


def lookup(neurons: NDArray[Any], column: dict[str, Any], first: int) -> Any:
    """Return a function from numbers of drawn neurons to their x, y and number in the figure."""
    order = np.argsort(neurons)

    def place(numbers: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        at = order.take(np.searchsorted(neurons, numbers, sorter=order), mode="clip")  # numbers of a file
        return column["x"][at], column["y"][at], first + at

    return place


class Drawn(NamedTuple):
    """Connections of one layer between drawn neurons.

    Attributes
    ----------
    keys : int64[m]
        ``start * n_out + end``, ascending.
    weights : float32[m]
    births : int32[m]
        -1 where unknown.
    """

    keys: NDArray[np.int64]
    weights: NDArray[np.float32]
    births: NDArray[np.int32]


def drawn_connections(snapshot: Snapshot, layer: int) -> Drawn:
    """Return the connections of a layer that a snapshot holds for drawing."""
    part, n_out = snapshot.layers[layer], int(snapshot.sizes[layer + 1])
    if part.edges is None or part.edge_weights is None:
        return Drawn(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.int32))
    births = np.full(len(part.edges), -1, np.int32) if part.edge_births is None else part.edge_births
    return Drawn(part.edges[:, 0].astype(np.int64) * n_out + part.edges[:, 1], part.edge_weights.astype(np.float32),
                 births)  # fmt: skip


def compare(snapshot: Snapshot, before: Snapshot | None, layer: int) -> tuple[NDArray[np.bool_], Drawn]:
    """Tell the connections of a layer that have come since an earlier snapshot, and those that have gone.

    Of neurons that were not drawn then, connections have come if they were born since.

    Returns
    -------
    new : bool[m]
        Of the connections that the snapshot draws.
    gone : Drawn
        Connections of the earlier snapshot between neurons that are drawn in both, and are no more.
    """
    now = drawn_connections(snapshot, layer)
    if before is None or before.layers[layer].edges is None:
        return np.zeros(len(now.keys), bool), Drawn(now.keys[:0], now.weights[:0], now.births[:0])
    then, n_out = drawn_connections(before, layer), int(snapshot.sizes[layer + 1])
    comparable = _both_drawn(before, layer, now.keys, n_out)
    since = int(before.epoch) if before.epoch is not None else np.iinfo(np.int32).max
    new = np.where(comparable, ~np.isin(now.keys, then.keys), now.births > since)
    gone = ~np.isin(then.keys, now.keys) & _both_drawn(snapshot, layer, then.keys, n_out)
    return new, Drawn(then.keys[gone], then.weights[gone], then.births[gone])


def _both_drawn(snapshot: Snapshot, layer: int, keys: NDArray[np.int64], n_out: int) -> NDArray[np.bool_]:
    """Return whether a snapshot draws both neurons of each connection."""
    starts = snapshot.layers[layer - 1].drawn if layer else snapshot.drawn_inputs
    ends = snapshot.layers[layer].drawn
    drawn = np.ones(len(keys), bool) if starts is None else np.isin(keys // n_out, starts)
    return drawn if ends is None else drawn & np.isin(keys % n_out, ends)


def ages(drawn: Drawn, snapshot: Snapshot) -> NDArray[np.float64]:
    """Return the age of each connection, from 0 for a new one to 1 for the oldest possible; 0.5 if unknown."""
    if snapshot.epoch is None or snapshot.ages_since is None:
        return np.full(len(drawn.keys), 0.5)
    oldest = max(1, int(snapshot.epoch) - int(snapshot.ages_since))
    age = np.sqrt(np.clip(int(snapshot.epoch) - drawn.births, 0, oldest) / oldest)
    return np.where(drawn.births < 0, 0.5, age if int(snapshot.epoch) else 0.5)


def weights_after(now: Drawn, after: Snapshot, layer: int) -> NDArray[np.float32]:
    """Return the weights of connections in a later snapshot; of those that are no more there, the present ones."""
    later = drawn_connections(after, layer)
    if not len(later.keys):
        return now.weights
    at = np.minimum(np.searchsorted(later.keys, now.keys), len(later.keys) - 1)
    return np.where(later.keys[at] == now.keys, later.weights[at], now.weights)


def blocks(n: int) -> NDArray[np.intp]:
    """Return the starts of at most :data:`BLOCKS` blocks of ``n`` rows."""
    return np.arange(min(n, BLOCKS)) * n // min(n, BLOCKS)


def bands(snapshot: Snapshot, picture: Picture | None) -> dict[str, NDArray[np.float32]]:
    """Return the connections of incompletely drawn layers as grey bands between blocks of neurons, by :data:`BANDS`."""
    at = column_positions(len(snapshot.sizes), picture)
    at = np.append(picture.x[1], at) if picture is not None else at
    parts: list[tuple[NDArray[Any], ...]] = [(np.empty(0),) * len(BANDS)]
    for l, layer in enumerate(snapshot.layers):
        complete = layer.drawn is not None and len(layer.drawn) == snapshot.sizes[l + 1]
        if layer.density is None or (complete and (l or snapshot.drawn_inputs is None)):
            continue
        rows, columns = (blocks(n) for n in layer.density.shape)
        counts = np.add.reduceat(np.add.reduceat(layer.density.astype(float), rows, 0), columns, 1)
        counts /= counts.max() or 1.0
        row, column = (index.ravel() for index in np.indices(counts.shape))
        left, right = np.full(counts.size, at[l]), np.full(counts.size, at[l + 1])
        start = _between(picture.y if picture is not None and l == 0 else COLUMNS_Y, (row + 0.5) / len(rows))
        end = _between(COLUMNS_Y, (column + 0.5) / len(columns))
        parts.append((left, start, right, end, _HAZE * counts.ravel() ** 2))
    return {
        name: np.concatenate(part).astype(np.float32)
        for name, part in zip(BANDS, zip(*parts, strict=True), strict=True)
    }
