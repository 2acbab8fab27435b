"""Sources of data sets: the package, the folder TSNN_DATA, the user's cache, OpenML, a file.

:func:`obtain` finds a data set of the catalogue and reads it.
"""

from __future__ import annotations

import difflib
import logging
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import cast

from tsnn.datasets import artificial, openml
from tsnn.datasets.archives import array_shapes, holds_arrays, read_arrays
from tsnn.datasets.catalogue import KNOWN, Known
from tsnn.datasets.raw import RawData, TableOptions
from tsnn.datasets.readers import format_suffixes, refuse_options, refuse_target
from tsnn.errors import ConfigError, DataError
from tsnn.registry import READERS

log = logging.getLogger(__name__)

_BUNDLED = Path(__file__).parent / "bundled"


@dataclass(frozen=True)
class DatasetInfo:
    """One line of the list of data sets, for the command line and the dashboard.

    Attributes
    ----------
    name, title : str
        Its name for :func:`obtain`, and one line about it.
    n_features, n_classes, image_shape
        As in :class:`Known`; ``n_classes`` is None for files that the catalogue does not know.
    sizes : mapping of str to (int, int)
        For each size that can be had ("small", "full"): training and test samples, where no test samples
        means that the split is made at loading.
    local : tuple of str
        The sizes that need no network.
    on_demand : bool
        Whether the features are made batch by batch, and take no memory.
    """

    name: str
    title: str
    n_features: int
    n_classes: int | None
    image_shape: tuple[int, ...] | None
    sizes: Mapping[str, tuple[int, int]]
    local: tuple[str, ...]
    on_demand: bool = False

    @property
    def available(self) -> bool:
        """Whether the data set can be loaded now, without network."""
        return bool(self.local)


def obtain(
    name: str | os.PathLike[str], *, size: str = "auto", target: str | None = None, options: TableOptions | None = None
) -> RawData:
    """Read a data set by its name, or from a file by the reader of its suffix (:data:`tsnn.registry.READERS`).

    Parameters
    ----------
    name : str or path
        A name listed by :func:`known_datasets`, or a path.
    size : str
        "small", "full" or "auto", for names; see :func:`tsnn.datasets.load_dataset`.
    target : str or None
        Column to predict, for tables; default the last one.
    options : TableOptions, optional
        How a table is read.

    Raises
    ------
    DataError
        The name is unknown, the file unreadable, or the data are not here and cannot be downloaded.
    ConfigError
        ``size`` is none of the three.
    """
    if size not in ("auto", "small", "full"):
        raise ConfigError(f"size is {size!r}; expected 'auto', 'small' or 'full'.")
    path = Path(name)
    _check_kind(path)
    options = options or TableOptions()
    reader = READERS.get(path.suffix.lower())
    if reader is None and path.is_dir() and not _is_known(str(name)):
        reader = READERS[".npy" if holds_arrays(path) else ".parquet"]
    if reader is None and path.is_file() and (path.suffix or not _is_name(str(name))):
        raise DataError(
            f"{name} is no file that can be read: expected {format_suffixes()}. Convert it, such as to .csv."
        )
    if reader is None:
        refuse_target(name, target)
        refuse_options(name, options)
        return _by_name(str(name), size, options.budget)
    if size != "auto":
        raise DataError(f"size={size!r} was given for the file {name}, but only names have sizes. Leave it out.")
    if reader.is_table:
        return cast(RawData, reader(path, target, options))
    refuse_options(name, options)
    return cast(RawData, reader(path, target, options.budget) if reader.streams else reader(path, target))


def check_name(name: str) -> None:
    """Raise the DataError of a data set that is neither a known name nor in a file; nothing is read."""
    if name != "artificial" and not _is_name(name) and not Path(name).exists():
        obtain(name)


