"""Notes of a run: title and tags, in its ``notes.json``. They never become part of a path or a command."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tsnn.errors import RunError
from tsnn.files import read_json, write_atomic
from tsnn.runs.store import Run

MAX_TITLE = 120
MAX_TAG = 40
MAX_TAGS = 20


def notes(run: Run) -> tuple[str, tuple[str, ...]]:
    """Return title and tags of a run; empty if there are none."""
    values = read_json(run.path / "notes.json")
    tags = values.get("tags")
    tags = tags[:MAX_TAGS] if isinstance(tags, list) else []
    title = values.get("title")
    title = str(title) if isinstance(title, str | int | float) and not isinstance(title, bool) else ""
    return title[:MAX_TITLE], tuple(tag[:MAX_TAG] for tag in tags if isinstance(tag, str))


def annotate(run: Run, *, title: str | None = None, tags: Iterable[str] | None = None) -> None:
    """Set a run's title or tags; None leaves them as they are.

    Raises
    ------
    RunError
        If a title or tag is too long or not printable.
    """
    old_title, old_tags = notes(run)
    title = old_title if title is None else title.strip()
    kept = old_tags if tags is None else tuple(dict.fromkeys(t for tag in tags if (t := tag.strip())))
    for name, text, limit in (("title", title, MAX_TITLE), *(("tag", t, MAX_TAG) for t in kept)):
        if len(text) > limit or not text.isprintable():
            raise RunError(f"A {name} has at most {limit} printable characters; got {text[:50]!r}, {len(text)} long.")
    write_atomic(run.path / "notes.json", json.dumps({"title": title, "tags": kept}).encode())
