"""Timeline of a run: choice of the epoch and the layer that its tabs display."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import panel as pn
import panel_material_ui as pmui

from tsnn.views.live import icons
from tsnn.views.live.browser import on_release
from tsnn.views.tabs.cards import with_caption

#: Seconds within which the browser may echo a position that the server has sent.
ECHO_SECONDS = 2.0
_REMEMBERED = 500  # positions sent
#: Most snapshots that are played, one per tick of the page.
FRAMES = 100


class Replay:
    """Slider over a run's epochs with its buttons; each position stands for the latest snapshot up to it.

    When the server moves the slider, the browser echoes the position as ``value``, possibly late. Echoes are
    recognised and ignored; the release of the slider by a user never is (:func:`tsnn.views.live.browser.on_release`).

    Parameters
    ----------
    epochs : int
        Epochs of the run.
    on_follow : callable
        Called when the tabs should follow the newest epoch again.
    on_move : callable, optional
        Called when another snapshot or layer should be displayed at once.

    Attributes
    ----------
    layout : Panel object
        The timeline.
    layer : Panel select
        Layer of connections, from 0.
    playing : bool
        Whether the snapshots are played one after another.
    """

    def __init__(self, epochs: int, on_follow: Callable[[], None], on_move: Callable[[], None] = lambda: None):
        self._epochs: list[int] = []
        self._on_move, self._on_follow = on_move, on_follow
        self._at = 0
        self._sent: dict[int, float] = {}
        self.playing = False
        self.follow = pmui.Switch(label="Follow newest", value=True, width=190, margin=(0, 8))
        self.slider = pmui.IntSlider(
            label="Snapshot", start=0, end=max(1, epochs), value=0, show_value=False, size="small", disabled=True,
            sizing_mode="stretch_width", margin=(2, 16),
        )  # fmt: skip
        button: dict[str, Any] = {"size": "small", "align": "center", "margin": (0, 2)}
        self.play = pmui.IconButton(icon=icons.PLAY, description="Play", **button)
        # a second button, because the icon of a button cannot change
        self.pause = pmui.IconButton(icon=icons.PAUSE, description="Pause", visible=False, **button)
        self.back = pmui.IconButton(icon=icons.BACK, description="Previous snapshot", **button)
        self.forward = pmui.IconButton(icon=icons.FORWARD, description="Next snapshot", **button)
        self.layer = pmui.Select(
            label="Layer of connections", options={"1": 0}, value=0, size="small", width=250, margin=(4, 8),
        )  # fmt: skip
        self.layer_choice = with_caption(self.layer, "layer")
        slider = pn.Column(with_caption(self.slider, "snapshot"), margin=0, styles={"flex": "1 1 240px"})
        playing = pn.Row(self.play, self.pause, margin=0)
        self.layout = pn.FlexBox(
            with_caption(playing, "play"), self.back, slider, self.forward, with_caption(self.follow, "follow"),
            self.layer_choice, align_items="center", sizing_mode="stretch_width", visible=False, margin=0,
        )  # fmt: skip
        on_release(self.slider, self._released)
        self.slider.param.watch(self._dragged, "value")
        self.follow.param.watch(self._switched, "value")
        self.layer.param.watch(lambda _: on_move(), "value")
        self.play.on_click(lambda _: self.start())
        self.pause.on_click(lambda _: self.stop())
        self.back.on_click(lambda _: self.step(-1))
        self.forward.on_click(lambda _: self.step(1))

    @property
    def following(self) -> bool:
        """Whether the newest epoch is displayed."""
        return bool(self.follow.value)

    @property
    def epoch(self) -> int | None:
        """Epoch whose snapshot is displayed; None without a snapshot."""
        if not self._epochs:
            return None
        return self._epochs[-1 if self.following else self._index(self._at)]

    @property
    def before(self) -> int | None:
        """Epoch of the snapshot before the displayed one; None if there is none."""
        index = 0 if self.epoch is None else self._index(self.epoch)
        return self._epochs[index - 1] if index else None

    @property
    def after(self) -> int | None:
        """Epoch of the snapshot after the displayed one; None if there is none."""
        index = len(self._epochs) if self.epoch is None else self._index(self.epoch) + 1
        return self._epochs[index] if index < len(self._epochs) else None

    @property
    def cursor(self) -> int | None:
        """Epoch to mark in the curves; None while the newest is followed."""
        return None if self.following else self.epoch

    def update(self, epochs: list[int]) -> None:
        """Set the epochs of the existing snapshots."""
        if epochs == self._epochs:
            return
        self._epochs = list(epochs)
        if self.slider.disabled != (len(epochs) < 2):
            self.slider.disabled = len(epochs) < 2
        if self.following and epochs:
            self._send(epochs[-1])
        self._update_label()
        self.layout.visible = len(epochs) > 1

    def name_layers(self, sizes: Sequence[int]) -> None:
        """Set the options of the layer choice from the numbers of neurons."""
        names = {f"{l + 1}: {a:,} → {b:,} neurons": l for l, (a, b) in enumerate(pairwise(sizes))}
        if names and names != self.layer.options:
            self.layer.param.update(options=names, value=min(int(self.layer.value), len(names) - 1))

    def tick(self) -> None:
        """Play the next snapshot; of more than 100, every n-th."""
        if self.playing and self._epochs:
            index = self._index(self._at) + max(1, len(self._epochs) // FRAMES)
            self._send(self._epochs[min(index, len(self._epochs) - 1)])
            self._update_label()
            if index >= len(self._epochs) - 1:
                self.stop()

    def start(self) -> None:
        """Play from the displayed snapshot, or from the first if that is the newest."""
        if len(self._epochs) < 2:
            return
        at_end = self.epoch == self._epochs[-1]
        self.go(self._epochs[0] if at_end else self._at)
        self._set_playing(True)

    def stop(self) -> None:
        """Stop playing."""
        self._set_playing(False)

    def _set_playing(self, playing: bool) -> None:
        self.playing = playing
        self.play.visible, self.pause.visible = not playing, playing

    def unfollow(self) -> None:
        """Stop following the newest epoch."""
        if self.following:
            self.follow.value = False

    def follow_newest(self) -> None:
        """Follow the newest epoch again."""
        self.follow.value = True

    def go(self, epoch: int) -> None:
        """Display the snapshot of an epoch, and stop following."""
        self.unfollow()
        self._send(epoch)
        self._update_label()
        self._on_move()

    def _send(self, epoch: int) -> None:
        """Move the slider, with its label in the same message."""
        self._at = epoch
        self._sent.pop(epoch, None)
        self._sent[epoch] = time.monotonic()
        if len(self._sent) > _REMEMBERED:
            del self._sent[next(iter(self._sent))]
        self.slider.param.update(value=epoch, label=self._label())

    def _label(self) -> str:
        newest = " (newest)" if self._epochs and self.epoch == self._epochs[-1] else ""
        return f"Snapshot: epoch {self.epoch or 0:,}{newest}"

    def _update_label(self) -> None:
        if (label := self._label()) != self.slider.label:
            self.slider.label = label

    def _released(self, epoch: int) -> None:
        if epoch != self._at:
            self.stop()
            self.go(epoch)

    def _dragged(self, event: Any) -> None:
        if event.new == self._at:
            return
        sent = self._sent.get(int(event.new))
        echo = sent is not None and (self.following or time.monotonic() - sent < ECHO_SECONDS)
        if echo or self.playing:
            self.slider.value = self._at
            self._update_label()
            return
        self._at = int(event.new)
        self.unfollow()
        self._update_label()
        self._on_move()

    def _switched(self, event: Any) -> None:
        if event.new and self._epochs:
            self.stop()
            self._send(self._epochs[-1])
            self._on_follow()
        self._update_label()

    def _index(self, epoch: int) -> int:
        """Return the index of the latest snapshot that is not after an epoch."""
        return max(0, bisect_right(self._epochs, epoch) - 1)

    def step(self, by: int) -> None:
        """Display the snapshot ``by`` positions after the displayed one."""
        if not self._epochs:
            return
        self.stop()
        index = self._index(self._at) + by
        self.go(self._epochs[min(max(0, index), len(self._epochs) - 1)])
