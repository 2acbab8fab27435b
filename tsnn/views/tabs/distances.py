"""Card of compared runs: the distances between their topologies (NNSTD), and a button that measures them."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import panel as pn
import panel_material_ui as pmui

from tsnn.errors import TsnnError
from tsnn.files import file_mark
from tsnn.jobs.measurement import Measurement, start_measurement
from tsnn.runs.measures import FILE, known_distance, measurable_epochs
from tsnn.runs.store import is_readonly
from tsnn.views.live import icons
from tsnn.views.live.follower import RunFollower
from tsnn.views.tabs.cards import Card
from tsnn.views.tabs.measures import STYLE

MOST = 8  #: runs whose distances are listed
Pair = tuple[int, int]


class DistanceCard:
    """Distances between the topologies of compared runs, each pair once.

    Parameters
    ----------
    root : Path
        Folder of the runs.

    Attributes
    ----------
    card : Card
        Hidden unless two runs have networks of the same sizes.
    """

    def __init__(self, root: Path):
        self._root = root
        self._rows: list[tuple[str, RunFollower]] = []
        self._drawn: tuple[Any, ...] = ()
        self._missing: list[Pair] = []
        self._pending: list[Pair] = []
        self._current: Measurement | None = None
        self.table = pn.pane.HTML("", sizing_mode="stretch_width", margin=(4, 12))
        self.button = pmui.Button(label="Measure", icon=icons.RULER, variant="outlined", size="small", margin=(6, 8))
        self.button.on_click(lambda _: self._start())
        self.problem = pmui.Alert(severity="error", visible=False, closeable=True, margin=(4, 8),
                                  sizing_mode="stretch_width")  # fmt: skip
        self.card = Card(self.table, "distances", self.problem, self.button, visible=False)

    def show(self, rows: Sequence[tuple[str, RunFollower]]) -> None:
        """Show the distances between these runs, given with their labels; of groups over seeds, of their first runs."""
        rows = list(rows)[:MOST]
        if [(label, f.run.path) for label, f in rows] != [(label, f.run.path) for label, f in self._rows]:
            self._pending, self._drawn = [], ()
        self._rows = rows
        self.update()

    def update(self) -> None:
        """Show new distances, and measure the next pair."""
        running = self._current is not None and self._current.running
        if self._current is not None and not running:
            if problem := self._current.problem:
                self._pending = []
                self.problem.param.update(object=escape(problem), visible=True)
            self._current = None
        if self._pending and not running:
            self._next()
            running = self._current is not None
        state = (
            tuple(
                (label, f.run.path, tuple(f.sizes), f.version, file_mark(f.run.path / FILE)) for label, f in self._rows
            ),
            running,
        )
        if state != self._drawn:
            self._drawn = state
            self._draw(running)

    def _draw(self, running: bool) -> None:
        pairs = [pair for pair in combinations(range(len(self._rows)), 2) if self._comparable(*pair)]
        lines = {(a, b): known_distance(self._rows[a][1].run, self._rows[b][1].run) for a, b in pairs}
        known = {pair: line for pair, line in lines.items() if line is not None}
        self._missing = [pair for pair, line in lines.items() if line is None]
        n = len(self._missing)
        label = "Measuring …" if running else f"Measure {n} distance{'s'[: n != 1]}"
        self.button.param.update(label=label, disabled=running, visible=bool(n) and not is_readonly())
        text = table_html([label for label, _ in self._rows], known) if known else ""
        self.table.param.update(object=text, visible=bool(text))
        self.card.set_note("" if text else "Nothing has been measured yet.")
        self.card.visible = bool(known) or (bool(pairs) and not is_readonly())

    def _comparable(self, a: int, b: int) -> bool:
        """Return whether two runs have networks of the same sizes, and checkpoints or starts that are known."""
        first, second = self._rows[a][1], self._rows[b][1]
        try:
            known = all(measurable_epochs(f.run) for f in (first, second))
        except TsnnError:
            return False
        return known and len(first.sizes) > 1 and list(first.sizes) == list(second.sizes)

    def _start(self) -> None:
        self.problem.visible = False
        self._pending = list(self._missing)
        self.update()

    def _next(self) -> None:
        """Start the process that measures the distances of the next run from all others that are missing."""
        first = self._pending[0][0]
        runs = [f.run for _, f in self._rows]
        names = [runs[b].path.relative_to(self._root).as_posix() for a, b in self._pending if a == first]
        self._pending = [pair for pair in self._pending if pair[0] != first]
        try:
            self._current = start_measurement(runs[first], "--distance", *names, root=self._root)
        except TsnnError as error:
            self._pending = []
            self.problem.param.update(object=escape(str(error)), visible=True)


def table_html(labels: Sequence[str], known: Mapping[Pair, Mapping[str, Any]]) -> str:
    """Return the distances as a table: means over the layers, those of random twins in brackets, layers on hovering."""
    numbers = range(len(labels))
    head = "".join(f"<th scope='col'>{escape(labels[b])}</th>" for b in numbers[1:])
    body = ""
    for a in numbers[:-1]:
        cells = "".join(f"<td{_cell(known[a, b])}</td>" if (a, b) in known else "<td></td>" for b in numbers[1:])
        body += f"<tr><th scope='row'>{escape(labels[a])}</th>{cells}</tr>"
    return (
        f"{STYLE}<div tabindex='0' role='region' aria-label='Distances between topologies' style='overflow-x: auto'>"
        f"<table class='measures'><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(line: Mapping[str, Any]) -> str:
    layers = "; ".join(f"layer {l}: {value:.1%}" for l, value in enumerate(line["layers"], start=1))
    epochs = f"after epochs {line['epoch']:,} and {line['other_epoch']:,}"
    return f" title='{layers}; {epochs}'>{fmean(line['layers']):.1%} <small>({fmean(line['random']):.1%})</small>"
