"""Trials of sweeps: started as cores become free, claimed once, resumed after kills, halved, chosen by Optuna."""

import errno
import json
import os
import threading
import time

import pytest

import tsnn
from tests.support.sweeps import train, train_at_start
from tsnn.config import Config
from tsnn.execution.sweeps import sweep as sweep_of
from tsnn.jobs import claims, launch, trials
from tsnn.jobs.planning import extended, plan_sweep
from tsnn.jobs.queue import advance, enqueue
from tsnn.jobs.sweeps import find_sweep, start_sweep
from tsnn.jobs.trials import ATTEMPTS, Work, is_done, queue_sweep, stop_sweep
from tsnn.registry import recorded_registries
from tsnn.runs import Run, RunStore
from tsnn.runs.rules import recorded_rules
from tsnn.runs.sweep_plan import write_plan
from tsnn.runs.sweeps import Sweep, create_sweep, open_sweep
from tsnn.runs.writer import RunWriter

CONFIG = Config.preset("madelon").replace(epochs=4, validation_fraction=0.1)
GRID = {"zeta": [0.0, 0.1, 0.3]}


@pytest.fixture
def store(tmp_path, monkeypatch) -> RunStore:
    monkeypatch.setenv("TSNN_CORES", "2")
    monkeypatch.setattr("tsnn.jobs.sweeps.start_queue_thread", lambda store: None)  # tests advance the queue
    return RunStore(tmp_path / "runs")


@pytest.fixture
def writers(monkeypatch) -> list[RunWriter]:
    """Stand-ins for the engines that were started."""
    found: list[RunWriter] = []

    def start(run):
        (run.path / "exit.json").unlink(missing_ok=True)
        found.append(RunWriter(run).__enter__())
        found[-1].update(state="training")

    monkeypatch.setattr(launch, "start_supervisor", start)
    yield found
    for writer in found:
        writer.__exit__()


@pytest.fixture
def instant(monkeypatch) -> list[str]:
    """Names of the runs that were trained, in no time."""
    return train_at_start(monkeypatch)


def new(store, **options):
    return create_sweep(store, plan_sweep(CONFIG, GRID, **options))


def end(writer, state="finished", **status):
    if status:
        writer.update(**status)
    writer.end(state, "")
    writer.__exit__()


def states(sweep):
    return [str(trial.state) for trial in sweep.trials]


def kill(writer):
    """Leave a run as one whose process was killed."""
    writer.__exit__()
    path = writer.run.path / "status.json"
    status = json.loads(path.read_text())
    path.write_text(json.dumps({**status, "process": {**status["process"], "start": 1.0}}))
    os.utime(writer.run.path)


def test_queue__starts_as_many_trials_as_cores_are_free(store, writers):
    sweep = new(store)
    queue_sweep(sweep)
    assert [run.id for run in advance(store)] == ["trial-00000", "trial-00001"]
    assert advance(store) == []
    assert not (sweep.path / "trial-00002").exists(), "directories are created when runs start"
    end(writers[0])
    assert [run.id for run in advance(store)] == ["trial-00002"]
    assert sweep.trials[2].run.config().training.zeta == 0.3
    end(writers[1])
    assert advance(store) == []
    assert sweep.queued
    end(writers[2])
    advance(store)
    assert not sweep.queued
    assert is_done(sweep)
    assert states(sweep) == ["finished"] * 3


def test_queue__runs_come_before_trials_and_count_for_the_cores(store, writers):
    sweep = new(store)
    queue_sweep(sweep)
    ordinary = enqueue(CONFIG.replace(threads=1), store)
    assert [writer.run.id for writer in writers] == [ordinary.id, "trial-00000"]
    large = enqueue(CONFIG.replace(threads=2), store)
    end(writers[1])
    assert advance(store) == [], "the queued run needs both cores, and no trial overtakes it"
    end(writers[0])
    assert advance(store) == [large]


def test_sweep__that_is_not_queued_is_left_alone(store, instant):
    sweep = new(store)
    assert advance(store) == []
    assert states(sweep) == ["queued"] * 3
    assert not sweep.queued


def test_sweep__same_call_continues_and_trains_nothing_again(store, instant):
    first = sweep_of(CONFIG, GRID, seeds=2, store=store)
    while advance(store):
        pass
    assert sorted(instant) == [f"trial-{n:05d}" for n in range(6)]
    assert sweep_of(CONFIG, GRID, seeds=2, store=store) is first
    assert sweep_of(CONFIG, {"zeta": [0.1]}, store=store) is first, "its trials are a part of those"
    advance(store)
    assert len(instant) == 6
    assert sweep_of(CONFIG, GRID, seeds=3, store=store, start=False) is not first


