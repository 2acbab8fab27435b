"""Welcome card: an introduction, a recorded network that learns, and a button that trains the same one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import panel as pn
import panel_material_ui as pmui

from pages.lessons import Lesson
from pages.readonly import is_readonly
from pages.theme import CARD, html, plain
from tsnn.config import Config
from tsnn.errors import TsnnError
from tsnn.jobs.queue import enqueue
from tsnn.jobs.race import default_contenders, variants
from tsnn.runs import RunStore
from tsnn.views.plots.network import NetworkPlot
from tsnn.views.plots.recording import read_recording
from tsnn.views.tabs.network import network_pane

#: Snapshots of the first epochs of ``tsnn train digits``, made by ``python -m tests.benchmarks.pictures``.
RECORDING = Path(__file__).parents[1] / "assets" / "digits.npz.xz"
#: Race of a minute on the bundled images, with settings at which SET and dense are alike: at the papers' dropout and
#: decay SET needs more epochs. At the end SET is at most 1.5 points above or below dense, in three seeds
#: (``python -m tests.benchmarks.lessons race``).
RACE = {
    "data.size": "small",
    "network.dropout": 0.1,
    "training.weight_decay": 0.0,
    "training.regrow": "gradient",
    "training.epochs": 30,
}
_SHAPE, _CLASSES = (8, 8), tuple(map(str, range(10)))
_LINK = {"textTransform": "none", "padding": "2px 6px", "textAlign": "left"}
_TICKS = 3  # of the page for each frame
_TEXT = """
<h2 style='margin:0 0 8px;font-weight:700;font-size:22px'>Watch a sparse network learn</h2>
<p style='margin:0 0 10px'>Press <b>Start</b> in the form (☰ opens it). A network with a few per cent of the
connections of a dense one trains on this machine's CPU, in its own process; closing this page does not stop it.</p>
<ul style='margin:0;padding-left:20px'>
<li><b>Network</b> draws it: after every epoch its weakest connections are pruned and others regrown.</li>
<li><b>Accuracy</b> rises and <b>loss</b> falls, epoch by epoch.</li>
<li>While it trains, <b>change zeta, epsilon and the learning rate</b>, pause it, and see the effect marked in
the curves.</li></ul>
<p style='margin:10px 0 0;opacity:.75'>Earlier runs are under <b>Runs</b>. The drawing is a recording of 702 connections
that learn to read digits of 8 × 8 pixels. Train them yourself: it takes seconds.</p>
"""
_WATCH = """
<h2 style='margin:0 0 8px;font-weight:700;font-size:22px'>Watch a sparse network learn</h2>
<p style='margin:0 0 10px'>This page is for watching: runs are started elsewhere. Choose one under <b>Runs</b>, or
several under <b>Compare</b>. On the right: a recording of 702 connections that learn to read digits of 8 × 8
pixels.</p>
"""


class Welcome:
    """Card of the page without an open run.

    Parameters
    ----------
    store : RunStore
        Where runs are kept.
    open_run : callable
        Called with the id of the run that the button has started.
    race : callable
        Called with the settings of runs that are to race.
    warn : callable
        Called with the text of an error.
    """

    def __init__(
        self, store: RunStore, open_run: Callable[[str], None], race: Callable[[list[Config]], None],
        warn: Callable[[str], None],
    ):  # fmt: skip
        self._store, self._open, self._start_race, self._warn = store, open_run, race, warn
        self._frames = read_recording(RECORDING)
        self._at = self._ticks = 0
        button: dict[str, Any] = {"variant": "outlined", "margin": (12, 8, 0, 0)}
        self.train = pmui.Button(label="Train the digits", icon="play_arrow", **button)
        self.race = pmui.Button(label="Race: sparse against dense", icon="sports_score", **button)
        self.train.on_click(lambda _: self._try(self._train))
        self.race.on_click(lambda _: self._try(self._race))
        stretch: dict[str, Any] = {"sizing_mode": "stretch_width", "margin": 0}
        buttons = pn.FlexBox(self.train, self.race, margin=0)
        self.train.visible = self.race.visible = not is_readonly()
        introduction = pn.pane.HTML(html(_WATCH if is_readonly() else _TEXT, "font-size:15px"), **stretch)
        self._lessons = pn.Column(**stretch)
        text = pn.Column(introduction, buttons, self._lessons, margin=0,
                         styles={"flex": "1 1 340px"})  # fmt: skip
        empty = {"width": 0, "height": 0, "margin": 0}
        # A page that asks for less motion shows the last frame.
        self._still = pmui.BreakpointSwitcher(media_query="(prefers-reduced-motion: reduce)", small=pn.Spacer(**empty),
                                              large=pn.Spacer(**empty), **empty)  # fmt: skip
        self.plot: NetworkPlot | None = None
        self._picture = pn.Column(margin=0, styles={"flex": "2 1 420px", "min-width": "0"})
        styles = {**CARD, "padding": "24px clamp(12px, 3vw, 28px)", "gap": "24px", "max-height": "none"}
        self.layout = pn.FlexBox(text, self._picture, self._still, styles=styles, **stretch)

    def list_lessons(
        self, lessons: Mapping[str, Lesson], problems: Iterable[str], choose: Callable[[str], None]
    ) -> None:
        """List the lessons, and the problems of files that cannot be read; a click calls ``choose`` with the name."""
        parts: list[Any] = [pmui.Typography("Lessons", variant="subtitle2", margin=(14, 0, 0, 0))]
        for name, lesson in lessons.items():
            button = pmui.Button(label=lesson.title, variant="text", margin=0, sx=_LINK)
            button.on_click(functools.partial(_choose, choose, name))
            parts.append(button)
        parts += [pmui.Alert(object=plain(text), severity="warning", margin=(4, 0)) for text in problems]
        self._lessons.objects = parts

    def tick(self) -> bool:
        """Draw the next frame, about one in a second, up to the last; returns whether it did."""
        if self.plot is None:  # not earlier: a page with an open run never shows it
            self.plot = NetworkPlot(_SHAPE, outputs=_CLASSES, height=380)
            if self._frames:
                self._draw(0)
                self._picture.objects = [network_pane(self.plot)]
            return bool(self._frames)
        self._ticks += 1
        last = len(self._frames) - 1
        if self._ticks % _TICKS or self._at >= last:
            return False
        self._draw(last if self._still.current is self._still.large else self._at + 1)
        return True

    def _draw(self, at: int) -> None:
        assert self.plot is not None
        self._at = at
        self.plot.update(self._frames[at], self._frames[at - 1] if at else None)

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except (TsnnError, OSError) as error:
            self._warn(str(error))

    def _train(self) -> None:
        self._open(enqueue(Config.preset("digits"), self._store).id)

    def _race(self) -> None:
        config = Config.preset("paper/fashion_mnist").replace(RACE)
        self._start_race(variants(config, default_contenders()))


def _choose(choose: Callable[[str], None], name: str, _event: Any) -> None:
    choose(name)
