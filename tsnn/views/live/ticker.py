"""Periodic updates of pages, less often the more pages there are and the more they cost."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

import time
from collections.abc import Callable

import panel as pn
from panel.io.callbacks import PeriodicCallback

from tsnn.views.live.browser import Throttle

#: Milliseconds between two updates of a page, if there are few pages.
PERIOD = 250
#: Most milliseconds between two updates of a page, for any number of pages.
MAX_PERIOD = 6000
#: Fraction of one core that updating all pages of this process may take.
SHARE = 0.15
_MEASURE_SECONDS = 1.0
_LARGEST_STEP = 2.0  # factor of a change: a page that is made takes a second, which says little of later updates


class SharedPeriod:
    """Period of all pages of a process: the same for each, so that none starves.

    It follows the load: the CPU time of the thread that makes, updates and answers all pages. If that is twice the
    allowed :data:`SHARE` of a core, the period doubles.
    """

    def __init__(self) -> None:
        self._period = float(PERIOD)
        self._begin(time.monotonic())

    def note(self) -> None:
        """Adapt the period, at an update of any page."""
        now = time.monotonic()
        if now - self._since < _MEASURE_SECONDS:
            return
        load = (time.thread_time() - self._used) / (now - self._since)
        step = min(_LARGEST_STEP, max(1 / _LARGEST_STEP, load / SHARE))
        self._period = min(MAX_PERIOD, max(PERIOD, step * self._period))
        self._begin(now)

    def _begin(self, now: float) -> None:
        self._since, self._used = now, time.thread_time()

    def milliseconds(self, shortest: int) -> int:
        """Return the milliseconds between two updates of a page."""
        return int(max(shortest, self._period))


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
        self.callback = PeriodicCallback(callback=self._tick, period=period, background=True)  # no busy indicator
        if start:
            self.callback.start()

    def _tick(self) -> None:
        SHARED_PERIOD.note()
        if self._throttle.is_free():
            with pn.io.hold():
                if self._function():
                    self._throttle.ask()
        wanted = SHARED_PERIOD.milliseconds(self._period)
        if not 0.75 < wanted / self.callback.period < 1.34:
            self.callback.period = wanted
