"""Supervision of launched runs: real processes and real signals."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

import tsnn
from tests.support.processes import ended, of_run, state
from tests.support.waiting import wait_until
from tsnn.errors import RunError
from tsnn.files import read_json
from tsnn.machine import available_cores
from tsnn.records import EpochRecord
from tsnn.runs import Run
from tsnn.runs.liveness import alive, identity
from tsnn.runs.writer import RunWriter, hold

pytestmark = [
    pytest.mark.compiled,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs prctl"),
]

FOREVER = 10_000_000  # epochs


@pytest.fixture
def config(filed):
    """Settings that train until they are stopped."""
    return filed.replace({"training.epochs": FOREVER, "run.checkpoint_minutes": 0.01})


def started(config, store, epochs=2):
    run = tsnn.start(config, store)
    wait_until(lambda: len(run.records()) >= epochs)
    return run


def test_supervisor__own_session_and_stop_on_request(store, config):
    run = started(config, store)
    engine, supervisor = run.status()["pid"], run.status()["process"]["pid"]
    assert os.getsid(engine) == os.getsid(supervisor) == supervisor != os.getsid(0)
    tsnn.stop(run)
    last = ended(run)
    assert state(run) == "stopped"
    assert (last["state"], last["rc"], last["attempts"]) == ("stopped", 0, 1)
    assert tsnn.load_network(run.path / "weights.npz").connections > 0
    assert run.resumes_from() > 0
    with pytest.raises(RunError, match="it is stopped"):
        tsnn.stop(run)


def test_supervisor__records_a_finished_run(store, config):
    run = tsnn.start(config.replace({"training.epochs": 3}), store)
    last = ended(run)
    assert state(run) == "finished"
    assert (last["state"], last["rc"]) == ("finished", 0)
    assert "epoch 3: train loss" in last["tail"]


def test_supervisor__refuses_more_workers_than_batches_before_they_start(store, config):
    pytest.importorskip("mpi4py")
    run = tsnn.start(config.replace({"parallel.workers": 2 * available_cores() + 6}), store)
    last = ended(run)
    assert (state(run), last["state"], last["attempts"]) == ("failed", "failed", 0)
    assert "workers need a batch each, but 90 training samples make 3 batches of 32" in run.status()["message"]
    assert not list(run.path.glob("beat.rank*.json"))


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("whom", ["engine", "supervisor"])
def test_supervisor__signals_stop_the_run(store, config, signum, whom):
    run = started(config, store)
    status = run.status()
    os.kill(status["pid"] if whom == "engine" else status["process"]["pid"], signum)
    ended(run)
    assert state(run) == "stopped"
    assert run.checkpoints()


def test_supervisor__reports_a_killed_engine(store, config):
    run = started(config, store)
    os.kill(run.status()["pid"], signal.SIGKILL)
    last = ended(run)
    assert state(run) == "failed"
    assert "SIGKILL" in run.status()["message"]
    assert (last["rc"], last["reason"]) == (-9, run.status()["message"])
    assert "epoch 1: train loss" in last["tail"]
    assert [r.epoch for r in run.records()] == list(range(1, len(run.records()) + 1))


def test_supervisor__killed_leaves_no_orphan_and_a_lost_run(store, config):
    run = started(config, store)
    wait_until(lambda: run.resumes_from() > 0)
    status = run.status()
    os.kill(status["pid"], signal.SIGSTOP)  # even if the engine is not able to do anything
    os.kill(status["process"]["pid"], signal.SIGKILL)
    wait_until(lambda: not of_run(run), seconds=5)
    assert state(run) == "lost"
    assert run.resumes_from() > 0
    epochs = run.resumes_from() + 50
    tsnn.resume(run, epochs)
    ended(run)
    assert state(run) == "finished"
    assert [r.epoch for r in run.records()] == list(range(1, epochs + 1))


def test_supervisor__kills_an_engine_that_does_not_react(store, config):
    run = started(config, store)
    wait_until(lambda: run.resumes_from() > 0)
    os.kill(run.status()["pid"], signal.SIGSTOP)
    tsnn.stop(run)
    last = ended(run)
    assert state(run) == "stopped"
    assert "killed" in last["reason"]
    assert run.resumes_from() > 0


def test_start__run_outlives_the_starting_process(store, config, tmp_path):
    (tmp_path / "config.toml").write_text(config.to_toml())
    code = (
        "import os, signal, sys, tsnn; from tsnn.runs import RunStore;"
        f"print(tsnn.start(tsnn.Config.from_toml(sys.argv[1]), RunStore({str(store.root)!r})).id, flush=True);"
        "os.killpg(0, signal.SIGKILL)"
    )
    starter = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "config.toml")], stdout=subprocess.PIPE, text=True,
        start_new_session=True, check=False,
    )  # fmt: skip
    assert starter.returncode == -9
    run = Run(store.root / starter.stdout.strip())
    wait_until(lambda: len(run.records()) > 2)
    tsnn.stop(run)
    ended(run)
    assert state(run) == "stopped"


def test_supervisor__refuses_a_second_engine(store, config):
    run = started(config, store)
    with pytest.raises(RunError, match=rf"is training \(process {run.status()['pid']}\)"):
        tsnn.resume(run)
    with pytest.raises(RunError, match=rf"is being written by process {run.status()['pid']} since 20\d\d-"):
        hold(run)
    second = subprocess.run(
        [sys.executable, "-m", "tsnn.jobs.supervisor", str(run.path)], capture_output=True, text=True, check=False
    )
    assert second.returncode == 1
    assert "is being written by" in second.stderr
    assert state(run) in ("training", "compiling")


def test_supervisor__expected_error_reaches_log_and_status(store, config):
    run = tsnn.start(config.replace({"data.name": "nothing.npz"}), store)
    last = ended(run)
    assert state(run) == "failed"
    assert "nothing.npz" in run.status()["message"]
    assert "nothing.npz" in run.log()
    assert (last["state"], last["rc"]) == ("failed", 1)


def test_resume__after_kills_at_random_moments(store, config, fresh_rng):
    run, rng = tsnn.start(config.replace({"run.checkpoint_epochs": 1}), store), fresh_rng
    for _ in range(6):
        wait_until(lambda: of_run(run))
        time.sleep(rng.uniform(0, 4))  # a random moment, waiting for nothing
        rng.choice(of_run(run)).kill()
        wait_until(lambda: not of_run(run), seconds=10)
        epochs = [r.epoch for r in run.records()]
        assert epochs == list(range(1, len(epochs) + 1))
        assert run.resumes_from() >= len(epochs) - 1
        tsnn.resume(run)
    wait_until(lambda: len(run.records()) > len(epochs))
    tsnn.stop(run)
    ended(run)
    epochs = run.resumes_from() + 10
    tsnn.resume(run, epochs)
    ended(run)
    assert state(run) == "finished"
    assert [r.epoch for r in run.records()] == list(range(1, epochs + 1))


# Any job: a Python program takes the engine's place.

PRELUDE = """
import json, os, signal, subprocess, sys, time
from pathlib import Path
from tsnn.jobs.processes import Heartbeat, enter_service, supervision
from tsnn.runs import Run
from tsnn.runs.writer import RunWriter
run = Run(Path(sys.argv[1])); lost = int(sys.argv[2]); enter_service(run.path)
"""


def supervise(run, program, workers=1, patience="math.inf"):
    """Supervise a program in place of the engine; it is restarted as long as workers are left."""
    code = f"""
