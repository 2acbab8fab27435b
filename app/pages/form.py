"""Form for a new run: settings, preview of the network with estimates, Start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

from pages.settings import ADVANCED, BASIC, EVEN_HEIGHT, setting_widget, widget_value
from pages.theme import html
from tsnn.config import SECTIONS, Config, DataConfig
from tsnn.datasets import DatasetInfo, guess_task, known_datasets
from tsnn.engine.memory import memory_estimate
from tsnn.engine.shapes import layer_shapes
from tsnn.errors import ConfigError, TsnnError
from tsnn.jobs.duration import seconds_per_connection
from tsnn.jobs.queue import enqueue
from tsnn.runs import RunStore
from tsnn.runs.catalog import catalog
from tsnn.views.plots import palette

#: First preset of the page, a run of half a minute on the bundled images. Not the papers' settings (``tsnn train
#: fashion_mnist``): as accurate (85.6 against 85.7 % after 60 epochs, three seeds), and it shows that evolution finds
#: informative pixels: connections of a pixel in the centre over those of one at the border are 2.5 to 3.1, with the
#: papers' settings 1.0 (``python -m tests.benchmarks.demonstration``).
DEMONSTRATION = {
    "data.name": "fashion_mnist",
    "data.size": "small",
    "data.preprocessing": "minmax",
    "training.regrow": "gradient",
    "training.learning_rate": 0.03,
    "training.epochs": 200,
}
_FILE = "a file"
_TABLE = "width:100%;border-collapse:collapse;font-size:12px;font-variant-numeric:tabular-nums"
_MAX_LAYERS = 6
_CLEAR = {"backgroundColor": "transparent", "backgroundImage": "none"}
_ACCORDION = {**_CLEAR, "& .MuiPaper-root": _CLEAR}  # its own colour does not follow the theme


def preset(data: str) -> Config:
    """Return the settings that the form loads for a data set."""
    config = Config.preset(data)
    return config.replace(DEMONSTRATION) if data == DEMONSTRATION["data.name"] else config


class StartForm:
    """Settings of a new run.

    Parameters
    ----------
    store : RunStore
        Where runs are kept.
    open_run : callable
        Called with the id of the started run.
    """

    def __init__(self, store: RunStore, open_run: Callable[[str], None]):
        self._store, self._open = store, open_run
        self._known = {info.name: info for info in known_datasets()}
        self._loading = False
        self._preset = preset(str(DEMONSTRATION["data.name"]))
        self.data = pmui.Select(
            label="Data set", options=self._data_options(), value=self._preset.data.name, size="small",
            sizing_mode="stretch_width", margin=(6, 4), sx=EVEN_HEIGHT,
            description="Choosing one loads the papers' settings for it; for Fashion-MNIST those of a demonstration.",
        )  # fmt: skip
        self.path = pmui.TextInput(
            label="Path of a .npz, .csv or .parquet file", size="small", sizing_mode="stretch_width", margin=(6, 4),
            visible=False,
        )  # fmt: skip
        self.widgets = {name: setting_widget(name, self._preset) for name in BASIC if name != "data.name"}
        self.widgets |= {name: setting_widget(name, self._preset, help_below=True) for name in ADVANCED}
        self.start = pmui.Button(
            label="Start", icon="play_arrow", color="primary", variant="contained", size="large",
            sizing_mode="stretch_width", margin=(8, 4),
        )  # fmt: skip
        self.error = pmui.Alert(severity="error", visible=False, margin=(8, 4), sizing_mode="stretch_width")
        self.preview = pn.pane.HTML(self._preview(), sizing_mode="stretch_width", margin=(6, 4))
        self.layout = self._layout()
        self.data.param.watch(self._data_chosen, "value")
        for widget in (self.path, *self.widgets.values()):
            widget.param.watch(self._changed, "value")
        for widget in (self.path, self.widgets["data.task"], self.widgets["data.target"]):
            widget.param.watch(self._file_chosen, "value")
        self.start.on_click(self._start)

    def config(self) -> Config:
        """Return the configuration in the form.

        Raises
        ------
        ConfigError
            If a value is not allowed; the message names it.
        """
        changes = self._changes()
        if self.data.value == _FILE:
            if not self.path.value.strip():
                raise ConfigError("No file is named. Type the path of a .npz, .csv or .parquet file.")
            changes["data.name"] = self.path.value.strip()
        lists = {"data.drop", "data.missing_marks"}  # may be empty
        empty = {name for name, value in changes.items() if value in (None, "")} - lists
        if missing := sorted(empty - {"data.target"}):
            raise ConfigError(f"{missing[0]} is empty. Type a value.")
        return self._preset.replace({k: None if k in empty else v for k, v in changes.items()})

    def _changes(self) -> dict[str, Any]:
        """Return the values of the widgets that differ from the preset."""
        values = self._preset.flat()
        return {
            name: widget.value
            for name, widget in self.widgets.items()
            if widget.value != widget_value(values.get(name))
        }

    def _layout(self) -> Any:
        w = self.widgets

        def pair(left: str, right: str) -> Any:
            return pn.Row(w[left], w[right], sizing_mode="stretch_width", margin=0)

        fields: list[Any] = []
        for section, cls in SECTIONS.items():
            fields.append(pmui.Typography(cls.title, variant="subtitle2", margin=(8, 4, 0, 4)))
            fields += [w[name] for name in ADVANCED if name.startswith(f"{section}.")]
        advanced = pmui.Accordion(
            ("Advanced", pn.Column(*fields, sizing_mode="stretch_width", margin=0)), sizing_mode="stretch_width",
            margin=(8, 4), disable_gutters=True, title_variant="subtitle2", sx=_ACCORDION, dynamic=True,
        )  # fmt: skip
        return pn.Column(
            self.data,
            self.path,
            pair("data.size", "training.method"),
            w["network.hidden"],
            pair("network.epsilon", "training.zeta"),
            pair("training.epochs", "training.learning_rate"),
            pair("network.activation", "network.alpha"),
            pair("network.dropout", "run.seed"),
            self.preview,
            self.error,
            self.start,
            advanced,
            sizing_mode="stretch_width",
            margin=0,
        )

    def _data_options(self) -> dict[str, str]:
        options = {}
        for name, info in self._known.items():
            note = "" if info.available else " (will be downloaded)" if info.sizes else " (needs a file in TSNN_DATA)"
            options[info.title + note] = name
        return {**options, "A file of your own …": _FILE}

    def load(self, config: Config) -> None:
        """Load a configuration into the form."""
        known = config.data.name in self._known
        self._fill(config, config.data.name if known else _FILE, "" if known else config.data.name)

    def _data_chosen(self, event: Any) -> None:
        if not self._loading:
            self._fill(Config() if event.new == _FILE else preset(event.new), event.new)

    def _file_chosen(self, _event: Any) -> None:
        """Load the preset for the task of the file, and keep changed settings."""
        name = self.path.value.strip()
        if self._loading or self.data.value != _FILE or not name:
            return
        changes = self._changes()
        data = DataConfig(name, task=self.widgets["data.task"].value, target=self.widgets["data.target"].value or None)
        self._fill(Config.preset(name, guess_task(data)), _FILE, self.path.value, changes)

    def _fill(self, config: Config, data: str, path: str = "", changes: Mapping[str, Any] | None = None) -> None:
        self._preset = config
        values = config.flat()
        self._loading = True
        try:
            self.data.value = data
            self.path.param.update(value=path, visible=data == _FILE)
            for name, widget in self.widgets.items():
                widget.value = (changes or {}).get(name, widget_value(values.get(name)))
        finally:
            self._loading = False
        self._changed()

    def _changed(self, *_events: Any) -> None:
        if not self._loading:
            self._show_error("")
            self.show_estimate()

    def show_estimate(self) -> None:
        """Show the network of these settings, with estimates of memory and time from the present runs."""
        self.preview.object = self._preview()

    def _preview(self) -> str:
        """Return the layers, memory and time of these settings as HTML, or the error in them."""
        try:
            config = self.config()
        except ConfigError as error:
            return html(escape(str(error)), "font-size:13px;border-left:4px solid #D55E00;padding-left:10px")
        info = self._known.get(config.data.name)
        if info is None or info.n_classes is None:
            return html("Layer sizes appear once the file is read.", "font-size:13px;opacity:.75")
        shapes = layer_shapes(info.n_features, info.n_classes, config)
        total, dense = sum(n for _, _, n in shapes), sum(a * b for a, b, _ in shapes)
        rows = "".join(
            f"<tr><td>{a:,} → {b:,}</td><td style='text-align:right'>{n:,}</td>"
            f"<td style='text-align:right'>{palette.small_percent(n / a / b)}</td></tr>"
            for a, b, n in shapes[:_MAX_LAYERS]
        )
        more = "" if len(shapes) <= _MAX_LAYERS else f"<tr><td>… {len(shapes)} layers</td></tr>"
        muted = "opacity:.7;font-weight:400"
        return html(
            f"<table style='{_TABLE}'><tr><th style='text-align:left;{muted}'>layer</th>"
            f"<th style='text-align:right;{muted}'>connections</th><th style='text-align:right;{muted}'>density</th>"
            f"</tr>{rows}{more}</table><div style='font-size:13px;margin-top:4px'><b>{total:,} connections</b>, "
            f"{palette.small_percent(total / dense)} of a dense network's {dense:,}. "
            f"Takes about {_memory(config, info)} of memory. {self._time(config, info, total)}</div>"
        )

    def _show_error(self, text: str) -> None:
        self.error.param.update(object=escape(text) or " ", visible=bool(text))

    def _start(self, _event: Any) -> None:
        self._show_error("")
        try:
            run = enqueue(self.config(), self._store)
        except (TsnnError, OSError) as error:
            self._show_error(str(error))
            return
        self._open(run.id)

    def _time(self, config: Config, info: DatasetInfo, connections: int) -> str:
        """Estimate the time of a run from earlier runs on this machine, as text."""
        speed = seconds_per_connection(self._store, catalog(self._store).summaries(), connections=connections,
                     method=config.training.method)  # fmt: skip
        if speed is None:
            return "First run: no time estimate yet."
        seconds = speed * connections * info.sizes[_size(config, info)][0]
        total = palette.duration(seconds * config.training.epochs)
        return f"Takes about {total}, {palette.duration(seconds)} per epoch, estimated from earlier runs."


def _size(config: Config, info: DatasetInfo) -> str:
    if config.data.size in info.sizes:
        return config.data.size
    return "full" if "full" in info.local or "small" not in info.sizes else "small"


def _memory(config: Config, info: DatasetInfo) -> str:
    """Estimate the memory of a run, as text."""
    size = _size(config, info)
    estimate = memory_estimate(
        config, info.n_features, info.n_classes or 1, sum(info.sizes[size]), data_bytes=0 if info.on_demand else None,
        processes=1 + config.parallel.workers,
    )  # fmt: skip
    return f"{estimate.total / 2**30:.1f} GiB" if estimate.total >= 2**30 else f"{estimate.total / 2**20:.0f} MiB"
