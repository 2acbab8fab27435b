"""Workers tab: speed, time and staleness of the workers of a parallel run."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
import panel as pn

from tsnn.records import EventKind
from tsnn.views.live.follower import RunFollower
from tsnn.views.plots import palette
from tsnn.views.plots.workers import (
    SpeedHistoryPlot,
    SpeedPlot,
    StalenessPlot,
    TimePlot,
    Workers,
    batches_per_second,
    seconds_of,
)
from tsnn.views.tabs.cards import card, grid
from tsnn.views.tabs.replay import Replay

_SEQUENTIAL = "This run trains in one process. Set <b>Workers</b> in the form to train with several."
_WAITING = "The workers report after their first epoch."
#: Kinds of events about the workers.
_EVENTS = (EventKind.RESUMED, EventKind.AVERAGED, EventKind.WORKERS)


class WorkersTab:
    """Statistics of the workers in the epoch of the timeline.

    Parameters
    ----------
    follower : RunFollower
        The run.
    replay : Replay
        The timeline.
    """

    def __init__(self, follower: RunFollower, replay: Replay):
        self._follower, self._replay = follower, replay
        self._drawn: tuple[Any, ...] = ()
        self.plots: list[Any] = []
        self._epochs = 0  # drawn in the history of speeds
        self._cards: list[Any] = []
        self.text = pn.pane.HTML("", sizing_mode="stretch_width", margin=0, styles={"font-size": "15px"})
        self._grid = grid(visible=False)
        self.layout = pn.Column(self.text, self._grid, sizing_mode="stretch_width", margin=0)

    @pn.io.hold()
    def update(self, *, figures_only: bool = False) -> None:
        """Draw new data; the figures are made at the first statistics of workers."""
        history, cursor = self._follower.history, self._replay.cursor
        epochs = len(history)
        row = epochs - 1 if cursor is None else min(int(np.searchsorted(history["epoch"], cursor)), epochs - 1)
        workers = history.workers[row] if epochs else ()
        events = [event for event in self._follower.events if event.kind in _EVENTS]
        state = (row, len(events), bool(workers), epochs)
        if state == self._drawn:
            return
        self._drawn = state
        self._grid.visible = bool(workers)
        if not workers:
            parallel = self._follower.config.parallel.workers > 0
            self.text.object = f"<p style='opacity:.75'>{_WAITING if parallel else _SEQUENTIAL}</p>"
            return
        if not self.plots:
            self.plots, self.speeds = [SpeedPlot(), TimePlot(), StalenessPlot()], SpeedHistoryPlot()
            names = ("speed", "time", "staleness")
            self._cards = [card(plot.figure, name) for plot, name in zip(self.plots, names, strict=True)]
            self._grid.objects = [*self._cards, card(self.speeds.figure, "speed_history")]
        if epochs != self._epochs:
            self._epochs = epochs
            self.speeds.update(history["epoch"].tolist(), history.workers)
        self._cards[-1].visible = any(worker["staleness"] for worker in workers)  # in phase 2 nothing is sent
        for plot in self.plots:
            plot.update(workers)
        lines = [summary(workers, int(history["epoch"][row])), *(f"Epoch {e.epoch}: {e.message}." for e in events)]
        self.text.object = "".join(f"<p style='margin:4px 0'>{escape(line)}</p>" for line in lines)


def summary(workers: Workers, epoch: int) -> str:
    """Return a sentence about the workers in an epoch."""
    total = sum(map(seconds_of, workers)) or 1.0
    communicating = palette.percent(sum(w["seconds_communicate"] for w in workers) / total)
    waiting = palette.percent(sum(w["seconds_idle"] for w in workers) / total)
    counts = [(late, n) for w in workers for late, n in enumerate(w["staleness"])]
    speed = sum(map(batches_per_second, workers))
    text = f"Epoch {epoch}, phase {workers[0]['phase']}: {len(workers)} workers, {speed:,.0f} batches per second; "
    text += f"{communicating} of their time communicating, {waiting} waiting for others"
    if gradients := sum(n for _, n in counts):
        text += f"; mean staleness {sum(late * n for late, n in counts) / gradients:.2g}"
        kept = sum(w["retained"] * w["batches"] for w in workers) / max(sum(w["batches"] for w in workers), 1)
        text += f", {palette.percent(kept)} of the gradients' entries applied"
    return text + "."
