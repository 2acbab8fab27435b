"""Live views of a run: what the dashboard and :func:`tsnn.views.watch` put on the page.

Figures are built once; :meth:`RunView.tick` looks at the follower's version and shows new data in the
views that are visible. Nothing changed means nothing done.
"""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel as pn

from tsnn.views.live.follower import RunFollower
from tsnn.views.tabs.connectivity import ConnectivityTab
from tsnn.views.tabs.neurons import NeuronsTab
from tsnn.views.tabs.overview import Overview
from tsnn.views.tabs.replay import Replay
from tsnn.views.tabs.summary import summary_html
from tsnn.views.tabs.workers import WorkersTab


class RunView:
    """Everything that is shown of one run.

    Parameters
    ----------
    follower : RunFollower
        The run.

    Attributes
    ----------
    head : Panel object
        State, progress and the main numbers.
    replay : Replay
        The bar of time; its ``layout`` belongs on the page.
    tabs : dict
        The views by name: ``overview``, ``connectivity``, ``neurons``, ``workers``.
    """

    def __init__(self, follower: RunFollower):
        self.follower = follower
        self.replay = Replay(follower.config.training.epochs, self._ranges_released, self.show)
        self.head = pn.pane.HTML(summary_html(follower), sizing_mode="stretch_width", margin=0)
        self.tabs: dict[str, Any] = {
            "overview": Overview(follower, self.replay),
            "connectivity": ConnectivityTab(follower, self.replay),
            "neurons": NeuronsTab(follower, self.replay),
            "workers": WorkersTab(follower, self.replay),
        }
        self.tab = "overview"
        self.after_show: Callable[[], None] = lambda: None
        self._version = -1

    def _ranges_released(self) -> None:
        self._version = -1

    @pn.io.hold()  # Panel calls handlers of events without the document's lock: only what is held may then be changed
    def tick(self, tab: str = "") -> bool:
        """Bring the head and one tab up to date; returns whether the run had changed or is being replayed."""
        version = self.follower.poll()
        changed = version != self._version
        if changed:
            self._version = version
            html = summary_html(self.follower)
            if html != self.head.object:
                self.head.object = html
            self.replay.update(self.follower.snapshots)
            self.replay.name_layers(self.follower.sizes)
        playing = self.replay.playing
        self.replay.tick()
        self._choose(tab or self.tab)
        self.tabs[self.tab].update()
        return changed or playing

    def _choose(self, tab: str) -> None:
        self.tab = tab
        of_a_layer = tab in ("connectivity", "neurons")
        if self.replay.layer_choice.visible != of_a_layer:
            self.replay.layer_choice.visible = of_a_layer

    def show(self) -> None:
        """Draw what the bar of time says, at once; words and lists, which take longer, come with the next tick."""
        with pn.io.hold():
            self.tabs[self.tab].update(words=False)
        self.after_show()
