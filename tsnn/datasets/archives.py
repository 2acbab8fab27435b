"""Archives: .npz files, read without pickle. Their headers alone describe the arrays inside."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tsnn.config.sections import MISSING_MARKS
from tsnn.datasets.raw import Array, RawData, reading, refuse_if_too_big
from tsnn.errors import DataError


def read_npz(path: Path) -> RawData:
    """Read X_train, y_train, X_test, y_test, or X and y, from an .npz archive (names in any case).

    One-dimensional text arrays ``class_names`` and ``feature_names`` are read too.

    Raises
    ------
    DataError
        The file is missing, damaged or too big, lacks these arrays, or holds pickled objects.
    """
    members = _members(path)
    refuse_if_too_big(sum(prod(member.shape) * (member.dtype.itemsize + 4) for member in members.values()), path)
    arrays: dict[str, Array] = {}
    with reading(path, "an .npz archive"), zipfile.ZipFile(path) as archive:
        for role, member in members.items():
            with archive.open(member.file) as stream:
                arrays[role] = np.lib.format.read_array(stream, allow_pickle=False)
                stream.read(1)  # the end of the member: here its checksum is compared
    classes, features = (tuple(map(str, arrays.get(role, ()))) for role in ("class_names", "feature_names"))
    for role in {"y", "y_test"} & {*arrays}:
        arrays[role] = _stripped(arrays[role], role, path)
    x_test, y_test = arrays.get("x_test"), arrays.get("y_test")
    return RawData(path.stem, arrays["x"], arrays["y"], x_test, y_test, path.name, classes, features)


def _stripped(labels: Array, role: str, path: Path) -> Array:
    """Return labels of text without blanks around them; a missing one is an error."""
    if labels.dtype.kind != "U":
        return labels
    labels = np.char.strip(labels)
    if (missing := np.isin(labels, ["", *MISSING_MARKS])).any():
        row = int(missing.ravel().argmax())
        raise DataError(
            f"{path}: {int(missing.sum()):,} labels of {role} are missing, the first, {str(labels.ravel()[row])!r}, in "
            f"row {row}. Leave these samples out."
        )
    return labels


def npz_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of x and y, and of x_test and y_test if there are any, from the headers alone.

    Raises
    ------
    DataError
        As for :func:`read_npz`, as far as the headers show it.
    """
    return {role: member.shape for role, member in _members(path).items()}


class _Member(NamedTuple):
    """An array of an archive, as its header describes it."""

    file: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def _members(path: Path) -> dict[str, _Member]:
    """Find x, y, x_test, y_test (and names) in an .npz by reading its headers, and nothing else."""
    headers: dict[str, _Member] = {}
    with reading(path, "an .npz archive"), zipfile.ZipFile(path) as archive:
        for file in archive.namelist():
            key = file.removesuffix(".npy").lower()
            if not file.endswith(".npy"):
                continue
            if key in headers:
                raise DataError(f"{path} holds two arrays named {key} (in any case). Keep one of them.")
            with archive.open(file) as stream:
                if np.lib.format.read_magic(stream) != (1, 0):  # later versions allow headers of gigabytes
                    raise DataError(f"{path}: {file} has no plain header. Write it again with numpy.savez.")
                shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
            headers[key] = _Member(file, shape, dtype)
    return _roles(headers, path)


def _roles(headers: Mapping[str, _Member], path: Path) -> dict[str, _Member]:
    """Pick the arrays of a data set among those of an archive."""
    wanted: tuple[str, ...] = ("x_train", "y_train", "x_test", "y_test")
    if not all(key in headers for key in wanted):
        wanted = ("x", "y")
    if not all(key in headers and headers[key].shape for key in wanted):
        found = ", ".join(f"{member.file.removesuffix('.npy')} {member.shape}" for member in headers.values())
        raise DataError(
            f"{path} should hold the arrays X_train, y_train, X_test, y_test, or X and y; found: {found or 'none'}."
        )
    roles = {key.removesuffix("_train"): headers[key] for key in wanted}
    for role, member in roles.items():
        if member.dtype.hasobject:
            raise DataError(
                f"{path}: {role} holds Python objects (a pickle), which are never loaded because they can "
                "run code. Save numbers, and text with dtype=str."
            )
    texts = {key: headers[key] for key in ("class_names", "feature_names") if key in headers}
    return roles | {key: text for key, text in texts.items() if text.dtype.kind == "U" and len(text.shape) == 1}
