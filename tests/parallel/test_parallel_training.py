"""Server and workers over threads: what the papers define, against sequential oracles."""

import copy
import dataclasses
import itertools
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.support.ranks import Threads, begin
from tests.support.replay import assert_replayed
from tsnn import kernels
from tsnn.datasets import shard
from tsnn.engine.network import train_batch
from tsnn.engine.shapes import layer_shapes
from tsnn.engine.state import TrainingState
from tsnn.engine.training import make_workspace, steps
from tsnn.errors import ConfigError, DivergenceError, WorkerError
from tsnn.jobs.launch import mpiexec
from tsnn.parallel import worker
from tsnn.parallel.averaging import average
from tsnn.records import EpochRecord, Progress

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(tiny):
    return tiny.replace({"parallel.workers": 2, "parallel.phase1_fraction": 1, "training.batch_size": 16})


def records_of(items):
    return [item for item in items if isinstance(item, EpochRecord)]


def assert_same(network, other, **tolerance):
    for one, two in zip(network.layers, other.layers, strict=True):
        assert (one.topology.indices == two.topology.indices).all()
        for name in ("weights", "bias"):
            np.testing.assert_allclose(getattr(one, name), getattr(two, name), **tolerance)


def test_one_asynchronous_worker_is_sequential_training(blobs, config):
    config = config.replace({"parallel.workers": 1, "training.epochs": 4, "importance.percentile": 10})
    config = config.replace({"importance.start": 2, "importance.every": 1})
    threads = Threads(blobs, config)
    parallel = records_of(threads)
    state, _ = begin(blobs, config)
    sequential = records_of(steps(state, blobs))
    assert_same(threads.state.network, state.network, rtol=1e-3, atol=1e-5)
    for one, other in zip(parallel, sequential, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-4)
        assert one.test_accuracy == other.test_accuracy
        assert [(l.pruned, l.grown, l.living) for l in one.layers] == [
            (l.pruned, l.grown, l.living) for l in other.layers
        ]
    assert [w.staleness for record in parallel for w in record.workers] == [(6,)] * 4


@pytest.mark.parametrize(("threads", "each"), [(0, 1), (2, 2)])
def test_workers_keep_to_their_own_cores_in_both_phases(blobs, config, monkeypatch, threads, each):
    asked = {}
    monkeypatch.setattr(kernels, "set_threads", lambda n: asked.setdefault(threading.current_thread(), set()).add(n))
    run = Threads(blobs, config.replace({"parallel.phase1_fraction": 0.5, "run.threads": threads}))
    assert [record.workers[0].phase for record in records_of(run)] == [1, 1, 2]
    assert [asked[worker] for worker in run.workers] == [{each}] * 2
    assert asked[threading.current_thread()] == {threads}


def rounds_of(data, config):
    """What each synchronous round of an epoch trains on: the workers' samples one after the other."""
    k = config.parallel.workers
    _, rng = begin(data, config)
    streams = [worker._stream(rng, w + 1, 0) for w in range(k)]
    orders = [s.spawn(3)[0].permutation(len(range(w, len(data.x_train), k))) for w, s in enumerate(streams)]
    size = config.training.batch_size
    for start in range(0, max(map(len, orders)), size):
        yield np.concatenate([w + k * order[start : start + size] for w, order in enumerate(orders)])


def test_synchronous_workers_are_training_with_a_large_batch(blobs, config):
    config = config.replace(
        {"parallel.mode": "wassp", "parallel.warmup": 0, "network.dropout": 0, "training.epochs": 1}
    )
    threads = Threads(blobs, config)
    records_of(threads)
    state, _ = begin(blobs, config)
    scaled = dataclasses.replace(config.training, learning_rate=2 * config.training.learning_rate)
    for chosen in rounds_of(blobs, config):
        train_batch(
            state.network, make_workspace(state, blobs), blobs.x_train, blobs.y_train, chosen, task=blobs.task,
            config=scaled, dropout=0, key=0,
        )  # fmt: skip
    assert_same(threads.state.network, state.network, rtol=1e-3, atol=1e-5)


