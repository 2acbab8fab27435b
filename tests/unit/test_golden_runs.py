"""Run directories that earlier versions wrote: they open, compare, export and resume.

``tests/support/golden_runs/formatN.zip`` holds the run ``golden`` (stopped after 5 of 8 epochs; zeta was changed to 0.5
in epoch 2) and its data. When :data:`tsnn.records.FORMAT` grows, add a file, and keep those of formats that are read.
"""

import csv
import zipfile
from pathlib import Path

import pytest

from tests.support.waiting import wait_until
from tsnn.cli import main
from tsnn.records import FORMAT
from tsnn.runs import RunStore
from tsnn.runs.summaries import summarise
from tsnn.views.live.follower import RunFollower

FOLDER = Path(__file__).parents[1] / "support" / "golden_runs"
FORMATS = sorted(int(path.stem.removeprefix("format")) for path in FOLDER.glob("format*.zip"))


@pytest.fixture(params=FORMATS)
def run(request, tmp_path, monkeypatch):
    """Golden run of a format, next to its data."""
    with zipfile.ZipFile(FOLDER / f"format{request.param}.zip") as archive:
        archive.extractall(tmp_path / "runs")
    (tmp_path / "runs" / "blobs.npz").rename(tmp_path / "blobs.npz")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TSNN_RUNS", "runs")
    return RunStore().open("golden")


def test_formats__include_the_present_one():
    assert FORMAT in FORMATS


def test_golden_run__is_listed_with_its_notes(run, capsys):
    summary = summarise(run)
    assert (summary.problem, summary.state, summary.epochs, summary.planned) == ("", "stopped", 5, 8)
    assert (summary.title, summary.data, summary.connections) == ("Golden", "blobs.npz", run.records()[-1].connections)
    assert main(["runs"]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert line.split()[:5] == ["golden", "stopped", "blobs", "set", "5/8"]


def test_golden_run__has_a_history_and_snapshots(run):
    follower = RunFollower(run, min_interval=0)
    follower.poll()
    assert not follower.problem
    assert list(follower.history["epoch"]) == [1, 2, 3, 4, 5]
    assert list(follower.history["zeta"]) == [0.3, 0.5, 0.5, 0.5, 0.5]
    assert run.snapshot_epochs() == [0, 5]
    assert run.snapshot(5).sizes.tolist() == [4, 6, 5, 3]


def test_golden_run__is_exported_and_compared(run, capsysbinary):
    assert main(["export", "golden"]) == 0
    rows = list(csv.DictReader(capsysbinary.readouterr().out.decode().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert main(["export", "golden", "--format", "npz", "-o", "network.npz"]) == 0
    assert main(["compare", "golden", "golden"]) == 0
    assert b"unreadable" not in capsysbinary.readouterr().out


def test_golden_run__is_resumed_and_keeps_its_history(run):
    before = run.records()
    assert main(["resume", "golden"]) == 0
    wait_until(lambda: run.status()["state"] == "finished")
    after = run.records()
    assert after[:5] == before
    assert [record.epoch for record in after] == list(range(1, 9))
    assert [r.settings["zeta"] for r in after[5:]] == [0.5] * 3
