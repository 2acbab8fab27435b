"""Periodic updates of a page."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

import time
from collections.abc import Callable

import panel as pn

from tsnn.views.live.browser import Throttle

#: Milliseconds between two updates.
PERIOD = 250


class Ticker:
    """Periodic call of a function: less often if it takes long, and only after the page has drawn the last update.

    Parameters
    ----------
    function : callable
        Updates the page and returns whether anything changed; without changes it should return soon.
    throttle : Throttle
        Throttle of the page.
    period : int
        Shortest time between two calls, in milliseconds.
    start : bool
        Start now; else when ``callback`` is started.

    Attributes
    ----------
    callback : Panel periodic callback
        Its ``period`` adapts to the duration of the calls.
    seconds : list of float
        CPU time of the last 200 calls.
    """

    def __init__(self, function: Callable[[], bool], throttle: Throttle, period: int = PERIOD, *, start: bool = True):
        self._function, self._throttle = function, throttle
        self._period = period
        self.seconds: list[float] = []
        self.callback = pn.state.add_periodic_callback(self._tick, period=period, start=start)

    def _tick(self) -> None:
        if not self._throttle.is_free():
            return
        begun = time.process_time()
        with pn.io.hold():
            if self._function():
                self._throttle.ask()
        spent = time.process_time() - begun
        self.seconds = [*self.seconds[-199:], spent]
        wanted = max(self._period, int(4000 * spent))
        if not 0.5 < wanted / self.callback.period < 2:
            self.callback.period = wanted
