"""Resumed runs: bit for bit, each epoch recorded once, after any kind of end."""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict

import numpy as np
import pytest

import tsnn
from tests.support import processes
from tests.support.commands import leave_command
from tests.support.waiting import wait_until
from tsnn import files
from tsnn.cli import main
from tsnn.errors import ConfigError, DataError, DivergenceError, RunError
from tsnn.execution.engine import execute
from tsnn.files import append_line
from tsnn.jobs.launch import prepare_resume
from tsnn.records import Compilation, EpochRecord
from tsnn.registry import PRUNING, REGROWTH
from tsnn.runs import OVER, RunStore
from tsnn.runs.checkpoints import FORKS
from tsnn.runs.control import Command, ControlReader, request
from tsnn.runs.export import to_csv
from tsnn.runs.liveness import identity

TIMES = ("time", "seq", "seconds_train", "seconds_evolve", "seconds_evaluate", "seconds_examine", "seconds_measure",
         "memory_bytes")  # fmt: skip


@pytest.fixture
def config(filed):
    """Settings with a checkpoint after each epoch."""
    return filed.replace({"training.epochs": 6, "run.checkpoint_epochs": 1})


def recorded(run, *kinds):
    """Return lines of the metrics without the values that differ between two runs of the same settings."""
    lines = [line for line in run.lines()[0] if line["type"] in kinds]
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]


def events(run, kind):
    return [line["message"] for line in recorded(run, "event") if line["kind"] == kind]


def assert_same(run, uninterrupted):
    assert recorded(run, "epoch", "snapshot") == recorded(uninterrupted, "epoch", "snapshot")
    assert [line["epoch"] for line in recorded(run, "epoch")] == list(range(1, run.config().training.epochs + 1))
    one, two = (np.load(r.path / "weights.npz") for r in (run, uninterrupted))
    assert one.files == two.files
    assert all((one[name] == two[name]).all() for name in one.files)
    for epoch in run.snapshot_epochs():
        one, two = (r.snapshot(epoch).arrays() for r in (run, uninterrupted))
        assert all(np.array_equal(one[name], two[name], equal_nan=True) for name in one)


def uninterrupted(store, config):
    run = store.create(config)
    list(execute(run))
    return run


def advance(execution, condition):
    for item in execution:
        if not isinstance(item, Compilation) and condition(item):
            return


def engine(run):
    return subprocess.Popen([sys.executable, "-m", "tsnn.execution", str(run.path)])


@pytest.mark.parametrize(("samples", "evolve_every"), [(32, 1), (64, 1), (90, 1), (64, 0.4), (64, 0.3)])
def test_resume__continues_within_an_epoch(store, config, samples, evolve_every):
    config = config.replace(evolve_every=evolve_every)  # 0.4: the epoch has evolved after 64 samples
    run = store.create(config)
    execution = execute(run)
    advance(execution, lambda item: item.epoch == 3 and item.samples == samples)
    execution.close()
    assert run.status()["state"] == "stopped"
    assert run.checkpoints()[0].name == f"0000002-{samples:012d}.npz"
    again = list(execute(run))
    assert [item.epoch for item in again if isinstance(item, EpochRecord)] == [3, 4, 5, 6]
    assert run.status()["state"] == "finished"
    assert_same(run, uninterrupted(store, config))
    assert events(run, "resumed") == [f"Resumed from epoch 2 and {samples} samples"]
    assert [line["seq"] for line in run.lines()[0]] == list(range(len(run.lines()[0])))


def test_resume__repeats_epochs_after_the_checkpoint(store, config, monkeypatch):
    config = config.replace({"run.checkpoint_epochs": 2})
    run = store.create(config)
    monkeypatch.setattr("tsnn.execution.engine._Engine.end", lambda *_: None)  # as if it were killed
    execution = execute(run)
    advance(execution, lambda item: isinstance(item, EpochRecord) and item.epoch == 3)
    execution.close()
    assert [line["epoch"] for line in recorded(run, "epoch")] == [1, 2, 3]
    monkeypatch.undo()
    list(execute(run))
    assert_same(run, uninterrupted(store, config))
    assert events(run, "resumed") == ["Resumed from epoch 2; epochs 3 to 3 are repeated"]