import math, sys, tsnn.jobs.supervisor as s
command = [sys.executable, "-c", {PRELUDE + program!r}, {str(run.path)!r}]
s.job_of = lambda run, lost: s.Job((*command, str(lost)), {patience}) if lost < {workers} else None
sys.exit(s.main())
"""
    with open(run.path / "log.txt", "ab") as log:
        return subprocess.Popen([sys.executable, "-c", code, str(run.path)], stdout=log, stderr=log)


def exit_record(run, program, **options):
    supervise(run, program, **options).wait(120)
    return read_json(run.path / "exit.json")


@pytest.mark.parametrize(
    ("program", "expected", "text"),
    [
        ("", "failed", "without a result"),
        ("sys.exit(3)", "failed", "code 3"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "failed", "SIGSEGV"),
        ("sys.exit(128 + 9)", "failed", "SIGKILL"),  # as some launchers report it
        ("raise RuntimeError('the wheel is <broken>')", "failed", "RuntimeError: the wheel is <broken>"),
        ("with RunWriter(run) as w: w.end('finished', 'done')", "finished", "done"),
        ("with RunWriter(run) as w: w.end('failed', 'diverged')\nsys.exit(1)", "failed", "diverged"),
        ("with RunWriter(run) as w: w.end('finished', 'done')\nsys.exit(5)", "failed", "then ended with code 5"),
    ],
)
def test_job_outcome__state_and_reason(store, config, program, expected, text):
    run = store.create(config)
    last = exit_record(run, program)
    assert (last["state"], state(run)) == (expected, expected)
    assert text in last["reason"]
    assert text in run.status()["message"]


def test_job_outcome__exception_and_crash_leave_a_traceback(store, config):
    run = store.create(config)
    exit_record(run, "1 / 0")
    error = json.loads((run.path / "error.rank0.json").read_text())
    assert error["error"] == "ZeroDivisionError: division by zero"
    assert "1 / 0" in run.log() or "line" in error["traceback"]
    last = exit_record(run, "import ctypes; ctypes.string_at(0)")
    assert "Fatal Python error: Segmentation fault" in last["tail"]
    assert not (run.path / "error.rank0.json").exists()  # that was another attempt's


def test_supervisor__restarts_with_fewer_workers_three_times(store, config):
    run = store.create(config)
    program = """
