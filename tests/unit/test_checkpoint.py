"""Networks and states in files: read back to the bit, damage named."""

import dataclasses
import errno
import json

import numpy as np
import pytest

import tsnn
from tsnn.archives import npz_bytes
from tsnn.config import Config
from tsnn.engine.importance import prune_neurons
from tsnn.engine.memory import memory_estimate
from tsnn.engine.metrics import decision_values
from tsnn.engine.network import init_network
from tsnn.engine.serialization import load_network, network_arrays, pack, save_network, unpack
from tsnn.engine.state import TrainingState
from tsnn.engine.training import steps
from tsnn.engine.workspace import Workspace
from tsnn.errors import DataError, RunError
from tsnn.records import FORMAT, EpochRecord, Progress
from tsnn.runs import RunStore
from tsnn.runs.checkpoints import read_checkpoint, write_checkpoint


@pytest.fixture
def network(tiny, rng):
    network = init_network(12, 3, tiny, rng=rng)
    prune_neurons(network, 30)
    return network


def test_network_file__returns_the_same_network(network, tmp_path, rng):
    save_network(network, tmp_path / "weights.npz")
    twin = load_network(tmp_path / "weights.npz")
    x = rng.normal(size=(20, 12)).astype(np.float32)
    workspace = Workspace(network.sizes, 16)
    assert (decision_values(twin, x, workspace) == decision_values(network, x, workspace)).all()
    assert all((a == b).all() for a, b in zip(twin.living, network.living, strict=True))
    assert twin.initializer == network.initializer


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"format": 99}, "format 99"),
        ({"indices_0": np.full(5, 77, np.int32)}, "Row pointers"),
        ({"weights_1": np.zeros(3, np.float32)}, "weights_1 is float32.3.; expected float32"),
        ({"n_out_1": 11}, "not a readable tsnn network|meet"),
        ({"bias_0": np.array([{}], dtype=object)}, "pickle|Object"),
    ],
)
def test_network_file__damage_has_a_message(network, tmp_path, damage, message):
    path = tmp_path / "weights.npz"
    save_network(network, path)
    arrays = dict(np.load(path)) | damage
    np.savez(path, allow_pickle=True, **arrays)
    with pytest.raises(RunError, match=message):
        load_network(path)


def test_network_file__truncation_has_a_message(network, tmp_path):
    path = tmp_path / "weights.npz"
    save_network(network, path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(RunError, match="not a readable"):
        load_network(path)
    with pytest.raises(RunError, match=r"missing\.npz"):
        load_network(tmp_path / "missing.npz")


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs")


def outcome(state, data):
    """Train to the end; return the arrays and the records without times."""
    records = [item for item in steps(state, data) if isinstance(item, EpochRecord)]
    arrays = {name: np.asarray(a).tobytes() for name, a in network_arrays(state.network, training=True).items()}
    return arrays, [timeless(record) for record in records]


def timeless(record):
    seconds = dict.fromkeys(("seconds_train", "seconds_evolve", "seconds_evaluate", "seconds_examine"), 0)
    return dataclasses.replace(record, **seconds, memory_bytes=0)


def fresh(data, config, seed=3):
    rng = np.random.default_rng(seed)
    network = init_network(data.n_features, data.n_outputs, config, rng=rng)
    return TrainingState.begin(network, config, rng=rng)


def there_and_back(state, run):
    write_checkpoint(run, state.epoch, state.done, "sequential", *pack(state))
    saved = read_checkpoint(run, "sequential")
    return unpack(saved.values, saved.arrays)


@pytest.mark.compiled
@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"training.regrow": "gradient", "importance.percentile": 20, "importance.start": 1, "importance.every": 1},
        {"training.method": "dense"},
    ],
)
def test_checkpoint__after_any_batch_continues_bit_for_bit(blobs, tiny, store, change):
    config = tiny.replace(change)
    expected, records = outcome(fresh(blobs, config), blobs)
    run, state = store.create(config), fresh(blobs, config)
    yielded = 0
    for item in steps(state, blobs):
        yielded += 1
        if yielded == 5:  # in the middle of an epoch: waits for its end, also in the file
            state.pending = config
        arrays, later = outcome(there_and_back(state, run), blobs)
        assert arrays == expected
        assert later == records[item.epoch - isinstance(item, Progress) :]
    assert yielded == 4 * 3


def test_checkpoint__keeps_pending_settings(blobs, tiny, store):
    state = fresh(blobs, tiny)
    next(iter(steps(state, blobs)))
    state.pending = tiny.replace({"training.learning_rate": 0.5})
    twin = there_and_back(state, store.create(tiny))
    assert [twin.config, twin.pending] == [state.config, state.pending]
    assert outcome(twin, blobs) == outcome(state, blobs)


def test_checkpoint__extended_run_equals_a_longer_one(blobs, tiny, store):
    expected, records = outcome(fresh(blobs, tiny.replace({"training.epochs": 5})), blobs)
    state = fresh(blobs, tiny.replace({"training.epochs": 2}))
    outcome(state, blobs)
    twin = there_and_back(state, store.create(tiny))
    twin.config = twin.pending = twin.config.replace({"training.epochs": 5})
    arrays, later = outcome(twin, blobs)
    assert arrays == expected
    assert [event.kind for event in later[0].events] == ["evolution"]
    assert [dataclasses.replace(record, events=()) for record in later] == records[2:]


