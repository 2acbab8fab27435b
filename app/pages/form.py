"""Form for a new run: data, settings, preview of the network with estimates, Start."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

from pages.estimate import network_estimate
from pages.own_data import FILE_SETTINGS, OwnData
from pages.settings import ADVANCED, BASIC, EVEN_HEIGHT, setting_widget, widget_value
from pages.theme import heading, html, plain
from tsnn.config import SECTIONS, Config
from tsnn.datasets import DatasetInfo, known_datasets
from tsnn.datasets.preview import Preview
from tsnn.errors import ConfigError, DataError, TsnnError
from tsnn.jobs.queue import enqueue
from tsnn.runs import RunStore
from tsnn.views.live.browser import after

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
_HEAD = {
    "position": "sticky", "top": "56px", "bottom": "0", "z-index": "3", "padding": "8px 14px",
    "background": "var(--panel-surface-color)",
}  # fmt: skip
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
        self._suggest, self._new_file = True, False
        self._preset = preset(str(DEMONSTRATION["data.name"]))
        self.data = pmui.Select(
            label="Data set", options=self._data_options(), value=self._preset.data.name, size="small",
            sizing_mode="stretch_width", margin=(6, 4), sx=EVEN_HEIGHT,
            description="Choosing one loads the papers' settings for it; for Fashion-MNIST those of a demonstration.",
        )  # fmt: skip
        self.own = OwnData(store.root / "uploads", self._file_checked)
        self.path = self.own.path
        self.widgets = {name: setting_widget(name, self._preset) for name in BASIC if name != "data.name"}
        self.widgets |= {name: setting_widget(name, self._preset, help_below=True) for name in ADVANCED}
        self.widgets |= self.own.widgets
        self.start = pmui.Button(label="Start", icon="play_arrow", color="primary", variant="contained",
                                 sizing_mode="stretch_width", margin=0)  # fmt: skip
        #: Title and Start; they stay in sight wherever the form is scrolled.
        self.head = pn.Row(heading("New run", 2, margin=(6, 0, 0, 0), width=80), self.start, styles=_HEAD, margin=0,
                           sizing_mode="stretch_width")  # fmt: skip
        self.error = pmui.Alert(severity="error", visible=False, margin=(8, 4), sizing_mode="stretch_width")
        self.preview = pn.pane.HTML(self._preview(), sizing_mode="stretch_width", margin=(6, 4))
        self.layout = self._layout()
        self.data.param.watch(self._data_chosen, "value")
        for widget in self.widgets.values():
            widget.param.watch(self._changed, "value")
        self.path.param.watch(self._file_chosen, "value")
        for name in (name for name in self.widgets if name.startswith("data.")):
            self.widgets[name].param.watch(self._check, "value")
        self.own.use.on_click(self._use_suggested)
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
                raise ConfigError("No file is chosen. Drop one into the form, or type its path.")
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
            if widget.value != _value(name, values.get(name))
        }

    def _layout(self) -> Any:
        w = self.widgets

        def pair(left: str, right: str) -> Any:
            return pn.Row(w[left], w[right], sizing_mode="stretch_width", margin=0)

        fields: list[Any] = []
        for section, cls in SECTIONS.items():
            fields.append(heading(cls.title, 4, margin=(8, 4, 0, 4)))
            names = (name for name in ADVANCED if name not in FILE_SETTINGS)
            fields += [w[name] for name in names if name.startswith(f"{section}.")]
        advanced = pmui.Accordion(
            ("Advanced", pn.Column(*fields, sizing_mode="stretch_width", margin=0)), sizing_mode="stretch_width",
            margin=(8, 4), disable_gutters=True, title_variant="body2", sx=_ACCORDION, dynamic=True,
        )  # fmt: skip
        return pn.Column(
            self.error,
            self.data,
            self.own.layout,
            pair("data.size", "training.method"),
            w["network.hidden"],
            pair("network.epsilon", "training.zeta"),
            pair("training.epochs", "training.learning_rate"),
            pair("network.activation", "network.alpha"),
            pair("network.dropout", "run.seed"),
            self.preview,
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
        """Load a configuration into the form; the settings stay as they are when its file has been checked."""
        known = config.data.name in self._known
        self._fill(config, config.data.name if known else _FILE, "" if known else config.data.name)
        self._suggest = False
        self._check()

    def _data_chosen(self, event: Any) -> None:
        if not self._loading:
            self._suggest = True
            self._fill(Config() if event.new == _FILE else preset(event.new), event.new)
            self._check()

    def _file_chosen(self, _event: Any) -> None:
        if not self._loading:
            self._suggest = self._new_file = True
            self._changed()
            self._check()

    def _check(self, *_events: Any) -> None:
        """Check the file of one's own, if there is one, with these settings."""
        if self._loading:
            return
        if self.data.value != _FILE or not self.path.value.strip():
            self.own.clear()
            return
        try:
            self.own.check(self.config())
        except ConfigError:
            self.own.clear()  # the preview of the network names the error

    def _file_checked(self, found: Preview) -> None:
        """Load the settings that suit the data, except where they were changed by hand."""
        if self._new_file and found.names:
            self._new_file = False
            if self._forget_columns(found.names):
                self._check()
                return
        if self._suggest and not found.problem:
            path, changes = self.path.value, self._changes()
            self._fill(Config.preset(path.strip(), found.task).replace(found.settings), _FILE, path, changes)
        self._changed()

    def _forget_columns(self, names: Collection[str]) -> bool:
        """Forget the target and columns to leave out that another file had; returns whether there were any."""
        target, drop = self.widgets["data.target"], self.widgets["data.drop"]
        kept = [name for name in drop.value if name in names]
        known = not target.value or target.value in names
        if known and len(kept) == len(drop.value):
            return False
        self._loading = True
        try:
            target.value, drop.value = target.value if known else None, kept
        finally:
            self._loading = False
        return True

    def _use_suggested(self, _event: Any) -> None:
        found = self.own.preview
        if found is not None:
            for name, value in self._suggested(found).items():
                self.widgets[name].value = _value(name, value)

    def _suggested(self, found: Preview) -> dict[str, Any]:
        """Return the settings for task and shape of a file."""
        config = Config.preset(self.path.value.strip(), found.task).replace(found.settings).flat()
        default = Config().flat()
        changed = {name for name, value in config.items() if value != default.get(name)}
        return {name: config[name] for name in (changed | {*found.settings}) - {"data.name"}}

    def _fill(self, config: Config, data: str, path: str = "", changes: Mapping[str, Any] | None = None) -> None:
        self._preset = config
        values = config.flat()
        self._loading = True
        try:
            self.data.value = data
            self.path.value = path
            self.own.layout.visible = data == _FILE
            self.widgets["data.size"].visible = data != _FILE  # only names have sizes
            for name, widget in self.widgets.items():
                value = (changes or {}).get(name, _value(name, values.get(name)))
                if name == "data.drop":
                    widget.options = [*dict.fromkeys([*widget.options, *value])]
                widget.value = value
        finally:
            self._loading = False
        self._changed()

    def _changed(self, *_events: Any) -> None:
        if not self._loading:
            self._show_error("")
            self.show_estimate()
            found = self.own.preview
            self.own.use.visible = found is not None and any(
                self.widgets[name].value != _value(name, value) for name, value in self._suggested(found).items()
            )

    def show_estimate(self) -> None:
        """Show the network of these settings, with estimates of memory and time from the present runs."""
        self.preview.object = self._preview()

    def _preview(self) -> str:
        """Return the layers, memory and time of these settings as HTML, or the error in them."""
        try:
            config = self.config()
        except ConfigError as error:
            return html(escape(str(error)), "font-size:13px;border-left:4px solid #D55E00;padding-left:10px")
        return network_estimate(config, self._info(config), self._store)

    def _info(self, config: Config) -> DatasetInfo | None:
        """Return the shape of the data, if it is known."""
        if self.data.value == _FILE:
            return self.own.preview.info if self.own.preview is not None else None
        return self._known.get(config.data.name)

    def _show_error(self, text: str) -> None:
        self.error.param.update(object=plain(text), visible=bool(text))

    def _start(self, _event: Any) -> None:
        """Answer at once; start the run when the page has been told. Clicks in between start no other run."""
        if self.start.disabled:
            return
        self.start.param.update(disabled=True, label="Starting …")
        after(self._start_run, 0.05)

    def _start_run(self) -> None:
        self._show_error("")
        try:
            config = self.config()
            if self.data.value == _FILE and (problem := self.own.problem()):
                raise DataError(problem)
            run = enqueue(config, self._store)
            self.own.show_card(False)
            self._open(run.id)
        except (TsnnError, OSError) as error:
            self._show_error(str(error))
        finally:  # clicks that arrived meanwhile are still to be handled
            after(lambda: self.start.param.update(disabled=False, label="Start"), 1.0)


def _value(name: str, value: Any) -> Any:
    """Return the value of a setting as that of its widget in the form."""
    if name == "data.target":
        return value or None
    return list(value or ()) if name == "data.drop" else widget_value(value)
