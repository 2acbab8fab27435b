"""Queue of runs: order, limit of cores, one process at a time, survival of a restart."""

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
def started(monkeypatch) -> list[RunWriter]:
    """Stand-ins for the engines that were started."""
    writers: list[RunWriter] = []

    def start(run):
        (run.path / "config.toml").touch()
        writers.append(RunWriter(run).__enter__())

    monkeypatch.setattr(launch, "start_supervisor", start)
    yield writers
    for writer in writers:
        writer.__exit__()


def config(threads: int = 0, seed: int = 0) -> Config:
    return Config().replace({"run.threads": threads, "run.seed": seed})


def end(writer: RunWriter) -> None:
    writer.end("finished", "")
    writer.__exit__()


def test_enqueue__starts_at_once_when_cores_are_free(store, started):
    run = enqueue(config(), store)
    assert [writer.run for writer in started] == [run]
    assert queued_runs(store) == []


def test_queue__starts_runs_in_order_when_their_cores_are_free(store, started):
    first, large, small = enqueue(config(1), store), enqueue(config(0), store), enqueue(config(1), store)
    assert [writer.run for writer in started] == [first], "the next one needs both cores, and none overtakes it"
    assert queued_runs(store) == [large, small]
    assert RunFollower(small).status["message"] == "Queued (2nd of 2): all cores are busy. Starts automatically."
    end(started[0])
    assert advance(store) == [large]
    assert large.status()["state"] == "starting"
    end(started[1])
    assert advance(store) == [small]


def test_queue__small_runs_run_at_the_same_time(store, started):
    assert [enqueue(config(1), store) for _ in range(2)] == [writer.run for writer in started]


def test_cores_of__at_most_the_limit(store, started):
    run = enqueue(config(64), store)
    assert [writer.run for writer in started] == [run]


def test_queue__is_read_from_the_directories(store, started, monkeypatch):
    enqueue(config(), store)
    queued = enqueue(config(), store)
    monkeypatch.setattr("tsnn.runs.catalog._catalogs", {})  # as after a restart
    assert queued_runs(store) == [queued]
    assert advance(store) == []
    end(started[0])
    assert advance(store) == [queued]


def test_resume__queues_the_run(store, started):
    old = enqueue(config(), store)
    started[0].end("stopped", "")
    started.pop().__exit__()
    enqueue(config(), store)
    resume(old)
    assert old.status()["state"] == "queued"
    with pytest.raises(RunError, match="queued"):
        resume(old)
    cancel(old)
    assert old.status()["state"] == "stopped"
    resume(old)
    end(started[0])
    assert advance(store) == [old]
    assert old.status()["state"] == "starting"


def test_cores_of__one_for_each_process_of_a_parallel_run():
    parallel = config(threads=8).replace({"parallel.workers": 1})
    assert queue.cores_of(parallel) == min(2, cores())


def test_cancel__run_never_starts(store, started):
    enqueue(config(), store)
    run = enqueue(config(), store)
    cancel(run)
    assert run.status()["state"] == "stopped"
    with pytest.raises(RunError, match="not queued any more"):
        cancel(run)
    end(started[0])
    assert advance(store) == []
    delete(run)


def test_queue__skips_a_run_that_cannot_start(store, started):
    enqueue(config(), store)
    bad, good = enqueue(config(), store), enqueue(config(), store)
    (bad.path / "config.toml").write_text("nonsense")
    start_supervisor = launch.start_supervisor

    def start(run):
        run.config()
        start_supervisor(run)

    launch.start_supervisor = start
    end(started[0])
    assert advance(store) == [good]
    assert bad.status()["state"] == "failed"
    assert "not valid TOML" in bad.status()["message"]


def test_queue__advanced_by_one_process_at_a_time(store, started):
    enqueue(config(), store)
    enqueue(config(), store)
    end(started[0])
    with queue._queue_lock(store.root) as allowed:
        assert allowed
        other: list = []
        thread = threading.Thread(target=lambda: other.append(advance(store)))
        thread.start()
        thread.join()
    assert other == [[]]
    assert len(advance(store)) == 1


def test_queue__advanced_in_the_background(store, started, monkeypatch):
    monkeypatch.setattr(queue, "ADVANCE_SECONDS", 0.01)
    enqueue(config(), store)
    run = enqueue(config(), store)
    queue.start_queue_thread(store)
    queue.start_queue_thread(store)
    assert [t.name for t in threading.enumerate()].count(f"queue of {store.root.resolve()}") == 1
    end(started[0])
    wait_until(lambda: run.status()["state"] != "queued")


@pytest.mark.parametrize("text", ["0", "two", "-1", "1.5"])
def test_cores__refuses_other_text(monkeypatch, text):
    monkeypatch.setenv("TSNN_CORES", text)
    with pytest.raises(ConfigError, match="TSNN_CORES must be"):
        cores()


def test_cores__of_the_machine_without_a_limit(monkeypatch):
    monkeypatch.delenv("TSNN_CORES", raising=False)
    assert cores() >= 1
