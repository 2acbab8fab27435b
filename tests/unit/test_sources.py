"""Where data sets come from: the package, files, TSNN_DATA, OpenML; every bad file."""

import hashlib
import io
import json
import logging
import os
import struct
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tsnn.cli import main
from tsnn.datasets import Dataset, known_datasets, load_dataset, sources
from tsnn.errors import DataError
from tsnn.registry import READERS


@pytest.fixture(autouse=True)
def own_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No TSNN_DATA, an empty cache, no network."""
    monkeypatch.delenv("TSNN_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for module in ("openml", "unpacked"):
        monkeypatch.setattr(f"tsnn.datasets.{module}.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr("tsnn.datasets.openml.OPENML_API", "http://127.0.0.1:1/json")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def numbers(n: int = 12, width: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Integral features 0 to 255, which every dtype can hold, and labels 0, 1, 2."""
    return rng(7).integers(0, 256, (n, width)).astype(np.float64), np.arange(n) % 3


def load(name: Any, **options: Any) -> Dataset:
    return load_dataset(name, rng=rng(), **options)


X, Y = numbers()


# --- bundled -----------------------------------------------------------------------------------------


def test_bundled__part_of_fashion_mnist() -> None:
    data = load("fashion_mnist")
    assert (data.x_train.shape, data.x_test.shape) == ((5000, 784), (1000, 784))
    assert data.x_train.dtype == np.float32
    assert data.x_train.values.flags.c_contiguous
    assert data.y_train.dtype == np.int64
    assert np.bincount(data.y_train).tolist() == [500] * 10
    assert np.bincount(data.y_test).tolist() == [100] * 10
    assert (data.n_features, data.n_outputs, data.image_shape) == (784, 10, (28, 28))
    assert data.class_names[0] == "T-shirt/top"
    assert data.source == "bundled part, 5,000 / 1,000 images"


@pytest.mark.parametrize("size", ["auto", "small", "full"])
def test_bundled__madelon_is_complete(size: str) -> None:
    data = load("madelon", size=size)
    assert (data.x_train.shape, data.x_test.shape) == ((2000, 500), (600, 500))
    assert data.source == "bundled and complete, 2,000 / 600 samples"
    assert np.bincount(data.y_test).tolist() == [300, 300]


def test_bundled__files_are_small_and_licensed() -> None:
    folder = Path(sources.__file__).parent / "bundled"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 5e6
    for path in folder.glob("*.npz"):
        assert (folder / f"LICENSE-{path.stem}").stat().st_size > 500


def test_load__prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    load("madelon")
    assert capfd.readouterr() == ("", "")


# --- .npz --------------------------------------------------------------------------------------------


def test_npz__with_and_without_official_split(tmp_path: Path) -> None:
    x, y = numbers()
    np.savez(tmp_path / "whole.npz", X=x.astype(np.uint8), y=y, feature_names=["a", "b", "c"])
    data = load(tmp_path / "whole.npz")
    assert (data.name, len(data.y_train), len(data.y_test)) == ("whole", 8, 4)
    assert data.source == "whole.npz; no official split: 8 / 4 drawn"
    assert data.feature_names == ("a", "b", "c")
    np.savez_compressed(tmp_path / "split.npz", x_TRAIN=x, Y_train=y, X_test=x[:4], y_test=y[:4], other=x,
                        class_names=["p", "q", "r"])  # fmt: skip
    data = load(str(tmp_path / "split.npz"), preprocessing="none")
    np.testing.assert_array_equal(data.x_train, x)
    np.testing.assert_array_equal(data.x_test, x[:4])
    assert (data.source, data.class_names) == ("split.npz", ("p", "q", "r"))


