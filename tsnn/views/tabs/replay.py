# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

"""The bar of time: which snapshot and which layer the views of a run show, and whether they follow the newest epoch."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import panel as pn
import panel_material_ui as pmui

from tsnn.views.live.browser import on_release
from tsnn.views.tabs.cards import explained


def _drawn(path: str) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path d="{path}"/></svg>'


#: As drawings: a notebook has no font of icons.
_PLAY, _PAUSE = _drawn("M8 5v14l11-7z"), _drawn("M6 5h4v14H6zm8 0h4v14h-4z")
_BACK = _drawn("M15.4 7.4 14 6l-6 6 6 6 1.4-1.4-4.6-4.6z")
_FORWARD = _drawn("M8.6 7.4 10 6l6 6-6 6-1.4-1.4 4.6-4.6z")
#: For so many seconds a position that the server has sent may come back; while the newest is followed, at any time.
LATE = 2.0
#: Playing shows at most so many snapshots, one per tick of the page.
FRAMES = 100


class Replay:
    """The time slider over a run's epochs, for all its views; each place shows the latest snapshot before it.

    While the server moves the slider, the browser sends positions back as its ``value``, however late it is: those
    are known, and passed over. Where a person lets go of it is heard in any case.

    Parameters
    ----------
    epochs : int
        Epochs of the run.
    released : callable
        Called when the views should follow the newest epoch again.
    moved : callable, optional
        Called when another snapshot or layer is to be shown at once.
    """

    def __init__(self, epochs: int, released: Callable[[], None], moved: Callable[[], None] = lambda: None):
        self._epochs: list[int] = []
        self._moved_to, self._released = moved, released
        self._at = 0
        self._sent: dict[int, float] = {}
        self.playing = False
        self.follow = pmui.Switch(label="Follow newest", value=True, width=190, margin=(0, 8))
        self.slider = pmui.IntSlider(
            label="Snapshot", start=0, end=max(1, epochs), value=0, show_value=False, size="small", disabled=True,
            sizing_mode="stretch_width", margin=(2, 16),
        )  # fmt: skip
        button: dict[str, Any] = {"size": "small", "align": "center", "margin": (0, 2)}
        self.play = pmui.IconButton(icon=_PLAY, description="Play", **button)
        self.pause = pmui.IconButton(icon=_PAUSE, description="Pause", visible=False, **button)  # an icon never changes
        self.back = pmui.IconButton(icon=_BACK, description="Previous snapshot", **button)
        self.forward = pmui.IconButton(icon=_FORWARD, description="Next snapshot", **button)
        self.layer = pmui.Select(
            label="Layer of connections", options={"1": 0}, value=0, size="small", width=250, margin=(4, 8),
        )  # fmt: skip
        self.layer_choice = explained(self.layer, "layer")
        slider = pn.Column(explained(self.slider, "snapshot"), margin=0, styles={"flex": "1 1 240px"})
        playing = pn.Row(self.play, self.pause, margin=0)
        self.layout = pn.FlexBox(
            explained(playing, "play"), self.back, slider, self.forward, explained(self.follow, "follow"),
            self.layer_choice, align_items="center", sizing_mode="stretch_width", visible=False, margin=0,
        )  # fmt: skip
        on_release(self.slider, self._let_go)
        self.slider.param.watch(self._dragged, "value")
        self.follow.param.watch(self._switched, "value")
        self.layer.param.watch(lambda _: moved(), "value")
        self.play.on_click(lambda _: self.start())
        self.pause.on_click(lambda _: self.stop())
        self.back.on_click(lambda _: self._step(-1))
        self.forward.on_click(lambda _: self._step(1))

    @property
    def following(self) -> bool:
        """Whether the newest epoch is shown."""
        return bool(self.follow.value)

    @property
    def epoch(self) -> int | None:
        """Epoch whose snapshot is shown; None if there is no snapshot yet."""
        if not self._epochs:
            return None
        return self._epochs[-1 if self.following else self._place(self._at)]

    @property
    def before(self) -> int | None:
        """Epoch of the snapshot before the one that is shown; None if there is none."""
        place = 0 if self.epoch is None else self._place(self.epoch)
        return self._epochs[place - 1] if place else None

    @property
    def cursor(self) -> int | None:
        """Epoch to mark in the curves: none while the newest is followed."""
        return None if self.following else self.epoch

    def update(self, epochs: list[int]) -> None:
        """Take note of the snapshots there are."""
        if epochs == self._epochs:
            return
        self._epochs = list(epochs)
        if self.slider.disabled != (len(epochs) < 2):
            self.slider.disabled = len(epochs) < 2
        if self.following and epochs:
            self._send(epochs[-1])
        self._show_label()
        self.layout.visible = len(epochs) > 1

    def name_layers(self, sizes: Sequence[int]) -> None:
        """Offer the layers between neurons of these numbers."""
        names = {f"{l + 1}: {a:,} → {b:,} neurons": l for l, (a, b) in enumerate(pairwise(sizes))}
        if names and names != self.layer.options:
            self.layer.param.update(options=names, value=min(int(self.layer.value), len(names) - 1))

    def tick(self) -> None:
        """Go on playing, one snapshot or, of many, a few."""
        if self.playing and self._epochs:
            place = self._place(self._at) + max(1, len(self._epochs) // FRAMES)
            self._send(self._epochs[min(place, len(self._epochs) - 1)])
            self._show_label()
            if place >= len(self._epochs) - 1:
                self.stop()

    def start(self) -> None:
        """Play from the snapshot that is shown, or from the first if that is the newest."""
        if len(self._epochs) < 2:
            return
        at_end = self.epoch == self._epochs[-1]
        self.go(self._epochs[0] if at_end else self._at)
        self._show_playing(True)

    def stop(self) -> None:
        """Stop playing."""
        self._show_playing(False)

    def _show_playing(self, playing: bool) -> None:
        self.playing = playing
        self.play.visible, self.pause.visible = not playing, playing

    def release(self) -> None:
        """Stop following: someone looks at something else than the newest."""
        if self.following:
            self.follow.value = False

    def resume(self) -> None:
        """Follow the newest epoch again."""
        self.follow.value = True

    def go(self, epoch: int) -> None:
        """Show the snapshot of an epoch, and follow no more."""
        self.release()
        self._send(epoch)
        self._show_label()
        self._moved_to()

    def _send(self, epoch: int) -> None:
        self._at = epoch
        self._sent[epoch] = time.monotonic()
        self.slider.value = epoch

    def _show_label(self) -> None:
        newest = " (newest)" if self._epochs and self.epoch == self._epochs[-1] else ""
        label = f"Snapshot: epoch {self.epoch or 0:,}{newest}"
        if label != self.slider.label:
            self.slider.label = label

    def _let_go(self, epoch: int) -> None:
        if epoch != self._at:
            self.stop()
            self.go(epoch)

    def _dragged(self, event: Any) -> None:
        sent = self._sent.get(int(event.new))
        late = sent is not None and (self.following or time.monotonic() - sent < LATE)
        if late or self.playing:
            self.slider.value = self._at
            self._show_label()
            return
        self._at = int(event.new)
        self.release()
        self._show_label()
        self._moved_to()

    def _switched(self, event: Any) -> None:
        if event.new and self._epochs:
            self.stop()
            self._send(self._epochs[-1])
            self._released()
        self._show_label()

    def _place(self, epoch: int) -> int:
        """Return the index of the latest snapshot that is not after an epoch."""
        return max(0, bisect_right(self._epochs, epoch) - 1)

    def _step(self, by: int) -> None:
        self.stop()
        place = self._place(self._at) + by
        self.go(self._epochs[min(max(0, place), len(self._epochs) - 1)])
