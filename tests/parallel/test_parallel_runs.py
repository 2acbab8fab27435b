"""Parallel runs with real mpiexec: run directories, stopping, resuming, errors."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tsnn
from tests.support.processes import of_run
from tests.support.waiting import wait_until
from tsnn.cli import main
from tsnn.jobs.launch import resume
from tsnn.runs import ENDED
from tsnn.runs.control import request

pytestmark = pytest.mark.mpi

ENDLESS = {"training.epochs": 1_000_000, "training.learning_rate": 1e-4, "parallel.phase1_fraction": 1}


@pytest.fixture
def config(filed):
    """Settings of two workers on a file of blobs, with both phases."""
    return filed.replace({"training.batch_size": 16, "parallel.workers": 2})


def ranks(run):
    """Return the processes of the run's ranks, the server first."""
    found = [(process, process.cmdline()) for process in of_run(run)]
    python = [process for process, arguments in found if "mpi4py" in arguments and "-n" not in arguments]
    return sorted(python, key=lambda p: p.pid != run.status()["pid"])


def ended(run):
    return run.status()["state"] in (*ENDED, "lost")


def begin(config, store, epochs=2):
    run = tsnn.start(config, store)
    wait_until(lambda: len(run.records()) >= epochs or ended(run))
    assert not ended(run), run.log()
    return run


def assert_each_epoch_once(run):
    assert [record.epoch for record in run.records()] == list(range(1, len(run.records()) + 1))


@pytest.mark.parametrize("mode", ["wasap", "local"])
def test_parallel_run__gives_rules_that_are_not_built_in_to_all_ranks(store, config, mode):
    @tsnn.regrowth("nearby")
    def nearby(free, count, rng):
        return free.draw(count, rng)

    @tsnn.schedule("early")
    def early(progress):
        return float(progress < 0.9)

    try:
        config = config.replace({"training.epochs": 8, "parallel.mode": mode, "training.regrow": "nearby"})
        run = tsnn.start(config.replace({"training.learning_rate_schedule": "early"}), store)
        wait_until(lambda: ended(run))
        assert run.status()["state"] == "finished", run.log()
        assert {record.settings["regrow"] for record in run.records()} == {"nearby"}
    finally:
        tsnn.registry.REGROWTH.unregister("nearby")
        tsnn.registry.SCHEDULES.unregister("early")


@pytest.mark.parametrize("mode", ["wasap", "wassp"])
def test_parallel_run__writes_the_files_of_a_sequential_run(store, config, mode):
    config = config.replace({"training.epochs": 10, "parallel.mode": mode})
    run = tsnn.start(config, store)
    wait_until(lambda: ended(run))
    assert run.status()["state"] == "finished", run.log()
    wait_until(lambda: not of_run(run))
    records = run.records()
    assert_each_epoch_once(run)
    assert len(records) == 10
    assert [[w.phase for w in record.workers] for record in records] == [[1, 1]] * 7 + [[2, 2]] * 3
    assert all(w.seconds_compute > 0 for record in records for w in record.workers if w.batches)
    assert tsnn.load_network(run.path / "weights.npz").connections == records[-1].connections
    assert records[-1].test_accuracy > 0.5
    kinds = {line["kind"] for line in run.lines()[0] if line["type"] == "event"}
    assert {"data", "averaged"} <= kinds
    assert "3 processes, each: connections" in run.log()


def test_parallel_run__on_streamed_data_gives_the_same_bits(store, config):
    weights = []
    for stream in ("never", "always"):
        settings = {"training.epochs": 4, "parallel.mode": "wassp", "data.stream": stream}
        run = tsnn.start(config.replace(settings), store)
        wait_until(lambda run=run: ended(run))
        assert run.status()["state"] == "finished", run.log()
        assert (run.meta()["memory"]["streamed"] > 0) == (stream == "always")
        network = tsnn.load_network(run.path / "weights.npz")
        weights.append([layer.weights.tobytes() for layer in network.layers])
    assert weights[0] == weights[1]


@pytest.mark.parametrize("fraction", [1, 0.00001], ids=["phase 1", "phase 2"])
def test_stopped_run__resumes_in_its_epoch_and_phase(store, config, fraction):
    steady = config.replace(learning_rate=0.002)  # hundreds of epochs at the rate of the other tests may diverge
    run = begin(steady.replace({"training.epochs": 100_000, "parallel.phase1_fraction": fraction}), store)
    wait_until(lambda: run.resumes_from() > 0)
    tsnn.stop(run, wait=60)
    assert run.status()["state"] == "stopped"
    wait_until(lambda: not of_run(run))
    assert_each_epoch_once(run)
    at = run.resumes_from()
    resume(run)
    wait_until(lambda: run.status()["state"] == "training")
    wait_until(lambda: len(run.records()) > at + 2 or ended(run))
    assert run.status()["state"] in ("training", "compiling"), run.log()
    assert f"Resumed from epoch {at}" in run.log(last=10**6)
    assert run.records()[-1].workers[0].phase == (1 if fraction == 1 else 2)
    tsnn.stop(run, wait=60)
    assert_each_epoch_once(run)


def test_parallel_run__pauses_applies_settings_and_continues(store, config):
    run = begin(config.replace(ENDLESS), store)
    request(run, "pause")
    wait_until(lambda: run.status()["state"] == "paused")
    request(run, "set", zeta=0.1)
    epochs = len(run.records())
    time.sleep(1)  # nothing must happen for a while: a paused run records no epoch
    assert len(run.records()) <= epochs + 1
    request(run, "resume")
    wait_until(lambda: run.records()[-1].settings["zeta"] == 0.1)
    tsnn.stop(run, wait=60)


