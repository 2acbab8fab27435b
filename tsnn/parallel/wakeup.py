"""How ranks of one machine wake each other: MPI itself can only spin while it waits.

A small message comes with the bell that announces it, as the text of one datagram.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels

MAX_TEXT = 4096  # bytes of a message that comes with the bell

#: A socket, the workers' addresses and their lengths, for compiled code.
Addresses = tuple[int, NDArray[np.uint8], NDArray[np.int64]]
NO_ADDRESSES: Addresses = -1, np.empty((0, kernels.ADDRESS_BYTES), np.uint8), np.empty(0, np.int64)


class WakeupSocket:
    """A datagram socket per rank of a machine: whoever sends a message rings, and the receiver wakes at once."""

    def __init__(self, own: socket.socket, names: dict[int, bytes]):
        self._socket, self._names = own, names
        self._ranks = {name: rank for rank, name in names.items()}
        self._patience = 0.0
        packed = [struct.pack("=H", socket.AF_UNIX) + names[rank] for rank in sorted(names) if rank]
        padded = b"".join(address.ljust(kernels.ADDRESS_BYTES, b"\0") for address in packed)
        workers = np.frombuffer(padded, np.uint8).reshape(-1, kernels.ADDRESS_BYTES).copy()
        self.addresses: Addresses = own.fileno(), workers, np.array([len(address) for address in packed], np.int64)

    @classmethod
    def open(cls, job: str, rank: int, ranks: list[int]) -> WakeupSocket | None:
        """Return this rank's bell, which reaches the ranks of this machine; None where there can be none."""
        if not sys.platform.startswith("linux"):
            return None
        names = {peer: f"\0tsnn-{job}-{peer}".encode() for peer in ranks}  # abstract: nothing is left in any folder
        own = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        own.bind(names[rank])
        return cls(own, names)

    def notify(self, to: int, text: bytes = b"") -> bool:
        """Wake a rank, with a text; tells whether it got that: it is on this machine, and has not too many to hear."""
        if to in self._names:
            with contextlib.suppress(OSError):
                return self._socket.sendto(text, socket.MSG_DONTWAIT, self._names[to]) == len(text)
        return False

    def set_timeout(self, seconds: float) -> None:
        """Wait for at most so long from now on."""
        if seconds != self._patience:
            self._patience = seconds
            time_value = struct.pack("@ll", *divmod(max(1, round(1e6 * seconds)), 10**6))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, time_value)

    def wait(self, seconds: float) -> tuple[int, bytes] | None:
        """Return who rings within so many seconds, and the text, which may be empty; None if nobody does."""
        if seconds > 0:
            self.set_timeout(seconds)
        try:
            text, name = self._socket.recvfrom(MAX_TEXT, 0 if seconds > 0 else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        return (self._ranks[name], text) if name in self._ranks else None  # no stranger


def longest_queue() -> int:
    """Return how many messages may wait in a socket; more go another way."""
    try:
        return int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())
    except (OSError, ValueError):
        return 0
