"""Features that stay on the disk: the same bits as in memory, in bounded memory, and clear messages."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tsnn
from tsnn.cli import main
from tsnn.config import Config
from tsnn.datasets.stored import StoredArray, leave_in_file
from tsnn.datasets.streamed import StreamedFeatures
from tsnn.errors import ConfigError, DataError
from tsnn.execution.engine import execute
from tsnn.formats.runs import final_network
from tsnn.machine import available_memory

N, WIDTH = 301, 7


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own."""
    monkeypatch.setattr("tsnn.datasets.unpacked.cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "unpacked"


@pytest.fixture
def samples(rng):
    x = rng.normal(size=(N, WIDTH)) * 10.0 ** np.arange(WIDTH) - 3
    return x, (x[:, 0] > -3).astype(int)


def folder_of(path, **arrays):
    path.mkdir()
    for name, values in arrays.items():
        np.save(path / f"{name}.npy", values)
    return path


def stored(kind, path, x, y):
    """Write samples in one of the forms that can be streamed; return the path."""
    if kind in ("npz", "npz_deflated"):
        file = path / f"{kind}.npz"
        (np.savez if kind == "npz" else np.savez_compressed)(file, X=x, y=y)
        return file
    if kind == "npz_split":
        np.savez(path / "s.npz", X_train=x[:200], y_train=y[:200], X_test=x[200:], y_test=y[200:])
        return path / "s.npz"
    if kind == "table":
        np.save(path / "table.npy", np.column_stack([x, y]))
        return path / "table.npy"
    if kind == "by_column":
        return folder_of(path / kind, X=np.asfortranarray(x), y=y)
    if kind == "split_folder":
        return folder_of(path / kind, X_train=x[:200], y_train=y[:200], X_test=x[200:], y_test=y[200:])
    return folder_of(path / kind, x=x, Y=y)


KINDS = ("npz", "npz_deflated", "npz_split", "table", "folder", "split_folder", "by_column")


def load(path, stream, **options):
    return tsnn.load_dataset(path, rng=np.random.default_rng(5), stream=stream, **options)


def assert_same(one, other):
    """Two data sets are the same to the bit, but for where their features are."""
    for part in ("train", "test", "validation"):
        x, other_x = (getattr(data, f"x_{part}") for data in (one, other))
        if x is None:
            assert other_x is None
            continue
        assert isinstance(other_x, StreamedFeatures)
        assert not isinstance(x, StreamedFeatures)
        assert np.asarray(x).tobytes() == np.asarray(other_x).tobytes()
        assert getattr(one, f"y_{part}").tobytes() == getattr(other, f"y_{part}").tobytes()
    assert one.digest == other.digest
    assert sorted(one.warnings) == sorted(other.warnings)
    assert (one.n_features, one.image_shape) == (other.n_features, other.image_shape)
    assert one.class_names == other.class_names
    assert other.nbytes < one.nbytes
    assert (one.stored_bytes, other.stored_bytes > 0) == (0, True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("preprocessing", ["standard", "minmax", "none"])
def test_streaming__gives_the_same_bits_as_in_memory(kind, preprocessing, samples, tmp_path):
    path = stored(kind, tmp_path, *samples)
    options = {"validation_fraction": 0.2, "preprocessing": preprocessing}
    assert_same(load(path, "never", **options), load(path, "always", **options))


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "u1", "<i2", "?"])
def test_streaming__takes_images_and_numbers_of_any_type(dtype, rng, tmp_path):
    x = rng.integers(0, 2 if dtype == "?" else 200, size=(90, 4, 5)).astype(dtype)
    path = folder_of(tmp_path / "images", X=x, y=np.arange(90) % 3)
    assert_same(load(path, "never"), load(path, "always"))


