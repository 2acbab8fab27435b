"""Periodic updates of pages, less often the more pages there are and the more they cost."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

import time
from collections.abc import Callable

import panel as pn

from tsnn.views.live.browser import Throttle

#: Milliseconds between two updates of a page, if there are few pages.
PERIOD = 250
#: Most milliseconds between two updates of a page, for any number of pages.
MAX_PERIOD = 6000
#: Fraction of one core that updating all pages of this process may take.
SHARE = 0.15
_MEASURE_SECONDS = 1.0
_FORGET_SECONDS = 3 * MAX_PERIOD / 1000


class SharedPeriod:
    """Period of all pages of a process: the same for each, so that none starves.

    The CPU time of the thread that updates them, with messages and drawing, is divided by the number of updates.
    """

    def __init__(self) -> None:
        self._seen: dict[int, float] = {}
        self._ticks = 0
        self._since, self._used = time.monotonic(), time.thread_time()
        self.cost = 0.0  #: CPU seconds of an update

    def note(self, page: object) -> None:
        """Count an update of a page."""
        now = time.monotonic()
        self._seen[id(page)] = now
        self._ticks += 1
        if now - self._since < _MEASURE_SECONDS:
            return
        used = time.thread_time()
        cost = (used - self._used) / self._ticks
        self.cost = cost if not self.cost else 0.7 * self.cost + 0.3 * cost
        self._since, self._used, self._ticks = now, used, 0
        self._seen = {key: at for key, at in self._seen.items() if now - at < _FORGET_SECONDS}

    def milliseconds(self, shortest: int) -> int:
        """Return the milliseconds between two updates of a page."""
        return int(min(MAX_PERIOD, max(shortest, 1000 * self.cost * len(self._seen) / SHARE)))


#: The period of this process.
SHARED_PERIOD = SharedPeriod()


class Ticker:
    """Periodic call of a function, with the period of all pages, and only after the page has drawn the last update.

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
        Its ``period`` adapts to the load.
    """

    def __init__(self, function: Callable[[], bool], throttle: Throttle, period: int = PERIOD, *, start: bool = True):
        self._function, self._throttle = function, throttle
        self._period = period
        self.callback = pn.state.add_periodic_callback(self._tick, period=period, start=start)

    def _tick(self) -> None:
        SHARED_PERIOD.note(self)
        if self._throttle.is_free():
            with pn.io.hold():
                if self._function():
                    self._throttle.ask()
        wanted = SHARED_PERIOD.milliseconds(self._period)
        if not 0.75 < wanted / self.callback.period < 1.34:
            self.callback.period = wanted
