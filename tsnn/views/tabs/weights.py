"""Card of the weights of a whole layer: opened by a button, and only then read, on the server."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

import asyncio
import weakref
from typing import Any

import panel as pn
import panel_material_ui as pmui

from tsnn.errors import RunError, TsnnError
from tsnn.runs.checkpoints import read_layer
from tsnn.runs.forks import nearest_fork_epoch
from tsnn.runs.run import Run
from tsnn.views.live import icons
from tsnn.views.live.follower import RunFollower
from tsnn.views.plots.weights import WeightImage
from tsnn.views.tabs.cards import Card
from tsnn.views.tabs.replay import Replay

MOST = 20_000_000  #: connections of a layer that are drawn: 160 MB, while a page displays them
_images: weakref.WeakValueDictionary[tuple[str, int, int], WeightImage] = weakref.WeakValueDictionary()


def weight_image(run: Run, epoch: int, layer: int) -> WeightImage:
    """Return the image of a layer after an epoch, shared by the pages that display it.

    Raises
    ------
    TsnnError
        If it is not known, too large, or Datashader is not installed.
    """
    key = str(run.path), epoch, layer
    found = _images.get(key)
    if found is None:
        connections = run.meta().get("network", {}).get("connections", [])
        if layer < len(connections) and connections[layer] > MOST:
            raise RunError(f"Layer {layer + 1} has {connections[layer]:,} connections; at most {MOST:,} are drawn.")
        title = f"Weights of layer {layer + 1} after epoch {epoch:,}"
        found = _images.setdefault(key, WeightImage(read_layer(run, epoch, layer), title))
    return found


class WeightCard:
    """Button that opens the weights of the chosen layer after the timeline's epoch, and the image.

    Attributes
    ----------
    layout : Card
        The card.
    """

    def __init__(self, follower: RunFollower, replay: Replay):
        self._follower, self._replay = follower, replay
        self._image: WeightImage | None = None  # keeps it for other pages
        self._chosen: tuple[int, int] | None = None
        self._opened: tuple[int, int] | None = None
        button: dict[str, Any] = {"variant": "outlined", "size": "small", "margin": (6, 8)}
        self.open = pmui.Button(label="Open weights", icon=icons.ENLARGE, **button)
        self.close = pmui.Button(label="Close", visible=False, **button)
        self.open.on_click(self._open)
        self.close.on_click(lambda _: self._show(None))
        self.problem = pmui.Alert(severity="info", visible=False, closeable=True, margin=(4, 8),
                                  sizing_mode="stretch_width")  # fmt: skip
        self.place = pn.Column(sizing_mode="stretch_width", margin=0)
        self.layout = Card(self.place, "weights", self.problem, pn.Row(self.open, self.close, margin=0))
        self.layout.styles = {**self.layout.styles, "grid-column": "1 / -1"}

    def update(self) -> None:
        """Name the layer and the epoch that the button opens: the last ones with a checkpoint."""
        epoch, layer = nearest_fork_epoch(self._follower.run, self._replay.epoch or 0), self._replay.layer.value
        self._chosen = None if epoch is None else (epoch, layer)
        label = "No checkpoint yet" if epoch is None else f"Open layer {layer + 1} after epoch {epoch:,}"
        disabled = self._chosen is None or self._chosen == self._opened
        if (self.open.label, self.open.disabled) != (label, disabled):
            self.open.param.update(label=label, disabled=disabled)

    async def _open(self, _event: Any) -> None:
        if self._chosen is None:
            return
        chosen = self._chosen
        self.open.param.update(label="Reading …", disabled=True)
        try:
            self._show(await asyncio.to_thread(weight_image, self._follower.run, *chosen), chosen)
        except TsnnError as error:
            self.problem.param.update(object=str(error), visible=True)
        self.update()

    def _show(self, image: WeightImage | None, chosen: tuple[int, int] | None = None) -> None:
        """Display an image, or free it."""
        self._image, self._opened = image, chosen
        self.problem.visible = False
        self.close.visible = image is not None
        panes = [] if image is None else [pn.pane.HoloViews(image.plot(), sizing_mode="stretch_width", margin=0)]
        self.place.objects = panes
