"""The queue: in turn, within the cores, by whoever looks; it survives those who made it."""

import threading

import pytest

from tests.support.waiting import wait_until
from tsnn.config import Config
from tsnn.errors import ConfigError, RunError
from tsnn.jobs import launch, queue
from tsnn.jobs.queue import advance, cancel, cores, enqueue, queued_runs, resume
from tsnn.runs import RunStore
from tsnn.runs.catalog import delete
from tsnn.runs.writer import RunWriter
from tsnn.views.live.follower import RunFollower


@pytest.fixture
def store(tmp_path, monkeypatch) -> RunStore:
    monkeypatch.setenv("TSNN_CORES", "2")
    return RunStore(tmp_path / "runs")


@pytest.fixture
def begun(monkeypatch) -> list[RunWriter]:
    """Stand-ins for the engines that were started."""
    writers: list[RunWriter] = []

    def begin(run):
        (run.path / "config.toml").touch()
        writers.append(RunWriter(run).__enter__())

    monkeypatch.setattr(launch, "begin", begin)
    yield writers
    for writer in writers:
        writer.__exit__()


def config(threads: int = 0, seed: int = 0) -> Config:
    return Config().replace({"run.threads": threads, "run.seed": seed})


def end(writer: RunWriter) -> None:
    writer.end("finished", "")
    writer.__exit__()


def test_a_run_starts_at_once_where_there_is_room(store, begun):
    run = enqueue(config(), store)
    assert [writer.run for writer in begun] == [run]
    assert queued_runs(store) == []


def test_runs_wait_in_turn_for_the_cores_they_need(store, begun):
    first, whole, small = enqueue(config(1), store), enqueue(config(0), store), enqueue(config(1), store)
    assert [writer.run for writer in begun] == [first], "the one in front needs both cores, and nobody overtakes it"
    assert queued_runs(store) == [whole, small]
    assert RunFollower(small).status["message"] == "Position 2 of 2 in line."
    end(begun[0])
    assert advance(store) == [whole]
    assert whole.status()["state"] == "starting"
    end(begun[1])
    assert advance(store) == [small]


def test_two_small_runs_share_the_cores(store, begun):
    assert [enqueue(config(1), store) for _ in range(2)] == [writer.run for writer in begun]


def test_a_run_asks_for_no_more_than_there_is(store, begun):
    run = enqueue(config(64), store)
    assert [writer.run for writer in begun] == [run]


def test_another_process_finds_the_line_in_the_directories(store, begun, monkeypatch):
    enqueue(config(), store)
    waiting_run = enqueue(config(), store)
    monkeypatch.setattr("tsnn.runs.catalog._catalogs", {})  # as after a restart
    assert queued_runs(store) == [waiting_run]
    assert advance(store) == []
    end(begun[0])
    assert advance(store) == [waiting_run]


def test_a_run_that_goes_on_waits_like_any_other(store, begun):
    old = enqueue(config(), store)
    begun[0].end("stopped", "")
    begun.pop().__exit__()
    enqueue(config(), store)
    resume(old)
    assert old.status()["state"] == "queued"
    with pytest.raises(RunError, match="queued"):
        resume(old)
    cancel(old)
    assert old.status()["state"] == "stopped"
    resume(old)
    end(begun[0])
    assert advance(store) == [old]
    assert old.status()["state"] == "starting"


def test_a_parallel_run_takes_a_core_for_each_process():
    parallel = config(threads=8).replace({"parallel.workers": 1})
    assert queue.cores_of(parallel) == min(2, cores())


def test_a_cancelled_run_never_begins(store, begun):
    enqueue(config(), store)
    run = enqueue(config(), store)
    cancel(run)
    assert run.status()["state"] == "stopped"
    with pytest.raises(RunError, match="does not wait"):
        cancel(run)
    end(begun[0])
    assert advance(store) == []
    delete(run)


def test_a_run_that_cannot_be_started_holds_up_nobody(store, begun):
    enqueue(config(), store)
    bad, good = enqueue(config(), store), enqueue(config(), store)
    (bad.path / "config.toml").write_text("nonsense")
    launch_begin = launch.begin

    def begin(run):
        run.config()
        launch_begin(run)

    launch.begin = begin
    end(begun[0])
    assert advance(store) == [good]
    assert bad.status()["state"] == "failed"
    assert "not valid TOML" in bad.status()["message"]


def test_one_process_at_a_time_moves_the_line(store, begun):
    enqueue(config(), store)
    enqueue(config(), store)
    end(begun[0])
    with queue._alone(store.root) as allowed:
        assert allowed
        other: list = []
        thread = threading.Thread(target=lambda: other.append(advance(store)))
        thread.start()
        thread.join()
    assert other == [[]]
    assert len(advance(store)) == 1


def test_the_line_is_tended_in_the_background(store, begun, monkeypatch):
    monkeypatch.setattr(queue, "_SECONDS", 0.01)
    enqueue(config(), store)
    run = enqueue(config(), store)
    queue.start_queue_thread(store)
    queue.start_queue_thread(store)
    assert [t.name for t in threading.enumerate()].count(f"queue of {store.root.resolve()}") == 1
    end(begun[0])
    wait_until(lambda: run.status()["state"] != "queued", 30)


@pytest.mark.parametrize("text", ["0", "two", "-1", "1.5"])
def test_the_number_of_cores_must_be_one(monkeypatch, text):
    monkeypatch.setenv("TSNN_CORES", text)
    with pytest.raises(ConfigError, match="TSNN_CORES must be"):
        cores()


def test_without_a_limit_the_cores_of_the_machine_count(monkeypatch):
    monkeypatch.delenv("TSNN_CORES", raising=False)
    assert cores() >= 1
