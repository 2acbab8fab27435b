"""Part of the form about a file of one's own: upload or path, how it is read, how it was understood."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any

import panel as pn
import panel_material_ui as pmui

from pages import understood
from pages.settings import EVEN_HEIGHT, setting_widget
from pages.theme import CARD, html, plain
from pages.uploads import UploadField
from tsnn.config import Config, describe
from tsnn.datasets.preview import Preview, Tables, preview

#: Settings about files only, in the order in which they are displayed.
FILE_SETTINGS = (
    "data.target", "data.drop", "data.missing", "data.missing_marks", "data.header", "data.separator", "data.transpose",
)  # fmt: skip
#: A setting in a message, perhaps with a value: ``data.drop=date``.
_SETTING = re.compile(rf"\b({'|'.join(map(re.escape, FILE_SETTINGS))})\b(=?)")
_LISTED = 200  # columns of a list; of wider tables, columns are searched
_FOUND = 50
_READERS = ThreadPoolExecutor(2, thread_name_prefix="preview")
_STRETCH: dict[str, Any] = {"sizing_mode": "stretch_width"}
#: A multiple selection as high as the other fields while it is empty.
_LOW = """
.MuiSelect-select.MuiSelect-multiple {padding: 8px 32px 8px 14px !important; min-height: 24px !important}
.MuiInputLabel-root:not(.MuiInputLabel-shrink) {transform: translate(14px, 9px) scale(1) !important}
"""
_DROP_ZONE = {
    "textTransform": "none",
    "minHeight": "64px",
    "borderRadius": "8px",
    "--pmui-fileinput-border-style": "dashed !important",
    "borderStyle": "dashed",
    "borderColor": "text.disabled",
}


class ColumnField(pmui.AutocompleteInput):
    """Field for the name of a column; those of wide tables are searched on the server."""

    def __init__(self, **params: Any):
        self._names: dict[str, None] = {}
        super().__init__(
            options=[], restrict=False, search_strategy="includes", case_sensitive=False, min_characters=0,
            size="small", sx=EVEN_HEIGHT, margin=(6, 4), **_STRETCH, **params,
        )  # fmt: skip
        self.param.watch(self._typed, "value_input")

    def set_columns(self, names: Sequence[str]) -> None:
        """Offer these columns."""
        self._names = dict.fromkeys(names)
        wide = len(names) > _LISTED
        options = dict.fromkeys([*(() if wide else names), *([self.value] if self.value else [])])  # else it is lost
        self.param.update(lazy_search=wide, min_characters=1 if wide else 0, options=list(options))
        self._typed()

    def _filter_options(self, query: str, *_args: Any) -> list[str]:
        """Return the first columns whose name contains a text."""
        return list(islice((name for name in self._names if query.lower() in name.lower()), _FOUND))

    def _typed(self, *_events: Any) -> None:
        """Take a name that was typed completely; the browser sends a chosen one only."""
        text = self.value_input or ""
        if text in self._names:
            self.value = text
        unknown = bool(text and self._names) and text not in self._names
        found = unknown and self._filter_options(text)
        hint = "Choose one of the columns found." if found else "There is no such column."
        self.param.update(error_state=unknown and not found, helper_text=hint if unknown else "")


class OwnData:
    """Fields for a file, its check in a thread whenever it or a setting of reading changes, and its preview.

    Parameters
    ----------
    folder : Path
        Where uploaded files are stored.
    checked : callable
        Called with the preview of a file.

    Attributes
    ----------
    preview : Preview or None
        The last one; None while there is none.
    checking : bool
        Whether the file is being read.
    """

    def __init__(self, folder: Path, checked: Callable[[Preview], None]):
        self._folder, self._checked = folder, checked
        self.preview: Preview | None = None
        self.checking = False
        self._number = 0
        self._last = ""
        self._tables: Tables = {}
        self.upload = UploadField(folder, self._stored, sx=_DROP_ZONE, color="primary", margin=(6, 4), **_STRETCH)
        self.path = pmui.TextInput(
            label="or the path of a file on this server", size="small", margin=(6, 4), **_STRETCH,
            description="A table (.csv, .tsv, .parquet, .xlsx, ..., compressed or not), a folder of Parquet files, or "
            "an .npz with X_train, y_train, X_test, y_test, or X, y.",
        )  # fmt: skip
        self.widgets = self._make_widgets()
        self.find = ColumnField(label="Find a column to leave out", visible=False)
        self.error = pmui.Alert(severity="error", visible=False, margin=(4, 4), **_STRETCH)
        self.progress = pmui.LinearProgress(visible=False, margin=(4, 4), **_STRETCH)
        self.summary = pn.pane.HTML("", visible=False, margin=(6, 4), **_STRETCH)
        self.suggestion = pn.pane.HTML("", visible=False, margin=(2, 4), **_STRETCH)
        button: dict[str, Any] = {"variant": "outlined", "size": "small", "visible": False, "margin": (4, 4)}
        self.use = pmui.Button(label="Use the suggested settings", icon="auto_fix_high", **button)
        self.transpose = pmui.Button(label="Transpose: rows are features", icon="swap_horiz", **button)
        self.show = pmui.Button(label="Show the table", icon="table_chart", **button)
        full: dict[str, Any] = {"max-height": "none"}  # else as high as the window
        self._body = pn.pane.HTML("", margin=0, styles=full, **_STRETCH)
        self._title = pn.pane.HTML("", margin=(4, 0), **_STRETCH)
        close = pmui.IconButton(icon="close", description="Close the preview", margin=0, size="small")
        self.card = pn.Column(
            pn.Row(self._title, close, margin=0, **_STRETCH), self._body, visible=False, margin=0,
            styles={**CARD, **full, "padding": "12px 16px 16px", "flex-shrink": "0"}, **_STRETCH,
        )  # fmt: skip
        self.layout = self._layout()
        close.on_click(lambda _event: self.show_card(False))
        self.show.on_click(lambda _event: self.show_card(True))
        self.transpose.on_click(self._transpose)
        self.find.param.watch(self._found, "value")
        self.widgets["data.target"].param.watch(self._label_target, "value")

    def _make_widgets(self) -> dict[str, Any]:
        config = Config()
        made: dict[str, Any] = {}
        about = describe("data.target")
        made["data.target"] = ColumnField(label="Target", description=about.help)
        about = describe("data.drop")
        made["data.drop"] = pmui.MultiChoice(
            label=about.label, options=[], value=[], visual_size="small", searchable=True, dropdown_height=360,
            margin=(6, 4), description=about.help, stylesheets=[_LOW], **_STRETCH,
        )  # fmt: skip
        return {name: made.get(name) or setting_widget(name, config) for name in FILE_SETTINGS}

    def _layout(self) -> Any:
        w = self.widgets
        row = functools.partial(pn.Row, margin=0, **_STRETCH)
        reading = pmui.Accordion(
            ("How the file is read", pn.Column(
                row(w["data.header"], w["data.separator"]), w["data.missing_marks"], w["data.transpose"], margin=0,
                **_STRETCH)),
            margin=(4, 4), disable_gutters=True, title_variant="body2", **_STRETCH,
            sx={"& .MuiPaper-root": {"backgroundColor": "transparent", "backgroundImage": "none"}},
        )  # fmt: skip
        return pn.Column(
            self.upload, self.upload.status, self.upload.error, self.path, self.progress, self.error,
            row(w["data.target"]), w["data.drop"], self.find, w["data.missing"], reading, self.summary, self.transpose,
            self.show, self.suggestion, self.use, margin=0, **_STRETCH,
        )  # fmt: skip

    # --- check ---------------------------------------------------------------------------------------

    def check(self, config: Config) -> None:
        """Read the file of these settings in a thread; the preview follows, unless another check begins before."""
        self._number += 1
        self.checking = self.progress.visible = True
        doc = pn.state.curdoc
        if doc and doc.session_context:
            _READERS.submit(self._read, self._number, config, doc)
        else:
            self._finish(self._number, preview(config.data, config.run.seed, self._tables))

    def _read(self, number: int, config: Config, doc: Any) -> None:
        if number == self._number:
            found = preview(config.data, config.run.seed, self._tables)
            doc.add_next_tick_callback(functools.partial(self._finish, number, found))

    def _finish(self, number: int, found: Preview) -> None:
        if number != self._number:
            return
        self.checking = self.progress.visible = False
        found = replace(found, problem=_of_form(found.problem.replace(f"{self._folder}{os.sep}", "")))
        self.preview = found
        self._offer(found.names)
        self._show(found)
        self._checked(found)

    def clear(self) -> None:
        """Forget the file, and a check that is under way."""
        self._number += 1
        self.checking = self.progress.visible = False
        self.preview = None
        self._tables.clear()
        self._show(Preview())

    def problem(self) -> str:
        """Return why no run can start with the file; empty if one can."""
        if self.checking:
            return f"{Path(self.path.value).name} is still being checked. Start when its columns are displayed."
        return self.preview.problem if self.preview is not None else ""

    # --- display -------------------------------------------------------------------------------------

    @pn.io.hold()
    def _show(self, found: Preview) -> None:
        name = Path(self.path.value.strip()).name
        self.error.param.update(object=plain(found.problem), visible=bool(found.problem))
        text = understood.summary(found)
        self.summary.param.update(object=text, visible=bool(text))
        text = understood.suggestion(found)
        self.suggestion.param.update(object=text, visible=bool(text))
        self.transpose.visible = found.transposed
        self._title.object = html(f"<b>{escape(name)}</b>", "font-size:15px")
        self._body.object = understood.page(found)
        self.show_card(bool(found.cells or found.inspection))

    def show_card(self, shown: bool) -> None:
        """Show or hide the preview in the page."""
        available = self.preview is not None and bool(self.preview.cells or self.preview.inspection)
        self.card.visible = shown and available
        self.show.visible = available and not shown

    def _offer(self, names: Sequence[str]) -> None:
        """Offer the columns of a table as target and to be left out."""
        target, drop = self.widgets["data.target"], self.widgets["data.drop"]
        target.set_columns(names)
        self._last = names[-1] if names else ""
        self._label_target()
        listed = list(names[:_LISTED])
        listed += [name for name in drop.value if name not in listed]
        drop.options = listed
        self.find.visible = len(names) > _LISTED
        self.find.set_columns(names if self.find.visible else ())

    def _label_target(self, *_events: Any) -> None:
        target = self.widgets["data.target"]
        default = f"Target: {self._last} (last column)" if self._last else "Target (default: last column)"
        target.label = "Target" if target.value else default

    # --- events --------------------------------------------------------------------------------------

    def _stored(self, path: Path) -> None:
        self.path.value = str(path)

    def _transpose(self, _event: Any) -> None:
        self.widgets["data.transpose"].value = True

    def _found(self, event: Any) -> None:
        """Leave out a column that was searched."""
        drop = self.widgets["data.drop"]
        if event.new and event.new not in drop.value:
            drop.param.update(options=[*dict.fromkeys([*drop.options, event.new])], value=[*drop.value, event.new])
        if event.new:
            self.find.value = None


def _of_form(text: str) -> str:
    """Return a message with the labels of the form in place of the names of settings."""
    return _SETTING.sub(lambda found: f"“{describe(found[1]).label}”{': ' if found[2] else ''}", text)