@pytest.mark.parametrize("kind", ["folder", "table", "npz_split"])
@pytest.mark.parametrize("missing", ["drop_rows", "fill"])
def test_streaming__treats_missing_values_alike(kind, missing, samples, tmp_path, monkeypatch):
    x, y = samples
    x[::17, 2] = x[5, :] = np.nan
    path = stored(kind, tmp_path, x, y)
    monkeypatch.setattr("tsnn.datasets.missing._GROUP", 3 * 8 * N)  # three columns in a pass
    one, other = (load(path, stream, missing=missing, validation_fraction=0.1) for stream in ("never", "always"))
    assert_same(one, other)
    if missing == "fill":
        np.testing.assert_array_equal(one.medians, other.medians)
    with pytest.raises(DataError, match="NaN"):
        load(path, "always")


def test_streaming__is_automatic_where_features_do_not_fit(samples, tmp_path, monkeypatch):
    path = stored("folder", tmp_path, *samples)
    needed = N * (WIDTH * 12 + 12)
    for available, streams in ((2 * needed, False), (needed, True)):
        monkeypatch.setattr("tsnn.datasets.stored.available_memory", lambda available=available: available)
        assert isinstance(load(path, "auto").x_train, StreamedFeatures) == streams
    assert isinstance(load(path, "auto", processes=1).x_train, StreamedFeatures)
    monkeypatch.setattr("tsnn.datasets.stored.available_memory", lambda: 2 * needed)
    assert isinstance(load(path, "auto", processes=3).x_train, StreamedFeatures), "each rank has its share"
    with pytest.raises(ConfigError, match="stream is 'sometimes'"):
        load(path, "sometimes")


def test_arrays__in_mapped_files_stay_there_if_they_do_not_fit(samples, tmp_path, monkeypatch):
    x, y = samples
    np.save(tmp_path / "x.npy", np.column_stack([x, x]))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")[5:, WIDTH:]
    assert leave_in_file(mapped) is mapped
    expected = tsnn.make_dataset(x[5:], y[5:], rng=np.random.default_rng(0))
    monkeypatch.setattr("tsnn.datasets.stored.available_memory", lambda: 100)
    assert_same(expected, tsnn.make_dataset(mapped, y[5:], rng=np.random.default_rng(0)))
    kept = np.load(tmp_path / "x.npy", mmap_mode="c")
    for array in (x, kept, mapped.T, mapped[:0]):
        assert leave_in_file(array) is array


def test_estimator__fits_and_predicts_mapped_samples_that_do_not_fit(samples, tmp_path, monkeypatch):
    x, y = samples
    np.save(tmp_path / "x.npy", x)
    models = [tsnn.SparseMLPClassifier(hidden=[8], epochs=2, random_state=0) for _ in range(2)]
    expected = models[0].fit(x, y).predict_proba(x)
    monkeypatch.setattr("tsnn.datasets.stored.available_memory", lambda: 100)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert isinstance(models[1].fit(mapped, y)._scaled(leave_in_file(mapped)), StreamedFeatures)
    np.testing.assert_array_equal(models[1].predict_proba(mapped), expected)


@pytest.fixture
def frame(rng):
    """Columns of several types, with missing values, an id and text."""
    n = 400
    frame = pd.DataFrame(rng.normal(size=(n, 5)), columns=list("abcde"))
    frame["f"] = frame["a"].astype(np.float32)
    frame["whole"] = rng.integers(0, 9, n)
    frame["color"] = rng.choice(["red", "blue", None], n)
    frame["flag"] = frame["b"] > 0
    frame["patient_id"] = [f"p{i}" for i in range(n)]
    frame.loc[::7, "c"] = np.nan
    frame["label"] = np.where(frame["a"] > 0, "yes", "no")
    return frame


