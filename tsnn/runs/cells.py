"""Cells of comparisons: columns, means over seeds, and values as text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple


class Spread(NamedTuple):
    """Mean and standard deviation of ``n`` runs that differ in the seed only."""

    mean: float
    deviation: float
    n: int


@dataclass(frozen=True)
class Column:
    """Column of a comparison: its title, the kind of its values, one value per row.

    ``kind`` is one of ``text``, ``fraction``, ``number``, ``count``, ``seconds``, ``bytes``. A value may be a
    :class:`Spread`.
    """

    title: str
    kind: str
    values: tuple[Any, ...]


def format_value(value: Any) -> str:
    """Return the text of a setting's value: ``400-100-400``, ``0.3``."""
    if isinstance(value, list | tuple):
        return ("," if all(isinstance(v, str) for v in value) else "-").join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def format_change(start: Any, now: Any) -> str:
    """Return a setting's value, or ``0.3 → 0.81`` if it was changed."""
    texts = dict.fromkeys((format_value(start), format_value(now)))
    return " → ".join(texts)


def format_cell(kind: str, value: Any) -> str:
    """Return the text of a value of a :class:`Column`: ``88.10 %``, ``88.10 ± 0.40 %``; a dash for None."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    factor, form, unit = _FORMS[kind]
    if kind == "number" and abs(getattr(value, "mean", value)) >= _LARGE:
        form = ".6g"
    if not isinstance(value, Spread):
        return f"{value * factor:{form}}{unit}"
    deviation = "" if math.isnan(value.deviation) else f" ± {value.deviation * factor:{form}}"
    return f"{value.mean * factor:{form}}{deviation}{unit}"


_LARGE = 1e5  # losses of regression may be as large as the squares of the targets
_FORMS = {
    "fraction": (100, ".2f", " %"),
    "number": (1, ".4f", ""),
    "count": (1, ",.0f", ""),
    "seconds": (1, ",.1f", " s"),
    "bytes": (2**-20, ",.0f", " MiB"),
}
