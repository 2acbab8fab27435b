"""Sweeps on the command line: output, question, continuing, single trials, job arrays, comparison."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.support.sweeps import train, train_at_start, train_trial
from tests.support.waiting import wait_until
from tsnn.cli import main
from tsnn.config import Config
from tsnn.jobs import launch
from tsnn.jobs.planning import plan_sweep
from tsnn.runs import RunStore
from tsnn.runs.sweeps import create_sweep, sweeps

GRID = ("--grid", "zeta=0,0.3", "--set", "epochs=2", "--set", "validation_fraction=0.1")


@pytest.fixture
def store(tmp_path, monkeypatch) -> RunStore:
    monkeypatch.setenv("TSNN_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("TSNN_CORES", "2")
    monkeypatch.setattr("tsnn.cli.sweep.ADVANCE_SECONDS", 0.0)
    return RunStore(tmp_path / "runs")


@pytest.fixture
def instant(monkeypatch) -> list[str]:
    """Names of the runs that were trained, in no time."""
    return train_at_start(monkeypatch)


def test_sweep__trains_prints_and_continues(store, instant, capsys):
    assert main(["sweep", "madelon", *GRID, "--seeds", "2"]) == 0
    sweep = sweeps(store)[0]
    printed = capsys.readouterr()
    assert "4 trials (2 seeds); 2 at a time with 1 thread each" in printed.err
    assert "no estimate of the time" in printed.err
    assert "MiB of memory" in printed.err
    assert "Best by validation accuracy: zeta 0," in printed.out
    assert len(instant) == 4
    assert main(["sweep", "madelon", *GRID, "--seeds", "2"]) == 0
    assert "4 trials (2 seeds), of which 4 are finished" in capsys.readouterr().err
    assert main(["sweep", "--resume", str(sweep.path), "--grid", "zeta=0.5", "--seeds", "3"]) == 0
    assert "about" in capsys.readouterr().err, "earlier runs are known"
    assert len(instant) == len(set(instant)) == 9
    assert main(["runs"]) == 0
    assert f"Sweep {sweep.id}, madelon: zeta: 9 finished of 9 trials." in capsys.readouterr().out
    assert main(["sweep", sweep.id]) == 0
    assert len(instant) == 9
    assert len(sweeps(store)) == 1


def test_sweep__of_a_known_name_expects_it_where_a_file_has_that_name_too(
    store, instant, capsys, monkeypatch, tmp_path
):
    (tmp_path / "madelon.npz").write_bytes(b"damaged")
    monkeypatch.setenv("TSNN_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", "madelon", "--set", "size=small", *GRID]) == 0
    assert "MiB of memory" in capsys.readouterr().err


def test_sweep__asks_before_it_queues_many(store, instant, capsys, monkeypatch):
    monkeypatch.setattr("tsnn.cli.sweep.ASK_ABOVE", 3)
    arguments = ["sweep", "madelon", *GRID, "--seeds", "2"]
    assert main(arguments) == 1
    assert "Nothing was started: 4 runs are many" in capsys.readouterr().err
    assert sweeps(store) == []
    assert main([*arguments, "--yes"]) == 0


BAD = {
    "unknown": (["madelon", "--grid", "zetta=1"], "Did you mean 'training.zeta'"),
    "no value": (["madelon", "--grid", "zeta"], "Write --grid NAME=VALUE"),
    "no grid": (["madelon"], "needs settings to vary"),
    "resume of nothing": (["nothing", "--resume"], "no sweep 'nothing'"),
    "trial of nothing": (["madelon", "--trial", "1"], "no sweep 'madelon'"),
    "too many": (["madelon", "--grid", "zeta=0,0.1", "--seeds", "1000000", "--yes"], "at most 100,000 trials"),
}


@pytest.mark.parametrize("case", BAD)
def test_sweep__bad_input(case, store, capsys):
    arguments, message = BAD[case]
    assert main(["sweep", *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not store.root.exists()


def test_sweep__failed_trials_are_listed(store, capsys, monkeypatch):
    monkeypatch.setattr(launch, "start_supervisor", lambda run: train(run, "failed", 1))
    assert main(["sweep", "madelon", *GRID]) == 1
    printed = capsys.readouterr()
    assert "Trial 1 (failed): The loss is no longer finite." in printed.err
    assert "No trial has finished yet." in printed.out


def test_compare__ranks_a_sweep(store, capsys):
    sweep = create_sweep(store, plan_sweep(Config.preset("madelon").replace(epochs=2), {"zeta": "0,0.3"}, seeds=2))
    for number in range(4):
        train_trial(sweep, number)
    assert main(["compare", sweep.id]) == 0
    printed = capsys.readouterr().out
    assert "Best by test accuracy: zeta 0" in printed
    assert "with 2 seeds" in printed
    assert main(["compare", f"{sweep.id}/trial-00000", f"{sweep.id}/trial-00001"]) == 0
    assert "training.zeta" in capsys.readouterr().out
    (sweep.path / "sweep.json").write_text('{"format": 2}')
    assert main(["compare", sweep.id]) == 1
    assert "sweep.json" in capsys.readouterr().err


def test_job_array__task_trains_its_trial(store, instant, capsys, monkeypatch):
    assert main(["sweep", "madelon", *GRID, "--seeds", "2", "--slurm"]) == 0
    sweep = sweeps(store)[0]
    script = (sweep.path / "array.sbatch").read_text()
    assert "#SBATCH --array=0-3\n" in script
    assert instant == []
    assert not sweep.queued
    assert main(["sweep", str(sweep.path), "--trial", "4"]) == 1
    assert "trials 0 to 3" in capsys.readouterr().err
    train_trial(sweep, 2)
    assert main(["sweep", str(sweep.path), "--trial", "2"]) == 0
    assert "Trial 2 is finished" in capsys.readouterr().out
    for options in (["--halving", "--random", "3", "--grid", "zeta=0..0.5", "--set", "epochs=9"],):
        assert main(["sweep", "madelon", *options, "--slurm"]) == 1
        assert "depend on each other" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="a script for bash")
def test_job_array__runs_as_tasks_of_bash(store, capsys):
    """Tasks of an array, started by bash as Slurm does; one of them twice at the same time."""
    grid = ["--grid", "zeta=0,0.3", "--set", "epochs=2"]
    assert main(["sweep", "digits", *grid, "--slurm"]) == 0
    sweep = sweeps(store)[0]
    tasks = [
        subprocess.Popen(
            ["bash", str(sweep.path / "array.sbatch")], env=os.environ | {"SLURM_ARRAY_TASK_ID": task},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for task in ("0", "1", "1")
    ]  # fmt: skip
    outputs = [task.communicate(timeout=240)[0] for task in tasks]
    codes = sorted(task.returncode for task in tasks[1:])
    assert tasks[0].returncode == 0, outputs[0]
    assert codes in ([0, 1], [0, 0]), outputs
    assert [str(trial.state) for trial in sweep.trials] == ["finished"] * 2, outputs
    assert [result.epochs for _, result in sweep.results()] == [2, 2]
    assert codes == [0, 0] or any("being trained by another process" in text for text in outputs)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills processes")
def test_sweep__killed_twice_with_all_its_processes_is_continued(store):
    """The processes that advance the queue and train are killed while trials train, twice; nothing is trained twice."""
    command = [sys.executable, "-m", "tsnn", "sweep", "digits", "--grid", "zeta=0,0.3", "--seeds", "2",
               "--set", "epochs=40", "--set", "checkpoint_epochs=1"]  # fmt: skip
    for kills in range(2):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
        sweep = wait_until(lambda: next(iter(sweeps(store)), None), what="a sweep")
        wait_until(lambda s=sweep: any(t.state == "training" for t in s.trials), 240, "a trial trains")
        process.kill()
        process.wait()
        for trial in sweep.trials:
            supervisor = trial.run and trial.run.status().get("process", {}).get("pid")
            if supervisor and trial.state in ("training", "compiling", "starting"):
                os.kill(supervisor, signal.SIGKILL)
        wait_until(lambda s=sweep: not s.live, 120, f"all is dead after kill {kills + 1}")
        time.sleep(0.1)
    subprocess.run(command, check=True, timeout=280)
    assert [str(trial.state) for trial in sweep.trials] == ["finished"] * 4
    for trial in sweep.trials:
        lines = [json.loads(line) for line in (trial.run.path / "metrics.jsonl").read_text().splitlines()]
        assert [line["epoch"] for line in lines if line["type"] == "epoch"] == list(range(1, 41))
    assert any(len(list(trial.run.path.glob("claim-*"))) > 1 for trial in sweep.trials), "some were resumed"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare, for another host name")
def test_sweep__shared_by_two_machines_trains_each_trial_once(store, monkeypatch):
    """Two processes on hosts of different names share a folder."""
    monkeypatch.setenv("TSNN_CORES", "1")
    command = [sys.executable, "-m", "tsnn", "sweep", "digits", "--grid", "zeta=0,0.3", "--seeds", "3",
               "--set", "epochs=2"]  # fmt: skip
    renamed = ["unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh"]
    if subprocess.run([*renamed, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this user may not rename the host")
    here = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    sweep = wait_until(lambda: next(iter(sweeps(store)), None), what="a sweep")
    there = subprocess.run([*renamed, *command], check=False, capture_output=True, text=True, timeout=250)
    assert (here.wait(250), there.returncode) == (0, 0), there.stderr
    assert [str(trial.state) for trial in sweep.trials] == ["finished"] * 6
    assert [len(list(trial.run.path.glob("claim-*"))) for trial in sweep.trials] == [1] * 6
    assert len(sweeps(store)) == 1
    assert {trial.run.status()["process"]["host"] for trial in sweep.trials} == {socket.gethostname(), "elsewhere"}