with open(run.path / "attempts", "a") as file: print(lost, supervision(run.path)["note"], file=file)
os.kill(os.getpid(), signal.SIGKILL)
"""
    last = exit_record(run, program, workers=9)
    attempts = (run.path / "attempts").read_text().splitlines()
    assert [line[0] for line in attempts] == ["0", "1", "2", "3"]
    assert attempts[0] == "0 "
    assert "SIGKILL" in attempts[1]
    assert (last["state"], last["attempts"]) == ("failed", 4)


def test_supervisor__does_not_restart_after_an_error(store, config):
    run = store.create(config)
    assert exit_record(run, "raise ValueError('same again')", workers=9)["attempts"] == 1


def test_supervisor__does_not_restart_a_job_that_never_started(store, config):
    run = store.create(config.replace({"parallel.workers": 1}))
    last = exit_record(run, "print('-----\\nThere are not\\n enough slots')\nsys.exit(1)", workers=9)
    assert (last["state"], last["attempts"]) == ("failed", 1)
    assert "could not be started" in last["reason"]
    assert "There are not enough slots" in last["reason"]
    assert "---" not in last["reason"]


def test_supervisor__allows_open_mpi_more_ranks_than_cores(store, config, monkeypatch):
    run = store.create(config)
    monkeypatch.setenv("PRTE_MCA_hwloc_default_binding_policy", "core")
    program = (
        "with RunWriter(run) as w: w.end('stopped', ' '.join(f'{k}={v}' for k, v in os.environ.items() if 'MCA' in k))"
    )
    variables = set(exit_record(run, program)["reason"].split())
    assert {"OMPI_MCA_rmaps_base_oversubscribe=1", "PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe"} <= variables
    assert {"OMPI_MCA_hwloc_base_binding_policy=none", "PRTE_MCA_hwloc_default_binding_policy=core"} <= variables


def test_supervisor__second_attempt_succeeds(store, config):
    run = store.create(config)
    program = "if not lost: os.abort()\nwith RunWriter(run) as w: w.end('finished', 'done')"
    last = exit_record(run, program, workers=2)
    assert (last["state"], last["attempts"]) == ("finished", 2)


def test_supervisor__ends_a_job_without_any_sign_of_life(store, config):
    run = store.create(config.replace({"parallel.workers": 2}))
    program = "print('srun: not found', flush=True); time.sleep(1000)"
    last = exit_record(run, program, workers=9, patience="math.inf, 10.0")
    assert (last["state"], state(run), last["attempts"]) == ("failed", "failed", 1)
    assert "no heartbeat for 10 s, since the start. Its output: srun: not found" in run.status()["message"]


def test_supervisor__starts_ranks_on_this_machine_whatever_scheduler_there_is(store, config, monkeypatch):
    run = store.create(config)
    monkeypatch.setenv("HYDRA_RMK", "slurm")
    program = "with RunWriter(run) as w: w.end('stopped', ' '.join(f'{k}={v}' for k, v in os.environ.items()))"
    variables = exit_record(run, program)["reason"].split()
    assert "HYDRA_LAUNCHER=fork" in variables
    assert "HYDRA_RMK=slurm" in variables, "one that the user has set"


def test_job_outcome__full_shared_memory_is_named(store, config):
    assert "/dev/shm" in exit_record(store.create(config), "os.kill(os.getpid(), signal.SIGBUS)")["reason"]


def test_start__works_next_to_files_named_like_modules(store, config, tmp_path, monkeypatch):
    (tmp_path / "statistics.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    run = tsnn.start(config.replace({"training.epochs": 2}), store)
    ended(run)
    assert state(run) == "finished", run.log()


def test_resume__is_live_at_once(store, config):
    run = tsnn.start(config.replace({"training.epochs": 2}), store)
    ended(run)
    tsnn.resume(run, 4)
    assert state(run) == "created"
    assert ended(run)["state"] == "finished"
    assert len(run.records()) == 4


@pytest.mark.mpi
def test_watch__of_a_resumed_parallel_run_stays_until_its_processes_have_ended(store, config):
    run = started(config.replace({"parallel.workers": 2, "training.learning_rate": 1e-4}), store)
    tsnn.stop(run, wait=60)
    before = len(run.records())
    tsnn.jobs.launch.prepare_resume(run)
    watching = tsnn.jobs.launch.watch(run)
    assert any(isinstance(item, EpochRecord) and item.epoch > before + 1 for item in watching)
    watching.close()
    assert of_run(run) == []
    assert state(run) == "stopped"


@pytest.mark.parametrize("fate", ["sys.exit(0)", "os.kill(os.getpid(), 9)", "time.sleep(1000)"])
def test_supervisor__leaves_no_process_of_a_job(store, config, fate):
    """Not even a process in a session of its own that ignores SIGTERM, in any order of deaths."""
    run = store.create(config)
    orphan = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1], "ready").touch()
time.sleep(1000)
"""
    program = f"""
subprocess.Popen([sys.executable, "-c", {orphan!r}, str(run.path)], start_new_session=True)
while not (run.path / "ready").exists(): time.sleep(0.01)
{fate}
"""
    supervisor = supervise(run, program)
    wait_until((run.path / "ready").exists)
    if "sleep" in fate:
        tsnn.stop(run)
    supervisor.wait(120)
    wait_until(lambda: not of_run(run), seconds=5)


