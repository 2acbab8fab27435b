"""Live view of a run: the parts that the dashboard and :func:`tsnn.views.watch` put on the page.

Figures are built once; :meth:`RunView.tick` compares the follower's version and draws new data in the visible tab.
"""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import panel as pn

from tsnn.views.live.follower import RunFollower
from tsnn.views.tabs.connectivity import ConnectivityTab
from tsnn.views.tabs.cost import CostGauge
from tsnn.views.tabs.errors import ErrorsTab
from tsnn.views.tabs.network import NetworkTab
from tsnn.views.tabs.neurons import NeuronsTab
from tsnn.views.tabs.overview import Overview
from tsnn.views.tabs.replay import Replay
from tsnn.views.tabs.summary import summary_parts
from tsnn.views.tabs.workers import WorkersTab

_TABS: dict[str, Any] = {
    "overview": Overview,
    "network": NetworkTab,
    "connectivity": ConnectivityTab,
    "neurons": NeuronsTab,
    "errors": ErrorsTab,
    "workers": WorkersTab,
}


class _Tabs(Mapping[str, Any]):
    """Tabs of a run by name, each made when it is first opened."""

    def __init__(self, follower: RunFollower, replay: Replay):
        self._follower, self._replay = follower, replay
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = _TABS[name](self._follower, self._replay)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_TABS)

    def __len__(self) -> int:
        return len(_TABS)


class RunView:
    """Head, timeline and tabs of one run.

    Parameters
    ----------
    follower : RunFollower
        The run.

    Attributes
    ----------
    title : Panel object
        State, name and description.
    head : Panel object
        Progress, main numbers, cost and notes.
    replay : Replay
        The timeline; its ``layout`` belongs on the page.
    tabs : mapping
        The tabs by name: ``overview``, ``network``, ``connectivity``, ``neurons``, ``errors``, ``workers``.
    after_draw : callable
        Called after the user has moved the timeline and the tab was drawn.
    """

    def __init__(self, follower: RunFollower):
        self.follower = follower
        self.replay = Replay(follower.config.training.epochs, self._follow_newest, self.draw)
        self._cost = CostGauge(follower)
        title, head = self._summary()
        stretch: dict[str, Any] = {"sizing_mode": "stretch_width", "margin": 0}
        self.title = pn.pane.HTML(title, styles={"flex": "1 1 300px"}, **stretch)  # buttons may stand beside it
        self.head = pn.pane.HTML(head, styles={"flex": "1 1 100%"}, **stretch)
        self.tabs = _Tabs(follower, self.replay)
        self.tab = "overview"
        self.after_draw: Callable[[], None] = lambda: None
        self._version = -1

    def _summary(self) -> tuple[str, str]:
        def compute() -> tuple[str, str]:
            return summary_parts(self.follower, self._cost.html())

        parts: tuple[str, str] = self.follower.shared.get("summary", self.follower.version, compute)
        return parts

    def _follow_newest(self) -> None:
        self._version = -1

    @pn.io.hold()  # Panel calls event handlers without the document's lock: they may change only what is held
    def tick(self, tab: str = "") -> bool:
        """Update the head and one tab; returns whether the run has changed or is being replayed."""
        version = self.follower.poll()
        changed = version != self._version
        if changed:
            self._version = version
            for pane, html in zip((self.title, self.head), self._summary(), strict=True):
                if html != pane.object:
                    pane.object = html
            self.replay.update(self.follower.snapshots)
            self.replay.name_layers(self.follower.sizes)
        playing = self.replay.playing
        self.replay.tick()
        self._choose(tab or self.tab)
        self.tabs[self.tab].update()
        return changed or playing

    def _choose(self, tab: str) -> None:
        self.tab = tab
        by_layer = tab in ("connectivity", "neurons")
        if self.replay.layer_choice.visible != by_layer:
            self.replay.layer_choice.visible = by_layer

    def draw(self) -> None:
        """Draw the figures of the timeline's epoch at once; texts and lists, which take longer, follow at a tick."""
        with pn.io.hold():
            self.tabs[self.tab].update(figures_only=True)
        self.after_draw()
