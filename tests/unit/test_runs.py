"""Run directories: readable while written, after a crash and when damaged; one writer; no way out of the root."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.support.waiting import wait_until
from tsnn.config import Config
from tsnn.errors import ConfigError, RunError
from tsnn.files import append_line, npz_bytes, read_lines, write_atomic
from tsnn.runs import Run, RunStore
from tsnn.runs.control import ControlReader, request
from tsnn.runs.liveness import identity
from tsnn.runs.writer import RunWriter


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs")


@pytest.fixture
def run(store):
    return store.create(Config())


def test_a_run_holds_its_configuration(store):
    config = Config.preset("madelon").replace({"run.seed": 9})
    run = store.create(config)
    assert store.open(run.id).config() == config
    assert "madelon" in run.id


def test_runs_are_listed_newest_first(store):
    (store.root / "20200101-000000-old-0000").mkdir(parents=True)
    (store.root / "20200101-000000-old-0000" / "config.toml").touch()
    (store.root / "no run").mkdir()
    (store.root / "half-made").mkdir()
    run = store.create(Config())
    assert [r.id for r in store.list()] == [run.id, "20200101-000000-old-0000"]


def test_an_empty_store_lists_nothing(store):
    assert store.list() == []


@pytest.mark.parametrize("name", ["../outside", "a/b", "", ".hidden", "x" * 81, "nul\0"])
def test_names_that_lead_elsewhere_are_refused(store, name):
    with pytest.raises(RunError, match="not the name of a run"):
        store.open(name)


def test_links_that_lead_elsewhere_are_refused(store, run, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (store.root / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="not the name of a run"):
        store.open("link")


def test_an_unknown_run_names_the_newest(store, run):
    with pytest.raises(RunError, match=run.id):
        store.open("missing")


def test_a_torn_line_is_left_for_later(tmp_path):
    path = tmp_path / "lines.jsonl"
    append_line(path, {"a": 1, "loss": float("nan")})
    with open(path, "ab") as file:
        file.write(b'not json\n{"a": 2')
    lines, offset = read_lines(path)
    assert lines == [{"a": 1, "loss": None}]
    with open(path, "ab") as file:
        file.write(b"2}\n")
    assert read_lines(path, offset)[0] == [{"a": 22}]


def test_a_writer_goes_back_to_a_position_and_cuts_torn_lines(run):
    with RunWriter(run) as writer:
        writer.line("epoch", epoch=1)
        writer.snapshot(1, {"a": np.zeros(2)})
        position = writer.position()
        writer.line("epoch", epoch=2)
        writer.snapshot(2, {"a": np.zeros(2)})
    with open(run.path / "metrics.jsonl", "ab") as file:
        file.write(b'{"type": "epo')
    (run.path / "checkpoints").mkdir()
    (run.path / "checkpoints" / ".0000002-0.npz.1.2.tmp").touch()
    with RunWriter(run) as writer:
        assert writer.rewind(position, 1) == [2]
        writer.line("event", epoch=1)
    assert [(line["type"], line["seq"]) for line in run.lines()[0]] == [("epoch", 0), ("snapshot", 1), ("event", 2)]
    assert run.snapshot_epochs() == [1]
    assert list((run.path / "checkpoints").iterdir()) == []  # what a killed writer leaves takes no room for ever


def test_only_one_process_writes_a_run(run):
    code = (
        f"from tsnn.runs.writer import *; from pathlib import Path; RunWriter(Run(Path({str(run.path)!r}))).__enter__()"
    )
    with RunWriter(run):
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"is being written by process {os.getpid()}" in other.stderr


def test_a_finished_run_is_not_written_again(run):
    with RunWriter(run) as writer:
        writer.update(epoch=run.config().training.epochs)
        writer.end("finished", "")
    with pytest.raises(RunError, match=f"tsnn resume {run.id} --epochs"), RunWriter(run):
        pass


def test_states_of_a_living_run(run):
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


def test_a_run_whose_process_died_is_lost(run):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with RunWriter(run) as writer:
        writer.update(process=identity(process.pid))
        writer.update(state="training")
    assert run.status()["state"] == "training"
    process.kill()
    process.wait()
    assert run.status()["state"] == "lost"


def test_a_reused_process_number_does_not_look_alive(run):
    with RunWriter(run) as writer:
        writer.update(process=identity() | {"start": 1})
        writer.update(state="training")
        assert run.status()["state"] == "lost"


@pytest.mark.parametrize(("host", "state"), [(socket.gethostname(), "stalled"), ("elsewhere", "lost")])
def test_silence_is_noticed(run, host, state):
    with RunWriter(run) as writer:
        writer.update(state="training")
        status = run.status()
    write_atomic(
        run.path / "status.json",
        json.dumps(status | {"time": time.time() - 60, "process": status["process"] | {"host": host}}).encode(),
    )
    assert run.status()["state"] == state


def test_the_heartbeat_beats(run):
    with RunWriter(run) as writer:
        first = run.status()["time"]
        writer.update(samples=7)
        wait_until(lambda: run.status()["time"] != first, 20)
        assert run.status()["samples"] == 7


def test_a_run_that_never_started_is_lost_after_a_minute(run):
    past = time.time() - 120
    os.utime(run.path / "config.toml", (past, past))
    assert run.status()["state"] == "lost"


def test_a_run_of_a_newer_version_is_refused(run):
    (run.path / "meta.json").write_text('{"format": 99}')
    with pytest.raises(RunError, match="format 99"):
        run.meta()


def test_snapshots_are_read_back(run):
    with RunWriter(run) as writer:
        writer.snapshot(12, {"degree": np.arange(3)})
    assert run.snapshot_epochs() == [12]
    assert run.snapshot(12)["degree"].tolist() == [0, 1, 2]
    assert run.lines()[0][0]["file"] == "0000012.npz"


def test_bad_snapshots_are_refused(run, monkeypatch):
    folder = run.path / "snapshots"
    (folder / "0000001.npz").write_bytes(b"PK nonsense")
    np.savez(folder / "0000002.npz", a=np.array([{}], dtype=object))
    (folder / "0000003.npz").write_bytes(npz_bytes({"bomb": np.zeros(2**24)}, compress=True))
    for epoch, words in ((1, "no readable"), (2, "no readable"), (3, "too large"), (4, "no readable")):
        with pytest.raises(RunError, match=words):
            run.snapshot(epoch)


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, b"old")
    monkeypatch.setattr(Path, "replace", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_wishes_reach_the_reader_once(run):
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
    ("action", "settings", "words"),
    [
        ("set", {"zeta": 1.5}, "training.zeta must be"),
        ("set", {"batch_size": 3}, "cannot be changed while a run trains"),
        ("explode", {}, "Unknown action"),
    ],
)
def test_impossible_wishes_are_refused(run, action, settings, words):
    with pytest.raises(ConfigError, match=words):
        request(run, action, **settings)
    assert not (run.path / "control.jsonl").exists()


def test_the_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("TSNN_RUNS", str(tmp_path / "here"))
    assert RunStore().root == tmp_path / "here"
    monkeypatch.delenv("TSNN_RUNS")
    assert str(RunStore().root) == "runs"
    assert Run(tmp_path).log() == ""
