"""Shared memory of this machine: how much of it is free, and the names that MPI gives to its segments."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def available_shared_bytes() -> int:
    """Return half of the free shared memory, in bytes; no limit if it is no file system."""
    with contextlib.suppress(OSError, AttributeError):
        disk = os.statvfs("/dev/shm")
        return disk.f_bavail * disk.f_frsize // 2
    return 2**62


def unlink_mpi_segments() -> None:
    """Remove the names of MPI's segments that this process maps: nothing is left if the ranks are killed."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/self/maps").read_text().splitlines()
        names = {line.split(maxsplit=5)[5] for line in lines if "/dev/shm/mpich" in line}
        for name in names:
            with contextlib.suppress(OSError):
                Path(name).unlink()
