"""Network tab: the network itself in one snapshot, and its last evolution, also in slow motion."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

from typing import Any

import panel as pn
import panel_material_ui as pmui

from tsnn.snapshot import Snapshot
from tsnn.views.live.browser import Width
from tsnn.views.live.follower import RunFollower
from tsnn.views.plots.network import HEIGHT, NetworkPlot
from tsnn.views.tabs.cards import Card, empty_pane, figure_pane, say_empty, update_empty_pane, with_caption
from tsnn.views.tabs.replay import Replay

_OLDER = (
    "This run was recorded by an older version of tsnn, without the connections to draw. Start it again to see them."
)
#: Fields of a snapshot that the drawing displays.
PARTS = (
    "epoch", "ages_since", "input_degree", "drawn_inputs", "drawn_input_degree", "drawn", "drawn_degree", "edges",
    "edge_weights", "edge_births", "density",
)  # fmt: skip


def network_plot(follower: RunFollower, height: int = HEIGHT, label: str = "") -> NetworkPlot:
    """Return the empty drawing of a run's network."""
    classes = tuple(map(str, follower.meta.get("data", {}).get("class_names") or ()))
    return NetworkPlot(follower.image_shape, follower.feature_names, classes, height, label)


def network_pane(plot: NetworkPlot) -> Any:
    """Return a pane with the drawing of a network, which fits it to its width."""
    width = Width(sizing_mode="stretch_width", height=0, margin=0)
    width.param.watch(lambda event: plot.fit(event.new), "pixels")
    return pn.Column(width, figure_pane(plot.figure), sizing_mode="stretch_width", margin=0)


class NetworkTab:
    """Drawing of the network in the snapshot of the timeline, compared with the one before."""

    def __init__(self, follower: RunFollower, replay: Replay):
        self._follower, self._replay = follower, replay
        self._drawn: tuple[Any, ...] = ()
        self.plot: Any = None
        self._empty = empty_pane()
        self.slow_motion = pmui.Button(label="Slow motion", size="small", variant="outlined", margin=(0, 8, 4, 8))
        self.slow_motion.on_click(lambda _: self._play())
        self.layout = pn.Column(self._empty, sizing_mode="stretch_width", margin=0)

    @pn.io.hold()
    def update(self, *, figures_only: bool = False) -> None:
        """Draw the snapshot of the timeline, if it or one of its neighbours has changed."""
        epochs = self._replay.epoch, self._replay.before, self._replay.after
        if epochs == self._drawn and self.plot is not None:
            return
        snapshot, before, after = map(self._snapshot, epochs)
        if snapshot is None:
            update_empty_pane(self._empty, self._follower)
            return
        if snapshot.layers[0].edges is None:
            self.layout.objects = [self._empty]
            self.plot = None
            say_empty(self._empty, _OLDER)
            return
        self._drawn = epochs
        if self.plot is None:
            self._build()
        self.plot.update(snapshot, before, after)

    def _snapshot(self, epoch: int | None) -> Snapshot | None:
        return None if epoch is None else self._follower.snapshot(epoch, None, PARTS)

    def _build(self) -> None:
        self.plot = network_plot(self._follower)
        button = with_caption(self.slow_motion, "slow_motion")
        drawing = pn.Column(button, network_pane(self.plot), sizing_mode="stretch_width", margin=0)
        card = Card(drawing, "network")
        card.figure = self.plot.figure
        card.describe()
        self.layout.objects = [card]

    def _play(self) -> None:
        """Play the displayed evolution in slow motion; if there is none, the last one before it."""
        if self.plot is None:
            return
        self._replay.stop()
        with pn.io.hold():
            self._replay.go(self._replay.epoch or 0)
            while not self._changes() and self._replay.before is not None:
                self._replay.go(self._replay.before)
            counts, after = self.plot.counts, self._replay.after
            phases = [f"1. Prune: {counts['pruned']:,} weak connections go",
                      f"2. Regrow: {counts['regrown']:,} new ones come"]  # fmt: skip
            if after is not None:
                phases.append(f"3. Train: the weights change until epoch {after:,}")
            self.plot.play(phases)

    def _changes(self) -> int:
        return int(self.plot.counts["pruned"] + self.plot.counts["regrown"])