@pytest.mark.parametrize(
    ("prune", "regrow"),
    [(name, "gradient") for name, rule in PRUNING.items() if not rule.is_own]
    + [("signed", name) for name, rule in REGROWTH.items() if not rule.is_own and name != "gradient"],
)
def test_resume__after_a_stop_and_a_kill_with_each_rule(store, config, monkeypatch, prune, regrow):
    config = config.replace(prune=prune, regrow=regrow, zeta=0.4).replace({"run.checkpoint_epochs": 2})
    run = store.create(config)
    execution = execute(run)
    advance(execution, lambda item: item.epoch == 3 and item.samples == 64)
    execution.close()
    assert run.status()["state"] == "stopped"
    with monkeypatch.context() as killed:
        killed.setattr("tsnn.execution.engine._Engine.end", lambda *_: None)
        execution = execute(run)
        advance(execution, lambda item: isinstance(item, EpochRecord) and item.epoch == 5)
        execution.close()
    list(execute(run))
    assert_same(run, uninterrupted(store, config))
    assert [text.partition(";")[0] for text in events(run, "resumed")] == [
        "Resumed from epoch 2 and 64 samples", "Resumed from epoch 4",
    ]  # fmt: skip


def test_resume__without_checkpoint_starts_from_the_beginning(store, config, monkeypatch):
    config = config.replace({"run.checkpoint_epochs": 0, "run.checkpoint_minutes": 0})
    run = store.create(config)
    monkeypatch.setattr("tsnn.execution.engine._Engine.end", lambda *_: None)
    execution = execute(run)
    advance(execution, lambda item: isinstance(item, EpochRecord) and item.epoch == 3)
    execution.close()
    monkeypatch.undo()
    assert run.checkpoints() == []
    list(execute(run))
    assert_same(run, uninterrupted(store, config))


@pytest.mark.slow
@pytest.mark.compiled
def test_resume__killed_at_random_moments_loses_nothing(store, config, fresh_rng):
    config = config.replace({"training.epochs": 1000, "network.hidden": [40, 30, 40]})
    run, rng = store.create(config), fresh_rng
    kills = 0
    while kills < 8 and run.status()["state"] != "finished":
        process, before = engine(run), len(run.records())
        if kills % 3 == 2:  # while it starts
            time.sleep(rng.uniform(0, 2))  # a random moment, waiting for nothing
        else:
            wait_until(lambda p=process, b=before: p.poll() is not None or len(run.records()) > max(b, 1))
            time.sleep(rng.uniform(0, 0.2))  # likewise
        process.kill()
        kills += process.wait() != 0
        assert [record.epoch for record in run.records()] == list(range(1, len(run.records()) + 1))
    assert kills > 2
    assert run.status()["state"] == "finished" or engine(run).wait() == 0
    assert run.status()["state"] == "finished"
    assert_same(run, uninterrupted(store, config))
    assert 2 <= len(list(run.checkpoint_folder.iterdir())) <= 2 + FORKS


def test_resume__extends_a_finished_run(store, config):
    run = uninterrupted(store, config.replace({"training.epochs": 3}))
    with pytest.raises(RunError, match="its 3 epochs are done"):
        next(execute(run))
    assert run.status()["state"] == "finished"
    assert main(["resume", run.id, "--runs", str(store.root), "--epochs", "6"]) == 0
    assert run.status()["state"] == "finished"
    whole = uninterrupted(store, config)
    one, two = (np.load(r.path / "weights.npz") for r in (run, whole))
    assert all((one[name] == two[name]).all() for name in one.files)
    assert recorded(run, "epoch")[3:] == recorded(whole, "epoch")[3:]
    assert [line["epoch"] for line in recorded(run, "epoch")] == [1, 2, 3, 4, 5, 6]
    assert events(run, "evolution") == ["Resumed after epoch 3 (the pending evolution was done first)"]


def test_resume__keeps_settings_changed_live(store, config, monkeypatch):
    monkeypatch.setattr("tsnn.execution.commands.POLL_SECONDS", 0)
    run = store.create(config)
    execution = execute(run)
    advance(execution, lambda item: item.epoch == 2)
    request(run, "set", zeta=0.6)
    advance(execution, lambda item: item.epoch == 4)
    execution.close()
    list(execute(run))
    assert run.records()[-1].settings["zeta"] == 0.6