def test_the_learning_rate_warms_up_and_takes_the_momentum_with_it(blobs, config):
    config = config.replace(
        {"parallel.mode": "wassp", "parallel.warmup": 2, "network.dropout": 0, "training.epochs": 1}
    ).replace({"training.momentum": 0.5})
    threads = Threads(blobs, config)
    records_of(threads)
    state, _ = begin(blobs, config)
    before = 1.0
    for i, chosen in enumerate(rounds_of(blobs, config)):
        factor = 1 + i / 3 / 2
        changed = {"learning_rate": factor * config.training.learning_rate}
        changed["momentum"] = 0.5 * factor / before
        before = factor
        train_batch(
            state.network, make_workspace(state, blobs), blobs.x_train, blobs.y_train, chosen, task=blobs.task,
            config=dataclasses.replace(config.training, **changed), dropout=0, key=0,
        )  # fmt: skip
    assert_same(threads.state.network, state.network, rtol=1e-3, atol=1e-5)


def test_a_synchronous_run_that_goes_on_keeps_its_momentum(blobs, config):
    config = config.replace({"parallel.mode": "wassp", "parallel.warmup": 0, "parallel.phase1_fraction": 1})
    config = config.replace({"training.epochs": 2, "training.zeta": 0, "training.weight_decay": 0})
    threads = Threads(blobs, config.replace({"training.momentum": 0.5, "training.learning_rate": 1e-12}))
    threads.state.epoch = 1  # as a checkpoint has it
    for layer in threads.state.network.layers:
        layer.velocity[:] = 8e-3
    records_of(threads)
    for layer in threads.state.network.layers:
        assert layer.velocity == pytest.approx(1e-3), "after three steps"


