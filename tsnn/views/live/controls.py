"""Controls of a run: pause, step, stop, continue, live settings. A command is pending until its ack arrives."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from html import escape
from typing import Any, NamedTuple

import panel as pn
import panel_material_ui as pmui

from tsnn.config import LIVE_SETTINGS, LiveValue
from tsnn.errors import RunError, TsnnError
from tsnn.jobs import launch, queue
from tsnn.records import RunState
from tsnn.runs import Run
from tsnn.runs.control import request, without_effect
from tsnn.views.live import icons
from tsnn.views.live.follower import RunFollower
from tsnn.views.live.live_settings import live_widget
from tsnn.views.plots import palette

_MAX_ANSWERS = 3
_STARTING = (RunState.CREATED, RunState.STARTING, RunState.COMPILING)
_MESSAGE_STYLE = "font-family:var(--bokeh-base-font);line-height:1.45;font-size:13px"
_CONTINUABLE = (RunState.STOPPED, RunState.FAILED, RunState.LOST)


class PendingCommand(NamedTuple):
    """A command without an ack: its action, its text on the page, and the settings that it changes."""

    action: str
    text: str
    settings: Mapping[str, LiveValue] = {}


class LiveControls:
    """Buttons and sliders for the open run.

    Parameters
    ----------
    warn : callable
        Called with the text of an error.
    resume : callable
        Continues an interrupted run.

    Attributes
    ----------
    buttons : Panel object
        Pause or Resume, One epoch, Stop, Continue.
    settings : Panel object
        Sliders and selections of the live settings, and the answers to commands.
    """

    def __init__(self, warn: Callable[[str], None], resume: Callable[[Run], object] = queue.resume) -> None:
        self._warn, self._resume = warn, resume
        self._follower: RunFollower | None = None
        self._pending: dict[str, PendingCommand] = {}
        self._answers: list[str] = []
        self._version = -1
        self.pause = pmui.Button(label="Pause", icon=icons.PAUSE, variant="outlined", size="small", margin=(0, 4))
        self.step = pmui.Button(label="One epoch", icon=icons.STEP, variant="outlined", size="small", margin=(0, 4))
        self.continue_button = pmui.Button(
            label="Continue", icon=icons.AGAIN, variant="outlined", size="small", margin=(0, 4), visible=False
        )
        self.stop = pmui.Button(
            label="Stop", icon=icons.STOP, variant="outlined", color="error", size="small", margin=(0, 4)
        )
        self.buttons = pn.Row(
            self.pause, self.step, self.continue_button, self.stop, margin=0, align="start", visible=False
        )
        self.live = {name: live_widget(name, functools.partial(self._set, name)) for name in LIVE_SETTINGS}
        self.widgets = {name: live.widget for name, live in self.live.items()}
        self._messages = pn.pane.HTML("", sizing_mode="stretch_width", margin=(0, 14, 8, 14))
        self.settings = pn.Column(
            pmui.Typography(
                "Change while it trains", variant="h2", sx={"typography": "subtitle2"}, margin=(8, 14, 0, 14)
            ),
            *self.widgets.values(),
            self._messages,
            sizing_mode="stretch_width",
            margin=0,
            visible=False,
        )
        self.pause.on_click(lambda _: self.pause_or_resume())
        self.continue_button.on_click(self._continue)
        self.step.on_click(lambda _: self._request("step", "one epoch"))
        self.stop.on_click(self._stop)

    def open(self, follower: RunFollower | None) -> None:
        """Control another run; None hides the controls."""
        self._follower = follower
        self._pending, self._answers = {}, []
        if follower is not None:
            for name, live in self.live.items():
                live.show(follower.current(name), now=True)
        self.update()

    def tick(self) -> bool:
        """Show the changes of the run since the last call; returns whether there may be any."""
        due = self._follower is not None and (self._follower.poll() != self._version or bool(self._pending))
        if due:
            self.update()
        return due

    def update(self) -> None:
        """Show the run's state, its current settings and its answers to commands."""
        follower = self._follower
        self._version = -1 if follower is None else follower.version
        live = follower is not None and follower.live
        queued = follower is not None and follower.state == RunState.QUEUED
        ended = follower is not None and follower.state in _CONTINUABLE
        displayed = {self.buttons: live or queued or ended, self.settings: live, self.pause: live, self.step: live,
                     self.stop: live or queued, self.continue_button: ended}  # fmt: skip
        for part, visible in displayed.items():
            if part.visible != visible:
                part.visible = visible
        if follower is None:
            return
        if self.stop.label != (label := "Cancel" if queued else "Stop"):
            self.stop.label = label
        for command in [c for c in self._pending if c in follower.acks]:
            self._answer(self._pending.pop(command), follower.acks[command])
        if not live and self._pending:
            self._pending = {}
        if live:
            self._update_live(follower)
        self._show_messages()

    def _update_live(self, follower: RunFollower) -> None:
        paused = follower.state == RunState.PAUSED
        actions = {command.action for command in self._pending.values()}
        button: dict[str, Any] = {
            "label": "Resume" if paused else "Pause",
            "icon": icons.PLAY if paused else icons.PAUSE,
            "disabled": bool(actions & {"pause", "resume", "step"}) or follower.state in _STARTING,
        }
        if self.step.disabled != button["disabled"]:
            self.step.disabled = button["disabled"]
        if button != {name: getattr(self.pause, name) for name in button}:
            self.pause.param.update(**button)
        if self.stop.disabled != (stopping := "stop" in actions):
            self.stop.disabled = stopping
        awaited = {name for command in self._pending.values() for name in command.settings}
        for name, live in self.live.items():
            if live.widget.visible != (effective := not without_effect(follower.config, name)):
                live.widget.visible = effective
            if name not in awaited:
                live.show(follower.current(name))
            live.show_scheduled(follower.history.scheduled.get(name))

    def _set(self, name: str, value: LiveValue) -> None:
        if self._follower is not None:
            self._request("set", f"{name.replace('_', ' ')} {palette.setting(value)}", **{name: value})

    def _request(self, action: str, text: str, **settings: LiveValue) -> None:
        assert self._follower is not None
        try:
            command = request(self._follower.run, action, **settings)
        except RunError as error:  # it has ended; this page does not know yet
            self._warn(str(error))
        except (TsnnError, OSError) as error:
            self._answers = [*self._answers[-_MAX_ANSWERS + 1 :], f"{text}: {error}"]
        else:
            self._pending[command.id] = PendingCommand(action, text, settings)
        self.update()

    def pause_or_resume(self) -> None:
        """Pause or resume the run, if its button would."""
        if self._follower is not None and self.pause.visible and not self.pause.disabled:
            action = "resume" if self._follower.state == RunState.PAUSED else "pause"
            self._request(action, action)

    def _stop(self, _event: Any) -> None:
        if self._follower is None:
            return
        try:
            if self._follower.state == RunState.QUEUED:
                queue.cancel(self._follower.run)
            else:
                launch.stop(self._follower.run)
        except (TsnnError, OSError) as error:
            self._warn(str(error))
        else:
            self._pending["stop"] = PendingCommand("stop", "stop")
        self.update()

    def _continue(self, _event: Any) -> None:
        if self._follower is not None:
            try:
                self._resume(self._follower.run)
            except (TsnnError, OSError) as error:
                self._warn(str(error))

    def _answer(self, command: PendingCommand, ack: dict[str, Any]) -> None:
        if ack.get("accepted"):
            if command.action != "set":  # the state of the run shows it
                return
            answer = f"{command.text}: accepted after epoch {ack.get('epoch')}"
        else:
            answer = f"{command.text}: refused. {ack.get('message') or ''}"
        self._answers = [*self._answers[-_MAX_ANSWERS + 1 :], answer]

    def _show_messages(self) -> None:
        lines = [escape(answer) for answer in self._answers]
        lines += [f"<i>{escape(command.text)}: requested …</i>" for command in self._pending.values()]
        text = f"<div style='{_MESSAGE_STYLE}'>{'<br>'.join(lines)}</div>" if lines else ""
        if text != self._messages.object:
            self._messages.object = text
