# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

"""The time slider: which snapshot the views of a run show, and whether they follow the newest epoch."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui


class Replay:
    """The time slider over a run's epochs, for all its views; each place shows the latest snapshot before it.

    While the server moves the slider, the browser sends late positions back as its ``value``. What a person
    did is told by ``value_throttled``, which the server never sets.

    Parameters
    ----------
    epochs : int
        Epochs of the run.
    released : callable
        Called when the views should follow the newest epoch again.
    """

    def __init__(self, epochs: int, released: Callable[[], None]):
        self._epochs: list[int] = []
        self._released = released
        self.follow = pmui.Switch(
            label="Follow newest",
            value=True,
            width=190,
            align="center",
            margin=(0, 8),
            description="On: plots show the newest epoch. Moving the slider or a plot turns it off.",
        )
        self.slider = pmui.IntSlider(
            label="Snapshot", start=0, end=max(1, epochs), value=0, show_value=False, size="small", disabled=True,
            sizing_mode="stretch_width", margin=(2, 16),
        )  # fmt: skip
        self.back = pmui.IconButton(icon="chevron_left", size="small", description="Previous snapshot", align="center")
        self.forward = pmui.IconButton(icon="chevron_right", size="small", description="Next snapshot", align="center")
        self.layout = pn.Row(
            self.back, self.slider, self.forward, self.follow, sizing_mode="stretch_width", visible=False, margin=0
        )
        self.slider.param.watch(self._moved, "value_throttled")
        self.slider.param.watch(lambda _: self._show_label(), "value")
        self.follow.param.watch(self._switched, "value")
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
        return self._epochs[-1 if self.following else self._place(int(self.slider.value))]

    @property
    def cursor(self) -> int | None:
        """Epoch to mark in the curves: none while the newest is followed."""
        return None if self.following else self.epoch

    def update(self, epochs: list[int]) -> None:
        """Take note of the snapshots there are."""
        if epochs == self._epochs:
            return
        self._epochs = list(epochs)
        self.slider.param.update(
            disabled=len(epochs) < 2, **({"value": epochs[-1]} if self.following and epochs else {})
        )
        self._show_label()
        self.layout.visible = len(epochs) > 1

    def release(self) -> None:
        """Stop following: someone looks at something else than the newest."""
        if self.following:
            self.follow.value = False

    def resume(self) -> None:
        """Follow the newest epoch again."""
        self.follow.value = True

    def _show_label(self) -> None:
        newest = " (newest)" if self._epochs and self.epoch == self._epochs[-1] else ""
        label = f"Snapshot: epoch {self.epoch or 0:,}{newest}"
        if label != self.slider.label:
            self.slider.label = label

    def _moved(self, event: Any) -> None:
        self._go(int(event.new))

    def _go(self, epoch: int) -> None:
        """Show the snapshot of an epoch, and follow no more."""
        self.release()
        self.slider.value = epoch
        self._show_label()

    def _switched(self, event: Any) -> None:
        if event.new and self._epochs:
            self.slider.value = self._epochs[-1]
            self._released()
        self._show_label()

    def _place(self, epoch: int) -> int:
        """Return the index of the latest snapshot that is not after an epoch."""
        return max(0, bisect_right(self._epochs, epoch) - 1)

    def _step(self, by: int) -> None:
        place = self._place(int(self.slider.value)) + by
        self._go(self._epochs[min(max(0, place), len(self._epochs) - 1)])
