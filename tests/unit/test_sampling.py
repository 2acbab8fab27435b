"""Long metrics: opened by a sample of their lines, with all of their events and of their end."""

import json
import os
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tests import load
from tests.support import fake_engine
from tests.support.waiting import wait_until
from tsnn.cli import main
from tsnn.config import Config
from tsnn.runs import RunStore, metrics_index, sampling
from tsnn.runs.export import to_csv, write_csv
from tsnn.runs.results import result
from tsnn.views import history
from tsnn.views.history import History
from tsnn.views.live import follower as following
from tsnn.views.live.follower import RunFollower
from tsnn.views.plots.comparison import mean_and_spread

EPOCHS = 3000


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run that counts as long."""
    monkeypatch.setattr(following, "SHORT_BYTES", 100_000)
    monkeypatch.setattr(sampling, "END_BYTES", 50_000)
    monkeypatch.setattr(sampling, "SAMPLES", 200)
    monkeypatch.setattr(metrics_index, "_CHUNK", 10_000)
    run = RunStore(tmp_path / "runs").create(Config.preset("madelon"))
    load.write_metrics(run, EPOCHS)
    return run


def test_follower__opens_a_long_run_by_a_sample(run):
    follower = RunFollower(run, min_interval=0)
    epochs = follower.history["epoch"]
    assert 200 < len(epochs) < 400
    assert epochs[0] == 1
    assert np.all(np.diff(epochs) > 0)
    assert np.diff(epochs).max() < 2.5 * EPOCHS / 200, "evenly spread"
    assert list(epochs[-20:]) == list(range(EPOCHS - 19, EPOCHS + 1)), "all of the end"
    assert follower.history.done == EPOCHS
    assert not follower.problem
    for _ in range(1000):
        follower.poll()
    assert [event.epoch for event in follower.events] == [EPOCHS // 2]


def test_follower__continues_a_long_run(run):
    follower = RunFollower(run, min_interval=0)
    record = fake_engine.epoch_record(EPOCHS + 1, run.config()).to_dict()
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write(json.dumps({"type": "epoch", **record}) + "\n")
    follower.poll()
    assert follower.history.done == EPOCHS + 1


def built(run):
    """Follower of a long run whose index is complete."""
    follower = RunFollower(run, min_interval=0)
    wait_until(lambda: follower.poll() and follower._builder is None, what="the index is built")
    return follower


def write_spike(run, epoch=1234):
    content = (run.path / "metrics.jsonl").read_bytes()
    line = next(line for line in content.split(b"\n") if b'"epoch": %d,' % epoch in line)
    loss = re.search(rb'"test_loss": [^,]+', line)[0]
    (run.path / "metrics.jsonl").write_bytes(content.replace(line, line.replace(loss, b'"test_loss": 77.5')))
    return epoch


def test_index__keeps_extremes_and_is_read_the_next_time(run, monkeypatch):
    monkeypatch.setattr(metrics_index, "STRETCHES", 16)
    spike = write_spike(run)
    follower = built(run)
    again = RunFollower(run, min_interval=0)
    assert again._builder is None
    for opened in (follower, again):
        assert opened.history["epoch"][opened.history["test_loss"].argmax()] == spike
        assert opened.history["epoch"][0] == 1
        assert len(opened.history) < EPOCHS / 10
        assert opened.history.done == EPOCHS
        assert [event.epoch for event in opened.events] == [EPOCHS // 2]
    assert again.history["test_loss"].tolist() == follower.history["test_loss"].tolist()
    assert (run.path / metrics_index.NAME).stat().st_size < 0.1 * (run.path / "metrics.jsonl").stat().st_size


def damaged(index, metrics):
    index.write_bytes(index.read_bytes().replace(b'"test_loss": 1', b'"test_loss": 8', 1))


def cut(index, metrics):
    index.write_bytes(index.read_bytes()[: index.stat().st_size // 2])


def deeply_nested(index, metrics):
    index.write_bytes(b"[" * 100_000)


def of_another_file(index, metrics):
    metrics.write_bytes(metrics.read_bytes().replace(b'"seq": 0', b'"seq": 1'))


@pytest.mark.parametrize("change", [damaged, cut, deeply_nested, of_another_file])
def test_index__that_is_not_of_the_metrics_is_built_again(run, change):
    before = built(run).history["test_loss"].tolist()
    index = run.path / metrics_index.NAME
    change(index, run.path / "metrics.jsonl")
    assert metrics_index.read_index(run) is None
    assert built(run).history["test_loss"].tolist() == before
    assert metrics_index.read_index(run) is not None


def test_index__continues_when_the_metrics_have_grown(run):
    built(run)
    with open(run.path / "metrics.jsonl", "a") as file:
        for epoch in range(EPOCHS + 1, EPOCHS + 201):
            file.write(json.dumps({"type": "epoch", **fake_engine.epoch_record(epoch, run.config()).to_dict()}) + "\n")
    follower = RunFollower(run, min_interval=0)
    assert follower._builder is not None, "so much of it is new"
    assert follower.history.done == EPOCHS + 200
    _, end = metrics_index.read_index(run)
    built(run)
    assert metrics_index.read_index(run)[1] > end


def test_index__of_a_read_only_run_is_in_the_cache_folder(run, tmp_path, monkeypatch):
    places = [tmp_path / "missing" / "no folder" / "x", tmp_path / "cache" / "run.index"]
    places[0].parent.parent.write_text("a file")
    monkeypatch.setattr(metrics_index, "_CACHED", 2)
    places[1].parent.mkdir()
    for i in range(5):
        (places[1].parent / f"{i}.index").touch()
    monkeypatch.setattr(metrics_index, "_places", lambda _run: places)
    built(run)
    assert not (run.path / metrics_index.NAME).exists()
    assert metrics_index.read_index(run) is not None
    assert len(list(places[1].parent.iterdir())) == 2, "the cache folder does not grow for ever"


def test_index__drops_epochs_that_were_repeated(run):
    with open(run.path / "metrics.jsonl", "a") as file:
        for epoch in range(1000, 1500):
            line = {"type": "epoch", **fake_engine.epoch_record(epoch, run.config()).to_dict()}
            file.write(json.dumps(line) + "\n")
    builder = metrics_index.IndexBuilder(run, (run.path / "metrics.jsonl").stat().st_size)
    while not builder.done:
        builder.advance()
    epochs = [line["epoch"] for line in builder.lines() if line["type"] == "epoch"]
    assert epochs == sorted(set(epochs))
    assert 1400 < epochs[-1] < 1500


@pytest.mark.parametrize("damage", [b"\x00" * 200_000, b"{" * 200_000, b"\n" * 200_000, b"[[[[\n" * 40_000])
def test_follower__survives_damage_in_a_long_run(run, damage):
    content = (run.path / "metrics.jsonl").read_bytes()
    (run.path / "metrics.jsonl").write_bytes(content[:900_000] + damage + content[1_100_000:])
    follower = RunFollower(run, min_interval=0)
    for _ in range(1000):
        follower.poll()
    assert follower.history.done == EPOCHS


def test_history__is_thinned_out(monkeypatch):
    monkeypatch.setattr(history, "MAX_EPOCHS", 100)
    config, thinned = Config.preset("madelon"), History()
    for epoch in range(1, 1001):
        thinned.append(fake_engine.epoch_record(epoch, config).to_dict())
    epochs = thinned["epoch"]
    assert 50 <= len(epochs) <= 100
    assert list(epochs[-40:]) == list(range(961, 1001))
    assert len(thinned.workers) == len(thinned["test_loss"]) == len(epochs)
    assert thinned.done == 1000


def test_mean__aligns_histories_by_epoch(monkeypatch):
    config = Config.preset("madelon")

    def made(epochs):
        result = History()
        for epoch in epochs:
            result.append(fake_engine.epoch_record(epoch, config).to_dict() | {"test_loss": 2.0 * epoch})
        return result

    x, mean, deviation = mean_and_spread([made(range(1, 31)), made([*range(1, 30, 3), 30])], "test_loss", "epoch")
    assert list(x) == list(range(1, 31))
    assert mean == pytest.approx(2 * x)
    assert deviation == pytest.approx(0 * x, abs=1e-9)
    seconds = mean_and_spread([made([1, 11, 30])], "test_loss", "seconds")[0]
    assert seconds[-1] == pytest.approx(30 * 1.78, rel=0.02)


@pytest.mark.parametrize("work", [result, lambda run: write_csv(run, open(os.devnull, "wb"))], ids=["result", "csv"])  # noqa: SIM115
def test_long_runs__are_compared_and_exported_a_line_at_a_time(run, work):
    work(run)  # what it imports stays
    tracemalloc.start()
    try:
        work(run)
        assert tracemalloc.get_traced_memory()[1] < 0.1 * (run.path / "metrics.jsonl").stat().st_size
    finally:
        tracemalloc.stop()


def test_export__leaves_the_old_file_when_the_metrics_are_damaged(run, tmp_path):
    output, metrics = tmp_path / "table.csv", run.path / "metrics.jsonl"
    command = ["export", run.id, "--runs", str(run.path.parent), "-o", str(output)]
    assert main(command) == 0
    before = output.read_bytes()
    assert before.count(b"\n") == EPOCHS + 1
    assert before == to_csv(run)
    metrics.write_bytes(metrics.read_bytes() + b'{"type": "epoch", "epoch": "many"}\n')
    assert main(command) != 0
    assert output.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


def test_export__writes_to_a_device(run):
    assert main(["export", run.id, "--runs", str(run.path.parent), "-o", os.devnull]) == 0
    assert not Path(os.devnull).is_file()
