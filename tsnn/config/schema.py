"""Schema of settings: declaration and checks. :mod:`tsnn.config.sections` declares the settings."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import operator
import reprlib
import tomllib
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

from tsnn.errors import ConfigError
from tsnn.registry import Registry

_METADATA = "setting"
_LARGEST = 2**63 - 1
_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 80


class Slider(NamedTuple):
    """Range of a live setting's slider; a logarithmic one steps by about a factor of two and ignores ``step``."""

    start: float
    end: float
    step: float = 1.0
    logarithmic: bool = False


@dataclasses.dataclass(frozen=True)
class Setting:
    """Description of a setting, for the command line, the form, files and reports.

    Attributes
    ----------
    name : str
        ``"section.field"``.
    default : object
        Default value.
    help : str
        Help text: one or two sentences.
    label : str
        Its name in the dashboard.
    choices : collection of str
        The values allowed; empty if there is no such list. A registry: the names registered at the moment.
    display : mapping
        Names of choices on a page, where they differ from the values.
    above, at_least, below, at_most : float or None
        Bounds of the value, or of every element of a tuple.
    step : float or None
        Step of a number field.
    live : bool
        Whether it may be changed while a run trains.
    slider : Slider or None
        Range of the slider of a live number; None for a live choice.
    """

    name: str
    default: Any
    help: str
    label: str
    choices: Collection[str] = ()
    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None
    step: float | None = None
    live: bool = False
    slider: Slider | None = None
    display: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def short(self) -> str:
        """The name without its section."""
        return self.name.partition(".")[2]

    def display_name(self, choice: str) -> str:
        """Return the name of a choice on a page."""
        return self.display.get(choice, choice)


def setting(default: Any, help: str, **facts: Any) -> Any:
    """Declare a field of a :class:`Section`; ``facts`` are further attributes of :class:`Setting`.

    If the choices are a registry, the help texts of its rules are appended to the help text.
    """
    return dataclasses.field(default=default, metadata={_METADATA: {"help": help, **facts}})


@dataclasses.dataclass(frozen=True)
class Section:
    """Group of settings; creating one converts each field to its type and checks it.

    Attributes
    ----------
    section : str
        Its name in files and on the command line.
    title : str
        Its title on a page.
    """

    section: ClassVar[str]
    title: ClassVar[str]

    def __post_init__(self) -> None:
        hints = _type_hints(type(self))  # type: ignore[arg-type]  # mypy takes the class for an instance
        for about in _declared(type(self)):  # type: ignore[arg-type]
            value = _coerce(about.name, getattr(self, about.short), hints[about.short])
            _check_limits(about, value)
            object.__setattr__(self, about.short, value)

    @classmethod
    def settings(cls) -> list[Setting]:
        """Return the description of each setting of this section."""
        return [_setting_of(cls.section, f) for f in dataclasses.fields(cls)]

    @classmethod
    def setting(cls, name: str) -> Setting:
        """Return the description of a setting of this section."""
        return next(_setting_of(cls.section, f) for f in dataclasses.fields(cls) if f.name == name)


_type_hints = functools.cache(typing.get_type_hints)  # slow; every change of a setting asks for them


@functools.cache
def _declared(section: type[Section]) -> tuple[Setting, ...]:
    """Return the settings of a section, for checks: their help texts do not follow the registries, their choices do."""
    return tuple(section.settings())


def _setting_of(section: str, field: dataclasses.Field[Any]) -> Setting:
    facts = dict(field.metadata[_METADATA])
    if isinstance(rules := facts.get("choices"), Registry):
        facts["help"] += " " + "; ".join(f"'{name}': {rule.help}" for name, rule in rules.items()) + "."
        facts["display"] = {name: rule.label for name, rule in rules.items() if rule.label}
    facts.setdefault("label", field.name.replace("_", " ").capitalize())
    return Setting(f"{section}.{field.name}", field.default, **facts)


