"""Form of a new sweep: settings with their values, seeds, number of runs, estimates of time and memory, Start."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

from pages.estimate import memory_bytes, memory_text, samples
from pages.settings import EVEN_HEIGHT
from pages.theme import CARD, heading, html, plain
from tsnn.config import Config, describe
from tsnn.datasets import DatasetInfo, guess_task
from tsnn.engine.shapes import layer_shapes
from tsnn.errors import TsnnError
from tsnn.jobs.duration import sweep_seconds
from tsnn.jobs.planning import plan_sweep, sweepable, total_epochs
from tsnn.jobs.queue import cores, cores_of
from tsnn.jobs.sweeps import find_sweep, start_sweep
from tsnn.runs import RunStore
from tsnn.runs.cells import format_value
from tsnn.runs.sweep_plan import Plan
from tsnn.runs.sweeps import create_sweep
from tsnn.views.live.browser import after
from tsnn.views.plots import palette

_MOST_ROWS = 5
_FIRST = ("training.zeta", "network.epsilon")
_MEASURED = 40  # combinations whose size is computed; the others are estimated from them
_FRACTIONS = (0.0, 0.1, 0.3, 0.5, 0.7)
_FACTORS = (0.1, 0.25, 0.5, 1.0)
_WHOLE_FACTORS = (0.25, 0.5, 1.0, 2.0)
_HELP = (
    "Every combination of the values is trained, with each seed. Values are separated by commas; where combinations "
    "are drawn, a range is allowed: 0..0.5, or 0.001..0.1:log. All other settings are those of the form (☰)."
)


def choices() -> dict[str, str]:
    """Return the settings that a page can sweep, by label: numbers, choices, and the hidden layers."""
    found = {}
    for name in sweepable():
        about = describe(name)
        number = isinstance(about.default, int | float)
        if about.choices or number or name == "network.hidden":
            found[about.label] = name
    return found


def suggested(name: str, config: Config) -> str:
    """Return values of a setting to try, as text: around its present value, within its limits."""
    about, value = describe(name), config.flat().get(name)
    if about.choices:
        return ",".join(about.choices)
    if isinstance(value, bool):
        return "false,true"
    if isinstance(value, list | tuple):
        return ",".join("-".join(str(max(1, round(f * n))) for n in value) for f in (0.5, 1.0, 2.0))
    number = float(value or 0)
    tried: tuple[float, ...]
    if isinstance(value, int):
        tried = tuple(round(f * number) for f in _WHOLE_FACTORS) if number else (0, 1, 2)
    elif about.below == 1 and (not number or number >= 0.01) and not (about.slider and about.slider.logarithmic):
        tried = _FRACTIONS
    else:
        tried = tuple(float(f"{f * number:.2g}") for f in _FACTORS) if number else (0.0, 0.1, 1.0)
    return ",".join(dict.fromkeys(format_value(v) for v in tried if _allowed(name, v, config)))


def _allowed(name: str, value: float, config: Config) -> bool:
    try:
        config.replace({name: value})
    except TsnnError:
        return False
    return True


class SweepForm:
    """Settings of a new sweep.

    Parameters
    ----------
    store : RunStore
        Where runs are kept.
    base : callable
        Returns the settings of the form, and the shape of their data if it is known.
    started : callable
        Called with the name of the sweep that has been started.
    """

    def __init__(
        self, store: RunStore, base: Callable[[], tuple[Config, DatasetInfo | None]], started: Callable[[str], None]
    ):
        self._store, self._base, self._started = store, base, started
        self._shown: tuple[Any, ...] = ()
        stretch: dict[str, Any] = {"sizing_mode": "stretch_width", "margin": 0}
        field: dict[str, Any] = {"size": "small", "sx": EVEN_HEIGHT, "margin": (6, 8)}
        self.rows = [self._row(name) for name in _FIRST]
        self._rows = pn.Column(*(row.layout for row in self.rows), **stretch)
        self.add = pmui.Button(label="Add a setting", icon="add", variant="text", size="small", margin=(4, 8))
        self.seeds = pmui.IntInput(label="Seeds", value=3, start=1, end=100, step=1, width=110, **field)
        self.drawn = pmui.IntInput(
            label="Draw at random", value=0, start=0, end=10_000, step=10, width=170, **field,
            description="Number of combinations that are drawn from the values or ranges; 0 takes all.",
        )  # fmt: skip
        self.halving = pmui.Switch(
            label="Successive halving", value=False, width=210, margin=(6, 8),
            description="Trains all for a few epochs, the best third of them three times as long, and so on.",
        )  # fmt: skip
        self.start = pmui.Button(label="Start the sweep", icon="grid_on", variant="contained", margin=(8, 8))
        self.error = pmui.Alert(severity="error", visible=False, margin=(4, 8), sizing_mode="stretch_width")
        self.estimate = pn.pane.HTML("", **{**stretch, "margin": (4, 8)})
        self.layout = pn.Column(
            heading("New sweep", 2, margin=(6, 8)),
            pn.pane.HTML(html(_HELP, "font-size:12.5px;opacity:.75"), **{**stretch, "margin": (0, 8)}),
            self._rows, self.add,
            pn.FlexBox(self.seeds, self.drawn, self.halving, align_items="center", **stretch),
            self.estimate, self.error, self.start, styles={**CARD, "padding": "8px"}, **stretch,
        )  # fmt: skip
        for widget in (self.seeds, self.drawn, self.halving):
            widget.param.watch(lambda _: self.show_estimate(), "value")
        self.add.on_click(lambda _: self._add())
        self.start.on_click(lambda _: self._begin())

    def _row(self, name: str) -> SettingRow:
        return SettingRow(name, self._values, lambda: self.show_estimate(), self._remove)

    def _values(self, name: str) -> str:
        try:
            config, _ = self._base()
        except TsnnError:  # the form of a run names it
            config = Config()
        return suggested(name, config)

    def _add(self) -> None:
        used = {row.setting.value for row in self.rows}
        free = [name for name in choices().values() if name not in used]
        preferred = [name for name in ("training.learning_rate", "training.regrow", "training.method") if name in free]
        self.rows.append(self._row([*preferred, *free][0]))
        self._show_rows()

    def _remove(self, row: SettingRow) -> None:
        self.rows.remove(row)
        self._show_rows()

    def _show_rows(self) -> None:
        self._rows.objects = [row.layout for row in self.rows]
        self.add.visible = len(self.rows) < _MOST_ROWS
        self.show_estimate()

    def plan(self, task: str = "auto") -> Plan:
        """Return the plan of the sweep in the form; ``task`` is that of its data, where the settings leave it open.

        Raises
        ------
        TsnnError
            If a value is not allowed; the message names it.
        """
        config, _ = self._base()
        grid: dict[str, str] = {}
        for row in self.rows:
            name = row.setting.value
            grid[name] = f"{grid[name]},{row.values.value}" if name in grid else row.values.value or ""
        return plan_sweep(
            config, grid, seeds=self.seeds.value or 1, random=self.drawn.value or 0, halving=bool(self.halving.value),
            task=task,
        )  # fmt: skip

    def tick(self) -> None:
        """Update the estimate if the settings of the other form have changed."""
        try:
            state: Any = self._base()[0]
        except TsnnError as error:
            state = str(error)
        if (state,) != self._shown:
            self._shown = (state,)
            self.show_estimate()

    def show_estimate(self) -> None:
        """Show the number of runs, their time and memory, or the error in the settings."""
        self.error.visible = False
        try:
            plan = self.plan()
            text = html(estimate_text(plan, self._base()[1], self._store), "font-size:14px")
            self.start.disabled = False
        except TsnnError as error:
            text = html(escape(str(error)), "font-size:13px;border-left:4px solid #D55E00;padding-left:10px")
            self.start.disabled = True
        if text != self.estimate.object:
            self.estimate.object = text

    def _begin(self) -> None:
        """Answer at once; start when the page has been told."""
        self.start.param.update(disabled=True, label="Starting …")
        after(self._start, 0.05)

    def _start(self) -> None:
        try:
            plan = self.plan(guess_task(self._base()[0].data))
            sweep = find_sweep(self._store, plan) or create_sweep(self._store, plan)
            start_sweep(sweep)
            self._started(sweep.id)
        except (TsnnError, OSError) as error:
            self.error.param.update(object=plain(str(error)), visible=True)
        finally:
            after(functools.partial(self.start.param.update, disabled=False, label="Start the sweep"), 1.0)


class SettingRow:
    """One swept setting: its name, its values, and a button that removes it.

    Parameters
    ----------
    name : str
        Full name of the setting at first.
    suggest : callable
        Returns values to try of a setting.
    changed, remove : callable
        Called when the row has changed; called with the row that is to be removed.
    """

    def __init__(
        self, name: str, suggest: Callable[[str], str], changed: Callable[[], None],
        remove: Callable[[SettingRow], None],
    ):  # fmt: skip
        field: dict[str, Any] = {"size": "small", "sx": EVEN_HEIGHT}
        self.setting = pmui.Select(label="Setting", options=choices(), value=name, width=230, margin=(6, 8), **field)
        self.values = pmui.TextInput(label="Values", value=suggest(name), margin=(6, 8), styles={"flex": "1 1 200px"},
                                     **field)  # fmt: skip
        self.remove = pmui.IconButton(icon="close", label="", description="Remove this setting", size="small",
                                      margin=(8, 4))  # fmt: skip
        self.layout = pn.FlexBox(self.setting, self.values, self.remove, align_items="center", margin=0,
                                 sizing_mode="stretch_width")  # fmt: skip
        self.setting.param.watch(lambda event: self.values.param.update(value=suggest(event.new)), "value")
        self.values.param.watch(lambda _: changed(), "value")
        self.remove.on_click(lambda _: remove(self))


def estimate_text(plan: Plan, info: DatasetInfo | None, store: RunStore) -> str:
    """Return a sentence about the runs of a plan: their number, time and memory, as HTML."""
    points = list({tuple(point.items()): point for point, _ in plan.trials}.values())
    runs, seeds = len(plan.trials), len(plan.seeds)
    text = f"<b>{runs:,} run{'s'[: runs != 1]}</b>: {len(points):,} combination{'s'[: len(points) != 1]} of settings"
    text += f" with {seeds} seeds each." if seeds > 1 else ", one seed each."
    if info is None or info.n_classes is None:
        return f"{text} Time and memory are not known before the file has been read."
    configs = [plan.base.replace(point) for point in points[:: max(1, math.ceil(len(points) / _MEASURED))]]
    side_by_side = max(1, min(runs, cores() // cores_of(plan.base)))
    memory = side_by_side * max(memory_bytes(config, info) for config in configs)
    text += f" {side_by_side} at a time, with up to {memory_text(memory)} of memory together."
    sizes = [sum(n for _, _, n in layer_shapes(info.n_features, info.n_classes, config)) for config in configs]
    seconds = sweep_seconds(store, list(zip(configs, sizes, strict=True)), samples=samples(plan.base, info)[0],
                            epochs=total_epochs(plan), trials=runs)  # fmt: skip
    if seconds is None:
        return f"{text} The time can be estimated after a first run."
    return f"{text} Takes about <b>{palette.duration(seconds)}</b>, estimated from earlier runs."
