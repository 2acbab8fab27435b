"""Folders of the dashboard and the course: parts of the installed package, top-level folders of a checkout."""

from __future__ import annotations

from pathlib import Path

from tsnn.errors import TsnnError


def folder(name: str) -> Path:
    """Return the folder ``app`` or ``notebooks``.

    Raises
    ------
    TsnnError
        If it is missing, which means that the installation is damaged.
    """
    package = Path(__file__).resolve().parents[1]
    places = [package / name, package.parent / name]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        raise TsnnError(
            f"The folder {name!r} is neither in {package} nor next to it: this installation of tsnn is incomplete. "
            "Reinstall it: pip install --force-reinstall --no-deps tsnn."
        )
    return found
