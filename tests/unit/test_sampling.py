"""Long metrics: opened by a sample of their lines, with all of their events and of their end."""

import json

import numpy as np
import pytest

from tests import load
from tests.support import fake_engine
from tsnn.config import Config
from tsnn.runs import RunStore, sampling
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
    monkeypatch.setattr(sampling, "_CHUNK", 10_000)
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
