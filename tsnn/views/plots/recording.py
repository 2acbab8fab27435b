"""Recording of a network: some snapshots in one compressed file, played without a run."""

from __future__ import annotations

import io
import lzma
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tsnn.snapshot import Snapshot


@cache
def read_recording(path: Path) -> tuple[Snapshot, ...]:
    """Return the snapshots of a recording, by ascending epochs; none if there is no such file."""
    if not path.exists():
        return ()
    frames: dict[int, dict[str, Any]] = {}
    with np.load(io.BytesIO(lzma.decompress(path.read_bytes())), allow_pickle=False) as archive:
        for name in archive.files:
            epoch, field = name.split("/")
            frames.setdefault(int(epoch), {})[field] = archive[name]
    return tuple(Snapshot.from_arrays(arrays) for _, arrays in sorted(frames.items()))