@pytest.fixture
def kept(blobs, tiny, store):
    """A run with checkpoints after 1 and 2 epochs."""
    run, state = store.create(tiny), fresh(blobs, tiny)
    for item in steps(state, blobs):
        if isinstance(item, EpochRecord) and item.epoch < 3:
            write_checkpoint(run, state.epoch, state.done, "sequential", *pack(state))
    return run


def test_checkpoints__two_are_kept_named_by_their_position(kept):
    assert [path.name for path in kept.checkpoints()] == ["0000002-000000000000.npz", "0000001-000000000000.npz"]
    assert kept.resumes_from() == 2
    write_checkpoint(kept, 2, 64, "sequential", {}, {})
    assert [path.name[:12] for path in kept.checkpoints()] == ["0000002-0000", "0000002-0000"]
    assert len(list(kept.checkpoint_folder.iterdir())) == 2


def test_checkpoints__full_disk_leaves_the_existing_ones(kept, monkeypatch):
    before = [path.read_bytes() for path in kept.checkpoints()]
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(kept, 3, 0, "sequential", {}, {"a": np.zeros(1000)})
    assert [path.read_bytes() for path in kept.checkpoints()] == before
    assert len(list(kept.checkpoint_folder.iterdir())) == 2


def test_checkpoints__any_damage_is_detected(kept, caplog):
    path = kept.checkpoints()[0]
    content = path.read_bytes()
    good = read_checkpoint(kept, "sequential")
    rng = np.random.default_rng(0)
    noticed = 0
    for position in [*rng.integers(len(content), size=150), len(content) - 3]:
        bad = bytearray(content)
        bad[position] ^= 1 << rng.integers(8)
        path.write_bytes(bad)
        found = read_checkpoint(kept, "sequential")
        if found.damaged:
            noticed += 1
            assert found.values["epoch"] == 1
            assert path.name in found.damaged[0]
        else:  # a bit that means nothing, like a time stamp of the archive
            assert found.values == good.values
            assert all((found.arrays[name] == good.arrays[name]).all() for name in good.arrays)
    assert noticed > 100
    assert "is damaged" in caplog.text
    for length in (0, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        assert read_checkpoint(kept, "sequential").values["epoch"] == 1


def test_resume__needs_an_undamaged_checkpoint(kept):
    for path in kept.checkpoints():
        path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(RunError, match=r"0000002.*is damaged.*0000001.*is damaged.*Start a new run"):
        read_checkpoint(kept, "sequential")


def rewritten(run, values=None, arrays=None, compress=False, **header):
    """Replace the newest checkpoint by one whose checksums are right but whose content is not."""
    path = run.checkpoints()[0]
    members = dict(np.load(path))
    header = json.loads(str(members["header"])) | header
    header["values"] |= values or {}
    path.write_bytes(npz_bytes(members | {"header": json.dumps(header)} | (arrays or {}), compress=compress))


def test_checkpoints__other_version_or_kind_has_a_message(kept):
    rewritten(kept, format=FORMAT + 1, tsnn="9.8")
    expected = rf"tsnn 9\.8 in format {FORMAT + 1}; this is tsnn {tsnn.__version__}, which reads format {FORMAT}"
    with pytest.raises(RunError, match=expected):
        read_checkpoint(kept, "sequential")
    rewritten(kept, format=FORMAT, kind="parallel")
    with pytest.raises(RunError, match="a parallel run, not to a sequential one"):
        read_checkpoint(kept, "sequential")


@pytest.mark.parametrize(
    ("values", "arrays", "message"),
    [
        ({}, {"indices_1": np.full(40, 99, np.int32)}, "Column indices|Row pointers"),
        ({}, {"indptr_0": np.arange(13)}, "Row pointers"),
        ({}, {"velocity_0": np.zeros(1, np.float32)}, "velocity_0 is float32"),
        ({}, {"bias_0": np.zeros(10)}, "bias_0 is float64"),
        ({"shuffle": {"bit_generator": "MT19937"}}, {}, "no state of training"),
        ({"surprise": 1}, {}, "surprise"),
        ({"config": {"training": {"zeta": 7}}}, {}, "training.zeta"),
    ],
)
def test_checkpoints__inconsistent_arrays_never_reach_a_kernel(kept, values, arrays, message):
    rewritten(kept, values, arrays)
    saved = read_checkpoint(kept, "sequential")
    with pytest.raises(RunError, match=message):
        unpack(saved.values, saved.arrays)


def test_checkpoint__order_of_other_samples_is_refused(blobs, tiny):
    state = fresh(blobs, tiny)
    next(iter(steps(state, blobs)))
    state.order[0] = 10**6
    with pytest.raises(DataError, match="an epoch of 90 samples"):
        next(iter(steps(state, blobs)))


def test_checkpoints__zip_bomb_is_not_unpacked(kept):
    rewritten(kept, arrays={"weights_0": np.zeros(2**22, np.float32)}, compress=True)
    assert "compressed" in read_checkpoint(kept, "sequential").damaged[0]


def test_checkpoint__takes_the_estimated_space(store, rng):
    config = Config().replace({"network.hidden": [500, 300]})
    state = TrainingState.begin(init_network(784, 10, config, rng=rng), config, rng=rng)
    run = store.create(config)
    write_checkpoint(run, 0, 0, "sequential", *pack(state))
    expected = memory_estimate(config, 784, 10, 1000).checkpoint
    assert run.checkpoints()[0].stat().st_size == pytest.approx(expected, rel=0.1)
