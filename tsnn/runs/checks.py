"""Checks of values read from a run directory: each file's values have known types, or the run has a problem.

A run directory may come from another machine or version, or be damaged. So its values are checked once, where they are
read: code behind that may rely on the types below.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from tsnn.config import LIVE_NUMBERS, LIVE_SETTINGS
from tsnn.config.schema import shortened
from tsnn.records import EpochRecord, LayerRecord, WorkerRecord

#: Description of a value: a type, a type or None, a list of values, or a mapping of names to values, all optional.
Kind: TypeAlias = "Callable[[Any], bool] | list[Any] | Mapping[str, Any]"

_LARGEST = 2**53  # every whole number up to it is a float
_LATEST = 1e11  # seconds since 1970
_MAX_ITEMS = 100_000
_CHOICES = LIVE_SETTINGS.keys() - set(LIVE_NUMBERS)


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number."""
    kind = type(value)  # JSON has no others; isinstance takes several times as long
    return math.isfinite(value) if kind is float else kind is int and -_LARGEST <= value <= _LARGEST


def is_count(value: Any) -> bool:
    """Return whether a value is a whole number from 0 on."""
    return type(value) is int and 0 <= value <= _LARGEST


def is_time(value: Any) -> bool:
    """Return whether a value is a time in seconds since 1970."""
    return is_number(value) and 0 <= value <= _LATEST


def is_text(value: Any) -> bool:
    """Return whether a value is a text."""
    return isinstance(value, str)


def is_table(value: Any) -> bool:
    """Return whether a value is a mapping."""
    return isinstance(value, dict)


def optional(kind: Kind) -> Callable[[Any], bool]:
    """Return a check that also accepts None."""
    return lambda value: value is None or fits(kind, value)


PROCESS: Kind = {"host": is_text, "boot": is_text, "pid": is_count, "start": is_number}

#: ``status.json``; ``previous`` is the status that a failed resume restores.
STATUS: Mapping[str, Kind] = {
    "state": is_text, "message": is_text, "process": PROCESS, "previous": is_table,
    "time": is_time, "uptime": is_number, "boot": is_text, "since": is_time, "beat": is_count, "pid": is_count,
    "epoch": is_count, "epochs": is_count, "samples": is_count, "samples_total": is_count,
    "train_loss": optional(is_number), "test_loss": optional(is_number), "test_accuracy": optional(is_number),
    "test_r2": optional(is_number), "connections": optional(is_count), "settings": lambda value: _live_values(value),
    "diverged": lambda value: isinstance(value, bool),
}  # fmt: skip

#: ``meta.json``; other values are not used.
META: Mapping[str, Kind] = {
    "config": {
        "data": {"name": is_text}, "network": {"epsilon": is_number},
        "training": {"method": is_text, "zeta": is_number, "epochs": is_count}, "run": {"seed": is_count},
    },
    "data": {
        "name": is_text, "source": is_text, "path": optional(is_text), "digest": is_text, "task": is_text,
        "n_train": is_count, "n_test": is_count, "n_features": is_count, "n_outputs": is_count,
        "image_shape": optional([is_count]), "class_names": optional([is_text]), "target": is_text,
        "baseline_accuracy": optional(is_number), "target_offset": optional([is_number]),
        "target_scale": optional([is_number]),
    },
    "network": {"sizes": [is_count], "connections": [is_count]},
    "fork": {"parent": is_text, "epoch": is_count, "settings": is_table},
    "rules": [{"kind": is_text, "name": is_text, "sha256": is_text}],
    "versions": is_table, "machine": is_table, "memory": is_table,
}  # fmt: skip


def _fields(record: type) -> dict[str, Kind]:
    """Return the kinds of a record's fields."""
    return {name: _kind_of(hint) for name, hint in typing.get_type_hints(record).items()}


def _kind_of(hint: Any) -> Kind:
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        return [_kind_of(item)]
    if isinstance(hint, types.UnionType):
        return optional(_kind_of(typing.get_args(hint)[0]))
    if hint in (LayerRecord, WorkerRecord):
        return _fields(hint)
    kinds: dict[Any, Kind] = {int: is_number, float: optional(is_number), str: is_text}
    return kinds.get(hint, is_table)


