"""Parallel runs with killed processes: real ranks and real signals."""

import os

import psutil
import pytest

import tsnn
from tests.support.processes import ended, of_run, state
from tests.support.waiting import wait_until
from tsnn.files import read_json
from tsnn.runs import ENDED

pytestmark = [pytest.mark.compiled, pytest.mark.mpi]


@pytest.fixture
def config(filed):
    """Settings of two workers that train until they are stopped."""
    changes = {"training.epochs": 1_000_000, "training.learning_rate": 1e-4}
    return filed.replace({**changes, "parallel.workers": 2, "parallel.phase1_fraction": 1})


def started(config, store):
    run = tsnn.start(config, store)
    wait_until(lambda: run.resumes_from() >= 2 or state(run) in ENDED)
    assert state(run) not in ENDED, run.log()
    return run


def process_of(run, name):
    """Return a process of the run: the supervisor, the launcher (mpiexec, proxy), the server or a worker."""
    status = run.status()
    if name in ("supervisor", "server"):
        return psutil.Process(status["process"]["pid"] if name == "supervisor" else status["pid"])
    below = psutil.Process(status["process"]["pid"]).children(recursive=True)
    others = [p for p in below if p.pid != status["pid"]]
    python = [p for p in others if "tsnn.execution" in p.cmdline() and "-n" not in p.cmdline()]
    launchers = [p for p in below if p.pid != status["pid"] and p not in python]
    return {"mpiexec": launchers[0], "proxy": launchers[-1], "worker": python[0]}[name]


def resumptions(run):
    return [line["message"] for line in run.lines()[0] if line.get("kind") == "resumed"]


@pytest.mark.parametrize("name", ["worker", "server", "proxy", "mpiexec"])
def test_killed_process__run_continues_with_fewer_workers(store, config, name):
    run = started(config, store)
    before = run.resumes_from()
    process_of(run, name).kill()
    wait_until(lambda: resumptions(run) or state(run) in ENDED)
    assert state(run) not in ENDED, run.status()
    assert "restarted with one worker fewer" in resumptions(run)[0]
    wait_until(lambda: (at := run.resumes_from()) > before and len(run.records()) > at)
    epochs = [record.epoch for record in run.records()]
    assert epochs == list(range(1, len(epochs) + 1))
    assert len(run.records()[-1].workers) == 1
    process_of(run, name).kill()  # the last worker
    last = ended(run)
    assert (state(run), last["attempts"]) == ("failed", 2)
    assert run.resumes_from() > before
    assert len(run.records()) >= run.resumes_from()


def test_killed_supervisor__leaves_no_process(store, config):
    run = started(config, store)
    process_of(run, "worker").suspend()
    os.kill(run.status()["process"]["pid"], 9)
    wait_until(lambda: not of_run(run), seconds=5)
    assert state(run) == "lost"
    assert run.resumes_from() >= 2
    assert read_json(run.path / "exit.json") == {}
