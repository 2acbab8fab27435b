"""Tables in tests: written to a file and read, or refused with a message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tsnn.datasets.raw import RawData, TableOptions
from tsnn.datasets.sources import obtain
from tsnn.errors import DataError


def reader(tmp_path: Path) -> Callable[..., RawData]:
    """Return a function that writes a table and reads it; a fixture of its tests."""

    def read(content: str | bytes, *, name: str = "t.csv", target: str | None = None, **options: Any) -> RawData:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return obtain(path, target=target, options=TableOptions(**options))

    return read


def refusal(read: Callable[..., RawData], content: str | bytes, **options: Any) -> str:
    """Return the message with which a table is refused."""
    with pytest.raises(DataError) as error:
        read(content, **options)
    return str(error.value)
