"""Periodic updates of pages, less often the more pages there are and the more they cost."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

import statistics
import time
from collections import deque
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
_FORGET_SECONDS = 3 * MAX_PERIOD / 1000
_FIRST_UPDATES = 2  # of a page: they draw all of it, which says nothing of later ones
_MEASURED = 5  # measurements whose median counts: a page that is made makes one of them large


class SharedPeriod:
    """Period of all pages of a process: the same for each, so that none starves.

    The CPU time of the thread that updates them, with messages and drawing, is divided by the number of updates; times
    in which a page is made and drawn for the first time are left out.
    """

    def __init__(self) -> None:
        self._seen: dict[int, float] = {}
        self._updates: dict[int, int] = {}
        self._begin(time.monotonic())
        self._costs: deque[float] = deque(maxlen=_MEASURED)
        self.cost = 0.0  #: CPU seconds of an update

    def note(self, page: object) -> None:
        """Count an update of a page."""
        now = time.monotonic()
        self._seen[id(page)] = now
        self._updates[id(page)] = self._updates.get(id(page), 0) + 1
        if self._updates[id(page)] <= _FIRST_UPDATES:
            self._begin(now)
            return
        self._ticks += 1
        if now - self._since < _MEASURE_SECONDS:
            return
        self._costs.append((time.thread_time() - self._used) / self._ticks)
        self.cost = statistics.median(self._costs)
        self._begin(now)
        self._seen = {key: at for key, at in self._seen.items() if now - at < _FORGET_SECONDS}
        self._updates = {key: self._updates[key] for key in self._seen}

    def _begin(self, now: float) -> None:
        self._since, self._used, self._ticks = now, time.thread_time(), 0

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
        self.callback = PeriodicCallback(callback=self._tick, period=period, background=True)  # no busy indicator
        if start:
            self.callback.start()

    def _tick(self) -> None:
        SHARED_PERIOD.note(self)
        if self._throttle.is_free():
            with pn.io.hold():
                if self._function():
                    self._throttle.ask()
        wanted = SHARED_PERIOD.milliseconds(self._period)
        if not 0.75 < wanted / self.callback.period < 1.34:
            self.callback.period = wanted