def test_supervisor__rank_without_heartbeat_counts_as_dead(store, config):
    run = store.create(config)
    program = """
with RunWriter(run) as writer:
    if lost: writer.end("finished", "done"); sys.exit()
    with Heartbeat(run.path, 1):
        time.sleep(3)  # longer than the patience: a rank that sends heartbeats is not dead
        (run.path / "well").touch()
    time.sleep(1000)
"""
    last = exit_record(run, program, workers=2, patience=2.5)
    assert (run.path / "well").exists()
    assert (last["state"], last["attempts"]) == ("finished", 2)


def test_alive__identifies_processes():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    one = identity(child.pid)
    assert alive(one) is True
    assert alive(one | {"start": one["start"] - 1}) is False  # its number was given to another
    assert alive(one | {"boot": "before the restart"}) is False
    assert alive(one | {"host": "elsewhere"}) is None
    child.kill()
    wait_until(lambda: not alive(one))  # dead, but its exit code has not been collected
    child.wait()
    assert alive(one) is False
    with pytest.raises(psutil.NoSuchProcess):
        identity(child.pid)


def test_hold__lock_ends_with_its_holder(store, config):
    run = store.create(config)
    with RunWriter(run), pytest.raises(RunError, match=f"by process {os.getpid()}"):
        hold(run)
    hold(run).close()
