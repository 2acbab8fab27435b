"""Waiting: for a condition, for a coroutine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], seconds: float = 120.0, what: str = "") -> T:
    """Poll a condition until it is true, and return its value.

    Parameters
    ----------
    condition
        Called every 0.05 s, from the calling thread.
    seconds
        Limit of the waiting time.
    what
        Description of the condition for the error.

    Raises
    ------
    AssertionError
        The condition is still false after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        name = what or getattr(condition, "__name__", repr(condition))
        assert time.monotonic() < deadline, f"Still not true after {seconds:g} s: {name}"
        time.sleep(0.05)
    return value


def run_coroutine(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a thread: in this one the browser of other tests may have a running loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()