@pytest.mark.parametrize("form", ["one file", "row groups", "parts", "folders"])
def test_parquet__is_streamed_with_the_same_bits(form, frame, tmp_path, monkeypatch):
    path = tmp_path / "t.parquet"
    if form == "parts":
        path = tmp_path / "parts"
        path.mkdir()
        frame[:150].to_parquet(path / "a.parquet")
        frame[150:].to_parquet(path / "b.parquet")
    elif form == "folders":
        path = tmp_path / "folders"
        frame.to_parquet(path, partition_cols=["whole"])
    else:
        frame.to_parquet(path, row_group_size=10_000 if form == "one file" else 64)
    monkeypatch.setattr("tsnn.datasets.large_tables._GROUP", 3 * 32 * len(frame))  # three columns at a time
    monkeypatch.setattr("tsnn.datasets.large_tables._PANEL", 4000)
    options = {"missing": "fill", "validation_fraction": 0.1, "target": "label"}
    one, other = (load(path, stream, **options) for stream in ("never", "always"))
    if form == "folders":  # the columns of folders are in another place
        assert sorted(one.feature_names) == sorted(other.feature_names)
        return
    assert_same(one, other)
    assert (one.feature_names, one.columns) == (other.feature_names, other.columns)
    assert one.warnings
    assert other.source.startswith(one.source.split(";")[0])
    again = load(path, "always", **options)
    assert (again.columns, again.warnings, again.digest) == (other.columns, other.warnings, other.digest)


def test_parquet__that_cannot_be_streamed_is_one_sentence(frame, tmp_path):
    path = tmp_path / "t.parquet"
    frame.to_parquet(path)
    with pytest.raises(DataError, match=r"Set data\.missing=fill"):
        load(path, "always", missing="drop_rows")
    with pytest.raises(DataError, match="no column 'labels' to predict"):
        load(path, "always", missing="fill", target="labels")
    with pytest.raises(DataError, match="no column 'x' to drop"):
        load(path, "always", missing="fill", drop=["x"])
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match="cannot be read as a Parquet file"):
        load(path, "always")


# --- runs --------------------------------------------------------------------------------------------


@pytest.fixture
def runs(store, monkeypatch):
    """Return a function that trains on a path with settings, and returns the run."""
    monkeypatch.setenv("TSNN_RUNS", str(store.root))

    def train(path, **settings):
        small = {"network.hidden": [8], "network.epsilon": 4, "training.epochs": 2, "training.batch_size": 32}
        run = store.create(Config().replace({"data.name": str(path), **small, **settings}))
        list(execute(run))
        return run

    return train


def weights(run):
    return b"".join(layer.weights.tobytes() for layer in final_network(run).layers)


def test_runs__on_streamed_data_give_the_same_bits_also_when_resumed(runs, samples, tmp_path):
    path = stored("folder", tmp_path, *samples)
    settings = {"data.validation_fraction": 0.2, "training.regrow": "gradient"}
    memory = runs(path, **settings, **{"data.stream": "never", "training.epochs": 4})
    streamed = runs(path, **settings, **{"data.stream": "always", "training.epochs": 4})
    half = runs(path, **settings, **{"data.stream": "always"})
    assert main(["resume", half.id, "--epochs", "4"]) == 0
    assert weights(memory) == weights(streamed) == weights(half)
    losses = [[(r.train_loss, r.test_loss, r.validation_loss) for r in run.records()] for run in (memory, half)]
    assert losses[0] == losses[1]
    assert memory.meta()["data"]["digest"] == streamed.meta()["data"]["digest"]


def test_runs__on_a_folder_are_resumed_from_elsewhere(runs, samples, tmp_path, monkeypatch):
    stored("folder", tmp_path, *samples)
    monkeypatch.chdir(tmp_path)
    run = runs("folder", **{"data.stream": "always"})
    monkeypatch.chdir("/")
    assert main(["resume", run.id, "--epochs", "3"]) == 0
    assert len(run.records()) == 3


def test_runs__say_that_data_are_streamed(runs, samples, tmp_path, capsys):
    path = stored("npz", tmp_path, *samples)
    run = runs(path, **{"data.stream": "always"})
    memory = run.meta()["memory"]
    assert memory["streamed"] == 8 * WIDTH * N
    assert memory["items"]["data"] < 4 * WIDTH * N
    assert "of features are streamed from disk" in (run.path / "log.txt").read_text()
    assert "streamed from disk" in run.meta()["data"]["source"]
    assert main(["inspect", str(path), "--set", "data.stream=always"]) == 0
    assert "stay on the disk" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["folder", "table", "npz_split", "npz_deflated"])
