"""Parallel training: one server, K workers, and the channel between them (arXiv 2102.01732, section 3.4).

Public are the parts of the algorithm that need no processes. They are loaded when they are first used, so importing
this package loads neither Numba nor MPI.

>>> from tsnn import parallel
>>> mean = parallel.average(networks)  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tsnn import lazy

if TYPE_CHECKING:
    from tsnn.parallel.averaging import average, flatten, retain_valid, trace_connections

__all__ = ["average", "flatten", "retain_valid", "trace_connections"]

__getattr__, __dir__ = lazy.attach(__name__, {"averaging": "average flatten retain_valid trace_connections"})
