"""Previews of files: the same data as in a run, first rows of large files, one sentence about each error."""

from __future__ import annotations

import gzip
import re

import numpy as np
import pytest

from tsnn.config import Config, DataConfig
from tsnn.config.presets import preset_for_shape
from tsnn.datasets import opening
from tsnn.datasets import preview as module
from tsnn.datasets.preview import preview


@pytest.fixture
def path(tmp_path):
    rows = [f"{i * 37 % 11}.5,{i},{'ab'[i % 3 == 0]}" for i in range(90)]
    (tmp_path / "table.csv").write_text("p,id,kind\n" + "\n".join(rows))
    return tmp_path / "table.csv"


def test_preview__is_what_a_run_reads(path):
    from tsnn.execution.provenance import generators, load_data

    config = Config.preset(str(path)).replace(seed=3, target="p")
    found, data = preview(config.data, 3), load_data(config, generators(config)[0])
    assert found.inspection == module.inspect(data), "the same samples in the same parts"
    assert (found.task, found.info.n_features, found.info.sizes) == ("regression", 2, {"full": (60, 30)}), (
        "without the id"
    )
    assert found.settings == preset_for_shape(60, 2, task="regression")
    assert list(found.cells) == ["p", "id", "kind"]
    assert found.cells["kind"][:4] == ("b", "a", "a", "b")


def test_preview__of_columns_that_cannot_be_used_has_names_and_cells(path):
    path.write_text(path.read_text().replace("4.5,", "4.5 or so,"))
    found = preview(DataConfig(str(path)))
    assert "holds '4.5 or so'" in found.problem
    assert (found.names, found.inspection) == (("p", "id", "kind"), None)
    assert found.cells["p"][1] == "4.5 or so"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nothing.csv", None, "There is no file"),
        ("mnist", None, "There is no file"),
        ("x.exe", b"MZ", r"is no file that can be read: expected \.npy, \.npz"),
        ("x.csv", b"", "is empty"),
        ("x.csv", b"a,b\n1,2\n3\n", "line 3: 1 fields"),
        ("x.npz", b"PK\x03\x04junk", "cannot be read"),
        ("x.parquet", b"PAR1junkPAR1", "cannot be read"),
    ],
)
def test_preview__what_cannot_be_read_is_one_sentence(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    found = preview(DataConfig(str(tmp_path / name)))
    assert found.inspection is None
    assert re.search(message, found.problem)
    assert "\n" not in found.problem


def test_preview__an_unexpected_error_is_the_problem(path, monkeypatch):
    monkeypatch.setattr(module, "load_dataset", lambda **settings: 1 / 0)
    assert "cannot be read (ZeroDivisionError: division by zero)" in preview(DataConfig(str(path))).problem


def test_preview__a_file_is_read_once_while_only_other_settings_change(path, monkeypatch):
    reads = []
    read = opening.read_text
    monkeypatch.setattr(opening, "read_text", lambda *given: reads.append(given) or read(*given))
    opened = {}
    for change in ({}, {"target": "p"}, {"drop": ("id",)}, {"preprocessing": "none"}, {"test_fraction": 0.5}):
        assert preview(DataConfig(str(path), **change), opened=opened).problem == ""
    assert len(reads) == 1
    preview(DataConfig(str(path), header="true"), opened=opened)
    assert len(reads) == 2
    path.write_text(path.read_text() + "\n1.5,99,a")
    assert preview(DataConfig(str(path), header="true"), opened=opened).info.sizes == {"full": (61, 30)}
    assert len(reads) == 3
    assert len(opened) == 1


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet"])
def test_preview__of_a_large_table_reads_its_first_rows(tmp_path, monkeypatch, kind):
    import pandas as pd

    rng = np.random.default_rng(0)
    rows = 20_000
    frame = pd.DataFrame(
        {"a": rng.normal(size=rows).round(4), "t": ["x,\ny", "z"] * (rows // 2), "b": [0, 1] * (rows // 2)}
    )
    path = tmp_path / f"large.{kind}"
    frame.to_parquet(path) if kind == "parquet" else frame.to_csv(path, index=False)
    monkeypatch.setattr(module, "WHOLE_BYTES", 10_000)
    found = preview(DataConfig(str(path)))
    assert found.problem == ""
    assert "first rows" in found.note
    n_train, n_test = (sum(entry[part] for entry in found.inspection.classes) for part in (1, 2))
    assert n_train + n_test <= 1000
    assert found.inspection.facts[0][1].startswith("large.")
    if kind == "csv.gz":
        assert found.info is None, "its number of rows is unknown"
        path.write_bytes(gzip.compress(b"a,b\n" + b"0.5,0\nx,1\n" * 5000, compresslevel=0))
    else:
        assert sum(found.info.sizes["full"]) == pytest.approx(rows, rel=0.2)
        if kind == "parquet":
            frame.assign(a=frame["b"].map({0: "1-2", 1: "2024-01-01"}), t=[f"t{i}" for i in range(rows)]).to_parquet(
                path
            )
        else:
            path.write_bytes(b"a,b\n" + b"0.5,0\nx,1\n" * 5000)
    problem = preview(DataConfig(str(path))).problem
    assert str(path) in problem
    assert module.tempfile.gettempdir() not in problem.replace(str(path), "")


def test_preview__of_other_large_files_tells_their_shape_and_blocks_no_run(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "WHOLE_BYTES", 1000)
    np.savez(tmp_path / "a.npz", X=np.zeros((50, 3000)), y=np.arange(50) % 2)
    found = preview(DataConfig(str(tmp_path / "a.npz")))
    assert (found.problem, found.inspection, found.task) == ("", None, "classification")
    assert (found.info.n_features, found.info.sizes) == (3000, {"full": (50, 0)})
    assert found.settings == preset_for_shape(50, 3000)
    assert "too large to be checked here" in found.note


def test_preview__of_a_large_folder_reads_rows_of_its_first_part(tmp_path, monkeypatch):
    import pandas as pd

    (tmp_path / "parts").mkdir()
    for i in range(3):
        frame = pd.DataFrame({"a": np.arange(2000) % 7 * 0.5, "b": np.arange(2000) % 3})
        frame.to_parquet(tmp_path / "parts" / f"{i}.parquet")
    monkeypatch.setattr(module, "WHOLE_BYTES", 1000)
    found = preview(DataConfig(str(tmp_path / "parts")))
    assert found.problem == ""
    assert sum(found.info.sizes["full"]) == pytest.approx(6000, abs=3)
    assert "first rows" in found.note
