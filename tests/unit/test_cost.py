"""Cost of a run against the dense network: measured, estimated and unknown values."""

from __future__ import annotations

import json
import socket
from statistics import fmean

import pytest

pytest.importorskip("panel")

from tests.support import fake_engine
from tsnn.config import Config
from tsnn.engine.memory import memory_estimate
from tsnn.runs import RunStore
from tsnn.runs.catalog import catalog
from tsnn.views.live.follower import RunFollower
from tsnn.views.tabs.cost import CostGauge, multiplications
from tsnn.views.tabs.run import RunView

SETTINGS = {"data.name": "madelon", "network.hidden": (20, 10), "network.epsilon": 2.0, "training.epochs": 5}


@pytest.fixture
def store(tmp_path) -> RunStore:
    return RunStore(tmp_path / "runs")


def costs(run):
    return {cost.name: cost for cost in CostGauge(RunFollower(run)).costs()}


def dense_run(store, **settings):
    run = fake_engine.finished_run(store, {**SETTINGS, "training.method": "dense", **settings}, 5)
    status = json.loads((run.path / "status.json").read_text())
    status["process"] = {**(status.get("process") or {}), "host": socket.gethostname()}
    (run.path / "status.json").write_text(json.dumps(status))
    catalog(store).refresh()
    return run


def test_multiplications__forward_gradient_and_errors():
    assert multiplications([10, 20, 5]) == 3 * 35 - 10


def test_costs__of_connections_multiplications_and_memory(store):
    run = fake_engine.finished_run(store, SETTINGS, 5)
    own = [l.connections for l in run.records()[-1].layers]
    dense = [500 * 20, 20 * 10, 10 * 2]
    found = costs(run)
    assert list(found) == ["connections", "multiplications", "memory"], "no dense run: no time"
    assert found["connections"][1:3] == (sum(own), sum(dense))
    assert found["multiplications"][1:3] == (multiplications(own), multiplications(dense))
    expected = memory_estimate(run.config().replace(method="dense"), 500, 2, 12_000).total
    assert found["memory"][1:3] == (200 * 2**20, expected), (
        "both are estimates: a process may take more for compilation"
    )
    assert found["memory"].own_text == "about 200 MiB"


def test_costs__time_is_measured_by_a_dense_run_or_about(store):
    run = fake_engine.finished_run(store, SETTINGS, 5)
    other = dense_run(store, **{"network.hidden": (40, 10)})
    about = costs(run)["time"]
    epoch = fmean(r.seconds_train + r.seconds_evolve + r.seconds_evaluate for r in other.records()[1:])
    assert about.dense == pytest.approx(5 * epoch * (500 * 20 + 200 + 20) / (500 * 40 + 400 + 20))
    assert about.dense_text.startswith("about ")
    dense_run(store)
    measured = costs(run)["time"]
    assert measured.dense == pytest.approx(5 * epoch)
    assert not measured.dense_text.startswith("about ")
    assert measured.own == pytest.approx(sum(r.seconds_train + r.seconds_evolve + r.seconds_evaluate
                                             for r in run.records()))  # fmt: skip


def test_costs__none_for_a_dense_run_or_before_the_layers_are_known(store):
    assert costs(dense_run(store)) == {}
    assert costs(store.create(Config().replace(SETTINGS))) == {}


def test_head__has_the_bars_with_a_text_alternative(store):
    view = RunView(RunFollower(fake_engine.finished_run(store, SETTINGS, 5)))
    assert view.head.object.count("role='img'") == 3
    assert "aria-label='connections: 1,120, 11.0 % of 10,220 for the dense network'" in view.head.object
