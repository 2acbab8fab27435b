"""Run directories with any content: each is one line of a list, and nothing raises anything but a clear error."""

import contextlib
import json
import os
import shutil

import numpy as np
import pytest

from tests.support import fake_engine
from tsnn.cli import main
from tsnn.cli.console import run_lines
from tsnn.config import Config
from tsnn.errors import TsnnError
from tsnn.files import MAX_LINE_BYTES, append_line, read_json, read_lines
from tsnn.jobs import launch, queue
from tsnn.jobs.duration import seconds_per_connection
from tsnn.jobs.outcome import job_outcome
from tsnn.runs import Run, RunStore
from tsnn.runs.catalog import Catalog
from tsnn.runs.checkpoints import read_checkpoint
from tsnn.runs.comparison import find, table
from tsnn.runs.control import ControlReader, changed_config
from tsnn.runs.export import to_csv, to_toml
from tsnn.runs.notes import notes
from tsnn.runs.results import result
from tsnn.runs.summaries import summarise
from tsnn.views.live.follower import RunFollower
from tsnn.views.tabs.summary import summary_html

DEEP = "[" * 5000 + "]" * 5000
#: Values as text in a file: of each type, out of range, nested, and not displayable.
VALUES = {
    "null": "null", "true": "true", "negative": "-7", "huge": "1" + "0" * 400, "digits": "1" * 6000,
    "infinite": "1e999", "nan": "NaN", "text": '"noon"', "list": "[1]", "nested": '{"a": {"b": [1]}}', "deep": DEEP,
    "surrogate": '"\\ud800"',
}  # fmt: skip
#: Contents of files.
CONTENTS = {
    "empty": b"", "garbage": b"\x00\xff\xfe\x80" * 50, "truncated": b'{"state": "trai', "null": b"null", "list": b"[1]",
    "deep": b'{"a":' + DEEP.encode() + b"}\n", "utf16": '{"state": 1}\n'.encode("utf-16"), "lines": b"[]\n7\n{}\n\n",
}  # fmt: skip
JSON_FILES = ("status.json", "meta.json", "notes.json", "queued.json", "resume.json")
FILES = (*JSON_FILES, "config.toml", "metrics.jsonl", "control.jsonl", "log.txt", "weights.npz",
         "snapshots/0000001.npz", "checkpoints/0000001-000000000000.npz")  # fmt: skip


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Finished run with all files."""
    run = fake_engine.finished_run(RunStore(tmp_path_factory.mktemp("original")), {"data.name": "madelon"}, 2)
    (run.path / "notes.json").write_text('{"title": "One", "tags": ["a"]}')
    (run.path / "control.jsonl").write_text('{"action": "set", "settings": {"zeta": 0.2}, "id": "1", "time": 1}\n')
    (run.path / "queued.json").write_text('{"time": 5}')
    (run.path / "checkpoints").mkdir()
    (run.path / "snapshots" / "0000002.npz").unlink()
    return run


@pytest.fixture
def run(original, tmp_path, monkeypatch):
    """Copy of the run, in a store of its own."""
    monkeypatch.setenv("TSNN_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(launch, "start_supervisor", lambda run: run.wanted_config())
    shutil.copytree(original.path, tmp_path / "runs" / original.id)
    return Run(tmp_path / "runs" / original.id)


def attempt(function, *arguments):
    """Call a function that may refuse the run with a message."""
    with contextlib.suppress(TsnnError):
        function(*arguments)


def assert_readable(run):
    """Read the run in each way that its viewers do."""
    store = RunStore(run.path.parent)
    assert store.list() == [run]
    run.status(), run.problem(), run.log(), run.checkpoints(), run.resumes_from(), notes(run), run.records
    known = Catalog(store)
    known.refresh()
    assert known.summaries() == [summarise(run)]
    json.dumps([known.summaries()[0].data, *notes(run)], ensure_ascii=False).encode()
    seconds_per_connection(store, known.summaries(), connections=10, method="set")
    table([result(run)])
    find(Config(), [run])
    for epoch in run.snapshot_epochs():
        attempt(run.snapshot, epoch)
    for function in (to_csv, to_toml, Run.records, Run.meta, Run.config, launch.prepare_resume):
        attempt(function, run)
    attempt(read_checkpoint, run, "sequential")
    follower = RunFollower(run, min_interval=0)
    follower.poll()
    follower.seconds_left(), follower.problem, follower.image_shape, summary_html(follower)
    lengths = {
        len(follower.history[name])
        for name in ("epoch", "test_loss", "zeta", "density_0")[: 3 + bool(follower.history.layers)]
    }
    assert lengths == {len(follower.history)}
    for command in ControlReader(run).poll():
        attempt(changed_config, Config(), command.settings)
    attempt(queue.advance, store)
    job_outcome(run, 1, "", stop_requested=False, log_start=0)
    assert len(list(run_lines([run]))) == 2


def paths_of(values, path=()):
    """Yield the paths of all values in nested tables."""
    for name, value in values.items():
        yield (*path, name)
        if isinstance(value, dict):
            yield from paths_of(value, (*path, name))


def replaced(values, path, text):
    """Return JSON in which the value at a path is a given text."""
    copy = json.loads(json.dumps(values))
    inner = copy
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = "@@@"
    return json.dumps(copy).replace('"@@@"', text)


KEYS = {
    "status.json": [("state",), ("time",), ("process",), ("process", "pid"), ("process", "host"), ("epoch",), ("beat",),
                    ("epochs",), ("samples_total",), ("test_accuracy",), ("connections",), ("message",), ("since",),
                    ("previous",)],
    "meta.json": [("format",), ("config",), ("config", "data"), ("config", "data", "name"), ("config", "network"),
                  ("config", "training", "zeta"), ("config", "run", "seed"), ("data",), ("data", "image_shape"),
                  ("data", "class_names"), ("network",), ("network", "sizes"), ("network", "connections"),
                  ("fork",), ("fork", "epoch")],
    "notes.json": [("title",), ("tags",), ("text",)],
    "queued.json": [("time",)],
    "resume.json": [("epochs",)],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize(("name", "path"), [(name, path) for name, paths in KEYS.items() for path in paths])
def test_json__any_value_of_any_type_leaves_the_run_listed(run, name, path, value, capsys):
    values = read_json(run.path / name)
    if name == "status.json":
        values = values | {"state": "training", "previous": {}, "process": {"pid": 1, "host": "elsewhere"}}
        (run.path / "queued.json").unlink()
    for part in path[:-1]:
        values.setdefault(part, {})
    (run.path / name).write_text(replaced(values, path, VALUES[value]))
    assert_readable(run)


EPOCH_KEYS = (
    "epoch",
    "layers",
    "workers",
    "settings",
    "test_loss",
    "seconds_train",
    "connections",
    "events",
    "samples",
)


@pytest.mark.slow
@pytest.mark.parametrize("value", [*VALUES, "missing"])
@pytest.mark.parametrize("name", [*EPOCH_KEYS, "type", "layers.0", "layers.0.density", "settings.zeta"])
def test_metrics__any_value_in_an_epoch_leaves_the_run_listed(run, name, value, capsys):
    _, first, *others = (run.path / "metrics.jsonl").read_bytes().splitlines()  # after the line of a snapshot
    values = json.loads(first)
    *path, last = [int(part) if part.isdecimal() else part for part in name.split(".")]
    inner = values
    for part in path:
        inner = inner[part]
    if value == "missing":
        del inner[last]
    else:
        inner[last] = "@@@"
    line = json.dumps(values).replace('"@@@"', VALUES.get(value, ""))
    (run.path / "metrics.jsonl").write_bytes(b"\n".join([line.encode(), *others]) + b"\n")
    assert_readable(run)


@pytest.mark.slow
@pytest.mark.parametrize("content", [*CONTENTS, "missing", "folder", "pipe", "itself"])
@pytest.mark.parametrize("name", FILES)
def test_files__any_content_leaves_the_run_listed(run, name, content, capsys):
    path = run.path / name
    path.unlink(missing_ok=True)
    if content == "missing" and name == "config.toml":
        assert RunStore(run.path.parent).list() == []
        return
    if content == "folder":
        path.mkdir()
    elif content == "pipe":
        os.mkfifo(path)
    elif content == "itself":
        path.symlink_to(path)
    elif content != "missing":
        path.write_bytes(CONTENTS[content])
    if (name, content) == ("config.toml", "itself"):
        return
    assert_readable(run)


@pytest.mark.parametrize("settings", [
    '{"learning_rate": 1' + "0" * 400 + "}", '{"zeta": "1-²"}', '{"zeta": "' + "[" * 5000 + '"}', '{"zeta": null}',
    '{"zeta": "' + "9" * 5000 + '"}', '{"zeta": [[1]]}', '{"zeta": NaN}', '{"zeta": 1e999}', '{"epsilon": true}', "[]",
])  # fmt: skip
def test_control__any_settings_are_refused_with_a_message(run, settings):
    line = '{"action": "set", "id": "2", "time": 1, "settings": ' + settings + "}\n"
    (run.path / "control.jsonl").write_text(DEEP + "\n" + line)
    for command in ControlReader(run).poll():
        with pytest.raises(TsnnError):
            changed_config(Config(), command.settings)


def test_runs__names_the_problem_of_a_damaged_status(run, capsys):
    (run.path / "queued.json").unlink()
    (run.path / "status.json").write_text('{"state": "training", "time": "noon"}')
    assert main(["runs"]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert line.split()[:2] == [run.id, "unreadable"]
    assert "status.json is damaged: time cannot be 'noon'" in line
    assert "time cannot be 'noon'" in summarise(run).problem


def test_compare__names_the_problem_of_a_damaged_epoch(run, capsys):
    append_line(run.path / "metrics.jsonl", {"type": "epoch", "epoch": 4})
    assert main(["compare", run.id]) == 0
    assert "unreadable: metrics.jsonl" in capsys.readouterr().out
    assert main(["export", run.id]) == 1
    assert "a line of type epoch 4 cannot be used: it has no samples" in capsys.readouterr().err


def test_config__empty_is_unreadable(run, capsys):
    (run.path / "config.toml").write_text("# nothing\n")
    assert main(["runs"]) == 0
    assert "config.toml is empty" in capsys.readouterr().out


def test_read_lines__skips_lines_of_any_length(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"a": 1}\n{"b": "' + b"x" * (MAX_LINE_BYTES + 10) + b'"}\n{"c": 3}\n{"torn": ')
    lines, offset = read_lines(path)
    assert lines == [{"a": 1}, {"c": 3}]
    assert path.stat().st_size - offset == len('{"torn": ')


@pytest.mark.parametrize("name", ["meta.json", "snapshots/0000001.npz"])
def test_page__shows_a_run_with_missing_or_malformed_files(run, name):
    live = pytest.importorskip("tsnn.views.tabs.run")
    (run.path / name).unlink()
    if name != "meta.json":
        np.savez(run.path / name, sizes=np.array([3, 2]), importance_0=np.zeros((2, 2)), neurons_0=np.array(["a"]))
        with pytest.raises(TsnnError, match="no readable snapshot of epoch 1"):
            run.snapshot(1)
    view = live.RunView(RunFollower(run, min_interval=0))
    for tab in view.tabs:
        view.tick(tab)


def test_table_of_runs__escapes_states_and_problems(run):
    run_table = pytest.importorskip("pages.run_table")
    (run.path / "queued.json").unlink()
    (run.path / "status.json").write_text('{"state": "<img src=x>", "time": "<b>"}')
    text = run_table.frame([summarise(run)])["state"].iloc[0]
    assert "<img" not in text
    assert "<b>" not in text
    assert "unreadable" in text


def test_queue_thread__survives_any_error(run, monkeypatch):
    calls = []

    def advance(store):
        calls.append(store)
        if len(calls) > 2:
            raise SystemExit
        raise RecursionError

    monkeypatch.setattr(queue, "advance", advance)
    monkeypatch.setattr(queue, "ADVANCE_SECONDS", 0.0)
    with pytest.raises(SystemExit):
        queue._advance_periodically(RunStore())
    assert len(calls) == 3


def test_address__impossible_value_leaves_the_others(run):
    dashboard = pytest.importorskip("pages.dashboard")
    from panel.io.location import Location

    page = dashboard.Dashboard(RunStore(run.path.parent))
    page.restore(Location(search=f"?tab=x&layer=many&run={run.id}&epoch=2"))
    assert (page.run_id, page.tab, page.layer, page.epoch) == (run.id, "overview", 1, 2)