def _check_kind(path: Path) -> None:
    """Refuse a pipe or device, which might never end, and log the size of a file."""
    try:
        facts = path.stat()
    except OSError:  # it is a name, or its reader reports that it is missing
        return
    if not stat.S_ISREG(facts.st_mode) and not stat.S_ISDIR(facts.st_mode):
        raise DataError(f"{path} is a pipe or a device. Data must be in a regular file: copy its content into one.")
    if stat.S_ISREG(facts.st_mode):
        log.info("Reading %s, %s bytes", path, f"{facts.st_size:,}")


def _is_name(name: str) -> bool:
    return _is_known(name) or name in _data_files(strict=False)


def _is_known(name: str) -> bool:
    return name.lower().replace("-", "_") in KNOWN


def local_file(name: str) -> Path | None:
    """Return the file, or folder of .npy files, of a data set: its path, or that of its name in TSNN_DATA; or None."""
    path = Path(name)
    if path.suffix.lower() in READERS:
        return path if path.is_file() else None
    if holds_arrays(path):
        return path
    return _data_files(strict=False).get(name)


def known_datasets() -> tuple[DatasetInfo, ...]:
    """List the data sets that can be loaded by name, from headers alone: no array is read."""
    files = _data_files(strict=False)
    infos = [_describe(name, known, files) for name, known in KNOWN.items()]
    made = {"full": (artificial.N_TRAIN, artificial.N_TEST)}
    title = f"Artificial: {artificial.N_INFORMATIVE} useful features among many of noise"
    infos.append(DatasetInfo("artificial", title, artificial.N_FEATURES, 2, None, made, ("full",), on_demand=True))
    covered = {"artificial", *KNOWN, *(alias for known in KNOWN.values() for alias in known.aliases)}
    for stem, path in sorted(files.items()):
        if stem not in covered and (counts := _header_counts(path)):
            n_train, n_test, n_features, image_shape = counts
            infos.append(DatasetInfo(stem, stem, n_features, None, image_shape, {"full": (n_train, n_test)}, ("full",)))
    return tuple(infos)


def _describe(name: str, known: Known, files: Mapping[str, Path]) -> DatasetInfo:
    """Describe a known data set by its files on this machine, else by the catalogue."""
    sizes: dict[str, tuple[int, int]] = {}
    n_features = known.n_features
    complete = _complete(name, files)
    for size, path in (
        ("small", _BUNDLED / f"{name}.npz" if known.bundled else None),
        ("full", complete and complete[0]),
    ):
        if path and (counts := _header_counts(path)):
            sizes[size], n_features = counts[:2], counts[2]
    local = tuple(sizes)
    if known.openml and "full" not in sizes:
        sizes["full"] = (known.n_train, known.n_test)
    image_shape = _fitting(known.image_shape, n_features)
    return DatasetInfo(name, known.title, n_features, known.n_classes, image_shape, sizes, local)


def _fitting(image_shape: tuple[int, ...] | None, n_features: int) -> tuple[int, ...] | None:
    """Return the image shape if it has that many pixels."""
    return image_shape if image_shape and prod(image_shape) == n_features else None


def _header_counts(path: Path) -> tuple[int, int, int, tuple[int, ...] | None] | None:
    """Return (training samples, test samples, features, image shape), or None if it is no data set."""
    try:
        shapes = array_shapes(path)
    except DataError as error:
        log.info("not listed as a data set: %s", error)
        return None
    n_train, *sample = shapes["x"]
    n_test = shapes["x_test"][0] if "x_test" in shapes else 0
    return n_train, n_test, prod(sample), tuple(sample) if len(sample) == 2 else None


def _by_name(name: str, size: str, budget: float) -> RawData:
    """Find and read a named data set."""
    files = _data_files(strict=size != "small")
    key = name if name in files else name.lower().replace("-", "_")
    if key not in KNOWN and key not in files:
        raise _unknown(name, [*KNOWN, "artificial", *(stem for stem in files if stem not in KNOWN)])
    path, source = _locate(key, size, files)
    return _annotated(read_arrays(path, budget), key, source)


