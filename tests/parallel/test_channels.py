"""LocalChannel and MpiChannel keep the same contract; real ranks leave nothing behind."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.contract import N, converse
from tests.support.waiting import wait_until
from tsnn.jobs.launch import mpiexec
from tsnn.parallel.channel import LocalChannel

ROOT = Path(__file__).parents[2]


def test_threads_keep_the_contract():
    channels = LocalChannel.connect(2)
    failures = []

    def part(channel):
        try:
            converse(channel, N)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=part, args=(channel,), daemon=True) for channel in channels]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.mpi
@pytest.mark.parametrize("capacity", [N, 0], ids=["shared memory", "messages"])
@pytest.mark.parametrize("workers", [1, 2])
def test_real_ranks_keep_the_contract(capacity, workers):
    command = [mpiexec(), "-n", str(1 + workers), sys.executable, "-m", "mpi4py", "-m", "tests.support.contract"]
    before = shared_segments()
    done = subprocess.run([*command, str(capacity)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_nothing_new(before)


@pytest.mark.mpi
def test_a_rank_alone_is_told_what_is_wrong():
    before = shared_segments()
    command = [sys.executable, "-m", "mpi4py", "-m", "tsnn.execution", "nothing"]
    alone = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert alone.returncode == 1
    assert "this process is alone" in alone.stderr
    environment = os.environ | {"OMPI_COMM_WORLD_SIZE": "4"}
    foreign = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    assert "one of 4 processes, but they do not see each other" in foreign.stderr
    assert "--no-binary mpi4py" in foreign.stderr
    assert "Traceback" not in alone.stderr + foreign.stderr
    assert_nothing_new(before)


def assert_nothing_new(before):
    """Shared memory that MPI has left has no name; other tests' ranks may have some, for a moment."""
    wait_until(lambda: shared_segments() <= before, 20, "no new shared memory")


def shared_segments():
    folder = Path("/dev/shm")
    return set(folder.glob("mpich*")) if folder.exists() else set()
