"""Form for a new run: data, settings, preview of the network with estimates, Start."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

from pages.estimate import network_estimate
from pages.own_data import FILE_SETTINGS, OwnData
from pages.presets import DEMONSTRATION, data_options, presets, presets_widget, show_presets
from pages.settings import (
    ADVANCED,
    BASIC,
    EVEN_HEIGHT,
    LazyWidgets,
    by_section,
    form_value,
    setting_widget,
    show_value,
)
from pages.start_buttons import StartButtons
from pages.theme import heading, html
from tsnn.config import Config
from tsnn.datasets import DatasetInfo, known_datasets
from tsnn.datasets.preview import Preview
from tsnn.errors import ConfigError, DataError
from tsnn.jobs.queue import enqueue
from tsnn.runs import RunStore

_FILE = "a file"
_HEAD = {
    "position": "sticky", "top": "56px", "bottom": "0", "z-index": "3", "padding": "8px 14px",
    "background": "var(--panel-surface-color)",
}  # fmt: skip
_CLEAR = {"backgroundColor": "transparent", "backgroundImage": "none"}
_ACCORDION = {**_CLEAR, "& .MuiPaper-root": _CLEAR}  # its own colour does not follow the theme


class StartForm:
    """Settings of a new run.

    The parts *A file of your own* and *Advanced* are made when they are opened: their sixty widgets would take two of
    three megabytes in every page. A setting without a widget has the value of the preset.

    Parameters
    ----------
    store : RunStore
        Where runs are kept.
    open_run : callable
        Called with the id of the started run.
    race : callable
        Called with the settings of runs that are to race.
    """

    def __init__(
        self, store: RunStore, open_run: Callable[[str], None],
        race: Callable[[list[Config]], None] = lambda configs: None,
    ):  # fmt: skip
        self._store, self._open = store, open_run
        self._known = {info.name: info for info in known_datasets()}
        self._loading = False
        self._suggest, self._new_file = True, False
        self._preset = next(iter(presets(str(DEMONSTRATION["data.name"])).values()))
        self.data = pmui.Select(
            label="Data set", options={**data_options(self._known.values()), "A file of your own …": _FILE},
            value=self._preset.data.name, size="small",
            sizing_mode="stretch_width", margin=(6, 4), sx=EVEN_HEIGHT,
            description="Choosing one loads settings for it; for Fashion-MNIST those of a demonstration.",
        )  # fmt: skip
        self.presets = presets_widget(self._preset.data.name, self._preset)
        hidden: dict[str, Any] = {"sizing_mode": "stretch_width", "margin": 0, "visible": False}
        self._made_own: OwnData | None = None
        self._own_fields = pn.Column(**hidden)
        self.own_card = pn.Column(styles={"max-height": "none", "flex-shrink": "0"}, **hidden)  #: of the page, not here
        self._advanced = pn.Column(sizing_mode="stretch_width", margin=0)
        self.buttons = StartButtons(self._checked_config, self._start_run, race)
        self.start, self.race, self.error = self.buttons.start, self.buttons.race, self.buttons.error
        self.widgets = LazyWidgets(lambda name: self.own if name in FILE_SETTINGS else self.show_advanced())
        self._add({name: setting_widget(name, self._preset) for name in BASIC if name != "data.name"})
        title = heading("New run", 2, margin=(6, 0, 0, 0), width=80)
        stretch: dict[str, Any] = {"sizing_mode": "stretch_width", "margin": 0}
        #: Title, Start, and why a run cannot start; they stay in sight wherever the form is scrolled.
        self.head = pn.Column(pn.Row(title, self.start, self.race, **stretch), self.error, styles=_HEAD, **stretch)
        self.preview = pn.pane.HTML(self._preview(), sizing_mode="stretch_width", margin=(6, 4))
        self.layout = self._layout()
        self.data.param.watch(self._data_chosen, "value")
        self.presets.param.watch(self._preset_chosen, "value")

    @functools.cached_property
    def own(self) -> OwnData:
        """Fields about a file of one's own."""
        self._made_own = own = OwnData(self._store.root / "uploads", self._file_checked)
        self._add(own.widgets)
        own.path.param.watch(self._file_chosen, "value")
        own.use.on_click(self._use_suggested)
        own.card.link(self.own_card, visible="visible")
        self._own_fields.objects, self.own_card.objects = [own.layout], [own.card]
        return own

    @property
    def path(self) -> Any:
        """Field for the path of a file of one's own."""
        return self.own.path

    def show_advanced(self, *_events: Any) -> None:
        """Make the fields under *Advanced*, if there are none yet."""
        if len(self._advanced):
            return
        names = [name for name in ADVANCED if name not in FILE_SETTINGS]
        self._add({name: setting_widget(name, self._preset, help_below=True) for name in names})
        race = heading("Race", 4, margin=(8, 4, 0, 4)), self.buttons.contenders
        self._advanced.objects = [*by_section({name: self.widgets[name] for name in names}), *race]

    def _add(self, widgets: Mapping[str, Any]) -> None:
        """Add the widgets of a part; changes of their values change the preview."""
        values = self._preset.flat()
        for name, widget in widgets.items():
            self.widgets[name] = widget
            show_value(name, widget, values.get(name))
            widget.param.watch(self._changed, "value")
            if name.startswith("data."):
                widget.param.watch(self._check, "value")

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
        lists = {"data.drop", "data.missing_marks", "network.density"}  # may be empty
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
            if widget.value != form_value(name, values.get(name))
        }

    def _layout(self) -> Any:
        w = self.widgets

        def pair(left: str, right: str) -> Any:
            return pn.Row(w[left], w[right], sizing_mode="stretch_width", margin=0)

        advanced = pmui.Accordion(
            ("Advanced", self._advanced), sizing_mode="stretch_width", margin=(8, 4), disable_gutters=True,
            title_variant="body2", sx=_ACCORDION, dynamic=True,
        )  # fmt: skip
        advanced.param.watch(self.show_advanced, "active")
        return pn.Column(
            self.data,
            self.presets,
            self._own_fields,
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

    def load(self, config: Config) -> None:
        """Load a configuration into the form; the settings stay as they are when its file has been checked."""
        known = config.data.name in self._known
        self._fill(config, config.data.name if known else _FILE, "" if known else config.data.name)
        self._suggest = False
        self._check()

    def _data_chosen(self, event: Any) -> None:
        if not self._loading:
            self._suggest = True
            self._fill(Config() if event.new == _FILE else next(iter(presets(event.new).values())), event.new)
            self._check()

    def _preset_chosen(self, event: Any) -> None:
        if not self._loading and event.new:
            self._fill(presets(self.data.value)[event.new], self.data.value)

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
            if self._made_own:
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
                self.widgets[name].value = form_value(name, value)

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
            show_presets(self.presets, data, config)
            self._own_fields.visible = data == _FILE
            if data == _FILE or self._made_own:
                self.path.value = path
            self.widgets["data.size"].visible = data != _FILE  # only names have sizes
            for name, widget in self.widgets.items():
                show_value(name, widget, (changes or {}).get(name, values.get(name)))
        finally:
            self._loading = False
        self._changed()

    def _changed(self, *_events: Any) -> None:
        if not self._loading:
            self.buttons.show_error("")
            self.show_estimate()
            if own := self._made_own:
                own.use.visible = own.preview is not None and any(
                    self.widgets[name].value != form_value(name, value)
                    for name, value in self._suggested(own.preview).items()
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

    def settings(self) -> tuple[Config, DatasetInfo | None]:
        """Return the configuration in the form, if a run can start with it, and the shape of its data if known."""
        config = self.config()
        if self.data.value == _FILE and (problem := self.own.problem()):
            raise DataError(problem)
        return config, self._info(config)

    def _checked_config(self) -> Config:
        """Return the configuration in the form, if a run can start with it."""
        config, _ = self.settings()
        if self._made_own:
            self.own.show_card(False)
        return config

    def _start_run(self, config: Config) -> None:
        self._open(enqueue(config, self._store).id)
