"""Table of runs: its columns, its rows, and the filter by words and values."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
from bokeh.models.widgets.tables import HTMLTemplateFormatter, NumberFormatter

from tsnn.config import describe, setting_names
from tsnn.runs.cells import format_value
from tsnn.runs.summaries import RunSummary
from tsnn.views.plots import palette

#: Titles of the columns. A column is a setting ``"section.field"`` or an attribute of :class:`RunSummary`.
COLUMNS = {
    "state": "State",
    "name": "Run",
    "data": "Data set",
    "training.method": "Method",
    "epochs": "Epochs",
    "test_accuracy": "Accuracy",
    "test_r2": "R²",
    "network.epsilon": "ε",
    "training.zeta": "ζ",
    "training.regrow": "Regrowth",
    "training.prune": "Pruning",
    "network.hidden": "Hidden layers",
    "network.activation": "Activation",
    "network.dropout": "Dropout",
    "training.learning_rate": "η",
    "training.batch_size": "Batch",
    "importance.percentile": "Percentile",
    "parallel.workers": "Workers",
    "run.seed": "Seed",
    "tags": "Tags",
    "connections": "Connections",
    "test_loss": "Loss",
    "host": "Machine",
    "started": "Started",
}
#: Columns that are displayed unless others are chosen.
USUAL = (
    "state", "name", "data", "training.method", "epochs", "test_accuracy", "test_r2", "network.epsilon",
    "training.zeta", "run.seed", "tags", "connections", "started",
)  # fmt: skip
#: Columns that cannot be left out.
FIXED = ("state", "name")
#: Settings that are numbers; they are sorted by value.
_NUMBERS = tuple(
    name for name in COLUMNS if name in setting_names() and isinstance(describe(name).default, int | float)
)
_RIGHT = ("epochs", "test_accuracy", "test_r2", "test_loss", "connections", *_NUMBERS)
_TEXT = "_text"  # ends the name of the hidden column with a setting's text


def formatters() -> dict[str, Any]:
    """Return the formatters of the columns by name."""
    number: dict[str, Any] = {"nan_format": "–"}
    return {
        "state": "html",
        "test_accuracy": NumberFormatter(format="0.0 %", **number),
        "test_r2": NumberFormatter(format="0.000", **number),
        "test_loss": NumberFormatter(format="0.000", **number),
        "connections": NumberFormatter(format="0,0", **number),
        **{name: HTMLTemplateFormatter(template=f"<%- {_key(name)}{_TEXT} %>") for name in _NUMBERS},
    }


def titles() -> dict[str, str]:
    """Return the titles of the columns by their key in the frame."""
    return {_key(name): title for name, title in COLUMNS.items()}


def keyed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping of columns with their keys in the frame."""
    return {_key(name): value for name, value in values.items()}


def alignment() -> dict[str, str]:
    """Return the alignment of columns with numbers."""
    return dict.fromkeys(map(_key, _RIGHT), "right")


def hidden(chosen: Iterable[str], frame: pd.DataFrame) -> list[str]:
    """Return the columns of a frame that are not displayed: not chosen, without any value, or with texts only."""
    shown = {_key(name) for name in (*FIXED, *chosen)}
    return [key for key in frame.columns if key not in shown or not (frame[key].notna() & (frame[key] != "")).any()]


def frame(rows: list[RunSummary]) -> pd.DataFrame:
    """Return the table's data: a row per run, index by run id."""
    ids = pd.Index([row.run for row in rows], name="id", dtype=object)
    columns: dict[str, pd.Series] = {}
    for name in COLUMNS:
        number = name in _NUMBERS or name in ("test_accuracy", "test_r2", "test_loss", "connections")
        text_of = _texts(name)
        values = [_number(value(row, name)) if number else text_of(row) for row in rows]
        columns[_key(name)] = pd.Series(values, ids, dtype=float if number else object)
        if name in _NUMBERS:
            columns[_key(name) + _TEXT] = pd.Series(list(map(text_of, rows)), ids, dtype=object)
    return pd.DataFrame(columns, index=ids)


def value(row: RunSummary, name: str) -> Any:
    """Return the value of a column: a setting's last value, or an attribute."""
    return row.setting(name) if name in setting_names() else getattr(row, name)


def text(row: RunSummary, name: str) -> Any:
    """Return the value of a column for a file: numbers stay numbers, a changed setting is ``0.3 → 0.81``."""
    found = value(row, name)
    if name in row.changed or isinstance(found, tuple | list):
        return _text(row, name)
    return found


