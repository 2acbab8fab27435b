"""``tsnn.views.watch(run)``: a live run in one line, in a notebook or in a page of one's own."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

import time
from typing import Any

import panel as pn

from tsnn.runs import Run
from tsnn.views.follow import RunFollower, follow
from tsnn.views.viewers import RunView

#: Milliseconds between two looks at a run.
PERIOD = 250


class Ticker:
    """Calls a function periodically, more rarely if it takes long, and never fails the page.

    Parameters
    ----------
    function : callable
        What to do; it should return soon where nothing is new.
    period : int
        Milliseconds between two calls, at least.
    """

    def __init__(self, function: Any, period: int = PERIOD):
        self._function = function
        self._period = period
        self.seconds: list[float] = []
        self.callback = pn.state.add_periodic_callback(self._tick, period=period)

    def _tick(self) -> None:
        begun = time.process_time()
        with pn.io.hold():
            self._function()
        spent = time.process_time() - begun
        self.seconds = [*self.seconds[-199:], spent]
        wanted = max(self._period, int(4000 * spent))
        if not 0.5 < wanted / self.callback.period < 2:
            self.callback.period = wanted


def watch(run: Run | RunFollower, *, period: int = 1000, topology: bool = False) -> Any:
    """Return a pane that follows a run while it trains, or shows one that has ended.

    Parameters
    ----------
    run : Run or RunFollower
        What to watch.
    period : int
        Milliseconds between two updates.
    topology : bool
        Show the layers' connections, degrees and importance instead of the curves.

    Examples
    --------
    >>> from tsnn.launch import start
    >>> watch(start(Config.preset("madelon")))  # doctest: +SKIP
    """
    view = RunView(run if isinstance(run, RunFollower) else follow(run))
    tab = "topology" if topology else "overview"
    view.tick(tab)
    pane = pn.Column(view.head, view.replay.layout, getattr(view, tab), sizing_mode="stretch_width")

    def tick() -> None:
        if view.tick(tab) and not pn.state.served:
            pn.io.push_notebook(pane)
        if not view.follower.live:
            ticker.callback.stop()

    if view.follower.live:
        ticker = Ticker(tick, period)
    return pane
