"""Measures in the Connectivity tab: curves of those gathered while training, a table of those computed afterwards."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

from tsnn.errors import TsnnError
from tsnn.files import file_mark
from tsnn.jobs.measurement import measurement_of, start_measurement
from tsnn.runs.measures import FILE, Measures, expected_seconds, format_layer, measurable_epochs, read_measures
from tsnn.runs.store import is_readonly
from tsnn.views.history import History
from tsnn.views.live import icons
from tsnn.views.live.follower import RunFollower
from tsnn.views.plots import curves, palette
from tsnn.views.tabs.cards import Card, card
from tsnn.views.tabs.replay import Replay

STYLE = """<style>
.measures {border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; white-space: nowrap}
.measures caption {text-align: left; white-space: normal; padding: 2px 0 6px}
.measures th {font-weight: 400; text-align: left; padding: 3px 16px 3px 0}
.measures thead th {font-weight: 700; text-align: right}
.measures td {text-align: right; padding: 3px 16px 3px 0}
.measures tbody > tr > * {border-top: 1px solid color-mix(in srgb, currentColor 14%, transparent)}
.measures small {opacity: .75}
</style>"""
#: Rows of the table: measure, its name and its meaning.
_ROWS = {
    "hubs_out": ("Hubs at the start", "neurons with more connections than chance gives any neuron of a random layer"),
    "hubs_in": ("Hubs at the end", "neurons with more connections than chance gives any neuron of a random layer"),
    "cut_off": ("Cut off", "neurons at the start without a path to an output"),
    "clustering": ("Clustering", "fraction of the paths of three connections that are closed to a cycle of four"),
    "modularity": ("Modularity", "connections within communities, more than chance gives"),
    "path_length": ("Path length", "mean number of connections between two neurons of the layer"),
    "small_world": ("Small-world index", "clustering by path length, both divided by those of the random twin"),
}
_MOST_DISTANCES = 6


class MeasureCards:
    """Curves of ITOP rate and gradient flow, where they were gathered, and the table with its button.

    Attributes
    ----------
    cards : list of Card
        The cards; curves are hidden until there are values.
    """

    def __init__(self, follower: RunFollower, replay: Replay):
        self._follower, self._replay = follower, replay
        self._drawn: tuple[Any, ...] = ()
        self._epoch = 0  # the epoch that the button measures
        layers = len(follower.sizes) - 1
        self.plots = {"itop": curves.itop_plot(layers), "gradient_flow": curves.gradient_flow_plot(layers)}
        self._curves = {name: card(plot.figure, name, visible=False) for name, plot in self.plots.items()}
        self.table = pn.pane.HTML("", sizing_mode="stretch_width", margin=(4, 12))
        self.button = pmui.Button(label="Measure", icon=icons.RULER, variant="outlined", size="small", margin=(6, 8),
                                  visible=not is_readonly())  # fmt: skip
        self.button.on_click(lambda _: self._start())
        self.problem = pmui.Alert(severity="error", visible=False, closeable=True, margin=(4, 8),
                                  sizing_mode="stretch_width")  # fmt: skip
        self.card = Card(self.table, "measures", self.problem, self.button)
        self.card.styles = {**self.card.styles, "grid-column": "1 / -1"}
        self.cards = [*self._curves.values(), self.card]

    def update(self) -> None:
        """Draw new records, and the measures of the timeline's epoch."""
        run, history = self._follower.run, self._follower.history
        running = measurement_of(run)
        state = (
            self._replay.epoch, history.version, self._follower.version, bool(running and running.running),
            file_mark(run.path / FILE),
        )  # fmt: skip
        if state == self._drawn:
            return
        self._drawn = state
        self._draw_curves(history)
        epochs = _epochs(self._follower)
        at = self._replay.epoch or 0
        self._epoch = max((e for e in epochs if e <= at), default=0)
        found = read_measures(run)
        measured = max((e for e in found.topologies if e <= at), default=min(found.topologies, default=None))
        text = "" if measured is None else table_html(found, measured)
        if text != self.table.object or self.table.visible != bool(text):
            self.table.param.update(object=text, visible=bool(text))
        self.card.set_note("" if text else "Nothing has been measured yet.")
        self._update_button(bool(epochs), state[3], self._epoch in found.topologies)
        if running and running.problem:
            self._warn(running.problem)

    def _draw_curves(self, history: History) -> None:
        for name, plot in self.plots.items():
            recorded = history.last(f"{name}_0") is not None
            if recorded:
                curves.fit_epochs(plot.figure.x_range, history)
                plot.update(history)
                plot.show_cursor(self._replay.cursor)
                self._curves[name].set_note(cost_note(history) if name == "itop" else "")
            if self._curves[name].visible != recorded:
                self._curves[name].visible = recorded

    def _update_button(self, possible: bool, running: bool, known: bool) -> None:
        seconds = palette.duration(expected_seconds(int(self._follower.history.last("connections") or 0)))
        label = f"Epoch {self._epoch:,} is measured" if known else f"Measure epoch {self._epoch:,} (about {seconds})"
        label = "Measuring …" if running else label
        if self.button.label != label or self.button.disabled != (known or running or not possible):
            self.button.param.update(label=label, disabled=known or running or not possible)

    def _start(self) -> None:
        self.problem.visible = False
        try:
            start_measurement(self._follower.run, "--epoch", str(self._epoch))
        except TsnnError as error:
            self._warn(str(error))
        self._drawn = ()
        self.update()

    def _warn(self, text: str) -> None:
        self.problem.param.update(object=escape(text), visible=True)


