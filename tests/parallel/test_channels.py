"""ThreadChannel and MpiChannel fulfil the same contract; real ranks leave no shared memory."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.channels import ThreadChannel
from tests.support.contract import N, run_rank
from tests.support.waiting import wait_until
from tsnn.config import Config
from tsnn.jobs.launch import mpiexec
from tsnn.runs import RunStore

ROOT = Path(__file__).parents[2]


def test_thread_channel__fulfils_the_contract():
    channels = ThreadChannel.connect(2)
    failures = []

    def run(channel):
        try:
            run_rank(channel, N)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(channel,), daemon=True) for channel in channels]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.mpi
@pytest.mark.parametrize("capacity", [N, 0], ids=["shared memory", "messages"])
@pytest.mark.parametrize("workers", [1, 2])
def test_mpi_channel__fulfils_the_contract(capacity, workers):
    command = [mpiexec(), "-n", str(1 + workers), sys.executable, "-m", "mpi4py", "-m", "tests.support.contract"]
    before = shared_segments()
    done = subprocess.run([*command, str(capacity)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_no_new_segments(before)


@pytest.mark.mpi
def test_mpi_channel__explains_a_single_process(tmp_path):
    before = shared_segments()
    run = RunStore(tmp_path).create(Config().replace({"parallel.workers": 2}))
    command = [sys.executable, "-m", "mpi4py", "-m", "tsnn.execution", str(run.path)]
    single = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert single.returncode == 1
    assert "this is a single process" in single.stderr
    environment = os.environ | {"OMPI_COMM_WORLD_SIZE": "4"}
    foreign = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    assert "one of 4 processes, but they do not see each other" in foreign.stderr
    assert "--no-binary mpi4py" in foreign.stderr
    assert "Traceback" not in single.stderr + foreign.stderr
    assert_no_new_segments(before)


def assert_no_new_segments(before):
    """Wait until no segment of shared memory has a name; ranks of other tests may have some for a moment."""
    wait_until(lambda: shared_segments() <= before, what="no new shared memory")


def shared_segments():
    folder = Path("/dev/shm")
    return set(folder.glob("mpich*")) if folder.exists() else set()
