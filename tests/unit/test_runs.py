"""Run directories: reading while written, after a crash or damage; one writer; formats; names within the folder."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tsnn
from tests.support.fake_engine import epoch_record
from tests.support.waiting import wait_until
from tsnn.archives import npz_bytes
from tsnn.config import Config
from tsnn.errors import ConfigError, RunError
from tsnn.files import append_line, read_lines, write_atomic
from tsnn.jobs.launch import prepare_resume
from tsnn.records import FORMAT, EpochRecord, Event, EventKind, RunState
from tsnn.runs import Run, RunStore
from tsnn.runs.checkpoints import read_checkpoint, write_checkpoint
from tsnn.runs.comparison import find
from tsnn.runs.control import ControlReader, request
from tsnn.runs.export import to_csv
from tsnn.runs.liveness import identity, stamp
from tsnn.runs.results import result
from tsnn.runs.writer import RunWriter
from tsnn.snapshot import LayerSnapshot, Snapshot
from tsnn.views.live.follower import RunFollower

SNAPSHOT = Snapshot(
    np.array([3, 2, 1]),
    (
        LayerSnapshot(in_degree=np.array([[1, 2]])),
        LayerSnapshot(density_max=np.float32(6), age=np.array([[0, 4]])),
    ),
    percentile=np.float32(20),
)


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs")


@pytest.fixture
def run(store):
    return store.create(Config())


def test_run__holds_its_configuration(store):
    config = Config.preset("madelon").replace({"run.seed": 9})
    run = store.create(config)
    assert store.open(run.id).config() == config
    assert "madelon" in run.id


def test_store__lists_runs_newest_first(store):
    (store.root / "20200101-000000-old-0000").mkdir(parents=True)
    (store.root / "20200101-000000-old-0000" / "config.toml").touch()
    (store.root / "no run").mkdir()
    (store.root / "half-made").mkdir()
    run = store.create(Config())
    assert [r.id for r in store.list()] == [run.id, "20200101-000000-old-0000"]


def test_store__empty_lists_nothing(store):
    assert store.list() == []


@pytest.mark.parametrize("name", ["../outside", "a/b", "", ".hidden", "x" * 81, "nul\0"])
def test_store__refuses_names_outside_the_folder(store, name):
    with pytest.raises(RunError, match="not the name of a run"):
        store.open(name)


def test_store__refuses_links_outside_the_folder(store, run, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (store.root / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="not the name of a run"):
        store.open("link")


def test_store__unknown_run_names_the_newest(store, run):
    with pytest.raises(RunError, match=run.id):
        store.open("missing")


def test_read_lines__leaves_a_torn_line_for_later(tmp_path):
    path = tmp_path / "lines.jsonl"
    append_line(path, {"a": 1, "loss": float("nan")})
    with open(path, "ab") as file:
        file.write(b'not json\n{"a": 2')
    lines, offset = read_lines(path)
    assert lines == [{"a": 1, "loss": None}]
    with open(path, "ab") as file:
        file.write(b"2}\n")
    assert read_lines(path, offset)[0] == [{"a": 22}]


def test_writer__rewinds_to_a_position_and_cuts_torn_lines(run):
    with RunWriter(run) as writer:
        writer.line("epoch", epoch=1)
        writer.snapshot(1, SNAPSHOT)
        position = writer.position()
        writer.line("epoch", epoch=2)
        writer.snapshot(2, SNAPSHOT)
    with open(run.path / "metrics.jsonl", "ab") as file:
        file.write(b'{"type": "epo')
    (run.path / "checkpoints").mkdir()
    (run.path / "checkpoints" / ".0000002-0.npz.1.2.tmp").touch()
    with RunWriter(run) as writer:
        assert writer.epochs_after(position) == [2]
        writer.rewind(position, 1)
        writer.line("event", epoch=1)
    assert [(line["type"], line["seq"]) for line in run.lines()[0]] == [("epoch", 0), ("snapshot", 1), ("event", 2)]
    assert run.snapshot_epochs() == [1]
    assert list((run.path / "checkpoints").iterdir()) == []  # temporary files of a killed writer are removed


def test_writer__only_one_process_at_a_time(run):
    code = (
        f"from tsnn.runs.writer import *; from pathlib import Path; RunWriter(Run(Path({str(run.path)!r}))).__enter__()"
    )
    with RunWriter(run):
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"is being written by process {os.getpid()}" in other.stderr


def test_writer__refuses_a_finished_run(run):
    with RunWriter(run) as writer:
        writer.update(epoch=run.config().training.epochs)
        writer.end("finished", "")
    with pytest.raises(RunError, match=f"tsnn resume {run.id} --epochs"), RunWriter(run):
        pass


def test_status__states_of_a_live_run(run):
    assert run.status()["state"] == "created"
    with RunWriter(run) as writer:
        assert run.status()["state"] == "starting"
        writer.update(state="training", epoch=4)
        assert run.status()["state"] == "training"
        assert run.status()["epoch"] == 4
        writer.end("finished", "done")
    assert run.status()["state"] == "finished"
    assert run.lines()[0][-1] | {"time": 0} == {
        "type": "end",
        "seq": 0,
        "time": 0,
        "state": "finished",
        "message": "done",
    }


def test_status__lost_when_the_process_died(run):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with RunWriter(run) as writer:
        writer.update(process=identity(process.pid))
        writer.update(state="training")
    assert run.status()["state"] == "training"
    process.kill()
    process.wait()
    assert run.status()["state"] == "lost"


def test_status__lost_when_the_process_number_is_reused(run):
    with RunWriter(run) as writer:
        writer.update(process=identity() | {"start": 1})
        writer.update(state="training")
        assert run.status()["state"] == "lost"


@pytest.mark.parametrize(
    ("host", "seconds", "state"),
    [(socket.gethostname(), 60, "stalled"), ("elsewhere", 86400, "training"), ("elsewhere", 5 * 86400, "lost")],
)
def test_status__old_heartbeat_is_stalled_or_lost(run, host, seconds, state):
    with RunWriter(run) as writer:
        writer.update(state="training")
        status = run.status()
    status |= {"time": status["time"] - seconds, "uptime": status["uptime"] - seconds}
    status |= {"process": status["process"] | {"host": host}, "boot": status["boot"] if seconds == 60 else "other"}
    write_atomic(run.path / "status.json", json.dumps(status).encode())
    assert run.status()["state"] == state


@pytest.mark.parametrize("days", [-1, 1])
def test_status__does_not_depend_on_the_clock(run, monkeypatch, days):
    assert run.status()["state"] == "created"
    real = time.time
    with RunWriter(run) as writer:
        writer.update(state="training")
        monkeypatch.setattr(time, "time", lambda: real() + 86400 * days)
        assert run.status()["state"] == "training"
    (run.path / "status.json").write_text(json.dumps({"state": "created", **stamp()}))
    monkeypatch.setattr(time, "time", real)
    assert run.status()["state"] == "created"


def test_status__of_another_machine_is_lost_when_its_heart_stops(run, monkeypatch):
    process = identity() | {"host": "elsewhere"}
    status = {"state": "training", "beat": 1, "time": time.time() + 86400, "process": process}
    (run.path / "status.json").write_text(json.dumps(status))
    assert run.status()["state"] == "training"
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 11)
    assert run.status()["state"] == "stalled"
    monkeypatch.setattr(time, "monotonic", lambda: now + 31)
    assert run.status()["state"] == "lost"


def test_status__run_on_a_machine_with_another_clock_lives_while_its_heart_beats(run):
    process = identity() | {"host": "elsewhere"}

    def beat(number, seconds):
        status = {"state": "training", "beat": number, "time": time.time() + seconds, "process": process}
        (run.path / "status.json").write_text(json.dumps(status))
        return run.status()["state"]

    assert beat(1, -12) == "training", "silent or not: not known yet"
    assert beat(2, -12) == "training"
    assert beat(3, -86400) == "training"
    assert beat(4, 86400) == "training"


def test_writer__heartbeat_updates_the_status(run):
    with RunWriter(run) as writer:
        first = run.status()["time"]
        writer.update(samples=7)
        wait_until(lambda: run.status()["time"] != first)
        assert run.status()["samples"] == 7


def test_status__lost_after_a_minute_without_start(run):
    past = time.time() - 120
    os.utime(run.path / "config.toml", (past, past))
    assert run.status()["state"] == "lost"


@pytest.mark.parametrize("state", ["evaluating", 7])
def test_status__unknown_state_is_lost(run, state):
    with RunWriter(run) as writer:
        writer.update(state="training")
        status = run.status()
    assert status["state"] is RunState.TRAINING
    (run.path / "status.json").write_text(json.dumps(status | {"state": state}))
    assert run.status()["state"] is RunState.LOST


def test_event__unknown_kind_becomes_other(run):
    line = {"epoch": 3, "kind": "quantised", "message": "8 bits now"}
    assert Event.from_dict(line) == Event(3, EventKind.OTHER, "8 bits now")
    record = epoch_record(3, Config()).to_dict() | {"events": [line]}
    assert EpochRecord.from_dict(record).events[0].kind is EventKind.OTHER
    with RunWriter(run) as writer:
        writer.line("event", **line)
    assert [event.message for event in RunFollower(run).events] == ["8 bits now"]


def test_event__every_kind_is_documented_with_the_run_directory():
    from tsnn.runs import store

    assert all(f"``{kind}``" in store.__doc__ for kind in set(EventKind) - {EventKind.OTHER})


@pytest.mark.parametrize("found", [1, 99, None])
def test_format__another_run_is_refused_and_not_touched(run, found):
    (run.path / "meta.json").write_text(json.dumps({"format": found}))
    before = sorted(run.path.rglob("*"))
    message = f"Run {run.id} has format {found}; this version of tsnn reads format {FORMAT}"
    for attempt in (run.meta, run.records, lambda: to_csv(run), lambda: prepare_resume(run), RunWriter(run).__enter__):
        with pytest.raises(RunError, match=message):
            attempt()
    assert sorted(run.path.rglob("*")) in (before, sorted([*before, run.path / "run.lock"]))
    assert result(run).settings == {}
    assert find(run.config(), [run]) is None
    assert str(FORMAT) in RunFollower(run).problem


def test_format__checkpoints_networks_and_estimators_of_format_1_are_refused(run, tmp_path, rng, monkeypatch):
    from sklearn.datasets import load_iris

    model = tsnn.SparseMLPClassifier(hidden=(5,), epochs=1).fit(*load_iris(return_X_y=True))
    for module in ("tsnn.archives", "tsnn.engine.serialization"):
        monkeypatch.setattr(f"{module}.FORMAT", 1)
    write_checkpoint(run, 1, 0, "sequential", {}, {})
    network = tsnn.init_network(12, 3, Config().replace(hidden=[5]), rng=rng)
    tsnn.save_network(network, tmp_path / "weights.npz")
    model.save(tmp_path / "model.npz")
    monkeypatch.undo()
    for attempt in (
        lambda: read_checkpoint(run, "sequential"),
        lambda: tsnn.load_network(tmp_path / "weights.npz"),
        lambda: tsnn.SparseMLPClassifier.load(tmp_path / "model.npz"),
    ):
        with pytest.raises(RunError, match=f"format 1.*{FORMAT}"):
            attempt()


def test_config__old_names_in_a_file_are_read(run):
    text = run.config().to_toml().replace('method = "set"\n', "").replace("[network]", '[network]\ntopology = "fixed"')
    (run.path / "config.toml").write_text(text)
    assert run.config().training.method == "fixed"


def test_snapshot__is_read_back(run):
    with RunWriter(run) as writer:
        writer.snapshot(12, SNAPSHOT)
    assert run.snapshot_epochs() == [12]
    found, part = run.snapshot(12), run.snapshot(12, layer=1, parts=("age", "percentile"))
    assert {name: values.tolist() for name, values in found.arrays().items()} == {
        "sizes": [3, 2, 1], "percentile": 20, "in_degree_0": [[1, 2]], "density_max_1": 6, "age_1": [[0, 4]],
    }  # fmt: skip
    assert found.layers[1].density_max.dtype == np.float32
    assert set(part.arrays()) == {"sizes", "percentile", "age_1"}
    assert run.lines()[0][0]["file"] == "0000012.npz"


def test_snapshot__damaged_is_refused(run, monkeypatch):
    folder = run.path / "snapshots"
    (folder / "0000001.npz").write_bytes(b"PK nonsense")
    np.savez(folder / "0000002.npz", a=np.array([{}], dtype=object))
    (folder / "0000003.npz").write_bytes(npz_bytes({"bomb": np.zeros(2**24)}, compress=True))
    for epoch, message in ((1, "no readable"), (2, "no readable"), (3, "more than 64 MiB"), (4, "no readable")):
        with pytest.raises(RunError, match=message):
            run.snapshot(epoch)


def test_write_atomic__failure_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, b"old")
    monkeypatch.setattr(Path, "replace", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_control_reader__reads_each_command_once(run):
    reader = ControlReader(run)
    assert reader.poll() == []
    command = request(run, "set", zeta=0.2)
    with open(run.path / "control.jsonl", "a") as file:
        file.write('{"action": "explode"}\n{"nonsense": 1}\n{"action": "set", "settings": 7}\n')
    request(run, "stop")
    commands = reader.poll()
    assert [w.action for w in commands] == ["set", "stop"]
    assert commands[0] == command
    assert reader.poll() == []


@pytest.mark.parametrize(
    ("action", "settings", "message"),
    [
        ("set", {"zeta": 1.5}, "^training.zeta must be at least 0 and less than 1; got 1.5.$"),
        ("set", {"batch_size": 3}, "cannot be changed while a run trains"),
        ("explode", {}, "Unknown action"),
    ],
)
def test_request__refuses_impossible_commands(run, action, settings, message):
    with pytest.raises(ConfigError, match=message):
        request(run, action, **settings)
    assert not (run.path / "control.jsonl").exists()


def test_store__folder_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("TSNN_RUNS", str(tmp_path / "here"))
    assert RunStore().root == tmp_path / "here"
    monkeypatch.delenv("TSNN_RUNS")
    assert str(RunStore().root) == "runs"
    assert Run(tmp_path).log() == ""