def bits(run):
    """Return the recorded epochs without times, by number."""
    lines = [line for line in run.lines()[0] if line["type"] == "epoch"]
    names = ("train_loss", "test_loss", "settings", "layers")
    return {line["epoch"]: [line[name] for name in names] for line in lines}


@pytest.mark.parametrize("mode", ["wassp", "local"])
def test_synchronous_run__repeats_changed_settings_bit_for_bit(store, config, mode):
    run = begin(config.replace({**ENDLESS, "parallel.mode": mode}), store)
    wait_until(lambda: run.resumes_from() > 0)
    for change in ({"zeta": 0.1}, {"learning_rate": 2e-4, "dropout": 0.3}):
        request(run, "set", **change)
        wait_until(lambda change=change: run.records()[-1].settings.items() >= change.items())
    changed = len(run.records())
    wait_until(lambda: len(run.records()) > changed + 3)
    os.kill(run.status()["process"]["pid"], signal.SIGKILL)  # the supervisor
    wait_until(lambda: not of_run(run))
    before = bits(run)
    for checkpoint in run.checkpoints():
        if int(checkpoint.name[:7]) >= changed - 1:
            checkpoint.unlink()
    resume(run)
    wait_until(lambda: len(run.records()) > len(before) or ended(run))
    tsnn.stop(run, wait=60)
    after = bits(run)
    assert [epoch for epoch in before if before[epoch] != after[epoch]] == []


def test_worker_error__ends_the_run_with_its_message(store, config, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if '2' in (os.environ.get('PMI_RANK'), os.environ.get('OMPI_COMM_WORLD_RANK')):\n"
        "    import tsnn.parallel.worker as worker\n"
        "    original = worker.batch_gradient\n"
        "    def fail(network, *args, **kwargs):\n"
        "        fail.calls += 1\n"
        "        if fail.calls > 30: raise OverflowError('failed after 30 calls')\n"
        "        return original(network, *args, **kwargs)\n"
        "    fail.calls = 0\n"
        "    worker.batch_gradient = fail\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        run = tsnn.start(config.replace(ENDLESS), store)
    wait_until(lambda: ended(run))
    assert run.status()["state"] == "failed"
    assert run.status()["message"] == "Worker 2: OverflowError: failed after 30 calls"
    assert "Traceback" in run.log()
    assert "in fail" in run.log()
    wait_until(lambda: not of_run(run))


def test_missing_data_set__is_reported_once(store, config):
    run = tsnn.start(config.replace({"data.name": "nothing.npz"}), store)
    wait_until(lambda: ended(run))
    assert run.status()["state"] == "failed"
    assert "nothing.npz" in run.status()["message"]
    wait_until(lambda: not of_run(run))


def test_suspended_worker__does_not_delay_wasap(store, config):
    run = begin(config.replace(ENDLESS), store)
    worker = ranks(run)[1]
    worker.suspend()
    epochs = len(run.records())
    wait_until(lambda: len(run.records()) > epochs + 5)
    assert 0 in [w.batches for w in run.records()[-1].workers]
    worker.resume()
    wait_until(lambda: all(w.batches for w in run.records()[-1].workers))
    late = [w for record in run.records() for w in record.workers if w.batches and w.retained < 1]
    assert late
    worker.suspend()
    tsnn.stop(run, wait=60)  # stopping does not wait for it either
    assert run.status()["state"] == "stopped"
    wait_until(lambda: not of_run(run))


def test_ctrl_c__stops_the_run_in_order(config, store, tmp_path):
    path = tmp_path / "experiment.toml"
    path.write_text(config.replace(ENDLESS).to_toml())
    command = [sys.executable, "-m", "tsnn", "train", str(path), "--runs", str(store.root)]
    terminal = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: store.list() and len(store.list()[0].records()) > 1)
    (run,) = store.list()
    terminal.send_signal(signal.SIGINT)
    _, errors = terminal.communicate(timeout=60)
    assert terminal.returncode == 130, errors
    assert f"tsnn resume {run.id}" in errors
    assert run.status()["state"] == "stopped"
    assert of_run(run) == []


def test_resume_command__returns_when_the_run_has_ended(store, config, capsys):
    run = begin(config.replace(ENDLESS), store)
    tsnn.stop(run, wait=60)
    wait_until(lambda: not of_run(run))
    command = ["resume", run.id, "--runs", str(store.root), "--epochs", str(len(run.records()) + 20)]
    data = Path(run.config().data.name)
    data.rename(data.with_suffix(".bak"))
    assert main(command) == 1
    assert "blobs" in capsys.readouterr().err
    assert (run.status()["state"], of_run(run)) == ("stopped", [])
    data.with_suffix(".bak").rename(data)
    assert main(command) == 0
    assert (run.status()["state"], of_run(run)) == ("finished", [])


def test_sigterm_to_mpiexec__stops_the_run_in_order(store, config):
    """On a cluster, the scheduler or a user ends the job."""
    run = store.create(config.replace(ENDLESS))
    command = tsnn.jobs.launch.command_line(run)
    job = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    wait_until(lambda: len(run.records()) > 1 or job.poll() is not None)
    job.send_signal(signal.SIGTERM)
    job.wait(30)
    wait_until(lambda: not of_run(run))
    assert run.status()["state"] in ("stopped", "lost")
    assert_each_epoch_once(run)