@pytest.mark.parametrize("end", ["stopped", "finished"])
def test_resume__does_not_apply_a_command_that_came_when_the_run_ended(store, config, end):
    run = store.create(config)
    execution = execute(run)
    advance(execution, lambda item: item.epoch == 4)
    if end == "finished":
        list(execution)
    execution.close()
    assert run.status()["state"] == end
    leave_command(run, "set", learning_rate=0.01)
    append_line(run.path / "control.jsonl", asdict(Command("set", {"dropout": 0.2}, time=time.time() + 5)))  # resumed
    prepare_resume(run, 8)
    list(execute(run))
    assert {record.settings["learning_rate"] for record in run.records()} == {0.05}
    assert run.records()[-1].settings["dropout"] == 0.2
    late = next(line for line in recorded(run, "ack") if not line["accepted"])
    assert late["message"] == "The command came when the run had ended"


def test_resume__ignores_old_stop_commands(store, config, monkeypatch):
    monkeypatch.setattr("tsnn.execution.commands.POLL_SECONDS", 0)
    run = store.create(config)
    execution = execute(run)
    advance(execution, lambda item: item.epoch == 2)
    for _ in range(3):
        request(run, "stop")
    list(execution)
    assert run.status()["state"] == "stopped"
    list(execute(run))
    assert run.status()["state"] == "finished"


def test_resume__refuses_changed_data(store, config, tmp_path, rng):
    run = store.create(config)
    execution = execute(run)
    advance(execution, lambda item: item.epoch == 2)
    execution.close()
    before = run.checkpoints()[0].read_bytes()
    np.savez(tmp_path / "blobs.npz", X=rng.normal(size=(135, 12)), y=np.arange(135) % 3)
    with pytest.raises(DataError, match="have changed since it began"):
        list(execute(run))
    assert run.status()["state"] == "stopped", "as before"
    assert run.checkpoints()[0].read_bytes() == before
    assert recorded(run, "epoch")[0]["epoch"] == 1
    assert "could not be resumed: The data of run" in events(run, "resumed")[0]


def test_resume__in_another_folder_finds_the_data(store, config, tmp_path, monkeypatch):
    store = RunStore(store.root.absolute())
    monkeypatch.chdir(tmp_path)
    run = uninterrupted(store, config.replace({"data.name": "blobs.npz", "training.epochs": 2}))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["resume", run.id, "--runs", str(store.root), "--epochs", "3"]) == 0
    assert len(run.records()) == 3
    assert (run.config().data.name, run.config().training.epochs) == ("blobs.npz", 3)
    assert run.meta()["data"]["path"] == str(tmp_path / "blobs.npz")


@pytest.mark.parametrize("cause", ["missing", "changed", "launched"])
def test_resume__without_its_data_leaves_a_finished_run_as_it_was(store, config, tmp_path, monkeypatch, capsys, cause):
    run = uninterrupted(store, config.replace({"training.epochs": 2}))
    kept = {name: (run.path / name).read_bytes() for name in ("config.toml", "meta.json", "weights.npz")}
    status, records = run.status(), recorded(run, "epoch", "snapshot")
    if cause == "changed":
        np.savez(tmp_path / "blobs.npz", X=np.random.default_rng(0).normal(size=(135, 12)), y=np.arange(135) % 3)
    else:
        (tmp_path / "blobs.npz").unlink()
    if cause == "launched":
        tsnn.resume(run, 4)
        assert processes.ended(run)["state"] == "failed"
    else:
        assert main(["resume", run.id, "--runs", str(store.root), "--epochs", "4"]) == 1
        assert "blobs" in capsys.readouterr().err
    assert run.status() == status
    assert {name: (run.path / name).read_bytes() for name in kept} == kept
    assert recorded(run, "epoch", "snapshot") == records
    assert not (run.path / "resume.json").exists()
    assert "could not be resumed" in events(run, "resumed")[0]


def test_resume__killed_while_it_reads_its_data_leaves_the_run_as_it_was(store, config):
    run = uninterrupted(store, config.replace({"training.epochs": 2}))
    status = run.status()
    prepare_resume(run, 4)
    dead = identity() | {"start": 1}
    (run.path / "status.json").write_text(json.dumps({"state": "starting", "process": dead, "previous": status}))
    assert run.status() == status
    list(execute(run))
    assert len(run.records()) == 4


