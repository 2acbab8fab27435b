"""Catalog of runs: cheap refresh, damaged runs, deletion; notes, duration estimates, exports."""

import json
from statistics import fmean

import pytest

from tests.support import fake_engine
from tsnn.config import Config
from tsnn.errors import RunError
from tsnn.jobs.duration import seconds_per_connection
from tsnn.runs import Run, RunStore
from tsnn.runs import catalog as catalogs
from tsnn.runs.catalog import Catalog, catalog, delete
from tsnn.runs.export import csv_bytes, to_csv, to_toml
from tsnn.runs.notes import annotate, notes
from tsnn.runs.summaries import summarise
from tsnn.runs.writer import RunWriter

SETTINGS = {"data.name": "fashion_mnist", "training.epochs": 3}


@pytest.fixture
def store(tmp_path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def finished(store) -> Run:
    return fake_engine.finished_run(store, SETTINGS, 3)


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """Names of the runs that have been read."""
    names: list[str] = []

    def noting(run):
        names.append(run.id)
        return summarise(run)

    monkeypatch.setattr(catalogs, "summarise", noting)
    return names


def test_summarise__agrees_with_the_files(finished):
    summary, last = summarise(finished), finished.records()[-1]
    assert (summary.state, summary.data, summary.method) == ("finished", "fashion_mnist", "set")
    assert (summary.epochs, summary.planned, summary.seed, summary.epsilon) == (3, 3, 0, 20.0)
    assert (summary.test_accuracy, summary.connections) == (last.test_accuracy, last.connections)
    assert summary.name == finished.id


def test_refresh__reads_only_changed_runs(store, finished, read):
    known = Catalog(store)
    known.refresh()
    version = known.refresh()
    assert read == [finished.id], "an ended run is read once"
    live = store.create(Config())
    assert known.refresh() > version
    assert [line.run for line in known.summaries()] == sorted((live.id, finished.id), reverse=True)
    assert known.live().run == live.id
    read.clear()
    known.refresh()
    assert read == [live.id], "one that has not ended is read each time"


def test_refresh__finds_changes_of_other_processes(store, finished, monkeypatch):
    known = Catalog(store)
    known.refresh()
    annotate(finished, title="Best")
    known.refresh()
    assert known.summaries()[0].title == "", "found later"
    monkeypatch.setattr(catalogs, "_FULL_SECONDS", 0.0)
    known.refresh()
    assert known.summaries()[0].name == "Best"


def test_delete__run_leaves_the_list(store, finished):
    known = Catalog(store)
    known.refresh()
    delete(finished)
    assert not finished.path.exists()
    assert list(store.root.glob(".deleted*")) == []
    version = known.version
    assert known.refresh() > version
    assert known.summaries() == []


def test_delete__refuses_a_live_run(store):
    run = store.create(Config())
    with RunWriter(run), pytest.raises(RunError, match="Stop it first"):
        delete(run)
    assert run.path.exists()


def test_delete__removes_a_link_and_keeps_the_run_behind_it(store, finished, tmp_path):
    other = RunStore(tmp_path / "other")
    other.root.mkdir()
    link = other.root / finished.id
    link.symlink_to(finished.path)
    assert other.list() == []
    delete(Run(link))
    assert list(other.root.iterdir()) == []
    assert finished.records()


def test_delete__ignores_and_removes_remains_of_earlier_deletions(store, finished, monkeypatch):
    (store.root / f".deleted-{finished.id}").mkdir()
    (store.root / f".deleted-{finished.id}" / "file").touch()
    with monkeypatch.context() as patch:
        patch.setattr(catalogs.shutil, "rmtree", lambda *_, **__: (_ for _ in ()).throw(PermissionError(1, "No", "x")))
        patch.setattr(catalogs, "_remove_remains", lambda _: None)
        with pytest.raises(RunError, match=r"is no longer listed\. Some of its files remain in"):
            delete(finished)
    assert store.list() == []
    delete(fake_engine.finished_run(store, SETTINGS, 1))
    assert list(store.root.iterdir()) == []


def test_refresh__continues_after_a_timeout(store):
    runs = [store.create(Config()) for _ in range(5)]
    known = Catalog(store)
    known.refresh(seconds=-1)
    assert (len(known.summaries()), known.total, known.complete) == (1, 5, False)
    for _ in range(6):
        known.refresh(seconds=-1)
    known.refresh()
    assert known.complete
    assert {line.run for line in known.summaries()} == {run.id for run in runs}


def test_catalog__one_for_each_folder(store):
    assert catalog(store) is catalog(RunStore(store.root))


def test_summarise__damaged_runs_have_a_problem(store, finished):
    newer, unreadable = fake_engine.finished_run(store, SETTINGS, 1), store.create(Config())
    meta = json.loads((newer.path / "meta.json").read_text())
    older = fake_engine.finished_run(store, SETTINGS, 1)
    for run, found in ((newer, 99), (older, 1)):
        (run.path / "meta.json").write_text(json.dumps(meta | {"format": found}))
    (unreadable.path / "config.toml").write_text("nonsense")
    (store.root / "half-made").mkdir()
    lines = {line.run: line for line in _read(store)}
    assert "format 99" in lines[newer.id].problem
    assert "has format 1; this version of tsnn reads format 2" in lines[older.id].problem
    assert lines[unreadable.id].data == "unreadable"
    assert "not valid TOML" in lines[unreadable.id].problem
    assert set(lines) == {finished.id, newer.id, older.id, unreadable.id}
    (newer.path / "meta.json").write_text('{"format": "x"}')
    (newer.path / "status.json").write_text('{"state": "finished", "epoch": "many", "connections": []}')
    assert summarise(newer).connections is None


def _read(store):
    known = Catalog(store)
    known.refresh()
    return known.summaries()


def test_notes__title_tags_and_text(finished):
    annotate(finished, title=" Wide <b> ", tags=["a", " ", "b ", "a"], text=" Two\nlines. ")
    assert notes(finished) == ("Wide <b>", ("a", "b"), "Two\nlines.")
    annotate(finished, tags=[])
    assert notes(finished) == ("Wide <b>", (), "Two\nlines.")
    for bad in ("x" * 121, "two\nlines"):
        with pytest.raises(RunError, match="title"):
            annotate(finished, title=bad)
    with pytest.raises(RunError, match="5,001"):
        annotate(finished, text="x" * 5001)
    (finished.path / "notes.json").write_text('{"title": 7, "tags": "abc", "text": ["x"]}')
    assert notes(finished) == ("7", (), "")


def test_duration__estimated_from_earlier_runs(store, finished):
    known = finished.records()
    last = len(known) - 8
    some = [r for i, r in enumerate(known) if 0 < i < 9 or i >= last]  # the first epoch fills caches
    expected = fmean((r.seconds_train + r.seconds_evolve + r.seconds_evaluate) / 10_000 / r.connections for r in some)
    assert seconds_per_connection(store, _read(store), connections=10**5, method="set") == pytest.approx(expected)
    status = json.loads((finished.path / "status.json").read_text())
    (finished.path / "status.json").write_text(json.dumps(status | {"process": {"host": "elsewhere"}}))
    assert seconds_per_connection(store, _read(store), connections=10**5, method="set") is None, (
        "runs of another machine do not count"
    )


def test_duration__from_runs_nearest_in_size(store):
    small = fake_engine.finished_run(store, {**SETTINGS, "network.hidden": [10]}, 1)
    for _ in range(5):
        fake_engine.finished_run(store, {**SETTINGS, "network.epsilon": 30.0}, 1)
    speeds = [seconds_per_connection(store, _read(store), connections=n, method="set") for n in (10_000, 200_000)]
    assert speeds[0] == pytest.approx(speeds[1]), "the median of five; four of them are the large ones"
    for path in store.root.iterdir():
        if path != small.path:
            delete(Run(path))
    assert seconds_per_connection(store, _read(store), connections=200_000, method="set") > 2 * speeds[1]
    assert seconds_per_connection(store, _read(store), connections=10**6, method="set") is None, "too different"


def test_duration__prefers_runs_whose_size_was_not_changed(store):
    fake_engine.finished_run(store, SETTINGS, 1)
    before = seconds_per_connection(store, _read(store), connections=10**5, method="set")
    for _ in range(4):
        shrunk = fake_engine.finished_run(store, SETTINGS, 1)
        lines = [json.loads(line) for line in (shrunk.path / "metrics.jsonl").read_text().splitlines()]
        lines = [line | {"seconds_train": 50.0} if line["type"] == "epoch" else line for line in lines]
        (shrunk.path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        status = json.loads((shrunk.path / "status.json").read_text())
        (shrunk.path / "status.json").write_text(json.dumps(status | {"settings": {"epsilon": 1.0}}))
    assert seconds_per_connection(store, _read(store), connections=10**5, method="set") == before


def test_duration__counts_evolution_that_has_ended(store):
    run = fake_engine.finished_run(store, SETTINGS, 40)
    before = seconds_per_connection(store, _read(store), connections=10**5, method="set")
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        if line["type"] == "epoch" and line["epoch"] <= 30:
            line["seconds_evolve"] += 5.0
    (run.path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    after = seconds_per_connection(store, _read(store), connections=10**5, method="set")
    assert after > 2 * before, "the last epochs do not evolve"


def test_export__equals_the_records(finished, tmp_path):
    lines = to_csv(finished).decode().splitlines()
    assert lines[0].startswith("epoch,samples,train_loss")
    assert not {"workers", "events", "layers", "settings"} & set(lines[0].split(","))
    assert len(lines) == 4
    row = dict(zip(lines[0].split(","), lines[3].split(","), strict=True))
    last = finished.records()[-1]
    assert float(row["test_accuracy"]) == last.test_accuracy
    assert int(row["layer2_connections"]) == last.layers[1].connections
    (tmp_path / "copy.toml").write_bytes(to_toml(finished))
    assert Config.from_toml(tmp_path / "copy.toml") == finished.config()


def test_export__refuses_a_run_without_epochs(store):
    with pytest.raises(RunError, match="no finished epoch"):
        to_csv(store.create(Config()))


def test_csv_bytes__quotes_formulas():
    text = csv_bytes({"title": ["=1+1", "@x", "plain, with comma"], "n": [-1, 2.5, None]}).decode()
    assert text.splitlines() == ["title,n", "'=1+1,-1", "'@x,2.5", '"plain, with comma",']