def shortened(value: Any) -> str:
    """Return the representation of a value for a message; that of a long one is abbreviated."""
    try:
        return _repr.repr(value)
    except ValueError:  # an integer of thousands of digits
        return "a number of thousands of digits"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of an error message: the known name nearest to ``name``, or all of them."""
    known, name = list(known), name[:100]
    match = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    short = {full.rpartition(".")[2]: full for full in known}
    by_field = [short[field] for field in difflib.get_close_matches(name.rpartition(".")[2], short, n=1, cutoff=0.7)]
    best = (by_field or match)[:1]
    return f". Did you mean {best[0]!r}?" if best else f"; known are: {', '.join(known)}"


def _coerce(name: str, value: Any, hint: Any) -> Any:
    """Convert a value to its field's type; text is read in TOML notation unless the type is text."""
    if isinstance(hint, types.UnionType):
        if value is None:
            return None
        hint = typing.get_args(hint)[0]
    original = value
    value = value.tolist() if hasattr(value, "tolist") else value  # NumPy's arrays and scalars
    if hint == tuple[str, ...]:
        return _coerce_texts(name, value)
    if isinstance(value, str) and hint is not str:
        value = _parse_text(value)
    if _is_int(value) and abs(operator.index(value)) > _LARGEST:
        raise ConfigError(f"{name} must be at most {_LARGEST}, got {shortened(original)}.")
    if typing.get_origin(hint) is tuple:
        return (_coerce_numbers if hint == tuple[float, ...] else _coerce_whole_numbers)(name, value, original)
    if hint in (bool, str) and isinstance(value, hint):
        return _checked_text(name, value) if hint is str else value
    if hint is int and (_is_int(value) or (isinstance(value, float) and value.is_integer())):
        return int(value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    kind = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}[hint]
    raise ConfigError(f"{name} must be {kind}, got {shortened(original)}.")


def _coerce_whole_numbers(name: str, value: Any, original: Any) -> tuple[int, ...]:
    values = value if isinstance(value, list | tuple) else [value]
    if all(_is_int(v) and abs(operator.index(v)) <= _LARGEST for v in values):
        return tuple(int(v) for v in values)
    got = shortened(original)
    raise ConfigError(f"{name} must be whole numbers such as [1000, 1000] or 1000-1000, got {got}.")


def _coerce_numbers(name: str, value: Any, original: Any) -> tuple[float, ...]:
    """Return numbers from one number, a list, or text such as ``0.1,0.2``; empty text gives none."""
    if isinstance(value, str):
        value = [_parse_text(part) for part in value.split(",")] if value.strip() else []
    values = value if isinstance(value, list | tuple) else [value]
    values = [v.item() if hasattr(v, "item") else v for v in values]
    if all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) <= _LARGEST for v in values):
        return tuple(float(v) for v in values)
    raise ConfigError(f"{name} must be numbers such as 0.05 or 0.1,0.2; got {shortened(original)}.")


def _coerce_texts(name: str, value: Any) -> tuple[str, ...]:
    """Return texts without blanks around them, from a list, or from text such as ``a,b`` or ``["a", "b, c"]``."""
    original = value
    if isinstance(value, str):
        parsed = _parse_text(value) if value.lstrip().startswith("[") else value
        value = value.split(",") if isinstance(parsed, str) else parsed
    if isinstance(value, list | tuple) and all(isinstance(v, str | int | float) for v in value):
        return tuple(_checked_text(name, text) for v in value if (text := str(v).strip()))
    raise ConfigError(f'{name} must be names separated by commas, or ["a", "b"]; got {shortened(original)}.')


def _checked_text(name: str, text: str) -> str:
    """Return a text that can be written to a file; on the command line bytes that are no UTF-8 give others."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{name} must be UTF-8 text, got {shortened(text)}. Choose another name.") from error
    return text


def _is_int(value: Any) -> bool:
    try:
        operator.index(value)
    except TypeError:  # also for arrays of several numbers
        return False
    return not isinstance(value, bool)


def _parse_text(text: str) -> Any:
    parts = text.replace("-", ",").split(",")
    if len(parts) > 1 and all(part.strip().isdecimal() for part in parts) and len(text) < 4000:
        return [int(part) for part in parts]
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _own_rules(choices: Collection[str]) -> str:
    """Return the end of an error message: how to define a rule, if the choices are rules."""
    if not isinstance(choices, Registry) or not choices.decorator:
        return ""
    return f" Define one of your own first: @tsnn.{choices.decorator}(...), or tsnn train --rules FILE."


_BOUNDS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "above": ("greater than", lambda v, limit: v > limit),
    "at_least": ("at least", lambda v, limit: v >= limit),
    "below": ("less than", lambda v, limit: v < limit),
    "at_most": ("at most", lambda v, limit: v <= limit),
}


def _check_limits(about: Setting, value: Any) -> None:
    noted = isinstance(about.choices, Registry) and about.choices.is_noted(value)
    if about.choices and value not in about.choices and not noted:
        known = ", ".join(map(repr, about.choices))
        raise ConfigError(f"{about.name} must be one of {known}; got {shortened(value)}.{_own_rules(about.choices)}")
    bounds = {key: getattr(about, key) for key in _BOUNDS if getattr(about, key) is not None}
    if not bounds:
        return
    for v in value if isinstance(value, tuple) else (value,):
        if not math.isfinite(v) or not all(_BOUNDS[key][1](v, limit) for key, limit in bounds.items()):
            rule = " and ".join(f"{_BOUNDS[key][0]} {limit}" for key, limit in bounds.items())
            raise ConfigError(f"{about.name} must be {rule}; got {shortened(v)}.")
