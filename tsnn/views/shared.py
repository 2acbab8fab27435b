"""Values that are computed once for all sessions that display the same data."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")


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


class SharedByPath(Generic[T]):
    """Objects of files or directories, one for each in this process, each kept as long as it is used elsewhere."""

    def __init__(self) -> None:
        self._objects: weakref.WeakValueDictionary[str, T] = weakref.WeakValueDictionary()
        self._lock = threading.Lock()

    def get(self, path: Path, make: Callable[[], T]) -> T:
        """Return the object of a path, made at the first call."""
        key = str(path.resolve())
        with self._lock:
            return self._objects.get(key) or self._objects.setdefault(key, make())
