"""Values that are computed once for all sessions that display the same data."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any


class Shared:
    """Computed values by key, each kept until the state that it was computed from changes."""

    def __init__(self) -> None:
        self._values: dict[Hashable, tuple[Hashable, Any]] = {}

    def get(self, key: Hashable, state: Hashable, compute: Callable[[], Any]) -> Any:
        """Return the value of a key, computed again if the state is not that of the last call."""
        known = self._values.get(key)
        if known is None or known[0] != state:
            known = self._values[key] = state, compute()
        return known[1]
