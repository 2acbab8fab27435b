"""Wake-up sockets between ranks of one machine: MPI itself can only spin while it waits.

A small message travels as the text of the datagram that announces it.
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

MAX_DATAGRAM_BYTES = 4096

#: A socket's descriptor, the workers' addresses and their lengths, for compiled code.
Addresses = tuple[int, NDArray[np.uint8], NDArray[np.int64]]
NO_ADDRESSES: Addresses = -1, np.empty((0, kernels.ADDRESS_BYTES), np.uint8), np.empty(0, np.int64)


class WakeupSocket:
    """Datagram socket of a rank: a datagram to it wakes the rank at once.

    Parameters
    ----------
    own : socket.socket
        Bound to this rank's name.
    names : dict of int to bytes
        Socket names of the ranks of this machine.

    Attributes
    ----------
    addresses : Addresses
        This socket and the workers' addresses, in the order of their ranks.
    """

    def __init__(self, own: socket.socket, names: dict[int, bytes]):
        self._socket, self._names = own, names
        self._ranks = {name: rank for rank, name in names.items()}
        self._timeout = 0.0
        packed = [struct.pack("=H", socket.AF_UNIX) + names[rank] for rank in sorted(names) if rank]
        padded = b"".join(address.ljust(kernels.ADDRESS_BYTES, b"\0") for address in packed)
        workers = np.frombuffer(padded, np.uint8).reshape(-1, kernels.ADDRESS_BYTES).copy()
        self.addresses: Addresses = own.fileno(), workers, np.array([len(address) for address in packed], np.int64)

    @classmethod
    def open(cls, job: str, rank: int, ranks: list[int]) -> WakeupSocket | None:
        """Return this rank's socket, which reaches the ranks of this machine; None except on Linux."""
        if not sys.platform.startswith("linux"):
            return None
        names = {peer: f"\0tsnn-{job}-{peer}".encode() for peer in ranks}  # abstract names leave no files
        own = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        own.bind(names[rank])
        return cls(own, names)

    def notify(self, to: int, text: bytes = b"") -> bool:
        """Wake a rank with a text; returns False if it is on another machine or its queue is full."""
        if to in self._names:
            with contextlib.suppress(OSError):
                return self._socket.sendto(text, socket.MSG_DONTWAIT, self._names[to]) == len(text)
        return False

    def set_timeout(self, seconds: float) -> None:
        """Limit the waiting time of the following calls, compiled ones too."""
        if seconds != self._timeout:
            self._timeout = seconds
            time_value = struct.pack("@ll", *divmod(max(1, round(1e6 * seconds)), 10**6))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, time_value)

    def wait(self, seconds: float) -> tuple[int, bytes] | None:
        """Return sender and text (maybe empty) of the next datagram; None if there is none within this time."""
        if seconds > 0:
            self.set_timeout(seconds)
        try:
            text, name = self._socket.recvfrom(MAX_DATAGRAM_BYTES, 0 if seconds > 0 else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        return (self._ranks[name], text) if name in self._ranks else None  # ignore foreign senders


def socket_queue_length() -> int:
    """Return how many datagrams a socket queues; MPI carries further messages."""
    try:
        return int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())
    except (OSError, ValueError):
        return 0
