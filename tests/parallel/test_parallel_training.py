"""Server and workers over threads: the papers' algorithms against sequential oracles."""

import copy
import dataclasses
import itertools
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.support.evolutions import EVOLUTIONS
from tests.support.ranks import Threads, begin
from tests.support.replay import assert_replayed, assert_same_bits
from tsnn import kernels
from tsnn.datasets import shard
from tsnn.engine.batches import Batch, train_batch
from tsnn.engine.schedules import rates_at
from tsnn.engine.shapes import layer_shapes
from tsnn.engine.state import random_streams
from tsnn.engine.training import make_workspace, steps
from tsnn.errors import ConfigError, DivergenceError, WorkerError
from tsnn.jobs.launch import mpiexec
from tsnn.parallel import worker
from tsnn.parallel.averaging import average
from tsnn.parallel.server import serve
from tsnn.records import EpochRecord, Progress

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(tiny):
    return tiny.replace({"parallel.workers": 2, "parallel.phase1_fraction": 1, "training.batch_size": 16})


def records_of(items):
    return [item for item in items if isinstance(item, EpochRecord)]


def assert_close(network, other, **tolerance):
    for one, two in zip(network.layers, other.layers, strict=True):
        assert (one.topology.indices == two.topology.indices).all()
        for name in ("weights", "bias"):
            np.testing.assert_allclose(getattr(one, name), getattr(two, name), **tolerance)


def test_wasap__with_one_worker_is_sequential_training(blobs, config):
    config = config.replace({"parallel.workers": 1, "training.epochs": 4, "importance.percentile": 10})
    config = config.replace({"importance.start": 2, "importance.every": 1})
    threads = Threads(blobs, config)
    parallel = records_of(threads)
    state, _ = begin(blobs, config)
    sequential = records_of(steps(state, blobs))
    assert_close(threads.state.network, state.network, rtol=1e-3, atol=1e-5)
    for one, other in zip(parallel, sequential, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-4)
        assert one.test_accuracy == other.test_accuracy
        assert [(l.pruned, l.grown, l.living) for l in one.layers] == [
            (l.pruned, l.grown, l.living) for l in other.layers
        ]
    assert [w.staleness for record in parallel for w in record.workers] == [(6,)] * 4


@pytest.mark.parametrize(("threads", "each"), [(0, 1), (2, 2)])
def test_workers__use_their_own_threads_in_both_phases(blobs, config, monkeypatch, threads, each):
    threads_of = {}
    monkeypatch.setattr(
        kernels, "set_threads", lambda n: threads_of.setdefault(threading.current_thread(), set()).add(n)
    )
    run = Threads(blobs, config.replace({"parallel.phase1_fraction": 0.5, "run.threads": threads}))
    assert [record.workers[0].phase for record in records_of(run)] == [1, 1, 2]
    assert [threads_of[worker] for worker in run.workers] == [{each}] * 2
    assert threads_of[threading.current_thread()] == {threads}


def rounds_of(data, config):
    """Yield the rows of each synchronous round of an epoch: the workers' batches in the order of the ranks."""
    k = config.parallel.workers
    _, rng = begin(data, config)
    streams = [worker.worker_rng(rng, w + 1, 0) for w in range(k)]
    orders = [s.spawn(3)[0].permutation(len(range(w, len(data.x_train), k))) for w, s in enumerate(streams)]
    size = config.training.batch_size
    for start in range(0, max(map(len, orders)), size):
        yield np.concatenate([w + k * order[start : start + size] for w, order in enumerate(orders)])


def test_wassp__is_training_with_a_large_batch(blobs, config):
    config = config.replace(
        {"parallel.mode": "wassp", "parallel.warmup": 0, "network.dropout": 0, "training.epochs": 1}
    ).replace(learning_rate_schedule="linear")
    threads = Threads(blobs, config)
    records_of(threads)
    state, _ = begin(blobs, config)
    middle = rates_at(config, 0)._replace(learning_rate=2 * 0.5 * config.training.learning_rate)
    for chosen in rounds_of(blobs, config):
        train_batch(
            state.network, make_workspace(state, blobs), Batch.of(blobs, chosen),
            rates=middle, key=0,
        )  # fmt: skip
    assert_close(threads.state.network, state.network, rtol=1e-3, atol=1e-5)


