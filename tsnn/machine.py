"""Machine: cores, processor, caches, and the memory that may still be taken."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path

import psutil

_GROUPS, _MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor_name() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def cache_sizes() -> dict[int, int]:
    """Return the bytes of the caches that one core sees, by level; a guess where the system does not report them."""
    sizes = {1: 32 << 10, 2: 1 << 20, 3: 16 << 20}
    for folder in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            kind, level, size = ((folder / name).read_text().strip() for name in ("type", "level", "size"))
            if kind != "Instruction":
                sizes[int(level)] = int(size.removesuffix("K")) << 10
        except (OSError, ValueError):
            continue
    return sizes


def available_memory() -> int:
    """Return the bytes that this process may still take: free on the machine, and below the limits set for it.

    Limits are those of its control groups (containers, ``systemd-run``; the file cache inside counts as free) and of
    ``ulimit -v`` and ``ulimit -d``.
    """
    return int(min(psutil.virtual_memory().available, *_left_in_groups(), *_left_below_limits()))


def _left_in_groups() -> Iterator[int]:
    """Yield the bytes left in each control group of this process, of version 1 or 2."""
    try:
        lines = _MEMBERSHIP.read_text().splitlines()
    except OSError:
        return
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if controllers == "memory":
            root, names = _GROUPS / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache")
        elif not controllers:
            root, names = _GROUPS, ("memory.max", "memory.current", "file")
        else:
            continue
        group = root / path.lstrip("/")
        for folder in [root, *(part for part in (group, *group.parents) if root in part.parents)]:
            try:
                limit, used = (int((folder / name).read_text()) for name in names[:2])
                counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            except (OSError, ValueError):  # no such group, or no limit ("max")
                continue
            shared = int(counts.get(names[2].replace("cache", "shmem").replace("file", "shmem"), 0))
            yield limit - used + int(counts.get(names[2], 0)) - shared


def _left_below_limits() -> Iterator[int]:
    """Yield the bytes left of the process's address space and of its private memory, where these are limited."""
    try:
        import resource
    except ImportError:  # Windows
        return
    try:
        used = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    except OSError:
        return
    for limit, name in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        soft = resource.getrlimit(limit)[0]
        if soft != resource.RLIM_INFINITY and name in used:
            yield soft - 1024 * int(used[name].split()[0])