def test_predict__reads_samples_in_parts(kind, runs, samples, tmp_path, monkeypatch, capsys):
    path = stored(kind, tmp_path, *samples)
    monkeypatch.setattr("tsnn.estimator.predictions._PART", 1)
    outputs = []
    for stream in ("never", "always"):
        run = runs(path, **{"data.stream": stream})
        assert main(["predict", run.id, str(path), "--probabilities"]) == 0
        outputs.append(capsys.readouterr())
    assert outputs[0] == outputs[1]
    assert "Accuracy" in outputs[0].err


@pytest.mark.parametrize("target", [True, False])
def test_predict__reads_parquet_in_parts(target, runs, frame, tmp_path, monkeypatch, capsys):
    path = tmp_path / "t.parquet"
    frame.to_parquet(path)
    run = runs(path, **{"data.missing": "fill"})
    streamed = runs(path, **{"data.missing": "fill", "data.stream": "always"})
    monkeypatch.setattr("tsnn.datasets.arrow._BATCH", 64 * 8 * 11)
    monkeypatch.setattr("tsnn.estimator.predictions._PART", 1)
    other = tmp_path / "new.parquet"
    (frame if target else frame.drop(columns="label")).to_parquet(other, row_group_size=150)
    outputs = []
    for each in (run, streamed):
        assert main(["predict", each.id, str(other), "--probabilities"]) == 0
        outputs.append(capsys.readouterr())
    assert outputs[0].out == outputs[1].out
    assert outputs[0].err == outputs[1].err
    assert ("Accuracy" in outputs[0].err) == target
    frame["b"] = frame["b"].astype(object)
    frame.loc[200, "b"] = "none"
    frame["b"] = frame["b"].astype(str)
    frame.to_parquet(other)
    assert main(["predict", streamed.id, str(other)]) == 1
    assert "Of rows 193 to 256, counted from there" in capsys.readouterr().err


# --- files -------------------------------------------------------------------------------------------


def test_stored_array__reads_any_rows(samples, tmp_path):
    x = samples[0]
    np.save(tmp_path / "x.npy", x)
    array = StoredArray(tmp_path / "x.npy", 128, x.shape, x.dtype)
    for index in (slice(None), slice(3, 90, 4), slice(-5, None), np.array([4, 3, 3, 4, 5, 6, 300]), np.arange(0)):
        np.testing.assert_array_equal(array[index], x[index])
        np.testing.assert_array_equal(array.take(np.arange(N)[::-1])[index], x[::-1][index])
    assert (array.ndim, array.size, array.nbytes, len(array)) == (2, x.size, x.nbytes, N)


def test_stored_array__that_becomes_shorter_is_one_sentence(samples, tmp_path):
    path = stored("folder", tmp_path, *samples) / "x.npy"
    data = load(path.parent, "always")
    content = path.read_bytes()
    path.write_bytes(content[:2000])
    with pytest.raises(DataError, match=r"x\.npy cannot be read as an array: it ends at byte"):
        np.asarray(data.x_train)
    with pytest.raises(DataError, match=r"x\.npy is truncated: its header promises 301 rows"):
        load(path.parent, "always")


def test_npz__with_a_wrong_checksum_is_not_streamed(samples, tmp_path):
    path = stored("npz", tmp_path, *samples)
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"npz\.npz cannot be read as an \.npz archive: Bad CRC"):
        load(path, "always")


def test_unpacked__copies_are_reused_replaced_and_removed(samples, tmp_path, cache):
    x, y = samples
    path = stored("npz_deflated", tmp_path, x, y)
    first = load(path, "always")
    [copy] = cache.glob("*/x.npy")
    written = copy.stat().st_mtime_ns
    assert load(path, "always").digest == first.digest
    assert copy.stat().st_mtime_ns == written, "reused"
    np.savez_compressed(path, X=x + 1, y=y)
    assert load(path, "always").digest == tsnn.make_dataset(x + 1, y, rng=np.random.default_rng(0)).digest
    assert [*cache.glob("*/x.npy")] == [copy], "replaced"
    path.unlink()
    load(stored("by_column", tmp_path, x, y), "always")
    assert not copy.exists(), "removed with its source"


