"""Communication with a browser: throttled updates, the release of a slider, later calls."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui
import param
from panel.reactive import Syncable

# Panel 1.9 handles an event that follows a change of a widget within 50 ms without the lock of the document, and the
# change before it. Figures cannot be changed then: both would be lost, such as a click after a change of the width.
for _coroutine in (Syncable._event_coroutine, Syncable._change_coroutine):
    vars(_coroutine)["lock"] = True

#: Seconds after which an unanswered number is sent again: a page drops messages until it is drawn. Doubled each time.
RETRY_SECONDS = 0.5
_MAX_TRIES = 5  # doublings


class Throttle:
    """Check that the page has processed the last update before it is sent another.

    After each update a number is sent to the page, which sends it back. So a slow page never falls behind. Any number
    sent since the update will do: the answers of a slow page arrive after the next question.

    Attributes
    ----------
    parts : list of Panel objects
        Invisible widgets that must be on the page.
    """

    def __init__(self) -> None:
        self._asked: Any = pn.widgets.IntInput(value=0, visible=False, tags=["asked"])
        self._answer: Any = pn.widgets.IntInput(value=-1, visible=False, tags=["answer"])
        self._asked.jslink(self._answer, value="value")
        self.parts = [self._asked, self._answer]
        self._since = -RETRY_SECONDS
        self._updated = 0  # the first number after the last update
        self._tries = 0

    def ask(self) -> None:
        """Send the next number, after an update."""
        self._send()
        self._updated, self._tries = self._asked.value, 0

    def _send(self) -> None:
        self._asked.value += 1
        self._since = time.monotonic()

    def is_free(self) -> bool:
        """Return whether the page has processed the last update; if its answer is overdue, ask again."""
        free = bool(self._updated <= (self._answer.value or 0) <= self._asked.value)
        if not free and time.monotonic() - self._since >= RETRY_SECONDS * 2**self._tries:
            self._send()
            self._tries = min(self._tries + 1, _MAX_TRIES)
        return free


class Width(pn.custom.JSComponent):
    """Invisible part of a page that measures the width at its place.

    Attributes
    ----------
    pixels : int
        The width, rounded; 0 until the page is drawn.
    """

    pixels: Any = param.Integer(default=0)
    _esm = """
    export function render({model, view}) {
        const watcher = new ResizeObserver(([{contentRect}]) => {
            const pixels = 20 * Math.round(contentRect.width / 20)
            if (pixels && pixels != model.pixels) model.pixels = pixels
        })
        watcher.observe(view.el)
        model.on("remove", () => watcher.disconnect())
    }
    """


def on_release(slider: Any, act: Callable[[Any], None]) -> None:
    """Call a function with the value at which a user releases a slider.

    The browser echoes the values that the server sets, possibly late, and an echo in ``value_throttled`` would look
    like a release. So the server never sets a value there, and resets it after each release; releasing twice at the
    same value is therefore noticed, too. (For a slider over options the page sends the index.)

    Parameters
    ----------
    slider : Panel slider
        Of any kind.
    act : callable
        Called with the value.
    """
    outside = slider.start - 1  # not a value of the slider

    def reset() -> None:
        with param.edit_constant(slider):
            slider.value_throttled = outside

    def released(event: Any) -> None:
        if event.new != outside:
            reset()
            act(slider.values[event.new] if isinstance(slider, pmui.DiscreteSlider) else event.new)

    reset()
    slider.param.watch(released, "value_throttled")


def after(function: Callable[[], Any], seconds: float) -> None:
    """Call a function later, when the page has got the present changes; without a page now."""
    document = pn.state.curdoc
    if document is None or document.session_context is None:
        function()
    else:
        document.add_timeout_callback(pn.io.hold()(function), int(1000 * seconds))