def test_resume__ignores_and_keeps_foreign_files_among_checkpoints(store, config):
    run = store.create(config.replace({"run.checkpoint_mb": 0}))
    execution = execute(run)
    advance(execution, lambda item: isinstance(item, EpochRecord) and item.epoch == 3)
    execution.close()
    foreign = [run.checkpoint_folder / name for name in ("backup.npz", "9999999.npz", "0000000-0.npz", "notes.txt")]
    for path in foreign:
        path.write_bytes(b"mine")
    list(execute(run))
    assert_same(run, uninterrupted(store, config))
    assert all(path.read_bytes() == b"mine" for path in foreign)
    assert len(run.checkpoints()) == 2


def test_resume__leaves_out_the_setting_that_made_it_diverge(store, config):
    run = store.create(config.replace({"training.epochs": 50}))
    execution = execute(run)
    advance(execution, lambda item: isinstance(item, EpochRecord) and item.epoch == 3)
    request(run, "set", learning_rate=1e30)
    with pytest.raises(DivergenceError):
        list(execution)
    list(execute(run))
    assert run.status()["state"] == "finished"
    assert any("change learning_rate is left out" in message for message in events(run, "resumed"))


def test_metrics__removed_while_training_are_not_created_again(store, config):
    run = store.create(config)
    execution = execute(run)
    advance(execution, lambda item: isinstance(item, EpochRecord) and item.epoch == 3)
    (run.path / "metrics.jsonl").unlink()
    with pytest.raises(RunError, match=r"metrics.jsonl was removed while run"):
        list(execution)
    assert run.status()["state"] == "failed"
    assert not (run.path / "metrics.jsonl").exists()


def test_run__removed_while_training_leaves_nothing_behind(store, config):
    run = store.create(config)
    execution = execute(run)
    advance(execution, lambda item: isinstance(item, EpochRecord) and item.epoch == 2)
    shutil.rmtree(run.path)
    with pytest.raises(RunError, match="was removed while it was training"):
        list(execution)
    assert not run.path.exists()


def full_disk(monkeypatch, failing):
    """Let writing files whose names contain a text fail as on a full disk."""
    real_open, real_write = os.open, files.replacing

    def error(path):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def opening(path, flags, *rest):
        if flags & os.O_APPEND and any(name in str(path) for name in failing):
            raise error(path)
        return real_open(path, flags, *rest)

    def replacing(path, **options):
        if any(name in str(path) for name in failing):
            raise error(path)
        return real_write(path, **options)

    monkeypatch.setattr(files.os, "open", opening)
    monkeypatch.setattr(files, "replacing", replacing)


def test_snapshot__that_cannot_be_written_is_reported_once_and_training_continues(store, config, monkeypatch):
    full_disk(monkeypatch, ["snapshots"])
    run = uninterrupted(store, config)
    assert run.status()["state"] == "finished"
    assert len(run.records()) == 6
    assert len(events(run, "disk")) == 1
    assert "No space left on device" in events(run, "disk")[0]


def test_epoch__that_cannot_be_written_fails_the_run_and_keeps_the_others(store, config, monkeypatch):
    run = store.create(config)
    execution = execute(run)
    advance(execution, lambda item: isinstance(item, EpochRecord) and item.epoch == 3)
    with monkeypatch.context() as patch:
        full_disk(patch, ["metrics.jsonl", "status.json", "snapshots", "checkpoints"])
        with pytest.raises(RunError, match=r"metrics.jsonl: No space left on device. Free some space"):
            list(execution)
        assert run.status()["state"] == "failed"
        assert run.status()["message"].startswith("Disk full: ")
        assert "No space left on device" in run.status()["message"]
        assert [record.epoch for record in run.records()] == [1, 2, 3]
    list(execute(run))
    assert_same(run, uninterrupted(store, config))


def test_resume__damaged_checkpoint_is_reported_and_the_one_before_used(store, config):
    run = store.create(config)
    execution = execute(run)
    advance(execution, lambda item: isinstance(item, EpochRecord) and item.epoch == 3)
    execution.close()
    newest = run.checkpoints()[0]
    newest.write_bytes(newest.read_bytes()[:-100])
    list(execute(run))
    assert_same(run, uninterrupted(store, config))
    assert "is damaged" in events(run, "checkpoint")[0]
    assert run.resumes_from() == 6


