"""Number of threads of the kernels."""

from __future__ import annotations

from typing import Any

import numba


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
