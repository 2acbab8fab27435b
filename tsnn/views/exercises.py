"""Checks of a notebook's exercises: a line for each instead of a traceback, and how many are done."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from html import escape
from typing import NamedTuple

from tsnn.errors import RuleError
from tsnn.views.plots import palette


class Exercises:
    """Exercises of a notebook.

    Parameters
    ----------
    *names : str
        Their names.

    Examples
    --------
    >>> exercises = Exercises("1.1", "1.2")
    >>> with exercises.check("1.1"):
    ...     assert 1 + 1 == 2
    ✓ 1.1 is right. 1 of 2 done.
    """

    def __init__(self, *names: str):
        self._right = dict.fromkeys(names, False)

    @property
    def missing(self) -> list[str]:
        """Names of the exercises that are not done."""
        return [name for name, right in self._right.items() if not right]

    @contextlib.contextmanager
    def check(self, name: str) -> Iterator[None]:
        """Check an exercise by the code under ``with``, and display the result.

        NotImplementedError means that it is not done, AssertionError or RuleError that it is wrong. Other errors are
        raised.
        """
        self._right[name] = False
        try:
            yield
        except (NotImplementedError, AssertionError, RuleError) as error:
            if isinstance(error.__cause__ or error, NotImplementedError):  # also within a rule
                self._say("○", f"{name}: not done yet.", palette.GREY)
                return
            failed = str(error) or traceback.extract_tb(error.__traceback__)[-1].line or ""
            self._say("✗", f"{name} is not right yet: {failed.removesuffix('.')}.", palette.VERMILION)
        else:
            self._right[name] = True
            self._say("✓", f"{name} is right.", palette.GREEN)

    def _say(self, sign: str, text: str, color: str) -> None:
        from IPython.display import display

        count = f"{len(self._right) - len(self.missing)} of {len(self._right)} done."
        display(_Line(f"{sign} {text}", count, color))  # type: ignore[no-untyped-call]


class _Line(NamedTuple):
    """Line about an exercise, coloured in a notebook."""

    text: str
    done: str
    color: str

    def __repr__(self) -> str:
        return f"{self.text} {self.done}"

    def _repr_html_(self) -> str:
        return f"<b style='color:{self.color}'>{escape(self.text)}</b> {self.done}"
