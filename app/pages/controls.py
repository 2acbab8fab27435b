"""What can be done with a run while it trains: pause, stop, live settings; each wish waits for its answer."""

from __future__ import annotations

from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

from pages.theme import html
from tsnn import launch
from tsnn.config import describe
from tsnn.control import request
from tsnn.errors import TsnnError
from tsnn.views import palette
from tsnn.views.follow import RunFollower

_RATES = tuple(m * 10.0**e for e in (-5, -4, -3, -2, -1) for m in (1, 2, 5))
_NAMES = {"zeta": "zeta", "epsilon": "epsilon", "learning_rate": "learning rate"}
_SHOWN_ANSWERS = 3


class LiveControls:
    """Buttons and sliders for the run that is open.

    Attributes
    ----------
    buttons : Panel object
        Pause or Resume, and Stop.
    settings : Panel object
        Sliders, and what became of the wishes.
    """

    def __init__(self) -> None:
        self._follower: RunFollower | None = None
        self._pending: dict[str, str] = {}
        self._answers: list[str] = []
        self._showing = False
        self.pause = pmui.Button(label="Pause", icon="pause", variant="outlined", size="small", margin=(0, 4))
        self.stop = pmui.Button(
            label="Stop", icon="stop", variant="outlined", color="error", size="small", margin=(0, 4)
        )
        self.buttons = pn.Row(self.pause, self.stop, margin=0, align="start", visible=False)
        slider: dict[str, Any] = {"size": "small", "sizing_mode": "stretch_width", "margin": (4, 14)}
        self.sliders = {
            "zeta": pmui.FloatSlider(
                label="Zeta ζ", start=0, end=0.9, step=0.01, format="0.00", value=0.3,
                description=describe("training.zeta")["help"], **slider,
            ),
            "epsilon": pmui.FloatSlider(
                label="Epsilon ε", start=1, end=100, step=1, format="0", value=20,
                description=describe("network.epsilon")["help"], **slider,
            ),
            "learning_rate": pmui.DiscreteSlider(
                label="Learning rate η", options=_rate_options(0.01), value=0.01,
                description=describe("training.learning_rate")["help"], **slider,
            ),
        }  # fmt: skip
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
        self.stop.on_click(self._stop)
        for name, widget in self.sliders.items():
            widget.param.watch(lambda event, name=name: self._wish(name, event.new), "value_throttled")

    def open(self, follower: RunFollower | None) -> None:
        """Take up another run; None takes the controls away."""
        self._follower = follower
        self._pending, self._answers = {}, []
        if follower is not None:
            config = follower.config
            self._show("zeta", config.training.zeta)
            self._show("epsilon", config.network.epsilon)
            self._show("learning_rate", config.training.learning_rate)
        self.update()

    def update(self) -> None:
        """Show what the run says: its state, its settings in force, its answers."""
        follower = self._follower
        live = follower is not None and follower.live
        for part in (self.buttons, self.settings):
            if part.visible != live:
                part.visible = live
        if follower is None:
            return
        for wish in [w for w in self._pending if w in follower.acks]:
            self._answer(self._pending.pop(wish), follower.acks[wish])
        if not live and self._pending:
            self._pending = {}
        if live:
            self._update_live(follower)
        self._say()

    def _update_live(self, follower: RunFollower) -> None:
        paused = follower.state == "paused"
        asked = any(words in ("pause", "resume") for words in self._pending.values())
        now = {
            "label": "Resume" if paused else "Pause",
            "icon": "play_arrow" if paused else "pause",
            "disabled": asked or follower.state in ("created", "starting", "compiling"),
        }
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
        """Move a slider without making a wish of it."""
        widget = self.sliders[name]
        if widget.value == value:
            return
        self._showing = True
        try:
            if name == "learning_rate":
                widget.param.update(options=_rate_options(value), value=value)
            elif name == "epsilon":
                widget.param.update(end=max(widget.end, 2 * value), value=value)
            else:
                widget.value = value
        finally:
            self._showing = False

    def _wish(self, name: str, value: float) -> None:
        if self._showing or self._follower is None or value is None:
            return
        self._request("set", f"{_NAMES[name]} {palette.setting(value)}", **{name: float(value)})

    def _request(self, action: str, words: str, **settings: float) -> None:
        assert self._follower is not None
        try:
            wish = request(self._follower.run, action, **settings)
        except (TsnnError, OSError) as error:
            self._answers = [*self._answers[-_SHOWN_ANSWERS + 1 :], f"{words}: {error}"]
        else:
            self._pending[wish.id] = words
        self.update()

    def _pause_or_resume(self, _event: Any) -> None:
        if self._follower is not None:
            action = "resume" if self._follower.state == "paused" else "pause"
            self._request(action, action)

    def _stop(self, _event: Any) -> None:
        if self._follower is None:
            return
        try:
            launch.stop(self._follower.run)
        except (TsnnError, OSError) as error:
            self._answers = [str(error)]
        else:
            self._pending["stop"] = "stop"
        self.update()

    def _answer(self, words: str, ack: dict[str, Any]) -> None:
        if words in ("pause", "resume", "stop") and ack.get("accepted"):
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


def _rate_options(value: float) -> dict[str, float]:
    """Return learning rates in steps of about two, with ``value`` among them."""
    return {palette.setting(rate): rate for rate in sorted({*_RATES, 1.0, value})}
