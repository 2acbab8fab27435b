"""Strategies of bad input: values of any type, damaged text and bytes."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from tsnn.config import Config

DEEP = "[" * 5000 + "]" * 5000
#: Texts that have broken a parser somewhere.
TEXTS = [
    "", " ", "0", "-1", "1" + "0" * 400, "9" * 5000, "1e999", "NaN", "inf", "-0", "1-²", "²", "٣", "\0", "\ud800",
    "=1+1", "<script>", "../..", "a\nb", "'", '"', "[", "{}", "[[1]]", "null", "true", DEEP, "x" * 70_000, "\ufeff1",
]  # fmt: skip

texts = st.one_of(st.sampled_from(TEXTS), st.text(max_size=20))
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.sampled_from([10**400, -(2**63), 2**63]), st.floats(), texts
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
names = st.one_of(st.sampled_from(sorted(Config().flat())), texts)


def _json(value: Any) -> str:
    try:
        return json.dumps(value)
    except ValueError:  # a number of thousands of digits
        return "9" * 5000


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Return content with some bytes cut, repeated or replaced, and perhaps a value by another one."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, max(0, len(content) - 1)))
        end = min(len(content), start + draw(st.integers(1, 40)))
        content = _damaged(content, start, end, draw(st.one_of(
            st.just("cut"), st.just("end"), st.just("repeat"), st.binary(max_size=8),
            values.map(_json), values.map(_json), st.just(DEEP),
        )))  # fmt: skip
    return content


def _damaged(content: bytes, start: int, end: int, change: str | bytes) -> bytes:
    if isinstance(change, bytes):
        return content[:start] + change + content[start + len(change) :]
    if change == "cut":
        return content[:start] + content[end:]
    if change == "end":
        return content[:start]
    if change == "repeat":
        return content[:end] + content[start:end] * 50 + content[end:]
    return _with_value(content, start, change)


def _with_value(content: bytes, near: int, value: str) -> bytes:
    """Return JSON or TOML in which the value behind a colon or equals sign is another one."""
    starts = [at for mark in (b": ", b"= ") if (at := content.find(mark, near)) >= 0]
    if not starts:
        return content
    start = min(starts) + 2
    ends = [at for mark in (b",", b"}", b"\n") if (at := content.find(mark, start)) >= 0]
    return content[:start] + value.encode(errors="replace") + content[min(ends, default=len(content)) :]


cells = st.one_of(
    st.sampled_from(["1", "2.5", "-3", "a", "b", "", "NA", "?", "1,5", '"x"', "1e400", "2020-01-01", "é"]), texts
)


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """Return a table of text, more or less regular."""
    separator = draw(st.sampled_from([",", ";", "\t", "|", " "]))
    columns = draw(st.integers(1, 4))
    width = st.just(columns) if draw(st.booleans()) else st.integers(0, 6)
    plain = st.sampled_from(["1", "2", "3.5", "a", "b"])
    cell = plain if draw(st.booleans()) else cells
    rows = draw(st.lists(width.flatmap(lambda n: st.lists(cell, min_size=n, max_size=n)), max_size=30))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-16", "latin-1"]))
    return end.join(separator.join(row) for row in rows).encode(encoding, errors="replace")


def addresses(run: str, epochs: int) -> st.SearchStrategy[dict[str, str]]:
    """Return a strategy of addresses of the page: values by name, of which some are right."""
    numbers = st.integers(-2, epochs + 2).map(str)
    right = {
        "run": st.sampled_from([run, "latest", ""]), "tab": st.sampled_from(["network", "neurons", "compare", "runs"]),
        "epoch": numbers | st.just("newest"), "layer": numbers, "compare": st.sampled_from([run, f"{run},{run}", ","]),
        "columns": st.sampled_from(["state", "state,name", ","]), "lesson": st.just("zeta"), "large": numbers,
    }  # fmt: skip
    return st.fixed_dictionaries({}, optional={name: value | texts for name, value in right.items()})
