"""Ranks that start together without cached kernels."""

import os
import subprocess
import sys
from collections import Counter

import pytest

from tsnn.config import Config
from tsnn.jobs.launch import mpiexec
from tsnn.runs import RunStore


@pytest.mark.mpi
@pytest.mark.compiled
def test_cold_start__compiles_each_kernel_once(tmp_path):
    settings = {"training.epochs": 4, "network.hidden": [30, 20], "parallel.workers": 2, "data.size": "small"}
    run = RunStore(tmp_path / "runs").create(Config.preset("madelon").replace(settings))
    command = [mpiexec(), "-n", "3", sys.executable, "-m", "mpi4py", "-m", "tsnn.execution", str(run.path)]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "NUMBA_DEBUG_CACHE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    saved = Counter(line.split("'")[1] for line in done.stdout.splitlines() if "data saved to" in line)
    assert len(saved) > 20
    assert [file for file, times in saved.items() if times > 1] == []