def test_unpacked__needs_room_on_the_disk(samples, tmp_path, monkeypatch, cache):
    path = stored("npz_deflated", tmp_path, *samples)
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("tsnn.datasets.unpacked.shutil.disk_usage", lambda folder: usage)
    with pytest.raises(DataError, match=r"npz_deflated\.npz does not fit into memory.*Make room, set XDG_CACHE_HOME"):
        load(path, "always")
    assert [path.name for path in cache.iterdir()] == ["lock"], "nothing is left"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.zeros((4, 2))}, "should hold the arrays X_train"),
        ({"X": np.array([None, 1]), "y": np.zeros(2)}, "Python objects"),
        ({"X": np.zeros((4, 2)), "y": np.zeros(3)}, "3 entries for 4 samples"),
    ],
)
def test_folders__with_other_arrays_are_refused(arrays, message, tmp_path):
    with pytest.raises(DataError, match=message):
        load(folder_of(tmp_path / "arrays", **arrays), "auto")


def test_npy__without_a_column_to_predict_is_refused(tmp_path):
    np.save(tmp_path / "one.npy", np.zeros((5, 1)))
    with pytest.raises(DataError, match=r"make a folder with X\.npy and y\.npy"):
        load(tmp_path / "one.npy", "auto")


# --- memory ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
def test_available_memory__respects_control_groups(version, tmp_path, monkeypatch):
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache", "total_shmem"),
        2: ("memory.max", "memory.current", "file", "shmem"),
    }[version]
    root = tmp_path / "memory" if version == 1 else tmp_path
    for folder, limit in ((root / "outer", 10_000), (root / "outer" / "inner", 5000 if version == 1 else "max")):
        folder.mkdir(parents=True)
        (folder / names[0]).write_text(f"{limit}\n")
        (folder / names[1]).write_text("4000\n")
        (folder / "memory.stat").write_text(f"{names[2]} 3000\n{names[3]} 1000\n")
    (tmp_path / "groups").write_text(f"1:name=x:/\n{'5:memory' if version == 1 else '0:'}:/outer/inner\n")
    monkeypatch.setattr("tsnn.machine._GROUPS", tmp_path)
    monkeypatch.setattr("tsnn.machine._MEMBERSHIP", tmp_path / "groups")
    assert available_memory() == {1: 5000, 2: 10_000}[version] - 4000 + 3000 - 1000


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the limits of Linux")
@pytest.mark.parametrize("limit", ["AS", "DATA"])
def test_available_memory__respects_the_limits_of_a_process(limit):
    code = (
        f"import resource, tsnn.machine; resource.setrlimit(resource.RLIMIT_{limit}, (2**31, 2**31)); "
        "print(tsnn.machine.available_memory())"
    )
    left = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert 2**30 < left < 2**31 - 2**20


LIMITED = """
import json, resource, sys
from pathlib import Path
import tsnn.execution.engine, tsnn.runs
from tsnn.config import Config
folder, settings, megabytes = Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])
store = tsnn.runs.RunStore(folder / "runs")
for data in ("few", "many"):  # few samples first: compiling takes memory too
    if data == "many":
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        most = 1024 * int(status["VmData"].split()[0]) + megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    run = store.create(Config().replace({"data.name": str(folder / data), **settings}))
    list(tsnn.execution.engine.execute(run))
print(json.dumps(run.meta()["memory"]))
"""


@pytest.mark.slow
@pytest.mark.compiled
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the limits of Linux")
def test_training__of_more_features_than_memory_stays_within_a_limit(rng, tmp_path):
    x = rng.normal(size=(75_000, 1000)).astype(np.float32)
    folder_of(tmp_path / "many", X=x, y=np.arange(75_000) % 3)
    folder_of(tmp_path / "few", X=x[:300], y=np.arange(300) % 3)
    settings = {"network.hidden": [16], "network.epsilon": 1, "training.epochs": 1, "training.batch_size": 128}
    command = [sys.executable, "-c", LIMITED, str(tmp_path), json.dumps(settings), "150"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["streamed"] == x.nbytes
    command[4] = json.dumps({**settings, "data.stream": "never"})
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "GB of memory" in refused.stderr
