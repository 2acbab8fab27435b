"""What is seen of a run, in the dashboard and in notebooks alike. Needs the extra ``tsnn[app]``.

>>> import tsnn.views
>>> tsnn.views.watch(run)  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tsnn.views.follow import History, RunFollower
    from tsnn.views.watching import watch

__all__ = ["History", "RunFollower", "watch"]

_HOMES = {"History": "follow", "RunFollower": "follow", "watch": "watching"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