def _text(row: RunSummary, name: str) -> str:
    return _texts(name)(row)


def _texts(name: str) -> Callable[[RunSummary], str]:
    """Return the function from a run to its text in a column."""
    if name in setting_names():
        about = describe(name)
        return lambda row: " → ".join(map(about.display_name, row.setting_text(name).split(" → "))) or "–"
    texts: dict[str, Callable[[RunSummary], str]] = {
        "state": _state,
        "tags": lambda row: ", ".join(row.tags),
        "data": lambda row: Path(row.data).name,
        "epochs": lambda row: f"{row.epochs:,} / {row.planned:,}",
        "started": lambda row: row.started.strftime("%m-%d %H:%M"),
    }
    return texts.get(name, lambda row: str(getattr(row, name)))


def _state(row: RunSummary) -> str:
    color = palette.GREY if row.problem else palette.STATE_COLORS.get(row.state, palette.GREY)
    state = escape("unreadable" if row.problem else row.state)
    return f"<span title='{escape(row.problem, quote=True)}'><span style='color:{color}'>●</span> {state}</span>"


def _number(found: Any) -> float:
    usable = isinstance(found, int | float) and not isinstance(found, bool)
    return float(found) if usable else float("nan")


def _key(name: str) -> str:
    return name.replace(".", "_")  # names with a dot are paths for the table


_CONDITION = re.compile(r"([A-Za-z_.²]+)(>=|<=|!=|=|<|>)(.+)")
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge, "<=": operator.le, "!=": operator.ne, "=": operator.eq, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
_ATTRIBUTES = {
    "acc": "test_accuracy", "accuracy": "test_accuracy", "r2": "test_r2", "loss": "test_loss", "epoch": "epochs",
    "host": "host", "machine": "host", "data": "data", "state": "state", "tag": "tags", "run": "run",
    "epochs": "epochs", "connections": "connections", "planned": "planned",
}  # fmt: skip


class RunFilter:
    """Filter of runs by words and values: ``wide acc>80 zeta=0.3 regrow=gradient``.

    Parameters
    ----------
    query : str
        Words that names, tags, method or state contain, and conditions on results or settings. Accuracies are in per
        cent. All of them must hold.

    Attributes
    ----------
    problem : str
        Why a condition cannot be understood; empty if all can.
    """

    def __init__(self, query: str):
        self.problem = ""
        self._words: list[str] = []
        self._conditions: list[Callable[[RunSummary], bool]] = []
        for word in query.lower().split():
            if found := _CONDITION.fullmatch(word):
                self._add(*found.groups())
            else:
                self._words.append(word)

    def matches(self, row: RunSummary) -> bool:
        """Return whether a run passes."""
        method = describe("training.method").display_name(row.method)
        names = " ".join((row.run, row.title, *row.tags, row.data, row.method, method, row.state)).lower()
        return all(word in names for word in self._words) and all(holds(row) for holds in self._conditions)

    def _add(self, given: str, sign: str, wanted: str) -> None:
        fields = {name.rpartition(".")[2]: name for name in setting_names()}
        name = _ATTRIBUTES.get(given) or fields.get(given) or (given if given in setting_names() else "")
        if not name:
            self.problem = f"{given} is not known. Try acc, loss, epochs, or a setting such as zeta or regrow."
            return
        number = _parsed(wanted)
        if sign not in ("=", "!=") and number is None:
            self.problem = f"{given}{sign} needs a number, not {wanted}."
            return
        compare = _OPERATORS[sign]
        self._conditions.append(lambda row: _holds(row, name, compare, number, wanted))


def _parsed(wanted: str) -> float | None:
    try:
        return float(wanted.removesuffix("%"))
    except ValueError:
        return None


def _holds(row: RunSummary, name: str, compare: Callable[[Any, Any], bool], number: float | None, wanted: str) -> bool:
    found = value(row, name)
    if found is None:
        return False
    if number is not None and isinstance(found, int | float) and not isinstance(found, bool):
        return compare(round(100 * found, 9) if name == "test_accuracy" else found, number)
    texts = found if name == "tags" else {format_value(found), _text(row, name) if name != "state" else str(found)}
    equal = wanted in {str(each).lower() for each in texts}
    return equal if compare is operator.eq else not equal if compare is operator.ne else False