def test_checkpoints__divergence_keeps_the_last_good_one(store, config):
    run = store.create(config.replace({"training.epochs": 50}))
    execution = execute(run)
    advance(execution, lambda item: isinstance(item, EpochRecord) and item.epoch == 3)
    request(run, "set", learning_rate=1e6)
    with pytest.raises(DivergenceError):
        list(execution)
    assert run.status()["state"] == "failed"
    tsnn.jobs.launch.prepare_resume(run)
    assert run.resumes_from() >= 3
    leave_command(run, "set", learning_rate=0.01)
    list(execute(run))
    assert run.status()["state"] == "finished"


def test_resume__refusals_have_a_message(store, config, capsys):
    run = uninterrupted(store, config.replace({"training.epochs": 2}))
    for arguments, message in (
        ([], "has trained 2 of 2 epochs"),
        (["--epochs", "1"], "--epochs 4"),
        (["--epochs", "-3"], "training.epochs must be"),
    ):
        assert main(["resume", run.id, "--runs", str(store.root), *arguments]) == 1
        assert message in capsys.readouterr().err
    with pytest.raises(ConfigError):
        tsnn.resume(run, 0)
    assert main(["resume", "nothing", "--runs", str(store.root)]) == 1
    assert run.config().training.epochs == 2
    live = store.create(config)
    execution = execute(live)
    next(execution)
    assert main(["resume", live.id, "--runs", str(store.root)]) == 1
    assert f"(process {os.getpid()})" in capsys.readouterr().err
    execution.close()


@pytest.mark.slow
@pytest.mark.compiled
def test_checkpoints__full_disk_is_reported_and_training_continues(store, config):
    """A limit on the size of files stands in for the disk: the checkpoint exceeds it, all else fits."""
    run = store.create(config.replace({"network.hidden": [400, 400], "network.epsilon": 20, "training.epochs": 3}))
    limited = subprocess.run(
        [sys.executable, "-m", "tsnn.execution", str(run.path)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, 250_000)),
        check=False,
    )
    assert limited.returncode == 0
    assert run.status()["state"] == "finished"
    assert len(events(run, "checkpoint")) == 1
    assert "No checkpoint could be written" in events(run, "checkpoint")[0]
    assert list(run.path.rglob("*.tmp")) == []


def test_disk_warning__before_the_start(store, config, monkeypatch):
    monkeypatch.setattr("tsnn.engine.memory.shutil.disk_usage", lambda _: type("Usage", (), {"free": 5000}))
    run = uninterrupted(store, config)
    assert "fewer than three checkpoints" in events(run, "disk")[0]


@pytest.mark.slow
@pytest.mark.compiled
def test_resume__launched_run_continues_after_a_kill(store, config):
    config = config.replace({"training.epochs": 300})
    run = tsnn.start(config, store)
    wait_until(lambda: len(run.records()) > 3)
    os.kill(run.status()["pid"], signal.SIGKILL)
    wait_until(lambda: run.status()["state"] in OVER)
    tsnn.resume(run)
    wait_until(lambda: run.status()["state"] == "finished")
    assert_same(run, uninterrupted(store, config))


@pytest.mark.parametrize(("writing", "gap"), [(0, 60), (30, 600)])
def test_checkpoints__by_the_clock_within_the_time_limit(store, config, monkeypatch, writing, gap):
    now, written = [0.0], []

    def write(run, epochs, samples, *rest, **options):
        now[0] += writing
        written.append(now[0])

    monkeypatch.setattr("tsnn.execution.checkpointing.time.monotonic", lambda: now[0])
    monkeypatch.setattr("tsnn.execution.checkpointing.write_checkpoint", write)
    run = store.create(config.replace({"training.epochs": 40, "run.checkpoint_epochs": 0, "run.checkpoint_mb": 0}))
    for _ in execute(run):
        now[0] += 10
    gaps = np.diff(written[:-1])  # the last one comes at the end
    assert ((gaps >= gap) & (gaps <= gap + 20 + writing)).all()
    assert len(gaps) > 1


@pytest.mark.parametrize(("writing", "gap"), [(0, 0), (2, 100)])
def test_checkpoints__to_fork_from_at_geometric_epochs_within_the_time_limit(store, config, monkeypatch, writing, gap):
    now, written = [0.0], []

    def write(run, epochs, samples, *rest, kept_bytes):
        now[0] += writing
        written.append((epochs, samples, now[0]))
        assert 0 < kept_bytes <= 200 * 2**20

    monkeypatch.setattr("tsnn.execution.checkpointing.time.monotonic", lambda: now[0])
    monkeypatch.setattr("tsnn.execution.checkpointing.write_checkpoint", write)
    settings = {"training.epochs": 100, "run.checkpoint_epochs": 0, "run.checkpoint_minutes": 10_000}
    for _ in execute(store.create(config.replace(settings))):
        now[0] += 10
    epochs, samples, times = np.array(written).T
    assert not samples.any(), "ends of epochs only"
    assert (np.diff(times[:-1]) >= gap).all()
    assert 8 < len(epochs) <= 22
    assert (epochs[2:] / epochs[1:-1] < 3.1).all()


