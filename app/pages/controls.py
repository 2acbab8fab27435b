"""What can be done with a run while it trains: pause, stop, live settings; each command waits for its answer."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

from pages.theme import html
from tsnn.config import LIVE_SETTINGS, Setting, describe
from tsnn.errors import TsnnError
from tsnn.jobs import launch, queue
from tsnn.runs.control import request
from tsnn.views.live.browser import on_release
from tsnn.views.live.follower import RunFollower
from tsnn.views.plots import palette

_SHOWN_ANSWERS = 3
_MOVES = ("pause", "resume", "one epoch")


class LiveControls:
    """Buttons and sliders for the run that is open.

    Parameters
    ----------
    warn : callable
        Called with words about what could not be done.

    Attributes
    ----------
    buttons : Panel object
        Pause or Resume, and Stop.
    settings : Panel object
        Sliders, and what became of the commands.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._follower: RunFollower | None = None
        self._pending: dict[str, str] = {}
        self._answers: list[str] = []
        self.pause = pmui.Button(label="Pause", icon="pause", variant="outlined", size="small", margin=(0, 4))
        self.step = pmui.Button(label="One epoch", icon="skip_next", variant="outlined", size="small", margin=(0, 4))
        self.go_on = pmui.Button(
            label="Continue", icon="restart_alt", variant="outlined", size="small", margin=(0, 4), visible=False
        )
        self.stop = pmui.Button(
            label="Stop", icon="stop", variant="outlined", color="error", size="small", margin=(0, 4)
        )
        self.buttons = pn.Row(self.pause, self.step, self.go_on, self.stop, margin=0, align="start", visible=False)
        slider: dict[str, Any] = {"size": "small", "sizing_mode": "stretch_width", "margin": (4, 14)}
        self.sliders = {name: _slider(describe(name), **slider) for name in LIVE_SETTINGS}
        self._words = pn.pane.HTML("", sizing_mode="stretch_width", margin=(0, 14, 8, 14))
        self.settings = pn.Column(
            pmui.Typography("Change while it trains", variant="subtitle2", margin=(8, 14, 0, 14)),
            *self.sliders.values(),
            self._words,
            sizing_mode="stretch_width",
            margin=0,
            visible=False,
        )
        self.pause.on_click(self._pause_or_resume)
        self.go_on.on_click(self._go_on)
        self.step.on_click(lambda _: self._request("step", "one epoch"))
        self.stop.on_click(self._stop)
        for name, widget in self.sliders.items():
            on_release(widget, functools.partial(self._wish, name))

    def open(self, follower: RunFollower | None) -> None:
        """Take up another run; None takes the controls away."""
        self._follower = follower
        self._pending, self._answers = {}, []
        if follower is not None:
            for name, setting in LIVE_SETTINGS.items():
                self._show(name, follower.config.flat()[setting])
        self.update()

    def update(self) -> None:
        """Show what the run says: its state, its settings in force, its answers."""
        follower = self._follower
        live = follower is not None and follower.live
        queued = follower is not None and follower.state == "queued"
        ended = follower is not None and follower.state in ("stopped", "failed", "lost")
        shown = {self.buttons: live or queued or ended, self.settings: live, self.pause: live, self.step: live,
                 self.stop: live or queued, self.go_on: ended}  # fmt: skip
        for part, visible in shown.items():
            if part.visible != visible:
                part.visible = visible
        if follower is None:
            return
        if self.stop.label != (label := "Cancel" if queued else "Stop"):
            self.stop.label = label
        for command in [w for w in self._pending if w in follower.acks]:
            self._answer(self._pending.pop(command), follower.acks[command])
        if not live and self._pending:
            self._pending = {}
        if live:
            self._update_live(follower)
        self._say()

    def _update_live(self, follower: RunFollower) -> None:
        paused = follower.state == "paused"
        asked = any(words in _MOVES for words in self._pending.values())
        now = {
            "label": "Resume" if paused else "Pause",
            "icon": "play_arrow" if paused else "pause",
            "disabled": asked or follower.state in ("created", "starting", "compiling"),
        }
        if self.step.disabled != now["disabled"]:
            self.step.disabled = bool(now["disabled"])
        if now != {name: getattr(self.pause, name) for name in now}:
            self.pause.param.update(**now)
        stopping = "stop" in self._pending.values()
        if self.stop.disabled != stopping:
            self.stop.disabled = stopping
        if not self._pending:
            for name in self.sliders:
                value = follower.history.last(name)
                if value is not None and not self._answers:
                    self._show(name, value)

    def _show(self, name: str, value: float) -> None:
        """Move a slider without making a command of it."""
        widget = self.sliders[name]
        if widget.value == value:
            return
        if isinstance(widget, pmui.DiscreteSlider):
            widget.param.update(options=_factors_of_two(describe(name), value), value=value)
        elif value > widget.end:
            widget.param.update(end=2 * value, value=value)
        else:
            widget.value = value

    def _wish(self, name: str, value: float) -> None:
        if self._follower is None:
            return
        self._request("set", f"{name.replace('_', ' ')} {palette.setting(value)}", **{name: float(value)})

    def _request(self, action: str, words: str, **settings: float) -> None:
        assert self._follower is not None
        try:
            command = request(self._follower.run, action, **settings)
        except (TsnnError, OSError) as error:
            self._answers = [*self._answers[-_SHOWN_ANSWERS + 1 :], f"{words}: {error}"]
        else:
            self._pending[command.id] = words
        self.update()

    def _pause_or_resume(self, _event: Any) -> None:
        if self._follower is not None:
            action = "resume" if self._follower.state == "paused" else "pause"
            self._request(action, action)

    def _stop(self, _event: Any) -> None:
        if self._follower is None:
            return
        try:
            if self._follower.state == "queued":
                queue.cancel(self._follower.run)
            else:
                launch.stop(self._follower.run)
        except (TsnnError, OSError) as error:
            self._warn(str(error))
        else:
            self._pending["stop"] = "stop"
        self.update()

    def _go_on(self, _event: Any) -> None:
        if self._follower is not None:
            try:
                queue.resume(self._follower.run)
            except (TsnnError, OSError) as error:
                self._warn(str(error))

    def _answer(self, words: str, ack: dict[str, Any]) -> None:
        if words in (*_MOVES, "stop") and ack.get("accepted"):
            return
        said = str(ack.get("message") or "")
        if ack.get("accepted"):
            answer = f"{words}: accepted after epoch {ack.get('epoch')}"
        else:
            answer = f"{words}: refused. {said}"
        self._answers = [*self._answers[-_SHOWN_ANSWERS + 1 :], answer]

    def _say(self) -> None:
        lines = [escape(answer) for answer in self._answers]
        lines += [f"<i>{escape(words)}: requested …</i>" for words in self._pending.values()]
        text = html("<br>".join(lines), "font-size:13px") if lines else ""
        if text != self._words.object:
            self._words.object = text


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
    """Return the values 1, 2, 5, 10, ... of a logarithmic slider, with ``value`` among them."""
    assert about.slider is not None
    exponents = range(math.floor(math.log10(about.slider.start)), math.ceil(math.log10(about.slider.end)))
    values = {m * 10.0**e for e in exponents for m in (1, 2, 5)} | {about.slider.end, value}
    return {palette.setting(v): v for v in sorted(values)}
