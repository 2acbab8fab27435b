"""Compilation of kernels, and the names of their cached code."""

from __future__ import annotations

import functools
import hashlib
import logging
import subprocess
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from llvmlite import binding
from numba.core.caching import FunctionCache

from tsnn.kernels import threads  # noqa: F401 - chooses the threading layer before the first kernel runs
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
    options = {"nogil": True, "fastmath": FASTMATH, "error_model": "numpy", "no_cfunc_wrapper": True}
    options["no_cpython_wrapper"] = inline  # Python does not call it; each wrapper takes a tenth of the time to compile

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


#: Modules whose kernels a helper compiles.
HELPED = ("tsnn.kernels.drawing", "tsnn.kernels.patterns")
PATIENCE = 60.0  #: seconds to wait for the helper

_helper: subprocess.Popen[Any] | None = None


def set_helper(process: subprocess.Popen[Any] | None) -> None:
    """Wait for a process that compiles the kernels of the modules `HELPED`, instead of compiling them here too."""
    global _helper
    _helper = process


def helper_is_busy() -> bool:
    """Return whether there is a helper that still compiles."""
    return _helper is not None and _helper.poll() is None


def is_cached(kernel: Any) -> bool:
    """Return whether a kernel has been compiled on this machine, or cannot be kept."""
    cache = getattr(kernel, "_cache", None)
    return not isinstance(cache, _Cache) or Path(cache._cache_file._index_path).exists()


class _Cache(_FunctionCache):  # type: ignore[misc]
    """Numba's cache of one function; files that cannot be read or written cost time, not the result."""

    def __init__(self, function: Any):
        super().__init__(function)
        self._helped = function.__module__ in HELPED

    def load_overload(self, *arguments: Any) -> Any:
        """Return the stored code; None if there is none, or it cannot be read."""
        code = self._load(*arguments)
        deadline = time.monotonic() + PATIENCE
        waiting = self._helped and _helper is not None
        while code is None and waiting:
            waiting = helper_is_busy() and time.monotonic() < deadline  # before loading: it may end in between
            time.sleep(0.02 * waiting)
            code = self._load(*arguments)
        return code

    def _load(self, *arguments: Any) -> Any:
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


def processor_features() -> set[str]:
    """Return LLVM's names of the instruction sets for which Numba compiles; NUMBA_CPU_FEATURES is respected."""
    chosen = _settings.CPU_FEATURES
    if chosen is None:
        return {name for name, present in binding.get_host_cpu_features().items() if present}
    return {name[1:] for name in chosen.split(",") if name.startswith("+")}


def processor_name() -> str:
    """Return LLVM's name of the processor for which Numba compiles; NUMBA_CPU_NAME is respected."""
    return str(_settings.CPU_NAME or binding.get_host_cpu_name())


def vector_path() -> str:
    """Return which kernels are used: "AVX-512", "AVX2", or "portable".

    16 vectors, 8 partial sums and the connections' own, fill half of the 32 AVX-512 registers. AVX2 has 16 of half the
    width: half of a tile stays in L1, which still costs less than to walk the connections once for each quarter.
    The variables NUMBA_CPU_NAME, NUMBA_CPU_FEATURES and NUMBA_DISABLE_JIT are respected.
    """
    features = processor_features()
    if {"avx512f", "avx512bw"} <= features:
        return "AVX-512" if COMPILED else "portable"
    return "AVX2" if COMPILED and {"avx2", "fma"} <= features else "portable"


def has_fast_vectors() -> bool:
    """Return whether tiles are fast on this processor."""
    return vector_path() != "portable"
