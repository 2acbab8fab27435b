"""Race: small drawings of the networks of several runs at the same moment of one clock, live and in replay."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
import panel as pn
from numpy.typing import NDArray

from tsnn.snapshot import Snapshot
from tsnn.views.live.follower import RunFollower
from tsnn.views.plots import palette
from tsnn.views.plots.comparison import horizontal
from tsnn.views.plots.network import NetworkPlot
from tsnn.views.tabs.cards import Card, say_empty
from tsnn.views.tabs.network import PARTS, network_pane, network_plot
from tsnn.views.tabs.replay import Replay
from tsnn.views.tabs.results import swatch

#: Most networks that are drawn side by side.
MAX_LANES = 4
_HEIGHT = 220
_TITLE = "font-size:13px;font-weight:600;text-align:center;text-wrap:balance"
_PARTS = tuple(part for part in PARTS if part != "density")  # small drawings do without the grey bands
_STEPS = 100  # of the clock
_GRID = {
    "display": "grid", "grid-template-columns": "repeat(auto-fit, minmax(min(240px, 100%), 1fr))", "gap": "4px",
    "width": "100%",
}  # fmt: skip


class Clock(Replay):
    """Timeline of several runs: milliseconds of training of each, or epochs."""

    def __init__(self, on_follow: Callable[[], None], on_move: Callable[[], None]):
        self.seconds = True
        super().__init__(1, on_follow, on_move)
        self.layer_choice.visible = False

    def set_end(self, end: float) -> None:
        """Set the latest moment of any run: milliseconds, or epochs."""
        last = round(end)
        if self.slider.end != max(1, last):
            self.slider.end = max(1, last)
        steps = min(last, _STEPS)
        self.update([round(last * i / steps) for i in range(steps + 1)] if steps else [])

    def _label(self) -> str:
        at = self.epoch or 0
        return f"Clock: {palette.duration(at / 1000)} of training" if self.seconds else f"Clock: epoch {at:,}"


@dataclass(eq=False)
class Lane:
    """One run of a race: its name, and the drawing of its network."""

    follower: RunFollower
    label: str = ""
    plot: NetworkPlot | None = None
    drawn: tuple[int | None, int | None] = (None, None)
    version: int = -1
    epochs: list[int] = field(default_factory=list)
    moments: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    empty: Any = field(default_factory=lambda: pn.pane.HTML("", sizing_mode="stretch_width", margin=0))
    title: Any = field(default_factory=lambda: pn.pane.HTML("", sizing_mode="stretch_width", margin=0))
    layout: Any = field(default_factory=lambda: pn.Column(sizing_mode="stretch_width", margin=0))

    def rename(self, label: str, place: int) -> None:
        """Change the name, which can depend on those of the other runs, and the sample of the curve."""
        self.label = label
        self.title.object = f"<div style='{_TITLE}'>{swatch(*palette.series_style(place))}{escape(label)}</div>"
        if self.plot is not None:
            self.plot.label, self.drawn = label, (None, None)  # its text alternative names it

    def find_moments(self, seconds: bool) -> None:
        """Find the moments of the run's snapshots: milliseconds of training, or epochs."""
        history, self.epochs, self.version = self.follower.history, self.follower.snapshots, self.follower.version
        self.moments = np.array(self.epochs, np.float64)
        if seconds:
            known = np.append(0.0, history["epoch"])
            self.moments = np.interp(self.moments, known, np.append(0.0, 1000 * horizontal(history, "seconds")))

    def due(self, moment: float) -> tuple[int | None, int | None]:
        """Return the epochs of the last snapshot up to a moment and of the one before; None for none."""
        index = int(np.searchsorted(self.moments, moment, "right")) - 1
        now = self.epochs[index] if index >= 0 else None
        return now, self.epochs[index - 1] if index > 0 else None

    def draw(self, now: int | None, before: int | None) -> None:
        """Draw a snapshot and the changes since another."""
        self.drawn = now, before
        snapshot = self._snapshot(now)
        if snapshot is None or snapshot.layers[0].edges is None:
            return
        if self.plot is None:
            self.plot = network_plot(self.follower, _HEIGHT, label=self.label)
            self.layout.objects = [self.title, network_pane(self.plot)]
        self.plot.update(snapshot, self._snapshot(before))

    def say(self) -> None:
        """Show the state of the run while there is no network to draw."""
        if self.plot is None:
            say_empty(self.empty, escape("reading …" if self.epochs and self.drawn[0] is None else self.follower.state))
            if not self.layout.objects:
                self.layout.objects = [self.title, self.empty]

    def _snapshot(self, epoch: int | None) -> Snapshot | None:
        return None if epoch is None else self.follower.snapshot(epoch, None, _PARTS)


class RaceView:
    """Networks of several runs under one clock.

    Parameters
    ----------
    on_move : callable
        Called when the clock was moved by hand or should follow the newest moment again.

    Attributes
    ----------
    layout : Panel object
        Drawings and clock; hidden for one run, and for more than :data:`MAX_LANES`.
    """

    def __init__(self, on_move: Callable[[], None]):
        self._on_move = on_move
        self.lanes: list[Lane] = []
        self._turns: list[Lane] = []  # the lane whose drawing is the oldest first
        self.clock = Clock(self._moved, self._moved)
        self._grid = pn.Column(styles=_GRID, sizing_mode="stretch_width", margin=0,
                               stylesheets=[".scroll-button {display: none !important}"])  # fmt: skip
        self.layout = Card(self._grid, "race", self.clock.layout, visible=False)

    def show(self, runs: Sequence[tuple[str, RunFollower]]) -> None:
        """Show these runs, with their names."""
        shown = list(runs) if 1 < len(runs) <= MAX_LANES else []
        if [follower for _, follower in shown] != [lane.follower for lane in self.lanes]:
            self.lanes = [Lane(follower) for _, follower in shown]
            self._turns = list(self.lanes)
            self._grid.objects = [lane.layout for lane in self.lanes]
            self.clock.follow_newest()
        for i, (lane, (label, _)) in enumerate(zip(self.lanes, shown, strict=True)):
            if label != lane.label:
                lane.rename(label, i)
        if self.layout.visible != bool(shown):
            self.layout.visible = bool(shown)

    @property
    def moment(self) -> float | None:
        """Seconds or epoch at which the clock stands; None while it follows the newest moment."""
        at = self.clock.cursor
        return at / 1000 if at is not None and self.clock.seconds else at

    def update(self, seconds: bool) -> bool:
        """Advance the clock, and draw the network that has waited longest; returns whether one was drawn.

        Parameters
        ----------
        seconds : bool
            Whether the clock counts seconds of training; else epochs.
        """
        turned = seconds != self.clock.seconds
        self.clock.seconds = seconds
        if turned:
            self.clock.stop()
            self.clock.follow_newest()
        for lane in self.lanes:
            if turned or lane.version != lane.follower.version:
                lane.find_moments(seconds)
            lane.say()
        self.clock.set_end(max((lane.moments[-1] for lane in self.lanes if len(lane.moments)), default=0.0))
        self.clock.tick()
        return self._draw(at_most=1)

    def _moved(self) -> None:
        with pn.io.hold():
            self._draw(at_most=len(self.lanes))
            self._on_move()

    def _draw(self, at_most: int) -> bool:
        moment = float("inf") if self.clock.following else float(self.clock.epoch or 0)
        waiting = [lane for lane in self._turns if lane.due(moment) != lane.drawn]
        for lane in waiting[:at_most]:
            lane.draw(*lane.due(moment))
            self._turns.remove(lane)
            self._turns.append(lane)
        return bool(waiting)