def epochs_of(run):
    return {line["epoch"]: line for line in recorded(run, "epoch")}


@pytest.mark.slow
@pytest.mark.compiled
def test_resume__repeats_ten_live_changes_after_five_kills(store, config, fresh_rng):
    slow = {
        "network.hidden": (3000, 3000),
        "training.learning_rate": 1e-4,
    }  # reading takes less than an epoch
    config = config.replace(slow | {"training.epochs": 400, "run.checkpoint_epochs": 20})
    run, seen, changes = store.create(config), {}, 0
    for _ in range(5):
        process = engine(run)
        for _ in range(2):
            known = max(seen, default=0)
            wait_until(lambda p=process, k=known: p.poll() is not None or len(run.records()) > k)
            request(run, "set", zeta=round(fresh_rng.uniform(0.05, 0.6), 3), dropout=fresh_rng.uniform(0, 0.3))
            changes += 1
            known = len(run.records()) + 5
            wait_until(lambda p=process, k=known: p.poll() is not None or len(run.records()) > k)
        process.kill()
        process.wait()
        for epoch, line in epochs_of(run).items():
            assert seen.setdefault(epoch, line) == line
    assert engine(run).wait() == 0
    final = epochs_of(run)
    assert list(final) == list(range(1, 401))
    assert {epoch: final[epoch] for epoch in seen} == seen
    assert changes == 10
    assert final[400]["settings"]["zeta"] == ControlReader(run).poll()[-1].settings["zeta"]


def test_resume__applies_settings_where_they_were_acknowledged(store, config, monkeypatch):
    monkeypatch.setattr("tsnn.execution.commands.POLL_SECONDS", 0)
    run = store.create(config.replace({"run.checkpoint_epochs": 0, "training.epochs": 12}))
    execution = execute(run)
    advance(execution, lambda item: item.epoch == 2 and not isinstance(item, EpochRecord))
    request(run, "set", zeta=0.6)
    advance(execution, lambda item: isinstance(item, EpochRecord) and item.epoch == 5)
    request(run, "set", learning_rate=0.01, epsilon=3)  # between two epochs
    advance(execution, lambda item: isinstance(item, EpochRecord) and item.epoch == 8)
    before = epochs_of(run)
    with monkeypatch.context() as patch:
        patch.setattr("tsnn.execution.engine._Engine.end", lambda *_: None)  # as if it were killed
        execution.close()
    request(run, "set", dropout=0.3)  # not acknowledged: applied after what has been recorded
    again = execute(run)
    advance(again, lambda item: item.epoch == 4)
    request(run, "set", zeta=0.05)  # while epochs are repeated
    list(again)
    final = epochs_of(run)
    assert {epoch: final[epoch] for epoch in before} == before
    assert [final[e]["settings"]["zeta"] for e in (1, 2, 8, 9)] == [0.3, 0.6, 0.6, 0.05]
    assert [final[e]["settings"]["learning_rate"] for e in (5, 6)] == [0.05, 0.01]
    assert [final[e]["settings"]["dropout"] for e in (8, 9)] == [0.1, 0.3]
    places = [(line["epoch"], line["at_start"]) for line in recorded(run, "ack")]
    assert sorted(places) == [(2, False), (5, True), (8, True), (8, True)]
    assert [line["seq"] for line in run.lines()[0]] == list(range(len(run.lines()[0])))