def saved(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def bomb(shape: str, version: bytes = b"\x01\x00") -> bytes:
    """Return an archive whose header promises far more than the file holds."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("X.npy", "y.npy"):
            size = struct.pack("<H" if version == b"\x01\x00" else "<I", len(header))
            archive.writestr(name, b"\x93NUMPY" + version + size + header + bytes(1000))
    return stream.getvalue()


def corrupted(content: bytes) -> bytes:
    """Flip one byte inside the first array."""
    return content[:300] + bytes([content[300] ^ 255]) + content[301:]


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        (b"", ["cannot be read as an .npz archive"]),
        (b"\x80\x04K\x01.", ["cannot be read as an .npz archive"]),
        (saved(X=X, y=Y)[:-40], ["truncated"]),
        (corrupted(saved(X=X, y=Y)), ["damaged"]),
        (saved(X=X, y=Y.astype(object)), ["Python objects (a pickle)", "dtype=str"]),
        (saved(images=X, y=Y), ["X_train, y_train, X_test, y_test, or X and y", "images (12, 3), y (12,)"]),
        (saved(X_train=X, y_train=Y), ["X_train (12, 3)"]),
        (saved(X=3.0, y=Y), ["X ()"]),
        (saved(), ["found: none"]),
        (saved(X=X, x=X, y=Y), ["two arrays named x"]),
        (bomb("(10000000, 1000000)"), ["40,000.0 GB", "is free"]),
        (bomb("(100, 100)"), ["truncated"]),
        (bomb("(100, 100)", b"\x02\x00"), ["no plain header"]),
        (bomb("(-1, 3)"), [""]),
    ],
    ids=lambda part: part[0] if isinstance(part, list) else "file",  # the content holds the time
)
def test_npz__bad_files_are_refused(content: bytes, fragments: list[str], tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        load(path)
    for fragment in [*fragments, "data.npz"]:
        assert fragment in str(error.value)


# --- tables ------------------------------------------------------------------------------------------

TABLE = "height,colour,size,kind\n1.5,red,3,a\n2.5,blue,4,b\n3.5,red,5,a\n4.5,red,6,b\n5.5,blue,7,a\n6.5,red,8,b\n"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_csv__of_any_dialect(delimiter: str, newline: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "plants.csv"
    path.write_bytes(TABLE.replace(",", delimiter).replace("\n", newline).encode(encoding))
    data = load(path, preprocessing="none")
    assert data.name == "plants"
    assert data.feature_names == ("height", "colour=blue", "colour=red", "size")
    assert data.class_names == ("a", "b")
    assert data.source.startswith("plants.csv, target: last column 'kind'; no official split: 4 / 2")
    both = np.concatenate([data.x_train, data.x_test])
    assert both[both[:, 0].argsort()].tolist() == [
        [1.5, 0, 1, 3], [2.5, 1, 0, 4], [3.5, 0, 1, 5], [4.5, 0, 1, 6], [5.5, 1, 0, 7], [6.5, 0, 1, 8],
    ]  # fmt: skip


def test_csv__target_column_is_chosen(tmp_path: Path) -> None:
    path = tmp_path / "plants.csv"
    path.write_text(TABLE)
    data = load(path, target="height")
    assert (data.task, data.y_train.shape) == ("regression", (4, 1))
    assert "target: column 'height'" in data.source
    assert data.n_features == 5


def test_csv__without_header_with_decimal_commas_quotes_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "plants.tsv"
    path.write_text('\n1,5;"2,5";0\n3,5;4,5;1\n\n5,5;6,5;0\n7,5;8,5;1\n9;9;0\n9;9;1\n\n')
    data = load(path, preprocessing="none")
    assert data.feature_names == ("column 0", "column 1")
    assert sorted(np.concatenate([data.x_train, data.x_test])[:, 0]) == [1.5, 3.5, 5.5, 7.5, 9, 9]
    assert data.task == "classification"


@pytest.mark.parametrize(
    ("content", "options", "fragments"),
    [
        ("a,b,c\n1,2,3\n4,5\n", {}, ["line 3", "2 fields, expected 3", "delimiter ','"]),
        ("a;b;c\n1;2;3\n4;5;6;7\n", {}, ["line 3", "4 fields, expected 3", "delimiter ';'"]),
        ('a,b\n"1\n2",3\n4\n', {}, ["line 4", "1 fields"]),
        ("a,b,c\n1,,0\n2,3,1\nNA,5,0\n", {}, ["2 values are missing", "row 0 of column 'b'", "Fill"]),
        ("a,b\n", {}, ["0 rows"]),
        ("", {}, ["is empty"]),
        ("ab\n12\n34\n", {}, ["1 columns", "separated by"]),
        (
            TABLE,
            {"target": "hight"},
            ["no column 'hight'", "Did you mean 'height'?", "height, colour, size, kind"],
        ),
        (
            "t,y\n" + "".join(f"x{i % 30},{i % 2}\n" for i in range(40)),
            {},
            ["column 't'", "30 different", "'x0'", "20"],
        ),
        ("t,y\n" + "".join(f"{i},{i % 2}\n" for i in range(30)) + "12a,0\n", {}, ["column 't'", "'12a'"]),
        ("a,b\ninf,1\n2,0\n3,1\n", {}, ["1 of 3 values", "row 0, column 0 ('a')"]),
        (b"name,kind\ncaf\xe9,1\n", {}, ["not UTF-8", "Save it"]),
        (b"PK\x03\x04" + bytes(range(256)), {}, ["plants.csv"]),
        (TABLE, {"size": "small"}, ["size='small'", "only names have sizes"]),
    ],
)
def test_csv__bad_files_are_refused(
    content: str | bytes, options: dict[str, str], fragments: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "plants.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as error:
        load(path, **options)
    for fragment in fragments:
        assert fragment in str(error.value)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_files__missing_ones_have_a_message(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no file"):
        load(tmp_path / f"none{suffix}")


def test_parquet__equals_csv(tmp_path: Path) -> None:
    frame = pd.read_csv(io.StringIO(TABLE)).astype({"colour": "category", "size": "Int16"})
    frame.to_parquet(tmp_path / "plants.parquet", index=False)
    (tmp_path / "plants.csv").write_text(TABLE)
    one, other = load(tmp_path / "plants.parquet"), load(tmp_path / "plants.csv")
    np.testing.assert_array_equal(one.x_train, other.x_train)
    np.testing.assert_array_equal(one.y_train, other.y_train)
    assert (one.feature_names, one.class_names) == (other.feature_names, other.class_names)


def test_parquet__bad_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "plants.parquet"
    frame = pd.DataFrame({"when": pd.date_range("2020", periods=4), "y": [0, 1, 0, 1]})
    frame.to_parquet(path)
    with pytest.raises(DataError, match="column 'when' has the type timestamp"):
        load(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"plants\.parquet cannot be read as a Parquet file"):
        load(path)


def test_tables__too_big_for_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pd.DataFrame({"a": np.arange(1000), "y": np.arange(1000) % 2}).to_parquet(tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text(TABLE * 100)
    memory = type("Memory", (), {"available": 100})
    monkeypatch.setattr("tsnn.machine.psutil.virtual_memory", lambda: memory)
    for name in ("t.parquet", "t.csv"):
        with pytest.raises(DataError, match="GB of memory"):
            load(tmp_path / name, stream="never")


# --- names and TSNN_DATA -----------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that TSNN_DATA names."""
    path = tmp_path / "data"
    path.mkdir()
    monkeypatch.setenv("TSNN_DATA", str(path))
    return path


def test_folder__full_data_come_before_the_bundled_part(folder: Path) -> None:
    np.savez(folder / "fashion_mnist.npz", X=rng().random((20, 784)), y=np.arange(20) % 2 + 8)
    for size in ("auto", "full"):
        data = load("Fashion-MNIST", size=size)
        assert data.source == "TSNN_DATA; no official split: 13 / 7 drawn"
        assert (data.name, data.image_shape) == ("fashion_mnist", (28, 28))
        assert data.class_names == ("Bag", "Ankle boot")
    assert load("fashion_mnist", size="small").source.startswith("bundled part")


def test_folder__aliases_describe_their_difference(folder: Path) -> None:
    np.savez(folder / "cifar10_jpeg.npz", X=rng().random((20, 3072)), y=np.arange(20) % 2)
    data = load("cifar10")
    assert data.source.startswith("TSNN_DATA, cifar10_jpeg.npz (JPEG re-encoded, lossy)")
    assert (data.name, data.image_shape) == ("cifar10", (3, 32, 32))
    assert data.class_names == ("airplane", "automobile")
    np.savez(folder / "cifar10.npz", X=rng().random((20, 3072)), y=np.arange(20) % 2)
    assert load("cifar10").source.startswith("TSNN_DATA;")


def test_folder__catalogue_that_does_not_fit_is_ignored(folder: Path) -> None:
    np.savez(folder / "mnist.npz", X=numbers()[0], y=numbers()[1])
    assert load("mnist").image_shape is None
    np.savez(folder / "cifar10.npz", X=numbers()[0], y=numbers()[1] + 50)
    assert load("cifar10").class_names == ("50", "51", "52")


def test_folder__any_npz_has_a_name(folder: Path) -> None:
    np.savez(folder / "My-Data.npz", X=numbers()[0].reshape(12, 3, 1), y=numbers()[1])
    np.savez(folder / "other.npz", weights=numbers()[0])
    (folder / "broken.npz").write_bytes(b"PK")
    assert load("My-Data").name == "My-Data"
    info = {info.name: info for info in known_datasets()}
    assert list(info)[-1] == "My-Data"  # the two others are no data sets
    assert info["My-Data"].sizes == {"full": (12, 0)}
    assert (info["My-Data"].n_features, info["My-Data"].image_shape) == (3, (3, 1))


def test_names__unknown_ones_get_a_suggestion(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)  # two folders below the root, ../../etc/passwd is a file
    np.savez(folder / "mine.npz", X=X, y=Y)
    with pytest.raises(
        DataError, match=r"no data set 'fashion_mnits'. Did you mean 'fashion_mnist'\?.*coil20, art.*, mine"
    ):
        load("fashion_mnits")
    with pytest.raises(DataError, match="TSNN_DATA"):
        load("../../etc/passwd")
    with pytest.raises(DataError, match="target='x' was given for mine"):
        load("mine", target="x")


def test_folder__missing_one_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TSNN_DATA", str(tmp_path / "missing"))
    with pytest.raises(DataError, match="cannot be listed"):
        load("fashion_mnist")
    assert load("fashion_mnist", size="small").n_features == 784
    assert known_datasets()[0].available
    assert "cannot be listed" in caplog.text


def test_known_datasets__reads_headers_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(folder / "higgs_10k.npz", X_train=X, y_train=Y, X_test=X[:5], y_test=Y[:5])
    monkeypatch.setattr(np.lib.format, "read_array", None)
    info = {info.name: info for info in known_datasets()}
    assert "higgs_10k" not in info
    assert (info["higgs"].sizes, info["higgs"].local, info["higgs"].n_features) == (
        {"full": (12, 5)},
        ("full",),
        3,
    )
    assert info["fashion_mnist"].sizes == {"small": (5000, 1000), "full": (60_000, 10_000)}
    assert info["fashion_mnist"].local == ("small",)
    assert info["mnist"].sizes == {"full": (60_000, 10_000)}
    assert not info["mnist"].available
    assert info["madelon"].local == ("small", "full")
    assert (info["colon"].sizes, info["colon"].available) == ({}, False)


@pytest.mark.parametrize(
    ("name", "size", "fragments"),
    [
        ("mnist", "small", ["No small part of 'mnist'", "fashion_mnist, digits, madelon", "size='full'"]),
        ("colon", "auto", ["not on OpenML", "TSNN_DATA", "colon.npz"]),
        (
            "mnist",
            "auto",
            ["could not be downloaded", "554", "TSNN_DATA", "mnist.npz", "Connect to the network"],
        ),
        ("fashion_mnist", "full", ["could not be downloaded", "40996", "size='small'"]),
    ],
)
def test_load__unavailable_data_have_a_message(name: str, size: str, fragments: list[str], tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load(name, size=size)
    for fragment in fragments:
        assert fragment in str(error.value)
    assert list(tmp_path.glob("cache/*")) == []


# --- OpenML ------------------------------------------------------------------------------------------


@dataclass
class Server:
    """Fake OpenML: contents by path, and a list of the requested paths."""

    url: str = ""
    content: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def publish(self, identifier: int, file: bytes, kind: str = "arff", **changes: Any) -> None:
        description = {
            "id": str(identifier),
            "url": f"{self.url}/{identifier}.{kind}",
            "md5_checksum": hashlib.md5(file).hexdigest(),
            "default_target_attribute": "class",
            "row_id_attribute": "id",
        } | changes
        self.content[f"/json/{identifier}"] = json.dumps({"data_set_description": description}).encode()
        self.content[f"/{identifier}.{kind}"] = file


@pytest.fixture
def openml(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            body = state.content.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("tsnn.datasets.openml.OPENML_API", f"{state.url}/json")
    for name in ("mnist", "higgs"):
        counts = {"n_train": 8, "n_test": 4 if name == "mnist" else 0}
        monkeypatch.setitem(sources.KNOWN, name, replace(sources.KNOWN[name], **counts))
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def arff(x: np.ndarray, y: np.ndarray) -> bytes:
    head = "% a comment\r\n@RELATION some data\n\n@ATTRIBUTE id numeric\n"
    head += "".join(f"@attribute 'pixel {i}' {'REAL' if i else 'INTEGER'}\n" for i in range(x.shape[1]))
    rows = [",".join([str(i), *("?" if np.isnan(v) else f"{v:g}" for v in row), str(y[i])]) for i, row in enumerate(x)]
    return (head + "@attribute class {'0', '1', '2'}\n@DATA\n% here\n" + "\n".join(rows) + "\n\n").encode()


def test_openml__arff_is_downloaded_checked_converted_and_cached(openml: Server, tmp_path: Path) -> None:
    x, y = numbers()
    openml.publish(554, arff(x, y))
    data = load("mnist", preprocessing="none")
    assert data.source == "OpenML 554, downloaded"
    np.testing.assert_array_equal(data.x_train, x[:8])
    np.testing.assert_array_equal(data.x_test, x[8:])
    np.testing.assert_array_equal(data.y_test, y[8:])
    assert data.class_names == ("0", "1", "2")
    assert openml.asked == ["/json/554", "/554.arff"]
    with np.load(tmp_path / "cache" / "openml-554.npz", allow_pickle=False) as cached:
        assert cached["X_train"].dtype == np.uint8
    again = load("mnist", preprocessing="none")
    assert again.source == "OpenML 554, cached"
    assert again.digest == data.digest
    assert len(openml.asked) == 2
    assert [path.name for path in tmp_path.glob("cache/*")] == ["openml-554.npz"]
    assert next(info for info in known_datasets() if info.name == "mnist").local == ("full",)


def test_openml__parquet_is_used_without_a_checksum(openml: Server) -> None:
    x, y = numbers()
    frame = pd.DataFrame(x / 8, columns=list("abc")).assign(id=range(12), **{"class": y.astype(str)})
    stream = io.BytesIO()
    frame.astype({"class": "category"}).to_parquet(stream)
    openml.publish(554, stream.getvalue(), "pq", md5_checksum=None, parquet_url=f"{openml.url}/554.pq", url="")
    data = load("mnist", preprocessing="none")
    np.testing.assert_array_equal(data.x_train, x[:8] / 8)
    np.testing.assert_array_equal(data.y_train, y[:8])


def test_openml__rows_with_missing_values_are_left_out_and_reported(openml: Server) -> None:
    x, y = numbers()
    x[3, 1] = np.nan
    openml.publish(23512, arff(x / 3, y))
    data = load("higgs")
    assert len(data.y_train) + len(data.y_test) == 11
    assert "missing values left out" in data.source
    assert "7 / 4 drawn" in data.source


@pytest.mark.parametrize(
    ("file", "changes", "fragments"),
    [
        (arff(X, Y), {"md5_checksum": "0" * 32}, ["checksum", "Try again"]),
        (arff(X[:10], Y), {}, ["gave 10 samples, expected 12"]),
        (arff(X[:0], Y), {}, ["gave 0 samples"]),
        (arff(X, Y), {"default_target_attribute": "kind"}, ["lacks the column 'kind'"]),
        (b"@relation r\n@attribute class {0,1}\n@data\n{0 1}\n", {}, ["sparse ARFF"]),
        (b"<html>please log in</html>", {}, ["no @data section"]),
        (arff(X, Y), {"url": "http://127.0.0.1:1/gone.arff"}, ["could not be downloaded", "TSNN_DATA"]),
    ],
)
def test_openml__bad_downloads_are_refused_and_leave_nothing(
    file: bytes, changes: dict[str, Any], fragments: list[str], openml: Server, tmp_path: Path
) -> None:
    openml.publish(554, file, **changes)
    with pytest.raises(DataError) as error:
        load("mnist")
    for fragment in fragments:
        assert fragment in str(error.value)
    assert list(tmp_path.glob("cache/*")) == []


@pytest.mark.parametrize("answer", [None, b"{}", b"<html>", b'{"data_set_description": []}'])
def test_openml__invalid_descriptions_are_refused(answer: bytes | None, openml: Server) -> None:
    if answer is not None:
        openml.content["/json/554"] = answer
    with pytest.raises(DataError, match="could not be downloaded from OpenML"):
        load("mnist")


def test_openml__unwritable_cache(openml: Server, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(DataError, match=r"cache folder .* cannot be written .*TSNN_DATA"):
        load("mnist")
    assert openml.asked == []


def test_openml__damaged_cache_has_a_message(openml: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "openml-554.npz").write_bytes(b"half a fi")
    with pytest.raises(DataError, match=r"openml-554\.npz cannot be read .* delete it"):
        load("mnist")
    with caplog.at_level(logging.INFO):
        known_datasets()
    assert "openml-554.npz" in caplog.text


@pytest.mark.parametrize("suffix", [*READERS, ".toml"])
def test_pipe__is_refused_instead_of_waited_for(tmp_path, suffix, capsys):
    path = tmp_path / f"pipe{suffix}"
    os.mkfifo(path)
    assert main(["inspect", str(path)]) == 1
    assert "regular file" in capsys.readouterr().err


def test_data_folder__ignores_pipes(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.npz")
    monkeypatch.setenv("TSNN_DATA", str(tmp_path))
    assert "pipe" not in {info.name for info in known_datasets()}
