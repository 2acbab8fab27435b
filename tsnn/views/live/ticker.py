"""Ticker: the periodic callback that keeps a page up to date."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

import time
from collections.abc import Callable

import panel as pn

from tsnn.views.live.browser import Throttle

#: Milliseconds between two looks at a run.
PERIOD = 250


class Ticker:
    """Calls a function periodically: more rarely if it takes long, and not before the page has drawn what it last did.

    Parameters
    ----------
    function : callable
        What to do; it should return soon where nothing is new, and says whether something was.
    throttle : Throttle
        Of the page.
    period : int
        Milliseconds between two calls, at least.
    start : bool
        Begin now; else when ``callback`` is started.
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