def _locate(name: str, size: str, files: Mapping[str, Path]) -> tuple[Path, str]:
    """Return (path, source) of a named data set: here in full, else the bundled part, else from OpenML."""
    if size != "small" and (complete := _complete(name, files)):
        return complete
    known = KNOWN.get(name)
    if known and known.bundled and size != "full":
        return _bundled(name)
    if known is None or size == "small":  # files unknown to the catalogue are complete: they come here for "small"
        names = ", ".join(name for name, other in KNOWN.items() if other.bundled)
        raise DataError(f"No small part of {name!r} is bundled with tsnn (only of {names}). Try size='full'.")
    if known.openml is None:
        raise DataError(
            f"{name!r} is not on this machine and not on OpenML: set TSNN_DATA to a folder with {name}.npz."
        )
    path = openml.download(name, known.openml, known.n_train, known.n_test, small_exists=bool(known.bundled))
    return path, _openml_source(known, "downloaded")


def _annotated(raw: RawData, key: str, source: str) -> RawData:
    """Add the source, and names and image shape of the catalogue where they fit the arrays."""
    raw = replace(raw, name=key, source=source)
    known = next((entry for name, entry in KNOWN.items() if key == name or key in entry.aliases), None)
    if known is None:
        return raw
    if raw.x.ndim == 2:
        raw = replace(raw, image_shape=_fitting(known.image_shape, raw.x.shape[1]))
    if raw.y.dtype.kind in "iu" and not raw.class_names and raw.y.max(initial=0) < len(known.class_names):
        raw = replace(raw, class_names=known.class_names)
    return raw


def _unknown(name: str, names: list[str]) -> DataError:
    near = difflib.get_close_matches(name.lower().replace("-", "_"), names, n=1)
    return DataError(
        f"There is no data set {name!r}.{f' Did you mean {near[0]!r}?' if near else ''} Known names: "
        f"{', '.join(names)}. Or give the path of a {format_suffixes()} file, or put <name>.npz "
        "into the folder that the environment variable TSNN_DATA names."
    )


def _data_files(*, strict: bool) -> dict[str, Path]:
    """Map stems to the .npz files in TSNN_DATA; if ``strict``, a folder that is not there is an error."""
    folder = os.environ.get("TSNN_DATA", "")
    if not folder:
        return {}
    try:
        return {path.stem: path for path in Path(folder).iterdir() if path.suffix == ".npz" and path.is_file()}
    except OSError as error:
        message = f"TSNN_DATA is {folder!r}, which cannot be listed ({error.strerror})."
        if strict:
            raise DataError(f"{message} Set it to a folder with <name>.npz files, or unset it.") from error
        log.warning(message)
        return {}


def _complete(name: str, files: Mapping[str, Path]) -> tuple[Path, str] | None:
    """Return (path, source) of the complete data set if it is on this machine: TSNN_DATA, cache, package."""
    if name in files:
        return files[name], "TSNN_DATA"
    known = KNOWN.get(name)
    if known is None:
        return None
    for alias, difference in known.aliases.items():
        if alias in files:
            return files[alias], f"TSNN_DATA, {alias}.npz ({difference})"
    if known.openml and (path := openml.cached(known.openml)).is_file():
        return path, _openml_source(known, "cached")
    return _bundled(name) if known.bundled == "complete" else None


def _bundled(name: str) -> tuple[Path, str]:
    """Return (path, source) of a data set, or a part of one, that comes with the package."""
    known, path = KNOWN[name], _BUNDLED / f"{name}.npz"
    shapes = array_shapes(path)
    counts = f"{shapes['x'][0]:,} / {shapes['x_test'][0]:,}"
    extent = "part" if known.bundled == "part" else "and complete"
    return path, f"bundled {extent}, {counts} {'images' if known.image_shape else 'samples'}"


def _openml_source(known: Known, how: str) -> str:
    note = f" ({known.openml_note})" if known.openml_note else ""
    return f"OpenML {known.openml}, {how}{note}"
