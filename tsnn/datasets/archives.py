"""Arrays in files: .npz archives, .npy files and folders of them, read without pickle.

Headers alone describe the arrays. Features that do not fit into memory stay in the file (:mod:`tsnn.datasets.stored`).
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from math import inf, prod
from pathlib import Path
from typing import Any, cast

import numpy as np

from tsnn.config.sections import MISSING_MARKS
from tsnn.datasets.members import Member, loaded, npy_member, npz_member, stored
from tsnn.datasets.raw import Array, RawData, reading, refuse_if_too_big
from tsnn.datasets.stored import StoredArray
from tsnn.errors import DataError

#: Names of the arrays of a data set, in lower case.
_ROLES = ("x_train", "y_train", "x_test", "y_test", "x", "y", "class_names", "feature_names")


def read_arrays(path: Path, budget: float = inf) -> RawData:
    """Read X_train, y_train, X_test, y_test, or X and y, from an archive or a folder of .npy files (in any case).

    One-dimensional text arrays ``class_names`` and ``feature_names`` are read too. Of a single .npy file named so, the
    other arrays are expected beside it; of any other, the last column is the target.

    Parameters
    ----------
    path : Path
        An .npz or .npy file, or a folder of .npy files.
    budget : float
        Bytes of memory that the arrays may take, with a float32 copy; if they would take more, features stay in files.

    Raises
    ------
    DataError
        The file is missing, damaged or too big, lacks these arrays, or holds pickled objects.
    """
    if path.suffix.lower() == ".npy":
        if path.stem.lower() not in _ROLES:
            return _read_table(path, budget)
        path = path.parent
    arrays = read_members(path, _roles(_members(path), path), budget)
    classes, features = (tuple(map(str, arrays.get(role, ()))) for role in ("class_names", "feature_names"))
    for role in {"y", "y_test"} & {*arrays}:
        arrays[role] = _stripped(arrays[role], role, path)
    x_test, y_test = arrays.get("x_test"), arrays.get("y_test")
    return RawData(path.stem, arrays["x"], arrays["y"], x_test, y_test, path.name, classes, features)


def read_features(path: Path, budget: float) -> dict[str, Any]:
    """Return the arrays of an archive, .npy file or folder by name: ``x`` or ``x_test``, and targets if there are any.

    The only array of an .npy file is ``x``. If there are ``x`` and ``x_test``, ``x`` is not read and ``split`` is true.
    For ``budget`` and errors see :func:`read_arrays`.
    """
    if path.suffix.lower() == ".npy":
        return {**read_members(path, {"x": npy_member(path)}, budget), "split": False}
    members = {key: member for key, member in _members(path).items() if key in _ROLES and not member.dtype.hasobject}
    if "x" not in members and "x_train" in members:
        members["x"] = members["x_train"]
    if "x" not in members and "x_test" not in members:
        raise DataError(f"{path} should hold an array X, or X_test; found: {_listed(_members(path))}.")
    needless = ("x_train", "y_train", *(("x", "y") if "x_test" in members else ()))
    arrays = read_members(path, {key: member for key, member in members.items() if key not in needless}, budget)
    return {"x": None, **arrays, "split": {"x", "x_test"} <= {*members}}


def read_members(path: Path, members: Mapping[str, Member], budget: float) -> dict[str, Any]:
    """Read arrays; if they take more memory than the budget, features become a :class:`StoredArray`."""
    needed = sum(prod(member.shape) * (member.dtype.itemsize + 4) for member in members.values())
    stream = needed > budget
    if not stream:
        refuse_if_too_big(needed, path)
    return {
        role: stored(member) if stream and role.startswith("x") and len(member.shape) > 1 else loaded(member)
        for role, member in members.items()
    }


def _read_table(path: Path, budget: float) -> RawData:
    """Read samples and targets from one array, whose last column is the target."""
    member = npy_member(path)
    if len(member.shape) != 2 or member.shape[1] < 2 or member.dtype.hasobject:
        raise DataError(
            f"{path} holds an array of shape {member.shape} and dtype {member.dtype}; expected numbers, at least "
            "two columns, the last of which is the target. For others make a folder with X.npy and y.npy."
        )
    table = read_members(path, {"x": member}, budget)["x"]
    source = f"{path.name}, target: last column"
    if isinstance(table, np.ndarray):
        return RawData(path.stem, table[:, :-1], table[:, -1], None, None, source)
    x, y = split_last(table)
    return RawData(path.stem, cast(Array, x), y, None, None, source)


def split_last(table: StoredArray) -> tuple[StoredArray, Array]:
    """Return all but the last column, which stay in the file, and the last one."""
    n, width = table.shape
    size = table.dtype.itemsize
    x = StoredArray(table.path, table.offset, (n, width - 1), table.dtype, stride=table.stride)
    y = StoredArray(table.path, table.offset + (width - 1) * size, (n, 1), table.dtype, stride=table.stride)
    return x, y[:][:, 0]


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


def array_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of x and y, and of x_test and y_test if there are any, from the headers alone.

    Raises
    ------
    DataError
        As for :func:`read_arrays`, as far as the headers show it.
    """
    return {role: member.shape for role, member in _roles(_members(path), path).items()}


def read_targets(path: Path) -> Array:
    """Return the targets of the training part of an archive, .npy file or folder."""
    if path.suffix.lower() == ".npy" and path.stem.lower() not in _ROLES:
        return _read_table(path, 0.0).y
    folder = path.parent if path.suffix.lower() == ".npy" else path
    return loaded(_roles(_members(folder), folder)["y"])


def holds_arrays(path: Path) -> bool:
    """Return whether a path is a folder with .npy files of a data set."""
    return path.is_dir() and any(file.suffix == ".npy" and file.stem.lower() in _ROLES for file in path.iterdir())


def _members(path: Path) -> dict[str, Member]:
    """Find the arrays of an archive or folder by reading their headers, and nothing else."""
    if path.is_dir():
        found = [(file.stem, npy_member(file)) for file in sorted(path.iterdir()) if file.suffix == ".npy"]
    else:
        with reading(path, "an .npz archive"), zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            found = [(name.removesuffix(".npy"), npz_member(path, archive, name)) for name in names]
    members: dict[str, Member] = {}
    for name, member in found:
        if name.lower() in members:
            raise DataError(f"{path} holds two arrays named {name.lower()} (in any case). Keep one of them.")
        members[name.lower()] = member
    return members


def _listed(members: Mapping[str, Member]) -> str:
    names = {key: member.name.removesuffix(".npy") or member.path.stem for key, member in members.items()}
    return ", ".join(f"{names[key]} {member.shape}" for key, member in members.items()) or "none"


def _roles(headers: Mapping[str, Member], path: Path) -> dict[str, Member]:
    """Pick the arrays of a data set among those of an archive."""
    wanted: tuple[str, ...] = ("x_train", "y_train", "x_test", "y_test")
    if not all(key in headers for key in wanted):
        wanted = ("x", "y")
    if not all(key in headers and headers[key].shape for key in wanted):
        raise DataError(
            f"{path} should hold the arrays X_train, y_train, X_test, y_test, or X and y; found: {_listed(headers)}."
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