_EVENT: Mapping[str, Kind] = {"epoch": is_count, "kind": is_text, "message": is_text}
_ACK: Mapping[str, Kind] = {
    "command": is_text, "epoch": is_count, "message": is_text, "accepted": lambda value: isinstance(value, bool),
    "at_start": lambda value: isinstance(value, bool), "left_out": lambda value: isinstance(value, bool),
    "settings": lambda value: _live_values(value),
}  # fmt: skip


@functools.cache
def _lines() -> dict[str, tuple[Mapping[str, Kind], tuple[str, ...]]]:
    """Return the kinds of the values in a line of each type, and the values that it must have."""
    epoch = _fields(EpochRecord) | {"epoch": is_count, "events": [_EVENT]}
    epoch |= {"settings": _live_values, "scheduled": _live_values}
    return {
        "epoch": (epoch, _required(EpochRecord)),
        "event": (_EVENT, tuple(_EVENT)),
        "snapshot": ({"epoch": is_count}, ("epoch",)),
        "ack": (_ACK, ("command",)),
        "repeat": ({"recorded": is_count}, ("recorded",)),
        "end": ({"state": is_text, "message": is_text}, ()),
    }


def _required(record: type) -> tuple[str, ...]:
    """Return the fields of a record that have no default: a line must have them."""
    return tuple(
        field.name
        for field in dataclasses.fields(record)
        if field.default is field.default_factory is dataclasses.MISSING
    )


def _live_values(value: Any) -> bool:
    """Return whether a value holds live settings: text for a choice, else numbers."""
    if not isinstance(value, dict):
        return False
    return all(v is None or (is_text if name in _CHOICES else is_number)(v) for name, v in value.items())


def line_problem(line: Mapping[str, Any]) -> str:
    """Return why a line of ``metrics.jsonl`` cannot be used; empty if it can. Lines of unknown types can."""
    kind = line.get("type")
    if not isinstance(kind, str) or kind not in _lines():
        return "" if isinstance(kind, str) else "a line has no type"
    kinds, required = _lines()[kind]
    missing = [name for name in required if name not in line]
    problem = f"it has no {missing[0]}" if missing else mismatch(kinds, line)
    if kind == "epoch":
        problem = problem or _record_problem(line)
    where = f" {line['epoch']}" if is_count(line.get("epoch")) else ""
    return f"a line of type {kind}{where} cannot be used: {problem}" if problem else ""


def _record_problem(line: Mapping[str, Any]) -> str:
    """Return why the records of layers or workers in an epoch's line cannot be used."""
    for name, record in (("layers", LayerRecord), ("workers", WorkerRecord)):
        for values in line.get(name, ()):
            if missing := _fields_of(record) - values.keys():
                return f"one of its {name} has no {min(missing)}"
    return ""


@functools.cache
def _fields_of(record: type) -> frozenset[str]:
    return frozenset(_required(record))


def mismatch(kinds: Mapping[str, Kind], values: Mapping[str, Any], prefix: str = "") -> str:
    """Return a message on the first value that is not of its kind; empty if all are."""
    for name, kind in kinds.items():
        if name not in values or fits(kind, values[name]):
            continue
        if isinstance(kind, Mapping) and isinstance(values[name], dict):
            return mismatch(kind, values[name], f"{prefix}{name}.")
        return f"{prefix}{name} cannot be {shortened(values[name])}"
    return ""


def fitting(kinds: Mapping[str, Kind], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that are of their kind."""
    return {name: values[name] for name, kind in kinds.items() if name in values and fits(kind, values[name])}


def fits(kind: Kind, value: Any) -> bool:
    """Return whether a value is of its kind."""
    if callable(kind):
        return kind(value)
    if isinstance(kind, list):
        return isinstance(value, list) and len(value) <= _MAX_ITEMS and all(fits(kind[0], v) for v in value)
    if not isinstance(value, dict):
        return False
    for name, own in kind.items():  # a loop, as `all` of a generator takes twice as long: it is most of reading a run
        if name in value and not (own(value[name]) if callable(own) else fits(own, value[name])):
            return False
    return True