def test_wassp__warms_up_learning_rate_and_momentum(blobs, config):
    config = config.replace(
        {"parallel.mode": "wassp", "parallel.warmup": 2, "network.dropout": 0, "training.epochs": 1}
    ).replace({"training.momentum": 0.5})
    threads = Threads(blobs, config)
    records_of(threads)
    state, _ = begin(blobs, config)
    before = 1.0
    for i, chosen in enumerate(rounds_of(blobs, config)):
        factor = 1 + i / 3 / 2
        rates = rates_at(config, 0)
        rates = rates._replace(learning_rate=factor * rates.learning_rate, momentum=0.5 * factor / before)
        before = factor
        train_batch(
            state.network, make_workspace(state, blobs), Batch.of(blobs, chosen),
            rates=rates, key=0,
        )  # fmt: skip
    assert_close(threads.state.network, state.network, rtol=1e-3, atol=1e-5)


def test_wassp__keeps_its_momentum_when_resumed(blobs, config):
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
def test_local__averaging_after_every_batch_is_averaging_gradients(blobs, config, warmup):
    config = config.replace({"network.dropout": 0, "training.epochs": 2, "parallel.warmup": warmup})
    local = Threads(blobs, config.replace({"parallel.mode": "local", "parallel.period": 1}))
    records = records_of(local)
    synchronous = Threads(blobs, config.replace({"parallel.mode": "wassp"}))
    assert [r.train_loss for r in records] == pytest.approx([r.train_loss for r in records_of(synchronous)], rel=1e-4)
    assert_close(local.state.network, synchronous.state.network, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("mode", ["wassp", "local"])
def test_recorded_loss__does_not_depend_on_the_order_of_arrival(blobs, config, monkeypatch, mode):
    config = config.replace({"parallel.mode": mode, "parallel.workers": 3, "parallel.period": 1})
    config = config.replace({"training.batch_size": 8})
    losses = []
    for slow in range(3):
        threads = Threads(blobs, config)
        delay_worker(threads, slow, monkeypatch)
        losses.append([record.train_loss for record in records_of(threads)])
    assert losses[1:] == losses[:1] * 2


def delay_worker(threads, index, monkeypatch):
    """Let the gradients of one worker arrive last in every round."""
    original = threads.channels[1 + index].send

    def send(*args, **kwargs):
        time.sleep(0.003)
        original(*args, **kwargs)

    monkeypatch.setattr(threads.channels[1 + index], "send", send)


@pytest.mark.parametrize("period", [2, 100])
def test_local__makes_complete_passes_for_any_period(blobs, config, period):
    threads = Threads(blobs, config.replace({"parallel.mode": "local", "parallel.period": period}))
    records = records_of(threads)
    assert [sum(w.samples for w in record.workers) for record in records] == [90, 90, 90]
    assert records[-1].train_loss < records[0].train_loss


@pytest.mark.parametrize("workers", [2, 3])
def test_wasap__equals_its_replay_bit_for_bit(blobs, config, workers):
    config = config.replace({"parallel.workers": workers, "training.epochs": 5})
    threads = Threads(blobs, config)
    assert_replayed(list(threads), threads.state, blobs, config)


@pytest.mark.parametrize("name", EVOLUTIONS)
def test_wasap__equals_its_replay_with_each_rule_of_evolution(blobs, config, name):
    config = config.replace({"training.epochs": 4, **EVOLUTIONS[name]})
    threads = Threads(blobs, config)
    assert_replayed(list(threads), threads.state, blobs, config)


@pytest.mark.parametrize("mode", ["wasap", "wassp", "local"])
@pytest.mark.parametrize("name", EVOLUTIONS)
def test_both_phases__evolve_with_each_rule_and_repeat_their_epochs(blobs, config, name, mode):
    changes = {"parallel.mode": mode, "parallel.phase1_fraction": 0.5, "training.epochs": 8, **EVOLUTIONS[name]}
    config = config.replace(changes)
    threads, saved, records = Threads(blobs, config), {}, []
    connections = threads.state.network.connections
    for item in threads:
        if isinstance(item, EpochRecord):
            records.append(item)
            if threads.state.resumable:
                saved[item.epoch] = threads.state.copy()
    grown = [sum(layer.grown for layer in record.layers) > 0 for record in records]
    assert grown == [True, True, True, True, False, True, False, False], "two workers evolve after two passes each"
    assert {record.connections for record in records} == {connections}
    assert threads.state.network.connections == connections
    assert 5 in saved
    for epoch in (epoch for epoch in (2, 5) if epoch > 4 or mode != "wasap"):  # wasap depends on the order of arrival
        resumed = Threads(blobs, config)
        resumed.items = serve(resumed.channels[0], saved[epoch], blobs)
        assert [record.test_loss for record in records_of(resumed)] == [r.test_loss for r in records[epoch:]]
        assert_same_bits(saved[epoch].network, threads.state.network)


@pytest.mark.mpi
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("mode", ["wasap", "wassp"])
def test_mpi_run__equals_its_replay_bit_for_bit(mode, workers):
    """Compiled code answers the gradients, except the last of an epoch."""
    command = [mpiexec(), "-n", str(1 + workers), sys.executable, "-m", "mpi4py", "-m", "tests.support.replay", mode]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    gradients, compiled = map(int, done.stdout.split())
    assert 0.5 * gradients < compiled < gradients


def train_alone(own, data, config, rank):
    """Train a state on a worker's shard, with its random streams of each epoch; return the records."""
    records, rng = [], begin(data, config)[1]
    items = steps(own, shard(data, rank - 1, 2))
    for epoch in range(own.epoch, config.training.epochs):
        own.shuffle, evolution, own.key = random_streams(worker.worker_rng(rng, rank, epoch))
        own.evolution = evolution.spawn(1)[0]
        records.append(next(item for item in items if isinstance(item, EpochRecord)))
    return records


def test_phase2__keeps_the_workers_models_separate(blobs, config):
    """Fault 2 of the published code: the server's old weights replaced them every few batches."""
    config = config.replace({"parallel.phase1_fraction": 0, "training.epochs": 4})
    threads = Threads(blobs, config)
    records = records_of(threads)
    state, _ = begin(blobs, config)
    connections = [layer.topology.connections for layer in state.network.layers]
    models = []
    for w in range(2):
        own, _ = begin(blobs, config)
        own.evolution_every = 2
        models.append(own)
        separate = train_alone(own, blobs, config, w + 1)
        assert len(separate) == len(records) == 4
    expected = average([model.network for model in models])
    assert_close(threads.state.network, expected, rtol=0, atol=0)
    assert [layer.topology.connections for layer in threads.state.network.layers] == connections
    assert "averaged" in {event.kind for event in records[-1].events}
    assert [w.phase for record in records for w in record.workers] == [2] * 8
    assert [record.layers[0].grown > 0 for record in records] == [False, True, False, False]


@pytest.mark.parametrize("mode", ["wassp", "local"])
def test_phase2__keeps_the_momentum_but_not_the_rate_factor(blobs, config, mode):
    shared = {"parallel.mode": mode, "parallel.warmup": 0, "training.zeta": 0, "network.dropout": 0}
    config = config.replace({**shared, "training.epochs": 2, "parallel.phase1_fraction": 1})
    first, both_phases = Threads(blobs, config), config.replace({"training.epochs": 4, "parallel.phase1_fraction": 0.5})
    records_of(first)
    both = Threads(blobs, both_phases)
    records_of(both)
    models = []
    for w in range(2):
        own, _ = begin(blobs, both_phases)
        own.network, own.epoch = copy.deepcopy(first.state.network), 2
        for layer in own.network.layers:
            layer.velocity /= 2
            layer.bias_velocity /= 2
        train_alone(own, blobs, both_phases, w + 1)
        models.append(own.network)
    assert_close(both.state.network, average(models), rtol=0, atol=1e-7)


@pytest.mark.parametrize(("mode", "phase1"), [("wassp", 1), ("local", 1), ("wassp", 0.5), ("wasap", 0)])
def test_resumed_run__repeats_its_epochs_bit_for_bit(blobs, config, mode, phase1):
    changes = {"parallel.mode": mode, "parallel.phase1_fraction": phase1, "parallel.warmup": 5, "training.epochs": 8}
    whole, saved = Threads(blobs, config.replace(changes)), {}
    for item in whole:
        if isinstance(item, EpochRecord) and whole.state.resumable:
            saved[item.epoch] = whole.state.copy()
    for epoch in sorted(saved)[:-1]:
        resumed = Threads(blobs, config.replace(changes))
        resumed.items = serve(resumed.channels[0], saved[epoch], blobs)
        assert len(records_of(resumed)) == 8 - epoch
        assert_same_bits(saved[epoch].network, whole.state.network)
    assert len(saved) > 2 or phase1 == 0


@pytest.mark.parametrize("mode", ["wasap", "wassp", "local"])
def test_both_phases__learn_and_keep_the_number_of_connections(blobs, config, mode):
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
def test_validation_split__is_sharded_like_the_test_part(blobs, config, phase1):
    validated = dataclasses.replace(blobs, x_validation=blobs.x_test, y_validation=blobs.y_test)
    records = records_of(Threads(validated, config.replace({"parallel.phase1_fraction": phase1, "training.epochs": 3})))
    for record in records:
        assert record.validation_loss == pytest.approx(record.test_loss)
        assert record.validation_accuracy == pytest.approx(record.test_accuracy)


def test_changed_settings__reach_server_and_workers(blobs, config):
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


@pytest.mark.parametrize("phase1", [0.0, 1.0])
def test_changed_rules__reach_server_and_workers(blobs, config, phase1):
    # Many epochs: without phase 1, the workers hear of the change some epochs after the server asked for it.
    config = config.replace({"training.epochs": 60, "training.learning_rate": 0.01})
    threads = Threads(blobs, config.replace({"parallel.phase1_fraction": phase1}))
    records = []
    for item in threads:
        if isinstance(item, EpochRecord):
            records.append(item)
            if item.epoch == 2:
                rules = {"training.regrow": "gradient", "training.prune": "magnitude"}
                threads.state.pending = threads.state.pending.replace(rules)
    settings = [(record.settings["regrow"], record.settings["prune"]) for record in records]
    assert settings[0] == ("random", "signed")
    assert settings[-1] == ("gradient", "magnitude")


def test_changed_epsilon__is_applied_by_workers_and_kept_by_the_average(blobs, config):
    """Also if the run is resumed between the change and the evolution that applies it."""
    config = config.replace({"training.epochs": 60, "parallel.phase1_fraction": 0.03, "training.zeta": 0.2})
    config = config.replace(learning_rate=0.001)  # small enough for any order of arrival
    threads, saved, counts = Threads(blobs, config), None, []
    for item in threads:
        if isinstance(item, EpochRecord):
            counts.append(item.connections)
            if item.epoch == 3:
                threads.state.pending = threads.state.pending.replace({"network.epsilon": 3})
                saved = threads.state.copy()
                saved.config = saved.pending  # as at the end of an epoch without evolution
    assert saved.resumable
    resumed = Threads(blobs, config)
    resumed.items = serve(resumed.channels[0], saved, blobs)
    assert records_of(resumed)[-1].connections == saved.network.connections > counts[0]
    assert counts[-1] == threads.state.network.connections > counts[0]
    assert (saved.applied_epsilon, threads.state.applied_epsilon) == (3, 3)


def test_closing_the_server__stops_the_workers(blobs, config):
    threads = Threads(blobs, config.replace({"training.epochs": 100_000}))
    iterator = iter(threads)
    for item in itertools.islice(iterator, 5):
        assert isinstance(item, Progress)
    threads.items.close()
    for thread in threads.workers:
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.parametrize("fraction", [0, 1])
def test_worker_error__is_raised_by_the_server(blobs, config, monkeypatch, fraction, caplog):
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


def test_divergence__is_reported_with_its_epoch(blobs, config):
    threads = Threads(blobs, config.replace({"training.learning_rate": 1e30, "training.epochs": 50}))
    with pytest.raises(DivergenceError, match=r"epoch \d+"):
        list(threads)


def test_more_workers_than_samples__are_refused(blobs, config):
    with pytest.raises(ConfigError, match="91 workers need a batch each, but 90 training samples"):
        next(iter(Threads(blobs, config.replace({"parallel.workers": 91}))))


@pytest.mark.parametrize("mode", ["wasap", "local"])
def test_two_phase__workers_continue_with_the_pruned_network(blobs, config, mode):
    sparse_start = [shape.connections for shape in layer_shapes(12, 3, config)]
    config = config.replace({"training.method": "two_phase", "parallel.mode": mode, "training.epochs": 6})
    threads = Threads(blobs, config.replace({"parallel.phase1_fraction": 0.7}))
    records = records_of(threads)
    assert [record.connections for record in records] == [350, 350, *[sum(sparse_start)] * 4]
    assert [layer.topology.connections for layer in threads.state.network.layers] == sparse_start
    with pytest.raises(ConfigError, match=r"phase1_fraction is 0.2. Try 0.5"):
        next(iter(Threads(blobs, config.replace({"parallel.phase1_fraction": 0.2}))))


def test_stalled_worker__does_not_delay_wasap(blobs, config, monkeypatch):
    """The other workers complete the epochs."""
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
    stale = next(w for item in iterator if isinstance(item, EpochRecord) for w in item.workers[1:] if w.batches)
    assert stale.retained < 1  # its gradient is at least two topology versions old
    threads.items.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_oversubscription__is_reported(blobs, config, monkeypatch, workers):
    monkeypatch.setattr("tsnn.parallel.worker_stats.available_cores", lambda: 2)
    config = config.replace({"parallel.workers": workers, "training.epochs": 1})
    warnings = [event.message for event in records_of(Threads(blobs, config))[0].events if event.kind == "workers"]
    assert (["at 67% of its speed" in text for text in warnings] == [True]) if workers > 2 else not warnings