def test_resume__repeats_a_change_of_the_rules_bit_for_bit(store, config, monkeypatch):
    monkeypatch.setattr("tsnn.execution.commands.POLL_SECONDS", 0)
    config = config.replace({"training.epochs": 12})
    runs = [store.create(config.replace({"run.checkpoint_epochs": n})) for n in (0, 5)]
    for run in runs:
        execution = execute(run)
        advance(execution, lambda item: item.epoch == 3 and not isinstance(item, EpochRecord))
        request(run, "set", regrow="gradient")
        advance(execution, lambda item: item.epoch == 7 and not isinstance(item, EpochRecord))
        request(run, "set", prune="magnitude", regrow="random")
        advance(execution, lambda item: isinstance(item, EpochRecord) and item.epoch == 9)
        before = epochs_of(run)
        with monkeypatch.context() as patch:
            patch.setattr("tsnn.execution.engine._Engine.end", lambda *_: None)  # as if it were killed
            execution.close()
        list(execute(run))
        final = epochs_of(run)
        assert {epoch: final[epoch] for epoch in before} == before
        rules = [(final[e]["settings"]["prune"], final[e]["settings"]["regrow"]) for e in (2, 3, 6, 7, 12)]
        assert rules == [("signed", "random"), *[("signed", "gradient")] * 2, *[("magnitude", "random")] * 2]
    one, two = (np.load(run.path / "weights.npz") for run in runs)
    assert all((one[name] == two[name]).all() for name in one.files)
    assert set(events(runs[0], "setting")) == {
        "regrow changed from random to gradient", "regrow changed from gradient to random",
        "prune changed from signed to magnitude",
    }  # fmt: skip
    assert b"magnitude" in to_csv(runs[0])


def test_resume__leaves_out_only_the_last_settings_before_a_divergence(store, config, monkeypatch):
    monkeypatch.setattr("tsnn.execution.commands.POLL_SECONDS", 0)
    run = store.create(config.replace({"training.epochs": 20, "run.checkpoint_epochs": 1}))
    execution = execute(run)
    for epoch, change in ((2, {"zeta": 0.5}), (4, {"learning_rate": 0.02}), (6, {"learning_rate": 1e30})):
        advance(execution, lambda item, e=epoch: item.epoch == e and not isinstance(item, EpochRecord))
        request(run, "set", **change)
    with pytest.raises(DivergenceError):
        list(execution)
    before = epochs_of(run)
    assert before[max(before)]["settings"]["learning_rate"] == 0.02, "the checkpoint has the setting, no epoch has"
    list(execute(run))
    final = epochs_of(run)
    assert {epoch: final[epoch] for epoch in before} == before
    assert final[20]["settings"] | {"zeta": 0.5, "learning_rate": 0.02} == final[20]["settings"]
    assert len(final) == 20


@pytest.mark.parametrize(("change", "fits"), [({"regrow": "gradient"}, False), ({"prune": "magnitude"}, True)])
def test_live_rule__is_refused_if_it_needs_memory_that_is_not_there(store, config, monkeypatch, change, fits):
    monkeypatch.setattr("tsnn.execution.commands.POLL_SECONDS", 0)
    run = store.create(config)
    execution = execute(run)
    advance(execution, lambda item: item.epoch == 2)
    monkeypatch.setattr("tsnn.engine.memory.free_memory", lambda: 1000)
    request(run, "set", **change)
    list(execution)
    [ack] = recorded(run, "ack")
    assert ack["accepted"] == fits, ack


def test_live_rule__has_its_kernels_before_it_evolves(store, config, monkeypatch):
    monkeypatch.setattr("tsnn.execution.commands.POLL_SECONDS", 0)
    compiled = []
    monkeypatch.setattr(
        "tsnn.execution.preparation.compile_evolution", lambda config, *_: compiled.append(config.training.regrow)
    )
    run = store.create(config)
    execution = execute(run)
    advance(execution, lambda item: item.epoch == 2)
    request(run, "set", zeta=0.2)
    request(run, "set", regrow="gradient")
    advance(execution, lambda item: isinstance(item, EpochRecord))
    assert compiled == ["gradient"]
    execution.close()


def test_live_epsilon__that_does_not_fit_into_the_memory_is_refused(store, config, monkeypatch):
    monkeypatch.setattr("tsnn.execution.commands.POLL_SECONDS", 0)
    run = store.create(config)
    execution = execute(run)
    advance(execution, lambda item: item.epoch == 2)
    monkeypatch.setattr("tsnn.engine.memory.free_memory", lambda: 1000)
    request(run, "set", epsilon=1e300)
    request(run, "set", epsilon=1)
    list(execution)
    refused, accepted = recorded(run, "ack")
    assert not refused["accepted"]
    assert "of memory, but 0 MiB are free" in refused["message"]
    assert accepted["accepted"]
    assert run.records()[-1].settings["epsilon"] == 1
