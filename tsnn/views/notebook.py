"""``tsnn.views.watch(run)``: a live run in one line, in a notebook or in a page of one's own."""

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
    """A column that changes by itself, safely in a notebook as well.

    There messages of the page are handled in a thread of their own: the lock keeps them apart from what is being drawn.
    And until the page has drawn the column, it throws messages away, or they are overtaken by later ones: it misses
    models that the next messages refer to, and shows the start for ever. So nothing is sent before `pace` says so.
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
        What to watch.
    period : int
        Milliseconds between two updates.
    tab : {"overview", "connectivity", "neurons", "workers"}
        What to show of it, as in the dashboard.

    Examples
    --------
    >>> from tsnn.jobs.launch import start
    >>> watch(start(Config.preset("madelon")))  # doctest: +SKIP
    """
    _keep_the_look_of_notebooks()
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

    def play(_event: Any) -> None:
        if not ticker.callback.running:
            ticker.callback.start()

    def show() -> None:
        view.tick()
        push()

    view.after_show = show
    ticker = Ticker(tick, pane.throttle, period, start=view.follower.live)
    view.replay.play.on_click(play)
    return pane


def _keep_the_look_of_notebooks() -> None:
    """Undo in a notebook what importing panel_material_ui does: it makes Material the design of everything.

    With any design set, figures that a widget is bound to can no longer be updated (Panel 1.9).
    """
    if not pn.state.served and pn.config.design is MaterialDesign:
        pn.config.design = None


async def ended(run: Run, seconds: float = 600.0) -> str:
    """Wait until a run has ended, while the views of a notebook go on: ``await views.ended(run)``.

    Parameters
    ----------
    run : Run
        What to wait for.
    seconds : float
        How long at most.

    Returns
    -------
    state : str
        ``finished``, ``stopped``, ``failed`` or ``lost``.

    Raises
    ------
    RunError
        If the run still goes on after that time.
    """
    deadline = time.monotonic() + seconds
    while (state := str(run.status()["state"])) not in (*ENDED, RunState.LOST):
        if time.monotonic() > deadline:
            raise RunError(f"Run {run.id} is still {state} after {seconds:g} s. Wait longer, or stop it: tsnn.stop().")
        await asyncio.sleep(0.1)
    return state