def _epochs(follower: RunFollower) -> list[int]:
    try:
        return measurable_epochs(follower.run)
    except TsnnError:
        return []


def cost_note(history: History) -> str:
    """Return a sentence about the time that the measures take while training."""
    seconds = history["seconds_measure"]
    total = sum(history[f"seconds_{part}"].sum() for part in ("train", "evolve", "evaluate")) or 1.0
    return f"Cost: {seconds.mean():.2g} s for each epoch, {seconds.sum() / total:.1%} of its time."


def table_html(found: Measures, epoch: int) -> str:
    """Return the measures of an epoch as a table: a column for each layer, the random twin's values in brackets."""
    line = found.topologies[epoch]
    layers: Sequence[Mapping[str, Any]] = line["layers"]
    head = "".join(
        f"<th scope='col' title='{layer['n_in']:,} to {layer['n_out']:,} neurons'>Layer {l}</th>"
        for l, layer in enumerate(layers, start=1)
    )
    body = "".join(
        f"<tr><th scope='row' title='{escape(about)}'>{name}</th>"
        + "".join(f"<td>{_cell(layer, measure)}</td>" for layer in layers)
        + "</tr>"
        for measure, (name, about) in _ROWS.items()
    )
    near = sorted(
        (key for key in found.distances if key[0] == epoch and not key[1]), key=lambda key: (key[2] != 0, -key[2])
    )
    for key in sorted(near[:_MOST_DISTANCES], key=lambda key: key[2]):
        distance = found.distances[key]
        pairs = zip(distance["layers"], distance["random"], strict=False)
        cells = "".join(f"<td>{own:.1%} <small>({chance:.1%})</small></td>" for own, chance in pairs)
        body += f"<tr><th scope='row'>Distance to epoch {key[2]:,}</th>{cells}</tr>"
    caption = f"Topology after epoch {epoch:,}; in brackets that of a random twin. Took {line['seconds']:.1f} s."
    return (
        f"{STYLE}<div tabindex='0' role='region' aria-label='Measures of the topology' style='overflow-x: auto'>"
        f"<table class='measures'><caption>{caption}</caption><thead><tr><td></td>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(layer: Mapping[str, Any], name: str) -> str:
    value, chance = format_layer(layer, name)
    return f"{value} <small>({chance})</small>" if chance else value
