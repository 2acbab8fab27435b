"""How settings are declared and checked: the machinery behind :mod:`tsnn.config`."""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from tsnn.errors import ConfigError


def setting(default: Any, help: str, **limits: Any) -> Any:
    """Declare a field with its help text and limits.

    Parameters
    ----------
    default : object
        Default value.
    help : str
        One sentence that says what the setting does, for forms and ``--help``.
    **limits
        ``above``, ``at_least``, ``below``, ``at_most``: bounds (of every element, for tuples);
        ``choices``: the only values allowed.
    """
    return dataclasses.field(default=default, metadata={"help": help, **limits})


@dataclasses.dataclass(frozen=True)
class Section:
    """A group of settings that brings each field to its type and checks it when it is made."""

    section: ClassVar[str]

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for f in dataclasses.fields(self):
            name = f"{self.section}.{f.name}"
            value = _coerce(name, getattr(self, f.name), hints[f.name])
            _check_limits(name, value, f.metadata)
            object.__setattr__(self, f.name, value)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the end of an error message: the known word that was probably meant, or all of them."""
    known = list(known)
    match = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    by_field = [name for name in known if name.rpartition(".")[2] == word.rpartition(".")[2]]
    best = (by_field or match)[:1]
    return f". Did you mean {best[0]!r}?" if best else f"; known are: {', '.join(known)}"


def _coerce(name: str, value: Any, hint: Any) -> Any:
    """Bring a value to its field's type; text is read in TOML notation where the type is not text."""
    if isinstance(hint, types.UnionType):
        if value is None:
            return None
        hint = typing.get_args(hint)[0]
    original = value
    if isinstance(value, str) and hint is not str:
        value = _parse_text(value)
    if typing.get_origin(hint) is tuple:
        values = value if isinstance(value, list | tuple) else [value]
        if all(_is_int(v) for v in values):
            return tuple(int(v) for v in values)
        raise ConfigError(f"{name} must be whole numbers such as [1000, 1000] or 1000-1000, got {original!r}.")
    if hint is bool and isinstance(value, bool):
        return bool(value)
    if hint is int and (_is_int(value) or (isinstance(value, float) and value.is_integer())):
        return int(value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint is str and isinstance(value, str):
        return value
    kind = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}[hint]
    raise ConfigError(f"{name} must be {kind}, got {original!r}.")


def _is_int(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)


def _parse_text(text: str) -> Any:
    parts = text.replace("-", ",").split(",")
    if len(parts) > 1 and all(part.strip().isdigit() for part in parts):
        return [int(part) for part in parts]
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _check_limits(name: str, value: Any, limits: Mapping[str, Any]) -> None:
    if "choices" in limits and value not in limits["choices"]:
        known = ", ".join(map(repr, limits["choices"]))
        raise ConfigError(f"{name} must be one of {known}; got {value!r}.")
    tests: dict[str, tuple[str, Callable[[float, float], bool]]] = {
        "above": ("greater than", lambda v, limit: v > limit),
        "at_least": ("at least", lambda v, limit: v >= limit),
        "below": ("less than", lambda v, limit: v < limit),
        "at_most": ("at most", lambda v, limit: v <= limit),
    }
    wanted = {key: test for key, test in tests.items() if key in limits}
    if not wanted:
        return
    for v in value if isinstance(value, tuple) else (value,):
        if not math.isfinite(v) or not all(test(v, limits[key]) for key, (_, test) in wanted.items()):
            rule = " and ".join(f"{words} {limits[key]}" for key, (words, _) in wanted.items())
            raise ConfigError(f"{name} must be {rule}; got {v!r}.")
