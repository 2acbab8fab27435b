"""Preview of a file before it is trained on: its first cells, how it was understood, the settings that suit it."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from tsnn.config import DataConfig
from tsnn.config.presets import preset_for_shape
from tsnn.datasets.archives import array_shapes, holds_arrays
from tsnn.datasets.arrow import PARQUET_SUFFIXES, parquet_parts
from tsnn.datasets.dataset import Dataset
from tsnn.datasets.guess import guess_task
from tsnn.datasets.header import suggest_transposing
from tsnn.datasets.inspection import Inspection, inspect
from tsnn.datasets.lines import COMPRESSED_SUFFIXES, find_encoding, inner_name, open_bytes, open_text, take_sample
from tsnn.datasets.loading import load_dataset
from tsnn.datasets.opening import open_table, reading_once
from tsnn.datasets.raw import TableOptions, reading
from tsnn.datasets.readers import format_suffixes
from tsnn.datasets.sources import DatasetInfo
from tsnn.datasets.text import TEXT_SUFFIXES, Table
from tsnn.errors import DataError, TsnnError
from tsnn.registry import READERS

#: Larger tables are previewed by their first rows: the run checks the others.
WHOLE_BYTES = 256 * 2**20
_KEPT_BYTES = 32 * 2**20  # files up to this size are not read again when another setting changes
_FIRST_ROWS = 1000  # of larger Parquet files; of text see take_sample
_ROWS, _COLUMNS = 8, 12  # cells that are displayed

Tables = MutableMapping[Any, Table]


@dataclass(frozen=True)
class Preview:
    """A file as the page displays it.

    Attributes
    ----------
    names : tuple of str
        All columns of a table, also where its cells cannot be used; else empty.
    cells : mapping of str to tuple of str
        The first rows of the target and of the first columns, by column; "" where a value is missing.
    inspection : Inspection or None
        How it was understood; None if it cannot be trained on.
    info : DatasetInfo or None
        Its shape; of a file that was read in part, its estimated size.
    task : str
        That of the targets, or "auto".
    settings : mapping
        Settings that suit the shape (:func:`tsnn.config.presets.preset_for_shape`).
    problem : str
        Why it cannot be trained on, in one sentence; empty if it can.
    note : str
        Which part of a large file was read; empty if all of it.
    transposed : bool
        Whether rows look like features and columns like samples.
    """

    names: tuple[str, ...] = ()
    cells: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    inspection: Inspection | None = None
    info: DatasetInfo | None = None
    task: str = "auto"
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    problem: str = ""
    note: str = ""
    transposed: bool = False


def preview(data: DataConfig, seed: int = 0, opened: Tables | None = None) -> Preview:
    """Read a file as a run with these settings will, and describe it; errors become its problem.

    Parameters
    ----------
    data : DataConfig
        Path of the file, and how it is read.
    seed : int
        Seed of the run, which draws the splits.
    opened : mapping, optional
        Table of the last preview, which is not read again if only other settings have changed; it is replaced.
    """
    path, opened = Path(data.name), {} if opened is None else opened
    try:
        _check_path(path)
        if data.transpose or sum(part.stat().st_size for part in _parts(path)) <= WHOLE_BYTES:
            return _complete(data, seed, opened)
        if not _has_first_rows(path):
            return _of_headers(path, data)
        with tempfile.TemporaryDirectory() as folder:
            part, scale = _first_part(path, Path(folder))
            found = _complete(dataclasses.replace(data, name=str(part)), seed, {}, scale)
            return _of_part(found, part, path)
    except TsnnError as error:
        return Preview(problem=str(error))
    except Exception as error:  # readers raise many kinds of errors, and the page must show each
        return Preview(problem=f"{path} cannot be read ({type(error).__name__}: {str(error)[:200]}).")


def _check_path(path: Path) -> None:
    if not path.exists():
        raise DataError(f"There is no file {path}. Check the path, which is one of the machine that serves this page.")
    if path.suffix.lower() not in READERS and not path.is_dir():
        raise DataError(f"{path.name} is no file that can be read: expected {format_suffixes()}. Convert it to .csv.")


def _complete(data: DataConfig, seed: int, opened: Tables, scale: float = 1.0) -> Preview:
    """Return the preview of a file that is read as a whole; the data have ``scale`` times the samples (0: unknown)."""
    path, reader = Path(data.name), READERS.get(Path(data.name).suffix.lower())
    found = Preview()
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])  # as of a run
    with reading_once(opened):
        try:
            if _is_table_folder(path) or (reader and reader.is_table):
                found = _first_cells(path, data)
            dataset = load_dataset(**{f.name: getattr(data, f.name) for f in dataclasses.fields(data)}, rng=rng)
        except TsnnError as error:
            return dataclasses.replace(found, problem=str(error))
        finally:
            if path.is_dir() or path.stat().st_size > _KEPT_BYTES:
                opened.clear()
    return _with_dataset(found, dataset, scale)


def _with_dataset(found: Preview, data: Dataset, scale: float) -> Preview:
    """Add how a file was understood, its shape, and the settings that suit it."""
    n_train, n_test = (round((scale or 1) * len(part)) for part in (data.x_train, data.x_test))
    suited = preset_for_shape(n_train, data.n_features, data.image_shape, task=data.task)
    shape, sizes = (data.n_features, data.n_outputs, data.image_shape), {"full": (n_train, n_test)}
    info = DatasetInfo(data.name, data.name, *shape, sizes, ("full",)) if scale else None
    return dataclasses.replace(found, inspection=inspect(data), info=info, task=data.task, settings=suited)


def _first_cells(path: Path, data: DataConfig) -> Preview:
    """Return the preview of a table before its columns are understood."""
    options = {f.name: getattr(data, f.name) for f in dataclasses.fields(TableOptions) if f.name != "budget"}
    table = open_table(path, TableOptions(**options))
    names = [name.strip() or f"column {i}" for i, name in enumerate(table.names)]
    target = names.index(data.target) if data.target in names else len(names) - 1
    places = dict.fromkeys([target, *range(min(_COLUMNS, len(names)))])
    cells = {names[i]: _texts(table.columns[i]) for i in places}
    headed = not (table.note or data.transpose)
    return Preview(tuple(names), cells, transposed=headed and bool(suggest_transposing(table.names, table.columns)))


def _texts(values: Any) -> tuple[str, ...]:
    """Return the first cells of a column as text."""
    if isinstance(values, str):
        return ()
    return tuple("" if v is None or v != v else str(v)[:60] for v in values[:_ROWS].tolist())


# --- large files -------------------------------------------------------------------------------------


def _is_table_folder(path: Path) -> bool:
    return path.is_dir() and not holds_arrays(path)


def _parts(path: Path) -> list[Path]:
    if holds_arrays(path):
        return sorted(path.glob("*.npy"))
    return parquet_parts(path) if path.is_dir() else [path]


def _has_first_rows(path: Path) -> bool:
    """Return whether the first rows of a file can be read without the others."""
    suffix = path.suffix.lower()
    if suffix in COMPRESSED_SUFFIXES:
        suffix = inner_name(path).suffix.lower() or ".txt"
    return _is_table_folder(path) or suffix in (*PARQUET_SUFFIXES, *TEXT_SUFFIXES)


def _of_headers(path: Path, data: DataConfig) -> Preview:
    """Return the preview of a large file of another kind: its shape, if that is known without reading it."""
    note = f"{path.name} is too large to be checked here. The run checks it when it reads it."
    if path.suffix.lower() != ".npz" and not holds_arrays(path):
        return Preview(note=note)
    shapes = array_shapes(path)
    (n_train, *sample), task = shapes["x"], guess_task(data)
    image_shape = tuple(sample) if len(sample) > 1 else None
    sizes = {"full": (n_train, shapes["x_test"][0] if "x_test" in shapes else 0)}
    info = DatasetInfo(path.stem, path.stem, prod(sample), None, image_shape, sizes, ("full",))
    settings = preset_for_shape(n_train, info.n_features, image_shape, task=task)
    return Preview(info=info, task=task, settings=settings, note=note)


def _first_part(path: Path, folder: Path) -> tuple[Path, float]:
    """Write the first rows of a large table to a file; returns it, and how many times as many rows there are."""
    if path.is_dir() or path.suffix.lower() in PARQUET_SUFFIXES:
        return _first_batch(path, folder)
    packed = path.suffix.lower() in COMPRESSED_SUFFIXES
    inner = Path(inner_name(path))
    with open_bytes(path) as file:
        encoding = find_encoding(file.read(4096), path)
    with open_text(path, encoding) as stream:
        lines = list(take_sample(stream))
    while len(lines) > 2 and sum(line.count('"') for line in lines) % 2:  # the last quoted text continues
        lines.pop()
    part = folder / f"{inner.stem}{inner.suffix or '.csv'}"
    part.write_text("".join(lines), encoding="utf-8")
    return part, 0.0 if packed else max(1.0, path.stat().st_size / part.stat().st_size)


def _first_batch(path: Path, folder: Path) -> tuple[Path, float]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with reading(path, "a Parquet file"):
        files = [pq.ParquetFile(part) for part in _parts(path)]
        batch = next(files[0].iter_batches(batch_size=_FIRST_ROWS), None)
        if batch is None:
            raise DataError(f"{path} has no rows.")
        part = folder / f"{path.stem}.parquet"
        pq.write_table(pa.Table.from_batches([batch]), part)
        return part, max(1.0, sum(file.metadata.num_rows for file in files) / batch.num_rows)


def _of_part(found: Preview, part: Path, path: Path) -> Preview:
    """Return the preview of a part as that of the complete file."""
    problem = found.problem.replace(str(part), str(path))
    size = sum(each.stat().st_size for each in _parts(path)) / 2**30
    note = f"These are the first rows of {size:,.1f} GiB. The run checks the others when it reads them."
    return dataclasses.replace(found, problem=problem, note=note)
