"""Read-only mode: the server refuses every change of the runs; the pages have no controls."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("panel")

from pages import readonly
from pages.dashboard import Dashboard
from pages.uploads import Upload

from tests.support import fake_engine
from tsnn.config import Config
from tsnn.errors import RunError
from tsnn.jobs import launch, queue, race
from tsnn.runs import RunStore
from tsnn.runs.catalog import catalog, delete
from tsnn.runs.control import request
from tsnn.runs.notes import annotate
from tsnn.runs.results import result
from tsnn.views.live.follower import RunFollower


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("TSNN_RUNS", str(tmp_path / "runs"))
    store = RunStore(tmp_path / "runs")
    fake_engine.finished_run(store, {"data.name": "madelon", "training.epochs": 3}, 3)
    readonly.enforce()
    monkeypatch.setenv("TSNN_READONLY", "1")
    return store


def files(root: Path):
    return {path: path.stat().st_mtime_ns for path in root.rglob("*")}


@pytest.mark.parametrize(
    "change",
    [
        lambda store, run: store.create(Config()),
        lambda store, run: queue.enqueue(Config(), store),
        lambda store, run: race.start_race([Config()], store),
        lambda store, run: queue.resume(run, 9),
        lambda store, run: launch.start(Config(), store),
        lambda store, run: launch.start_supervisor(run),
        lambda store, run: annotate(run, title="mine"),
        lambda store, run: delete(run),
        lambda store, run: request(run, "stop"),
        lambda store, run: Upload(store.root / "uploads", "a.csv", 1, 1000),
        lambda store, run: (run.path / "log.txt").write_text("x"),
        lambda store, run: (run.path / "meta.json").replace(store.root.parent / "elsewhere"),
        lambda store, run: Path(store.root.parent, "runs", ".", "x").mkdir(),
    ],
    ids=range(13),
)
def test_readonly__refuses_every_change_of_the_runs(store, change):
    (run,) = store.list()
    before = files(store.root)
    with pytest.raises(RunError, match=r"read-only|not running|has ended|finished"):
        change(store, run)
    assert files(store.root) == before


def test_readonly__refuses_nothing_without_the_variable(store, monkeypatch, tmp_path):
    (tmp_path / "other.txt").write_text("elsewhere")
    monkeypatch.setenv("TSNN_READONLY", "0")
    (run,) = store.list()
    annotate(run, title="mine")
    delete(run)
    assert store.list() == []


def test_readonly__reads_runs(store):
    (run,) = store.list()
    follower = RunFollower(run)
    assert len(follower.history) == 3
    assert follower.snapshot(3) is not None
    assert result(run).epochs == 3
    catalog(store).refresh()
    assert [line.run for line in catalog(store).summaries()] == [run.id]


def test_page__has_no_controls_and_says_so(store):
    dashboard = Dashboard(store)
    page = dashboard.page()
    labels = {getattr(part, "label", "") for part in page.select()}
    assert readonly.TITLE in labels
    dashboard.open(store.list()[0].id)
    dashboard.tab = "compare"
    dashboard.tab = "runs"
    buttons = [part for part in page.select() if "Button" in type(part).__name__ and part.visible]
    labels = {str(getattr(part, "label", "")) for part in buttons}
    assert "Compare" in labels
    assert not labels & {"Start", "Race", "One epoch", "Stop", "Continue", "Delete", "Rename, tag", "Copy settings",
                         "Run baselines", "Repeat with 5 seeds", "Train the digits"}  # fmt: skip
    assert not [
        part for part in page.select() if "FileInput" in type(part).__name__ or "UploadField" in str(type(part))
    ]


def test_page__large_type_for_a_projector(store):
    dashboard = Dashboard(store)
    dashboard.page()
    assert "zoom" not in dashboard._main.styles
    dashboard = Dashboard(store)
    dashboard.large = 1
    dashboard.page()
    assert float(dashboard._main.styles["zoom"]) > 1
