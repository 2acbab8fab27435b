"""Live view of a selection of features in a notebook cell: ``tsnn.views.selection(selector)``."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui
from numpy.typing import NDArray

from tsnn.records import SelectionRecord
from tsnn.views.live.design import restore_design
from tsnn.views.live.ticker import Ticker
from tsnn.views.notebook import LivePane, push
from tsnn.views.plots import palette
from tsnn.views.plots.ranking import RankingPlot, SelectedPixels
from tsnn.views.tabs.cards import figure_pane

_NAMED = 8  # features that a text names
_BEFORE = "Not fitted yet. This view follows the next fit."


class SelectionPane(LivePane):
    """Connections and ranking of the features while a selector is fitted; any epoch can be shown again.

    Parameters
    ----------
    selector : SparseSelector
        The selector.
    image_shape : sequence of int, optional
        Shape of the image that the features form.
    period : int
        Milliseconds between two updates.

    Attributes
    ----------
    head : Panel pane
        The epoch in words.
    player : Panel widget
        Chooses the epoch; at its end it follows the fit.
    """

    def __init__(self, selector: Any, image_shape: Sequence[int] | None = None, period: int = 500):
        restore_design()
        self._recorded: list[SelectionRecord] = selector.record()
        self._records: list[SelectionRecord] = []
        self.head = pn.pane.HTML(_BEFORE, sizing_mode="stretch_width", margin=(4, 10))
        self.player = pmui.Player(  # Panel's own has buttons without names
            label="Epoch", start=1, end=1, value=1, interval=300, show_loop_controls=False, visible=False
        )
        self.scores = RankingPlot("Score")
        self.inputs: Any = RankingPlot("Connections") if image_shape is None else SelectedPixels(image_shape)
        self._shape = image_shape
        figures = [figure_pane(plot.figure) for plot in (self.inputs, self.scores)]
        self._plots = (pn.Column if image_shape is None else pn.Row)(
            *figures, sizing_mode="stretch_width", margin=0, visible=False
        )
        super().__init__(self.head, self.player, self._plots, sizing_mode="stretch_width")
        self.player.param.watch(lambda _: self._draw(), "value")
        self.tick()
        self._ticker = Ticker(self.tick, self.throttle, period)

    def tick(self) -> bool:
        """Draw the newest epoch, if there is one, unless an earlier one is shown; return whether there is."""
        records = list(self._recorded)
        with self.lock:
            if not records or (self._records and records[-1] is self._records[-1]):
                return False
            following = self.player.value == self.player.end or len(records) < self.player.value
            self._records = records
            self.player.param.update(end=len(records), visible=len(records) > 1)
            if following:
                self.player.value = len(records)
            self._draw()
        return True

    def _draw(self) -> None:
        """Draw the epoch that the player shows."""
        if not self._records:
            return
        k = min(self.player.value, len(self._records))
        record = self._records[k - 1]
        earlier = [each.selected for each in self._records[: k - 1]]
        before = earlier[-1] if earlier else np.zeros_like(record.selected)
        dropped = np.logical_or.reduce(earlier) if earlier else before
        self.head.object = _describe(record, before, dropped)
        states = record.selected, dropped, record.names
        self.scores.update(record.scores, record.scores, *states)
        if self._shape is None:
            self.inputs.update(record.scores, record.connections, *states)
        elif math.prod(self._shape) == len(record.scores):
            self.inputs.update(record, dropped)
        else:
            self.head.object += f"<br>{len(record.scores):,} features form no image of the shape {tuple(self._shape)}."
        self._plots.visible = True
        push(self)


def _describe(record: SelectionRecord, before: NDArray[np.bool_], dropped: NDArray[np.bool_]) -> str:
    """Return an epoch in words, as HTML."""
    purpose = " on a part of the samples, to be compared with other methods" if record.trial else ""
    entered, left = (_named(these, record.names) for these in (record.selected & ~before, before & ~record.selected))
    spent = f"{palette.duration(record.seconds)}, {record.memory_bytes / 2**20:,.0f} MiB"
    return (
        f"<b>{record.method}</b>{purpose} · epoch {record.epoch} of {record.epochs} · {spent}<br>"
        f"{record.selected.sum():,} of {len(before):,} features selected · in this epoch {entered} entered, "
        f"{left} dropped out · {(dropped & ~record.selected).sum():,} in all"
    )


def _named(features: NDArray[np.bool_], names: Sequence[str]) -> str:
    """Return the number of features, and their names if they are few."""
    chosen = np.flatnonzero(features)
    if not 0 < len(chosen) <= _NAMED:
        return str(len(chosen))
    return f"{len(chosen)} ({', '.join(escape(names[i]) if len(names) else str(i) for i in chosen.tolist())})"


def selection(selector: Any, image_shape: Sequence[int] | None = None, *, period: int = 500) -> SelectionPane:
    """Return a pane that follows the next fits of a selector, or displays the result of one that is fitted.

    Connections of the inputs and ranking after each epoch, with the features that are selected and those that dropped
    out. While the notebook waits for ``await asyncio.to_thread(selector.fit, X, y)``, the pane is live; a plain
    ``selector.fit(X, y)`` keeps the notebook busy, and all epochs appear at its end.

    Parameters
    ----------
    selector : SparseSelector
        It records its epochs from now on: 9 bytes for each feature and epoch.
    image_shape : sequence of int, optional
        Shape of the image that the features form: (height, width), with colours also (planes, height, width).
    period : int
        Milliseconds between two updates.

    Examples
    --------
    >>> selection(selector)  # doctest: +SKIP
    >>> await asyncio.to_thread(selector.fit, X, y)  # doctest: +SKIP
    """
    return SelectionPane(selector, image_shape, period)
