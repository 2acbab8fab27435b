"""Compilation of kernels, and the names of their cached code."""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Callable
from importlib import resources
from typing import Any, TypeVar, cast

import numba
from llvmlite import binding
from numba.core.caching import FunctionCache

from tsnn.tiling import LANES, SEGMENT

Function = TypeVar("Function", bound=Callable[..., Any])

FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}  # not nnan, not ninf: NaN must survive
_settings: Any = numba.config
COMPILED = not _settings.DISABLE_JIT

log = logging.getLogger(__name__)


def digest() -> str:
    """Return a short hash of the source of all kernels."""
    content = hashlib.sha256(repr((LANES, SEGMENT)).encode())
    for file in sorted(resources.files(__package__).iterdir(), key=str):
        if file.name.endswith(".py"):
            content.update(file.read_bytes())
    return content.hexdigest()[:8]


DIGEST = digest()


def compiled(*, parallel: bool = False, inline: bool = False) -> Callable[[Function], Function]:
    """Compile with the options that all kernels share, at the first call, and keep it on disk.

    Numba recompiles when the file of the function changes, but a kernel also contains functions of other files:
    so its cached name contains the hash of all of them. Where no folder is writable, kernels are compiled in memory.
    """
    options = {"nogil": True, "fastmath": FASTMATH, "error_model": "numpy"}

    def decorate(function: Function) -> Function:
        function.__qualname__ += f"-{DIGEST}"
        njit: Any = numba.njit
        dispatcher = njit(parallel=parallel, forceinline=inline, **options)(function)
        if COMPILED:
            try:
                dispatcher._cache = _Cache(function)
            except (RuntimeError, OSError) as error:  # Numba finds no folder that it may write to
                warn_uncached(str(error))
        return cast("Function", dispatcher)

    return decorate


_FunctionCache: Any = FunctionCache


class _Cache(_FunctionCache):  # type: ignore[misc]
    """Numba's cache of one function; files that cannot be read or written cost time, not the result."""

    def load_overload(self, *arguments: Any) -> Any:
        """Return the stored code; None if there is none, or it cannot be read."""
        try:
            return super().load_overload(*arguments)
        except OSError as error:
            warn_uncached(str(error))
            return None

    def save_overload(self, *arguments: Any) -> None:
        """Store compiled code, if the disk allows it."""
        try:
            super().save_overload(*arguments)
        except OSError as error:
            warn_uncached(str(error))


@functools.cache
def _warn_once() -> None:
    log.warning(
        "Compiled kernels cannot be kept on disk, so every process compiles them again, which takes about a minute. "
        "Set the environment variable NUMBA_CACHE_DIR to a folder that you may write to, with some free space."
    )


def warn_uncached(reason: str) -> None:
    """Report, once in a process, that compiled kernels cannot be kept."""
    log.debug("%s", reason)
    _warn_once()


def has_fast_vectors() -> bool:
    """Return whether tiles are fast on this processor: with AVX-512 or AVX2.

    16 vectors, 8 partial sums and the connections' own, fill half of the 32 AVX-512 registers. AVX2 has 16 of half the
    width: half of a tile stays in L1, which still costs less than to walk the connections once for each quarter.
    The variables NUMBA_CPU_FEATURES and NUMBA_DISABLE_JIT are respected.
    """
    if not COMPILED:
        return False
    chosen = _settings.CPU_FEATURES
    if chosen is None:
        features = {name for name, present in binding.get_host_cpu_features().items() if present}
    else:
        features = {name[1:] for name in chosen.split(",") if name.startswith("+")}
    return {"avx512f", "avx512bw"} <= features or {"avx2", "fma"} <= features
