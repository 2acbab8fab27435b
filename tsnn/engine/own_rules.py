"""Calls of rules that are not built in: their errors, results and time, in messages that name the rule and its line."""

from __future__ import annotations

import ctypes
import hashlib
import inspect
import linecache
import math
import signal
import threading
import traceback
from collections.abc import Callable, Iterable
from types import FrameType, TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tsnn.errors import DivergenceError, RuleError, TsnnError
from tsnn.registry import Rule

SECONDS = 600.0  #: default of ``run.rule_seconds``
_AGAIN_SECONDS = 1.0  # until a rule that has caught the interruption is interrupted again

Float32 = NDArray[np.float32]
T = TypeVar("T")


def call(
    rule: Rule, kind: str, *arguments: Any, seconds: float = SECONDS, kept: Iterable[NDArray[Any] | None] = ()
) -> Any:
    """Call a rule, and return its result.

    Raises
    ------
    RuleError
        If a rule that is not built in raises an error, takes longer than some seconds (0: no limit), or changes one of
        the arrays ``kept``, which belong to the network.
    """
    if not rule.is_own:
        return rule(*arguments)
    arrays = [array for array in kept if array is not None]
    before = list(map(_digest, arrays))
    result = guard(rule, kind, lambda: rule(*arguments), seconds)
    if before != list(map(_digest, arrays)):
        raise refuse(rule, kind, "changed an array of the network; expected a new one, such as np.abs(w), not w *= -1")
    return result


def guard(rule: Rule, kind: str, function: Callable[[], T], seconds: float = SECONDS) -> T:
    """Call a function that calls a rule, perhaps several times, and return its result; see :func:`call`."""
    if not rule.is_own:
        return function()
    try:
        with _TimeLimit(seconds):
            return function()
    except _TimeOutError as error:
        limit = f"did not end within {seconds:g} s (run.rule_seconds){_line(rule, error)}"
        raise RuleError(f"{_name(rule, kind)} {limit}. Vectorise it with NumPy, or raise the limit.") from error
    except RuleError:
        raise
    except (Exception, SystemExit) as error:
        message = str(error) if isinstance(error, TsnnError) else f"{type(error).__name__}: {error}"
        raise RuleError(f"{_name(rule, kind)} failed{_line(rule, error)}: {message}") from error


def _digest(array: NDArray[Any]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(array).data).digest()


def refuse(rule: Rule, kind: str, problem: str) -> RuleError:
    """Return the error of a rule whose result is not as expected."""
    code = getattr(inspect.unwrap(rule.function), "__code__", None)
    where = f" ({code.co_filename}, line {code.co_firstlineno})" if code else ""
    return RuleError(f"{_name(rule, kind)} {problem}{where}.")


def describe(value: Any) -> str:
    """Return shape and type of a result, for messages."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype.name}{list(value.shape)}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"


def finite_scores(rule: Rule, kind: str, scores: Any, count: int, of: str) -> Float32:
    """Return scores as float32[count]; raises a RuleError if a rule returned something else, or NaN.

    NaN of a built-in rule is that of the gradient: a DivergenceError.
    """
    if not isinstance(scores, np.ndarray) or scores.dtype.kind not in "fiu" or scores.shape != (count,):
        raise refuse(rule, kind, f"returned {describe(scores)}; expected float32[{count}], a score of each {of}")
    if missing := int(np.count_nonzero(np.isnan(scores))):
        if not rule.is_own:
            raise DivergenceError("Training diverged: gradients are no longer finite. Try a smaller learning rate.")
        raise refuse(rule, kind, f"returned NaN for {missing} of {count} scores; expected numbers")
    return np.ascontiguousarray(scores, np.float32)


def checked_factor(rule: Rule, value: Any) -> float:
    """Return the factor of a schedule; raises a RuleError if it is no number from 0 to 1."""
    number = isinstance(value, int | float | np.floating | np.integer) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not 0 <= value <= 1:
        raise refuse(rule, "schedule", f"returned {value!r:.60}; expected a number from 0 to 1")
    return float(value)


def _name(rule: Rule, kind: str) -> str:
    return f"The {kind} {rule.name!r}"


def _line(rule: Rule, error: BaseException) -> str:
    """Return where in the rule's file an error came from, with the text of that line."""
    code = getattr(inspect.unwrap(rule.function), "__code__", None)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if code and f.filename == code.co_filename]
    if not frames:
        return ""
    last = frames[-1]
    text = (last.line or linecache.getline(last.filename, last.lineno or 0)).strip()
    return f" in line {last.lineno} of {last.filename} ({text})"


class _TimeOutError(BaseException):
    """The time of a rule is up; rules that catch every Exception do not catch it."""


class _TimeLimit:
    """Interrupts this thread by an exception after some seconds, on any system; 0: never.

    The exception is raised at the thread's next operation in Python. A call that waits in the operating system is ended
    by a signal, in the main thread of systems that have them.
    """

    def __init__(self, seconds: float):
        self._seconds, self._lock, self._over = seconds, threading.Lock(), False
        self._thread = threading.get_ident()
        self._timer: threading.Timer | None = None
        self._handler: Callable[[int, FrameType | None], Any] | int | None = None

    def __enter__(self) -> None:
        if not self._seconds:
            return
        main = threading.current_thread() is threading.main_thread()
        if main and hasattr(signal, "SIGALRM") and signal.getsignal(signal.SIGALRM) == signal.SIG_DFL:
            self._handler = signal.signal(signal.SIGALRM, lambda *_: None)
        self._start(self._seconds)

    def _start(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._interrupt)
        self._timer.daemon = True
        self._timer.start()

    def _interrupt(self) -> None:
        with self._lock:
            if self._over:
                return
            self._raise(ctypes.py_object(_TimeOutError))
            if self._handler is not None:
                signal.pthread_kill(self._thread, signal.SIGALRM)
            self._start(_AGAIN_SECONDS)

    def _raise(self, error: Any) -> None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), error)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._seconds:
            return
        with self._lock:
            self._over = True
            self._raise(None)  # one that has not been raised yet
        if self._timer is not None:
            self._timer.cancel()
        if self._handler is not None:
            signal.signal(signal.SIGALRM, self._handler)
