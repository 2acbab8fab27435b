"""Parallel training: one server, K workers, and the channel between them (arXiv 2102.01732, section 3.4).

Public are the parts of the algorithm that need no processes. They are loaded when they are first used, so importing
this package loads neither Numba nor MPI.

>>> from tsnn import parallel
>>> mean = parallel.average(iter(networks), len(networks), connections)  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tsnn.parallel.averaging import average, flatten, retain_valid, trace_connections

_HOMES = {"averaging": ("average", "flatten", "retain_valid", "trace_connections")}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["average", "flatten", "retain_valid", "trace_connections"]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