def test_sweep__extended_trains_only_what_is_new(store, instant):
    sweep = new(store)
    start_sweep(sweep)
    while advance(store):
        pass
    write_plan(sweep.path, extended(sweep.plan, {"zeta": [0.5]}, seeds=2))
    start_sweep(sweep)
    while advance(store):
        pass
    assert len(instant) == len(set(instant)) == 8
    assert states(sweep) == ["finished"] * 8
    assert find_sweep(store, plan_sweep(CONFIG, {"zeta": [0.5]}, seeds=2)) is sweep


def test_killed_trials__are_resumed_a_few_times(store, writers):
    sweep = new(store)
    queue_sweep(sweep)
    advance(store)
    kill(writers[0])
    assert states(sweep)[:2] == ["lost", "training"]
    assert [run.id for run in advance(store)] == ["trial-00000"]
    for _ in range(2, ATTEMPTS):
        kill(writers[-1])
        assert [run.id for run in advance(store)] == ["trial-00000"]
    kill(writers[-1])
    assert [run.id for run in advance(store)] == ["trial-00002"], "the sweep continues with the others"
    end(writers[1])
    end(writers[-1])
    advance(store)
    assert not sweep.queued
    queue_sweep(sweep)
    assert [run.id for run in advance(store)] == ["trial-00000"], "on request it is tried again"


def test_diverged_trial__counts_as_failed_and_is_not_repeated(store, writers):
    sweep = new(store)
    queue_sweep(sweep)
    advance(store)
    end(writers[0], "failed", diverged=True)
    end(writers[1], "failed")
    advance(store)
    end(writers[2])
    advance(store)
    assert states(sweep) == ["failed", "failed", "finished"]
    assert not sweep.queued
    queue_sweep(sweep)
    assert states(sweep) == ["failed", "queued", "finished"]
    assert [run.id for run in advance(store)] == ["trial-00001"]


def test_stop__stops_trials_and_resuming_continues_them(store, writers):
    sweep = new(store)
    queue_sweep(sweep)
    advance(store)
    stop_sweep(sweep)
    assert json.loads((writers[0].run.path / "control.jsonl").read_text())["action"] == "stop"
    for writer in writers:
        end(writer, "stopped")
    assert advance(store) == []
    assert states(sweep) == ["stopped", "stopped", "queued"]
    queue_sweep(sweep)
    assert [run.id for run in advance(store)] == ["trial-00000", "trial-00001"]
    assert not list(sweep.path.glob("trial-*/queued.json"))


