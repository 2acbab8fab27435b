"""Widgets of live settings: sliders for numbers, selections for choices."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from typing import Any

import panel_material_ui as pmui

from tsnn.config import LIVE_NUMBERS, Setting, describe
from tsnn.views.live.browser import after, on_release
from tsnn.views.plots import palette

#: Seconds within which the browser may echo a value that the server has set.
_ECHO_SECONDS = 2.0
#: Seconds after which a slider that was moved, but never released, counts as released: its page may be gone.
_HELD_SECONDS = 60.0
#: Seconds without another release until a slider's value is sent: arrow keys release at every press.
_QUIET_SECONDS = 0.4


class LiveSlider:
    """Slider of a live setting. It shows the current value, except while a hand moves it.

    Parameters
    ----------
    name : str
        Short name of the setting.
    released : callable
        Called with the value at which the user has released the slider.

    Attributes
    ----------
    widget : Panel slider
        The slider.
    """

    def __init__(self, name: str, released: Callable[[float], None], **options: Any):
        self._about = describe(name)
        self._released = released
        self._held = -math.inf  # when the hand moved it last
        self._sent: dict[float, float] = {}
        self._moving = False
        self._releases = 0
        self.widget = _slider(self._about, **options)
        self.widget.param.watch(self._moved, "value")
        on_release(self.widget, self._release)

    @property
    def held(self) -> bool:
        """Whether a hand holds the slider."""
        return time.monotonic() - self._held < _HELD_SECONDS

    def show(self, value: Any, *, now: bool = False) -> None:
        """Show a value, unless a hand holds the slider; with ``now`` in any case."""
        if now:
            self._held = -math.inf
            self._releases += 1  # a value released for another run is not sent
        if self.held or self.widget.value == value:
            return
        self._sent[value] = time.monotonic()
        self._moving = True
        try:
            if isinstance(self.widget, pmui.DiscreteSlider):
                self.widget.param.update(options=_factors_of_two(self._about, value), value=value)
            elif value > self.widget.end:
                self.widget.param.update(end=2 * value, value=value)
            else:
                self.widget.value = value
        finally:
            self._moving = False

    def show_scheduled(self, value: float | None) -> None:
        """Show in the label the value that is applied, if a schedule makes it another one than the slider's."""
        label = self._about.label + ("" if value is None else f" · scheduled, now {palette.setting(value)}")
        if self.widget.label != label:
            self.widget.label = label

    def _moved(self, event: Any) -> None:
        if not self._moving and time.monotonic() - self._sent.get(event.new, -math.inf) > _ECHO_SECONDS:
            self._held = time.monotonic()

    def _release(self, value: float) -> None:
        self._releases += 1
        self._held = time.monotonic()
        after(functools.partial(self._send, value, self._releases), _QUIET_SECONDS)

    def _send(self, value: float, release: int) -> None:
        if release == self._releases:
            self._held = -math.inf
            self._released(float(f"{value:.6g}"))


class LiveChoice:
    """Selection of a live setting that is a choice. It shows the current value; parameters are those of a slider."""

    def __init__(self, name: str, chosen: Callable[[str], None], **options: Any):
        about = describe(name)
        self._chosen, self._shown = chosen, about.default
        self.widget = pmui.Select(
            label=about.label, value=about.default, description=about.help,
            options={about.display_name(choice): choice for choice in about.choices}, **options,
        )  # fmt: skip
        self.widget.param.watch(self._changed, "value")

    def show(self, value: Any, *, now: bool = False) -> None:
        """Show a value; that of a rule which this process does not know is added to the choices."""
        self._shown = value
        if value not in self.widget.options.values():
            self.widget.options = {**self.widget.options, value: value}
        if self.widget.value != value:
            self.widget.value = value

    def show_scheduled(self, value: float | None) -> None:
        """Do nothing: choices have no schedules."""

    def _changed(self, event: Any) -> None:
        if event.new != self._shown:
            self._shown = event.new
            self._chosen(event.new)


def live_widget(name: str, changed: Callable[[Any], None]) -> LiveSlider | LiveChoice:
    """Return the widget of a live setting; ``changed`` is called with a new value."""
    kind = LiveSlider if name in LIVE_NUMBERS else LiveChoice
    return kind(name, changed, size="small", sizing_mode="stretch_width", margin=(4, 14))


def _slider(about: Setting, **options: Any) -> Any:
    """Return the slider of a live setting."""
    assert about.slider is not None
    start, end, step, logarithmic = about.slider
    options |= {"label": about.label, "value": about.default, "description": about.help}
    if logarithmic:
        return pmui.DiscreteSlider(options=_factors_of_two(about, about.default), **options)
    decimals = "0" if step >= 1 else "0.00"
    return pmui.FloatSlider(start=start, end=end, step=step, format=decimals, **options)


def _factors_of_two(about: Setting, value: float) -> dict[str, float]:
    """Return the values 1, 2, 5, 10, ... in the range of a logarithmic slider, and ``value``."""
    assert about.slider is not None
    exponents = range(math.floor(math.log10(about.slider.start)), math.ceil(math.log10(about.slider.end)))
    values = {m * 10.0**e for e in exponents for m in (1, 2, 5)} | {about.slider.end, value}
    return {palette.setting(v): v for v in sorted(values)}
