"""Living with a browser: no faster than it can draw, and a person's hand told from an echo."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui
import param

#: Seconds after which a page that has not answered is asked again: until it is drawn it throws messages away.
PATIENCE = 0.5


class Throttle:
    """Tells whether the page has taken in what it was sent: a slow one must not fall behind for ever.

    A number is sent, in :attr:`parts`, that the page sends back.

    Attributes
    ----------
    parts : list of Panel objects
        Not seen; they belong on the page.
    """

    def __init__(self) -> None:
        self._asked: Any = pn.widgets.IntInput(value=0, visible=False)
        self._answer: Any = pn.widgets.IntInput(value=-1, visible=False)
        self._asked.jslink(self._answer, value="value")
        self.parts = [self._asked, self._answer]
        self._since = -PATIENCE

    def ask(self) -> None:
        """Send the next number, after what is to be taken in."""
        self._asked.value += 1
        self._since = time.monotonic()

    def is_free(self) -> bool:
        """Return whether the page has answered; if it has not for a while, ask it again."""
        free = bool(self._answer.value == self._asked.value)
        if not free and time.monotonic() - self._since >= PATIENCE:
            self.ask()
        return free


def on_release(slider: Any, act: Callable[[Any], None]) -> None:
    """Call a function with the place where a person lets go of a slider.

    A page that draws slowly sends back what the server has put into ``value`` and ``value_throttled``, however late: it
    looks like a hand. So the server never puts a place into ``value_throttled``, and takes each out that a
    hand has put there; the next is heard also if it is the same. (Of a slider over options the page sends the index.)

    Parameters
    ----------
    slider : Panel slider
        Of any kind.
    act : callable
        What to do.
    """
    nothing = slider.start - 1  # no place of the slider's

    def empty() -> None:
        with param.edit_constant(slider):
            slider.value_throttled = nothing

    def released(event: Any) -> None:
        if event.new != nothing:
            empty()
            act(slider.values[event.new] if isinstance(slider, pmui.DiscreteSlider) else event.new)

    empty()
    slider.param.watch(released, "value_throttled")
