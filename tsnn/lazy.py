"""Lazy imports: public names of a package that are imported when they are first used.

Where such a name needs an optional package that is not installed, the error names the extra that brings it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from tsnn.extras import EXTRAS, missing


def attach(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    homes : mapping of str to str
        Public names, separated by blanks, by the module that defines them; of the key "", subpackages.
    """
    home_of = {name: module for module, names in homes.items() for name in names.split()}

    def load(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if not (home := home_of[name]):
            return importlib.import_module(f"{package}.{name}")
        try:
            value = getattr(importlib.import_module(f"{package}.{home}"), name)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in EXTRAS:
                raise
            raise missing(str(error.name), f"{package}.{name}", error) from error
        setattr(sys.modules[package], name, value)  # the next use costs nothing
        return value

    return load, lambda: [*vars(sys.modules[package]), *home_of]