def test_claim__is_given_to_one_of_many(tmp_path):
    barrier, won = threading.Barrier(8), []

    def compete():
        barrier.wait()
        if claims.claim(tmp_path, 1):
            won.append(threading.get_ident())

    threads = [threading.Thread(target=compete) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert claims.claims(tmp_path) == 1
    assert claims.is_held(tmp_path, 1)


def other_machine(path, number=1, mark=0):
    path.mkdir(exist_ok=True)
    process = {"host": "elsewhere", "boot": "b", "pid": 1, "start": 1.0}
    (path / f"claim-{number}").write_text(json.dumps({"process": process, "status": mark}))


def test_claim__of_another_machine_holds_until_nothing_changes_for_a_minute(store, instant, monkeypatch):
    sweep = new(store)
    other_machine(sweep.path / "trial-00000")
    queue_sweep(sweep)
    while advance(store):
        pass
    assert instant == ["trial-00001", "trial-00002"]
    assert sweep.queued
    assert not is_done(sweep)
    now = time.monotonic()
    monkeypatch.setattr(claims.time, "monotonic", lambda: now + 61)
    assert Work(sweep, sweep.trials[0]).start() is not None
    assert instant[2:] == ["trial-00000"]


def test_claim__of_a_dead_process_is_taken_over(store, instant):
    sweep = new(store)
    path = sweep.path / "trial-00000"
    path.mkdir()
    (path / "claim-1").write_text(json.dumps({"process": {**claims.identity(), "start": 1.0}, "status": 0}))
    (sweep.path / "trial-00001").mkdir()
    (sweep.path / "trial-00001" / "claim-1").write_bytes(b"\x00")  # a machine died while it wrote its claim
    sweep.store.create(sweep.base.replace(zeta=0.3), name="trial-00002")
    (sweep.path / "trial-00002" / "claim-1").write_text((path / "claim-1").read_text())
    queue_sweep(sweep)
    while advance(store):
        pass
    assert instant == ["trial-00000", "trial-00002"], "killed between claim and start: without and with a run"
    assert claims.claims(path) == 2


def test_claim__late_process_does_not_start_what_another_has_trained(store, instant):
    sweep = new(store)
    late = Work(sweep, sweep.trials[0])
    assert Work(sweep, sweep.trials[0]).start() is not None
    assert late.start() is None
    assert instant == ["trial-00000"]


def test_full_disk__ends_nothing_and_leaves_no_claim(store, instant, monkeypatch):
    sweep = new(store)
    queue_sweep(sweep)
    with monkeypatch.context() as patch:
        patch.setattr("tsnn.runs.store.write_atomic", full_disk)
        with pytest.raises(OSError, match="No space"):
            advance(store)
    assert states(sweep) == ["queued"] * 3
    advance(store)
    assert "trial-00000" in instant
    with monkeypatch.context() as patch:
        patch.setattr("tsnn.runs.sweep_plan.write_atomic", full_disk)
        with pytest.raises(OSError, match="No space"):
            new(store)
    assert [path.name for path in store.root.iterdir() if ".new" in path.name] == []


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device", "there")


def test_start__that_fails_is_recorded_and_the_sweep_continues(store, instant, monkeypatch):
    sweep = new(store)
    queue_sweep(sweep)
    train_instantly = launch.start_supervisor

    def start(run):
        if run.id == "trial-00000":
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        train_instantly(run)

    monkeypatch.setattr(launch, "start_supervisor", start)
    while advance(store):
        pass
    assert states(sweep) == ["failed", "finished", "finished"]
    assert "could not be started" in sweep.trials[0].run.status()["message"]


def test_halving__resumes_the_best_with_more_epochs(store, instant):
    config = CONFIG.replace(epochs=9)
    sweep = create_sweep(store, plan_sweep(config, {"zeta": [i / 10 for i in range(9)]}, halving=True, seeds=2))
    queue_sweep(sweep)
    for _ in range(100):
        if not advance(store):
            break
    epochs = {}
    for trial, result in sweep.results():
        epochs.setdefault(trial.settings["training.zeta"], []).append(result.epochs)
    assert epochs == {0.0: [9, 9], 0.1: [3, 3], 0.2: [3, 3], **{i / 10: [1, 1] for i in range(3, 9)}}
    assert len(instant) == 18 + 6 + 2
    assert not sweep.queued


def test_halving__ranks_by_the_epoch_of_the_round(store, instant):
    """A process that looks later, when the best have trained longer, promotes the same ones."""
    sweep = create_sweep(store, plan_sweep(CONFIG, {"zeta": [0.0, 0.3, 0.6]}, halving=True))
    queue_sweep(sweep)
    while advance(store):
        pass
    sweep = Sweep(sweep.path)
    assert is_done(sweep)
    train_again = [work.trial.number for work in trials.pending(sweep)]
    assert train_again == []


def test_halving__extended_trains_the_new_ones_and_chooses_again(store, instant):
    config = CONFIG.replace(epochs=9)
    sweep = create_sweep(store, plan_sweep(config, {"zeta": [i / 10 for i in range(1, 10)]}, halving=True))
    queue_sweep(sweep)
    while advance(store):
        pass
    instant.clear()
    write_plan(sweep.path, extended(sweep.plan, {"zeta": [i / 100 for i in range(9)]}))  # better ones
    queue_sweep(sweep)
    while advance(store):
        pass
    assert is_done(sweep)
    epochs = {trial.settings["training.zeta"]: result.epochs for trial, result in sweep.results()}
    assert [epochs[i / 100] for i in range(9)] == [9, 9, 3, 3, 3, 3, 1, 1, 1]
    assert [epochs[i / 10] for i in range(1, 10)] == [9, 3, 3, 1, 1, 1, 1, 1, 1]
    assert len(instant) == 9 + 6 + 2


def test_halving__results_of_a_round_are_those_after_its_epochs(store, instant):
    config = CONFIG.replace(epochs=9)
    sweep = create_sweep(store, plan_sweep(config, {"zeta": [i / 10 for i in range(9)]}, halving=True))
    queue_sweep(sweep)
    while advance(store):
        pass
    last = dict(enumerate(result for _, result in sweep.results()))
    assert [r.epochs for r in last.values()] == [9, 3, 3, 1, 1, 1, 1, 1, 1]
    for epochs, n in sweep.plan.rounds:
        found = [result for _, result in sweep.results_after(epochs) if result is not None]
        assert len(found) == n
        records = [trial.run.records()[epochs - 1] for trial in sweep.trials[:n]]
        assert [r.test_accuracy for r in found] == [record.test_accuracy for record in records]
        assert {r.epochs for r in found} == {epochs}
    assert sweep.results_after(9)[0][1].seconds > sweep.results_after(3)[0][1].seconds > 0


def test_optuna__chooses_settings_and_learns(store, instant):
    pytest.importorskip("optuna")
    grid = {"zeta": "0..0.9", "batch_size": "16..64", "prune": ["signed"], "hidden": ["10-10", "5"]}
    sweep = sweep_of(CONFIG, grid, optuna=6, seeds=2, store=store)
    for _ in range(30):
        advance(store)
    assert states(sweep) == ["finished"] * 12
    settings = [trial.settings for trial in sweep.trials]
    assert all(a == b for a, b in zip(settings[::2], settings[1::2], strict=True)), "seeds have the same settings"
    assert len({tuple(s.items()) for s in settings}) == 6
    assert all(16 <= s["training.batch_size"] <= 64 for s in settings)
    assert {s["network.hidden"] for s in settings} <= {(10, 10), (5,)}

    from tsnn.jobs import suggestions

    suggestions._studies.clear()  # another process reads the journal
    known = suggestions.study(sweep).get_trials()
    told = {t.user_attrs["combination"]: t.value for t in known if t.state.is_finished()}
    values = [sweep.value(result) for _, result in sweep.results()]
    assert told == {n: pytest.approx((values[2 * n] + values[2 * n + 1]) / 2) for n in range(6)}
    write_plan(sweep.path, extended(sweep.plan, count=7))
    start_sweep(sweep)
    advance(store)
    assert len({t.point for t in sweep.trials}) == 7, "a restarted sampler does not repeat its choices"


def test_optuna__missing_names_the_extra(store, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(Exception, match=r"pip install 'tsnn\[sweep\]'"):
        sweep_of(CONFIG, GRID, optuna=3, store=store)
    assert not store.root.exists()


def test_rules__that_are_not_built_in_are_recorded_with_the_sweep(store, instant):
    """Another process, which does not know the rules, starts the trials."""

    @tsnn.regrowth("anywhere")
    def anywhere(free, count, rng):
        """Anywhere."""
        return free.draw(count, rng)

    registry = recorded_registries()["regrowth"]
    try:
        plan = plan_sweep(CONFIG, {"regrow": ["random", "anywhere"]})
        sweep = create_sweep(store, plan)
    finally:
        registry.unregister("anywhere")
        registry._recorded.clear()
    queue_sweep(sweep)
    while advance(store):
        pass
    assert states(sweep) == ["finished"] * 2
    assert [rule.rule.name for rule in recorded_rules(sweep.trials[1].run.path)] == ["anywhere"]
    assert sweep.trials[1].run.config().training.regrow == "anywhere"
    registry._recorded.clear()


def test_damaged_sweep__does_not_stop_the_queue(store, instant):
    sweep, other = new(store), new(store)
    queue_sweep(sweep)
    queue_sweep(other)
    (sweep.path / "sweep.json").write_text("{")
    while advance(store):
        pass
    assert [Run(other.path / name).status()["state"] for name in instant] == ["finished"] * 3
    assert not sweep.queued, "nothing is left to be started"


def test_wait__ends_when_all_trials_are_over(store, instant):
    sweep = new(store)
    assert sweep.wait(0)
    queue_sweep(sweep)
    assert not sweep.wait(0)
    while advance(store):
        pass
    assert sweep.wait(0)
    assert "3 finished of 3 trials" in repr(sweep)
    rows = sweep.table()
    assert list(rows["zeta"]) == [0.0, 0.1, 0.3]
    assert open_sweep(store, sweep.id) is sweep


def test_thousands_of_trials__cost_little(store, monkeypatch):
    plan = plan_sweep(CONFIG, {"zeta": [i / 1000 for i in range(500)]}, seeds=4)
    sweep = create_sweep(store, plan)
    monkeypatch.setenv("TSNN_CORES", "1")
    run = sweep.store.create(plan.base, name="trial-00000")
    train(run)
    for number in range(1, 2000):
        (sweep.path / f"trial-{number:05d}").symlink_to(run.path)
    before = time.process_time()
    results = sweep.results()
    first = time.process_time() - before
    assert len(results) == 2000
    times = []
    for _ in range(5):
        before = time.process_time()
        sweep.results()
        times.append(time.process_time() - before)
    assert min(times) < first / 5, f"{first:.3f} s at first, then {min(times):.3f} s"
