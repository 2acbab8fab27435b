"""Live run in a notebook cell or in a custom page: ``tsnn.views.watch(run)``."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import panel as pn
from panel_material_ui.theme import MaterialDesign

from tsnn.errors import RunError
from tsnn.records import ENDED, RunState
from tsnn.runs import Run
from tsnn.views.live.browser import Throttle
from tsnn.views.live.follower import RunFollower, follow
from tsnn.views.live.ticker import Ticker
from tsnn.views.tabs.run import RunView


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


def watch(run: Run | RunFollower, *, period: int = 1000, tab: str = "overview") -> Any:
    """Return a pane that follows a run while it trains, or replays one that has ended.

    Parameters
    ----------
    run : Run or RunFollower
        The run.
    period : int
        Milliseconds between two updates.
    tab : {"overview", "network", "connectivity", "neurons", "errors", "workers"}
        Tab of the dashboard to display.

    Examples
    --------
    >>> from tsnn.jobs.launch import start
    >>> watch(start(Config.preset("madelon")))  # doctest: +SKIP
    """
    _restore_design()
    view = RunView(run if isinstance(run, RunFollower) else follow(run))
    view.tick(tab)
    pane = LivePane(view.head, view.replay.layout, view.tabs[tab].layout, sizing_mode="stretch_width")

    def push() -> None:
        if not pn.state.served:
            pn.io.push_notebook(pane)

    def tick() -> bool:
        with pane.lock:
            if changed := view.tick():
                push()
        if not view.follower.live and not view.replay.playing:
            ticker.callback.stop()
        return changed

    def restart(_event: Any) -> None:
        if not ticker.callback.running:
            ticker.callback.start()

    def draw() -> None:
        view.tick()
        push()

    view.after_draw = draw
    ticker = Ticker(tick, pane.throttle, period, start=view.follower.live)
    view.replay.play.on_click(restart)
    return pane


def _restore_design() -> None:
    """Undo in a notebook that importing panel_material_ui makes Material the design of all panes.

    With any design set, figures that a widget is bound to can no longer be updated (Panel 1.9).
    """
    if not pn.state.served and pn.config.design is MaterialDesign:
        pn.config.design = None


async def ended(run: Run, seconds: float = 600.0) -> str:
    """Wait until a run has ended while a notebook's views stay live: ``await views.ended(run)``.

    Parameters
    ----------
    run : Run
        The run.
    seconds : float
        Longest time to wait.

    Returns
    -------
    state : str
        ``finished``, ``stopped``, ``failed`` or ``lost``.

    Raises
    ------
    RunError
        If the run has not ended after that time.
    """
    deadline = time.monotonic() + seconds
    while (state := str(run.status()["state"])) not in (*ENDED, RunState.LOST):
        if time.monotonic() > deadline:
            raise RunError(f"Run {run.id} is still {state} after {seconds:g} s. Wait longer, or stop it: tsnn.stop().")
        await asyncio.sleep(0.1)
    return state
