"""Live run in a notebook cell or in a custom page: ``tsnn.views.watch(run)``."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import threading
import time
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import panel as pn

from tsnn.errors import RunError
from tsnn.jobs import launch
from tsnn.records import ENDED, RunState
from tsnn.runs import Run, default_root
from tsnn.runs.sweeps import Sweep
from tsnn.views.live.browser import Throttle
from tsnn.views.live.controls import LiveControls
from tsnn.views.live.design import in_notebook, restore_design
from tsnn.views.live.follower import RunFollower, follow
from tsnn.views.live.ticker import Ticker
from tsnn.views.tabs.run import RunView

_SETTINGS_WIDTH = 240  # of the sliders beside the plots, in pixels


class LivePane(pn.Column):
    """Column that is updated by the server, also in a notebook.

    A notebook handles messages of the page in a separate thread: the lock excludes them while the column is updated.
    Until the page has drawn the column, messages are lost or arrive out of order; the page would then miss models that
    later messages refer to, and never change. So nothing is sent before ``throttle`` is free.
    """

    def __init__(self, *objects: Any, **options: Any):
        self.lock = threading.RLock()
        self.throttle = Throttle()
        super().__init__(*objects, *self.throttle.parts, **options)

    def _on_msg(self, *args: Any) -> None:
        with self.lock:
            super()._on_msg(*args)


def watch(run: Run | RunFollower, *, controls: bool = False, period: int = 1000, tab: str = "overview") -> Any:
    """Return a pane that follows a run while it trains, or replays one that has ended.

    Parameters
    ----------
    run : Run or RunFollower
        The run.
    controls : bool
        Add the dashboard's controls of a live run: pause, one epoch, stop, and the sliders of live settings.
    period : int
        Milliseconds between two updates.
    tab : {"overview", "network", "connectivity", "neurons", "errors", "workers"}
        Tab of the dashboard to display.

    Examples
    --------
    >>> from tsnn.jobs.launch import start
    >>> watch(start(Config.preset("madelon")))  # doctest: +SKIP
    """
    restore_design()
    view = RunView(run if isinstance(run, RunFollower) else follow(run))
    view.tick(tab)
    parts: list[Any] = [view.replay.layout, view.tabs[tab].layout]
    updates: list[Callable[[], bool]] = [view.tick]
    restarting: list[Any] = [view.replay.play]
    if controls:
        live = _Controls(view.follower)
        parts = live.around(parts)
        updates.append(live.tick)
        restarting.append(live.continue_button)
    wrap = {"flex-flow": "row wrap"}
    head = pn.Row(view.title, view.head, sizing_mode="stretch_width", margin=0, styles=wrap)
    pane = LivePane(head, *_link(view.follower.run), *parts, sizing_mode="stretch_width")

    def tick() -> bool:
        with pane.lock:
            if changed := max([update() for update in updates]):
                push(pane)
        if not changed and not view.follower.live and not view.replay.playing:  # the last change is drawn
            ticker.callback.stop()
        return changed

    def restart(_event: Any) -> None:
        if not ticker.callback.running:
            ticker.callback.start()

    def draw() -> None:
        view.tick()
        push(pane)

    view.after_draw = draw
    ticker = Ticker(tick, pane.throttle, period)
    for button in restarting:
        button.on_click(restart)
    return pane


def push(pane: Any) -> None:
    """Send the changes of a pane to a notebook; a server sends them by itself."""
    if in_notebook():
        pn.io.push_notebook(pane)


class _Controls(LiveControls):
    """Controls of a run in a notebook; it is continued in a process that this one starts, and errors are texts."""

    def __init__(self, follower: RunFollower):
        super().__init__(self._show, launch.resume)
        self.error = pn.pane.HTML("", visible=False, margin=(0, 14))
        self.open(follower)

    def _show(self, text: str) -> None:
        self.error.param.update(object=escape(text), visible=True)

    def around(self, drawn: list[Any]) -> list[Any]:
        """Return the buttons, and the settings beside the plots."""
        self.settings.param.update(width=_SETTINGS_WIDTH, sizing_mode="fixed")
        plots = pn.Column(*drawn, sizing_mode="stretch_width", margin=0)
        return [self.buttons, self.error, pn.Row(self.settings, plots, sizing_mode="stretch_width", margin=0)]


def _link(run: Run) -> list[Any]:
    """Return a link to the run in the dashboard of this Jupyter server, if that reads the run's folder.

    The dashboard inherits TSNN_RUNS as this kernel does. Without it, both look into the folder that they started in.
    """
    if not Path(os.environ.get("TSNN_RUNS", "")).is_absolute() or default_root().resolve() != run.path.parent.resolve():
        return []
    with contextlib.suppress(ImportError):
        running = importlib.import_module("jupyter_server.serverapp").list_running_servers()
        importlib.import_module("jupyter_server_proxy")
        server = next((each for each in running if str(each["pid"]) == os.environ.get("JPY_PARENT_PID")), None)
        if server is not None:
            address = f"{server['base_url']}tsnn/app?run={run.id}"
            return [pn.pane.HTML(f"<a href='{escape(address)}' target='_blank'>Open in dashboard</a>", margin=(0, 4))]
    return []


async def ended(run: Run | Sweep, seconds: float = 600.0) -> str:
    """Wait until a run or sweep has ended while a notebook's views stay live: ``await views.ended(run)``.

    Parameters
    ----------
    run : Run or Sweep
        The run, or the sweep.
    seconds : float
        Longest time to wait.

    Returns
    -------
    state : str
        ``finished``, ``stopped``, ``failed`` or ``lost``; of a sweep ``finished`` if all its trials are.

    Raises
    ------
    RunError
        If it has not ended after that time.
    """
    deadline = time.monotonic() + seconds
    while (state := _state(run)) not in (*ENDED, RunState.LOST):
        if time.monotonic() > deadline:
            kind, stop = ("Sweep", "") if isinstance(run, Sweep) else ("Run", ", or stop it: tsnn.stop()")
            raise RunError(f"{kind} {run.id} is still {state} after {seconds:g} s. Wait longer{stop}.")
        await asyncio.sleep(0.1)
    return state


def _state(run: Run | Sweep) -> str:
    if isinstance(run, Run):
        return str(run.status()["state"])
    if run.queued or run.live:
        return str(RunState.TRAINING)
    states = {trial.state for trial in run.trials}
    worse = (state for state in (RunState.FAILED, RunState.LOST) if state in states)
    return str(next(worse, RunState.FINISHED if states == {RunState.FINISHED} else RunState.STOPPED))
