"""Threading layer and number of threads of the kernels.

Threads that wait for each other at the end of a loop must not spin: once another process takes one of the
cores, spinning OpenMP makes training up to 100 times slower. TBB does not do that and is as fast when the
machine is quiet, so it is used where it is installed. OpenMP otherwise spins for microseconds, then sleeps.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from pathlib import Path
from typing import Any

import numba

# Before Numba chooses the layer: at the first kernel, or when the number of threads is set.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
with contextlib.suppress(OSError):  # pip installs TBB next to the interpreter, where the linker does not search
    ctypes.CDLL(str(Path(sys.prefix) / "lib" / "libtbb.so.12"), mode=ctypes.RTLD_GLOBAL)


def set_threads(n: int) -> None:
    """Use n threads for the kernels that are called from this thread.

    Parameters
    ----------
    n : int
        0 means every available core; larger numbers than that (or than NUMBA_NUM_THREADS) mean the same.
    """
    settings: Any = numba.config
    most = int(settings.NUMBA_NUM_THREADS)
    numba.set_num_threads(min(n, most) or most)


def threads_in_use() -> tuple[int, str]:
    """Return the number of threads, and the threading layer that Numba has chosen; call it after a kernel."""
    layer: Any = numba.threading_layer  # type: ignore[attr-defined]
    return numba.get_num_threads(), str(layer())