@pytest.mark.parametrize("warmup", [0, 3])
def test_averaging_after_every_batch_is_averaging_gradients(blobs, config, warmup):
    config = config.replace({"network.dropout": 0, "training.epochs": 2, "parallel.warmup": warmup})
    local = Threads(blobs, config.replace({"parallel.mode": "local", "parallel.period": 1}))
    records = records_of(local)
    synchronous = Threads(blobs, config.replace({"parallel.mode": "wassp"}))
    assert [r.train_loss for r in records] == pytest.approx([r.train_loss for r in records_of(synchronous)], rel=1e-4)
    assert_same(local.state.network, synchronous.state.network, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("period", [2, 100])
def test_workers_that_average_now_and_then_make_whole_passes(blobs, config, period):
    threads = Threads(blobs, config.replace({"parallel.mode": "local", "parallel.period": period}))
    records = records_of(threads)
    assert [sum(w.samples for w in record.workers) for record in records] == [90, 90, 90]
    assert records[-1].train_loss < records[0].train_loss


@pytest.mark.parametrize("workers", [2, 3])
def test_an_asynchronous_run_can_be_replayed_bit_for_bit(blobs, config, workers):
    config = config.replace({"parallel.workers": workers, "training.epochs": 5})
    threads = Threads(blobs, config)
    assert_replayed(list(threads), threads.state, blobs, config)


@pytest.mark.mpi
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("mode", ["wasap", "wassp"])
def test_so_can_a_run_over_mpi(mode, workers):
    """There compiled code serves the workers, but at the end of an epoch."""
    command = [mpiexec(), "-n", str(1 + workers), sys.executable, "-m", "mpi4py", "-m", "tests.support.replay", mode]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    gradients, compiled = map(int, done.stdout.split())
    assert 0.5 * gradients < compiled < gradients


def test_in_phase_two_nobody_overwrites_what_a_worker_has_learned(blobs, config):
    """Fault 2 of the published code: the server's old weights came back every few batches."""
    config = config.replace({"parallel.phase1_fraction": 0, "training.epochs": 4})
    threads = Threads(blobs, config)
    records = records_of(threads)
    state, _ = begin(blobs, config)
    connections = [layer.topology.connections for layer in state.network.layers]
    models = []
    for w in range(2):
        start, rng = begin(blobs, config)
        own = TrainingState.begin(start.network, config, rng=worker._stream(rng, w + 1, 0))
        own.evolution, own.evolution_every = own.evolution.spawn(1)[0], 2
        models.append(own)
        alone = records_of(steps(own, shard(blobs, w, 2)))
        assert len(alone) == len(records) == 4
    expected = average((model.network for model in models), 2, connections)
    assert_same(threads.state.network, expected, rtol=0, atol=0)
    assert [layer.topology.connections for layer in threads.state.network.layers] == connections
    assert "averaged" in {event.kind for event in records[-1].events}
    assert [w.phase for record in records for w in record.workers] == [2] * 8
    assert [record.layers[0].grown > 0 for record in records] == [False, True, False, False]


@pytest.mark.parametrize("mode", ["wassp", "local"])
def test_phase_two_takes_over_the_momentum_but_not_the_multiplied_learning_rate(blobs, config, mode):
    shared = {"parallel.mode": mode, "parallel.warmup": 0, "training.zeta": 0, "network.dropout": 0}
    config = config.replace({**shared, "training.epochs": 2, "parallel.phase1_fraction": 1})
    first, whole = Threads(blobs, config), config.replace({"training.epochs": 4, "parallel.phase1_fraction": 0.5})
    records_of(first)
    both = Threads(blobs, whole)
    records_of(both)
    models = []
    for w in range(2):
        own = TrainingState.begin(
            copy.deepcopy(first.state.network), whole, rng=worker._stream(begin(blobs, config)[1], w + 1, 0)
        )
        own.epoch, part = 2, shard(blobs, w, 2)
        for layer in own.network.layers:
            layer.velocity /= 2
            layer.bias_velocity /= 2
        for _ in range(2):
            own.shuffle.permutation(len(part.x_train))
        records_of(steps(own, part))
        models.append(own.network)
    connections = [layer.topology.connections for layer in models[0].layers]
    assert_same(both.state.network, average(iter(models), 2, connections), rtol=0, atol=1e-7)


@pytest.mark.parametrize("mode", ["wasap", "wassp", "local"])
def test_both_phases_learn_and_keep_the_number_of_connections(blobs, config, mode):
    config = config.replace({"parallel.mode": mode, "training.epochs": 12, "parallel.phase1_fraction": 0.7})
    config = config.replace({"training.zeta": 0.1, "network.dropout": 0, "training.learning_rate": 0.02})
    threads = Threads(blobs, config)
    before = [layer.topology.connections for layer in threads.state.network.layers]
    records = records_of(threads)
    assert [record.epoch for record in records] == list(range(1, 13))
    assert [record.samples for record in records] == [90 * epoch for epoch in range(1, 13)]
    assert [layer.topology.connections for layer in threads.state.network.layers] == before
    assert all(record.connections == sum(before) for record in records)
    assert [record.workers[0].phase for record in records] == [1] * 8 + [2] * 4
    assert records[-1].train_loss < records[0].train_loss
    assert [EpochRecord.from_dict(record.to_dict()) for record in records] == records


@pytest.mark.parametrize("phase1", [0, 1])
def test_the_validation_part_is_shared_like_the_test_part(blobs, config, phase1):
    judged = dataclasses.replace(blobs, x_validation=blobs.x_test, y_validation=blobs.y_test)
    records = records_of(Threads(judged, config.replace({"parallel.phase1_fraction": phase1, "training.epochs": 3})))
    for record in records:
        assert record.validation_loss == pytest.approx(record.test_loss)
        assert record.validation_accuracy == pytest.approx(record.test_accuracy)


def test_settings_changed_while_it_trains_reach_server_and_workers(blobs, config):
    config = config.replace({"training.epochs": 6, "parallel.phase1_fraction": 0.5})
    threads = Threads(blobs, config)
    records = []
    for item in threads:
        if isinstance(item, EpochRecord):
            records.append(item)
            if item.epoch in (1, 3):
                values = {"training.zeta": 0.1 * item.epoch, "network.dropout": 0.2, "training.learning_rate": 0.01}
                threads.state.pending = threads.state.pending.replace(values)
    assert [record.settings["zeta"] for record in records[:3]] == [0.3, 0.1, 0.1]
    assert records[-1].settings["zeta"] == pytest.approx(0.3)
    assert [record.settings["learning_rate"] for record in records] == [0.05, *[0.01] * 5]
    assert "zeta changed from 0.3 to 0.1" in [event.message for event in records[1].events]


def test_closing_the_server_sends_the_workers_home(blobs, config):
    threads = Threads(blobs, config.replace({"training.epochs": 100_000}))
    iterator = iter(threads)
    for item in itertools.islice(iterator, 5):
        assert isinstance(item, Progress)
    threads.items.close()
    for thread in threads.workers:
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.parametrize("fraction", [0, 1])
def test_what_goes_wrong_in_a_worker_is_the_servers_error(blobs, config, monkeypatch, fraction, caplog):
    place = "train_batch" if fraction == 0 else "batch_gradient"
    module = "tsnn.engine.training" if fraction == 0 else "tsnn.parallel.worker"
    monkeypatch.setattr(f"{module}.{place}", lambda *_, **__: 1 / 0)
    threads = Threads(blobs, config.replace({"parallel.phase1_fraction": fraction}))
    with pytest.raises(WorkerError, match=r"Worker \d: ZeroDivisionError: division by zero"):
        list(threads)
    assert "Traceback" in caplog.text
    for thread in threads.workers:
        thread.join(30)
        assert not thread.is_alive()


def test_divergence_is_named(blobs, config):
    threads = Threads(blobs, config.replace({"training.learning_rate": 1e30, "training.epochs": 50}))
    with pytest.raises(DivergenceError, match=r"epoch \d+"):
        list(threads)


def test_more_workers_than_samples_are_refused(blobs, config):
    with pytest.raises(ConfigError, match="91 workers cannot share 90 samples"):
        next(iter(Threads(blobs, config.replace({"parallel.workers": 91}))))


@pytest.mark.parametrize("mode", ["wasap", "local"])
def test_workers_go_on_with_what_the_dense_phase_leaves(blobs, config, mode):
    sparse_start = [shape.connections for shape in layer_shapes(12, 3, config)]
    config = config.replace({"training.method": "two_phase", "parallel.mode": mode, "training.epochs": 6})
    threads = Threads(blobs, config.replace({"parallel.phase1_fraction": 0.7}))
    records = records_of(threads)
    assert [record.connections for record in records] == [350, 350, *[sum(sparse_start)] * 4]
    assert [layer.topology.connections for layer in threads.state.network.layers] == sparse_start
    with pytest.raises(ConfigError, match=r"phase1_fraction is 0.2. Try 0.5"):
        next(iter(Threads(blobs, config.replace({"parallel.phase1_fraction": 0.2}))))


def test_a_worker_that_stands_still_delays_nobody(blobs, config, monkeypatch):
    """In asynchronous training the others make up the epoch."""
    stalled, original = threading.Event(), worker.batch_gradient

    def gradient(*args, **kwargs):
        if threading.current_thread().name == "slow":
            stalled.wait(60)
        return original(*args, **kwargs)

    monkeypatch.setattr(worker, "batch_gradient", gradient)
    threads = Threads(blobs, config.replace({"training.epochs": 100_000}))
    threads.workers[1].name = "slow"
    iterator = iter(threads)
    records = list(itertools.islice((item for item in iterator if isinstance(item, EpochRecord)), 2))
    assert [[w.batches for w in record.workers] for record in records] == [[6, 0], [6, 0]]
    stalled.set()
    late = next(w for item in iterator if isinstance(item, EpochRecord) for w in item.workers[1:] if w.batches)
    assert late.retained < 1  # its gradient met a topology at least two epochs younger
    threads.items.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_too_many_workers_for_the_cores_are_warned_of(blobs, config, monkeypatch, workers):
    monkeypatch.setattr("tsnn.parallel.worker_stats.available_cores", lambda: 2)
    config = config.replace({"parallel.workers": workers, "training.epochs": 1})
    warnings = [event.message for event in records_of(Threads(blobs, config))[0].events if event.kind == "workers"]
    assert (["at 67% of its speed" in text for text in warnings] == [True]) if workers > 2 else not warnings
