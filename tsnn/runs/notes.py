"""Notes of a run: title, tags and text, in its ``notes.json``. They never become part of a path or a command."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from tsnn.errors import RunError
from tsnn.files import read_json, write_atomic
from tsnn.runs.store import Run

MAX_TITLE = 120
MAX_TAG = 40
MAX_TAGS = 20
MAX_TEXT = 5000


class Notes(NamedTuple):
    """Title, tags and text of a run; empty if there are none."""

    title: str = ""
    tags: tuple[str, ...] = ()
    text: str = ""


def notes(run: Run) -> Notes:
    """Return the notes of a run."""
    values = read_json(run.path / "notes.json")
    tags = values.get("tags")
    tags = tags[:MAX_TAGS] if isinstance(tags, list) else []
    title, text = values.get("title"), values.get("text")
    title = str(title) if isinstance(title, str | int | float) and not isinstance(title, bool) else ""
    text = text[:MAX_TEXT] if isinstance(text, str) else ""
    return Notes(title[:MAX_TITLE], tuple(tag[:MAX_TAG] for tag in tags if isinstance(tag, str)), text)


def annotate(run: Run, *, title: str | None = None, tags: Iterable[str] | None = None, text: str | None = None) -> None:
    """Set a run's title, tags or text; None leaves them as they are.

    Raises
    ------
    RunError
        If one of them is too long, or a title or tag is not printable.
    """
    old = notes(run)
    title = old.title if title is None else title.strip()
    kept = old.tags if tags is None else tuple(dict.fromkeys(t for tag in tags if (t := tag.strip())))
    text = old.text if text is None else text.strip()
    for name, value, limit in (("title", title, MAX_TITLE), *(("tag", t, MAX_TAG) for t in kept)):
        if len(value) > limit or not value.isprintable():
            got = f"{value[:50]!r}, {len(value)} long"
            raise RunError(f"A {name} has at most {limit} printable characters; got {got}.")
    if len(text) > MAX_TEXT:
        raise RunError(f"The text of notes has at most {MAX_TEXT:,} characters; got {len(text):,}. Shorten it.")
    write_atomic(run.path / "notes.json", json.dumps({"title": title, "tags": kept, "text": text}).encode())
