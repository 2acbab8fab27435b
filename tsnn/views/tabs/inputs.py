"""Card of the input connectivity, for the Overview and Connectivity tabs."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

from typing import Any

import panel as pn
import panel_material_ui as pmui

from tsnn.views.live.follower import RunFollower
from tsnn.views.plots.topology import MEASURES, input_plot
from tsnn.views.tabs.cards import Card, figure_pane, with_caption
from tsnn.views.tabs.replay import Replay

_SMALL_BUTTONS = {"& .MuiButtonBase-root": {"fontSize": "11.5px", "padding": "4px 6px", "textTransform": "none"}}
#: Fields of a snapshot that the card displays.
_PARTS = tuple(field for field, _ in MEASURES.values())


class InputCard:
    """Card of the input connectivity in one snapshot, as number or as strength of the connections."""

    def __init__(self, follower: RunFollower, replay: Replay):
        self._follower, self._replay = follower, replay
        self._drawn: tuple[Any, ...] = ()
        self.plot: Any = None
        self.measure = pmui.RadioButtonGroup(
            options={"Connections": "degree", "Strength": "strength"}, value="degree",
            size="small", width=None, align="center", margin=(0, 2, 4, 8), sx=_SMALL_BUTTONS,
        )  # fmt: skip
        self.measure.param.watch(lambda _: self.update(), "value")
        self._figure = pn.Row(sizing_mode="stretch_width", margin=0)
        self.layout = Card(self._figure, "input", with_caption(self.measure, "measure"), beside=True, visible=False)

    @pn.io.hold()
    def update(self) -> None:
        """Draw the snapshot of the timeline, if it or the measure has changed."""
        epoch, measure = self._replay.epoch, self.measure.value
        if epoch is None or (epoch, measure) == self._drawn:
            return
        snapshot = self._follower.snapshot(epoch, 0, _PARTS)
        if snapshot is None:
            return
        self._drawn = epoch, measure
        if self.plot is None:
            self.plot = input_plot(self._follower.image_shape, measure, self._follower.feature_names)
            self._figure.objects = [figure_pane(self.plot.figure)]
            if self.plot.figure.sizing_mode != "fixed":  # bars take the whole width of the card, texts are below
                self.layout.place.styles = {"flex": "1 1 100%"}
            self.layout.figure = self.plot.figure
            self.layout.describe()
            self.layout.visible = True
        self.plot.measure = measure
        self.plot.update(snapshot)
